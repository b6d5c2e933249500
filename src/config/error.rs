//! What is wrong in a configuration, where, and what would be right.
//!
//! Every message has the form `file:line:col: what is wrong; what would be right`. The
//! layer that finds a problem adds it to [`Problems`] and goes on, so that one run shows
//! all of them.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::address::AddressError;
use super::heads::HeaderError;
use super::hints;
use super::keys;
use super::servers::OptionError;

/// One problem of a configuration file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    span: Span,
    kind: ErrorKind,
}

impl ConfigError {
    pub(super) fn new(span: Span, kind: ErrorKind) -> Self {
        ConfigError { span, kind }
    }

    /// The file that the problem stands in, as it was named to us.
    pub fn path(&self) -> &Path {
        &self.span.path
    }

    /// Line, counted from 1; 0 if the problem is one of the whole file.
    pub fn line(&self) -> usize {
        self.span.line
    }

    /// Column in characters, counted from 1; 0 if the problem is one of the whole file.
    pub fn column(&self) -> usize {
        self.span.column
    }

    /// What is wrong.
    pub fn kind(&self) -> &ErrorKind {
        &self.kind
    }

    /// The name of its kind for programs, such as `unknown-key`.
    pub fn code(&self) -> String {
        let shown = format!("{:?}", self.kind);
        let name = shown.split([' ', '(']).next().unwrap_or_default();
        let mut code = String::new();
        for letter in name.chars() {
            if letter.is_ascii_uppercase() && !code.is_empty() {
                code.push('-');
            }
            code.push(letter.to_ascii_lowercase());
        }
        code
    }

    /// The message in two parts: what is wrong, and what would be right.
    pub fn summary_and_remedy(&self) -> (String, String) {
        let message = self.kind.to_string();
        // What is quoted from the file stands in the first part.
        let last = message.rmatch_indices("; ").find(|(at, _)| !message[..*at].ends_with(' '));
        match last {
            Some((at, _)) => (message[..at].to_owned(), message[at + 2..].to_owned()),
            None => (message, String::new()),
        }
    }

    /// Whether the configuration can be used in spite of it.
    pub fn is_warning(&self) -> bool {
        matches!(
            self.kind,
            ErrorKind::NotAComment
                | ErrorKind::QuotedPattern
                | ErrorKind::GlobPattern { .. }
                | ErrorKind::PlainDot { .. }
                | ErrorKind::LoosePrefix { .. }
                | ErrorKind::CoveredEntry { .. }
                | ErrorKind::CoveredPattern { .. }
                | ErrorKind::NoEffect { .. }
                | ErrorKind::NoGrowth
                | ErrorKind::LongIdle
                | ErrorKind::TooManyRetries { .. }
                | ErrorKind::RetryTooLate
                | ErrorKind::ConnectTooLate
                | ErrorKind::OddStatisticsUrl
                | ErrorKind::EverybodyTrusted
                | ErrorKind::TextAfterSection
                | ErrorKind::ShadowedEntry { .. }
                | ErrorKind::ShadowedPattern { .. }
                | ErrorKind::AllDisabled
                | ErrorKind::AllBackup
                | ErrorKind::QueueWithoutLimit
                | ErrorKind::More { .. }
        )
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.span, self.kind)
    }
}

impl std::error::Error for ConfigError {}

/// All problems of one configuration, in the order in which the files are read. Never empty.
///
/// Warnings of a file that is refused stand among its errors: a stray comment is often the
/// reason for the error beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    errors: Vec<ConfigError>,
}

impl ConfigErrors {
    /// The problems, first line first.
    pub fn iter(&self) -> std::slice::Iter<'_, ConfigError> {
        self.errors.iter()
    }
}

impl From<ConfigError> for ConfigErrors {
    fn from(error: ConfigError) -> Self {
        ConfigErrors { errors: vec![error] }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}

impl IntoIterator for ConfigErrors {
    type Item = ConfigError;
    type IntoIter = std::vec::IntoIter<ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.errors.into_iter()
    }
}

