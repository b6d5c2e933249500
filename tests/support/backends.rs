//! Toy backends: threads with blocking sockets that record what they saw.
//!
//! Each names itself in `X-Backend`. What it does with a connection is its vice, see
//! `vice.rs`; it can be stopped, and started again on the same address.

use std::{
    fmt, io,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpStream},
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use super::{
    seen::Seen,
    sockets::{self, LOOPBACK, LOOPBACK6, Reserved},
    steadily,
    vice::{Next, Vice},
};

/// A backend on a loopback port or a unix socket; stops when dropped.
pub struct Backend {
    name: String,
    place: Place,
    shared: Arc<Shared>,
    running: Mutex<Option<Running>>,
}

enum Place {
    Port(Reserved),
    Unix(PathBuf),
}

struct Running {
    accepting: JoinHandle<()>,
    stopping: Arc<AtomicBool>,
}

/// What all connections of a backend write down.
#[derive(Default)]
pub struct Shared {
    seen: Mutex<Vec<Seen>>,
    complaints: Mutex<Vec<String>>,
    streams: Mutex<Vec<(usize, TcpStream)>>,
    connections: AtomicUsize,
    open: AtomicUsize,
    received: AtomicUsize,
    sent: AtomicUsize,
}

impl Backend {
    /// Starts one on a free port of 127.0.0.1.
    pub fn start(name: &str, vice: Vice) -> Backend {
        Backend::at(name, Place::Port(Reserved::new(LOOPBACK).unwrap()), Some(vice))
    }

    /// Starts one on a free port of ::1; `None` where IPv6 is switched off.
    pub fn start_v6(name: &str, vice: Vice) -> Option<Backend> {
        let port = Reserved::new(LOOPBACK6).ok()?;
        Some(Backend::at(name, Place::Port(port), Some(vice)))
    }

    /// Starts one on a unix socket.
    pub fn start_unix(name: &str, path: &Path, vice: Vice) -> Backend {
        Backend::at(name, Place::Unix(path.to_owned()), Some(vice))
    }

    /// A port that refuses connections for as long as this value lives.
    pub fn refuses(name: &str) -> Backend {
        Backend::at(name, Place::Port(Reserved::new(LOOPBACK).unwrap()), None)
    }

    /// Starts one on a port that another process has reserved.
    pub fn start_at(name: &str, addr: SocketAddr, vice: Vice) -> Backend {
        Backend::at(name, Place::Port(Reserved::shared(addr).unwrap()), Some(vice))
    }

    fn at(name: &str, place: Place, vice: Option<Vice>) -> Backend {
        let shared = Arc::default();
        let backend = Backend { name: name.into(), place, shared, running: Mutex::new(None) };
        if let Some(vice) = vice {
            backend.restart(vice);
        }
        backend
    }

    /// Starts (again) on the same address.
    pub fn restart(&self, vice: Vice) {
        self.stop();
        let listener = match &self.place {
            Place::Port(port) => port.listen(512).unwrap(),
            Place::Unix(path) => sockets::listen_unix(path).unwrap(),
        };
        let stopping = Arc::new(AtomicBool::new(false));
        let accepting = {
            let (name, shared, stopping) =
                (self.name.clone(), Arc::clone(&self.shared), Arc::clone(&stopping));
            thread::spawn(move || accept_all(&listener, &name, &shared, &stopping, &vice))
        };
        *self.running.lock().unwrap() = Some(Running { accepting, stopping });
    }

    /// Stops listening and cuts every connection, as a killed process does.
    pub fn stop(&self) {
        let Some(running) = self.running.lock().unwrap().take() else { return };
        running.stopping.store(true, SeqCst);
        self.wake();
        let _ = running.accepting.join();
        self.cut();
    }

    /// Stops listening and lets connections end: idle ones at once, others behind their answer if
    /// the vice closes them there.
    pub fn stop_gently(&self, limit: Duration) {
        let Some(running) = self.running.lock().unwrap().take() else { return };
        running.stopping.store(true, SeqCst);
        self.wake();
        let _ = running.accepting.join();
        for (_, stream) in self.shared.streams.lock().unwrap().iter() {
            let _ = stream.shutdown(Shutdown::Read);
        }
        super::wait::within(limit, || self.open() == 0);
    }

