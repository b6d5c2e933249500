//! Fires vectors and judges: each over a connection of its own, then an innocent request on the same
//! connection, then one of another client, then a look at every byte that the backend got.

use std::{
    collections::HashMap,
    io::Read,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    readings::{self, Reading},
    vectors::Vector,
};
use crate::support::{
    Backend, Client, End, Host, Kind, Next, Seen, backends::Conn, for_each_host, rules::host_of, steadily,
    vice, within,
};

/// Hosts that are fired at side by side.
const LANES: usize = 16;

/// How long to listen for more: what a server wants to say it says at once, or not for seconds.
const QUIET: Duration = Duration::from_millis(100);

/// What backends got, byte by byte.
#[derive(Default)]
pub struct Wire {
    streams: Mutex<HashMap<usize, Stream>>,
}

#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    judged: usize,
}

impl Wire {
    /// How many requests for this target came whole, body and all.
    pub fn complete(&self, target: &str) -> usize {
        self.count(|line| target_of(line) == target)
    }

    /// How many requests came whole whose first line is such a one.
    fn count(&self, is: impl Fn(&str) -> bool) -> usize {
        let strict = readings::all()[0];
        let count = |stream: &Stream| {
            let (requests, taken) = strict.requests(&stream.bytes);
            // The last one may lack a part of its body.
            let whole = requests.len() - usize::from(taken < stream.bytes.len() && !requests.is_empty());
            requests[..whole].iter().filter(|request| is(&request.line)).count()
        };
        self.streams.lock().unwrap().values().map(count).sum()
    }
}

fn target_of(line: &str) -> &str {
    line.split(' ').nth(1).unwrap_or_default()
}

/// A backend that writes down each byte and answers a head BEFORE it reads the body, so that a head
/// that is sent without its body is found out.
pub fn recorder(wire: &Arc<Wire>) -> vice::Vice {
    let wire = Arc::clone(wire);
    vice::custom(move |conn| {
        let mut buffer = Vec::new();
        loop {
            let Some(head) = take_head(conn, &wire, &mut buffer)? else { return Ok(Next::Close) };
            let seen = Seen::parse(conn.id, &head)?;
            if seen.header("Sec-WebSocket-Version") == Some("777") {
                conn.send(&conn.head_with("426 Upgrade Required", "Content-Length: 0\r\n"))?;
            } else {
                conn.answer(&seen, format!("{} {}\n", seen.method, seen.target).as_bytes())?;
            }
            skip_body(conn, &wire, &mut buffer, &seen)?;
        }
    })
}

fn more(conn: &mut Conn, wire: &Wire, buffer: &mut Vec<u8>) -> std::io::Result<bool> {
    let mut piece = [0; 16 * 1024];
    let n = steadily(|| conn.stream.read(&mut piece))?;
    buffer.extend_from_slice(&piece[..n]);
    let mut streams = wire.streams.lock().unwrap();
    streams.entry(conn.id).or_default().bytes.extend_from_slice(&piece[..n]);
    Ok(n > 0)
}

fn take_head(conn: &mut Conn, wire: &Wire, buffer: &mut Vec<u8>) -> std::io::Result<Option<Vec<u8>>> {
    loop {
        if let Some(at) = buffer.windows(4).position(|window| window == b"\r\n\r\n") {
            return Ok(Some(buffer.drain(..at + 4).collect()));
        }
        if !more(conn, wire, buffer)? {
            return Ok(None);
        }
    }
}

/// The strict reading of a body; the lenient ones are for the judge.
fn skip_body(conn: &mut Conn, wire: &Wire, buffer: &mut Vec<u8>, seen: &Seen) -> std::io::Result<()> {
    let strict = readings::all()[0];
    let mut whole = seen.head.chars().map(|c| c as u8).collect::<Vec<_>>();
    let head = whole.len();
    whole.append(buffer);
    loop {
        let length = strict.first(&whole);
        if length > 0 {
            *buffer = whole.split_off(length);
            return Ok(());
        }
        let mut piece = Vec::new();
        if !more(conn, wire, &mut piece)? {
            let have = whole.len() - head;
            return Err(std::io::Error::other(format!("the peer left after {have} bytes of a body")));
        }
        whole.append(&mut piece);
    }
}

