//! Clients that keep their connections and ask nothing.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::support::sockets::reset_on_close;

/// Connections of a server that are not idle, and descriptors for everything else.
const OTHERS: usize = 300;
/// More are of no use to anybody here, and some programs make room for all they may have.
const ENOUGH: u64 = 40_000;

/// Raises the limit of descriptors as far as it goes, for us and for all that we start; returns it.
pub fn raise_limit() -> usize {
    let hard = getrlimit(Resource::Nofile).maximum;
    let most = hard.map_or(ENOUGH, |hard| hard.min(ENOUGH));
    let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) });
    let is = getrlimit(Resource::Nofile).current.unwrap_or(ENOUGH);
    usize::try_from(is).unwrap_or(usize::MAX)
}

/// How many idle connections there may be of `wanted`. Some servers take half as many clients as
/// they may have descriptors: each may need one to a backend.
pub fn affordable(wanted: usize, descriptors: usize) -> usize {
    wanted.min((descriptors / 2).saturating_sub(OTHERS))
}

/// Connections that have asked once and wait.
pub struct Idle(Vec<TcpStream>);

impl Idle {
    /// Opens so many.
    pub fn open(to: SocketAddr, count: usize) -> Result<Idle, String> {
        let mut all = Idle(Vec::with_capacity(count));
        for nth in 0..count {
            let stream = ask(to).map_err(|error| format!("the {nth}th idle connection: {error}"))?;
            all.0.push(stream);
        }
        Ok(all)
    }

    /// How many the server has closed meanwhile.
    pub fn lost(&self) -> usize {
        let is_lost = |stream: &&TcpStream| {
            let _ = stream.set_nonblocking(true);
            !stream.peek(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
        };
        self.0.iter().filter(is_lost).count()
    }
}

impl Drop for Idle {
    fn drop(&mut self) {
        // So that no port is held for a minute: the next server needs as many.
        for stream in &self.0 {
            let _ = reset_on_close(stream);
        }
    }
}

/// One small answer on a new connection, read whole.
fn ask(to: SocketAddr) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    stream.write_all(format!("GET /3 HTTP/1.1\r\nHost: {to}\r\n\r\n").as_bytes())?;
    let mut buffer = [0; 2048];
    let mut have = 0;
    // Whatever the framing, the last of it is the body: "ok".
    while !buffer[..have].windows(7).any(|part| part == b"\r\n\r\nok\n") {
        match stream.read(&mut buffer[have..])? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            n => have += n,
        }
    }
    Ok(stream)
}