    /// Cuts every connection and goes on listening.
    pub fn cut(&self) {
        for (_, stream) in self.shared.streams.lock().unwrap().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    fn wake(&self) {
        let _ = match &self.place {
            Place::Port(port) => TcpStream::connect(port.addr()).map(drop),
            Place::Unix(path) => std::os::unix::net::UnixStream::connect(path).map(drop),
        };
    }

    /// Its name, as in `X-Backend`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its socket address; not for unix sockets.
    pub fn addr(&self) -> SocketAddr {
        match &self.place {
            Place::Port(port) => port.addr(),
            Place::Unix(path) => panic!("{} is a unix socket", path.display()),
        }
    }

    /// Its address as the configuration writes it.
    pub fn address(&self) -> String {
        match &self.place {
            Place::Port(port) => port.addr().to_string(),
            Place::Unix(path) => format!("unix:{}", path.display()),
        }
    }

    /// Every request that came whole, in the order of arrival.
    pub fn seen(&self) -> Vec<Seen> {
        self.shared.seen.lock().unwrap().clone()
    }

    /// The only request that came.
    #[track_caller]
    pub fn only_seen(&self) -> Seen {
        let mut seen = self.seen();
        assert_eq!(seen.len(), 1, "requests at {}: {seen:#?}", self.name);
        seen.remove(0)
    }

    /// The newest request.
    #[track_caller]
    pub fn last_seen(&self) -> Seen {
        self.seen().pop().unwrap_or_else(|| panic!("no request came to {}", self.name))
    }

    /// What came that no strict backend would take as a request.
    pub fn complaints(&self) -> Vec<String> {
        self.shared.complaints.lock().unwrap().clone()
    }

    /// How many requests came whole.
    pub fn requests(&self) -> usize {
        self.shared.seen.lock().unwrap().len()
    }

    /// How many connections were accepted.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(SeqCst)
    }

    /// How many connections are open now.
    pub fn open(&self) -> usize {
        self.shared.open.load(SeqCst)
    }

    /// Bytes received so far.
    pub fn received(&self) -> usize {
        self.shared.received.load(SeqCst)
    }

    /// Bytes the system took from it so far.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(SeqCst)
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.stop();
        if let Place::Unix(path) = &self.place {
            let _ = std::fs::remove_file(path);
        }
    }
}

impl fmt::Debug for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.address())
    }
}

fn accept_all(listener: &OwnedFd, name: &str, shared: &Arc<Shared>, stopping: &Arc<AtomicBool>, vice: &Vice) {
    loop {
        let Ok(stream) = sockets::accept(listener) else { continue };
        if stopping.load(SeqCst) {
            return;
        }
        let _ = stream.set_nodelay(true);
        let id = shared.connections.fetch_add(1, SeqCst);
        shared.open.fetch_add(1, SeqCst);
        if let Ok(clone) = stream.try_clone() {
            shared.streams.lock().unwrap().push((id, clone));
        }
        let (shared, vice) = (Arc::clone(shared), Arc::clone(vice));
        let mut conn = Conn { id, name: name.into(), stream, buffer: Vec::new(), noted: false, shared };
        thread::spawn(move || {
            let outcome = loop {
                match vice(&mut conn) {
                    Ok(Next::Again) => {}
                    other => break other,
                }
            };
            conn.finish(outcome);
        });
    }
}

/// One accepted connection, in the hands of a vice.
pub struct Conn {
    /// Its number at this backend, from 0.
    pub id: usize,
    /// The backend's name.
    pub name: String,
    /// The socket.
    pub stream: TcpStream,
    buffer: Vec<u8>,
    noted: bool,
    shared: Arc<Shared>,
}

impl Conn {
    /// True the first time that it is asked on this connection.
    pub fn take_note(&mut self) -> bool {
        !std::mem::replace(&mut self.noted, true)
    }

    /// Reads a request with its body and records it; `None` when the peer left politely.
    pub fn request(&mut self) -> io::Result<Option<Seen>> {
        let Some(mut seen) = self.head()? else { return Ok(None) };
        seen.body = self.body(&seen)?;
        self.record(&seen);
        Ok(Some(seen))
    }

