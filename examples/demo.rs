//! Three toy backends behind the plugin in the C host, to look at with a browser:
//!
//! ```text
//! cargo run --release --example demo            # until Ctrl-C
//! cargo run --release --example demo -- --once  # a dozen requests, a death, the statistics
//! ```

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "a demonstration")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::process::{Child, Command, ExitCode, Stdio};

use serde_json::Value;
use support::{
    Backend, Client, Host, Kind, Next, Setup,
    conf::{PAGE, STATISTICS},
    vice,
};

fn main() -> ExitCode {
    let backends = ["red", "green", "blue"].map(|name| Backend::start(name, greeting()));
    let conf = configuration(&backends);
    let host = Setup::new(Kind::Harness, conf.clone()).start();
    println!("{conf}");
    println!("the static site     http://{}/{}", host.addr(), PAGE.0);
    println!("the three backends  http://{}/app/hello", host.addr());
    println!("one of them, sticky http://{}/sticky/hello", host.addr());
    println!("the statistics      http://{}{STATISTICS}", host.addr());
    println!("the same as JSON    http://{}{STATISTICS}?format=json\n", host.addr());
    match std::env::args().nth(1).as_deref() {
        None => {
            println!("Ctrl-C ends it.");
            let _cleaner = clean_up_after(&host);
            if host.wait().success() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Some("--once") => once(host, &backends),
        Some(other) => {
            eprintln!("{other} is unknown; there is only --once");
            ExitCode::FAILURE
        }
    }
}

fn configuration(backends: &[Backend; 3]) -> String {
    let list = backends.each_ref().map(Backend::address).join(" ");
    format!(
        "[PROXY_DEFAULTS]\n    LoadBalancer    Round-Robin\n    AttemptsCount   2\n    \
         OfflineTimeOut  5\n    StatisticsURL   {STATISTICS}\n\n\
         [PROXY_ENTRY]\n    Match           ^/app/\n    ServerList      {list}\n\n\
         [PROXY_ENTRY]\n    Match           ^/sticky/\n    ServerList      {list}\n    \
         LoadBalancer    Source-Hash\n"
    )
}

/// A page in the backend's colour that names it and shows the request as it arrived.
fn greeting() -> vice::Vice {
    vice::answering(|conn, seen| {
        let escaped = seen.head.replace('&', "&amp;").replace('<', "&lt;");
        let name = &conn.name;
        let page = format!(
            "<!doctype html><title>{name}</title><body style=\"background:{name};color:white\">\
             <h1>I am {name}</h1><pre>{escaped}</pre>\n"
        );
        let fields = format!("Content-Type: text/html\r\nContent-Length: {}\r\n", page.len());
        let mut bytes = conn.head_with("200 OK", &fields);
        if seen.method != "HEAD" {
            bytes.extend_from_slice(page.as_bytes());
        }
        conn.send(&bytes)?;
        Ok(if seen.keeps_alive() { Next::Again } else { Next::Close })
    })
}

/// Ctrl-C ends this program without a drop: when its end of the pipe closes, a shell that
/// ignores Ctrl-C stops the host, if it is still there, and removes the folder.
fn clean_up_after(host: &Host) -> std::io::Result<Child> {
    let script = "trap '' INT; cat; kill -TERM \"$0\" 2>/dev/null; rm -rf \"$1\"";
    Command::new("sh")
        .args(["-c", script, &host.pid().to_string()])
        .arg(host.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
}

/// Shows by itself what a visitor would see; fails when any request fails.
fn once(host: Host, backends: &[Backend; 3]) -> ExitCode {
    let mut client = host.client();
    let mut failed = !ask(&mut client, "/page.html", "the static site");
    for i in 1..=6 {
        failed |= !ask(&mut client, &format!("/app/{i}"), "");
    }
    for i in 1..=2 {
        failed |= !ask(&mut client, &format!("/sticky/{i}"), "");
    }
    println!("-- green is stopped --");
    backends[1].stop();
    for i in 7..=12 {
        failed |= !ask(&mut client, &format!("/app/{i}"), "");
    }
    println!();
    table(&host.statistics());
    let (status, output) = host.stop();
    if !status.success() {
        println!("the host ended with {status} and printed:\n{output}");
        failed = true;
    }
    if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}

fn ask(client: &mut Client, target: &str, by: &str) -> bool {
    client.send_request("GET", target, "", b"");
    match client.try_read("GET") {
        Ok(response) => {
            let backend = response.backend().to_owned();
            let by = if backend.is_empty() { by } else { &backend };
            println!("{:>3}  {target:<12} {by}", response.status);
            response.status == 200
        }
        Err(none) => {
            println!("---  {target:<12} no answer: {none:?}");
            false
        }
    }
}

fn table(statistics: &Value) {
    const FIELDS: [&str; 7] =
        ["address", "state", "requests", "status_2xx", "status_5xx", "failures", "offline_count"];
    println!("{}", row(FIELDS.iter().map(|&field| field.to_owned())));
    for route in statistics["routes"].as_array().into_iter().flatten() {
        for server in route["backends"].as_array().into_iter().flatten() {
            println!("{}", row(FIELDS.iter().map(|&field| cell(&server[field]))));
        }
        println!();
    }
}

fn row(cells: impl Iterator<Item = String>) -> String {
    cells.map(|cell| format!("{cell:<16}")).collect::<String>().trim_end().to_owned()
}

fn cell(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
