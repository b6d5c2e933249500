//! What is written for people agrees with the code: the sample configuration is right,
//! docs/CONFIG.md has exactly the keys of `config::keys`, and what the pages name is there.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use monkey_proxy_reverse::config::keys::{KEYS, Key};
use monkey_proxy_reverse::config::{self, LoadBalancer};

#[test]
fn the_sample_configuration_is_right() {
    let config = config::load(&project().join("conf/proxy_reverse.conf")).unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    let [php, shop, files] = &config.entries[..] else { panic!("three entries") };
    assert_eq!(php.load_balancer, LoadBalancer::FirstAlive);
    assert_eq!(php.servers.len(), 3);
    assert_eq!(shop.settings.heads.strip_prefix.as_deref(), Some("/shop"));
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

#[test]
fn the_pages_link_to_what_is_there() {
    for page in PAGES {
        let folder = project().join(page).parent().unwrap().to_owned();
        for link in read(page).split("](").skip(1).map(|rest| rest.split([')', '#']).next().unwrap()) {
            assert!(link.contains("://") || folder.join(link).exists(), "{page} links to {link}");
        }
    }
}

#[test]
fn the_pages_name_what_is_there() {
    let mut sources = String::new();
    gather(&project().join("src"), &mut sources);
    gather(&project().join("tests"), &mut sources);
    let words: HashSet<&str> = sources.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut names = 0;
    for page in PAGES {
        for name in read(page).lines().flat_map(|line| line.split('`').skip(1).step_by(2)) {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            if name.starts_with("src/") || name.starts_with("tests/") {
                assert!(project().join(name).exists(), "{page} names {name}");
            } else if is_name && name.contains(['_', ':']) {
                let last = name.rsplit(':').next().unwrap();
                assert!(words.contains(last), "{page} names {name}");
            }
            names += 1;
        }
    }
    assert!(names > 100);
}

/// The pages for people who change the code.
const PAGES: [&str; 4] = ["docs/ARCHITECTURE.md", "docs/LIFECYCLE.md", "docs/LEXICON.md", "CONTRIBUTING.md"];

fn gather(folder: &Path, text: &mut String) {
    for entry in fs::read_dir(folder).expect("a folder of sources").flatten() {
        match entry.path() {
            path if path.is_dir() => gather(&path, text),
            path if path.extension().is_some_and(|e| e == "rs") => {
                text.push_str(&fs::read_to_string(path).expect("a source file"));
            }
            _ => {}
        }
    }
}

/// The row of a key in the table of the reference.
fn row(key: &Key) -> String {
    let default = key.default.map_or("none".to_owned(), |default| format!("`{default}`"));
    format!("| [`{}`](#{}) | {default} | {} |", key.name, key.name.to_lowercase(), key.doc)
}

fn reference() -> String {
    read("docs/CONFIG.md")
}

fn read(page: &str) -> String {
    fs::read_to_string(project().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"))
}

fn project() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}