/// Fires all vectors of a rule at every host, and panics with all that went wrong.
pub fn fire_all(id: &str, vectors: Vec<Vector>) {
    for_each_host(|kind| {
        let begun = Instant::now();
        let (failures, forwarded) = fire(kind, &vectors);
        let (count, took, bad) = (vectors.len(), begun.elapsed(), failures.len());
        println!("{id}: {count} vectors at {kind:?} in {took:.1?}: {forwarded} forwarded, {bad} failed");
        assert!(failures.is_empty(), "{id}: {bad} of {count}:\n{}", failures.join("\n"));
    });
}

/// What went wrong, and how many vectors reached the backend as requests.
fn fire(kind: Kind, vectors: &[Vector]) -> (Vec<String>, usize) {
    let next = AtomicUsize::new(0);
    let lanes: Vec<_> = thread::scope(|scope| {
        let lanes: Vec<_> =
            (0..LANES.min(vectors.len())).map(|_| scope.spawn(|| lane(kind, vectors, &next))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).collect()
    });
    let forwarded = lanes.iter().map(|(_, forwarded)| forwarded).sum();
    let mut failures: Vec<_> = lanes.into_iter().flat_map(|(failures, _)| failures).collect();
    failures.sort();
    (failures, forwarded)
}

/// One host with one worker, so that there is one pool; it takes vectors as long as there are some.
fn lane(kind: Kind, vectors: &[Vector], next: &AtomicUsize) -> (Vec<String>, usize) {
    let wire = Arc::new(Wire::default());
    let a = Backend::start("a", recorder(&wire));
    let lane = Lane { host: host_of(kind, &a), wire, readings: readings::all() };
    // A lane that comes too late for a vector still talks to its host: one that is ended while it
    // is starting does not always end.
    let mut failures: Vec<_> = lane.innocent(0).into_iter().collect();
    loop {
        let number = next.fetch_add(1, SeqCst);
        let Some(vector) = vectors.get(number) else { break };
        let bad = lane.shoot(vectors, number);
        failures.extend(bad.into_iter().map(|what| format!("{number:05} {}: {what}", vector.name)));
    }
    // What may have come after the last look.
    within(Duration::from_secs(1), || a.open() <= 1);
    failures.extend(lane.judge(vectors).into_iter().map(|what| format!("at the end: {what}")));
    (failures, lane.wire.count(|line| parts(target_of(line)).0 == "v"))
}

struct Lane {
    host: Host,
    wire: Arc<Wire>,
    readings: Vec<Reading>,
}

impl Lane {
    fn shoot(&self, vectors: &[Vector], number: usize) -> Vec<String> {
        let (vector, mut bad) = (&vectors[number], Vec::new());
        let mut client = self.host.client();
        let _ = client.try_send(vector.bytes(number));
        let (mut got, open) = listen(&mut client);
        if open && !vector.hungry {
            let innocent = format!("GET /app/same{number:05} HTTP/1.1\r\nHost: l\r\n\r\n");
            let _ = client.try_send(innocent);
            got.extend(listen(&mut client).0);
        }
        drop(client);
        bad.extend(others_answer(&got, number));
        bad.extend(self.innocent(number));
        bad.extend(self.judge(vectors));
        if let Some(last) = bad.last_mut() {
            let got = String::from_utf8_lossy(&got[..got.len().min(600)]).into_owned();
            last.push_str(&format!("\n    its client got {got:?}"));
        }
        bad
    }

    /// Another client, on a connection of its own: it gets its own answer.
    fn innocent(&self, number: usize) -> Option<String> {
        let mut client = self.host.client().with_deadline(Duration::from_secs(3));
        let (method, body) = if number.is_multiple_of(2) { ("GET", "") } else { ("POST", "hello") };
        let target = format!("/app/i{number:05}");
        client.send_request(method, &target, "Connection: close\r\n", body.as_bytes());
        let answer = client.try_read(method);
        let good = answer.as_ref().is_ok_and(|answer| {
            answer.status == 200
                && answer.end == End::Complete
                && answer.text() == format!("{method} {target}\n")
        });
        (!good).then(|| format!("another client got {answer:?}"))
    }

