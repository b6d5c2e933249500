//! WebSockets through the proxy, with a library of others at both ends: the handshake comes
//! through, and from then on every byte of both directions.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use support::{Conf, Host, Kind, Steady, assert_bytes, eventually, for_each_host, pattern};
use tungstenite::protocol::CloseFrame;
use tungstenite::protocol::frame::Frame;
use tungstenite::protocol::frame::coding::{CloseCode, Data, OpCode};
use tungstenite::{Error, Message, WebSocket};

/// Whatever takes longer than that is stuck.
const DEADLINE: Duration = Duration::from_secs(10);

/// Messages of one long conversation.
const MANY: usize = 1000;

fn host(kind: Kind, server: &Server) -> Host {
    Host::start(kind, Conf::new().route_to("^/ws", &server.addr.to_string()))
}

/// Client and server below are right by themselves.
#[test]
fn without_a_proxy_all_of_this_holds() {
    let server = Server::start();
    converse(server.addr, MANY, 1);
    is_closed_by_the_server(server.addr);
    thread::scope(|scope| {
        (0..20).for_each(|client| drop(scope.spawn(move || converse(server.addr, 50, client))));
    });
    server.expect_closes(22);
    a_leave_is_seen(server.addr, &server);
}

#[test]
fn a_thousand_messages_arrive_both_ways() {
    for_each_host(|kind| {
        let server = Server::start();
        let host = host(kind, &server);
        converse(host.addr(), MANY, 1);
        server.expect_closes(1);
    });
}

#[test]
fn twenty_clients_talk_beside_each_other() {
    for_each_host(|kind| {
        let server = Server::start();
        let host = host(kind, &server);
        let addr = host.addr();
        thread::scope(|scope| {
            (0..20).for_each(|client| drop(scope.spawn(move || converse(addr, 50, client))));
        });
        server.expect_closes(20);
    });
}

#[test]
fn the_server_may_close_as_well() {
    for_each_host(|kind| {
        let server = Server::start();
        let host = host(kind, &server);
        (0..3).for_each(|_| is_closed_by_the_server(host.addr()));
        server.expect_closes(3);
    });
}

#[test]
fn a_client_that_leaves_is_missed() {
    for_each_host(|kind| {
        let server = Server::start();
        let host = host(kind, &server);
        (0..3).for_each(|_| a_leave_is_seen(host.addr(), &server));
    });
}

// --- The client ------------------------------------------------------------------------

type Socket = WebSocket<Steady>;

fn connect(to: SocketAddr) -> Socket {
    let stream = TcpStream::connect_timeout(&to, DEADLINE).unwrap();
    prepare(&stream);
    match tungstenite::client(format!("ws://{to}/ws/echo?x=%20y"), Steady(stream)) {
        Ok((socket, response)) => {
            assert_eq!(response.status(), 101);
            assert_eq!(response.headers().get("x-path").unwrap(), "/ws/echo?x=%20y");
            socket
        }
        Err(error) => panic!("no handshake: {error}"),
    }
}

fn prepare(stream: &TcpStream) {
    stream.set_nodelay(true).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.set_write_timeout(Some(DEADLINE)).unwrap();
}

/// Sends `count` messages of all kinds and sizes and expects each of them back, then closes.
fn converse(to: SocketAddr, count: usize, seed: usize) {
    let mut socket = connect(to);
    let mut sent = 0;
    while sent < count {
        // Several are on their way at once, but no more than the sockets hold.
        let mut batch: Vec<Message> = Vec::new();
        while sent < count && batch.len() < 8 && batch.iter().map(Message::len).sum::<usize>() < 40_000 {
            batch.push(message(sent + seed));
            sent += 1;
        }
        for (index, message) in batch.iter().enumerate() {
            if (sent + index).is_multiple_of(3) {
                send_in_fragments(&mut socket, message);
            } else {
                socket.send(message.clone()).unwrap();
            }
        }
        for message in &batch {
            let echo = next(&mut socket);
            assert_eq!((echo.is_text(), echo.is_binary()), (message.is_text(), message.is_binary()));
            assert_bytes(&echo.into_data(), &message.clone().into_data());
        }
        let payload = pattern(sent % 126);
        socket.send(Message::Ping(payload.clone().into())).unwrap();
        assert_eq!(next(&mut socket), Message::Pong(payload.into()));
    }
    // And a word of the server that nobody answers.
    socket.send(Message::text("push")).unwrap();
    for length in PUSHED {
        assert_bytes(&next(&mut socket).into_data(), &pattern(length));
    }
    let frame = CloseFrame { code: CloseCode::Normal, reason: "that was all".into() };
    socket.close(Some(frame.clone())).unwrap();
    assert_eq!(next(&mut socket), Message::Close(Some(frame)));
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
}

/// The next message that is no ping; those are answered meanwhile.
fn next(socket: &mut Socket) -> Message {
    loop {
        match socket.read().unwrap() {
            Message::Ping(_) => {}
            message => return message,
        }
    }
}

/// Message `number` of a conversation.
fn message(number: usize) -> Message {
    const EDGES: [usize; 10] = [0, 1, 125, 126, 127, 16_384, 65_535, 65_536, 70 << 10, 4096];
    let length = match number % 20 {
        0 => EDGES[number / 20 % EDGES.len()],
        n => n * n * 7,
    };
    if number.is_multiple_of(2) {
        let letters = pattern(length).into_iter().map(|b| char::from(b'a' + b % 26));
        Message::text(letters.collect::<String>())
    } else {
        Message::binary(pattern(length))
    }
}

