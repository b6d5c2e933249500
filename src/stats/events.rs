//! What happened to a backend lately: when it failed and why, when it went and came back. A ring of
//! fixed size for each backend, so that "why was it offline last night" has an answer without logs.
//! Only what is rare is noted; it takes a lock, and memory when a backend has its first event.

use std::collections::VecDeque;
use std::fmt::{self, Write};

use parking_lot::Mutex;
use serde::{Serialize, Serializer};

/// Events that are kept of each backend.
pub const KEPT: usize = 64;
/// The same again within so many seconds is counted with the former.
const SAME_WITHIN_S: u64 = 60;

/// What kind of event it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An attempt failed, by the fault of the backend.
    Failure,
    /// A connection that was kept turned out to be closed: nobody's fault.
    Stale,
    /// An attempt failed for a lack on our side.
    Lack,
    /// A failure was the fault of the request.
    Poisoned,
    /// It went offline.
    Offline,
    /// A request tries whether it is back.
    Trial,
    /// It is back online.
    Back,
    /// It fails its check from now on.
    CheckFailed,
    /// It passes its check again.
    CheckPassed,
}

impl Kind {
    /// What people read.
    pub fn words(self) -> &'static str {
        match self {
            Kind::Failure => "failure",
            Kind::Stale => "kept connection was closed",
            Kind::Lack => "lack on our side",
            Kind::Poisoned => "poisoned by the request",
            Kind::Offline => "went offline",
            Kind::Trial => "trial",
            Kind::Back => "back online",
            Kind::CheckFailed => "fails its check",
            Kind::CheckPassed => "passes its check",
        }
    }

    fn is_error(self) -> bool {
        matches!(self, Kind::Failure | Kind::Lack | Kind::CheckFailed)
    }
}

/// A short text that takes no memory of its own; what does not fit is cut off.
#[derive(Clone, Copy)]
pub struct Short<const N: usize> {
    bytes: [u8; N],
    len: u8,
}

impl<const N: usize> Short<N> {
    /// The text of something.
    pub fn of(text: impl fmt::Display) -> Self {
        let mut short = Short::default();
        // Cutting off is no error here.
        let _ = write!(short, "{text}");
        short
    }

    /// The beginning of what a client has sent: each byte that is not printable becomes a `?`.
    pub fn of_bytes(bytes: &[u8]) -> Self {
        let mut short = Short::default();
        let printable = |&byte: &u8| if matches!(byte, b' '..=b'~') { byte } else { b'?' };
        for (place, byte) in short.bytes.iter_mut().zip(bytes.iter().map(printable)) {
            *place = byte;
            short.len += 1;
        }
        short
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }

    /// Nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

impl<const N: usize> Default for Short<N> {
    fn default() -> Self {
        const { assert!(N <= u8::MAX as usize) };
        Short { bytes: [0; N], len: 0 }
    }
}

impl<const N: usize> Write for Short<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let from = usize::from(self.len);
        let room = N - from;
        let fits = text.len().min(room);
        let fits = (0..=fits).rev().find(|&end| text.is_char_boundary(end)).unwrap_or(0);
        self.bytes[from..from + fits].copy_from_slice(&text.as_bytes()[..fits]);
        self.len += fits as u8;
        if fits < text.len() { Err(fmt::Error) } else { Ok(()) }
    }
}

impl<const N: usize> fmt::Debug for Short<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_str().fmt(f)
    }
}

impl<const N: usize> PartialEq for Short<N> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl<const N: usize> Serialize for Short<N> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

/// The connection that an attempt failed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Connection {
    /// Milliseconds since it was opened.
    pub age_ms: u64,
    /// Requests that it has carried, this one included.
    pub requests: u32,
}

/// The attempt that an event is about.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct About {
    /// How far it had come: `connecting`, `asking`, `relaying`.
    pub phase: &'static str,
    /// Method and path, without the query.
    pub request: Short<64>,
    /// What the request is called, where requests have names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<Short<36>>,
    /// Over which connection, if there was one.
    pub connection: Option<Connection>,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Event {
    /// When, in seconds of the Unix epoch; of several alike, the latest.
    pub time: u64,
    /// When the first of several alike happened.
    pub since: u64,
    /// How many were alike, one after the other.
    pub times: u32,
    /// What.
    pub kind: Kind,
    /// Why, as far as there is more to say than what.
    pub why: Short<96>,
    /// The latest attempt that it is about, if it is about one.
    pub attempt: Option<About>,
}

