//! What a toy backend does with a connection, good or bad, one function per vice.
//!
//! A vice is called again on the same connection as long as it returns `Next::Again`.

use std::{io, sync::Arc, thread, time::Duration};

use super::{backends::Conn, seen::Seen, wait::pattern};

/// What happens to the connection after an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// It serves another request.
    Again,
    /// It is closed politely.
    Close,
    /// It is reset.
    Reset,
}

/// The behaviour of a backend.
pub type Vice = Arc<dyn Fn(&mut Conn) -> io::Result<Next> + Send + Sync>;

/// Any behaviour: `act` gets the connection and reads requests itself.
pub fn custom(act: impl Fn(&mut Conn) -> io::Result<Next> + Send + Sync + 'static) -> Vice {
    Arc::new(act)
}

/// A request is read whole, then `act` answers it.
pub fn answering(act: impl Fn(&mut Conn, &Seen) -> io::Result<Next> + Send + Sync + 'static) -> Vice {
    Arc::new(move |conn| match conn.request()? {
        Some(seen) => act(conn, &seen),
        None => Ok(Next::Close),
    })
}

/// The virtue: answers `METHOD target` and the body it got.
pub fn echo() -> Vice {
    answering(|conn, seen| {
        let mut body = format!("{} {}\n", seen.method, seen.target).into_bytes();
        body.extend_from_slice(&seen.body);
        conn.answer(seen, &body)
    })
}

/// A known body of `len` bytes, with a length.
pub fn fixed(len: usize) -> Vice {
    let body = pattern(len);
    answering(move |conn, seen| conn.answer(seen, &body))
}

/// Echo after a while, so that requests overlap.
pub fn slow_echo(wait: Duration) -> Vice {
    answering(move |conn, seen| {
        thread::sleep(wait);
        conn.answer(seen, format!("{} {}\n", seen.method, seen.target).as_bytes())
    })
}

/// Sends exactly these bytes as its answer.
pub fn raw(bytes: impl Into<Vec<u8>>, next: Next) -> Vice {
    let bytes = bytes.into();
    answering(move |conn, _| {
        conn.send(&bytes)?;
        Ok(next)
    })
}

/// These pieces, one after the other with a pause between them.
pub fn pieces(pieces: Vec<Vec<u8>>, pause: Duration, next: Next) -> Vice {
    answering(move |conn, _| {
        for (i, piece) in pieces.iter().enumerate() {
            if i > 0 {
                thread::sleep(pause);
            }
            conn.send(piece)?;
        }
        Ok(next)
    })
}

/// Head and body in segments of one byte.
pub fn one_byte_at_a_time(len: usize) -> Vice {
    let body = pattern(len);
    answering(move |conn, _| {
        let mut bytes = conn.head_with("200 OK", &format!("Content-Length: {len}\r\n"));
        bytes.extend_from_slice(&body);
        for byte in bytes {
            conn.send(&[byte])?;
            thread::yield_now();
        }
        Ok(Next::Again)
    })
}

