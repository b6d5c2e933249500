//! What is written into the flight recorder of a backend, and in which words; and by which name a
//! line of the log calls a request.

use std::fmt;

use super::Now;
use super::exchange::{Attempt, Order};
use super::failure::Failure;
use super::host::ClientKey;
use super::network::Network;
use super::record::Record;
use super::shared::Route;
use super::window::Window;
use super::worker::Worker;
use crate::balancer::Flip;
use crate::stats::events::{About, Kind, Short};

/// Bytes of a request that are looked at for its name.
const NAMED_MAX: usize = 120;

/// Method and path of a request, in printable characters; the query may hold secrets.
pub(super) fn name_of(request: &[u8]) -> String {
    String::from_utf8_lossy(line_of(request)).escape_default().to_string()
}

/// The same without memory of its own.
fn short_name_of(request: &[u8]) -> Short<64> {
    Short::of_bytes(line_of(request))
}

fn line_of(request: &[u8]) -> &[u8] {
    let end = request.iter().take(NAMED_MAX).take_while(|&&byte| !matches!(byte, b'?' | b'\r')).count();
    let line = &request[..end];
    line.strip_suffix(b" HTTP/1.1").unwrap_or(line)
}

/// Which request a line of the log is about; empty unless `RequestId` gives it a name.
pub(super) struct Subject<'a>(Option<&'a Record>);

impl<'a> Subject<'a> {
    /// For a line that names the request itself.
    pub(super) fn id(self) -> Id<'a> {
        Id(self)
    }

    /// For a line that says nothing of the entry.
    pub(super) fn with_entry(self) -> WithEntry<'a> {
        WithEntry(self)
    }
}

/// Its id alone.
pub(super) struct Id<'a>(Subject<'a>);

impl fmt::Display for Id<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            Some(record) => write!(f, ", id={}", record.id()),
            None => Ok(()),
        }
    }
}

/// In brackets, with the entry.
pub(super) struct WithEntry<'a>(Subject<'a>);

impl fmt::Display for WithEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0 {
            Some(record) => write!(f, " (entry {}{})", record.place(), self.0),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Subject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(record) => write!(f, ", request '{}' id={}", name_of(record.line()), record.id()),
            None => Ok(()),
        }
    }
}

impl<N: Network> Worker<N> {
    /// What a line of the log calls the request of this exchange.
    pub(super) fn subject(&self, key: impl Into<Option<ClientKey>>) -> Subject<'_> {
        let record = key
            .into()
            .and_then(|key| self.exchanges.get(key))
            .and_then(|exchange| exchange.record.as_deref());
        Subject(record.filter(|record| !record.id().is_empty()))
    }
}

/// As much of the name of a request as an event has room for.
pub(super) type ShortId = Short<36>;

/// What `RequestId` calls a request.
pub(super) fn short_id(record: Option<&Record>) -> Option<ShortId> {
    record.map(Record::id).filter(|id| !id.is_empty()).map(Short::of)
}

impl Order {
    /// The name of its request, however much of that is still here.
    fn name(&self) -> Short<64> {
        if self.name.is_empty() { short_name_of(&self.request) } else { self.name }
    }

    /// Keeps the name, since the rest of the request is let go of.
    pub(super) fn keep_name(&mut self) {
        self.name = short_name_of(&self.request);
    }

    fn about(&self, phase: &'static str, id: Option<ShortId>) -> About {
        About { phase, request: self.name(), id, connection: None }
    }

    /// An attempt has failed in this phase, over a connection with this window.
    pub(super) fn note_failure(
        &self,
        attempt: &Attempt,
        (phase, id): (&'static str, Option<ShortId>),
        window: Option<Window>,
        failure: &Failure,
        now: Now,
    ) {
        let kind = match failure {
            Failure::Local(_) => Kind::Lack,
            _ if failure.blames_backend(attempt.reused) => Kind::Failure,
            _ => Kind::Stale,
        };
        let connection = window.filter(|_| phase != "connecting").map(|window| window.connection(now.ms));
        let about = About { connection, ..self.about(phase, id) };
        self.route.note(attempt.backend, kind, failure, Some(about), now);
    }

    /// A backend could not even be asked for a connection.
    pub(super) fn note_no_connection(
        &self,
        backend: usize,
        id: Option<ShortId>,
        failure: &Failure,
        now: Now,
    ) {
        let kind = if matches!(failure, Failure::Local(_)) { Kind::Lack } else { Kind::Failure };
        self.route.note(backend, kind, failure, Some(self.about("connecting", id)), now);
    }

    /// The answer of a backend to this request counts as a failure of it.
    pub(super) fn note_status(&self, backend: usize, id: Option<ShortId>, status: u16, now: Now) {
        let about = self.about("asking", id);
        self.route.note(backend, Kind::Failure, format_args!("it answered {status}"), Some(about), now);
    }

    /// This request made several backends break.
    pub(super) fn note_poison(&self, backend: usize, id: Option<ShortId>, now: Now) {
        let why = "other servers broke over this request too";
        self.route.note(backend, Kind::Poisoned, why, Some(self.about("asking", id)), now);
    }

    /// A backend gets this request as its trial.
    pub(super) fn note_trial(&self, backend: usize, id: Option<ShortId>, now: Now) {
        self.route.note(backend, Kind::Trial, "", Some(self.about("picking", id)), now);
    }
}

impl Route {
    /// Something happened to a backend.
    pub(super) fn note(
        &self,
        backend: usize,
        kind: Kind,
        why: impl fmt::Display,
        about: Option<About>,
        now: Now,
    ) {
        self.recorders[backend].note(now.unix, kind, why, about);
    }

    /// A backend went or came back.
    pub(super) fn note_flip(&self, backend: usize, flip: Flip, now: Now) {
        match flip {
            Flip::WentOffline { failures, until_ms } => {
                let seconds = until_ms.saturating_sub(now.ms) / 1000;
                self.note(
                    backend,
                    Kind::Offline,
                    format_args!("{failures} failures in a row; next trial in {seconds} s"),
                    None,
                    now,
                );
            }
            // Of checks tells who makes them.
            Flip::BecameUnfit => {}
            Flip::CameBack => self.note(backend, Kind::Back, "", None, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_named_in_one_short_line() {
        assert_eq!(name_of(b"GET /a?secret HTTP/1.1\r\nHost: h\r\n"), "GET /a");
        assert_eq!(name_of(b"PUT /a HTTP/1.1\r\n"), "PUT /a");
        assert_eq!(name_of(b"GET /\x1b[0m\xff"), "GET /\\u{1b}[0m\\u{fffd}");
        assert!(name_of(&[b'x'; 10_000]).len() < 200);
    }
}
