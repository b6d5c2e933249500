//! What clients ask for and backends answer, and what must be true of both.

use super::messages::{Framing, Head, Message};
use super::world::World;

/// One request of a client.
#[derive(Debug)]
pub struct Ask {
    pub client: usize,
    pub method: &'static str,
    pub is_http10: bool,
    /// The head as the client sends it.
    pub head: Vec<u8>,
    /// The body as the client sends it.
    pub body: Vec<u8>,
    /// What is in it.
    pub content: Vec<u8>,
    /// Its chunks are no chunks.
    pub is_malformed: bool,
    /// It may be sent more than once.
    pub is_repeatable: bool,
    /// The host hands it over when all of it is there.
    pub host_waits: bool,
    pub worker: usize,
    pub state: State,
    /// When something of it moved last, in milliseconds.
    pub moved_ms: u64,
    /// When it began, in milliseconds, if it was whole then.
    pub whole_since_ms: Option<u64>,
    /// When it was over, in milliseconds.
    pub over_ms: u64,
    /// Bytes of its body that the host has handed over, and the worker has read.
    pub taken: usize,
    pub attempts: Vec<Attempt>,
    /// The client has got bytes that came from a backend.
    pub is_answered: bool,
    /// The client was told to send the body.
    pub was_told_to_go_on: bool,
    /// What the client gets.
    pub reader: Message,
    /// The answer that this is, if it is one of a backend.
    pub answer: Option<usize>,
    /// The body of the answer was compared so far.
    compared: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// The client has not sent it, or the host has not found it.
    Coming,
    Live,
    Over,
}

/// One try with one backend, as far as can be seen from outside.
#[derive(Clone, Copy, Debug)]
pub struct Attempt {
    pub backend: usize,
    /// The connection, if there was one.
    pub wire: Option<usize>,
    pub reused: bool,
    pub bytes: usize,
    pub at_ms: u64,
}

/// An answer of a backend.
#[derive(Debug)]
pub struct Answer {
    pub ask: usize,
    pub backend: usize,
    pub status: u16,
    pub body: Vec<u8>,
    /// The backend is going to send all of it.
    pub is_whole: bool,
}

impl Ask {
    #[expect(clippy::too_many_arguments, reason = "all of what a request is")]
    pub fn new(
        client: usize,
        worker: usize,
        method: &'static str,
        is_http10: bool,
        head: Vec<u8>,
        (body, content): (Vec<u8>, Vec<u8>),
        is_malformed: bool,
        is_repeatable: bool,
    ) -> Self {
        Ask {
            client,
            method,
            is_http10,
            head,
            body,
            content,
            is_malformed,
            is_repeatable,
            host_waits: false,
            worker,
            state: State::Coming,
            moved_ms: 0,
            whole_since_ms: None,
            over_ms: 0,
            taken: 0,
            attempts: Vec::new(),
            is_answered: false,
            was_told_to_go_on: false,
            reader: Message::new(),
            answer: None,
            compared: 0,
        }
    }

    fn final_status(&self) -> Option<u16> {
        self.reader.head.as_ref().and_then(status_of)
    }
}

