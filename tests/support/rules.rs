//! What the rule tests (`tests/rules_*.rs`) share: a host with one route, bytes sent through it,
//! and what became of them. A rule that a server keeps from being tried is in `limits.rs`.

use std::{sync::Arc, time::Duration};

use super::{
    Backend, Client, Conf, End, Host, Kind, Next, Response, Seen, Setup, for_each_host,
    limits::is_limited,
    vice::{self, Vice},
};

/// How long an answer or a close may take.
pub const LIMIT: Duration = Duration::from_secs(4);

/// How long to listen where the server is known to stay silent.
const SHORT: Duration = Duration::from_millis(200);

/// A host with one worker and one route, `^/app`, to one backend that no failure sets offline.
pub fn host_of(kind: Kind, a: &Backend) -> Host {
    Setup::new(kind, conf_of(a)).workers(1).start()
}

/// The configuration of `host_of`.
pub fn conf_of(a: &Backend) -> Conf {
    Conf::new().default_key("AttemptsCount 0").route("^/app", &[a])
}

/// Runs a test of rule `id` on every host, each with a backend of its own that echoes.
pub fn on_echo(id: &'static str, test: impl Fn(&Probe)) {
    on_vice(id, vice::echo(), test);
}

/// Runs a test of rule `id` on every host, each with a backend of its own of this kind.
pub fn on_vice(id: &'static str, vice: Vice, test: impl Fn(&Probe)) {
    on_conf(id, vice, &[], test);
}

/// The same with further lines of the entry.
pub fn on_conf(id: &'static str, vice: Vice, lines: &[&str], test: impl Fn(&Probe)) {
    for_each_host(|kind| {
        let a = Backend::start("a", vice.clone());
        let conf = lines.iter().fold(conf_of(&a), |conf, line| conf.with(line));
        let host = Setup::new(kind, conf).workers(1).start();
        test(&Probe { id, host: &host, a: &a });
    });
}

/// A GET of `/app` with these field lines.
pub fn get(fields: &str) -> Vec<u8> {
    format!("GET /app HTTP/1.1\r\nHost: h\r\n{fields}\r\n").into_bytes()
}

/// A POST to `/app` with these field lines (the framing among them) and what follows the head.
pub fn post(fields: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let head = format!("POST /app HTTP/1.1\r\nHost: h\r\n{fields}\r\n");
    [head.as_bytes(), body.as_ref()].concat()
}

/// Text of one byte for each character, for bytes that are no UTF-8.
pub fn bytes_of(text: &str) -> Vec<u8> {
    text.chars().map(|c| u8::try_from(c).unwrap()).collect()
}

/// A rule, a host and its backend.
pub struct Probe<'a> {
    /// The rule.
    pub id: &'static str,
    /// The host.
    pub host: &'a Host,
    /// The backend of `^/app`.
    pub a: &'a Backend,
}

/// What became of a request.
enum Fate {
    Answered(Box<Response>),
    Refused,
    Silent,
}

impl Probe<'_> {
    /// Sends it on a connection of its own: the backend gets it and answers 200.
    #[track_caller]
    pub fn forwarded(&self, bytes: impl AsRef<[u8]>) -> Seen {
        self.answered(bytes).1
    }

    /// The same, with the answer.
    #[track_caller]
    pub fn answered(&self, bytes: impl AsRef<[u8]>) -> (Response, Seen) {
        let (bytes, before) = (bytes.as_ref(), self.a.requests());
        let mut client = self.host.client().with_deadline(4 * LIMIT);
        let _ = client.try_send(bytes);
        let response = match client.try_read(&method_of(bytes)) {
            Ok(response) if response.status == 200 => response.expect(200),
            other => panic!("{}: {} got {other:?}", self.id, show(bytes)),
        };
        assert_eq!(self.a.requests(), before + 1, "{}: {}", self.id, show(bytes));
        (response, self.a.last_seen())
    }

    /// Sends it on a connection of its own: an error and a close, and not a byte to the backend.
    /// Where the server is known not to answer or not to close, that is let pass.
    #[track_caller]
    pub fn refused(&self, bytes: impl AsRef<[u8]>) {
        let bytes = bytes.as_ref();
        if let Fate::Answered(response) = self.fate(bytes) {
            let seen = self.a.seen().pop().map(|seen| seen.head);
            panic!("{}: {} got {response:?}, the backend {seen:?}", self.id, show(bytes));
        }
    }

    /// One or the other, as the rule allows: the request at the backend when it was forwarded.
    #[track_caller]
    pub fn forwarded_or_refused(&self, bytes: impl AsRef<[u8]>) -> Option<Seen> {
        match self.fate(bytes.as_ref()) {
            Fate::Answered(response) => {
                response.expect(200);
                Some(self.a.last_seen())
            }
            Fate::Refused | Fate::Silent => None,
        }
    }

    /// One or the other, where the request is well-formed, so that the connection may go on.
    #[track_caller]
    pub fn forwarded_or_denied(&self, bytes: impl AsRef<[u8]>) -> Option<Seen> {
        let (bytes, before) = (bytes.as_ref(), self.a.received());
        let mut client = self.host.client().with_deadline(LIMIT);
        let _ = client.try_send(bytes);
        let answer = client.try_read(&method_of(bytes));
        let answer = answer.unwrap_or_else(|none| panic!("{}: {} got {none:?}", self.id, show(bytes)));
        if answer.status < 400 {
            answer.expect(200);
            return Some(self.a.last_seen());
        }
        assert_eq!(self.a.received(), before, "{}: {}", self.id, show(bytes));
        None
    }

    /// Forwarded; or, where a limit of the server is declared for this rule, refused.
    #[track_caller]
    pub fn forwarded_unless_limited(&self, bytes: impl AsRef<[u8]>) -> Option<Seen> {
        if is_limited(self.id, self.host.kind) {
            return self.forwarded_or_refused(bytes);
        }
        Some(self.forwarded(bytes))
    }

    /// Panics unless every byte that came to the backend was a request in a strict reading.
    #[track_caller]
    pub fn no_complaints(&self) {
        assert_eq!(self.a.complaints(), Vec::<String>::new(), "{}", self.id);
    }

    #[track_caller]
    fn fate(&self, bytes: &[u8]) -> Fate {
        let before = self.a.received();
        let limited = is_limited(self.id, self.host.kind);
        let mut client = self.host.client().with_deadline(if limited { SHORT } else { LIMIT });
        let _ = client.try_send(bytes);
        let mut answer = client.try_read(&method_of(bytes));
        if limited && answer.is_err() && self.a.received() != before {
            client = client.with_deadline(LIMIT); // It is on its way after all.
            answer = client.try_read(&method_of(bytes));
        }
        let fate = match answer {
            Ok(response) if response.status < 400 => return Fate::Answered(Box::new(response)),
            // What the server itself has answered it may keep open, if that is declared.
            Ok(response) => self.closes(client, bytes, limited && is_the_servers(&response)),
            Err(none) if none.end == End::Reset && none.bytes.is_empty() => Fate::Refused,
            Err(none) => {
                assert!(limited, "{}: {} got no answer but {none:?}", self.id, show(bytes));
                Fate::Silent
            }
        };
        let seen = self.a.seen().pop().map(|seen| seen.head);
        assert_eq!(self.a.received(), before, "{}: {} went out: {seen:?}", self.id, show(bytes));
        fate
    }

    /// Behind the error nothing may come but the close.
    #[track_caller]
    fn closes(&self, mut client: Client, bytes: &[u8], limited: bool) -> Fate {
        let (rest, end) = client.read_all(if limited { SHORT } else { LIMIT });
        let rest = String::from_utf8_lossy(&rest).into_owned();
        assert!(!rest.contains("HTTP/1.1 200"), "{}: {} got {rest:?} too", self.id, show(bytes));
        let closed = end != End::TimedOut;
        assert!(closed || limited, "{}: left open after {}", self.id, show(bytes));
        Fate::Refused
    }
}

