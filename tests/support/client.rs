//! A raw HTTP/1.1 client that never hangs and hides nothing: every read has a deadline, and
//! a response says how it was framed and how it ended.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Shutdown, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use super::{sockets, steadily};

/// How long a client waits for one whole response.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// One client connection.
pub struct Client {
    /// The socket.
    pub stream: TcpStream,
    host: String,
    deadline: Duration,
    buffer: Vec<u8>,
}

/// How a response ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Its framing says it is whole.
    Complete,
    /// The connection was closed first.
    Truncated,
    /// The connection was reset first.
    Reset,
    /// Nothing came before the deadline.
    TimedOut,
    /// Its framing is wrong.
    Malformed,
}

/// How the body was framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// No body by the status or the method.
    Bodiless,
    /// `Content-Length`.
    Length(usize),
    /// `Transfer-Encoding: chunked`.
    Chunked,
    /// By the close of the connection.
    UntilClose,
}

/// One response.
#[derive(Clone)]
pub struct Response {
    /// `HTTP/1.1`.
    pub version: String,
    /// The status code.
    pub status: u16,
    /// The reason phrase.
    pub reason: String,
    /// The header fields in order.
    pub headers: Vec<(String, String)>,
    /// The decoded body, as far as it came.
    pub body: Vec<u8>,
    /// Trailer lines of a chunked body.
    pub trailers: Vec<String>,
    /// Status codes of the interim responses before it.
    pub interim: Vec<u16>,
    /// How the body was framed.
    pub framing: Framing,
    /// How it ended.
    pub end: End,
}

/// No response head came.
#[derive(Debug)]
pub struct NoAnswer {
    /// Why.
    pub end: End,
    /// What came instead of a head.
    pub bytes: String,
}

impl Client {
    /// Connects.
    pub fn connect(to: SocketAddr) -> Client {
        Client::try_connect(to).unwrap()
    }

    /// Connects, or says why not.
    pub fn try_connect(to: SocketAddr) -> io::Result<Client> {
        Ok(Client::over(TcpStream::connect_timeout(&to, DEADLINE)?, to))
    }

    /// Connects from another loopback address.
    pub fn connect_from(to: SocketAddr, from: IpAddr) -> Client {
        Client::over(sockets::connect_from(to, Some(from), None).unwrap(), to)
    }

    /// Connects with a small receive buffer, as a slow reader has.
    pub fn connect_narrow(to: SocketAddr) -> Client {
        Client::over(sockets::connect_from(to, None, Some(4096)).unwrap(), to)
    }

    fn over(stream: TcpStream, to: SocketAddr) -> Client {
        let _ = stream.set_nodelay(true);
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        Client { stream, host: to.to_string(), deadline: DEADLINE, buffer: Vec::new() }
    }

    /// Changes how long a response may take.
    pub fn with_deadline(mut self, deadline: Duration) -> Client {
        self.deadline = deadline;
        self
    }

