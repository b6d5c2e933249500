//! What files mean, and the exact message for each mistake.

use std::fs;
use std::time::Duration;

use proptest::prelude::*;

mod files;
mod keys;
mod messages;
mod servers;

use super::keys::{KEYS, KeyId, Kind};
use super::*;

fn read(text: &str) -> Result<Config, ConfigErrors> {
    from_text(Path::new("p.conf"), text.as_bytes(), &|name| match name {
        "HOST" => Some("10.0.0.1".to_owned()),
        "EMPTY" => Some(String::new()),
        "PAIR" => Some("a:1 b:2".to_owned()),
        _ => None,
    })
}

fn good(text: &str) -> Config {
    match read(text) {
        Ok(config) => config,
        Err(errors) => panic!("{errors}"),
    }
}

/// The messages for `text`, which must be refused.
fn messages(text: &str) -> Vec<String> {
    read(text).unwrap_err().iter().map(|error| error.to_string()).collect()
}

/// The messages for an entry that is fine but for `line`, which is line 4.
fn messages_for(line: &str) -> Vec<String> {
    messages(&format!("[PROXY_ENTRY]\n Match x\n ServerList a:1\n{line}\n"))
}

fn warnings(text: &str) -> Vec<String> {
    good(text).warnings.iter().map(|warning| warning.to_string()).collect()
}

fn servers(entry: &ProxyEntry) -> Vec<String> {
    entry.servers.iter().map(|server| server.address.to_string()).collect()
}

fn patterns(entry: &ProxyEntry) -> Vec<&str> {
    entry.patterns.iter().map(|pattern| pattern.text.as_str()).collect()
}

// --- What files mean -------------------------------------------------------------------

#[test]
fn a_small_file() {
    let config = good("[PROXY_ENTRY]\n    Match \\.php$ ^/app/\n    ServerList b:2 127.0.0.1 b:2\n");
    assert!(config.warnings.is_empty());
    let entry = &config.entries[0];
    assert_eq!(entry.line, 1);
    assert_eq!(
        entry.patterns,
        [
            Pattern { text: r"\.php$".to_owned(), path: Arc::clone(&entry.path), line: 2, column: 11 },
            Pattern { text: "^/app/".to_owned(), path: Arc::clone(&entry.path), line: 2, column: 18 },
        ]
    );
    assert_eq!(entry.path, config.path);
    assert_eq!(servers(entry), ["b:2", "127.0.0.1:80", "b:2"]);
    assert_eq!(entry.load_balancer, LoadBalancer::RoundRobin);
    assert_eq!(entry.settings, Settings::default());
    assert!(entry.settings.high_availability());
}

#[test]
fn entries_inherit_from_the_defaults_wherever_those_stand() {
    let config = good(
        "[PROXY_ENTRY]\n Match a\n Match b\n\
         [PROXY_ENTRY]\n ServerList y:1\n ServerList z:1\n AttemptsCount 0\n\
         [PROXY_DEFAULTS]\n ServerList x:1 x:2\n ServerList x:3\n Match d\n AttemptsCount 9\n LoadBalance naive\n",
    );
    let [first, second] = &config.entries[..] else { panic!() };
    assert_eq!(patterns(first), ["a", "b"]);
    assert_eq!(servers(first), ["x:1", "x:2", "x:3"]);
    assert_eq!(first.settings.attempts_count, 9);
    assert_eq!(first.load_balancer, LoadBalancer::Naive);
    assert_eq!(patterns(second), ["d"]);
    assert_eq!(servers(second), ["y:1", "z:1"]);
    assert_eq!(second.settings.attempts_count, 0);
    assert!(!second.settings.high_availability());
    assert_eq!(config.entries.iter().map(|e| e.line).collect::<Vec<_>>(), [1, 4]);
}

#[test]
fn spelling_and_layout_are_free() {
    let long = "x".repeat(10_000);
    let config = good(&format!(
        "\u{feff}# comment\r\n  [proxy-entry] # comment\r\nMATCH\t\t{long}\r\n\t  # comment\r\n \t\r\n      \
         Server_List   a:1 \t b:2  \r\n\tload-balancer locking round_ROBIN\r\n"
    ));
    assert!(config.warnings.is_empty());
    let entry = &config.entries[0];
    assert_eq!(patterns(entry), [long]);
    assert_eq!(servers(entry), ["a:1", "b:2"]);
    assert_eq!(entry.load_balancer, LoadBalancer::LockingRoundRobin);
}

