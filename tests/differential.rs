//! The same requests to a real server (hyper) directly and through the proxy: apart from what a
//! gateway owns, clients and the server must not be able to tell the difference.
//!
//! The requests are those of `fixed` and some hundred that are made of a seed. Another seed or
//! number is taken from the variables `DIFFERENTIAL_SEED` and `DIFFERENTIAL_COUNT`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

#[path = "differential/app.rs"]
mod app;
mod support;

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::{env, thread};

use app::App;
use serde_json::Value;
use support::{Client, Conf, End, Framing, Host, Response, for_each_host, pattern};

#[test]
fn the_fixed_requests_are_answered_alike() {
    let app = App::start();
    for_each_host(|kind| {
        let host = Host::start(kind, conf(&app));
        let mut both = Both::new(app.addr(), host.addr());
        fixed().iter().for_each(|ask| both.compare(ask));
        assert_eq!(both.compared, fixed().len());
    });
}

#[test]
fn requests_made_of_a_seed_are_answered_alike() {
    let app = App::start();
    for_each_host(|kind| {
        let host = Host::start(kind, conf(&app));
        let mut both = Both::new(app.addr(), host.addr());
        let mut dice = Dice::new(setting("DIFFERENTIAL_SEED", 2013));
        let count = setting("DIFFERENTIAL_COUNT", 400);
        (0..count).for_each(|_| both.compare(&random(&mut dice)));
        assert_eq!(both.compared as u64, count);
    });
}

#[test]
fn clients_beside_each_other_are_answered_alike() {
    let app = App::start();
    for_each_host(|kind| {
        let host = Host::start(kind, conf(&app));
        let compared = AtomicUsize::new(0);
        let seed = setting("DIFFERENTIAL_SEED", 2013);
        thread::scope(|scope| {
            for client in 1..=8 {
                let (compared, app, host) = (&compared, app.addr(), host.addr());
                scope.spawn(move || {
                    let mut both = Both::new(app, host);
                    let mut dice = Dice::new(seed.wrapping_add(client));
                    (0..50).for_each(|_| both.compare(&random(&mut dice)));
                    compared.fetch_add(both.compared, Relaxed);
                });
            }
        });
        assert_eq!(compared.into_inner(), 8 * 50);
    });
}

fn conf(app: &App) -> Conf {
    Conf::new().default_key("Via monkey").route_to("^/", &app.addr().to_string())
}

fn setting(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|value| value.parse().ok()).unwrap_or(default)
}

// --- Asking and comparing --------------------------------------------------------------

/// One request.
#[derive(Clone, Debug)]
struct Ask {
    method: &'static str,
    target: String,
    version: &'static str,
    /// Whole lines, without those on the body.
    fields: String,
    body: Sent,
}

#[derive(Clone, Debug, PartialEq)]
enum Sent {
    None,
    /// With `Content-Length`, 0 too.
    Length(usize),
    /// In chunks of that many bytes.
    Chunks(usize, usize),
}

fn get(target: &str) -> Ask {
    ask("GET", target)
}

fn ask(method: &'static str, target: &str) -> Ask {
    let target = target.to_owned();
    Ask { method, target, version: "HTTP/1.1", fields: String::new(), body: Sent::None }
}

impl Ask {
    fn with(mut self, fields: &str) -> Ask {
        self.fields.push_str(fields);
        self
    }

    fn sending(mut self, body: Sent) -> Ask {
        self.body = body;
        self
    }

    fn bytes(&self) -> Vec<u8> {
        let Ask { method, target, version, fields, body } = self;
        let mut bytes = format!("{method} {target} {version}\r\nHost: app.example\r\n{fields}").into_bytes();
        match *body {
            Sent::None => bytes.extend_from_slice(b"\r\n"),
            Sent::Length(length) => {
                bytes.extend_from_slice(format!("Content-Length: {length}\r\n\r\n").as_bytes());
                bytes.extend_from_slice(&pattern(length));
            }
            Sent::Chunks(length, step) => {
                bytes.extend_from_slice(b"Transfer-Encoding: chunked\r\n\r\n");
                for chunk in pattern(length).chunks(step) {
                    bytes.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                    bytes.extend_from_slice(chunk);
                    bytes.extend_from_slice(b"\r\n");
                }
                bytes.extend_from_slice(b"0\r\n\r\n");
            }
        }
        bytes
    }
}

