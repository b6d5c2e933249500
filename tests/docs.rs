//! What is written for people agrees with the code: the sample configuration is right,
//! docs/CONFIG.md has exactly the keys of `config::keys` (`MPR_BLESS=1` writes what is made of
//! them), each configuration that a page shows is one, and what the pages name is there.

#![allow(clippy::unwrap_used, reason = "tests")]

mod docs {
    pub mod commands;
    pub mod pages;
    pub mod reference;
}

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use docs::commands;
use docs::pages::{self, Page, project};
use docs::reference;
use monkey_proxy_reverse::config::keys::{self, KEYS};
use monkey_proxy_reverse::config::{self, ConfigError, ErrorKind, LoadBalancer};

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
fn the_reference_says_what_the_table_of_keys_says() {
    let page = Page::read(reference::PAGE).text;
    assert!(
        reference::renewed(&page) == page,
        "docs/CONFIG.md differs from src/config/keys/table.rs; run: MPR_BLESS=1 cargo test --test docs"
    );
}

#[test]
fn the_reference_explains_each_key_once_under_a_task() {
    let page = Page::read(reference::PAGE);
    let sections = reference::sections(&page.text);
    for key in KEYS {
        let of_key = sections.iter().filter(|(_, name)| *name == key.name);
        assert_eq!(of_key.count(), 1, "sections about {}", key.name);
    }
    let mut tasks: Vec<&str> = sections.iter().map(|(task, _)| *task).collect();
    tasks.dedup();
    let different: HashSet<&&str> = tasks.iter().collect();
    assert_eq!(different.len(), tasks.len(), "a task comes twice: {tasks:?}");
}

#[test]
fn the_reference_explains_each_load_balancer() {
    let reference = Page::read(reference::PAGE).text;
    for balancer in LoadBalancer::ALL {
        assert!(reference.contains(&format!("* **{balancer}**")), "{balancer}");
    }
}

#[test]
fn the_defaults_in_the_table_are_those_of_the_parser() {
    for key in KEYS {
        let Some(default) = key.default else { continue };
        let sections = ["PROXY_DEFAULTS", "PROXY_ENTRY"];
        let with = |line: &str| sections.map(|section| reference::with_line(section, line).ok());
        let said = with(&format!("{} {default}", key.name));
        // A comment keeps the lines where they are.
        let unsaid = with("# nothing");
        let equal = said.iter().zip(&unsaid).filter(|(said, unsaid)| match (said, unsaid) {
            (Some(said), Some(unsaid)) => {
                assert_eq!(
                    format!("{:?}", said.entries),
                    format!("{:?}", unsaid.entries),
                    "{} {default}",
                    key.name
                );
                true
            }
            _ => false,
        });
        assert!(equal.count() > 0, "{} {default} is refused", key.name);
    }
}

#[test]
fn the_readme_names_keys_with_their_defaults() {
    let readme = Page::read("README.md").text;
    let configuration = readme.split("\n## Configuration\n").nth(1).expect("the part about keys");
    let rows: Vec<&str> = configuration.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 10);
    for row in rows {
        let cells: Vec<&str> = row.split('|').map(|cell| cell.trim_matches([' ', '`'])).collect();
        let (name, default) = (cells[1], cells[2]);
        let key = KEYS.iter().find(|key| key.name == name);
        let key = key.unwrap_or_else(|| panic!("README.md names '{name}', which is no key"));
        assert_eq!(default, key.default.unwrap_or_default(), "{name}");
    }
}

#[test]
fn the_readme_says_which_version_it_is_of_and_which_rust_it_wants() {
    let readme = Page::read("README.md").text;
    let rust = env!("CARGO_PKG_RUST_VERSION");
    assert!(readme.contains(&format!("Rust ({rust} or newer)")), "README.md should name Rust {rust}");
    let versions: Vec<&str> = readme.split("proxy_reverse: version ").skip(1).collect();
    assert!(!versions.is_empty());
    for version in versions {
        assert!(version.starts_with(env!("CARGO_PKG_VERSION")), "{}", version.lines().next().unwrap());
    }
}

#[test]
fn the_configurations_in_the_pages_are_right() {
    let mut examples = 0;
    for page in pages::all() {
        for block in page.blocks("conf") {
            let text = completed(&block);
            match config::from_text(Path::new(&page.name), text.as_bytes(), &|_| None) {
                Ok(config) => {
                    // What a few keys lack is not held against them.
                    let is_fragment = text != block;
                    let in_context = |warning: &&ConfigError| {
                        !matches!(warning.kind(), ErrorKind::NoEffect { .. } | ErrorKind::QueueWithoutLimit)
                    };
                    let mut warnings = config.warnings.iter().filter(|one| !is_fragment || in_context(one));
                    assert_eq!(warnings.next(), None, "{text}");
                }
                Err(errors) => panic!("{errors}\n{text}"),
            }
            examples += 1;
        }
    }
    assert!(examples > KEYS.len());
}

