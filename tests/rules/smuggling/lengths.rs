//! Vectors whose framing is odd.

use super::vectors::{SMUGGLED, Vector, as_a_chunk, request, request_early};

const TE: &str = "Transfer-Encoding: chunked\r\n";

/// Behind a hidden request: nothing, or a byte, since Monkey 1.5 takes an empty line at the very end
/// of what it has received for the end of the head.
const TAILS: [&str; 2] = ["", "x"];

/// Length and chunks together: two orders, shapes, methods, versions and tails.
pub fn two_framings() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for method in ["POST", "GET", "PUT", "DELETE"] {
        for version in ["1.1", "1.0"] {
            for tail in TAILS {
                let all = SMUGGLED.len() + 5 + tail.len();
                let covering = format!("Content-Length: {all}\r\n");
                let short = "Content-Length: 4\r\n".to_owned();
                for (shape, length, body) in [
                    ("CL.TE", covering, format!("0\r\n\r\n{SMUGGLED}{tail}")),
                    ("TE.CL", short, as_a_chunk(tail)),
                ] {
                    for fields in [format!("{length}{TE}"), format!("{TE}{length}")] {
                        let name = format!("{shape} {method} {version} {fields:?} {tail:?}");
                        vectors.push(Vector::hidden(name, request(method, version, &fields, &body)));
                    }
                }
            }
        }
    }
    vectors
}

const VALUES: [&str; 32] = [
    "xchunked",
    "chunkedx",
    "\u{b}chunked",
    "\u{c}chunked",
    "\u{7}chunked",
    "\rchunked",
    "\u{a0}chunked",
    "\u{85}chunked",
    "\u{ff}chunked",
    "chunked\u{7f}",
    "chunked\0",
    "chunked\r",
    "\"chunked\"",
    "'chunked'",
    "\\chunked",
    ";chunked",
    ",chunked",
    "chunked,",
    "identity, chunked",
    "chunked, identity",
    "gzip, chunked",
    "chunked, gzip",
    "chunked, chunked",
    "chunked;q=1",
    "chu\0nked",
    "chun\u{e2}\u{84}\u{aa}ed",
    "identity",
    "",
    "chunked chunked",
    "chunked;",
    "x",
    "=chunked",
];

const LINES: [&str; 26] = [
    "Transfer-Encoding : chunked",
    "Transfer-Encoding\t: chunked",
    "Transfer-Encoding\0: chunked",
    "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    "Transfer-Encoding: x\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\nTransfer-Encoding: chunked",
    "Transfer-Encoding:\r\n chunked",
    "Transfer-Encoding: \r\n\tchunked",
    " Transfer-Encoding: chunked",
    "\tTransfer-Encoding: chunked",
    "X: y\rTransfer-Encoding: chunked",
    "X: y\nTransfer-Encoding: chunked",
    "Transfer-Encoding: chunked\nX: y",
    "X\r\nTransfer-Encoding: chunked",
    "Foo Bar\r\nTransfer-Encoding: chunked",
    "Transfer-\r\nEncoding: chunked",
    "Transfer Encoding: chunked",
    "X: x\r\n\nTransfer-Encoding: chunked",
    "Transfer-Encoding\r: chunked",
    "Transfer-Encoding\n: chunked",
    "\u{0}Transfer-Encoding: chunked",
    "Transfer-Encoding\u{a0}: chunked",
    "Transfer-Encoding:: chunked",
    "Transfer-Encoding; chunked",
];

/// These are chunked, and nothing else.
const CHUNKED: [&str; 5] = [
    "Transfer-Encoding: chunked \t",
    "Transfer-Encoding: cHuNkEd",
    "Transfer-Encoding:chunked",
    "TRANSFER-ENCODING: chunked ",
    "transfer-encoding:\t chunked",
];

/// This is a field like any other.
const UNRELATED: &str = "Transfer_Encoding: chunked";

/// Spellings of Transfer-Encoding: alone, with a length that covers everything, with one that covers
/// the first chunk line; on two methods and at two places of the head.
pub fn codings() -> Vec<Vector> {
    let values = VALUES.map(|value| format!("Transfer-Encoding: {value}"));
    let lines = LINES.into_iter().chain(CHUNKED).chain([UNRELATED]).map(str::to_owned);
    let mut vectors = Vec::new();
    for line in values.into_iter().chain(lines) {
        for method in ["POST", "GET"] {
            for early in [false, true] {
                vectors.extend(coding(&line, method, early));
            }
        }
    }
    vectors
}

