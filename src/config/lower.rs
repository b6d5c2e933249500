//! Raw sections to a configuration: checks every value, and lets entries inherit.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::Path;
use std::sync::Arc;

use regex::bytes::RegexBuilder;
use regex_syntax::ParserBuilder;

use super::PATTERN_SIZE_LIMIT;
use super::error::{ErrorKind, Problems, Span};
use super::heads::{self, Header, HeaderError, Side};
use super::health;
use super::hints;
use super::keys::{self, KEYS, Key, KeyId, Kind};
use super::lints::{self, Doubtful};
use super::model::{LoadBalancer, Pattern, ProxyEntry, Settings, UpgradePolicy};
use super::origins::{Origins, Place, Section};
use super::parse::{RawEntry, RawFile, RawSection, Value};
use super::retries::{self, RetryOn};
use super::servers::ServerLines;
use super::shadows;
use super::suggest::{closest, normalized};
use super::tracing;

/// Makes the entries of `raw`, in file order, and reports everything that is wrong. The
/// entries are of use only if nothing was.
pub(super) fn lower(
    raw: RawFile,
    root: &Arc<Path>,
    problems: &mut Problems,
) -> (Vec<ProxyEntry>, Vec<Origins>) {
    // Where lines are missing, the entry that seems to be may have stood in one of them.
    let mut may_have_entry = problems.has_errors();
    let mut defaults: Option<(Span, Draft)> = None;
    let mut entry_sections = Vec::new();
    for section in raw.sections {
        match kind_of(&section, problems) {
            SectionKind::Defaults => {
                let draft = Draft::default().with(&section, Section::Defaults, problems);
                match &defaults {
                    None => defaults = Some((section.span, draft)),
                    Some((first, _)) => {
                        let first = first.seen_from(&section.span);
                        problems.add(&section.span, ErrorKind::DuplicateDefaults { first });
                    }
                }
            }
            SectionKind::Entry => entry_sections.push(section),
            SectionKind::MaybeEntry => may_have_entry = true,
            SectionKind::Other => {}
        }
    }
    if entry_sections.is_empty() && !may_have_entry {
        problems.add(&Span::whole_file(root.clone()), ErrorKind::NoEntry);
    }

    let defaults = defaults.map(|(_, draft)| draft).unwrap_or_default();
    let entries: Vec<(Span, Draft)> = entry_sections
        .into_iter()
        .map(|section| {
            let draft = defaults.inherited().with(&section, Section::Entry, problems);
            if !draft.has_patterns {
                problems.add(&section.span, ErrorKind::NoMatch);
            }
            if !draft.has_servers {
                problems.add(&section.span, ErrorKind::NoServers);
            }
            (section.span, draft)
        })
        .collect();
    let doubtful: Vec<Doubtful> = entries.iter().map(|(span, draft)| draft.doubtful(span)).collect();
    shadows::warn(&doubtful, problems);
    lints::warn(&doubtful, problems);
    entries.into_iter().map(|(span, draft)| draft.finish(&span)).unzip()
}

enum SectionKind {
    Defaults,
    Entry,
    /// Unusable; it may have been meant as an entry.
    MaybeEntry,
    Other,
}

fn kind_of(section: &RawSection, problems: &mut Problems) -> SectionKind {
    let Some(name) = &section.name else { return SectionKind::MaybeEntry };
    let spelling = normalized(name);
    if spelling == normalized(DEFAULTS) {
        return SectionKind::Defaults;
    }
    if spelling == normalized(ENTRY) {
        return SectionKind::Entry;
    }
    let suggestion = closest(name, [DEFAULTS, ENTRY]);
    let kind = ErrorKind::UnknownSection { name: name.clone(), suggestion: suggestion.map(str::to_owned) };
    problems.add(&section.span, kind);
    if suggestion == Some(ENTRY) { SectionKind::MaybeEntry } else { SectionKind::Other }
}

