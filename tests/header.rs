//! The C header is what the sources say. `MPR_BLESS=1` writes it anew.

use std::path::Path;

#[test]
fn the_header_is_up_to_date() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config =
        cbindgen::Config::from_file(root.join("include/cbindgen.toml")).expect("include/cbindgen.toml");
    let mut fresh = Vec::new();
    cbindgen::Builder::new()
        .with_config(config)
        .with_src(root.join("src/abi/legacy/raw.rs"))
        .with_src(root.join("src/abi/legacy/mod.rs"))
        .generate()
        .expect("the sources can be read")
        .write(&mut fresh);
    let path = root.join("include/monkey_proxy_reverse.h");
    if std::env::var_os("MPR_BLESS").is_some() {
        std::fs::write(&path, &fresh).expect("the header can be written");
    }
    let fresh = String::from_utf8(fresh).expect("a header is text");
    let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        fresh == checked_in,
        "include/monkey_proxy_reverse.h differs from the sources; run: MPR_BLESS=1 cargo test --test header"
    );
}