#[test]
fn variables_are_replaced() {
    let config = good(
        "[PROXY_ENTRY]\n Match ä${EMPTY}b ^$ a$|b $x ${NO:-a|b}\n \
         ServerList ${HOST}:${PORT:-81} ${PAIR} ${EMPTY:-c:3}\n",
    );
    let entry = &config.entries[0];
    assert_eq!(patterns(entry), ["äb", "^$", "a$|b", "$x", "a|b"]);
    assert_eq!(servers(entry), ["10.0.0.1:81", "a:1", "b:2", "c:3"]);
    let columns: Vec<_> = entry.patterns.iter().map(|pattern| pattern.column).collect();
    assert_eq!(columns, [8, 19, 22, 27, 30]);
}

#[test]
fn balancer_names_go_both_ways() {
    for balancer in LoadBalancer::ALL {
        assert_eq!(LoadBalancer::from_name(&balancer.to_string()), Some(balancer));
        assert_eq!(LoadBalancer::from_name(&format!("{balancer:?}")), Some(balancer));
    }
    assert_eq!(LoadBalancer::from_name(""), None);
}

#[test]
fn the_table_and_the_model_have_the_same_defaults() {
    let mut text = "[PROXY_ENTRY]\n Match x\n ServerList a\n".to_owned();
    for key in KEYS {
        if let Some(default) = key.default {
            text += &format!(" {} {default}\n", key.name);
        }
    }
    let config = good(&text);
    assert_eq!(config.entries[0].settings, Settings::default());
    assert_eq!(config.entries[0].load_balancer, LoadBalancer::default());
}

#[test]
fn every_example_in_the_table_is_right() {
    let text: String = KEYS.iter().map(|key| format!(" {} {}\n", key.name, key.example)).collect();
    assert!(good(&format!("[PROXY_ENTRY]\n{text}")).warnings.is_empty());
}

// --- Properties ------------------------------------------------------------------------

proptest! {
    #[test]
    fn no_bytes_make_it_panic(text in prop::collection::vec(any::<u8>(), 0..400)) {
        let _ = from_text(Path::new("p.conf"), &text, &|_| None);
    }

    #[test]
    fn no_lines_make_it_panic(lines in prop::collection::vec(line(), 0..12)) {
        let result = read(&lines.join("\n"));
        if let Err(errors) = result {
            let shown = errors.to_string();
            prop_assert!(!shown.is_empty());
            prop_assert_eq!(shown.lines().count(), errors.iter().count());
        }
    }

    #[test]
    fn positions_lie_inside_the_file(lines in prop::collection::vec(line(), 0..12)) {
        let text = lines.join("\n");
        let lines: Vec<&str> = text.split('\n').collect();
        for error in read(&text).err().iter().flatten() {
            prop_assert!(error.line() <= lines.len());
            if error.line() > 0 {
                let length = lines[error.line() - 1].chars().count();
                prop_assert!((1..=length + 1).contains(&error.column()), "{}", error);
            }
        }
    }
}

/// Lines that look like a configuration.
fn line() -> impl Strategy<Value = String> {
    let key = prop::sample::select(KEYS).prop_map(|key| key.name.to_owned());
    prop_oneof![
        Just("[PROXY_ENTRY]".to_owned()),
        Just("[PROXY_DEFAULTS]".to_owned()),
        (key, "[ \t]{0,2}", "[-a-z0-9.:/\\[\\]\\\\${}#=ä \t]{0,20}").prop_map(|(k, b, v)| k + &b + &v),
        (prop::sample::select(KEYS), 0..3u8).prop_map(|(key, n)| match key.id {
            KeyId::Match => format!("{} a{n}", key.name),
            _ => format!("{} {}", key.name, key.example),
        }),
        "[@\\[ \t]{0,2}\\PC{0,20}".prop_filter("no files", |line| !line.contains('@')),
    ]
}

#[test]
fn kinds_say_what_they_expect() {
    for key in KEYS {
        assert!(!key.kind.expected().is_empty());
        assert!(!(key.is_repeatable() && matches!(key.kind, Kind::Switch | Kind::Balancer)));
    }
}