/// What an entry is while its lines are read.
#[derive(Debug, Clone, Default)]
struct Draft {
    patterns: Vec<Pattern>,
    /// One for each of `patterns`; empty if they are inherited.
    pattern_spans: Vec<Span>,
    servers: ServerLines,
    load_balancer: LoadBalancer,
    settings: Settings,
    origins: Origins,
    /// Where the headers that are set or removed here stand, by key and name in lower case.
    headers: HashMap<(KeyId, String), Span>,
    /// Whether there are patterns, good ones or bad ones that are reported already.
    has_patterns: bool,
    /// The same for servers.
    has_servers: bool,
}

impl Draft {
    /// What an entry begins with.
    fn inherited(&self) -> Draft {
        Draft {
            pattern_spans: Vec::new(),
            servers: self.servers.inherited(),
            headers: HashMap::new(),
            ..self.clone()
        }
    }

    /// Puts the keys of a section over what is there already.
    fn with(mut self, section: &RawSection, kind: Section, problems: &mut Problems) -> Draft {
        let mut seen: HashMap<KeyId, &Span> = HashMap::new();
        for entry in &section.entries {
            let Some(key) = keys::find(&entry.key) else {
                let suggestion = suggested_key(&entry.key);
                if let Some(key) = suggestion {
                    self.note_presence(key.id);
                }
                let suggestion = suggestion.map(|key| key.name.to_owned());
                let kind = ErrorKind::UnknownKey { key: entry.key.clone(), suggestion };
                problems.add(&entry.span, kind);
                continue;
            };
            self.note_presence(key.id);
            let is_first = match seen.get(&key.id) {
                None => true,
                Some(_) if key.is_repeatable() => false,
                Some(first) => {
                    let first = first.seen_from(&entry.span);
                    let kind = ErrorKind::DuplicateKey { key: key.name.to_owned(), first };
                    problems.add(&entry.span, kind);
                    false
                }
            };
            seen.entry(key.id).or_insert(&entry.span);
            if is_first {
                self.drop_list(key.id);
            }
            self.note_origin(key.id, kind, entry);
            self.read(key, entry, problems);
        }
        if section.is_incomplete {
            self.has_patterns = true;
            self.has_servers = true;
        }
        self
    }

    fn note_presence(&mut self, key: KeyId) {
        self.has_patterns |= key == KeyId::Match;
        self.has_servers |= matches!(key, KeyId::ServerList | KeyId::Server);
    }

    fn note_origin(&mut self, key: KeyId, section: Section, entry: &RawEntry) {
        let variables = entry.value.as_ref().map(|value| value.variables.clone()).unwrap_or_default();
        self.origins.add(key, Place { section, variables, span: entry.span.clone() });
    }

    /// A list of the entry replaces the inherited one as a whole.
    fn drop_list(&mut self, key: KeyId) {
        if !matches!(key, KeyId::ServerList | KeyId::Server) {
            self.origins.forget(key);
        }
        match key {
            KeyId::Match => {
                self.patterns.clear();
                self.pattern_spans.clear();
            }
            KeyId::ServerList | KeyId::Server if self.servers.replace_inherited() => {
                self.origins.forget_servers();
            }
            KeyId::TrustedProxies => self.settings.heads.trusted_proxies.clear(),
            KeyId::StatisticsAllow => self.settings.statistics_allow.clear(),
            KeyId::CookieDomain => self.settings.heads.cookie_domains.clear(),
            KeyId::CookiePath => self.settings.heads.cookie_paths.clear(),
            KeyId::SetRequestHeader => self.settings.heads.set_request.clear(),
            KeyId::RemoveRequestHeader => self.settings.heads.remove_request.clear(),
            KeyId::SetResponseHeader => self.settings.heads.set_response.clear(),
            KeyId::RemoveResponseHeader => self.settings.heads.remove_response.clear(),
            _ => {}
        }
    }

