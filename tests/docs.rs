//! What is written for people agrees with the code: the sample configuration is right, and
//! docs/CONFIG.md has exactly the keys of `config::keys`.

use std::fs;
use std::path::{Path, PathBuf};

use monkey_proxy_reverse::config::keys::{KEYS, Key};
use monkey_proxy_reverse::config::{self, LoadBalancer};

#[test]
fn the_sample_configuration_is_right() {
    let config = config::load(&project().join("conf/proxy_reverse.conf")).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let [php, files] = &config.entries[..] else { panic!("two entries") };
    assert_eq!(php.load_balancer, LoadBalancer::FirstAlive);
    assert_eq!(php.servers.len(), 3);
    assert_eq!(files.load_balancer, LoadBalancer::RoundRobin);
    assert_eq!(files.servers.len(), 2);
    assert_eq!(files.settings.statistics_url.as_deref(), Some("/proxy/statistics"));
}

#[test]
fn the_reference_lists_each_key_with_its_default() {
    let reference = reference();
    let rows: Vec<&str> = reference.lines().filter(|line| line.starts_with("| [")).collect();
    let expected: Vec<String> = KEYS.iter().map(row).collect();
    assert_eq!(rows, expected, "\nthe table should be:\n{}\n", expected.join("\n"));
}

#[test]
fn the_readme_lists_each_key_with_its_default() {
    let readme = fs::read_to_string(project().join("README.md")).expect("README.md can be read");
    let begins = |key: &Key| {
        format!("| `{}` | {} |", key.name, key.default.map_or(String::new(), |d| format!("`{d}`")))
    };
    let rows: Vec<&str> = readme
        .lines()
        .skip_while(|line| !line.starts_with("## Configuration"))
        .filter(|line| line.starts_with("| `"))
        .collect();
    assert_eq!(rows.len(), KEYS.len());
    for key in KEYS {
        let begins = begins(key).replace("|  |", "| |");
        assert!(rows.iter().any(|row| row.starts_with(&begins)), "README.md has no row {begins}");
    }
}

#[test]
fn the_reference_explains_each_key_and_no_other() {
    let reference = reference();
    let headings: Vec<&str> = reference.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let names: Vec<&str> = KEYS.iter().map(|key| key.name).collect();
    assert_eq!(headings, names);
}

#[test]
fn the_reference_explains_each_load_balancer() {
    let reference = reference();
    for balancer in LoadBalancer::ALL {
        assert!(reference.contains(&format!("* **{balancer}**")), "{balancer}");
    }
}

#[test]
fn the_examples_in_the_reference_are_right() {
    let reference = reference();
    let mut examples = 0;
    for block in reference.split("```conf\n").skip(1) {
        let text = block.split("```").next().unwrap();
        // An example that shows a few keys is a part of some entry.
        let text = if text.contains("[PROXY_ENTRY]") {
            text.to_owned()
        } else {
            let missing = |key: &str, value: &str| match text.contains(key) {
                true => String::new(),
                false => format!("{key} {value}\n"),
            };
            let missing = missing("Match", "x") + &missing("ServerList", "a");
            format!("[PROXY_ENTRY]\n{missing}{text}")
        };
        if let Err(errors) = config::from_text(Path::new("example"), text.as_bytes(), &|_| None) {
            panic!("{errors}\n{text}");
        }
        examples += 1;
    }
    assert!(examples > KEYS.len());
}

/// The row of a key in the table of the reference.
fn row(key: &Key) -> String {
    let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
    format!("| [`{}`](#{}) | {default} | {} |", key.name, key.name.to_lowercase(), key.doc)
}

fn reference() -> String {
    fs::read_to_string(project().join("docs/CONFIG.md")).expect("docs/CONFIG.md can be read")
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