fn coding(line: &str, method: &str, early: bool) -> [Vector; 3] {
    let make = if early { request_early } else { request };
    let (behind, inside) = (format!("0\r\n\r\n{SMUGGLED}x"), as_a_chunk("x"));
    let name = |how: &str| format!("{method} {line:?} {how}{}", if early { ", first" } else { "" });
    let alone = make(method, "1.1", &format!("{line}\r\n"), &behind);
    let covered = make(method, "1.1", &format!("Content-Length: {}\r\n{line}\r\n", behind.len()), &behind);
    let short = make(method, "1.1", &format!("{line}\r\nContent-Length: 4\r\n"), &inside);
    [
        Vector::either(CHUNKED.contains(&line), name("alone"), alone),
        Vector::hidden(name("covered"), covered),
        Vector::either(line == UNRELATED, name("short"), short),
    ]
}

/// Spellings of Content-Length in front of a body that is a request.
pub fn lengths() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for tail in TAILS {
        let body = format!("{SMUGGLED}{tail}");
        let length = body.len();
        for line in length_lines(length) {
            for method in ["POST", "GET"] {
                let name = format!("{method} {line:?} {tail:?}");
                let text = request(method, "1.1", &format!("{line}\r\n"), &body);
                let open = line.starts_with("Content_Length") || line.starts_with("X-Content-Length");
                let vector = Vector::either(open, name, text);
                vectors.push(if line.contains("4294967296") { vector.hungry() } else { vector });
            }
        }
        for line in [format!(" Content-Length: {length}"), format!("\tContent-Length: {length}")] {
            let text = request_early("POST", "1.1", &format!("{line}\r\n"), &body);
            vectors.push(Vector::hidden(format!("POST {line:?} first"), text));
        }
    }
    vectors
}

fn length_lines(length: usize) -> Vec<String> {
    let huge = 1u128 << 64;
    let values = [
        format!("0\r\nContent-Length: {length}"),
        format!("{length}\r\nContent-Length: 0"),
        format!("{length}\r\nContent-Length: {length}"),
        format!("{length}, {length}"),
        format!("0, {length}"),
        format!("{length},"),
        format!("+{length}"),
        format!("-{length}"),
        format!("0x{length:x}"),
        format!("0{length}"),
        format!("0_{length}"),
        format!("{length}x"),
        format!("{length} 0"),
        format!("{length}.0"),
        "1e2".into(),
        String::new(),
        format!("\r\nContent-Length: {length}"),
        format!("{length}\r\nContent-Length:"),
        format!("\r\n {length}"),
        format!("0\r\n {length}"),
        format!("\u{b}{length}"),
        format!("\u{a0}{length}"),
        format!("{length}\0"),
        format!("{}", huge + 1),
        format!("{}", huge + length as u128),
        format!("{}", 1u64 << 32),
        format!(",{length}"),
        format!("\"{length}\""),
        "\u{d9}\u{a1}\u{d9}\u{a0}".into(),
        format!("{length};a"),
        format!("\r{length}"),
        format!("{length}\r"),
        format!("{length}\u{c}"),
        format!("{length}\nX: y"),
    ];
    let lines = [
        format!("Content-Length : {length}"),
        format!("Content-Length\t: {length}"),
        format!("Content-Length\0: {length}"),
        format!("X: y\r\n Content-Length: {length}"),
        format!("X: y\rContent-Length: {length}"),
        format!("X: y\nContent-Length: {length}"),
        format!("nocolon\r\nContent-Length: {length}"),
        format!("Content_Length: {length}"),
        format!("Connection: Content-Length\r\nContent-Length: {length}"),
        format!("Content-\r\nLength: {length}"),
        format!("X-Content-Length: {length}"),
        format!("Content Length: {length}"),
        format!("Content-Length: 0\r\nContent-Length : {length}"),
        format!("Content-Length:: {length}"),
    ];
    values.map(|value| format!("Content-Length: {value}")).into_iter().chain(lines).collect()
}