    fn read(&mut self, key: &Key, entry: &RawEntry, problems: &mut Problems) {
        let Some(value) = &entry.value else { return };
        let text = value.text.trim_matches([' ', '\t']);
        if text.is_empty() {
            let (key, example) = (key.name.to_owned(), key.example.to_owned());
            problems.add(&entry.span, ErrorKind::NoValue { key, example });
            return;
        }
        let span = entry.span.at_column(value.column());
        if text.ends_with(';') && !matches!(key.kind, Kind::Patterns | Kind::Field { .. }) {
            let span = span.at_column(value.column_at(&text[text.len() - 1..]));
            problems.add(&span, ErrorKind::Semicolon);
            return;
        }
        if let Some((_, name)) = heads::first_variable(text)
            && !matches!(key.kind, Kind::Field { .. })
        {
            problems.add(&span, ErrorKind::RequestVariable { name: name.to_owned() });
            return;
        }
        let (kind, settings) = (key.kind, &mut self.settings);
        let is_good = match key.id {
            KeyId::Match => return self.add_patterns(&span, value, problems),
            KeyId::ServerList | KeyId::Server => {
                match key.id {
                    KeyId::ServerList => self.servers.add_list(&span, value, problems),
                    _ => self.servers.add_line(&span, value, problems),
                }
                return self.origins.add_servers(key.id, self.servers.list().len());
            }
            KeyId::LoadBalancer => return self.set_balancer(&span, text, problems),
            KeyId::StatisticsUrl => store(&mut settings.statistics_url, kind.url_path(text).map(Some)),
            KeyId::AttemptsCount => store(&mut settings.attempts_count, kind.number(text)),
            KeyId::MaxConnections => store(&mut settings.capacity.max_connections, kind.number(text)),
            KeyId::QueueSize => store(&mut settings.capacity.queue_size, kind.number(text)),
            KeyId::QueueTimeOut => store(&mut settings.capacity.queue_timeout, kind.time(text)),
            KeyId::OfflineTimeOut => store(&mut settings.offline_timeout, kind.time(text)),
            KeyId::FailOn => store(&mut settings.health.fail_on, health::fail_on(text)),
            KeyId::WhenAllOffline => {
                store(&mut settings.health.when_all_offline, health::when_all_offline(text))
            }
            KeyId::OfflineBackoff => store(&mut settings.health.backoff, kind.number(text)),
            KeyId::OfflineMax => store(&mut settings.health.offline_max, kind.time(text)),
            KeyId::OfflineJitter => store(&mut settings.health.offline_jitter, kind.number(text)),
            KeyId::ProbeOffline => store(&mut settings.health.probe_offline, kind.switch(text)),
            KeyId::ProbeInterval => store(&mut settings.health.probe_interval, kind.time(text)),
            KeyId::SlowStart => store(&mut settings.health.slow_start, kind.time(text)),
            KeyId::HealthCheck => store(&mut settings.health.check, health::health_check(text)),
            KeyId::HealthInterval => store(&mut settings.health.interval, kind.time(text)),
            KeyId::HealthTimeOut => store(&mut settings.health.timeout, kind.time(text)),
            KeyId::HealthRise => store(&mut settings.health.rise, kind.number(text)),
            KeyId::HealthFall => store(&mut settings.health.fall, kind.number(text)),
            KeyId::HealthStatus => store(&mut settings.health.statuses, health::statuses(text)),
            KeyId::RetryOn => return self.set_causes(key, &span, value, problems),
            KeyId::RetryCount => store(&mut settings.retries.count, kind.number(text)),
            KeyId::RetryTimeOut => store(&mut settings.retries.timeout, kind.time_limit(text)),
            KeyId::RetryNonIdempotent => store(&mut settings.retries.non_idempotent, kind.switch(text)),
            KeyId::RetryKeyHeader => store(&mut settings.retries.key_header, retries::key_header(text)),
            KeyId::RetryBudget => store(&mut settings.retries.budget_percent, kind.number(text)),
            KeyId::RetryBudgetMin => store(&mut settings.retries.budget_min, kind.number(text)),
            KeyId::PoisonGuard => store(&mut settings.retries.poison_guard, kind.switch(text)),
            KeyId::PoisonTimeOut => store(&mut settings.retries.poison_timeout, kind.time(text)),
            KeyId::ConnectTimeOut => store(&mut settings.connect_timeout, kind.time_limit(text)),
            KeyId::SendTimeOut => store(&mut settings.send_timeout, kind.time_limit(text)),
            KeyId::HeaderTimeOut => store(&mut settings.header_timeout, kind.time_limit(text)),
            KeyId::ReadTimeOut => store(&mut settings.read_timeout, kind.time_limit(text)),
            KeyId::ClientTimeOut => store(&mut settings.client_timeout, kind.time_limit(text)),
            KeyId::KeepAlive => store(&mut settings.keep_alive, kind.switch(text)),
            KeyId::PoolSize => store(&mut settings.pool_size, kind.pool_size(text)),
            KeyId::PoolIdleTimeOut => store(&mut settings.pool_idle_timeout, kind.time_limit(text)),
            KeyId::PoolMaxRequests => {
                store(&mut settings.pool_max_requests, kind.number(text).map(|n| (n > 0).then_some(n)))
            }
            KeyId::PoolMaxAge => store(&mut settings.pool_max_age, kind.time_limit(text)),
            KeyId::PoolUnsafeIdle => store(&mut settings.pool_unsafe_idle, kind.time(text)),
            KeyId::PoolLearn => store(&mut settings.pool_learn, kind.switch(text)),
            KeyId::BufferSize => store(&mut settings.buffer_size, kind.size(text)),
            KeyId::MaxResponseHeader => store(&mut settings.max_response_header, kind.size(text)),
            KeyId::HostHeader => store(&mut settings.heads.host, heads::host_header(text)),
            KeyId::TrustedProxies | KeyId::StatisticsAllow => {
                return self.add_networks(key, &span, value, problems);
            }
            KeyId::ForwardedHeaders => store(&mut settings.heads.forwarded, heads::forwarded_headers(text)),
            KeyId::Via => store(&mut settings.heads.via, heads::via(text)),
            KeyId::Upgrade => store(&mut settings.upgrade, UpgradePolicy::from_name(text)),
            KeyId::TunnelTimeOut => store(&mut settings.tunnel_timeout, kind.time_limit(text)),
            KeyId::StripPrefix => store(&mut settings.heads.strip_prefix, heads::path_prefix(text)),
            KeyId::AddPrefix => store(&mut settings.heads.add_prefix, heads::path_prefix(text)),
            KeyId::RewriteLocation => store(&mut settings.heads.rewrite_location, kind.switch(text)),
            KeyId::CookieDomain => push(&mut settings.heads.cookie_domains, pair(text, heads::domains)),
            KeyId::CookiePath => push(&mut settings.heads.cookie_paths, pair(text, heads::paths)),
            KeyId::Explain => store(&mut settings.tracing.explain, tracing::audience(text)),
            KeyId::ProxyLog => store(&mut settings.tracing.log, tracing::log_file(text)),
            KeyId::ProxyLogFormat => store(&mut settings.tracing.log_format, tracing::log_format(text)),
            KeyId::RequestId => store(&mut settings.tracing.request_id, tracing::request_id(text)),
            KeyId::ProxyStatus => store(&mut settings.tracing.proxy_status, kind.switch(text)),
            KeyId::SetRequestHeader | KeyId::SetResponseHeader => {
                return self.set_header(key, &span, value, problems);
            }
            KeyId::RemoveRequestHeader | KeyId::RemoveResponseHeader => {
                return self.remove_headers(key, &span, value, problems);
            }
        };
        if !is_good {
            let (key, value) = (key.name.to_owned(), text.to_owned());
            problems.add(&span, ErrorKind::BadValue { key, value, expected: kind.expected() });
        }
    }

