//! Raw sections to a configuration: checks every value, and lets entries inherit.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use regex::bytes::RegexBuilder;

use super::error::{ErrorKind, Problems, Span};
use super::keys::{self, KEYS, Key, KeyId};
use super::model::{LoadBalancer, Pattern, ProxyEntry, ServerAddress, Settings};
use super::parse::{RawEntry, RawFile, RawSection, Value};
use super::suggest::{closest, normalized};
use super::{PATTERN_SIZE_LIMIT, address};

/// Makes the entries of `raw`, in file order, and reports everything that is wrong. The
/// entries are of use only if nothing was.
pub(super) fn lower(raw: RawFile, root: &Arc<Path>, problems: &mut Problems) -> Vec<ProxyEntry> {
    // Where lines are missing, the entry that seems to be may have stood in one of them.
    let mut may_have_entry = problems.has_errors();
    let mut defaults: Option<(Span, Draft)> = None;
    let mut entry_sections = Vec::new();
    for section in raw.sections {
        match kind_of(&section, problems) {
            SectionKind::Defaults => {
                let draft = Draft::default().with(&section, problems);
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
            let draft = defaults.inherited().with(&section, problems);
            if !draft.has_patterns {
                problems.add(&section.span, ErrorKind::NoMatch);
            }
            if !draft.has_servers {
                problems.add(&section.span, ErrorKind::NoServers);
            }
            (section.span, draft)
        })
        .collect();
    warn_of_shadows(&entries, problems);
    entries.into_iter().map(|(span, draft)| draft.finish(&span)).collect()
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
    servers: Vec<ServerAddress>,
    load_balancer: LoadBalancer,
    settings: Settings,
    /// Whether there are patterns, good ones or bad ones that are reported already.
    has_patterns: bool,
    /// The same for servers.
    has_servers: bool,
}

impl Draft {
    /// What an entry begins with.
    fn inherited(&self) -> Draft {
        Draft { pattern_spans: Vec::new(), ..self.clone() }
    }

    /// Puts the keys of a section over what is there already.
    fn with(mut self, section: &RawSection, problems: &mut Problems) -> Draft {
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
        self.has_servers |= key == KeyId::ServerList;
    }

    /// A list of the entry replaces the inherited one as a whole.
    fn drop_list(&mut self, key: KeyId) {
        match key {
            KeyId::Match => {
                self.patterns.clear();
                self.pattern_spans.clear();
            }
            KeyId::ServerList => self.servers.clear(),
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
        let (kind, settings) = (key.kind, &mut self.settings);
        let is_good = match key.id {
            KeyId::Match => return self.add_patterns(&span, value, problems),
            KeyId::ServerList => return self.add_servers(&span, value, problems),
            KeyId::LoadBalancer => return self.set_balancer(&span, text, problems),
            KeyId::StatisticsUrl => store(&mut settings.statistics_url, kind.url_path(text).map(Some)),
            KeyId::AttemptsCount => store(&mut settings.attempts_count, kind.number(text)),
            KeyId::OfflineTimeOut => store(&mut settings.offline_timeout, kind.time(text)),
            KeyId::RetryCount => store(&mut settings.retry_count, kind.number(text)),
            KeyId::ConnectTimeOut => store(&mut settings.connect_timeout, kind.time_limit(text)),
            KeyId::SendTimeOut => store(&mut settings.send_timeout, kind.time_limit(text)),
            KeyId::HeaderTimeOut => store(&mut settings.header_timeout, kind.time_limit(text)),
            KeyId::ReadTimeOut => store(&mut settings.read_timeout, kind.time_limit(text)),
            KeyId::ClientTimeOut => store(&mut settings.client_timeout, kind.time_limit(text)),
            KeyId::KeepAlive => store(&mut settings.keep_alive, kind.switch(text)),
            KeyId::PoolSize => store(&mut settings.pool_size, kind.number(text).map(|size| size as usize)),
            KeyId::PoolIdleTimeOut => store(&mut settings.pool_idle_timeout, kind.time_limit(text)),
            KeyId::BufferSize => store(&mut settings.buffer_size, kind.size(text)),
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
                    self.patterns.push(Pattern { text: word.to_owned(), line: span.line, column });
                    self.pattern_spans.push(span);
                }
                Err(reason) => {
                    let pattern = word.to_owned();
                    problems.add(&span, ErrorKind::BadPattern { pattern, reason });
                }
            }
        }
    }

    fn add_servers(&mut self, span: &Span, value: &Value, problems: &mut Problems) {
        for (column, word) in value.words() {
            let span = span.at_column(column);
            if self.servers.len() == SERVERS_MAX {
                problems.add(&span, ErrorKind::TooManyServers { limit: SERVERS_MAX });
                return;
            }
            match address::parse(word) {
                Ok(address) => self.servers.push(address),
                Err(problem) => {
                    let text = word.to_owned();
                    problems.add(&span, ErrorKind::BadAddress { text, problem });
                }
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

    fn finish(self, span: &Span) -> ProxyEntry {
        ProxyEntry {
            line: span.line,
            patterns: self.patterns,
            servers: self.servers,
            load_balancer: self.load_balancer,
            settings: self.settings,
        }
    }
}

/// Warns of patterns that an earlier entry has too, letter for letter.
fn warn_of_shadows(entries: &[(Span, Draft)], problems: &mut Problems) {
    let mut first_with: HashMap<&str, &Span> = HashMap::new();
    for (span, draft) in entries {
        let shadows: Vec<Option<&Span>> =
            draft.patterns.iter().map(|pattern| first_with.get(pattern.text.as_str()).copied()).collect();
        if let Some(&Some(first)) = shadows.first()
            && shadows.iter().all(|shadow| shadow.is_some_and(|s| s.order == first.order))
        {
            let first = first.seen_from(span);
            problems.add(span, ErrorKind::ShadowedEntry { first });
        } else {
            for (index, first) in shadows.iter().enumerate() {
                let Some(first) = first else { continue };
                let at = draft.pattern_spans.get(index).unwrap_or(span);
                let pattern = draft.patterns[index].text.clone();
                let first = first.seen_from(at);
                problems.add(at, ErrorKind::ShadowedPattern { pattern, first });
            }
        }
        for pattern in &draft.patterns {
            first_with.entry(&pattern.text).or_insert(span);
        }
    }
}

/// Compiles a pattern as the router will, and throws the result away.
fn check_pattern(pattern: &str) -> Result<(), String> {
    RegexBuilder::new(pattern)
        .case_insensitive(true)
        .unicode(false)
        .size_limit(PATTERN_SIZE_LIMIT)
        .build()
        .map(|_| ())
        .map_err(|error| match error {
            regex::Error::CompiledTooBig(limit) => {
                format!("it takes more than {limit} bytes when compiled")
            }
            error => short_reason(&error.to_string()),
        })
}

/// The line that matters of a message which also draws the pattern.
fn short_reason(message: &str) -> String {
    let last = message.lines().last().unwrap_or_default();
    last.trim().trim_start_matches("error: ").to_owned()
}

fn suggested_key(name: &str) -> Option<&'static Key> {
    keys::find(closest(name, KEYS.iter().map(|key| key.name))?)
}

/// Stores a value that could be read; says whether it could.
fn store<T>(place: &mut T, value: Option<T>) -> bool {
    value.map(|value| *place = value).is_some()
}

const DEFAULTS: &str = "PROXY_DEFAULTS";
const ENTRY: &str = "PROXY_ENTRY";

/// Servers in one list, repetitions counted.
const SERVERS_MAX: usize = 4096;
