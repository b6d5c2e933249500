//! The house rules that a compiler does not hold: who may call whom, where
//! `unsafe` and C functions live, how long a file may get.

use std::fs;
use std::path::{Path, PathBuf};

/// What each module of the crate may use of the others.
const ALLOWED: &[(&str, &[&str])] = &[
    ("abi", &["engine", "abi"]),
    ("engine", &["engine", "http", "balancer", "config", "stats"]),
    ("http", &["http"]),
    ("balancer", &["balancer"]),
    ("config", &["config"]),
    ("stats", &["stats"]),
];

/// Lines of code that a file may have before its tests.
const LONGEST: usize = 700;

#[test]
fn calls_go_one_way() {
    for (module, allowed) in ALLOWED {
        for (path, text) in sources(module) {
            for (number, line) in text.lines().enumerate() {
                for name in used_modules(line) {
                    assert!(
                        allowed.contains(&name),
                        "{}:{}: {module} may not use {name}",
                        path.display(),
                        number + 1
                    );
                }
            }
        }
    }
}

#[test]
fn unsafe_code_and_c_functions_live_at_the_border() {
    for (module, _) in ALLOWED.iter().filter(|(module, _)| *module != "abi") {
        for (path, text) in sources(module) {
            for word in ["unsafe ", "extern \"C\"", "allow(unsafe_code)"] {
                assert!(!text.contains(word), "{} contains {word:?}", path.display());
            }
        }
    }
}

/// The tool reads configurations and asks for explanations; nothing else of the crate is its business.
#[test]
fn the_tool_uses_what_it_is_for() {
    for (path, text) in sources("bin") {
        for (at, name) in text.match_indices("monkey_proxy_reverse::") {
            let rest = &text[at + name.len()..];
            let allowed = ["config", "engine::explain"].iter().any(|module| rest.starts_with(module));
            assert!(allowed, "{} uses {}", path.display(), rest.lines().next().unwrap_or_default());
        }
        assert!(!text.contains("unsafe "), "{}", path.display());
    }
}

#[test]
fn files_stay_readable() {
    for module in ALLOWED.iter().map(|(module, _)| *module).chain(["bin"]) {
        for (path, text) in sources(module) {
            let code = text.split("#[cfg(test)]").next().unwrap_or_default().lines().count();
            assert!(
                path.ends_with("tests.rs") || code <= LONGEST,
                "{} has {code} lines of code",
                path.display()
            );
            assert!(text.starts_with("//!"), "{} does not say what it is for", path.display());
        }
    }
}

fn sources(module: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(module)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the folder of a module").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                let text = fs::read_to_string(&path).expect("a source file");
                found.push((path, text));
            }
        }
    }
    assert!(!found.is_empty(), "no sources of {module}");
    found
}

/// The modules of the crate that a line names with `crate::`.
fn used_modules(line: &str) -> impl Iterator<Item = &str> {
    line.match_indices("crate::").map(|(at, text)| {
        let rest = &line[at + text.len()..];
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        &rest[..end]
    })
}