    fn add_patterns(&mut self, span: &Span, value: &Value, problems: &mut Problems) {
        for (column, word) in value.words() {
            let span = span.at_column(column);
            match check_pattern(word) {
                Ok(()) => {
                    lints::warn_of_pattern(word, &span, problems);
                    let (path, line) = (Arc::clone(&span.path), span.line);
                    self.patterns.push(Pattern { text: word.to_owned(), path, line, column });
                    self.pattern_spans.push(span);
                }
                Err((at, reason)) => {
                    let span = span.at_column(value.column_at(word.get(at..).unwrap_or(word)));
                    let pattern = word.to_owned();
                    problems.add(&span, ErrorKind::BadPattern { pattern, reason });
                }
            }
        }
    }

    fn add_networks(&mut self, key: &Key, span: &Span, value: &Value, problems: &mut Problems) {
        let settings = &mut self.settings;
        let (list, read): (_, fn(&str) -> _) = match key.id {
            KeyId::StatisticsAllow => (&mut settings.statistics_allow, heads::viewers),
            _ => (&mut settings.heads.trusted_proxies, heads::networks),
        };
        let may_be_none = key.id == KeyId::TrustedProxies;
        let is_none = |word: &str| may_be_none && word.eq_ignore_ascii_case("none");
        if value.words().count() == 1 && value.words().all(|(_, word)| is_none(word)) {
            return;
        }
        for (column, word) in value.words() {
            match read(word) {
                Some(networks) => list.extend(networks),
                None => {
                    let (key_name, value) = (key.name.to_owned(), word.to_owned());
                    let expected = key.kind.expected();
                    let kind = ErrorKind::BadValue { key: key_name, value, expected };
                    problems.add(&span.at_column(column), kind);
                }
            }
        }
    }

