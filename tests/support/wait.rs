//! Waiting for a condition with a deadline, and bytes that anyone can compute again.

use std::{
    io::{self, Read, Write},
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

/// Polls `condition` until it holds; panics with `what` when `limit` has passed.
#[track_caller]
pub fn eventually(limit: Duration, what: &str, condition: impl FnMut() -> bool) {
    assert!(within(limit, condition), "not within {limit:?}: {what}");
}

/// Polls `condition` until it holds (true) or `limit` has passed (false).
pub fn within(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let until = Instant::now() + limit;
    loop {
        if condition() {
            return true;
        }
        if Instant::now() >= until {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
}

/// Makes a call of a socket until the system does not interrupt it. With a time-out set that happens
/// without any signal of ours, when the process was held and let go on (`signal(7)`).
pub fn steadily(mut call: impl FnMut() -> io::Result<usize>) -> io::Result<usize> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// A stream that goes on where the system interrupts it.
pub struct Steady(pub TcpStream);

impl Read for Steady {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        steadily(|| self.0.read(buffer))
    }
}

impl Write for Steady {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        steadily(|| self.0.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// `len` bytes that look random and are always the same; one stream, so a prefix is a prefix.
pub fn pattern(len: usize) -> Vec<u8> {
    (0..len as u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 33) as u8).collect()
}

/// Compares long bodies and names the first difference instead of printing both.
#[track_caller]
pub fn assert_bytes(got: &[u8], want: &[u8]) {
    if got == want {
        return;
    }
    let at = got.iter().zip(want).position(|(a, b)| a != b);
    let at = at.unwrap_or_else(|| got.len().min(want.len()));
    let show = |bytes: &[u8]| {
        String::from_utf8_lossy(&bytes[at.min(bytes.len())..bytes.len().min(at + 60)]).into_owned()
    };
    panic!(
        "bytes differ at {at}: got {} bytes, {:?}; want {} bytes, {:?}",
        got.len(),
        show(got),
        want.len(),
        show(want)
    );
}

/// A body in chunks, each of the next size, without trailers.
pub fn in_chunks(body: &[u8], mut size: impl FnMut() -> usize) -> Vec<u8> {
    let (mut wire, mut rest) = (Vec::new(), body);
    while !rest.is_empty() {
        let (chunk, after) = rest.split_at(size().min(rest.len()));
        wire.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
        wire.extend_from_slice(chunk);
        wire.extend_from_slice(b"\r\n");
        rest = after;
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    wire
}
