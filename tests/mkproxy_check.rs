//! `mkproxy check` on files with the mistakes that people make: what it says about each stands
//! beside it. `MPR_BLESS=1 cargo test --test mkproxy_check` writes that anew; look at the
//! difference, then commit it.

#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use monkey_proxy_reverse::config::keys::KEYS;
use monkey_proxy_reverse::config::{self, ProxyEntry};
use serde_json::{Value, json};

#[test]
fn each_mistake_has_its_message() {
    let files = files("broken");
    assert!(files.len() >= 20);
    for file in files {
        let output = mkproxy(&["check", &file], "broken");
        assert_eq!(output.status.code(), Some(1), "{file}");
        compare(&file, "broken", &output);
    }
}

#[test]
fn each_problem_has_a_place_and_a_remedy() {
    let whole_file = ["empty.conf", "nothing-to-do.conf"];
    for file in files("broken") {
        let output = mkproxy(&["check", "--format", "json", &file], "broken");
        assert_eq!(output.status.code(), Some(1), "{file}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let problems = report["problems"].as_array().unwrap();
        assert!(report["errors"].as_u64().unwrap() > 0 && !problems.is_empty());
        for problem in problems {
            assert_ne!(problem["remedy"], "", "{problem}");
            assert_ne!(problem["code"], "", "{problem}");
            let place = (problem["line"].as_u64().unwrap(), problem["column"].as_u64().unwrap());
            assert_eq!(place == (0, 0), whole_file.contains(&file.as_str()), "{problem}");
            if let Some(source) = problem["source"].as_str() {
                let end = problem["end_column"].as_u64().unwrap();
                let length = u64::try_from(source.chars().count()).unwrap();
                assert!(place.1 < end && (end <= length + 1 || length == 0), "{problem}");
            }
        }
    }
}

#[test]
fn each_doubt_has_its_warning() {
    for file in files("warnings") {
        let output = mkproxy(&["check", "--strict", &file], "warnings");
        let is_doubtful = file != "patterns-in-order.conf";
        assert_eq!(output.status.code(), Some(if is_doubtful { 3 } else { 0 }), "{file}");
        compare(&file, "warnings", &output);
    }
}

#[test]
fn each_value_has_its_origin() {
    let output = mkproxy(&["check", "--effective", "site.conf"], "effective");
    assert_eq!(output.status.code(), Some(0));
    compare("site.conf", "effective", &output);

    let output = mkproxy(&["check", "--effective", "--format", "json", "site.conf"], "effective");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let entries = report["effective"]["entries"].as_array().unwrap();
    let key = |entry: usize, name: &str| {
        let keys = entries[entry]["keys"].as_array().unwrap();
        assert_eq!(keys.len(), KEYS.len());
        keys.iter().find(|key| key["key"] == name).unwrap()
    };
    let list = key(0, "ServerList");
    assert_eq!(list["values"], json!(["127.0.0.1:8081 127.0.0.1:8082 127.0.0.1:8081"]));
    assert_eq!(
        list["origins"],
        json!([{ "section": "defaults", "file": "site.conf", "line": 2, "variables": ["PORT"] }])
    );
    assert_eq!(key(0, "PoolSize")["origins"][0]["file"], "more/pools.conf");
    assert_eq!(key(0, "Match")["origins"].as_array().unwrap().len(), 2);
    assert_eq!(key(0, "RetryCount")["built_in"], true);
    // A list of the entry takes the place of the inherited one.
    assert_eq!(key(1, "SetRequestHeader")["origins"][0]["section"], "entry");
    assert_eq!(key(1, "ServerList")["origins"][0]["line"], 17);
}

#[test]
fn the_effective_configuration_is_a_configuration() {
    let samples = [("effective", "site.conf"), ("../../conf", "proxy_reverse.conf")];
    let doubtful = files("warnings");
    let doubtful = doubtful.iter().map(|file| ("warnings", file.as_str()));
    for (folder, file) in samples.into_iter().chain(doubtful) {
        let output = mkproxy(&["check", "--effective", "--format", "conf", file], folder);
        let config = config::load(&golden().join(folder).join(file)).unwrap();
        let again = config::from_text(Path::new("again"), &output.stdout, &|_| None)
            .unwrap_or_else(|errors| panic!("{errors}\n{}", text(&output.stdout)));
        assert_eq!(config.entries.len(), again.entries.len());
        for (one, other) in config.entries.iter().zip(&again.entries) {
            let patterns = |entry: &ProxyEntry| {
                entry.patterns.iter().map(|pattern| pattern.text.clone()).collect::<Vec<_>>()
            };
            assert_eq!(patterns(one), patterns(other));
            assert_eq!((&one.servers, one.load_balancer), (&other.servers, other.load_balancer));
            assert_eq!(one.settings, other.settings);
        }
    }
}

#[test]
fn defaults_are_written_as_the_table_has_them() {
    let config =
        config::from_text(Path::new("p"), b"[PROXY_ENTRY]\n Match x\n ServerList a", &|_| None).unwrap();
    for key in KEYS.iter().filter(|key| !matches!(key.name, "Match" | "ServerList" | "Server")) {
        let default: Vec<&str> = key.default.into_iter().collect();
        assert_eq!(config::written(&config.entries[0], key.id), default, "{}", key.name);
        assert!(config.origins[0].of(key.id).is_empty());
    }
}

#[test]
fn a_good_file_is_no_failure_and_standard_input_is_a_file() {
    let good = "[PROXY_ENTRY]\n Match ^/app/\n ServerList 127.0.0.1:8081\n";
    let output = mkproxy_with(&["check", "-"], good);
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(text(&output.stdout), "<stdin>: 1 entry, 1 server, no errors\n");
    let output = mkproxy_with(&["check", "--quiet", "-"], good);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(0), String::new()));

    let output = mkproxy_with(&["check", "--format=json", "-"], &good.replace("Match", "Macth"));
    assert_eq!(output.status.code(), Some(1));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let problem = &report["problems"][0];
    assert_eq!(problem["file"], "<stdin>");
    assert_eq!(problem["code"], "unknown-key");
    assert_eq!(problem["remedy"], "did you mean 'Match'?");
    assert_eq!([&problem["line"], &problem["column"], &problem["end_column"]], [2, 2, 7]);
    assert_eq!(problem["source"], " Macth ^/app/");
}