    fn set_causes(&mut self, key: &Key, span: &Span, value: &Value, problems: &mut Problems) {
        let words: Vec<(usize, &str)> = value.words().collect();
        match RetryOn::from_words(words.iter().map(|&(_, word)| word)) {
            Ok(on) => self.settings.retries.on = on,
            Err(index) => {
                let (column, word) = words[index];
                let (key_name, expected) = (key.name.to_owned(), key.kind.expected());
                let kind = ErrorKind::BadValue { key: key_name, value: word.to_owned(), expected };
                problems.add(&span.at_column(column), kind);
            }
        }
    }

    fn set_header(&mut self, key: &Key, span: &Span, value: &Value, problems: &mut Problems) {
        let Kind::Field { side } = key.kind else { return };
        let Some((column, name)) = value.words().next() else { return };
        let span = span.at_column(column);
        let text = value.text.trim_matches([' ', '\t']);
        // A value that begins with another kind of blank is refused as a whole.
        let rest = text.strip_prefix(name).unwrap_or(text).trim_matches([' ', '\t']);
        let remove = match side {
            Side::Request => "RemoveRequestHeader",
            Side::Response => "RemoveResponseHeader",
        };
        let header = heads::header_name(name, side)
            .and_then(|()| match rest {
                "" => Err(HeaderError::NoValue { remove, name: name.to_owned() }),
                text => heads::header_value(text),
            })
            .and_then(|value| self.note_header(key.id, name, &span).map(|()| value));
        match header {
            Ok(value) => {
                let header = Header { name: name.to_owned(), value };
                match side {
                    Side::Request => self.settings.heads.set_request.push(header),
                    Side::Response => self.settings.heads.set_response.push(header),
                }
            }
            Err(problem) => add_bad_header(key, name, problem, &span, problems),
        }
    }

    fn remove_headers(&mut self, key: &Key, span: &Span, value: &Value, problems: &mut Problems) {
        let Kind::FieldNames { side } = key.kind else { return };
        for (column, name) in value.words() {
            let span = span.at_column(column);
            match heads::header_name(name, side).and_then(|()| self.note_header(key.id, name, &span)) {
                Ok(()) => match side {
                    Side::Request => self.settings.heads.remove_request.push(name.to_owned()),
                    Side::Response => self.settings.heads.remove_response.push(name.to_owned()),
                },
                Err(problem) => add_bad_header(key, name, problem, &span, problems),
            }
        }
    }