    /// Sends bytes as they are.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).unwrap();
    }

    /// Sends bytes; a server that refuses may have closed already.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.stream.write_all(bytes.as_ref())
    }

    /// Sends a request with a Host and, if there is a body or `method` wants one, a length.
    pub fn send_request(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) {
        let bytes = request(method, target, &self.host, fields, body);
        self.send(bytes);
    }

    /// Sends a request and reads its response.
    #[track_caller]
    pub fn ask(&mut self, method: &str, target: &str, fields: &str, body: &[u8]) -> Response {
        self.send_request(method, target, fields, body);
        self.read(method)
    }

    /// GET on this connection.
    #[track_caller]
    pub fn get(&mut self, target: &str) -> Response {
        self.ask("GET", target, "", b"")
    }

    /// Reads a response; panics when no head comes.
    #[track_caller]
    pub fn read(&mut self, method: &str) -> Response {
        match self.try_read(method) {
            Ok(response) => response,
            Err(none) => panic!("no answer to {method}: {none:?}"),
        }
    }

    /// Reads a response to a request of this method.
    pub fn try_read(&mut self, method: &str) -> Result<Response, NoAnswer> {
        let until = Instant::now() + self.deadline;
        let mut interim = Vec::new();
        loop {
            let mut response = self.read_head(until)?;
            if (100..200).contains(&response.status) && response.status != 101 {
                interim.push(response.status);
                continue;
            }
            response.interim = interim;
            response.framing = framing(&response, method);
            response.end = self.read_body(&mut response, until).err().unwrap_or(End::Complete);
            return Ok(response);
        }
    }

    /// Waits at most `limit` for the server's close (or reset); false when more bytes come
    /// or nothing happens.
    pub fn closed_within(&mut self, limit: Duration) -> bool {
        if !self.buffer.is_empty() {
            return false;
        }
        match self.fill(Instant::now() + limit) {
            Ok(()) => false,
            Err(end) => end != End::TimedOut,
        }
    }

    /// Reads whatever comes until the connection ends or `limit` has passed.
    pub fn read_all(&mut self, limit: Duration) -> (Vec<u8>, End) {
        let until = Instant::now() + limit;
        loop {
            if let Err(end) = self.fill(until) {
                return (std::mem::take(&mut self.buffer), end);
            }
        }
    }

    /// Reads exactly so many bytes of whatever comes.
    #[track_caller]
    pub fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        let until = Instant::now() + self.deadline;
        while self.buffer.len() < length {
            if let Err(end) = self.fill(until) {
                panic!("{end:?} after {} of {length} bytes", self.buffer.len());
            }
        }
        self.buffer.drain(..length).collect()
    }

    /// A second hold on the connection, to send while somebody reads.
    pub fn sender(&self) -> TcpStream {
        self.stream.try_clone().unwrap()
    }

    /// Says that nothing more will be sent.
    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }

    /// Leaves with a reset.
    pub fn reset(self) {
        sockets::reset_on_close(&self.stream).unwrap();
    }

    /// `Host` as this client sends it.
    pub fn host(&self) -> &str {
        &self.host
    }

    fn read_head(&mut self, until: Instant) -> Result<Response, NoAnswer> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if let Err(end) = self.fill(until) {
                return Err(self.no_answer(end));
            }
        };
        match parse_head(&self.buffer[..end]) {
            Some(response) => {
                self.buffer.drain(..end);
                Ok(response)
            }
            None => Err(self.no_answer(End::Malformed)),
        }
    }

    fn no_answer(&self, end: End) -> NoAnswer {
        NoAnswer { end, bytes: String::from_utf8_lossy(&self.buffer).into_owned() }
    }

    fn read_body(&mut self, response: &mut Response, until: Instant) -> Result<(), End> {
        match response.framing {
            Framing::Bodiless => Ok(()),
            Framing::Length(length) => {
                let outcome = self.want(length, until);
                let have = length.min(self.buffer.len());
                response.body = self.buffer.drain(..have).collect();
                outcome
            }
            Framing::Chunked => self.read_chunks(response, until),
            Framing::UntilClose => loop {
                let outcome = self.fill(until);
                response.body.append(&mut self.buffer);
                match outcome {
                    Ok(()) => {}
                    Err(End::Truncated) => return Ok(()),
                    Err(end) => return Err(end),
                }
            },
        }
    }

    fn read_chunks(&mut self, response: &mut Response, until: Instant) -> Result<(), End> {
        loop {
            let line = self.line(until)?;
            let size = line.split(';').next().unwrap_or_default().trim_end();
            let size = usize::from_str_radix(size, 16).map_err(|_| End::Malformed)?;
            if size == 0 {
                loop {
                    let line = self.line(until)?;
                    if line.is_empty() {
                        return Ok(());
                    }
                    response.trailers.push(line);
                }
            }
            let outcome = self.want(size + 2, until);
            let have = size.min(self.buffer.len());
            response.body.extend(self.buffer.drain(..have));
            outcome?;
            if self.buffer.drain(..2).ne(*b"\r\n") {
                return Err(End::Malformed);
            }
        }
    }

    fn line(&mut self, until: Instant) -> Result<String, End> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).collect();
                return Ok(String::from_utf8_lossy(&line[..at]).into_owned());
            }
            self.fill(until)?;
        }
    }

    fn want(&mut self, length: usize, until: Instant) -> Result<(), End> {
        while self.buffer.len() < length {
            self.fill(until)?;
        }
        Ok(())
    }

    fn fill(&mut self, until: Instant) -> Result<(), End> {
        let mut piece = [0; 64 * 1024];
        let read = steadily(|| {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            self.stream.set_read_timeout(Some(left))?;
            self.stream.read(&mut piece)
        });
        match read {
            Ok(0) => Err(End::Truncated),
            Ok(n) => {
                self.buffer.extend_from_slice(&piece[..n]);
                Ok(())
            }
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => Err(End::TimedOut),
                _ => Err(End::Reset),
            },
        }
    }
}

