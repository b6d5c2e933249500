//! Configurations: one meaning, or places and reasons. The files in `included` are there for
//! `@INCLUDE`.

use std::collections::HashMap;
use std::fmt::Debug;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use monkey_proxy_reverse::config::keys::{self, KEYS, KeyId};
use monkey_proxy_reverse::config::{self, Config, ConfigError, ConfigErrors, Pattern, ProxyEntry};
use monkey_proxy_reverse::http::router::Router;

/// The property of the target `configuration`.
pub fn check(input: &[u8]) -> bool {
    if leaves_the_folder(input) {
        return false;
    }
    let read = parse(input);
    is_the_same(&read, &parse(&in_other_layout(input)));
    let mut files = Files::new(input);
    match &read {
        Ok(config) => {
            for warning in &config.warnings {
                assert!(warning.is_warning(), "{warning}");
                files.have_the_place_of(warning);
            }
            is_complete(config);
            says_the_same_when_written_anew(config);
        }
        Err(errors) => {
            assert!(errors.iter().any(|error| !error.is_warning()), "refused for warnings alone");
            let mut before = (0, 0);
            for error in errors {
                files.have_the_place_of(error);
                // Those of one file come in its order; the remark that there are more is last.
                if error.path() == path() && error.line() > 0 {
                    let place = (error.line(), error.column());
                    assert!(place >= before, "{error} comes behind line {}", before.0);
                    before = place;
                }
            }
            assert_eq!(errors.to_string().lines().count(), errors.iter().count());
        }
    }
    read.is_ok()
}

/// Whether an `@INCLUDE` may name a file that is none of ours, such as a terminal.
fn leaves_the_folder(input: &[u8]) -> bool {
    let input = input.strip_prefix(BYTE_ORDER_MARK).unwrap_or(input);
    let mut lines = input.split(|&b| b == b'\n');
    lines.any(|line| line.trim_ascii_start().starts_with(b"@") && line.contains(&b'/'))
}

fn parse(text: &[u8]) -> Result<Config, ConfigErrors> {
    config::from_text(path(), text, &|name| match name {
        "HOST" => Some("10.0.0.1".to_owned()),
        "PAIR" => Some("a:1  b:2".to_owned()),
        "EMPTY" => Some(String::new()),
        "BLANK" => Some(" ".to_owned()),
        "NESTED" => Some("${HOST}".to_owned()),
        "FILE" => Some("servers.conf".to_owned()),
        _ => None,
    })
}

/// What the text is said to be: a file beside those that it may include.
fn path() -> &'static Path {
    static PATH: OnceLock<PathBuf> = OnceLock::new();
    PATH.get_or_init(|| {
        let package = Path::new(env!("CARGO_MANIFEST_DIR")); // the project's, or that of its fuzzers
        let folders = [package, &package.join("..")].map(|folder| folder.join("tests/properties/included"));
        let folder = folders.into_iter().find(|folder| folder.is_dir()).expect("the files to include");
        folder.join("proxy_reverse.conf")
    })
}

/// How many characters the lines of the files have that a message may name.
struct Files(HashMap<PathBuf, Vec<usize>>);

impl Files {
    fn new(input: &[u8]) -> Files {
        Files(HashMap::from([(path().to_owned(), lengths_of_lines(input))]))
    }

    /// The problem stands in a line that is there, and its message is one line.
    fn have_the_place_of(&mut self, problem: &ConfigError) {
        let lines = self.0.entry(problem.path().to_owned()).or_insert_with_key(|path| {
            let text = fs::read(path).unwrap_or_else(|error| panic!("{problem}: {error}"));
            lengths_of_lines(&text)
        });
        let (line, column) = (problem.line(), problem.column());
        if line == 0 {
            assert_eq!(column, 0, "{problem}");
        } else {
            assert!(line <= lines.len(), "{problem}: there are {} lines", lines.len());
            assert!((1..=lines[line - 1] + 1).contains(&column), "{problem}: in {}", lines[line - 1]);
        }
        let message = problem.kind().to_string();
        assert!(!message.is_empty() && !message.chars().any(char::is_control), "{message:?}");
        assert!(message.chars().count() < LONGEST_MESSAGE, "{message:?}");
    }
}

fn lengths_of_lines(text: &[u8]) -> Vec<usize> {
    let text = text.strip_prefix(BYTE_ORDER_MARK).unwrap_or(text);
    let lines = text.split(|&b| b == b'\n');
    lines.map(|line| String::from_utf8_lossy(line).chars().count()).collect()
}

/// What the rest of the crate relies on.
fn is_complete(config: &Config) {
    assert!(!config.entries.is_empty());
    for entry in &config.entries {
        assert!(entry.line > 0);
        assert!(!entry.patterns.is_empty() && !entry.servers.is_empty() && entry.servers.len() <= 4096);
        for pattern in &entry.patterns {
            assert!(!pattern.text.is_empty() && pattern.line > 0 && pattern.column > 0, "{pattern:?}");
        }
        let settings = &entry.settings;
        assert!((1 << 10..=1 << 20).contains(&settings.buffer_size));
        assert!(settings.statistics_url.as_deref().is_none_or(|url| url.starts_with('/')));
        assert!(settings.connect_timeout.is_none_or(|time| !time.is_zero()));
    }
    finds_the_first_that_matches(config);
}