#[test]
fn warnings_are_a_failure_only_if_they_are_to_be() {
    let doubtful = "[PROXY_ENTRY] x\n Match ^/app/\n ServerList 127.0.0.1:8081\n";
    let output = mkproxy_with(&["check", "-"], doubtful);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).ends_with("<stdin>: 1 entry, 1 server, no errors, 1 warning\n"));
    assert_eq!(mkproxy_with(&["check", "--strict", "-"], doubtful).status.code(), Some(3));
    assert_eq!(mkproxy_with(&["check", "--strict", "-"], "").status.code(), Some(1));
}

#[test]
fn a_wrong_command_line_is_told_apart() {
    for wrong in [
        &["check"][..],
        &["chekc", "x"],
        &["check", "--format", "xml", "x"],
        &["check", "--format", "conf", "x"],
        &[],
    ] {
        assert_eq!(mkproxy(wrong, "broken").status.code(), Some(2), "{wrong:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_for_those_who_ask() {
    let has_colours = |output: &Output| output.stdout.contains(&0x1b);
    assert!(!has_colours(&mkproxy(&["check", "quotes.conf"], "broken")));
    assert!(has_colours(&mkproxy(&["check", "--color", "always", "quotes.conf"], "broken")));
    // What a terminal would obey does not get through from the file.
    let output = mkproxy_with(&["check", "-"], "[PROXY_ENTRY]\n \u{1b}[2J\u{9b}x ya\n");
    assert!(!has_colours(&output) && !text(&output.stdout).contains('\u{9b}'), "{output:?}");
}

/// The configuration files of a folder.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(golden().join(folder)).unwrap().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.filter(|name| name.ends_with(".conf")).collect();
    names.sort();
    names
}

/// Compares with the file beside it, or writes that.
fn compare(file: &str, folder: &str, output: &Output) {
    assert_eq!(text(&output.stderr), "", "{file}");
    let beside = golden().join(folder).join(file).with_extension("txt");
    let found = text(&output.stdout);
    if std::env::var_os("MPR_BLESS").is_some() {
        fs::write(&beside, found).unwrap();
        return;
    }
    let expected = fs::read_to_string(&beside).unwrap_or_default();
    assert!(expected == found, "{file}: it says now\n{found}\nand not\n{expected}");
}

fn mkproxy(arguments: &[&str], folder: &str) -> Output {
    command(arguments).current_dir(golden().join(folder)).output().unwrap()
}

fn mkproxy_with(arguments: &[&str], input: &str) -> Output {
    let mut command = command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkproxy"));
    command.args(arguments).env_clear().stdin(Stdio::null());
    command
}

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