impl<'a> IntoIterator for &'a ConfigErrors {
    type Item = &'a ConfigError;
    type IntoIter = std::slice::Iter<'a, ConfigError>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The kinds of problems; `Display` is the message without the position.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs)] // the message beside each variant says what it and its fields are
pub enum ErrorKind {
    // Files and bytes.
    #[error(
        "the file cannot be read ({reason}); check that it exists and that the server's user may read it"
    )]
    Unreadable { reason: String },
    #[error("the file is larger than {limit} bytes; is this a configuration file?")]
    TooLarge { limit: usize },
    #[error("the file is empty; write at least one [PROXY_ENTRY] with Match and ServerList")]
    Empty,
    #[error("byte 0x{byte:02x} is not UTF-8; save the file as UTF-8 text")]
    NotUtf8 { byte: u8 },
    #[error("NUL byte; save the file as UTF-8 text")]
    Nul,

    // Lines.
    #[error("section line without ']'; write [PROXY_DEFAULTS] or [PROXY_ENTRY]")]
    UnclosedSection,
    #[error("text after ']' is ignored; put it on a line of its own")]
    TextAfterSection,
    #[error(
        "key {} stands before any section; write [PROXY_DEFAULTS] or [PROXY_ENTRY] above it",
        quoted(.key)
    )]
    KeyBeforeSection { key: String },
    #[error(
        "{} follows the key {}; a blank alone separates key and value", quoted(.sign), quoted(.key)
    )]
    Separator { key: String, sign: String },
    #[error("'#' inside a value does not begin a comment; put the comment on a line of its own")]
    NotAComment,
    #[error(
        "environment variable {} is not set; set it, or write ${{{name}:-default}}", quoted(.name)
    )]
    UnsetVariable { name: String },
    #[error("{} is not a variable; write ${{NAME}} or ${{NAME:-default}}", quoted(.text))]
    BadVariable { text: String },

    // Directives.
    #[error("unknown directive {}; the only one is '@INCLUDE file'", quoted(.name))]
    UnknownDirective { name: String },
    #[error("@INCLUDE names no file; write '@INCLUDE file', relative to this file's folder")]
    IncludeWithoutFile,
    #[error(
        "included file {} cannot be read ({reason}); check that it exists, relative to this file's folder, and that the server's user may read it",
        quoted(.file)
    )]
    IncludeUnreadable { file: String, reason: String },
    #[error("included file {} is larger than {limit} bytes; is this a configuration file?", quoted(.file))]
    IncludeTooLarge { file: String, limit: usize },
    #[error("{} is being read already, it includes itself; remove this @INCLUDE", quoted(.file))]
    IncludeCycle { file: String },
    #[error(
        "{} is included more than {limit} levels deep; include it from a file further up",
        quoted(.file)
    )]
    IncludeDepth { file: String, limit: usize },
    #[error("{} is one included file more than the limit of {limit}; join some of them", quoted(.file))]
    IncludeCount { file: String, limit: usize },

    // Sections and keys.
    #[error("unknown section [{}]; {}", cleaned(.name), section_hint(.suggestion.as_deref()))]
    UnknownSection { name: String, suggestion: Option<String> },
    #[error("[PROXY_DEFAULTS] stands already at {first}; keep one and move the keys there")]
    DuplicateDefaults { first: String },
    #[error("unknown key {}; {}", quoted(.key), key_hint(.key, .suggestion.as_deref()))]
    UnknownKey { key: String, suggestion: Option<String> },
    #[error("key '{key}' stands already at {first}; keep one of the two lines")]
    DuplicateKey { key: String, first: String },
    #[error("key '{key}' has no value; write one, as in '{key} {example}'")]
    NoValue { key: String, example: String },
    #[error("there is no [PROXY_ENTRY]; write at least one with Match and ServerList")]
    NoEntry,
    #[error("[PROXY_ENTRY] has no Match, nothing would reach it; write one, as in 'Match \\.php$'")]
    NoMatch,
    #[error(
        "[PROXY_ENTRY] has no servers; write ServerList here or in [PROXY_DEFAULTS], as in 'ServerList 127.0.0.1:8081'"
    )]
    NoServers,

    // Values.
    #[error("{} is no value for {key}; {}", quoted(.value), value_hint(.key, .value, .expected))]
    BadValue { key: String, value: String, expected: String },
    #[error("a line needs no ';' at its end; remove it")]
    Semicolon,
    #[error("the quotes are a part of the pattern; remove them")]
    QuotedPattern,
    #[error("unknown load balancer {}; {}write one of {valid}", quoted(.name), balancer_hint(.name))]
    UnknownBalancer { name: String, valid: String },
    #[error("server {}: {problem}", quoted(.text))]
    BadAddress { text: String, problem: AddressError },
    #[error("{key} {}: {problem}", quoted(.name))]
    BadHeader { key: String, name: String, problem: HeaderError },
    #[error(
        "${{{name}}} is known only when a request comes; it stands in SetRequestHeader and SetResponseHeader alone"
    )]
    RequestVariable { name: String },
    #[error("server option {}: {problem}", quoted(.option))]
    BadServerOption { option: String, problem: OptionError },
    #[error(
        "server {} stands already at {first}; keep one, with weight=2 if it is to get twice as much",
        quoted(.server)
    )]
    DuplicateServer { server: String, first: String },
    #[error("more than {limit} servers or {shares} shares in one entry; split them over several entries")]
    TooManyServers { limit: usize, shares: u32 },
    #[error(
        "pattern {} is not usable: {reason}; {}", quoted(.pattern), pattern_hint(.pattern)
    )]
    BadPattern { pattern: String, reason: String },

    // Entries beside each other.
    #[error(
        "this [PROXY_ENTRY] can never match, the entry at {first} has the same patterns and comes first; remove one of them"
    )]
    ShadowedEntry { first: String },
    #[error(
        "pattern {} can never match here, the entry at {first} has it too and comes first; remove one of them",
        quoted(.pattern)
    )]
    ShadowedPattern { pattern: String, first: String },

    #[error(
        "this [PROXY_ENTRY] can never match, {} of the entry at {first} takes all of its paths and comes first; move this entry before that one", quoted(.by)
    )]
    CoveredEntry { by: String, first: String },
    #[error(
        "pattern {} can never match here, {} of the entry at {first} takes all of its paths and comes first; move this entry before that one, or remove the pattern", quoted(.pattern), quoted(.by)
    )]
    CoveredPattern { pattern: String, by: String, first: String },

    // Lines that are probably not meant as they stand.
    #[error(
        "{} is a regular expression: a star repeats what stands before it, and a dot is any character; write {} if that is meant", quoted(.pattern), quoted(.meant)
    )]
    GlobPattern { pattern: String, meant: String },
    #[error("the dot in {} is any character, and may stand anywhere; write {} if that is meant", quoted(.pattern), quoted(.meant))]
    PlainDot { pattern: String, meant: String },
    #[error(
        "{} matches anywhere in a path, as in {}; write {} if paths are to begin with it",
        quoted(.pattern), quoted(&format!("/x{pattern}")), quoted(&format!("^{pattern}"))
    )]
    LoosePrefix { pattern: String },
    #[error("{key} has no effect, {because}; {remedy}")]
    NoEffect { key: String, because: String, remedy: String },
    #[error(
        "the offline time does not grow, OfflineTimeOut is longer than this already; write more than OfflineTimeOut, or OfflineBackoff 1"
    )]
    NoGrowth,
    #[error(
        "many servers close idle connections after 5 seconds, and PoolLearn is off; write 4, or PoolLearn on"
    )]
    LongIdle,
    #[error(
        "no request is sent again {count} times, each server gets it once and there are {servers}; write {most}, or name more servers"
    )]
    TooManyRetries { count: usize, servers: usize, most: usize },
    #[error(
        "'timeout' has no effect here, HeaderTimeOut and SendTimeOut end no sooner than RetryTimeOut; write a shorter HeaderTimeOut, or a longer RetryTimeOut"
    )]
    RetryTooLate,
    #[error(
        "a server that takes no connection in this time is the last one that is asked, RetryTimeOut is over by then; write less than RetryTimeOut"
    )]
    ConnectTooLate,
    #[error(
        "no request reaches this StatisticsURL, paths are compared without '//' and '.' segments; write the path without them"
    )]
    OddStatisticsUrl,
    #[error(
        "everybody is trusted, so that any client can say who it is; write the addresses of your own proxies, or private"
    )]
    EverybodyTrusted,

    #[error("all servers of this entry are disabled, every request gets a 503; enable one of them")]
    AllDisabled,
    #[error("all servers of this entry are backups, which is as if none were; leave out 'backup'")]
    AllBackup,
    #[error(
        "QueueSize has no effect where all servers take any number of requests; write MaxConnections, or max= of a Server"
    )]
    QueueWithoutLimit,

    #[error("{count} further problems are not shown; correct the ones above first")]
    More { count: usize },
}

