//! The servers of an entry: the model, and how `ServerList` and `Server` lines are read.

use std::time::Duration;

use super::address::{self, AddressError};
use super::error::{ErrorKind, Problems, Span};
use super::model::ServerAddress;
use super::parse::Value;
use super::suggest::closest;

/// One server of an entry, as its line describes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub address: ServerAddress,
    /// Its shares of the requests, 1 to 256. One that stands several times in a
    /// `ServerList` stands here as often.
    pub weight: u32,
    /// It gets requests only while no other server can take them.
    pub backup: bool,
    /// Most requests at a time, 0 for any number; `None` for what `MaxConnections` says.
    pub max: Option<u32>,
    /// What statistics and messages call it.
    pub name: Option<String>,
    /// It gets no requests at all.
    pub disabled: bool,
}

impl Server {
    /// A server about which nothing is said but where it listens.
    pub fn at(address: ServerAddress) -> Self {
        Server { address, weight: 1, backup: false, max: None, name: None, disabled: false }
    }
}

/// How many requests servers take at a time, and what becomes of the others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capacity {
    /// Most requests at a time for each server that says nothing else; 0 for any number.
    pub max_connections: u32,
    /// Requests that may wait for a server; 0 for none.
    pub queue_size: u32,
    /// How long they wait.
    pub queue_timeout: Duration,
}

impl Default for Capacity {
    fn default() -> Self {
        Capacity { max_connections: 0, queue_size: 0, queue_timeout: Duration::from_secs(5) }
    }
}

/// Why a word behind the address of a `Server` line is no option, and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the message beside each variant says what it and its fields are
#[non_exhaustive]
pub enum OptionError {
    #[error("{}", option_hint(.suggestion))]
    Unknown { suggestion: Option<&'static str> },
    #[error("a Server line has one address; write a line for each server, or ServerList")]
    SecondAddress,
    #[error("the address stands first; write '{address} name={name}'")]
    NameFirst { name: String, address: String },
    #[error("not an option; between an option and its value write '=', as in weight=2")]
    Colon,
    #[error("not a weight; write a whole number from 1 to {WEIGHT_MAX}, as in weight=2")]
    Weight,
    #[error("not a number of requests; write a whole number from 0 to {REQUESTS_MAX}, as in max=100")]
    Max,
    #[error("not a name; write at most {NAME_MAX} letters, digits, '-', '_' and '.', as in name=app-1")]
    Name,
    #[error("this option stands twice; keep one of the two")]
    Twice,
    #[error("the server at {first} has this name already; write another one")]
    NameTwice { first: String },
}

fn option_hint(suggestion: &Option<&'static str>) -> String {
    match suggestion {
        Some(option) => format!("not an option; did you mean '{option}'?"),
        None => {
            "not an option; the options are weight=2, backup, max=100, name=app-1 and disabled".to_owned()
        }
    }
}

/// The servers of a section while its lines are read.
#[derive(Debug, Clone, Default)]
pub(super) struct ServerLines {
    list: Vec<Server>,
    /// Where each of `list` stands; empty if they are inherited.
    spans: Vec<Span>,
    /// How many shares they have together.
    shares: u32,
}

impl ServerLines {
    /// What an entry begins with.
    pub fn inherited(&self) -> ServerLines {
        ServerLines { spans: Vec::new(), ..self.clone() }
    }

    /// The first line of a section replaces what is inherited. Whether this was such a line.
    pub fn replace_inherited(&mut self) -> bool {
        let is_first = self.spans.is_empty();
        if is_first {
            *self = ServerLines::default();
        }
        is_first
    }

    /// Adds the servers of a `ServerList` line.
    pub fn add_list(&mut self, span: &Span, value: &Value, problems: &mut Problems) {
        for (column, word) in value.words() {
            let span = span.at_column(column);
            match address::parse(word) {
                Ok(address) => {
                    // In a list a server may stand several times, unless a line of its own describes it.
                    let described = self.place_of(&address).is_some_and(|place| self.is_described(place));
                    if !self.add(Server::at(address), &span, described, problems) {
                        return;
                    }
                }
                Err(problem) => add_bad_address(word, problem, &span, problems),
            }
        }
    }

