//! Clients that come over TLS, in the real 1.8 with its own transport. `curl` is the client. Where a
//! part of this is missing the tests say so and pass.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::fs;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::thread;

use support::{Backend, Certificate, Conf, Host, Kind, Next, Setup, Steady, assert_bytes, pattern, vice};

/// Runs a test over TLS, if there are `MONKEY_1_8`, TLS in it, `openssl` and `curl`.
fn over_tls(conf: Conf, test: impl FnOnce(&Host, &Certificate)) {
    let Some(server) = Kind::Monkey18.binary() else { return eprintln!("skipped: MONKEY_1_8 is not set") };
    if !calls_a_tls_library(&server) {
        return eprintln!("skipped: {} is built without TLS", server.display());
    }
    if let Err(error) = Command::new("curl").arg("--version").output() {
        return eprintln!("skipped: curl: {error}");
    }
    match Certificate::new() {
        Ok(certificate) => test(&Setup::new(Kind::Monkey18, conf).tls(&certificate).start(), &certificate),
        Err(why) => eprintln!("skipped: {why}"),
    }
}

/// Whether a program has the name of what writes through OpenSSL or mbedTLS in it.
fn calls_a_tls_library(program: &Path) -> bool {
    let program = fs::read(program).unwrap();
    [&b"SSL_write"[..], b"mbedtls_ssl_write"]
        .iter()
        .any(|name| program.windows(name.len()).any(|part| part == *name))
}

/// What `curl` gets from these paths one after the other, on one connection.
fn curl(to: SocketAddr, certificate: &Certificate, options: &[&str], paths: &[&str]) -> Vec<u8> {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--show-error", "--fail", "--http1.1", "--max-time", "20", "--noproxy", "*"]);
    // In 1.3 an alert would look like data.
    curl.args(["--tls-max", "1.2"]);
    curl.arg("--cacert").arg(certificate.chain()).args(options);
    curl.args(paths.iter().map(|path| format!("https://{to}{path}")));
    let output = curl.output().unwrap();
    assert!(output.status.success(), "{curl:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

#[test]
fn bodies_of_all_sizes_come_whole_over_tls() {
    let sizes = [0, 1, 2048, 16_000, 16_384, 16_385, 100_000, 3_000_000];
    let backends: Vec<_> =
        sizes.iter().map(|&size| Backend::start(&format!("b{size}"), vice::fixed(size))).collect();
    let chunked = Backend::start("chunked", vice::chunked(300_000));
    let echo = Backend::start("echo", vice::echo());
    let mut conf = Conf::new().route("^/chunked", &[&chunked]).route("^/echo", &[&echo]);
    for (size, backend) in sizes.iter().zip(&backends) {
        conf = conf.route(&format!("^/{size}$"), &[backend]);
    }
    over_tls(conf, |host, certificate| {
        for size in sizes {
            let body = curl(host.addr(), certificate, &[], &[&format!("/{size}")]);
            assert_bytes(&body, &pattern(size));
        }
        assert_bytes(&curl(host.addr(), certificate, &[], &["/chunked"]), &pattern(300_000));
        let text = "x".repeat(50_000);
        let said = curl(host.addr(), certificate, &["--data-binary", &text], &["/echo"]);
        assert!(String::from_utf8_lossy(&said).contains(&text));
        assert!(format!("{:?}", echo.last_seen()).contains("https"), "X-Forwarded-Proto");
    });
}

#[test]
fn a_short_answer_was_two_tls_records() {
    let a = Backend::start("a", vice::raw(*b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n", Next::Again));
    over_tls(Conf::new().route("^/app", &[&a]), |host, certificate| {
        // What the handshake takes is in both.
        let [few, more] = [2, 12].map(|answers| {
            let (relay, records) = counting(host.addr());
            let body = curl(relay, certificate, &[], &vec!["/app"; answers]);
            assert_bytes(&body, &b"ok\n".repeat(answers));
            records.load(Relaxed)
        });
        assert_eq!(more - few, 10);
    });
}

/// Passes one connection on, and counts the records of application data (RFC 8446 5.1) that
/// come back.
fn counting(to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    const HEADER: usize = 5;
    const APPLICATION_DATA: u8 = 23;
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    let records = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&records);
    thread::spawn(move || {
        let client = listener.accept().unwrap().0;
        let server = TcpStream::connect(to).unwrap();
        let (from_client, to_server) = (client.try_clone().unwrap(), server.try_clone().unwrap());
        thread::spawn(move || {
            let _ = io::copy(&mut Steady(from_client), &mut Steady(to_server.try_clone().unwrap()));
            to_server.shutdown(Shutdown::Write)
        });
        let (mut server, mut client) = (Steady(server), Steady(client));
        let mut header = [0; HEADER];
        while server.read_exact(&mut header).is_ok() {
            count.fetch_add(usize::from(header[0] == APPLICATION_DATA), Relaxed);
            let mut record = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
            server.read_exact(&mut record).unwrap();
            client.write_all(&[&header[..], &record].concat()).unwrap();
        }
    });
    (addr, records)
}