/// Where something stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub path: Arc<Path>,
    /// Lines read so far, over all files: what problems are sorted by.
    pub order: usize,
    /// From 1; 0 is the whole file.
    pub line: usize,
    /// In characters, from 1; 0 is the whole file.
    pub column: usize,
}

impl Span {
    pub fn whole_file(path: Arc<Path>) -> Self {
        Span { path, order: 0, line: 0, column: 0 }
    }

    pub fn at_column(&self, column: usize) -> Self {
        Span { column, ..self.clone() }
    }

    /// How a message about a line of `from`'s file refers to this line.
    pub fn seen_from(&self, from: &Span) -> String {
        if self.path == from.path {
            format!("line {}", self.line)
        } else {
            format!("{}:{}", cleaned(&self.path.to_string_lossy()), self.line)
        }
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path.to_string_lossy())?;
        if self.line > 0 {
            write!(f, ":{}:{}", self.line, self.column)?;
        }
        Ok(())
    }
}

/// Collects what is wrong while reading goes on; bounded.
#[derive(Debug, Default)]
pub(super) struct Problems {
    found: Vec<ConfigError>,
    errors: usize,
    hidden: usize,
}

impl Problems {
    pub fn add(&mut self, span: &Span, kind: ErrorKind) {
        let problem = ConfigError::new(span.clone(), kind);
        let is_error = !problem.is_warning();
        self.errors += usize::from(is_error);
        // Warnings don't push errors out.
        if self.found.len() < MAX_PROBLEMS || (is_error && self.errors <= MAX_PROBLEMS) {
            self.found.push(problem);
        } else {
            self.hidden += 1;
        }
    }