/// The latest events of a backend.
#[derive(Debug, Default)]
pub struct Recorder(Mutex<Ring>);

#[derive(Debug, Default)]
struct Ring {
    events: VecDeque<Event>,
    last_error: Option<Event>,
}

impl Recorder {
    /// Notes what happened at `unix` seconds of the epoch.
    pub fn note(&self, unix: u64, kind: Kind, why: impl fmt::Display, attempt: Option<About>) {
        let event = Event { time: unix, since: unix, times: 1, kind, why: Short::of(why), attempt };
        let ring = &mut *self.0.lock();
        if ring.events.capacity() == 0 {
            ring.events.reserve_exact(KEPT);
        }
        let event = match ring.events.back_mut().filter(|last| last.is_like(&event)) {
            Some(last) => {
                *last = Event { since: last.since, times: last.times.saturating_add(1), ..event };
                *last
            }
            None => {
                if ring.events.len() == KEPT {
                    ring.events.pop_front();
                }
                ring.events.push_back(event);
                event
            }
        };
        if kind.is_error() {
            ring.last_error = Some(event);
        }
    }

    /// The latest events, `most` at most, the latest first.
    pub fn latest(&self, most: usize) -> Vec<Event> {
        self.0.lock().events.iter().rev().take(most).copied().collect()
    }

    /// The latest failure, of an attempt or of a check.
    pub fn last_error(&self) -> Option<Event> {
        self.0.lock().last_error
    }
}

impl Event {
    /// Whether `later` is the same thing once more.
    fn is_like(&self, later: &Event) -> bool {
        let phase = |event: &Event| event.attempt.map(|attempt| attempt.phase);
        (self.kind, self.why, phase(self)) == (later.kind, later.why, phase(later))
            && later.time.saturating_sub(self.time) <= SAME_WITHIN_S
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem;

    fn about(request: &str) -> Option<About> {
        Some(About { phase: "asking", request: Short::of(request), id: None, connection: None })
    }

    #[test]
    fn the_latest_64_are_kept() {
        let recorder = Recorder::default();
        (0..100).for_each(|n| recorder.note(n, Kind::Failure, n, None));
        let events = recorder.latest(usize::MAX);
        let whys: Vec<&str> = events.iter().map(|event| event.why.as_str()).collect();
        assert_eq!((whys.len(), whys[0], whys[63]), (KEPT, "99", "36"));
        assert_eq!(recorder.latest(2).len(), 2);
        assert_eq!(recorder.0.lock().events.capacity(), KEPT);
    }

    #[test]
    fn a_storm_of_the_same_failure_leaves_the_others_in_place() {
        let recorder = Recorder::default();
        recorder.note(10, Kind::Offline, "2 failures in a row", None);
        (0..5000).for_each(|n| recorder.note(20 + n / 100, Kind::Failure, "refused", about("GET /a")));
        recorder.note(70, Kind::Failure, "refused", about("GET /b"));
        let [failure, offline] = &recorder.latest(64)[..] else { panic!("two") };
        assert_eq!((failure.since, failure.time, failure.times), (20, 70, 5001));
        assert_eq!(failure.attempt, about("GET /b"));
        assert_eq!(offline.kind, Kind::Offline);
        recorder.note(131, Kind::Failure, "refused", about("GET /b"));
        assert_eq!(recorder.latest(64).len(), 3, "a minute later it is news");
    }

    #[test]
    fn the_last_error_is_no_news_of_another_kind() {
        let recorder = Recorder::default();
        recorder.note(1, Kind::Stale, "closed", None);
        assert_eq!(recorder.last_error(), None);
        recorder.note(2, Kind::Failure, "refused", None);
        recorder.note(3, Kind::Back, "", None);
        assert_eq!(recorder.last_error().map(|event| event.time), Some(2));
    }

    #[test]
    fn a_text_is_cut_at_a_whole_character() {
        assert_eq!(Short::<4>::of("abcdef").as_str(), "abcd");
        assert_eq!(Short::<4>::of("abcä").as_str(), "abc");
        assert_eq!(Short::<4>::of(format_args!("{}{}", "ab", "c")).as_str(), "abc");
        assert!(Short::<4>::of("").is_empty());
    }

    #[test]
    fn a_backend_without_events_takes_hardly_any_memory() {
        assert!(mem::size_of::<Recorder>() < 400, "{}", mem::size_of::<Recorder>());
        assert!(mem::size_of::<Event>() * KEPT <= 18 * 1024, "{}", mem::size_of::<Event>());
    }
}