/// An example that shows a few keys is a part of some entry.
fn completed(block: &str) -> String {
    let has = |start: &str| block.lines().any(|line| line.trim_start().starts_with(start));
    let missing = |key: &str, value: &str| match has(key) {
        true => String::new(),
        false => format!("{key} {value}\n"),
    };
    if has("[PROXY_ENTRY]") {
        block.to_owned()
    } else if has("[") {
        format!("{block}\n[PROXY_ENTRY]\n{}{}", missing("Match", "x"), missing("Server", "a"))
    } else {
        format!("[PROXY_ENTRY]\n{}{}{block}", missing("Match", "x"), missing("Server", "a"))
    }
}

#[test]
fn the_pages_link_to_what_is_there() {
    let mut links = 0;
    for page in pages::all() {
        for link in page.links().into_iter().filter(|link| !link.contains("://")) {
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = page.target(file);
            assert!(target.exists(), "{} links to {link}", page.name);
            if !anchor.is_empty() {
                let text = fs::read_to_string(&target).unwrap();
                let anchors = Page { name: String::new(), text }.anchors();
                assert!(anchors.iter().any(|a| a == anchor), "{} links to {link}", page.name);
            }
            links += 1;
        }
    }
    assert!(links > KEYS.len());
}

#[test]
fn the_pages_name_keys_that_there_are() {
    let mut names = 0;
    let mut unknown = Vec::new();
    for page in pages::all().iter().filter(|page| !FOR_CODE.contains(&page.name.as_str())) {
        for name in page.names() {
            let word = name.split([' ', '=']).next().unwrap_or_default();
            let humps = word.chars().filter(char::is_ascii_uppercase).count();
            let is_camel = word.starts_with(|c: char| c.is_ascii_uppercase())
                && word.chars().all(|c| c.is_ascii_alphanumeric())
                && word.contains(|c: char| c.is_ascii_lowercase());
            if !is_camel || humps < 2 {
                continue;
            }
            let is_known = keys::find(word).is_some() || LoadBalancer::from_name(word).is_some();
            if !is_known && !OF_OTHERS.contains(&word) {
                unknown.push(format!("{} names '{word}'", page.name));
            }
            names += 1;
        }
    }
    assert!(unknown.is_empty(), "no such keys: {unknown:#?}");
    assert!(names > 100);
}

#[test]
fn the_error_texts_in_the_pages_are_those_of_the_proxy() {
    let mut sources = String::new();
    gather(&project().join("src"), &mut sources);
    let mut texts = 0;
    for page in pages::all() {
        for name in page.names() {
            let (status, rest) = name.split_at_checked(3).unwrap_or((name, ""));
            let Some((reason, why)) = rest.split_once(": ") else { continue };
            if status.parse::<u16>().is_ok() && reason.starts_with(' ') {
                assert!(sources.contains(&format!("\"{}\"", reason.trim())), "{}: {name}", page.name);
                assert!(sources.contains(&format!("\"{why}\"")), "{}: {name}", page.name);
                texts += 1;
            }
        }
    }
    assert!(texts > 5, "{texts} texts");
}

#[test]
fn the_commands_in_the_pages_can_be_run() {
    let mut count = 0;
    for page in pages::all() {
        for command in commands::typed(&page) {
            let problem = commands::problem(&command);
            assert!(problem.is_none(), "{}: {command}: {}", page.name, problem.unwrap_or_default());
            count += 1;
        }
    }
    assert!(count > 20, "{count} commands");
    for wrong in ["cargo run --example none", "X=1 cargo test --test none", "packaging/none.sh", "cargo fly"]
    {
        assert!(commands::problem(wrong).is_some(), "{wrong}");
    }
}

#[test]
fn the_pages_for_code_name_what_is_there() {
    let mut sources = String::new();
    gather(&project().join("src"), &mut sources);
    gather(&project().join("tests"), &mut sources);
    let words: HashSet<&str> = sources.split(|c: char| !c.is_alphanumeric() && c != '_').collect();
    let mut names = 0;
    for page in FOR_CODE.map(Page::read) {
        for name in page.names() {
            let is_name = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':');
            if name.starts_with("src/") || name.starts_with("tests/") {
                assert!(project().join(name).exists(), "{} names {name}", page.name);
            } else if is_name && name.contains(['_', ':']) {
                let last = name.rsplit(':').next().unwrap();
                assert!(words.contains(last), "{} names {name}", page.name);
            }
            names += 1;
        }
    }
    assert!(names > 100);
}

/// The pages for people who change the code.
const FOR_CODE: [&str; 4] =
    ["docs/ARCHITECTURE.md", "docs/LIFECYCLE.md", "docs/LEXICON.md", "CONTRIBUTING.md"];

/// Names that look like keys of ours, and are keys of Monkey or of the system.
const OF_OTHERS: &[&str] =
    &["DocumentRoot", "FDLimit", "KeepAliveTimeout", "LimitNOFILE", "MaxRequestSize", "SymLink"];

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