    /// Every byte that is new at the backend: the same requests in every reading, all of them made
    /// by the proxy, none of them the hidden one.
    fn judge(&self, vectors: &[Vector]) -> Vec<String> {
        let mut bad = Vec::new();
        for stream in self.wire.streams.lock().unwrap().values_mut() {
            let bytes = &stream.bytes[stream.judged..];
            if bytes.is_empty() {
                continue;
            }
            let (requests, taken) = self.readings[0].requests(bytes);
            for reading in &self.readings {
                if reading.requests(bytes).0 != requests {
                    bad.push(format!("{reading:?} reads otherwise: {:?}", String::from_utf8_lossy(bytes)));
                    break;
                }
            }
            for request in &requests {
                if let Some(what) = wrong_with(&request.line, request.marked, vectors) {
                    bad.push(what);
                }
            }
            stream.judged += if bad.is_empty() { taken } else { bytes.len() };
        }
        bad
    }
}

/// Targets carry the number of their vector: what comes late is judged by its own.
fn wrong_with(line: &str, marked: bool, vectors: &[Vector]) -> Option<String> {
    let (kind, number) = parts(target_of(line));
    if !marked {
        return Some(format!("{line:?} is not made by the proxy"));
    }
    match (kind, number.and_then(|number| vectors.get(number))) {
        ("SMUGGLED", Some(vector)) => (!vector.open).then(|| format!("{line:?} got through")),
        ("v" | "same" | "i", Some(_)) => None,
        // The one request without a number.
        _ if line == "OPTIONS * HTTP/1.1" => None,
        _ => Some(format!("{line:?} is nobody's request")),
    }
}

/// `SMUGGLED` and 12, for `/app/SMUGGLED00012`.
fn parts(target: &str) -> (&str, Option<usize>) {
    let rest = target.strip_prefix("/app/").unwrap_or_default();
    let kind = rest.find(|c: char| !c.is_ascii_alphabetic()).map_or(rest, |end| &rest[..end]);
    let digits = rest[kind.len()..].get(..5).unwrap_or_default();
    (kind, digits.parse().ok())
}

/// Reads until nothing more comes for a while; whether the connection is still open then.
fn listen(client: &mut Client) -> (Vec<u8>, bool) {
    let mut got = Vec::new();
    for _ in 0..20 {
        let (piece, end) = client.read_all(QUIET);
        let nothing = piece.is_empty();
        got.extend(piece);
        if end != End::TimedOut {
            return (got, false);
        }
        if nothing {
            break;
        }
    }
    (got, true)
}

/// Whether an answer to somebody else is among these bytes.
fn others_answer(got: &[u8], own: usize) -> Option<String> {
    let text = String::from_utf8_lossy(got).into_owned();
    let somebody_else = text.match_indices("/app/").any(|(at, _)| match parts(&text[at..]) {
        (kind, Some(number)) => kind == "i" || number != own,
        _ => false,
    });
    somebody_else.then(|| format!("the client got an answer to somebody else: {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::{Vector, others_answer, wrong_with};

    #[test]
    fn the_judge_knows_good_from_bad() {
        let vectors = [Vector::hidden("hidden", ""), Vector::open("open", "")];
        let good = [("GET /app/v00000?x HTTP/1.1", true), ("GET /app/SMUGGLED00001 HTTP/1.1", true)];
        for (line, marked) in good {
            assert_eq!(wrong_with(line, marked, &vectors), None);
        }
        let bad = [
            ("GET /app/SMUGGLED00000 HTTP/1.1", true),
            ("GET /app/SMUGGLED00001 HTTP/1.1", false),
            ("GET /app/v00002 HTTP/1.1", true),
            ("helloGET /app/same00001 HTTP/1.1", false),
            ("XY", true),
        ];
        for (line, marked) in bad {
            assert!(wrong_with(line, marked, &vectors).is_some(), "{line}");
        }
        assert!(others_answer(b"HTTP/1.1 200 OK\r\n\r\nGET /app/v00001\n", 1).is_none());
        assert!(others_answer(b"HTTP/1.1 200 OK\r\n\r\nGET /app/v00002\n", 1).is_some());
        assert!(others_answer(b"GET /app/i00001\n", 1).is_some());
    }
}