    /// Reads a request head only, recording nothing.
    pub fn head(&mut self) -> io::Result<Option<Seen>> {
        let end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            if self.fill()? == 0 {
                if self.buffer.is_empty() {
                    return Ok(None);
                }
                let rest = String::from_utf8_lossy(&self.buffer).into_owned();
                return Err(self.complain(format!("the peer left within a head: {rest:?}")));
            }
        };
        let head: Vec<u8> = self.buffer.drain(..end).collect();
        Seen::parse(self.id, &head).map(Some).map_err(|error| self.complain(error.to_string()))
    }

    /// Reads the body that belongs to `head`.
    pub fn body(&mut self, head: &Seen) -> io::Result<Vec<u8>> {
        let codings = head.all("Transfer-Encoding");
        let lengths = head.all("Content-Length");
        match (codings.as_slice(), lengths.as_slice()) {
            ([], []) => Ok(Vec::new()),
            ([], [length]) => match length.parse() {
                Ok(length) => self.exactly(length),
                Err(_) => Err(self.complain(format!("Content-Length {length:?}"))),
            },
            ([coding], []) if coding.eq_ignore_ascii_case("chunked") => self.chunks(),
            other => Err(self.complain(format!("two framings: {other:?}"))),
        }
    }

    /// Records a request that was read by head and body.
    pub fn record(&self, seen: &Seen) {
        self.shared.seen.lock().unwrap().push(seen.clone());
    }

    /// Sends bytes, counting them.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        for piece in bytes.chunks(64 * 1024) {
            self.stream.write_all(piece)?;
            self.shared.sent.fetch_add(piece.len(), SeqCst);
        }
        Ok(())
    }

    /// Sends a 200 with a length and this body (its head only for HEAD).
    pub fn answer(&mut self, to: &Seen, body: &[u8]) -> io::Result<Next> {
        let mut bytes = self.head_with("200 OK", &format!("Content-Length: {}\r\n", body.len()));
        if to.method != "HEAD" {
            bytes.extend_from_slice(body);
        }
        self.send(&bytes)?;
        Ok(if to.keeps_alive() { Next::Again } else { Next::Close })
    }

    /// A response head of this backend; `fields` are whole lines.
    pub fn head_with(&self, status: &str, fields: &str) -> Vec<u8> {
        let name = &self.name;
        format!("HTTP/1.1 {status}\r\nX-Backend: {name}\r\n{fields}\r\n").into_bytes()
    }

    /// Whatever bytes come next, those that were read too far first; none when the peer has left.
    pub fn piece(&mut self) -> io::Result<Vec<u8>> {
        if self.buffer.is_empty() {
            self.fill()?;
        }
        Ok(std::mem::take(&mut self.buffer))
    }

    /// Waits until the peer closes or resets; what it still sends is dropped.
    pub fn wait_for_hangup(&mut self) {
        while matches!(self.fill(), Ok(1..)) {
            self.buffer.clear();
        }
    }

    /// Waits at most `limit` for the peer's close; true when it came.
    pub fn hangup_within(&mut self, limit: Duration) -> bool {
        let _ = self.stream.set_read_timeout(Some(limit));
        let left = match self.fill() {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != io::ErrorKind::WouldBlock,
        };
        let _ = self.stream.set_read_timeout(None);
        left
    }

    fn exactly(&mut self, length: usize) -> io::Result<Vec<u8>> {
        while self.buffer.len() < length {
            if self.fill()? == 0 {
                let have = self.buffer.len();
                return Err(self.complain(format!("the peer left after {have} of {length}")));
            }
        }
        Ok(self.buffer.drain(..length).collect())
    }

    fn chunks(&mut self) -> io::Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let line = self.line()?;
            let size = line.split(';').next().unwrap_or_default();
            let Ok(size) = usize::from_str_radix(size, 16) else {
                return Err(self.complain(format!("chunk size {line:?}")));
            };
            if size == 0 {
                while !self.line()?.is_empty() {}
                return Ok(body);
            }
            body.extend(self.exactly(size)?);
            if self.exactly(2)? != b"\r\n" {
                return Err(self.complain("chunk without its line end".into()));
            }
        }
    }

    fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            if self.fill()? == 0 {
                return Err(self.complain("the peer left within a line".into()));
            }
        }
    }

    fn fill(&mut self) -> io::Result<usize> {
        let mut piece = [0; 64 * 1024];
        let n = steadily(|| self.stream.read(&mut piece))?;
        self.buffer.extend_from_slice(&piece[..n]);
        self.shared.received.fetch_add(n, SeqCst);
        Ok(n)
    }

    fn complain(&self, what: String) -> io::Error {
        self.shared.complaints.lock().unwrap().push(format!("{}: {what}", self.name));
        io::Error::new(io::ErrorKind::InvalidData, what)
    }

    fn finish(self, outcome: io::Result<Next>) {
        if matches!(outcome, Ok(Next::Reset)) {
            let _ = sockets::reset_on_close(&self.stream);
        }
        // The backend's own list holds a second handle: forget it, or the close is none.
        self.shared.streams.lock().unwrap().retain(|(id, _)| *id != self.id);
        drop(self.stream);
        self.shared.open.fetch_sub(1, SeqCst);
    }
}