/// The server itself, and the way through the proxy.
struct Both {
    direct: Way,
    proxied: Way,
    compared: usize,
}

/// Kept-alive connections to one address, one after the other.
struct Way {
    addr: SocketAddr,
    client: Option<Client>,
    asked: usize,
}

impl Way {
    fn ask(&mut self, ask: &Ask) -> Response {
        let mut client = self.client.take().unwrap_or_else(|| {
            self.asked = 0;
            Client::connect(self.addr)
        });
        client.send(ask.bytes());
        let response = client.read(ask.method);
        assert_eq!(response.end, End::Complete, "{response:?}");
        self.asked += 1;
        let said = response.all("Connection").join(",").to_ascii_lowercase();
        let keeps =
            if ask.version == "HTTP/1.0" { said.contains("keep-alive") } else { !said.contains("close") };
        // Not for ever: real servers close what is old.
        if keeps && response.framing != Framing::UntilClose && self.asked < 25 {
            self.client = Some(client);
        }
        response
    }
}

impl Both {
    fn new(direct: SocketAddr, proxied: SocketAddr) -> Both {
        let way = |addr| Way { addr, client: None, asked: 0 };
        Both { direct: way(direct), proxied: way(proxied), compared: 0 }
    }

    /// Asks both, and panics with the request when they differ.
    fn compare(&mut self, ask: &Ask) {
        let _shown = OnFailure(ask);
        let direct = self.direct.ask(ask);
        let proxied = self.proxied.ask(ask);
        self.compared += 1;
        let told = |what: &str| format!("{what} differs;\ndirect: {direct:?}\nproxied: {proxied:?}");
        assert_eq!(direct.status, proxied.status, "{}", told("the status"));
        assert_eq!(direct.reason, proxied.reason, "{}", told("the reason"));
        assert_eq!(of_the_server(&direct), of_the_server(&proxied), "{}", told("a field"));
        is_framed_alike(ask, &direct, &proxied);
        assert_eq!(direct.trailers, proxied.trailers, "{}", told("a trailer"));
        if !direct.trailers.is_empty() {
            assert_eq!(direct.all("Trailer"), proxied.all("Trailer"), "{}", told("their announcement"));
        }
        if ask.target.starts_with("/echo") && direct.status == 200 && ask.method != "HEAD" {
            assert_eq!(seen(&direct, None), seen(&proxied, Some(ask)), "{}", told("what the server saw"));
        } else {
            assert!(direct.body == proxied.body, "{}", told("the body"));
        }
    }
}

/// Prints the request when a comparison fails.
struct OnFailure<'a>(&'a Ask);

impl Drop for OnFailure<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            let bytes = self.0.bytes();
            let head = bytes.windows(4).position(|w| w == b"\r\n\r\n").map_or(bytes.len(), |at| at + 4);
            eprintln!("the request was {:?}:\n{}", self.0.body, String::from_utf8_lossy(&bytes[..head]));
        }
    }
}

/// The fields that a gateway has to leave as they are, in their order.
fn of_the_server(response: &Response) -> Vec<(String, String)> {
    let mut fields = response.headers.clone();
    // `Trailer` is for those who asked for trailers.
    const OWNED: [&str; 6] =
        ["connection", "content-length", "date", "keep-alive", "trailer", "transfer-encoding"];
    fields.retain(|(name, _)| !OWNED.iter().any(|owned| name.eq_ignore_ascii_case(owned)));
    // A date of the application is its own.
    fields.extend(
        response.all("date").iter().filter(|d| d.contains("1994")).map(|d| ("date".into(), (*d).into())),
    );
    fields
}