/// A backend that answers a request for `/app/<i>` with the i-th of these.
pub fn table(answers: &[(impl AsRef<[u8]>, Next)]) -> Vice {
    let answers: Vec<_> = answers.iter().map(|(bytes, next)| (bytes.as_ref().to_vec(), *next)).collect();
    let answers = Arc::new(answers);
    vice::answering(move |conn, seen| {
        let number = seen.target.rsplit('/').next().unwrap_or_default();
        let (bytes, next) = &answers[number.parse::<usize>().unwrap()];
        conn.send(bytes)?;
        Ok(*next)
    })
}

/// Asks for every row of a `table`, each over a connection of its own, on every host.
pub fn for_each_answer(
    id: &'static str,
    answers: &[(impl AsRef<[u8]>, Next)],
    check: impl Fn(&Probe, usize, Result<Response, End>),
) {
    on_vice(id, table(answers), |p| {
        for row in 0..answers.len() {
            let mut client = p.host.client();
            client.send_request("GET", &format!("/app/{row}"), "", b"");
            check(p, row, client.try_read("GET").map_err(|none| none.end));
        }
    });
}

/// Every one of these answers is none for a client: it gets a 502.
pub fn each_is_a_502(id: &'static str, answers: &[impl AsRef<[u8]>]) {
    let closing: Vec<_> = answers.iter().map(|bytes| (bytes, Next::Close)).collect();
    for_each_answer(id, &closing, |_, row, got| {
        let bytes = show(answers[row].as_ref());
        let response = got.unwrap_or_else(|end| panic!("{id}: {bytes} gave {end:?}"));
        assert_eq!(response.status, 502, "{id}: {bytes} gave {response:?}");
    });
}

/// No one of these answers looks whole to a client: a 502, or visibly cut.
pub fn none_looks_complete(id: &'static str, answers: &[impl AsRef<[u8]>]) {
    let closing: Vec<_> = answers.iter().map(|bytes| (bytes, Next::Close)).collect();
    for_each_answer(id, &closing, |_, row, got| {
        if let Ok(response) = got {
            let cut = matches!(response.end, End::Truncated | End::Reset);
            let bytes = show(answers[row].as_ref());
            assert!(response.status == 502 || cut, "{id}: {bytes} gave {response:?}");
        }
    });
}

/// Whether the server has answered this itself: the plugin's own answers do not carry its name.
pub fn is_the_servers(response: &Response) -> bool {
    response.all("Server").iter().any(|name| name.starts_with("Monkey"))
}

/// The first word, as far as it is a method that decides how an answer is read.
fn method_of(bytes: &[u8]) -> String {
    let word = bytes.split(|&byte| byte == b' ').next().unwrap_or_default();
    String::from_utf8_lossy(word).into_owned()
}

/// Bytes for a message, the first of them.
pub fn show(bytes: &[u8]) -> String {
    let dots = if bytes.len() > 300 { "..." } else { "" };
    format!("\"{}{dots}\"", bytes[..bytes.len().min(300)].escape_ascii())
}
