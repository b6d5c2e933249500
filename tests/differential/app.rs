//! An application behind a real server (hyper), with one route for each kind of answer.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};
use hyper::header::{HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::response::Builder;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;

use crate::support::pattern;

/// The running application; it ends when dropped.
pub struct App {
    runtime: Option<Runtime>,
    addr: SocketAddr,
}

impl App {
    /// Starts it on a free port.
    pub fn start() -> App {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_io().build().unwrap();
        let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).unwrap();
        let addr = listener.local_addr().unwrap();
        runtime.spawn(serve(listener));
        App { runtime: Some(runtime), addr }
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for App {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let _ = stream.set_nodelay(true);
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(answer(request).await) });
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Response<Pieces> {
    let (head, body) = request.into_parts();
    let Ok(body) = body.collect().await else { return plain(400, "the body broke off") };
    let body = body.to_bytes();
    let query = head.uri.query().unwrap_or_default();
    let route = head.uri.path().split('/').nth(1).unwrap_or_default();
    let size = number(query, "size").unwrap_or(1000);
    let build = |status: u16| Response::builder().status(status).header("x-route", route);
    let done = |builder: Builder, body: Pieces| builder.body(body).unwrap();
    match route {
        "echo" => {
            done(build(200).header("content-type", "application/json"), Pieces::whole(echo(&head, &body)))
        }
        "fixed" => {
            done(build(200).header("content-type", "application/octet-stream"), Pieces::whole(pattern(size)))
        }
        "stream" => {
            let step = number(query, "step").unwrap_or(100).max(1);
            let pieces = pattern(size).chunks(step).map(<[u8]>::to_vec).collect();
            done(build(200).header("content-type", "text/x-pattern"), Pieces::several(pieces))
        }
        "status" => {
            let status = number(query, "is").and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
            done(
                build(status).header("cache-control", "no-store"),
                Pieces::whole(format!("This is {status}.\n")),
            )
        }
        "none" => done(build(204).header("x-done", "yes"), Pieces::whole("")),
        "moved" => {
            let status = if query.contains("for-good") { 308 } else { 302 };
            let to = "https://other.example/a%20b?c=d&e=%C3%A4#part";
            done(build(status).header("location", to), Pieces::whole(""))
        }
        "cookies" => {
            let response = build(200)
                .header("set-cookie", "a=1; Path=/; HttpOnly")
                .header("x-between", "1")
                .header("set-cookie", "b=\"2, 3\"; Expires=Sun, 06 Nov 1994 08:49:37 GMT")
                .header("set-cookie", "c=");
            done(response, Pieces::whole("three"))
        }
        "etag" => {
            let known = head.headers.get("if-none-match").is_some_and(|tag| tag == ETAG);
            let response = build(if known { 304 } else { 200 }).header("etag", ETAG).header("vary", "accept");
            done(response, Pieces::whole(if known { "" } else { "tagged" }))
        }
        "range" => range(build, &head.headers, &pattern(size)),
        "gzip" => {
            let response = build(200).header("content-encoding", "gzip").header("vary", "Accept-Encoding");
            done(response, Pieces::whole(GZIP))
        }
        "events" => {
            let events = (0..number(query, "count").unwrap_or(5)).map(|i| format!("id: {i}\ndata: {i}\n\n"));
            let mut body = Pieces::several(events.map(String::into_bytes).collect());
            let trailers = HeaderMap::from_iter([(SUM, HeaderValue::from_static("42"))]);
            body.frames.push_back(Frame::trailers(trailers));
            let response = build(200).header("content-type", "text/event-stream").header("trailer", SUM);
            done(response, body)
        }
        "fields" => {
            let response = build(200)
                .header("x-empty", "")
                .header("x-text", HeaderValue::from_bytes(b"Gr\xfc\xdfe \t \xc3\xa4").unwrap())
                .header("x-long", "l".repeat(size.min(8000)))
                .header("x-quoted", "\"a, \\\"b\"")
                .header("www-authenticate", "Basic realm=\"a, b\"")
                .header("www-authenticate", "Bearer")
                .header("link", "</a>; rel=next")
                .header("server", "app/1")
                .header("date", "Sun, 06 Nov 1994 08:49:37 GMT");
            done(response, Pieces::whole("fields"))
        }
        "close" => done(build(200).header("connection", "close"), Pieces::whole(pattern(size))),
        _ => plain(404, "no such route"),
    }
}

/// What of the request got here, as JSON.
fn echo(head: &Parts, body: &Bytes) -> Vec<u8> {
    let text = |bytes: &[u8]| bytes.iter().map(|&b| char::from(b)).collect::<String>();
    let headers: Vec<_> =
        head.headers.iter().map(|(name, value)| (name.as_str(), text(value.as_bytes()))).collect();
    let sum = body.iter().fold(7u64, |sum, &b| sum.wrapping_mul(31).wrapping_add(b.into()));
    let echo = serde_json::json!({
        "method": head.method.as_str(),
        "target": head.uri.to_string(),
        "version": format!("{:?}", head.version),
        "headers": headers,
        "length": body.len(),
        "sum": sum,
        "begin": text(&body[..body.len().min(40)]),
    });
    serde_json::to_vec(&echo).unwrap()
}

/// One range of bytes, as RFC 9110 14 has it.
fn range(build: impl Fn(u16) -> Builder, fields: &HeaderMap, content: &[u8]) -> Response<Pieces> {
    let all = content.len();
    let asked =
        fields.get("range").and_then(|range| range.to_str().ok()).and_then(|r| r.strip_prefix("bytes="));
    let range = asked.and_then(|asked| asked.split_once('-')).map(|(first, last)| {
        match (first.parse(), last.parse()) {
            (Ok(first), Ok(last)) => first..all.min(last + 1),
            (Ok(first), Err(_)) => first..all,
            (Err(_), Ok(count)) => all.saturating_sub(count)..all,
            (Err(_), Err(_)) => all..all,
        }
    });
    match range {
        None => build(200).header("accept-ranges", "bytes").body(Pieces::whole(content.to_vec())).unwrap(),
        Some(range) if range.is_empty() => {
            build(416).header("content-range", format!("bytes */{all}")).body(Pieces::whole("")).unwrap()
        }
        Some(range) => {
            let told = format!("bytes {}-{}/{all}", range.start, range.end - 1);
            build(206).header("content-range", told).body(Pieces::whole(content[range].to_vec())).unwrap()
        }
    }
}

fn plain(status: u16, text: &'static str) -> Response<Pieces> {
    Response::builder().status(status).header("content-type", "text/plain").body(Pieces::whole(text)).unwrap()
}

/// The number that a query gives to `name`.
fn number(query: &str, name: &str) -> Option<usize> {
    let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(key, _)| *key == name)?.1.parse().ok()
}