/// In three frames, with a ping between them.
fn send_in_fragments(socket: &mut Socket, message: &Message) {
    let kind = if message.is_text() { Data::Text } else { Data::Binary };
    let data = message.clone().into_data();
    let (first, second) = (data.len() / 3, data.len() / 2);
    let frames = [
        (data.slice(..first), kind, false),
        (data.slice(first..second), Data::Continue, false),
        (data.slice(second..), Data::Continue, true),
    ];
    for (data, kind, last) in frames {
        socket.send(Message::Frame(Frame::message(data, OpCode::Data(kind), last))).unwrap();
    }
}

fn is_closed_by_the_server(to: SocketAddr) {
    let mut socket = connect(to);
    socket.send(Message::text("close")).unwrap();
    match next(&mut socket) {
        Message::Close(Some(frame)) => assert_eq!(frame.code, CloseCode::Away),
        other => panic!("{other:?}"),
    }
    assert!(matches!(socket.read(), Err(Error::ConnectionClosed)));
}

fn a_leave_is_seen(to: SocketAddr, server: &Server) {
    let before = server.left.load(SeqCst);
    let mut socket = connect(to);
    socket.send(Message::text("here")).unwrap();
    assert_eq!(next(&mut socket), Message::text("here"));
    drop(socket);
    eventually(DEADLINE, "the server sees the leave", || server.left.load(SeqCst) > before);
}

// --- The server ------------------------------------------------------------------------

/// A server that gives every message back; it ends, and complains, when dropped.
struct Server {
    addr: SocketAddr,
    /// Connections that ended with both close frames.
    closed: Arc<AtomicUsize>,
    /// Connections that ended without.
    left: Arc<AtomicUsize>,
    complaints: Arc<Mutex<Vec<String>>>,
    stopping: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let addr = listener.local_addr().unwrap();
        let mut server = Server {
            addr,
            closed: Arc::default(),
            left: Arc::default(),
            complaints: Arc::default(),
            stopping: Arc::default(),
            thread: None,
        };
        let (closed, left) = (Arc::clone(&server.closed), Arc::clone(&server.left));
        let (complaints, stopping) = (Arc::clone(&server.complaints), Arc::clone(&server.stopping));
        server.thread = Some(thread::spawn(move || {
            for stream in listener.incoming() {
                if stopping.load(SeqCst) {
                    return;
                }
                let (closed, left) = (Arc::clone(&closed), Arc::clone(&left));
                let complaints = Arc::clone(&complaints);
                thread::spawn(move || match serve(stream.unwrap()) {
                    Ok(()) => drop(closed.fetch_add(1, SeqCst)),
                    Err(Error::Protocol(_) | Error::Io(_)) => drop(left.fetch_add(1, SeqCst)),
                    Err(other) => complaints.lock().unwrap().push(other.to_string()),
                });
            }
        }));
        server
    }

    /// Waits for that many proper ends, and that there were no others.
    #[track_caller]
    fn expect_closes(&self, count: usize) {
        eventually(DEADLINE, "all are closed", || self.closed.load(SeqCst) >= count);
        assert_eq!((self.closed.load(SeqCst), self.left.load(SeqCst)), (count, 0));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stopping.store(true, SeqCst);
        drop(TcpStream::connect(self.addr));
        let _ = self.thread.take().map(JoinHandle::join);
        if !thread::panicking() {
            assert!(self.complaints.lock().unwrap().is_empty(), "{:?}", self.complaints);
        }
    }
}

/// Sizes of what the server sends when asked to push.
const PUSHED: [usize; 6] = [1, 20_000, 0, 70 << 10, 500, 126];

#[allow(clippy::result_large_err, reason = "the library's own types")]
fn serve(stream: TcpStream) -> Result<(), Error> {
    use tungstenite::handshake::server::{ErrorResponse, Request, Response};
    prepare(&stream);
    let check = |request: &Request, mut response: Response| -> Result<Response, ErrorResponse> {
        let path = request.uri().to_string().parse().unwrap();
        response.headers_mut().insert("x-path", path);
        Ok(response)
    };
    let mut socket = tungstenite::accept_hdr(Steady(stream), check).map_err(|error| match error {
        tungstenite::HandshakeError::Failure(error) => error,
        tungstenite::HandshakeError::Interrupted(_) => Error::AlreadyClosed,
    })?;
    for number in 0.. {
        let message = match socket.read() {
            Ok(message) => message,
            Err(Error::ConnectionClosed) => return Ok(()),
            Err(error) => return Err(error),
        };
        if number % 10 == 0 && (message.is_text() || message.is_binary()) {
            socket.send(Message::Ping(pattern(5).into()))?;
        }
        match message {
            Message::Text(text) if text == "push" => {
                PUSHED.iter().try_for_each(|&length| socket.send(Message::binary(pattern(length))))?;
            }
            Message::Text(text) if text == "close" => {
                socket.close(Some(CloseFrame { code: CloseCode::Away, reason: "asked to".into() }))?;
            }
            message if message.is_binary() && message.len() > 10_000 => {
                send_in_fragments(&mut socket, &message);
            }
            message if message.is_binary() || message.is_text() => socket.send(message)?,
            _ => {}
        }
    }
    Ok(())
}