    /// Notes where a header is set or removed; twice is once too often.
    fn note_header(&mut self, key: KeyId, name: &str, span: &Span) -> Result<(), HeaderError> {
        match self.headers.entry((key, name.to_ascii_lowercase())) {
            Entry::Occupied(first) => Err(HeaderError::Twice { first: first.get().seen_from(span) }),
            Entry::Vacant(place) => {
                place.insert(span.clone());
                Ok(())
            }
        }
    }

    fn set_balancer(&mut self, span: &Span, text: &str, problems: &mut Problems) {
        match LoadBalancer::from_name(text) {
            Some(balancer) => self.load_balancer = balancer,
            None => {
                let valid = LoadBalancer::ALL.map(LoadBalancer::name).join(", ");
                let name = text.to_owned();
                problems.add(span, ErrorKind::UnknownBalancer { name, valid });
            }
        }
    }

    fn doubtful<'a>(&'a self, span: &'a Span) -> Doubtful<'a> {
        Doubtful {
            span,
            patterns: &self.patterns,
            pattern_spans: &self.pattern_spans,
            servers: self.servers.list(),
            load_balancer: self.load_balancer,
            settings: &self.settings,
            origins: &self.origins,
        }
    }

    fn finish(self, span: &Span) -> (ProxyEntry, Origins) {
        let entry = ProxyEntry {
            path: Arc::clone(&span.path),
            line: span.line,
            patterns: self.patterns,
            servers: self.servers.finish(),
            load_balancer: self.load_balancer,
            settings: self.settings,
        };
        (entry, self.origins)
    }
}

/// Compiles a pattern as the router will, and throws the result away. What is wrong, and at
/// which byte.
fn check_pattern(pattern: &str) -> Result<(), (usize, String)> {
    let mut parser = ParserBuilder::new().case_insensitive(true).unicode(false).utf8(false).build();
    match parser.parse(pattern) {
        Err(regex_syntax::Error::Parse(error)) => {
            return Err((error.span().start.offset, error.kind().to_string()));
        }
        Err(regex_syntax::Error::Translate(error)) => {
            return Err((error.span().start.offset, error.kind().to_string()));
        }
        _ => {}
    }
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .unicode(false)
        .size_limit(PATTERN_SIZE_LIMIT)
        .build()
        .map(|_| ())
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                (0, format!("it takes more than {limit} bytes when compiled"))
            }
            error => (0, short_reason(&error.to_string())),
        })
}

/// The line that matters of a message which also draws the pattern.
fn short_reason(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

fn suggested_key(name: &str) -> Option<&'static Key> {
    if let Some(hint) = hints::foreign_key(name) {
        return hint.split('\'').nth(1).and_then(keys::find);
    }
    keys::find(closest(name, KEYS.iter().map(|key| key.name))?)
}

/// Stores a value that could be read; says whether it could.
fn store<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

/// Adds a value that could be read; says whether it could.
fn push<T>(list: &mut Vec<T>, value: Option<T>) -> bool {
    value.map(|value| list.push(value)).is_some()
}

/// What `read` makes of the two words of a text.
fn pair<T>(text: &str, read: impl Fn(&str, &str) -> Option<T>) -> Option<T> {
    let mut words = text.split_ascii_whitespace();
    match (words.next(), words.next(), words.next()) {
        (Some(from), Some(to), None) => read(from, to),
        _ => None,
    }
}

fn add_bad_header(key: &Key, name: &str, problem: HeaderError, span: &Span, problems: &mut Problems) {
    let (key, name) = (key.name.to_owned(), name.to_owned());
    problems.add(span, ErrorKind::BadHeader { key, name, problem });
}

const DEFAULTS: &str = "PROXY_DEFAULTS";
const ENTRY: &str = "PROXY_ENTRY";
