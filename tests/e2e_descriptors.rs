//! A server that has no descriptor left: that is its own trouble, and no backend's.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{process::Command, thread, time::Duration};

use support::{Backend, Conf, Host, for_each_host, host::expect_quiet, vice};

/// Limits how many descriptors a running host may have.
fn limit(host: &Host, soft: &str) -> bool {
    let pid = host.pid().to_string();
    match Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={soft}:")]).status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("skipped: prlimit: {error}");
            false
        }
    }
}

#[test]
fn a_lack_of_descriptors_sets_no_backend_offline() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a, &b]).with("KeepAlive off").with_statistics();
        let host = Host::start(kind, conf);
        let mut clients: Vec<_> = (0..8).map(|_| host.client()).collect();
        for client in &mut clients {
            client.get("/app").expect(200);
        }
        expect_quiet(Duration::from_secs(2), &[&a, &b]);
        if !limit(&host, "0") {
            return;
        }
        for client in &mut clients {
            let status = client.get("/app").status;
            assert!((502..=503).contains(&status), "{status} without a descriptor for the backend");
        }
        assert!(limit(&host, "1024"));
        thread::sleep(Duration::from_millis(50));
        let output = host.output();
        assert!(!output.contains("is offline"), "backends are blamed for our own lack:\n{output}");
        let mut seen: Vec<_> = (0..8).map(|_| host.get("/app").expect(200).backend().to_owned()).collect();
        seen.sort();
        seen.dedup();
        assert_eq!(seen, ["a", "b"], "all of them serve again at once");
    });
}