/// A body of known length in one piece, or of unknown length in several that are sent apart.
pub struct Pieces {
    frames: VecDeque<Frame<Bytes>>,
    length: Option<u64>,
    paused: bool,
}

impl Pieces {
    fn whole(content: impl Into<Bytes>) -> Pieces {
        let content = content.into();
        let length = Some(content.len() as u64);
        let frames = if content.is_empty() { VecDeque::new() } else { [Frame::data(content)].into() };
        Pieces { frames, length, paused: false }
    }

    fn several(pieces: Vec<Vec<u8>>) -> Pieces {
        let frames = pieces.into_iter().map(|piece| Frame::data(piece.into())).collect();
        Pieces { frames, length: None, paused: false }
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = self.get_mut();
        this.paused = !this.paused;
        if this.paused {
            // What is there is sent meanwhile.
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(this.frames.pop_front().map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.frames.is_empty() && self.length.is_some()
    }

    fn size_hint(&self) -> SizeHint {
        self.length.map(SizeHint::with_exact).unwrap_or_default()
    }
}

const ETAG: &str = "\"v1\"";

const SUM: hyper::header::HeaderName = hyper::header::HeaderName::from_static("x-sum");

/// "hello gzip " forty times.
const GZIP: &[u8] = b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x02\x03\xcb\x48\xcd\xc9\xc9\x57\x48\xaf\xca\x2c\x50\xc8\x18\x65\x0e\x1d\x26\x00\xf1\xfc\x3d\xeb\xb8\x01\x00\x00";