/// The length that is told is the same; how the end of a body is told may differ in HTTP/1.0 and
/// where there is none.
fn is_framed_alike(ask: &Ask, direct: &Response, proxied: &Response) {
    let lengths = (direct.header("Content-Length"), proxied.header("Content-Length"));
    match (ask.target.starts_with("/echo"), direct.framing, proxied.framing) {
        (true, Framing::Length(_), Framing::Length(_)) => {} // it saw different fields
        (_, Framing::Bodiless, Framing::Bodiless) if ask.target.starts_with("/echo") => {}
        (_, Framing::UntilClose, Framing::Chunked | Framing::UntilClose) => {}
        (_, direct, proxied) => assert_eq!((direct, lengths.0), (proxied, lengths.1)),
    }
    assert_eq!(proxied.all("Date").len(), 1);
    assert!(proxied.all("Content-Length").len() + proxied.all("Transfer-Encoding").len() <= 1);
}

/// What the server saw, without what is the gateway's to say. `through` is the request when it
/// came through the proxy: then that has to be there.
fn seen(response: &Response, through: Option<&Ask>) -> Value {
    let mut seen: Value = serde_json::from_slice(&response.body).unwrap();
    let is_options = seen["method"] == "OPTIONS";
    let fields = seen["headers"].as_array_mut().unwrap();
    let text = |field: &Value, at: usize| field[at].as_str().unwrap_or_default().to_owned();
    if let Some(ask) = through {
        let all = |name: &str| {
            let values = fields.iter().filter(|field| text(field, 0) == name);
            values.map(|field| text(field, 1)).collect::<Vec<_>>()
        };
        let version = ask.version.trim_start_matches("HTTP/");
        let via = all("via");
        assert!(via.len() == 1 && via[0].starts_with(&format!("{version} monkey")), "{via:?}");
        assert_eq!(all("x-forwarded-for"), ["127.0.0.1"]);
        assert_eq!(all("x-forwarded-proto"), ["http"]);
        assert_eq!(all("x-forwarded-host"), ["app.example"]);
    }
    const OWNED: [&str; 12] = [
        "connection",
        "content-length",
        "expect",
        "keep-alive",
        "te",
        "transfer-encoding",
        "upgrade",
        "via",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-forwarded-proto",
        "x-hop",
    ];
    // Counted down on the way (RFC 9110 7.6.2).
    let counted = |name: &str| name == "max-forwards" && is_options;
    fields.retain(|field| !OWNED.contains(&text(field, 0).as_str()) && !counted(&text(field, 0)));
    seen["version"] = Value::Null;
    seen
}

// --- The requests ----------------------------------------------------------------------

