//! What the answer to a check is worth. No socket, no clock.

use crate::http::body::{BodyDecoder, Style};
use crate::http::response::{self, Parsed};

/// The most that the head of an answer may have.
const LONGEST_HEAD: usize = 16 * 1024;
/// The most of a body that is looked at; who sends so much is well.
const LONGEST_BODY: usize = 64 * 1024;

/// An answer as it comes in.
pub(super) struct Answer {
    to_head: bool,
    stage: Stage,
}

enum Stage {
    Head(Vec<u8>),
    Body { status: u16, decoder: BodyDecoder, bytes: usize },
}

/// What can be said so far.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Judged {
    /// Nothing yet.
    Open,
    /// It is whole, with this status.
    Whole(u16),
    /// It will not become a proper answer, for this reason.
    Bad(String),
}

impl Answer {
    /// Nothing has come yet. `to_head`: it answers a HEAD request, so it has no body.
    pub(super) fn new(to_head: bool) -> Answer {
        Answer { to_head, stage: Stage::Head(Vec::new()) }
    }

    /// Takes the next bytes, which it may overwrite.
    pub(super) fn take(&mut self, bytes: &mut [u8]) -> Judged {
        match &mut self.stage {
            Stage::Body { .. } => self.take_body(bytes),
            Stage::Head(head) => {
                head.extend_from_slice(bytes);
                self.take_head()
            }
        }
    }

    /// The backend has closed its side.
    pub(super) fn ends(&self) -> Judged {
        match &self.stage {
            Stage::Body { status, decoder, .. } if decoder.ends_at_close() => Judged::Whole(*status),
            Stage::Body { .. } => Judged::Bad("the answer was cut short".to_owned()),
            Stage::Head(head) if head.is_empty() => Judged::Bad("it closed without an answer".to_owned()),
            Stage::Head(_) => Judged::Bad("the answer was cut short inside its head".to_owned()),
        }
    }

    fn take_head(&mut self) -> Judged {
        let Stage::Head(head) = &mut self.stage else { return Judged::Open };
        let mut from = 0;
        let (status, decoder, length) = loop {
            let mut room = response::storage();
            response::settle_version(&mut head[from..]);
            match response::parse(&head[from..], &mut room, self.to_head) {
                Err(bad) => return Judged::Bad(bad.to_string()),
                Ok(Parsed::Partial) if head.len() > LONGEST_HEAD => {
                    return Judged::Bad("the head of the answer is too long".to_owned());
                }
                Ok(Parsed::Partial) => return Judged::Open,
                Ok(Parsed::Complete { response, length }) if response.is_interim() => from += length,
                Ok(Parsed::Complete { response, length }) => {
                    let decoder = BodyDecoder::new(response.body, Style::Unwrapped);
                    break (response.status, decoder, from + length);
                }
            }
        };
        let mut rest = head.split_off(length);
        self.stage = Stage::Body { status, decoder, bytes: 0 };
        self.take_body(&mut rest)
    }

    fn take_body(&mut self, bytes: &mut [u8]) -> Judged {
        let Stage::Body { status, decoder, bytes: so_far } = &mut self.stage else { return Judged::Open };
        *so_far += bytes.len();
        match decoder.relay(bytes) {
            Err(bad) => Judged::Bad(bad.to_string()),
            Ok(relayed) if relayed.done || *so_far >= LONGEST_BODY => Judged::Whole(*status),
            Ok(_) => Judged::Open,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The judgement on an answer that comes whole, then byte by byte, and that ends with a close.
    fn judge(text: &str, to_head: bool) -> Judged {
        let in_pieces = |size: usize| {
            let mut answer = Answer::new(to_head);
            for piece in text.as_bytes().chunks(size) {
                match answer.take(&mut piece.to_vec()) {
                    Judged::Open => {}
                    judged => return judged,
                }
            }
            answer.ends()
        };
        let whole = in_pieces(text.len().max(1));
        assert_eq!(in_pieces(1), whole, "{text:?}");
        whole
    }

    #[test]
    fn whole_answers_have_a_status() {
        for (text, status) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", 200),
            ("HTTP/1.0 503 No\r\n\r\nsome text", 503),
            ("HTTP/1.1 204 No\r\n\r\n", 204),
            ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", 200),
            ("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n", 404),
        ] {
            assert_eq!(judge(text, false), Judged::Whole(status), "{text:?}");
        }
        assert_eq!(judge("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n", true), Judged::Whole(200));
    }

    #[test]
    fn what_is_cut_or_garbage_is_bad() {
        for text in [
            "",
            "HTTP/1.1 200 OK\r\nContent-",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx",
            "HTTP/1.1 100 Continue\r\n\r\n",
            "SSH-2.0-something\r\n",
        ] {
            assert!(matches!(judge(text, false), Judged::Bad(_)), "{text:?}");
        }
    }

    #[test]
    fn what_does_not_end_is_not_read_for_ever() {
        let mut answer = Answer::new(false);
        let head = b"HTTP/1.1 200 OK\r\n\r\n";
        assert_eq!(answer.take(&mut head.to_vec()), Judged::Open);
        let judged = (0..64).map(|_| answer.take(&mut [b'x'; 1024])).find(|judged| *judged != Judged::Open);
        assert_eq!(judged, Some(Judged::Whole(200)));

        let mut answer = Answer::new(false);
        assert_eq!(answer.take(&mut b"HTTP/1.1 200 OK\r\nX: ".to_vec()), Judged::Open);
        let judged = (0..64).map(|_| answer.take(&mut [b'x'; 1024])).find(|judged| *judged != Judged::Open);
        assert!(matches!(judged, Some(Judged::Bad(_))), "{judged:?}");
    }
}