fn status_of(head: &Head) -> Option<u16> {
    head.first.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

impl World {
    /// A request is sent, or answered without that, for the first time: before that it has
    /// waited in line, or for connections, but not for longer than it may.
    fn first_sign(&mut self, id: usize) {
        let settings = &self.settings;
        let each = settings.queue_timeout_ms + settings.connect_timeout_ms + 20;
        let most = each * settings.backends as u64;
        if let Some(since) = self.asks[id].whole_since_ms.take()
            && self.now_ms - since > most
        {
            let waited = self.now_ms - since;
            self.fail(format!("request {id} has waited for {waited} ms, with nobody asked"));
        }
    }

    /// A backend is asked, or about to be: over this wire if there is one already.
    pub fn attempt(&mut self, id: usize, backend: usize, wire: Option<usize>, reused: bool) {
        self.first_sign(id);
        let (now, settings) = (self.now_ms, &self.settings);
        let ask = &mut self.asks[id];
        if wire.is_some() && ask.attempts.iter().any(|attempt| attempt.wire == wire) {
            return;
        }
        let mut wrong = None;
        if ask.state != State::Live {
            wrong = Some("a request is sent whose exchange is over");
        }
        let begun = ask.reader.beginning();
        if ask.is_answered || !"HTTP/1.1 100 Continue".starts_with(&begun) {
            wrong = Some("a further attempt, though the client has bytes of an answer already");
        }
        if let Some(last) = ask.attempts.last() {
            let stale = last.backend == backend && last.reused && !reused;
            let asked = |word| settings.retry_on.contains(&word);
            if stale {
                self.tally.stale += 1;
                if !asked("stale") {
                    wrong = Some("the same backend again, though RetryOn has no 'stale'");
                }
            } else if ask.attempts.iter().any(|attempt| attempt.backend == backend) {
                wrong = Some("the same backend twice");
            }
            if settings.retry_on == ["off"] {
                wrong = Some("a further attempt, though RetryOn is off");
            }
            // A connection that turned out to be stale costs nothing, and what followed at
            // once and failed was perhaps not seen.
            let costs = |attempt: &&Attempt| attempt.bytes > 0 && !attempt.reused;
            let sent: Vec<&Attempt> = ask.attempts.iter().filter(costs).collect();
            let limit = settings.retry_timeout_ms.map(|ms| ms + settings.connect_timeout_ms + 100);
            if let (Some(first), Some(limit)) = (ask.attempts.first(), limit)
                && now > first.at_ms + limit
            {
                wrong = Some("a further attempt, long after RetryTimeOut");
            }
            let mut backends: Vec<usize> = sent.iter().map(|attempt| attempt.backend).collect();
            backends.sort_unstable();
            backends.dedup();
            if backends.len() > settings.retry_count && !backends.contains(&backend) && wire.is_some() {
                wrong = Some("more backends than RetryCount allows");
            }
            self.tally.further_attempts += 1;
            let retried = self.answers.iter().rev().take(20).any(|answer| answer.ask == id);
            self.tally.statuses_retried += u64::from(retried);
        }
        let ask = &mut self.asks[id];
        ask.attempts.push(Attempt { backend, wire, reused, bytes: 0, at_ms: now });
        if let Some(wrong) = wrong {
            let attempts = format!("{:?}", self.asks[id].attempts);
            self.fail(format!("request {id}: {wrong}: {attempts}"));
        }
    }

    /// Bytes of a request have left towards a backend.
    pub fn delivered(&mut self, id: usize, wire: usize, bytes: usize) {
        let ask = &mut self.asks[id];
        ask.moved_ms = self.now_ms;
        let Some(attempt) = ask.attempts.iter_mut().find(|attempt| attempt.wire == Some(wire)) else {
            return;
        };
        attempt.bytes += bytes;
        let times = ask.attempts.iter().filter(|attempt| attempt.bytes > 0).count();
        if times > 1 && !ask.is_repeatable {
            let (method, attempts) = (ask.method, format!("{:?}", ask.attempts));
            self.fail(format!("request {id}: a {method} was sent {times} times: {attempts}"));
        }
    }

    /// The client of a request has taken these bytes.
    pub fn answered(&mut self, id: usize, mut bytes: &[u8]) {
        self.first_sign(id);
        let calm = self.settings.calm;
        let ask = &mut self.asks[id];
        ask.moved_ms = self.now_ms;
        let (to_head, http10) = (ask.method == "HEAD", ask.is_http10);
        let mut wrong = None;
        while !bytes.is_empty() && wrong.is_none() {
            if ask.reader.is_complete {
                wrong = Some(format!("bytes behind the end of the answer: {}", shown(bytes)));
                break;
            }
            let decide = |head: &Head, framing: Option<Framing>| match (status_of(head), framing) {
                (Some(100..=199 | 204 | 304), _) => Framing::Nothing,
                _ if to_head => Framing::Nothing,
                (_, Some(framing)) => framing,
                (_, None) if http10 => Framing::UntilClose,
                (_, None) => Framing::Length(usize::MAX),
            };
            let had_head = ask.reader.head.is_some();
            let taken = match ask.reader.feed(bytes, decide) {
                Ok(taken) => taken,
                Err(error) => {
                    wrong = Some(format!("the answer cannot be read: {error}"));
                    break;
                }
            };
            bytes = &bytes[taken..];
            let Some(head) = &ask.reader.head else { continue };
            let status = status_of(head);
            if status.is_some_and(|status| status < 200) {
                // The engine's own answer to an expectation says nothing of a backend.
                ask.is_answered |= status != Some(100);
                ask.was_told_to_go_on |= status == Some(100);
                ask.reader = Message::new();
                continue;
            }
            if !had_head {
                match head.get("x-answer") {
                    Some(number) => {
                        let number = number.parse().unwrap_or(usize::MAX);
                        ask.answer = Some(number);
                        ask.is_answered = true;
                        wrong = match self.answers.get(number) {
                            None => Some(format!("an answer that nobody gave: {number}")),
                            Some(answer) if answer.ask != id => {
                                Some(format!("the answer to request {}", answer.ask))
                            }
                            Some(answer) if Some(answer.status) != status => {
                                Some(format!("status {status:?} instead of {}", answer.status))
                            }
                            Some(_) => None,
                        };
                        self.tally.answers += 1;
                    }
                    None => {
                        self.tally.own_answers += 1;
                        let body = !ask.body.is_empty();
                        wrong = match status {
                            Some(502 | 503) if !calm => None,
                            Some(504) if !calm => {
                                self.tally.timeouts += 1;
                                None
                            }
                            Some(408) if body && !calm => {
                                self.tally.bodies_timed_out += 1;
                                None
                            }
                            Some(400) if ask.is_malformed => None,
                            status => Some(format!("an answer of our own with {status:?}")),
                        };
                    }
                }
            }
            if let Some(answer) = ask.answer.and_then(|number| self.answers.get(number)) {
                let content = &ask.reader.content;
                let same = answer.body.get(ask.compared..content.len()) == Some(&content[ask.compared..]);
                ask.compared = content.len();
                if !same {
                    wrong = Some(format!("other content than backend {} sent", answer.backend));
                } else if ask.reader.is_complete && !to_head {
                    let bodiless = matches!(answer.status, 204 | 304);
                    if !answer.is_whole {
                        wrong = Some("an answer that was cut looks complete".into());
                    } else if content.len() != answer.body.len() && !bodiless {
                        wrong = Some("a part of the answer looks like all of it".into());
                    }
                }
            }
        }
        if let Some(wrong) = wrong {
            self.fail(format!("request {id}: {wrong}"));
        }
    }

    /// Whether a request may be without an answer: the connection was closed before it,
    /// or an answer that ends with it is one.
    pub fn is_excused(&self, id: usize) -> bool {
        let ask = &self.asks[id];
        ask.state == State::Coming && self.clients[ask.client].is_closed || ask.reader.ends_at_close()
    }

    /// The exchange has ended, as the engine says, and so is the way.
    pub fn ended(&mut self, id: usize, end: &monkey_proxy_reverse::engine::End) {
        use monkey_proxy_reverse::engine::Fate;
        let calm = self.settings.calm;
        let ask = &self.asks[id];
        let client = &self.clients[ask.client];
        let left = client.has_left();
        let by_close = ask.reader.ends_at_close();
        let whole = match ask.answer.and_then(|number| self.answers.get(number)) {
            Some(answer) if by_close => answer.is_whole && answer.body.len() == ask.reader.content.len(),
            _ => ask.reader.is_complete,
        };
        let mut wrong = None;
        match end.fate {
            _ if left => {}
            Fate::KeepAlive if !ask.reader.is_complete => {
                wrong = Some("the connection goes on behind a part of an answer");
            }
            Fate::Close if !whole => wrong = Some("a part of an answer ends as if it were all"),
            Fate::Abort if ask.reader.is_complete => wrong = Some("a whole answer ends by a cut"),
            Fate::Abort if calm => wrong = Some("a cut, though all is calm"),
            Fate::Abort => self.tally.cuts += 1,
            Fate::KeepAlive | Fate::Close => {}
        }
        if let Some(status) = ask.final_status() {
            if status != end.status {
                wrong = Some("another status is told than the client has got");
            } else if ask.reader.raw_body != end.body_bytes {
                wrong = Some("another number of body bytes is told than the client has got");
            }
        }
        if let Some(wrong) = wrong {
            let reader = &self.asks[id].reader;
            let got = format!("{:?}, {} bytes of body", reader.head, reader.raw_body);
            self.fail(format!("request {id}: {wrong}: {end:?}, {got}"));
        }
    }
}

pub fn shown(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(120)]);
    format!("{} bytes {}", bytes.len(), text.escape_debug())
}