fn fixed() -> Vec<Ask> {
    let mut asks = Vec::new();
    for route in ROUTES {
        asks.extend(["GET", "HEAD"].map(|method| ask(method, route)));
        asks.push(ask("GET", route).with("Accept-Encoding: gzip\r\nTE: trailers\r\nConnection: TE\r\n"));
    }
    for length in [0, 1, 2, 100, 1000, 4000, 4096, 5000, 16_384, 20_000, 65_536, 100_000, 200_000] {
        asks.extend(["POST", "PUT"].map(|method| ask(method, "/echo/body").sending(Sent::Length(length))));
        let others = ["DELETE", "PATCH", "OPTIONS", "GET"];
        asks.extend(others.map(|method| ask(method, "/echo/body").sending(Sent::Length(length))));
        asks.push(get(&format!("/fixed?size={length}")));
        asks.push(get(&format!("/stream?size={length}&step=1777")));
        asks.push(ask("HEAD", &format!("/fixed?size={length}")));
    }
    for (length, step) in [(0, 1), (1, 1), (100, 7), (2000, 1000), (20_000, 4096), (150_000, 9999)] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            asks.push(ask(method, "/echo/chunks").sending(Sent::Chunks(length, step)));
        }
    }
    for status in [200, 201, 202, 203, 205, 206, 226, 299, 300, 301, 303, 307, 308, 400, 401, 402, 403, 404]
        .into_iter()
        .chain([
            405, 406, 407, 409, 410, 412, 413, 418, 422, 426, 429, 451, 500, 501, 502, 503, 504, 511, 599,
        ])
    {
        asks.push(get(&format!("/status?is={status}")));
    }
    for target in TARGETS {
        asks.push(get(target));
    }
    for fields in FIELDS {
        asks.push(get("/echo/fields").with(fields));
        asks.push(ask("POST", "/echo/fields").with(fields).sending(Sent::Length(10)));
    }
    for range in ["0-0", "0-99", "100-", "-1", "-2000", "999-5000", "1000-", "5-2", "x"] {
        asks.push(get("/range?size=1000").with(&format!("Range: bytes={range}\r\n")));
    }
    asks.push(get("/etag").with("If-None-Match: \"v1\"\r\n"));
    asks.push(ask("HEAD", "/etag").with("If-None-Match: \"v1\"\r\n"));
    asks.push(get("/etag").with("If-None-Match: \"v2\"\r\n"));
    for (length, step) in [(10, 3), (50_000, 5000)] {
        let waiting = ask("PUT", "/echo/expect").with("Expect: 100-continue\r\n");
        asks.push(waiting.clone().sending(Sent::Length(length)));
        asks.push(waiting.sending(Sent::Chunks(length, step)));
    }
    asks.push(ask("OPTIONS", "/echo/options"));
    asks.push(ask("DELETE", "/echo/delete"));
    asks.push(ask("DELETE", "/none"));
    asks.push(ask("POST", "/none").sending(Sent::Length(5)));
    asks.push(get("/echo").with("Connection: close\r\n"));
    asks.push(get("/close?size=50000"));
    for route in ["/echo", "/fixed", "/stream", "/none", "/status?is=404"] {
        asks.push(Ask { version: "HTTP/1.0", ..get(route) });
        asks.push(Ask { version: "HTTP/1.0", ..get(route).with("Connection: keep-alive\r\n") });
    }
    asks
}

const ROUTES: &[&str] = &[
    "/echo",
    "/fixed?size=100",
    "/fixed?size=0",
    "/fixed?size=3000000",
    "/stream?size=1000&step=1",
    "/stream?size=0",
    "/stream?size=1000000&step=50000",
    "/status?is=404",
    "/status?is=500",
    "/none",
    "/moved",
    "/moved?for-good",
    "/cookies",
    "/etag",
    "/range?size=100",
    "/gzip",
    "/events",
    "/events?count=0",
    "/fields",
    "/fields?size=8000",
    "/nowhere",
    "/",
];

/// Without two dots in the path, which the hosts forbid (403), and an encoded NUL, which we refuse.
const TARGETS: &[&str] = &[
    "/echo/a%20b",
    "/echo/%2F%2f%5C",
    "/echo/%C3%A4%ff",
    "/echo/%41%7E~",
    "/echo//double///slash/",
    "/echo/./dot/%2e/dots./",
    "/echo/;v=1/a,b/c:d@e/!$&'()*+=",
    "/echo/.hidden/a.b/c.",
    "/echo?",
    "/echo??",
    "/echo?a=b&c=%26%3D&&=",
    "/echo?x=%zz&y=%",
    "/echo?q=a+b%2Bc/d?e",
    "/echo?[]=1&{}=2",
    "/echo?a|b^c`d",
    "/echo?\"<>\\",
    "/echo/{a}|b^c",
    "/echo/\u{e4}?\u{e4}",
    "/echo/%0d%0aX-Injected:%201",
    "/echo?../..=%01",
    "/ECHO",
    "/echo/page.html",
    "/echo/index.php?_=1",
];

