//! What is asked of the servers.

/// What the clients do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clients {
    /// GET after GET on kept connections.
    Get,
    /// POST of 16 KB after POST on kept connections.
    Post,
    /// Each GET on a connection of its own.
    Close,
    /// As `Get`, while so many others keep their connections and ask nothing.
    Beside(usize),
}

/// One load.
#[derive(Debug)]
pub struct Scenario {
    /// Its name on the command line.
    pub id: &'static str,
    /// Its name for readers.
    pub title: &'static str,
    /// What is asked for; `backends.rs` has it.
    pub path: &'static str,
    /// Length of the body that comes back.
    pub length: usize,
    /// Connections that are busy at once.
    pub connections: usize,
    /// What they do.
    pub clients: Clients,
    /// They come over TLS.
    pub tls: bool,
}

/// Three bytes.
const SMALL: (&str, usize) = ("/3", 3);
const KB: (&str, usize) = ("/1k", 1024);
const KB_100: (&str, usize) = ("/100k", 100 * 1024);
const MB_10: (&str, usize) = ("/10m", 10 * 1024 * 1024);
/// In 16 chunks, each in a write of its own.
const STREAM: (&str, usize) = ("/toy/stream", 64 * 1024);
/// The head in one write and the body in another, which waits until the first is acknowledged: the
/// server does not set `TCP_NODELAY`.
const APART: (&str, usize) = ("/toy/apart", 3);
/// The answer to what was posted.
const POSTED: (&str, usize) = ("/toy/post", 3);

/// All of them, in the order of the report.
pub const SCENARIOS: &[Scenario] = &[
    get("3b-1", "3 bytes, 1 connection", SMALL, 1),
    get("3b-32", "3 bytes, 32 connections", SMALL, 32),
    get("3b-256", "3 bytes, 256 connections", SMALL, 256),
    get("3b-4096", "3 bytes, 4,096 connections", SMALL, 4096),
    get("1k-32", "1 KB, 32 connections", KB, 32),
    get("1k-256", "1 KB, 256 connections", KB, 256),
    get("100k-1", "100 KB, 1 connection", KB_100, 1),
    get("100k-32", "100 KB, 32 connections", KB_100, 32),
    get("100k-256", "100 KB, 256 connections", KB_100, 256),
    get("10m-1", "10 MB, 1 connection", MB_10, 1),
    get("10m-32", "10 MB, 32 connections", MB_10, 32),
    get("chunked-1", "64 KB in 16 chunks, 1 connection", STREAM, 1),
    get("chunked-32", "64 KB in 16 chunks, 32 connections", STREAM, 32),
    get("apart-32", "A head, then 3 bytes, no TCP_NODELAY, 32 connections", APART, 32),
    asks("post-32", "POST of 16 KB, 32 connections", POSTED, 32, Clients::Post),
    asks("close-32", "3 bytes, a new connection each, 32 at once", SMALL, 32, Clients::Close),
    over_tls("tls-3b-32", "3 bytes over TLS, 32 connections", SMALL, 32),
    over_tls("tls-100k-32", "100 KB over TLS, 32 connections", KB_100, 32),
    asks("idle-64", "3 bytes, 64 connections beside 10,000 idle ones", SMALL, 64, Clients::Beside(10_000)),
];

/// What is asked of one worker and of two; no scenario of its own.
pub const WORKERS: Scenario = get("workers", "two workers", SMALL, 64);

const fn get(
    id: &'static str,
    title: &'static str,
    body: (&'static str, usize),
    connections: usize,
) -> Scenario {
    asks(id, title, body, connections, Clients::Get)
}

const fn over_tls(
    id: &'static str,
    title: &'static str,
    body: (&'static str, usize),
    connections: usize,
) -> Scenario {
    Scenario { tls: true, ..get(id, title, body, connections) }
}

const fn asks(
    id: &'static str,
    title: &'static str,
    (path, length): (&'static str, usize),
    connections: usize,
    clients: Clients,
) -> Scenario {
    Scenario { id, title, path, length, connections, clients, tls: false }
}
