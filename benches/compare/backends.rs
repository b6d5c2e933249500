//! The servers behind the proxies: one nginx with one worker for what stands in files, and threads
//! of this program for what nginx does not do of itself: answers in chunks, bodies that are read.

use std::fmt::Write as _;
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use super::process::Program;
use super::support::sockets::{LOOPBACK, Reserved};
use super::support::within;

/// Three addresses for each kind.
pub struct Backends {
    _nginx: Program,
    _ports: Vec<Reserved>,
    /// Most descriptors that a program may have.
    pub descriptors: usize,
    /// `/3`, `/1k`, `/100k`, `/10m`.
    pub files: Vec<SocketAddr>,
    /// What begins with `/toy/`.
    pub toys: Vec<SocketAddr>,
}

impl Backends {
    /// Starts all; each program may have so many descriptors.
    pub fn start(descriptors: usize) -> Result<Backends, String> {
        let ports: Vec<Reserved> = (0..3).map(|_| Reserved::new(LOOPBACK).unwrap()).collect();
        let files: Vec<SocketAddr> = ports.iter().map(Reserved::addr).collect();
        let folder = tempfile::Builder::new().prefix("compare-").tempdir().unwrap();
        let www = folder.path().join("www");
        fs::create_dir(&www).unwrap();
        for (name, length) in [("1k", 1024), ("100k", 100 * 1024), ("10m", 10 * 1024 * 1024)] {
            fs::write(www.join(name), vec![b'x'; length]).unwrap();
        }
        let mut servers = String::new();
        for addr in &files {
            let _ = writeln!(
                servers,
                "server {{ listen {addr} backlog=4096; root {}; location = /3 {{ return 200 \"ok\\n\"; }} }}",
                www.display()
            );
        }
        let http = format!("sendfile on; tcp_nopush on; {servers}");
        fs::write(folder.path().join("nginx.conf"), nginx_conf(folder.path(), descriptors, 1, &http))
            .unwrap();
        let mut nginx = Program::start(nginx(folder.path()), folder)?;
        wait_for(files[0], &mut nginx)?;
        let toys = (0..3).map(|_| toy()).collect();
        Ok(Backends { _nginx: nginx, _ports: ports, descriptors, files, toys })
    }
}

/// The text around the servers of an nginx.
pub fn nginx_conf(folder: &std::path::Path, descriptors: usize, workers: usize, http: &str) -> String {
    let at = folder.display();
    let temp: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|name| format!("{name}_temp_path {at}/{name}; "))
        .concat();
    format!(
        "worker_processes {workers}; daemon off; pid {at}/pid; error_log {at}/error.log;\n\
         events {{ worker_connections {descriptors}; }}\n\
         http {{ access_log off; {temp}\n\
         keepalive_requests 100000000; keepalive_timeout 300;\n{http} }}\n"
    )
}

/// The command that starts an nginx with the configuration in this folder.
pub fn nginx(folder: &std::path::Path) -> Command {
    let mut command = Command::new("nginx");
    command.arg("-p").arg(folder).arg("-e").arg(folder.join("error.log"));
    command.arg("-c").arg(folder.join("nginx.conf"));
    command
}

/// Waits until somebody listens there.
pub fn wait_for(addr: SocketAddr, program: &mut Program) -> Result<(), String> {
    let mut said = None;
    let listens = within(Duration::from_secs(10), || {
        said = program.died();
        said.is_some() || TcpStream::connect(addr).is_ok()
    });
    match said {
        Some(said) => Err(format!("it ended at once: {said}")),
        None if listens => Ok(()),
        None => Err("it does not listen".into()),
    }
}

/// A backend of threads, one for each connection.
fn toy() -> SocketAddr {
    let listener = TcpListener::bind(LOOPBACK).unwrap();
    let addr = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::Builder::new().stack_size(64 * 1024).spawn(move || serve(stream)).unwrap();
        }
    });
    addr
}

const CHUNKS: usize = 16;
const CHUNK: usize = 4096;

/// `None` and the end of the thread when the connection is over.
fn serve(mut stream: TcpStream) -> Option<()> {
    let chunk = [format!("{CHUNK:x}\r\n").as_bytes(), &[b'x'; CHUNK], b"\r\n"].concat();
    let mut buffer = Vec::new();
    loop {
        let end = loop {
            match buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                Some(at) => break at + 4,
                None => read_more(&mut stream, &mut buffer)?,
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.split("content-length:").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.map_or(Some(0), |text| text.trim().parse().ok())?;
        while buffer.len() < end + length {
            read_more(&mut stream, &mut buffer)?;
        }
        buffer.drain(..end + length);
        let closes = head.contains("connection: close");
        let connection = if closes { "Connection: close\r\n" } else { "" };
        let apart = head.starts_with("get /toy/apart");
        let _ = stream.set_nodelay(!apart);
        if apart {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{connection}\r\n");
            stream.write_all(head.as_bytes()).ok()?;
            stream.write_all(b"ok\n").ok()?;
        } else if head.starts_with("post") {
            let answer = format!("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n{connection}\r\nok\n");
            stream.write_all(answer.as_bytes()).ok()?;
        } else {
            let head = format!("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n{connection}\r\n");
            stream.write_all(head.as_bytes()).ok()?;
            for _ in 0..CHUNKS {
                stream.write_all(&chunk).ok()?;
            }
            stream.write_all(b"0\r\n\r\n").ok()?;
        }
        if closes {
            return None;
        }
    }
}

fn read_more(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<()> {
    let before = buffer.len();
    buffer.resize(before + 16 * 1024, 0);
    let n = stream.read(&mut buffer[before..]).ok().filter(|&n| n > 0)?;
    buffer.truncate(before + n);
    Some(())
}