/// A known body in chunks of changing sizes, with extensions and a trailer.
pub fn chunked(len: usize) -> Vice {
    let mut wire = chunks_of(len);
    wire.extend_from_slice(b"000;last\r\nX-Trailer: t\r\nContent-Length: 3\r\n\r\n");
    answering(move |conn, seen| {
        let mut bytes = conn.head_with("200 OK", "Transfer-Encoding: chunked\r\n");
        if seen.method != "HEAD" {
            bytes.extend_from_slice(&wire);
        }
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

fn chunks_of(len: usize) -> Vec<u8> {
    let body = pattern(len);
    let (mut wire, mut rest, mut size) = (Vec::new(), body.as_slice(), 1);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size.min(rest.len()));
        let line = match size % 3 {
            0 => format!("{:X};name=\"a;b\"\r\n", chunk.len()),
            1 => format!("00{:x}\r\n", chunk.len()),
            _ => format!("{:x}\r\n", chunk.len()),
        };
        wire.extend_from_slice(line.as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = after;
        size = (size * 7 + 3) % 9973 + 1;
    }
    wire
}

/// A known body that only the close ends.
pub fn until_close(len: usize) -> Vice {
    let body = pattern(len);
    answering(move |conn, _| {
        let mut bytes = conn.head_with("200 OK", "");
        bytes.extend_from_slice(&body);
        conn.send(&bytes)?;
        Ok(Next::Close)
    })
}

/// An HTTP/1.0 server: no keep-alive, with a length.
pub fn http10(len: usize) -> Vice {
    let body = pattern(len);
    answering(move |conn, _| {
        let name = &conn.name;
        let head = format!("HTTP/1.0 200 OK\r\nX-Backend: {name}\r\nContent-Length: {len}\r\n\r\n");
        conn.send(&[head.as_bytes(), &body].concat())?;
        Ok(Next::Close)
    })
}

/// Promises `promised` bytes, sends `sent` and leaves.
pub fn closes_mid_body(promised: usize, sent: usize, how: Next) -> Vice {
    let body = pattern(sent);
    answering(move |conn, _| {
        let mut bytes = conn.head_with("200 OK", &format!("Content-Length: {promised}\r\n"));
        bytes.extend_from_slice(&body);
        conn.send(&bytes)?;
        thread::sleep(Duration::from_millis(50));
        Ok(how)
    })
}

/// Sends some chunks and leaves without the last one.
pub fn closes_mid_chunks(len: usize, how: Next) -> Vice {
    let wire = chunks_of(len);
    answering(move |conn, _| {
        let mut bytes = conn.head_with("200 OK", "Transfer-Encoding: chunked\r\n");
        bytes.extend_from_slice(&wire);
        conn.send(&bytes)?;
        thread::sleep(Duration::from_millis(50));
        Ok(how)
    })
}

/// Sends part of a body and then nothing more, keeping the connection.
pub fn stalls_mid_body(promised: usize, sent: usize) -> Vice {
    let body = pattern(sent);
    answering(move |conn, _| {
        let mut bytes = conn.head_with("200 OK", &format!("Content-Length: {promised}\r\n"));
        bytes.extend_from_slice(&body);
        conn.send(&bytes)?;
        conn.wait_for_hangup();
        Ok(Next::Close)
    })
}

/// Reads the request and says nothing until the peer leaves.
pub fn never_answers() -> Vice {
    answering(|conn, _| {
        conn.wait_for_hangup();
        Ok(Next::Close)
    })
}

/// Accepts and closes at once.
pub fn accepts_and_closes() -> Vice {
    custom(|_| Ok(Next::Close))
}

/// Reads a whole request and leaves without a byte of answer.
pub fn reads_and_leaves(how: Next) -> Vice {
    answering(move |_, _| Ok(how))
}

/// Leaves within the answer's head.
pub fn leaves_in_head(how: Next) -> Vice {
    answering(move |conn, _| {
        conn.send(b"HTTP/1.1 200 OK\r\nContent-Le")?;
        thread::sleep(Duration::from_millis(20));
        Ok(how)
    })
}

/// Answers like echo as if to be kept alive, and leaves `wait` later.
pub fn leaves_when_idle(wait: Duration, how: Next) -> Vice {
    answering(move |conn, seen| {
        conn.answer(seen, format!("{} {}\n", seen.method, seen.target).as_bytes())?;
        if !wait.is_zero() {
            thread::sleep(wait);
        }
        Ok(how)
    })
}

/// Echo that closes a connection on which no request comes for a while; `fields` are whole
/// lines of its answers.
pub fn closes_idle(after: Duration, fields: &'static str) -> Vice {
    custom(move |conn| {
        conn.stream.set_read_timeout(Some(after))?;
        let Some(seen) = conn.request()? else { return Ok(Next::Close) };
        let body = format!("{} {}\n", seen.method, seen.target);
        let fields = format!("{fields}Content-Length: {}\r\n", body.len());
        let bytes = [conn.head_with("200 OK", &fields), body.into_bytes()].concat();
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

/// Something that is no HTTP.
pub fn garbage() -> Vice {
    raw("220 mail.example ESMTP ready, and <html>hello</html>\r\n\r\n", Next::Close)
}

/// A head of `len` bytes.
pub fn huge_head(len: usize) -> Vice {
    answering(move |conn, _| {
        let filler = "X-Filler: ".to_owned() + &"f".repeat(len) + "\r\n";
        let bytes = conn.head_with("200 OK", &format!("{filler}Content-Length: 2\r\n"));
        conn.send(&bytes)?;
        conn.send(b"ok")?;
        Ok(Next::Again)
    })
}

/// A head of one byte per `pause`.
pub fn slow_head(pause: Duration) -> Vice {
    answering(move |conn, _| {
        for byte in conn.head_with("200 OK", "Content-Length: 0\r\n") {
            conn.send(&[byte])?;
            thread::sleep(pause);
        }
        Ok(Next::Again)
    })
}

/// A good answer and, in the same segment or `later`, an answer that nobody asked for.
pub fn surplus_after_body(later: Option<Duration>) -> Vice {
    answering(move |conn, _| {
        let mut bytes = conn.head_with("200 OK", "Content-Length: 5\r\n");
        bytes.extend_from_slice(b"hello");
        let poison = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nPOISON";
        match later {
            None => {
                bytes.extend_from_slice(poison);
                conn.send(&bytes)?;
            }
            Some(wait) => {
                conn.send(&bytes)?;
                thread::sleep(wait);
                conn.send(poison)?;
            }
        }
        Ok(Next::Again)
    })
}

/// 413 on the head alone; the body is never read.
pub fn early_answer() -> Vice {
    custom(|conn| {
        let Some(seen) = conn.head()? else { return Ok(Next::Close) };
        conn.record(&seen);
        let bytes = conn.head_with("413 Too Much", "Connection: close\r\nContent-Length: 3\r\n");
        conn.send(&bytes)?;
        conn.send(b"big")?;
        // Reading on until the peer is content: a close with unread bytes would be a reset.
        let _ = conn.stream.shutdown(std::net::Shutdown::Write);
        conn.wait_for_hangup();
        Ok(Next::Close)
    })
}

/// The status that the target names (`/204`), with the fields that go with it.
pub fn status_by_target() -> Vice {
    answering(|conn, seen| {
        let status = seen.target.trim_start_matches('/').split(['?', '/']).next_back();
        let status = status.unwrap_or("200").to_owned();
        let bytes = match status.as_str() {
            "204" => conn.head_with("204 No Content", ""),
            "304" => conn.head_with("304 Not Modified", "Content-Length: 100\r\nETag: \"e\"\r\n"),
            other => {
                let fields = "Content-Length: 4\r\nLocation: http://other.example/\r\n";
                let mut bytes = conn.head_with(&format!("{other} Reason Of {other}"), fields);
                if seen.method != "HEAD" {
                    bytes.extend_from_slice(b"body");
                }
                bytes
            }
        };
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

/// `100 Continue` that nobody asked for, and a `103`, then the answer.
pub fn sends_100_first() -> Vice {
    answering(|conn, seen| {
        conn.send(b"HTTP/1.1 100 Continue\r\n\r\n")?;
        conn.send(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\nX-Early: 1\r\n\r\n")?;
        conn.answer(seen, b"final")
    })
}

/// A body without an end, as fast as it is taken.
pub fn endless() -> Vice {
    answering(|conn, _| {
        let head = conn.head_with("200 OK", "Content-Length: 1099511627776\r\n");
        conn.send(&head)?;
        let piece = pattern(64 * 1024);
        loop {
            conn.send(&piece)?;
        }
    })
}