impl Response {
    /// The value of a field that came exactly once; `None` when it did not come.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(all.len() <= 1, "{name} came {} times: {all:?}", all.len());
        all.first().copied()
    }

    /// All values of a field, in order.
    pub fn all(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(n, _)| n.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str()).collect()
    }

    /// Which backend answered; empty when the host or the plugin did.
    #[track_caller]
    pub fn backend(&self) -> &str {
        self.header("X-Backend").unwrap_or_default()
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// Panics unless it is a whole response with this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Response {
        assert_eq!((self.status, self.end), (status, End::Complete), "{self:?}");
        self
    }
}

impl std::fmt::Debug for Response {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let body = String::from_utf8_lossy(&self.body[..self.body.len().min(200)]);
        write!(f, "{} {} {} ({:?}, {:?}, ", self.version, self.status, self.reason, self.framing, self.end)?;
        write!(f, "{} body bytes)\n{:#?}\n{body:?}", self.body.len(), self.headers)
    }
}

/// One GET on a connection of its own.
#[track_caller]
pub fn get(to: SocketAddr, target: &str) -> Response {
    let mut client = Client::connect(to);
    client.ask("GET", target, "Connection: close\r\n", b"")
}

/// A request as bytes; a length is added for a body and for POST, PUT and PATCH.
pub fn request(method: &str, target: &str, host: &str, fields: &str, body: &[u8]) -> Vec<u8> {
    let mut bytes = format!("{method} {target} HTTP/1.1\r\nHost: {host}\r\n{fields}").into_bytes();
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        bytes.extend_from_slice(format!("Content-Length: {}\r\n", body.len()).as_bytes());
    }
    bytes.extend_from_slice(b"\r\n");
    bytes.extend_from_slice(body);
    bytes
}

fn parse_head(bytes: &[u8]) -> Option<Response> {
    let head: String = bytes.iter().map(|&byte| char::from(byte)).collect();
    let mut lines = head.trim_end_matches("\r\n").split("\r\n");
    let (version, rest) = lines.next()?.split_once(' ')?;
    if !version.starts_with("HTTP/1.") {
        return None;
    }
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    let headers = lines.map(|line| {
        let (name, value) = line.split_once(':')?;
        Some((name.to_owned(), value.trim().to_owned()))
    });
    Some(Response {
        version: version.into(),
        status: status.parse().ok()?,
        reason: reason.into(),
        headers: headers.collect::<Option<_>>()?,
        body: Vec::new(),
        trailers: Vec::new(),
        interim: Vec::new(),
        framing: Framing::Bodiless,
        end: End::Complete,
    })
}

fn framing(response: &Response, method: &str) -> Framing {
    if method == "HEAD" || matches!(response.status, 101 | 204 | 304) {
        return Framing::Bodiless;
    }
    // Monkey writes "Chunked".
    let chunked = |value: &&str| value.eq_ignore_ascii_case("chunked");
    if response.all("Transfer-Encoding").iter().any(chunked) {
        return Framing::Chunked;
    }
    match response.all("Content-Length").first() {
        Some(length) => length.parse().map_or(Framing::UntilClose, Framing::Length),
        None => Framing::UntilClose,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}