/// Bodies on methods that rarely have one, with fields that ask for odd things.
pub fn bodies() -> Vec<Vector> {
    let methods = ["GET", "HEAD", "DELETE", "OPTIONS", "PATCH", "TRACE", "PURGE", "get", "PO", "H", "PUT"];
    let extras = [
        ("1.1", ""),
        ("1.1", "Expect: 100-continue\r\n"),
        ("1.1", "Expect: x 100-continue\r\n"),
        ("1.1", "Expect:\r\n 100-continue\r\n"),
        ("1.0", "Expect: 100-continue\r\n"),
        ("1.1", "Connection: Transfer-Encoding\r\n"),
        ("1.1", "Connection: close, Content-Length\r\n"),
        ("1.1", "Connection: Host\r\n"),
    ];
    let mut vectors = Vec::new();
    for method in methods {
        for (version, extra) in extras {
            for tail in TAILS {
                let name = |how: &str| format!("{method} {version} {extra:?} {how} {tail:?}");
                let body = format!("{SMUGGLED}{tail}");
                let fields = format!("{extra}Content-Length: {}\r\n", body.len());
                vectors.push(Vector::hidden(name("by length"), request(method, version, &fields, &body)));
                let fields = format!("{extra}{TE}");
                vectors.push(Vector::hidden(
                    name("as a chunk"),
                    request(method, version, &fields, &as_a_chunk(tail)),
                ));
            }
            let text = request(method, version, &format!("{extra}{TE}"), &format!("0\r\n\r\n{SMUGGLED}x"));
            let open = version == "1.1" && !extra.contains("Connection: Tr");
            vectors.push(Vector::either(open, format!("{method} {version} {extra:?} behind chunks"), text));
        }
    }
    vectors
}

/// Well-formed requests that a server may answer with an error of its own, or with a file, before it
/// has read the body: that is a request.
pub fn bodies_behind_errors() -> Vec<Vector> {
    let mut vectors = Vec::new();
    for (name, target, fields) in answered_early() {
        for method in ["POST", "PUT", "GET", "DELETE", "PATCH", "HEAD", "OPTIONS"] {
            for tail in TAILS {
                let body = format!("{SMUGGLED}{tail}");
                let length = format!("Content-Length: {}\r\n", body.len());
                let big = "Content-Length: 3000000\r\n".to_owned();
                for (what, framing, body) in [
                    ("length", length, body.clone()),
                    ("a length too large", big, body),
                    ("chunks", TE.to_owned(), as_a_chunk(tail)),
                ] {
                    let text = format!("{method} {target} HTTP/1.1\r\n{fields}{framing}\r\n{body}");
                    let vector = Vector::hidden(format!("{method}, {name}, by {what} {tail:?}"), text);
                    vectors.push(if what.contains("large") { vector.hungry() } else { vector });
                }
            }
        }
    }
    vectors.extend(too_many_fields());
    vectors
}

/// Monkey 1.8 takes 50 fields that it does not know, and answers the rest of the head line by line.
fn too_many_fields() -> Vec<Vector> {
    let body = format!("{SMUGGLED}x");
    let length = format!("Content-Length: {}\r\n", body.len());
    let mut vectors = Vec::new();
    for count in (48..58).chain([90, 120]) {
        for line in ["v", "GET /app/SMUGGLEDNNNNN HTTP/1.1"] {
            let many: String = (0..count).map(|i| format!("X-{i}: {line}\r\n")).collect();
            let name = |what: &str| format!("{count} fields {line:?} and {what}");
            let text = request("POST", "1.1", &format!("{length}{many}"), &body);
            vectors.push(Vector::hidden(name("a length before"), text));
            let text = request("POST", "1.1", &format!("{many}{length}"), &body);
            vectors.push(Vector::hidden(name("a length behind"), text));
            let text = request("POST", "1.1", &format!("{TE}{many}"), &as_a_chunk("x"));
            vectors.push(Vector::hidden(name("chunks"), text));
            vectors.push(Vector::open(name("no body"), request("GET", "1.1", &many, SMUGGLED)));
        }
    }
    vectors
}