    pub fn has_errors(&self) -> bool {
        self.errors > 0
    }

    /// The warnings, or, if there is any error, everything.
    pub fn finish(mut self, root: Arc<Path>) -> Result<Vec<ConfigError>, ConfigErrors> {
        self.found.sort_by_key(|problem| (problem.span.order, problem.span.column));
        if self.hidden > 0 {
            let kind = ErrorKind::More { count: self.hidden };
            self.found.push(ConfigError::new(Span::whole_file(root), kind));
        }
        if self.errors == 0 { Ok(self.found) } else { Err(ConfigErrors { errors: self.found }) }
    }
}

/// A file name for messages.
pub(super) fn shown_path(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn section_hint(suggestion: Option<&str>) -> String {
    match suggestion {
        Some(name) => format!("did you mean [{name}]?"),
        None => "the sections are [PROXY_DEFAULTS] and [PROXY_ENTRY]".to_owned(),
    }
}

fn key_hint(key: &str, suggestion: Option<&str>) -> String {
    match (hints::foreign_key(key), suggestion) {
        (Some(hint), _) => format!("write {hint}"),
        (None, Some(name)) => format!("did you mean '{name}'?"),
        (None, None) => "none is called anything like it, 'mkproxy keys' lists them all".to_owned(),
    }
}

fn value_hint(key: &str, value: &str, expected: &str) -> String {
    match keys::find(key).and_then(|key| hints::value(key, value)) {
        Some(meant) => format!("did you mean '{meant}'? Write {expected}"),
        None => format!("write {expected}"),
    }
}

fn balancer_hint(name: &str) -> String {
    hints::balancer(name).map(|name| format!("did you mean '{name}'? Or ")).unwrap_or_default()
}

fn pattern_hint(pattern: &str) -> String {
    match hints::glob(pattern) {
        Some(meant) => format!("did you mean '{meant}'? A star repeats what stands before it"),
        None => "write a regular expression without look-around and back-references, and \\ before a character that stands for itself".to_owned(),
    }
}

fn quoted(text: &str) -> String {
    format!("'{}'", cleaned(text))
}

/// Text from a file, fit for one line of a log: short, and without control characters.
pub(super) fn cleaned(text: &str) -> String {
    let mut out = String::new();
    for (count, c) in text.chars().enumerate() {
        if count == MAX_SHOWN {
            out.push_str("...");
            break;
        }
        if c.is_control() || (c.is_whitespace() && c != ' ') {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}

/// Problems that are kept; a file that is no configuration at all has one on every line.
const MAX_PROBLEMS: usize = 200;

/// Characters of a text from the file that a message repeats.
const MAX_SHOWN: usize = 80;
