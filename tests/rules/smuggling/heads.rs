//! Vectors whose request line or field lines are odd.

use super::vectors::{SMUGGLED, Vector, request, request_early};

/// Request lines in front of a request that stands behind them, or that they contain.
pub fn request_lines() -> Vec<Vector> {
    let bad = [
        "GET /app/vNNNNN HTTP/1.1 x",
        "GET /app/vNNNNN x HTTP/1.1",
        "GET  /app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN  HTTP/1.1",
        "GET\t/app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN\tHTTP/1.1",
        "GET /app/vNNNNN",
        "GET /app/vNNNNN HTTP/2.0",
        "GET /app/vNNNNN HTTP/1.10",
        "GET /app/vNNNNN http/1.1",
        "GET /app/vNNNNN HTTP/1",
        "GET /app/vNNNNN HTTP/1.1.1",
        "GET /app/vNNNNN HTTP/01.1",
        "GET /app/vNNNNN HTTP/1,1",
        "GET /app/vNNNNN XTTP/1.1",
        "GET /app/vNNNNN?a b HTTP/1.1",
        "GET /app/vNNNNN?a\rb HTTP/1.1",
        "GET /app/vNNNNN?\r\nX: y HTTP/1.1",
        "GET /app/vNNNNN?x HTTP/1.0 HTTP/1.1",
        "GET /app/vNNNNN\r\nX: y HTTP/1.1",
        "GET /app/vNNNNN\0 HTTP/1.1",
        "GET /app/vNNNNN?\0 HTTP/1.1",
        "GET /app/vNNNNN?x HTTP/1.1\rHost: m",
        "GET /app/vNNNNN HTTP/1.1\r",
        "GET /app/vNNNNN\u{b}HTTP/1.1",
        "GET /app/vNNNNN\u{a0}HTTP/1.1",
        " GET /app/vNNNNN HTTP/1.1",
        "GET/app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN\u{7f} HTTP/1.1",
        "GET app/vNNNNN HTTP/1.1",
        "PRI * HTTP/2.0",
        "G\u{0}ET /app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN HTTP/1.1 ",
        "\u{b}GET /app/vNNNNN HTTP/1.1",
        "CONNECT l:80 HTTP/1.1",
        "GET /app/vNNNNN HTTP/ 1.1",
        "GET /app/vNNNNN HTTP /1.1",
        "GET\r\n/app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN HTTP/1.1\nX: y\n\nGET /app/SMUGGLEDNNNNN HTTP/1.1",
        "GET /app/vNNNNN?GET /app/SMUGGLEDNNNNN HTTP/1.1",
    ];
    let good = [
        "GET /app/vNNNNN HTTP/1.2",
        "GET http://l/app/vNNNNN HTTP/1.1",
        "GET http://other/app/vNNNNN HTTP/1.1",
        "\r\nGET /app/vNNNNN HTTP/1.1",
        "\nGET /app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN%0d%0aX:%20y HTTP/1.1",
        "GET /app/vNNNNN%20HTTP/1.1%0d%0a%0d%0aGET%20/app/SMUGGLEDNNNNN HTTP/1.1",
        "GET /app/vNNNNN%00/x HTTP/1.1",
        "GET /app/vNNNNN?%0d%0a%0d%0a HTTP/1.1",
        "GET /app/vNNNNN HTTP/1.0",
        "get /app/vNNNNN HTTP/1.1",
        "GET /app/vNNNNN#f HTTP/1.1",
        "OPTIONS * HTTP/1.1",
        "GET /app/vNNNNN?a=\u{e9} HTTP/1.1",
    ];
    let lines = bad.map(|line| (false, line)).into_iter().chain(good.map(|line| (true, line)));
    let mut vectors = Vec::new();
    for (open, line) in lines {
        let text = format!("{line}\r\nHost: l\r\n\r\n{SMUGGLED}");
        vectors.push(Vector::either(open, format!("{line:?} and a request"), text));
        let length = SMUGGLED.len() + 1;
        let text = format!("{line}\r\nHost: l\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}x");
        let post = text.replace("GET /app/v", "POST /app/v").replace("GET http", "POST http");
        vectors.push(Vector::hidden(format!("{line:?} as POST"), post));
        let text = format!("{line}\r\nContent-Length: {length}\r\n\r\n{SMUGGLED}x");
        vectors.push(Vector::hidden(format!("{line:?} without a Host"), text));
    }
    vectors.extend(line_ends());
    vectors
}

