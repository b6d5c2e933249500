//! Backends that do not answer, or not with HTTP: the client is told, and soon.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::{Duration, Instant};

use support::{
    Backend, Conf, End, Host, Kind, Next, assert_bytes, black_hole::BlackHole, eventually, for_each_host,
    pattern, vice,
};

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

#[track_caller]
fn is_502(a: &Backend) {
    for_each_host(|kind| {
        let host = app(kind, a);
        let mut client = host.client();
        let response = client.get("/app").expect(502);
        assert!(!response.body.is_empty() && response.body.len() < 4096, "{response:?}");
        assert_eq!(host.get("/page.html").status, 200);
    });
}

#[test]
fn garbage_is_502_r41() {
    is_502(&Backend::start("a", vice::garbage()));
}

#[test]
fn http09_is_502_r41() {
    is_502(&Backend::start("a", vice::raw("<html>hi</html>", Next::Close)));
}

#[test]
fn three_hundred_kilobytes_without_a_line_end_are_502_r41() {
    is_502(&Backend::start("a", vice::raw(vec![b'x'; 300_000], Next::Close)));
}

#[test]
fn impossible_status_lines_are_502_r1() {
    for line in ["HTTP/1.1 20 OK", "HTTP/1.1 2000", "HTTP/1.1 abc", "ICY 200 OK", "HTTPS/1.1 200 OK"] {
        let answer = format!("{line}\r\nContent-Length: 2\r\n\r\nok");
        is_502(&Backend::start("a", vice::raw(answer, Next::Close)));
    }
}

#[test]
fn a_close_before_the_head_is_502_r42() {
    is_502(&Backend::start("a", vice::reads_and_leaves(Next::Close)));
    is_502(&Backend::start("a", vice::reads_and_leaves(Next::Reset)));
    is_502(&Backend::start("a", vice::accepts_and_closes()));
}

#[test]
fn a_close_within_the_head_is_502_r43() {
    is_502(&Backend::start("a", vice::leaves_in_head(Next::Close)));
    is_502(&Backend::start("a", vice::leaves_in_head(Next::Reset)));
}

#[test]
fn a_huge_head_is_502_r40() {
    is_502(&Backend::start("a", vice::huge_head(2_000_000)));
}

#[test]
fn a_head_of_8_kb_passes_r40() {
    let a = Backend::start("a", vice::huge_head(8_000));
    for_each_host(|kind| {
        let response = app(kind, &a).client().get("/app").expect(200);
        assert_eq!(response.header("X-Filler").map(str::len), Some(8_000));
    });
}

#[test]
fn silence_is_504_at_the_header_timeout_c7() {
    let a = Backend::start("a", vice::never_answers());
    for_each_host(|kind| {
        let before = a.requests();
        let conf = Conf::new().route("^/app", &[&a]).with("HeaderTimeOut 1");
        let host = Host::start(kind, conf);
        let begun = Instant::now();
        host.get("/app").expect(504);
        let took = begun.elapsed();
        assert!((800..2500).contains(&took.as_millis()), "took {took:?}");
        assert_eq!(a.requests() - before, 1, "one try");
        eventually(Duration::from_secs(2), "the backend is let go", || a.open() == 0);
    });
}

#[test]
fn a_dripping_head_is_cut_by_the_header_timeout_c11() {
    let a = Backend::start("a", vice::slow_head(Duration::from_millis(200)));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a]).with("HeaderTimeOut 1");
        let host = Host::start(kind, conf);
        let begun = Instant::now();
        host.get("/app").expect(504);
        assert!(begun.elapsed() < Duration::from_millis(2500), "took {:?}", begun.elapsed());
    });
}

#[test]
fn a_body_that_stalls_is_visibly_cut_c12() {
    let a = Backend::start("a", vice::stalls_mid_body(10_000, 1000));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a]).with("ReadTimeOut 1");
        let host = Host::start(kind, conf);
        let begun = Instant::now();
        let response = host.client().get("/app");
        assert!(begun.elapsed() < Duration::from_millis(2500), "took {:?}", begun.elapsed());
        assert!(matches!(response.end, End::Truncated | End::Reset), "{response:?}");
        assert_bytes(&response.body, &pattern(1000)[..response.body.len()]);
        eventually(Duration::from_secs(2), "the backend is let go", || a.open() == 0);
    });
}

#[test]
fn a_black_hole_gives_way_to_the_next_server_c10() {
    let (hole, a) = (BlackHole::new(), Backend::start("a", vice::echo()));
    for_each_host(|kind| {
        let list = format!("{} {}", hole.addr(), a.address());
        let conf = Conf::new()
            .route_to("^/app", &list)
            .with("LoadBalancer First-Alive")
            .with("ConnectTimeOut 300ms");
        let host = Host::start(kind, conf);
        let begun = Instant::now();
        assert_eq!(host.get("/app").expect(200).backend(), "a");
        assert!(begun.elapsed() < Duration::from_secs(2), "took {:?}", begun.elapsed());
    });
}

#[test]
fn nothing_but_black_holes_is_5xx_soon_c10() {
    let hole = BlackHole::new();
    for_each_host(|kind| {
        let conf = Conf::new().route_to("^/app", &hole.addr().to_string()).with("ConnectTimeOut 300ms");
        let host = Host::start(kind, conf);
        let begun = Instant::now();
        let response = host.get("/app");
        assert!((502..=504).contains(&response.status), "{response:?}");
        assert!(begun.elapsed() < Duration::from_secs(3), "took {:?}", begun.elapsed());
    });
}

#[test]
fn a_refusing_backend_is_5xx_at_once_c8() {
    let a = Backend::refuses("a");
    for_each_host(|kind| {
        let host = app(kind, &a);
        for _ in 0..6 {
            let begun = Instant::now();
            let response = host.get("/app");
            assert!(matches!(response.status, 502 | 503), "{response:?}");
            assert!(begun.elapsed() < Duration::from_secs(1), "C8b: took {:?}", begun.elapsed());
            assert!(!response.body.is_empty() && response.body.len() < 4096, "{response:?}");
            if response.status == 503 {
                assert!(response.header("Retry-After").is_some(), "{response:?}");
            }
        }
    });
}

#[test]
fn an_error_answer_to_a_post_keeps_the_connection_in_step_c8c() {
    let a = Backend::refuses("a");
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        let response = client.ask("POST", "/app", "", &pattern(20_000));
        assert!(matches!(response.status, 502 | 503), "{response:?}");
        if client.try_send("GET /page.html HTTP/1.1\r\nHost: h\r\n\r\n").is_ok()
            && let Ok(page) = client.try_read("GET")
        {
            page.expect(200);
        }
    });
}

#[test]
fn hanging_requests_do_not_block_other_routes_c18() {
    let (a, b) = (Backend::start("a", vice::never_answers()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/hang", &[&a]).route("^/app", &[&b]));
        let before = a.requests();
        let mut hanging: Vec<_> = (0..20).map(|_| host.client()).collect();
        for client in &mut hanging {
            client.send_request("GET", "/hang", "", b"");
        }
        eventually(Duration::from_secs(2), "20 requests hang", || a.requests() - before == 20);
        for _ in 0..10 {
            let begun = Instant::now();
            host.get("/app").expect(200);
            host.get("/page.html").expect(200);
            assert!(begun.elapsed() < Duration::from_secs(1), "took {:?}", begun.elapsed());
        }
    });
}