    /// Adds the server of a `Server` line.
    pub fn add_line(&mut self, span: &Span, value: &Value, problems: &mut Problems) {
        let mut words = value.words();
        let Some((column, first)) = words.next() else { return };
        let mut server = match address::parse(first) {
            Ok(address) => Server::at(address),
            Err(problem) => return add_bad_address(first, problem, &span.at_column(column), problems),
        };
        let mut seen = Vec::new();
        for (column, word) in words {
            let span = span.at_column(column);
            let (name, text) = word.split_once('=').map_or((word, None), |(name, text)| (name, Some(text)));
            let name = name.to_ascii_lowercase();
            let read = if seen.contains(&name) {
                Err(OptionError::Twice)
            } else {
                server.read_option(&name, text).and_then(|()| match name.as_str() {
                    "name" => self.check_name(&server, &span),
                    _ => Ok(()),
                })
            };
            if let Err(mut problem) = read {
                if matches!(problem, OptionError::SecondAddress) && is_name(first) && !first.contains('.') {
                    let (name, address) = (first.to_owned(), word.to_owned());
                    problem = OptionError::NameFirst { name, address };
                }
                problems.add(&span, ErrorKind::BadServerOption { option: word.to_owned(), problem });
            }
            seen.push(name);
        }
        let is_there = self.place_of(&server.address).is_some();
        self.add(server, &span.at_column(column), is_there, problems);
    }

    /// Whether it could be added, or at least the next one may be.
    fn add(&mut self, server: Server, span: &Span, is_there: bool, problems: &mut Problems) -> bool {
        if self.list.len() == SERVERS_MAX || self.shares + server.weight > SHARES_MAX {
            let (limit, shares) = (SERVERS_MAX, SHARES_MAX);
            problems.add(span, ErrorKind::TooManyServers { limit, shares });
            return false;
        }
        if is_there && let Some(place) = self.place_of(&server.address) {
            let first = self.spans[place].seen_from(span);
            let server = server.address.to_string();
            problems.add(span, ErrorKind::DuplicateServer { server, first });
            return true;
        }
        self.shares += server.weight;
        self.list.push(server);
        self.spans.push(span.clone());
        true
    }

    fn place_of(&self, address: &ServerAddress) -> Option<usize> {
        self.list.iter().position(|server| server.address == *address)
    }

    fn is_described(&self, place: usize) -> bool {
        self.list.get(place).is_some_and(|server| *server != Server::at(server.address.clone()))
    }

    fn check_name(&self, server: &Server, span: &Span) -> Result<(), OptionError> {
        let Some(name) = &server.name else { return Ok(()) };
        let is_it = |other: &Server| other.name.as_ref().is_some_and(|it| it.eq_ignore_ascii_case(name));
        match self.list.iter().position(is_it) {
            Some(place) => Err(OptionError::NameTwice { first: self.spans[place].seen_from(span) }),
            None => Ok(()),
        }
    }

    /// The servers so far.
    pub fn list(&self) -> &[Server] {
        &self.list
    }

    /// The servers.
    pub fn finish(self) -> Vec<Server> {
        self.list
    }
}

impl Server {
    fn read_option(&mut self, name: &str, text: Option<&str>) -> Result<(), OptionError> {
        match (name, text) {
            ("weight", Some(text)) => {
                self.weight = number(text, 1..=WEIGHT_MAX).ok_or(OptionError::Weight)?;
            }
            ("max", Some(text)) => self.max = Some(number(text, 0..=REQUESTS_MAX).ok_or(OptionError::Max)?),
            ("name", Some(text)) if is_name(text) => self.name = Some(text.to_owned()),
            ("weight", None) => return Err(OptionError::Weight),
            ("max", None) => return Err(OptionError::Max),
            ("name", _) => return Err(OptionError::Name),
            ("backup", None) => self.backup = true,
            ("disabled", None) => self.disabled = true,
            (_, None) if name.split_once(':').is_some_and(|(name, _)| OPTIONS.contains(&name)) => {
                return Err(OptionError::Colon);
            }
            (_, None) if address::parse(name).is_ok() && name.contains([':', '.']) => {
                return Err(OptionError::SecondAddress);
            }
            _ => return Err(OptionError::Unknown { suggestion: closest(name, OPTIONS) }),
        }
        Ok(())
    }
}

fn number(text: &str, range: std::ops::RangeInclusive<u32>) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| digits && range.contains(number))
}

fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-_.".contains(&b);
    (1..=NAME_MAX).contains(&text.len()) && text.bytes().all(fits)
}

fn add_bad_address(word: &str, problem: AddressError, span: &Span, problems: &mut Problems) {
    problems.add(span, ErrorKind::BadAddress { text: word.to_owned(), problem });
}

const OPTIONS: [&str; 5] = ["weight", "backup", "max", "name", "disabled"];

/// The largest weight.
pub const WEIGHT_MAX: u32 = 256;

/// The largest `max`, and `MaxConnections`.
pub const REQUESTS_MAX: u32 = 65_535;

/// Characters in a name.
const NAME_MAX: usize = 64;

/// Servers of one entry, repetitions counted.
const SERVERS_MAX: usize = 4096;

/// Their weights together: the order of turns is found out in advance.
const SHARES_MAX: u32 = 65_536;
