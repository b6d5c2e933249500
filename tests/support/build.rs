//! Finds the plugin that cargo built, and builds the C harness next to it.

use std::{
    env, fs,
    hash::{DefaultHasher, Hash, Hasher},
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
};

/// The flavour of the harness.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    /// Optimised.
    Plain,
    /// With AddressSanitizer and LeakSanitizer.
    Asan,
}

/// The library that cargo built for this very run; panics when there is none. `MPR_PLUGIN` names
/// another one, such as that of a package.
pub fn plugin() -> PathBuf {
    if let Some(named) = env::var_os("MPR_PLUGIN") {
        return named.into();
    }
    const NAME: &str = "libmonkey_proxy_reverse.so";
    let dir = profile_dir();
    let candidates = [dir.join("deps").join(NAME), dir.join(NAME)];
    let modified = |path: &PathBuf| fs::metadata(path).and_then(|meta| meta.modified()).ok();
    let newest = candidates.iter().filter_map(|path| Some((modified(path)?, path))).max();
    match newest {
        Some((_, path)) => path.clone(),
        None => panic!("no {NAME} in {} or its deps/: run `cargo build` first", dir.display()),
    }
}

/// The harness; built when its sources changed. `None` when the compiler lacks ASan.
pub fn harness(flavour: Flavour) -> Option<PathBuf> {
    static BUILT: Mutex<[Option<Option<PathBuf>>; 2]> = Mutex::new([None, None]);
    let mut built = BUILT.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    built[flavour as usize].get_or_insert_with(|| build_harness(flavour)).clone()
}

fn build_harness(flavour: Flavour) -> Option<PathBuf> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let mut flags = vec!["-std=c11", "-D_GNU_SOURCE", "-Wall", "-Wextra", "-Werror", "-pthread"];
    match flavour {
        Flavour::Plain => flags.push("-O2"),
        Flavour::Asan => {
            flags.extend(["-O1", "-g", "-fsanitize=address", "-fno-omit-frame-pointer"]);
            if !has_asan(&compiler) {
                eprintln!("skipped: {compiler} cannot link -fsanitize=address");
                return None;
            }
        }
    }
    let (sources, hash) = sources(&flags, &compiler);
    let name = format!("harness-{}-{hash:016x}", if flavour == Flavour::Asan { "asan" } else { "plain" });
    let binary = profile_dir().join(&name);
    if binary.exists() {
        return Some(binary);
    }
    // Two test processes may build at once: each under its own name, the rename is atomic.
    let unfinished = profile_dir().join(format!("{name}.{}.tmp", std::process::id()));
    let output = Command::new(&compiler)
        .args(&flags)
        .args(&sources)
        .args(["-ldl", "-o"])
        .arg(&unfinished)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}: the tests need a C compiler"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "the harness does not compile:\n{said}");
    fs::rename(&unfinished, &binary).unwrap();
    Some(binary)
}

/// A library of `tests/preload`, for `LD_PRELOAD`; `None`, and said aloud, when this compiler
/// cannot build one.
pub fn preload(name: &str) -> Option<PathBuf> {
    let compiler = env::var("CC").unwrap_or_else(|_| "cc".into());
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/preload/{name}.c"));
    let library = profile_dir().join(format!("{name}.{}.so", std::process::id()));
    let output = Command::new(&compiler)
        .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", "-O2"])
        .arg(&source)
        .args(["-ldl", "-o"])
        .arg(&library)
        .output()
        .unwrap_or_else(|error| panic!("{compiler}: {error}: the tests need a C compiler"));
    if !output.status.success() {
        eprintln!("skipped: {}", String::from_utf8_lossy(&output.stderr));
        return None;
    }
    Some(library)
}

/// The folders of `tests/harness` whose C files make the program.
const HARNESS_PARTS: [&str; 3] = ["common", "legacy", "modern"];

/// The C files, and a hash of everything that decides what comes out.
fn sources(flags: &[&str], compiler: &str) -> (Vec<PathBuf>, u64) {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
    let dir = manifest.join("tests/harness");
    let mut files: Vec<_> = HARNESS_PARTS.iter().flat_map(|part| listed(&dir.join(part))).collect();
    let is_c = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "c");
    let sources: Vec<_> = files.iter().filter(is_c).cloned().collect();
    assert!(!sources.is_empty(), "no C sources in {}", dir.display());
    files.extend(listed(&manifest.join("include")));
    let mut hasher = DefaultHasher::new();
    (flags, compiler, compiler_version(compiler)).hash(&mut hasher);
    for file in &files {
        file.hash(&mut hasher);
        fs::read(file).unwrap().hash(&mut hasher);
    }
    (sources, hasher.finish())
}

fn listed(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut files: Vec<_> = entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect();
    files.sort();
    files
}

fn compiler_version(compiler: &str) -> Vec<u8> {
    let output = Command::new(compiler).arg("--version").output();
    output.map(|output| output.stdout).unwrap_or_default()
}

fn has_asan(compiler: &str) -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("empty.c");
        fs::write(&source, "int main(void) { return 0; }\n").unwrap();
        let binary = dir.path().join("empty");
        let compiled =
            Command::new(compiler).arg("-fsanitize=address").arg(&source).arg("-o").arg(&binary).output();
        compiled.is_ok_and(|output| output.status.success())
            && Command::new(&binary).status().is_ok_and(|status| status.success())
    })
}

/// `target/<profile>`, from the running executable in its `deps/` or `examples/`.
pub fn profile_dir() -> PathBuf {
    let executable = env::current_exe().unwrap();
    let dir = executable.parent().unwrap();
    match dir.file_name().and_then(|name| name.to_str()) {
        Some("deps" | "examples") => dir.parent().unwrap().into(),
        _ => dir.into(),
    }
}