/// The same head with line ends of other kinds.
fn line_ends() -> Vec<Vector> {
    let head = "GET /app/vNNNNN HTTP/1.1\r\nHost: l\r\nX-A: a\r\n\r\n";
    let mut vectors = Vec::new();
    for (open, end) in [(true, "\n"), (false, "\r"), (false, "\n\r"), (false, "\r\r\n"), (false, "\u{85}")] {
        let other = head.replace("\r\n", end);
        vectors.push(Vector::either(open, format!("lines ended by {end:?}"), format!("{other}{SMUGGLED}")));
        let smuggled = SMUGGLED.replace("\r\n", end);
        vectors.push(Vector::either(open, format!("all ended by {end:?}"), format!("{other}{smuggled}")));
        vectors.push(Vector::either(true, format!("hidden ended by {end:?}"), format!("{head}{smuggled}")));
    }
    vectors.push(Vector::hidden("HTTP/0.9", format!("GET /app/vNNNNN\r\n{SMUGGLED}")));
    vectors.push(Vector::hidden("HTTP/0.9 and an empty line", format!("GET /app/vNNNNN\r\n\r\n{SMUGGLED}")));
    vectors.push(Vector::hidden("HTTP/2 preface", format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{SMUGGLED}")));
    vectors
}

/// Field lines that end a head for one parser and not for another, or hide a request in it.
pub fn field_lines() -> Vec<Vector> {
    let first = "GET /app/SMUGGLEDNNNNN HTTP/1.1";
    let cr = SMUGGLED.replace("\r\n", "\r");
    let lf = SMUGGLED.replace("\r\n", "\n");
    let lines = [
        format!("X: a\r\r{cr}"),
        format!("X: a\n\n{lf}"),
        format!("X: a\r\r{SMUGGLED}"),
        format!("X: a\n\n{SMUGGLED}"),
        format!("X: a\n\r\n{SMUGGLED}"),
        format!("X: a\r\n\n{SMUGGLED}"),
        format!("X: a\r\n\r{SMUGGLED}"),
        format!("X: a\r\n\rZ\r\n\r\n{SMUGGLED}"),
        format!("XY\r\n\r\n{SMUGGLED}"),
        format!("XY\n\n{SMUGGLED}"),
        "XY\nZ: a\r\n".into(),
        format!("{first}\r\n"),
        format!("X: a\r\n{first}\r\nHost: l\r\n"),
        "nocolon\r\n".into(),
        ": x\r\n".into(),
        ":\r\n".into(),
        "X: a\r\nHost: m\r\n".into(),
        "Host : l\r\n".into(),
        "Host:\r\n m\r\n".into(),
        "X : a\r\n".into(),
        "X\t: a\r\n".into(),
        " X: a\r\n".into(),
        "X: a\r\n b\r\n".into(),
        "X: a\r\n \r\n".into(),
        "X\0: a\r\n".into(),
        "X: a\0\r\n".into(),
        "X: a\rY: b\r\n".into(),
        "X: a\r\r\nY: b\r\n".into(),
        format!("X: a\0{SMUGGLED}"),
        format!("X:\r\n\r\r\n{SMUGGLED}"),
        "X: a\r\n\u{b}\r\n".into(),
        "X: a\u{0}\r\n\r\n".into(),
        "(: x\r\n".into(),
        "X-\u{e9}: x\r\n".into(),
        "X: a\r\n\tContent-Length: 0\r\n".into(),
        "\r: x\r\n".into(),
        format!("X: a\u{85}\u{85}{SMUGGLED}"),
        "Host: l\r\n".into(),
        "host: l\r\n".into(),
        "Host: a b\r\n".into(),
    ];
    let length = SMUGGLED.len() + 1;
    let mut vectors = Vec::new();
    for line in lines {
        vectors.push(Vector::hidden(format!("GET {line:?}"), request("GET", "1.1", &line, SMUGGLED)));
        vectors.push(Vector::hidden(
            format!("GET {line:?} first"),
            request_early("GET", "1.1", &line, SMUGGLED),
        ));
        let fields = format!("Content-Length: {length}\r\n{line}");
        let text = request("POST", "1.1", &fields, &format!("{SMUGGLED}x"));
        vectors.push(Vector::hidden(format!("POST {line:?}"), text));
        let fields = format!("{line}Content-Length: {length}\r\n");
        let text = request("POST", "1.1", &fields, &format!("{SMUGGLED}x"));
        vectors.push(Vector::hidden(format!("POST {line:?}, then the length"), text));
    }
    for end in ["\r\n\n", "\r\n\r", "\n\r\n", "\n\n", "\r\r", "\r\n \r\n", "\r\n\0\r\n"] {
        let text = format!("GET /app/vNNNNN HTTP/1.1\r\nHost: l{end}{SMUGGLED}");
        vectors.push(Vector::either(
            end == "\n\n" || end == "\n\r\n" || end == "\r\n\n",
            format!("head ended by {end:?}"),
            text,
        ));
    }
    vectors
}

/// Upgrades that a backend refuses, with a request behind them that is meant for a tunnel.
pub fn upgrades() -> Vec<Vector> {
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let h2c = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n";
    let ws = format!("Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 777\r\n{key}");
    let others = ["h2c, websocket", "websocket, h2c", "TLS/1.0", "HTTP/2.0", "foo", ""];
    let mut vectors = vec![
        Vector::open("h2c", request("GET", "1.1", h2c, SMUGGLED)),
        Vector::hidden("h2c and its preface", request("GET", "1.1", h2c, &format!("{preface}{SMUGGLED}"))),
        Vector::open("websocket 777", request("GET", "1.1", &ws, SMUGGLED)),
        Vector::open("websocket 777, HTTP/1.0", request("GET", "1.0", &ws, SMUGGLED)),
    ];
    for other in others {
        let fields =
            format!("Connection: Upgrade\r\nUpgrade: {other}\r\nSec-WebSocket-Version: 777\r\n{key}");
        vectors.push(Vector::open(format!("upgrade to {other:?}"), request("GET", "1.1", &fields, SMUGGLED)));
    }
    let length = SMUGGLED.len() + 1;
    for method in ["GET", "POST"] {
        let fields = format!("{ws}Content-Length: {length}\r\n");
        let text = request(method, "1.1", &fields, &format!("{SMUGGLED}x"));
        vectors.push(Vector::hidden(format!("websocket 777 by {method} with a body"), text));
    }
    vectors
}
