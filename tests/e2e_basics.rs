//! The ordinary life of a gateway: requests out, answers back, and the static site beside it.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::time::Duration;

use support::{
    Backend, Client, Conf, End, Framing, Host, Next, assert_bytes, client::request, conf::PAGE,
    for_each_host, host::Kind, pattern, vice,
};

const SOON: Duration = Duration::from_secs(2);

fn app(kind: Kind, a: &Backend) -> Host {
    Host::start(kind, Conf::new().route("^/app", &[a]))
}

#[test]
fn bodies_of_all_sizes_arrive_byte_for_byte_r14() {
    for len in [0, 1, 5, 100_000, 3_000_000] {
        let a = Backend::start("a", vice::fixed(len));
        for_each_host(|kind| {
            let response = app(kind, &a).get("/app/x").expect(200);
            assert_eq!((response.backend(), response.framing), ("a", Framing::Length(len)));
            assert_bytes(&response.body, &pattern(len));
        });
    }
}

#[test]
fn static_and_proxied_requests_share_a_connection() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for i in 0..40 {
            let proxied = client.get(&format!("/app/{i}")).expect(200);
            assert_eq!(proxied.text(), format!("GET /app/{i}\n"));
            let page = client.get("/page.html").expect(200);
            assert_eq!((page.backend(), page.text().as_str()), ("", PAGE.1));
        }
    });
}

#[test]
fn what_no_match_takes_is_the_static_site() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.requests();
        assert_eq!(host.get("/page.html").expect(200).text(), PAGE.1);
        assert_eq!(host.get("/").expect(200).text(), "<html>the index</html>\n");
        assert_eq!(host.get("/no-such-file").status, 404);
        assert_eq!(a.requests(), before);
    });
}

#[test]
fn a_match_takes_an_existing_file_too() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("\\.html$", &[&a]));
        assert_eq!(host.get("/page.html").expect(200).text(), "GET /page.html\n");
    });
}

#[test]
fn the_first_matching_entry_in_file_order_wins() {
    let (a, b) = (Backend::start("a", vice::echo()), Backend::start("b", vice::echo()));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app/special", &[&a]).route("^/APP", &[&b]);
        let host = Host::start(kind, conf);
        assert_eq!(host.get("/app/special/1").expect(200).backend(), "a");
        assert_eq!(host.get("/app/other").expect(200).backend(), "b");
    });
}

#[test]
fn many_requests_use_few_backend_connections_c1() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.connections();
        for i in 0..30 {
            host.get(&format!("/app/{i}")).expect(200);
        }
        let used = a.connections() - before;
        assert!(used <= 4, "{used} backend connections for 30 requests in a row");
    });
}

#[test]
fn http10_clients_get_an_answer_and_a_close_f49() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.send("GET /app/old HTTP/1.0\r\n\r\n");
        let response = client.read("GET").expect(200);
        assert_eq!(response.text(), "GET /app/old\n");
        assert!(response.all("Transfer-Encoding").is_empty(), "{response:?}");
        assert!(client.closed_within(SOON));
        assert!(a.last_seen().header("Host").is_some(), "F7b: some Host goes to the backend");
    });
}

#[test]
fn http10_keep_alive_is_granted_and_said_or_refused_f49() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        let ask = "GET /app/old HTTP/1.0\r\nHost: h\r\nConnection: Keep-Alive\r\n\r\n";
        client.send(ask);
        let response = client.read("GET").expect(200);
        let said = response.all("Connection").join(",").to_ascii_lowercase();
        if said.contains("keep-alive") {
            client.send(ask);
            assert_eq!(client.read("GET").expect(200).text(), "GET /app/old\n");
        } else {
            assert!(client.closed_within(SOON), "said {said:?}");
        }
    });
}

#[test]
fn connection_close_of_the_client_closes_its_side_only_f3() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.ask("GET", "/app", "Connection: close\r\n", b"").expect(200);
        assert!(client.closed_within(SOON));
        let options = a.last_seen().all("Connection").join(",").to_ascii_lowercase();
        assert!(!options.contains("close"), "the backend was told {options:?}");
    });
}

#[test]
fn head_has_the_length_and_no_body_r11_r12() {
    let (a, b) = (Backend::start("a", vice::fixed(1234)), Backend::start("b", vice::chunked(50)));
    for_each_host(|kind| {
        let conf = Conf::new().route("^/app", &[&a]).route("^/chunked", &[&b]);
        let host = Host::start(kind, conf);
        let mut client = host.client();
        for _ in 0..3 {
            let response = client.ask("HEAD", "/app", "", b"").expect(200);
            assert_eq!(response.header("Content-Length"), Some("1234"));
            client.ask("HEAD", "/chunked", "", b"").expect(200);
        }
        assert_eq!(client.get("/app").expect(200).body.len(), 1234);
    });
}

#[test]
fn answers_without_a_body_stay_in_step_r9_r10() {
    let a = Backend::start("a", vice::status_by_target());
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/", &[&a]));
        let mut client = host.client();
        for _ in 0..3 {
            let none = client.get("/204").expect(204);
            assert!(none.all("Transfer-Encoding").is_empty(), "{none:?}");
            client.get("/304").expect(304);
            assert_eq!(client.get("/200").expect(200).text(), "body");
        }
    });
}

#[test]
fn every_status_is_relayed_with_reason_and_body_r46() {
    let a = Backend::start("a", vice::status_by_target());
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route("^/", &[&a]));
        let mut client = host.client();
        for status in [
            200, 201, 206, 299, 301, 302, 307, 308, 400, 401, 403, 404, 410, 418, 429, 451, 500, 501, 502,
            503, 504, 507, 511, 599,
        ] {
            let response = client.get(&format!("/{status}")).expect(status);
            assert_eq!(response.reason, format!("Reason Of {status}"));
            assert_eq!(response.text(), "body");
            assert_eq!(response.header("Location"), Some("http://other.example/"));
        }
    });
}