/// All patterns tried at once give what one after the other would.
fn finds_the_first_that_matches(config: &Config) {
    let patterns: Vec<_> = config
        .entries
        .iter()
        .flat_map(|entry| &entry.patterns)
        .map(|pattern| pattern.text.as_str())
        .collect();
    let numbered = || patterns.iter().copied().zip(0..);
    let all = match Router::new(numbered()) {
        Ok(all) => all,
        Err(error) => {
            assert!(patterns.len() > 1, "{error}");
            return;
        }
    };
    if patterns.len() > 4 {
        return;
    }
    let each: Vec<_> = numbered().filter_map(|pattern| Router::new([pattern]).ok()).collect();
    assert_eq!(each.len(), patterns.len());
    for path in [&b"/"[..], b"/app/index.php", b"/a//B.JPG", b"/\xff\n%", b""] {
        let first = each.iter().find_map(|router| router.find(path, &mut router.scratch()));
        assert_eq!(all.find(path, &mut all.scratch()), first, "{patterns:?} on {path:?}");
    }
}

/// Writes the entries with all that they inherit, and reads that.
fn says_the_same_when_written_anew(config: &Config) {
    let mut text = String::new();
    for entry in &config.entries {
        let servers = config::written_servers(&entry.servers);
        let mut lines: Vec<String> =
            servers.into_iter().map(|line| format!("{} {}", keys::name_of(line.key), line.value)).collect();
        for key in KEYS.iter().filter(|key| !matches!(key.id, KeyId::ServerList | KeyId::Server)) {
            let values = config::written(entry, key.id);
            assert!(!values.is_empty() || key.default.is_none(), "{}", key.name);
            lines.extend(values.into_iter().map(|value| format!("{} {value}", key.name)));
        }
        // What came out of a variable may be something else when it stands in the file.
        let stays = |line: &str| {
            !line.replace("${client_ip}", "").replace("${host}", "").replace("${scheme}", "").contains("${")
        };
        if entry.patterns.iter().any(|pattern| pattern.text == "=") || !lines.iter().all(|line| stays(line)) {
            return;
        }
        text.push_str("[PROXY_ENTRY]\n");
        text.push_str(&lines.join("\n"));
        text.push('\n');
    }
    let again = parse(text.as_bytes()).unwrap_or_else(|errors| panic!("{errors}\nin\n{text}"));
    has_the_same_entries(config, &again, |pattern| pattern.text.clone());
}

/// A byte order mark, CR LF and a closing comment change nothing. Where they would, the same once
/// more: that has to come to the same, too.
fn in_other_layout(input: &[u8]) -> Vec<u8> {
    if input.contains(&b'\r') || input.starts_with(BYTE_ORDER_MARK) || input.trim_ascii().is_empty() {
        return input.to_vec();
    }
    let mut other = BYTE_ORDER_MARK.to_vec();
    for line in input.split(|&b| b == b'\n') {
        other.extend_from_slice(line);
        other.extend_from_slice(b"\r\n");
    }
    other.extend_from_slice(b"# the end");
    other
}

fn is_the_same(one: &Result<Config, ConfigErrors>, other: &Result<Config, ConfigErrors>) {
    match (one, other) {
        (Ok(one), Ok(other)) => {
            assert_eq!(one.warnings, other.warnings);
            has_the_same_entries(one, other, |pattern| pattern.clone());
            let lines = |config: &Config| config.entries.iter().map(|entry| entry.line).collect::<Vec<_>>();
            assert_eq!(lines(one), lines(other));
        }
        (Err(one), Err(other)) => assert_eq!(one, other),
        _ => panic!("{one:?}\nis not\n{other:?}"),
    }
}

/// Compares entries, and of their patterns what `of_pattern` takes.
fn has_the_same_entries<T: PartialEq + Debug>(
    one: &Config,
    other: &Config,
    of_pattern: impl Fn(&Pattern) -> T,
) {
    assert_eq!(one.entries.len(), other.entries.len());
    for (one, other) in one.entries.iter().zip(&other.entries) {
        let patterns = |entry: &ProxyEntry| entry.patterns.iter().map(&of_pattern).collect::<Vec<_>>();
        assert_eq!(patterns(one), patterns(other));
        assert_eq!(one.servers, other.servers);
        assert_eq!(one.load_balancer, other.load_balancer);
        assert_eq!(one.settings, other.settings);
    }
}

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Characters of a message: one text of 80 characters, each of them escaped, and words of ours,
/// the names of all keys among them.
const LONGEST_MESSAGE: usize = 80 * 10 + 1000;
