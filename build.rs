//! Link arguments of the plugin; nothing is generated.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Monkey unloads plugins while its workers are still running: the code
    // must stay mapped until the process is gone.
    println!("cargo:rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,monkey-proxy_reverse.so");
}