#[test]
fn post_and_put_bodies_arrive_f16() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        for method in ["POST", "PUT"] {
            for body in [&b"x"[..], b"head\r\n\r\nand\r\n\r\nmore", &pattern(20_000)] {
                let response = client.ask(method, "/app/form", "", body).expect(200);
                let seen = a.last_seen();
                assert_eq!(seen.method, method);
                assert_eq!(seen.header("Content-Length"), Some(&*body.len().to_string()));
                assert_bytes(&seen.body, body);
                assert_bytes(&response.body[response.body.len() - body.len()..], body);
                if response.header("connection") == Some("close") {
                    client = host.client(); // Monkey 1.8, once its buffer has grown
                }
            }
        }
    });
}

/// Monkey 1.5 itself refuses a POST or PUT of length 0, before any plugin is asked.
#[test]
fn a_body_of_no_bytes_is_forwarded_as_such_or_refused_by_the_host_f17() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        for method in ["POST", "PUT"] {
            let before = a.requests();
            let mut client = host.client();
            let response = client.ask(method, "/app/form", "", b"");
            if response.status == 400 {
                assert_eq!((a.requests(), response.backend()), (before, ""));
            } else {
                assert_eq!(response.expect(200).text(), format!("{method} /app/form\n"));
                assert_eq!(a.last_seen().header("Content-Length"), Some("0"));
            }
        }
    });
}

#[test]
fn a_body_in_pieces_arrives_whole_f16b() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        let body = pattern(20_000);
        let bytes = request("POST", "/app/pieces", client.host(), "", &body);
        for piece in bytes.chunks(1777) {
            client.send(piece);
            std::thread::sleep(Duration::from_millis(3));
        }
        client.read("POST").expect(200);
        assert_bytes(&a.last_seen().body, &body);
    });
}

#[test]
fn an_upload_of_300_kb_arrives_whole_f16b() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let body = pattern(300_000);
        host.client().ask("POST", "/app/large", "", &body).expect(200);
        assert_bytes(&a.last_seen().body, &body);
    });
}

#[test]
fn the_target_goes_out_byte_for_byte_f30() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = Host::start(kind, Conf::new().route(".", &[&a]));
        for target in [
            "/a%2Fb?x=%26&c=[]",
            "/a%2Fb%2fc%20d%41",
            "//a///b;p=1",
            "/x?",
            "/x??a=b?c",
            "/a+b%2Bc",
            "/?a=1&b=%26",
        ] {
            let response = host.get(target).expect(200);
            assert_eq!(response.text(), format!("GET {target}\n"));
        }
    });
}

#[test]
fn pieces_of_an_answer_are_put_together_r47() {
    let a = Backend::start("a", vice::one_byte_at_a_time(2000));
    for_each_host(|kind| {
        let response = app(kind, &a).get("/app").expect(200);
        assert_bytes(&response.body, &pattern(2000));
    });
}

#[test]
fn a_first_piece_is_not_held_back_r49() {
    let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nfirst\r\n".to_vec();
    let last = b"4\r\nlast\r\n0\r\n\r\n".to_vec();
    let a = Backend::start("a", vice::pieces(vec![head, last], Duration::from_millis(1500), Next::Again));
    for_each_host(|kind| {
        let host = app(kind, &a);
        let mut client = host.client();
        client.send_request("GET", "/app", "", b"");
        let (early, end) = client.read_all(Duration::from_secs(1));
        assert_eq!(end, End::TimedOut);
        let early = String::from_utf8_lossy(&early).into_owned();
        assert!(early.contains("first"), "within a second came: {early:?}");
    });
}

#[test]
fn ipv6_backends_are_reached() {
    let Some(a) = Backend::start_v6("six", vice::echo()) else {
        eprintln!("skipped: no IPv6 on this machine");
        return;
    };
    for_each_host(|kind| {
        assert_eq!(app(kind, &a).get("/app").expect(200).backend(), "six");
    });
}

#[test]
fn unix_socket_backends_are_reached() {
    let dir = tempfile::tempdir().unwrap();
    let a = Backend::start_unix("u", &dir.path().join("s"), vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        assert_eq!(host.get("/app").expect(200).backend(), "u");
        a.stop();
        let down = host.get("/app");
        assert!((502..=504).contains(&down.status), "{down:?}");
        a.restart(vice::echo());
    });
}

#[test]
fn backends_by_name_are_reached() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let list = format!("localhost:{}", a.addr().port());
        let host = Host::start(kind, Conf::new().route_to("^/app", &list));
        // A name may still be on its way to an address when the host starts.
        support::eventually(SOON, "localhost is reached", || host.get("/app").status == 200);
    });
}

#[test]
fn a_name_without_an_address_does_not_stop_the_start() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let conf = Conf::new()
            .route_to("^/nowhere", "no-such-host.invalid:80")
            .with("ConnectTimeOut 1")
            .route("^/app", &[&a]);
        let host = Host::start(kind, conf);
        assert_eq!(host.get("/app").expect(200).backend(), "a");
        let nowhere = host.get("/nowhere");
        assert!((502..=504).contains(&nowhere.status), "{nowhere:?}");
        assert_eq!(host.get("/page.html").expect(200).text(), PAGE.1);
    });
}

#[test]
fn a_client_may_leave_before_it_asks() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = app(kind, &a);
        let before = a.received();
        for _ in 0..10 {
            let mut client = host.client();
            client.send("GET /app HT");
            client.reset();
            drop(Client::connect(host.addr()));
        }
        host.get("/page.html").expect(200);
        assert_eq!(a.received(), before);
    });
}