/// What makes it answer early: a name, a target, and fields with a Host.
fn answered_early() -> Vec<(&'static str, String, String)> {
    let host = "Host: l\r\n".to_owned();
    let many: String = (0..60).map(|i| format!("X-{i}: v\r\n")).collect();
    let long = "l".repeat(20_000);
    let at = |target: &str| target.to_owned();
    vec![
        ("a path of ours", at("/app/vNNNNN"), host.clone()),
        ("no such file", at("/nothing/vNNNNN"), host.clone()),
        ("a file", at("/page.html"), host.clone()),
        ("dots in the path", at("/app/../app/vNNNNN"), host.clone()),
        ("two dots in a name", at("/app/vNNNNN..x"), host.clone()),
        ("an absolute target", at("http://l/app/vNNNNN"), host.clone()),
        ("an asterisk", at("*"), host.clone()),
        ("an IPv6 host", at("/app/vNNNNN"), "Host: [::1]\r\n".into()),
        ("60 fields", at("/app/vNNNNN"), format!("{host}{many}")),
        ("60 fields for a file", at("/page.html"), format!("{host}{many}")),
        ("a long field", at("/app/vNNNNN"), format!("{host}X-L: {long}\r\n")),
        ("a long target", format!("/app/vNNNNN{long}"), host.clone()),
        ("an encoded zero", at("/app/vNNNNN%00"), host.clone()),
        ("an empty field", at("/app/vNNNNN"), format!("{host}X:\r\n")),
        ("Expect", at("/app/vNNNNN"), format!("{host}Expect: 100-continue\r\n")),
        ("another Expect", at("/app/vNNNNN"), format!("{host}Expect: wonders\r\n")),
        ("Range", at("/page.html"), format!("{host}Range: bytes=900-800\r\n")),
        (
            "a condition",
            at("/page.html"),
            format!("{host}If-Modified-Since: Sun, 06 Nov 2044 08:49:37 GMT\r\n"),
        ),
    ]
}

/// Malformed chunks, and well-formed ones that look odd.
pub fn chunks() -> Vec<Vector> {
    let zeros = "0".repeat(40) + "3";
    let long = format!("3;{}", "e".repeat(20_000));
    let bad_sizes = [
        "3;a\nb",
        "3;a\rb",
        "3;\r\r;b",
        "0x3",
        "+3",
        "-0",
        "-1",
        "0_3",
        " 3",
        "3 ",
        "",
        "10000000000000000",
        "10000000000000003",
        "ffffffffffffffff",
        "8000000000000000",
        "3junk",
        "3\t",
        "3\0",
        ";",
        "3,",
        "3.",
        "\u{b}3",
        "three",
        "3\u{a0}",
        "3;a=\"\n\"",
    ];
    let good_sizes = ["3;a=b", "3 ; a=b", &zeros, "03", &long];
    let bad = [
        "3\nabc\r\n0\r\n\r\n",
        "3\r\nabc\n0\r\n\r\n",
        "3\nabc\n0\n\n",
        "3\r\nabc0\r\n\r\n",
        "3\r\nabcdef\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nXX",
        "3\r\nabc\r\n0\n\n",
        "3\r\nabc\r\n0\r\r",
        "3\r\nabc\r\n0\r\n\n",
        "3\r\nab\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nGET /app/SMUGGLEDNNNNN HTTP/1.1\r\n\r\n",
        "3\r\nabc\r\n0\r\nnocolon\r\n\r\n",
        "3\r\nabc\r\n0\r\n\r\n0\r\n\r\n",
        "3\r\nabc\r\n0\r\nX : y\r\n\r\n",
        "3\r\nabcXX0\r\n\r\n",
        "3\r\nabc\r\n0\r\n X: y\r\n\r\n",
    ];
    let good =
        ["3\r\nabc\r\n0\r\nContent-Length: 5\r\n\r\n", "3\r\nabc\r\n0\r\nTransfer-Encoding: chunked\r\n\r\n"];
    let sized = |open: bool| move |size: &&str| (open, format!("{size}\r\nabc\r\n0\r\n\r\n"));
    let mut bodies: Vec<_> =
        bad_sizes.iter().map(sized(false)).chain(good_sizes.iter().map(sized(true))).collect();
    bodies.extend(bad.map(|body| (false, body.to_owned())));
    bodies.extend(good.map(|body| (true, body.to_owned())));
    let mut vectors = Vec::new();
    for (open, body) in bodies {
        for (method, version) in [("POST", "1.1"), ("POST", "1.0"), ("PUT", "1.1"), ("GET", "1.1")] {
            let name = format!("{method} {version} {:?}", &body[..body.len().min(60)]);
            let text = request(method, version, TE, &format!("{body}{SMUGGLED}x"));
            vectors.push(Vector::either(open && version == "1.1", name, text));
        }
    }
    vectors
}
