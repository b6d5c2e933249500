//! What the HTTP work of one exchange costs: a head in, a head out, a body followed to its end.
//! `cargo bench --bench heads`
//!
//! What must hold: a path is matched against a thousand patterns in much less than a thousand
//! times the time of one. All patterns are one automaton; what still grows with their number is
//! the set of those that match, one byte for each.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use monkey_proxy_reverse::http::Version;
use monkey_proxy_reverse::http::body::{BodyDecoder, BodyLength, Style};
use monkey_proxy_reverse::http::forward::{self, Answering, Forwarding, Framing, RequestEnd};
use monkey_proxy_reverse::http::router::Router;
use monkey_proxy_reverse::http::rules::Rules;
use monkey_proxy_reverse::http::{request, response};

const REQUEST: &[u8] = b"GET /shop/article.php?id=4711&lang=en HTTP/1.1\r\nHost: shop.example.com:8080\r\n\
    User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n\
    Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
    Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n\
    Cookie: session=0123456789abcdef0123456789abcdef; theme=dark\r\nReferer: http://shop.example.com/\r\n\r\n";

const RESPONSE: &[u8] = b"HTTP/1.1 200 OK\r\nServer: app/1.0\r\nDate: Mon, 23 Nov 2026 06:00:00 GMT\r\n\
    Content-Type: text/html; charset=utf-8\r\nContent-Length: 5120\r\nConnection: keep-alive\r\n\
    Cache-Control: no-cache\r\nSet-Cookie: session=0123456789abcdef; Path=/; HttpOnly\r\nVary: Accept-Encoding\r\n\r\n";

fn heads(c: &mut Criterion) {
    c.bench_function("request head: parse and rewrite", |b| {
        let mut out = Vec::with_capacity(1024);
        let rules = Rules { via: Some("monkey".into()), ..Rules::default() };
        b.iter(|| {
            out.clear();
            let mut room = request::storage();
            let request = request::parse(black_box(REQUEST), &mut room).expect("a good head");
            let says = Forwarding {
                client: "192.0.2.7",
                source: &[192, 0, 2, 7],
                secure: false,
                authority: "127.0.0.1:8081",
                rules: &rules,
                request_id: None,
            };
            let end = RequestEnd {
                framing: Framing::None,
                keep_alive: true,
                upgrade: None,
                takes_trailers: request.takes_trailers,
            };
            forward::request_head(&mut out, &request, &says);
            forward::request_end(&mut out, &end);
            out.len()
        });
    });
    c.bench_function("response head: parse", |b| {
        b.iter(|| {
            let mut room = response::storage();
            let parsed = response::parse(black_box(RESPONSE), &mut room, false);
            matches!(parsed, Ok(response::Parsed::Complete { .. }))
        });
    });
    c.bench_function("response head: parse and rewrite", |b| {
        let mut out = Vec::with_capacity(1024);
        b.iter(|| {
            out.clear();
            let mut room = response::storage();
            let parsed = response::parse(black_box(RESPONSE), &mut room, false).expect("a good head");
            if let response::Parsed::Complete { response, .. } = parsed {
                let says = Answering {
                    version: Version::Http11,
                    keep_alive: true,
                    date: "",
                    trailers: false,
                    own: forward::Own::default(),
                };
                forward::response_head(&mut out, &response, &says, None);
            }
            out.len()
        });
    });
}

fn bodies(c: &mut Criterion) {
    // One that few large chunks make, and one of many small ones: the scan of sizes shows.
    for (name, size) in [("4 KiB", 0x1000), ("64 bytes", 0x40)] {
        let chunk = [format!("{size:x}\r\n").as_bytes(), &vec![b'x'; size], b"\r\n"].concat();
        let mut body = chunk.repeat(16 * 1024 / size);
        body.extend_from_slice(b"0\r\n\r\n");
        scans(c, name, &body);
    }
}

fn scans(c: &mut Criterion, chunks: &str, body: &[u8]) {
    let mut group = c.benchmark_group(format!("16 KiB in chunks of {chunks}"));
    group.throughput(Throughput::Bytes(body.len() as u64));
    for (name, style) in [("passed through", Style::Plain), ("unwrapped", Style::Unwrapped)] {
        group.bench_function(name, |b| {
            let mut buffer = body.to_vec();
            b.iter(|| {
                buffer.copy_from_slice(body);
                let mut decoder = BodyDecoder::new(BodyLength::Chunked, style.clone());
                decoder.relay(black_box(&mut buffer)).map(|r| r.keep)
            });
        });
    }
    group.finish();
}

fn routes(c: &mut Criterion) {
    for routes in [1, 100, 1000] {
        let patterns: Vec<String> = (0..routes).map(|i| format!("^/app{i}/.*\\.(php|html)$")).collect();
        let router =
            Router::new(patterns.iter().enumerate().map(|(i, p)| (p.as_str(), i))).expect("good patterns");
        let mut scratch = router.scratch();
        let path = format!("/app{}/shop/article.php", routes - 1);
        c.bench_function(&format!("the last of {routes} patterns"), |b| {
            b.iter(|| router.find(black_box(path.as_bytes()), &mut scratch));
        });
        c.bench_function(&format!("none of {routes} patterns"), |b| {
            b.iter(|| router.find(black_box(b"/static/css/style.css"), &mut scratch));
        });
    }
}

criterion_group!(benches, heads, bodies, routes);
criterion_main!(benches);
