//! `mkproxy status` on the statistics page of each host.

#![allow(clippy::unwrap_used, reason = "tests fail loudly")]

mod support;

use std::process::{Command, Output, Stdio};

use support::{Backend, Conf, Host, conf::STATISTICS, for_each_host, sockets, vice};

#[test]
fn the_state_of_the_servers_is_shown_once() {
    for_each_host(|kind| {
        let app = Backend::start("app", vice::echo());
        // Reserved and not listening: it refuses connections.
        let dead = sockets::Reserved::new(sockets::LOOPBACK).unwrap();
        let conf = Conf::new()
            .route("^/app/", &[&app])
            .route_to("^/both/", &format!("{} {}", app.address(), dead.addr()))
            .with("AttemptsCount 1")
            .with("ProbeOffline off")
            .with_statistics();
        let host = Host::start(kind, conf);
        host.get("/app/x").expect(200);
        let page = format!("http://{}{STATISTICS}", host.addr());

        let output = status(&["--once", &page]);
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let said = text(&output);
        assert!(said.starts_with("3 of 3 servers online, up "), "{said}");
        assert!(said.contains("\n^/app/  Round-Robin\n"), "{said}");

        // Both get one, so the dead one is found out.
        host.get("/both/x").expect(200);
        host.get("/both/x").expect(200);
        let output = status(&[&page]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = text(&output);
        assert!(said.starts_with("2 of 3 servers online"), "{said}");
        let line = said.lines().find(|line| line.contains(&dead.addr().to_string())).unwrap();
        assert!(line.contains("offline") && line.contains("trial in"), "{said}");

        let output = status(&["--json", &page]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let page_as_it_is: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(page_as_it_is["routes"][1]["backends"][1]["state"], "offline");

        let output = status(&["--once", &format!("http://{}/page.html", host.addr())]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("no JSON"), "{output:?}");
        let output = status(&["--once", &format!("http://{}/x", dead.addr())]);
        assert!(String::from_utf8_lossy(&output.stderr).contains("nobody listens there"), "{output:?}");
    });
}

fn status(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mkproxy"));
    command.arg("status").args(arguments).stdin(Stdio::null()).output().unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}