const FIELDS: &[&str] = &[
    "Accept: text/html,*/*;q=0.8\r\nAccept-Language: de,en;q=0.5\r\nUser-Agent: Mozilla/5.0 (X11; Linux)\r\n",
    "Cookie: a=1; b=\"2\"\r\nCookie: c=3\r\n",
    "X-Same: one\r\nX-Other: 1\r\nx-same: two\r\nX-SAME: three\r\n",
    "X-Empty:\r\nX-Next: n\r\n",
    "X-Text: Gr\u{fc}\u{df}e \t \u{20ac}\r\n",
    "X-Quoted: \"a, \\\"b\\\"\"\r\n",
    "X-Spaced:   v  w \t\r\nX-Tight:v\r\n",
    "Authorization: Basic eA==\r\nReferer: http://app.example/a?b\r\nOrigin: null\r\n",
    "If-Modified-Since: Sun, 06 Nov 1994 08:49:37 GMT\r\nIf-None-Match: \"a\", W/\"b\", *\r\n",
    "Keep-Alive: timeout=5\r\nTE: trailers, deflate;q=0.5\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n",
    "Upgrade-Insecure-Requests: 1\r\nSec-Fetch-Mode: navigate\r\nDNT: 1\r\nPragma: no-cache\r\n",
    "Content-Type: multipart/form-data; boundary=--x\r\nContent-Language: de\r\nContent-MD5: eA==\r\n",
    "X-Colon: a:b::c\r\nX_Under: 1\r\n!#$%&'*+-.^_`|~09: token\r\n",
    "From: a@b.example\r\nPrefer: wait=10\r\nDate: Sun, 06 Nov 1994 08:49:37 GMT\r\n",
];

/// One request of a kind that an application gets.
fn random(dice: &mut Dice) -> Ask {
    let (method, target, body) = match dice.below(10) {
        0..=2 => {
            (dice.one(&["GET", "GET", "HEAD", "OPTIONS", "DELETE"]), dice.one(TARGETS).to_owned(), Sent::None)
        }
        3..=4 => {
            let length = dice.size(18);
            let body = if dice.below(4) == 0 {
                Sent::Chunks(length, 1 + dice.below(5000))
            } else {
                Sent::Length(length)
            };
            (
                dice.one(&["POST", "POST", "PUT", "PATCH", "DELETE"]),
                format!("/echo/{}", dice.below(100)),
                body,
            )
        }
        5 => ("GET", format!("/fixed?size={}", dice.size(19)), Sent::None),
        6 => {
            let size = dice.size(18);
            ("GET", format!("/stream?size={size}&step={}", 1 + size / (1 + dice.below(50))), Sent::None)
        }
        7 => ("GET", format!("/status?is={}", 200 + dice.below(400)), Sent::None),
        _ => (dice.one(&["GET", "GET", "GET", "HEAD"]), dice.one(ROUTES).to_owned(), Sent::None),
    };
    let mut ask = ask(method, &target).sending(body);
    for _ in 0..dice.below(4) {
        let fields = dice.one(FIELDS);
        // Neither two dates nor two lists of this hop in one request.
        if !ask.fields.contains(fields) {
            ask.fields.push_str(fields);
        }
    }
    match dice.below(20) {
        0 => ask.fields.push_str("Connection: close\r\n"),
        1 => ask.fields.push_str(&format!("X-Long: {}\r\n", "l".repeat(dice.below(3000)))),
        2 => (0..dice.below(30)).for_each(|i| ask.fields.push_str(&format!("X-Field-{i}: {i}\r\n"))),
        3 => ask.fields.push_str("If-None-Match: \"v1\"\r\n"),
        4 => ask.fields.push_str(&format!("Range: bytes={}-{}\r\n", dice.below(2000), dice.below(2000))),
        _ => {}
    }
    ask
}

/// Numbers that look random and follow from a seed.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    /// A number from 0 on, less than `end`.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 20) as usize % end.max(1)
    }

    /// A number of any magnitude below that many bits.
    fn size(&mut self, bits: usize) -> usize {
        let bits = self.below(bits);
        self.below(1 << bits)
    }

    fn one<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len())]
    }
}
