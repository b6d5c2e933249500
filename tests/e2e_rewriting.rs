//! What a route changes in heads: names, forwarding fields, paths, references, cookies.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex},
    time::Duration,
};

use support::{Backend, Client, Conf, Host, Kind, Next, eventually, for_each_host, vice};

fn host(kind: Kind, a: &Backend, lines: &[&str]) -> Host {
    let conf = Conf::new().route("^/app", &[a]);
    Host::start(kind, lines.iter().fold(conf, |conf, line| conf.with(line)))
}

/// Answers 302 with what the request names in `X-Give-...`, as fields of its own.
fn gives() -> vice::Vice {
    vice::answering(|conn, seen| {
        let mut fields = String::from("Content-Length: 0\r\n");
        for (name, value) in &seen.headers {
            // Monkey 1.8 hands names over in lower case.
            if let Some(name) = name.to_ascii_lowercase().strip_prefix("x-give-") {
                fields.push_str(&format!("{name}: {value}\r\n"));
            }
        }
        let bytes = conn.head_with("302 Found", &fields);
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

/// What a client gets for a field that a backend gives.
#[track_caller]
fn given(client: &mut Client, name: &str, value: &str) -> String {
    let response = client.ask("GET", "/app", &format!("X-Give-{name}: {value}\r\n"), b"").expect(302);
    response.header(name).unwrap_or_default().to_owned()
}

// --- HostHeader ------------------------------------------------------------------------

#[test]
fn host_is_that_of_the_client_the_server_or_a_fixed_one() {
    let a = Backend::start("a", vice::echo());
    let folder = tempfile::tempdir().unwrap();
    let unix = Backend::start_unix("unix", &folder.path().join("s"), vice::echo());
    for_each_host(|kind| {
        let conf = Conf::new().route("^/client", &[&a]).with("HostHeader client");
        let conf = conf.route("^/server", &[&a]).with("HostHeader server");
        let conf = conf.route("^/unix", &[&unix]).with("HostHeader server");
        let conf = conf.route("^/fixed", &[&a]).with("HostHeader app.internal:8080");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        let (own, address) = (client.host().to_owned(), a.address());
        for (path, backend, expected) in [
            ("/client", &a, own.as_str()),
            ("/server", &a, &address),
            ("/unix", &unix, "localhost"),
            ("/fixed", &a, "app.internal:8080"),
        ] {
            client.get(path).expect(200);
            let seen = backend.last_seen();
            assert_eq!(seen.header("Host"), Some(expected), "{path}");
            assert_eq!(seen.header("X-Forwarded-Host"), Some(own.as_str()), "{path}");
        }
    });
}

#[test]
fn each_server_gets_its_own_name_when_another_one_failed() {
    let folder = tempfile::tempdir().unwrap();
    for_each_host(|kind| {
        let refuses = Backend::refuses("refuses");
        let leaves = Backend::start("leaves", vice::reads_and_leaves(Next::Close));
        let unix = Backend::start_unix("unix", &folder.path().join(format!("{kind:?}")), vice::echo());
        let last = Backend::start("last", vice::echo());
        let conf = Conf::new().default_key("HostHeader server").default_key("LoadBalancer First-Alive");
        let conf =
            conf.route("^/app", &[&refuses, &leaves, &unix]).route("^/post", &[&refuses, &unix, &last]);
        let host = Host::start(kind, conf);
        let mut client = host.client();
        assert_eq!(client.get("/app/x").expect(200).text(), "GET /app/x\n");
        assert_eq!(leaves.last_seen().header("Host"), Some(&*leaves.address()));
        assert_eq!(unix.last_seen().header("Host"), Some("localhost"));
        assert_eq!(client.ask("POST", "/post", "", b"body").expect(200).text(), "POST /post\nbody");
        assert_eq!(unix.last_seen().header("Host"), Some("localhost"));
        unix.stop();
        // Else the request may go to a connection that is just about to close.
        eventually(Duration::from_secs(5), "its connections are closed", || unix.open() == 0);
        assert_eq!(client.ask("POST", "/post", "", b"again").expect(200).text(), "POST /post\nagain");
        assert_eq!(last.last_seen().header("Host"), Some(&*last.address()));
    });
}

// --- Forwarding fields and trust ---------------------------------------------------------

const CLAIMS: &str = "X-Forwarded-For: 6.6.6.6, 7.7.7.7\r\nX-Forwarded-For: 8.8.8.8\r\n\
                      X-Forwarded-Proto: https\r\nX-Forwarded-Host: p.example\r\nX-Forwarded-Port: 444\r\n\
                      X-Real-IP: 6.6.6.6\r\nForwarded: for=6.6.6.6\r\n";

#[test]
fn a_stranger_cannot_pretend_to_be_a_proxy() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        for trusted in ["none", "10.0.0.0/8 ::1 192.0.2.1", "fc00::/7"] {
            let host = host(kind, &a, &[&format!("TrustedProxies {trusted}"), "ForwardedHeaders both"]);
            let mut client = host.client();
            client.ask("GET", "/app", CLAIMS, b"").expect(200);
            let (seen, own) = (a.last_seen(), client.host());
            assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
            assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
            assert_eq!(seen.header("X-Forwarded-Host"), Some(own));
            assert_eq!(seen.header("Forwarded"), Some(&*format!("for=127.0.0.1;host=\"{own}\";proto=http")));
            assert!(!seen.head.contains("6.6.6.6"), "{}", seen.head);
            assert_eq!((seen.header("X-Forwarded-Port"), seen.header("X-Real-IP")), (None, None));
        }
    });
}

#[test]
fn a_trusted_proxy_is_continued() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        for trusted in ["private", "10.0.0.0/8 127.0.0.1", "::ffff:127.0.0.0/104"] {
            let host = host(kind, &a, &[&format!("TrustedProxies {trusted}"), "ForwardedHeaders both"]);
            let mut client = host.client();
            client.ask("GET", "/app", CLAIMS, b"").expect(200);
            let (seen, own) = (a.last_seen(), client.host());
            assert_eq!(seen.header("X-Forwarded-For"), Some("6.6.6.6, 7.7.7.7, 8.8.8.8, 127.0.0.1"));
            assert_eq!(seen.header("X-Forwarded-Proto"), Some("https"));
            assert_eq!(seen.header("X-Forwarded-Host"), Some("p.example"));
            assert_eq!(seen.header("X-Forwarded-Port"), Some("444"));
            assert_eq!(seen.header("X-Real-IP"), Some("6.6.6.6"));
            let ours = format!("for=6.6.6.6, for=127.0.0.1;host=\"{own}\";proto=http");
            assert_eq!(seen.header("Forwarded"), Some(&*ours));
            // What is missing is added.
            client.get("/app").expect(200);
            let seen = a.last_seen();
            assert_eq!(seen.header("X-Forwarded-For"), Some("127.0.0.1"));
            assert_eq!(seen.header("X-Forwarded-Proto"), Some("http"));
            assert_eq!(seen.header("X-Forwarded-Host"), Some(client.host()));
        }
    });
}

#[test]
fn lines_of_trusted_proxies_add_up_and_an_open_quote_swallows_nothing() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let lines = ["TrustedProxies ::1", "TrustedProxies 127.0.0.0/8", "ForwardedHeaders rfc7239"];
        let host = host(kind, &a, &lines);
        let mut client = host.client();
        client.ask("GET", "/app", "Forwarded: for=\"6.6.6.6\r\n", b"").expect(200);
        let own = format!("for=127.0.0.1;host=\"{}\";proto=http", client.host());
        assert_eq!(a.last_seen().header("Forwarded"), Some(&*own));
        client.ask("GET", "/app", "Forwarded: for=\"[::6]\"\r\n", b"").expect(200);
        assert_eq!(a.last_seen().header("Forwarded"), Some(&*format!("for=\"[::6]\", {own}")));
    });
}

#[test]
fn forwarding_fields_can_be_chosen() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        for (mode, customary, standard) in
            [("on", true, false), ("off", false, false), ("rfc7239", false, true), ("both", true, true)]
        {
            let host = host(kind, &a, &[&format!("ForwardedHeaders {mode}")]);
            host.client().ask("GET", "/app", CLAIMS, b"").expect(200);
            let seen = a.last_seen();
            for name in ["X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host"] {
                assert_eq!(seen.header(name).is_some(), customary, "{mode}: {}", seen.head);
            }
            assert_eq!(seen.header("Forwarded").is_some(), standard, "{mode}: {}", seen.head);
            assert!(!seen.head.contains("6.6.6.6"), "{mode}: {}", seen.head);
        }
    });
}

// --- Via -----------------------------------------------------------------------------------

#[test]
fn via_names_the_installation_or_whatever_is_configured() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let via = |line: &str| {
            let host = host(kind, &a, &[line]);
            host.client().ask("GET", "/app", "Via: 1.0 before (x)\r\n", b"").expect(200);
            a.last_seen().header("Via").map(str::to_owned)
        };
        let (first, second) = (via("Via on").unwrap(), via("Via on").unwrap());
        for via in [&first, &second] {
            let code = via.strip_prefix("1.0 before (x), 1.1 monkey-").unwrap();
            assert!(code.len() == 8 && code.bytes().all(|b| b.is_ascii_hexdigit()), "{via}");
        }
        assert_ne!(first, second, "two folders are two installations");
        assert_eq!(via("Via proxy-1").as_deref(), Some("1.0 before (x), 1.1 proxy-1"));
        assert_eq!(via("Via off").as_deref(), Some("1.0 before (x)"));
    });
}

/// A server that passes everything on to `to`, as if the entry pointed at its own host.
fn points_at(to: &Arc<Mutex<Option<SocketAddr>>>) -> vice::Vice {
    let to = Arc::clone(to);
    vice::answering(move |conn, seen| {
        let to = to.lock().unwrap().unwrap();
        let mut client = Client::connect(to);
        client.send(&seen.head);
        let response = client.read(&seen.method);
        let (status, body) = (response.status, response.body);
        let mut bytes =
            conn.head_with(&format!("{status} x"), &format!("Content-Length: {}\r\n", body.len()));
        bytes.extend_from_slice(&body);
        conn.send(&bytes)?;
        Ok(Next::Again)
    })
}

#[test]
fn a_request_that_goes_in_circles_is_stopped() {
    for_each_host(|kind| {
        let to = Arc::new(Mutex::new(None));
        let itself = Backend::start("itself", points_at(&to));
        let host = host(kind, &itself, &[]);
        *to.lock().unwrap() = Some(host.addr());
        let response = host.client().get("/app").expect(508);
        assert!(response.text().starts_with("508 Loop Detected: "), "{response:?}");
        assert_eq!(itself.requests(), 1, "it was asked once, and the second round was stopped");
    });
}

#[test]
fn our_own_name_in_via_is_a_circle_and_no_other() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let conf =
            Conf::new().route("^/app", &[&a]).with("Via proxy-1").route("^/off", &[&a]).with("Via off");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        let before = a.requests();
        for via in [
            "Via: 1.1 proxy-1\r\n",
            "Via: 1.0 x, HTTP/1.1 PROXY-1 (nothing)\r\n",
            "Via: 1.1 x (a, b)\r\nvia: 1.1 y,1.1 Proxy-1\r\n",
            "Via: 1.1 x (open\r\nVia: 1.1 proxy-1\r\n",
        ] {
            // On one connection: it goes on behind a request without a body.
            client.ask("GET", "/app", via, b"").expect(508);
        }
        assert_eq!(a.requests(), before);
        for via in ["Via: 1.1 proxy-11\r\n", "Via: 1.1 x (proxy-1)\r\n", "Via: 1.1 proxy\r\n"] {
            client.ask("GET", "/app", via, b"").expect(200);
        }
        client.ask("GET", "/off", "Via: 1.1 proxy-1\r\n", b"").expect(200);
        assert_eq!(host.client().ask("POST", "/app", "Via: 1.1 proxy-1\r\n", b"body").status, 508);
    });
}

// --- MaxResponseHeader ---------------------------------------------------------------------

#[test]
fn long_heads_of_answers_are_a_matter_of_configuration() {
    let small = Backend::start("small", vice::huge_head(2000));
    let large = Backend::start("large", vice::huge_head(200_000));
    for_each_host(|kind| {
        let conf = Conf::new().default_key("AttemptsCount 0");
        let conf = conf.route("^/small/1", &[&small]).with("MaxResponseHeader 1K");
        let conf = conf.route("^/small/2", &[&small]).with("MaxResponseHeader 3K").with("BufferSize 1K");
        let conf = conf.route("^/large/16", &[&large]);
        let conf = conf.route("^/large/256", &[&large]).with("MaxResponseHeader 256K");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        for (path, status) in [("/small/1", 502), ("/small/2", 200), ("/large/16", 502), ("/large/256", 200)]
        {
            let response = client.get(path).expect(status);
            assert!(status != 200 || response.text() == "ok", "{path}: {response:?}");
        }
    });
}

#[test]
fn keys_of_upgrades_are_read() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let host = host(kind, &a, &["Upgrade off", "TunnelTimeOut 5m"]);
        host.client().get("/app").expect(200);
    });
}

// --- Prefixes ------------------------------------------------------------------------------

#[test]
fn prefixes_are_taken_off_and_put_in_front() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let conf = Conf::new().default_key("StripPrefix /app").route("^/app/v2", &[&a]).with("StripPrefix /");
        let conf = conf.with("AddPrefix /add").route("^/app", &[&a]).with("AddPrefix /v2");
        let conf = conf.route("^/strip", &[&a]).with("StripPrefix /strip");
        let host = Host::start(kind, conf);
        let mut client = host.client();
        for (target, sent) in [
            ("/app/x%20y?/app=%2F", "/v2/x%20y?/app=%2F"),
            ("/app", "/v2/"),
            ("/app?x", "/v2/?x"),
            ("/apple/x", "/v2/apple/x"),
            ("/%61pp/x", "/v2/x"),
            ("/APP/x", "/v2/x"),
            ("//app//x", "/v2/x"),
            ("/strip/x/y/", "/x/y/"),
            ("/strip", "/"),
            ("/strip?/x", "/?/x"),
            ("/strip//evil.example/", "/evil.example/"),
            ("/app/v2/x", "/add/app/v2/x"),
        ] {
            // Handlers of Monkey 1.8 know one spelling alone: it answers the others itself.
            if kind.is_modern() && (target.starts_with("//") || target.starts_with("/APP")) {
                continue;
            }
            client.get(target).expect(200);
            assert_eq!(a.last_seen().target, sent, "{target}");
        }
    });
}

// --- Answers -------------------------------------------------------------------------------

#[test]
fn references_to_the_server_lead_back_to_the_proxy() {
    let a = Backend::start("a", gives());
    let back = a.address();
    for_each_host(|kind| {
        let host = host(kind, &a, &[]);
        let mut client = host.client();
        let own = client.host().to_owned();
        for (value, expected) in [
            (format!("http://{back}/x?y#z"), format!("http://{own}/x?y#z")),
            (format!("//{back}/x"), format!("//{own}/x")),
            (format!("http://{own}/x"), format!("http://{own}/x")),
            (format!("https://{own}/x"), format!("https://{own}/x")),
            ("http://other.example/x".into(), "http://other.example/x".into()),
            (format!("http://{back}@other.example/"), format!("http://{back}@other.example/")),
            ("/x".into(), "/x".into()),
            ("x".into(), "x".into()),
        ] {
            assert_eq!(given(&mut client, "Location", &value), expected);
            assert_eq!(given(&mut client, "Content-Location", &value), expected);
            assert_eq!(
                given(&mut client, "Refresh", &format!("1; url={value}")),
                format!("1; url={expected}")
            );
            assert_eq!(given(&mut client, "Link", &value), value);
        }
    });
}

#[test]
fn references_stay_when_that_is_wanted() {
    let a = Backend::start("a", gives());
    for_each_host(|kind| {
        let host = host(kind, &a, &["RewriteLocation off", "StripPrefix /app"]);
        let mut client = host.client();
        for value in [format!("http://{}/x", a.address()), "/x".to_owned()] {
            assert_eq!(given(&mut client, "Location", &value), value);
        }
    });
}

#[test]
fn references_follow_host_header_and_prefixes() {
    let a = Backend::start("a", gives());
    let back = a.address();
    for_each_host(|kind| {
        let lines = ["StripPrefix /app", "AddPrefix /v2", "HostHeader internal.example"];
        let host = host(kind, &a, &lines);
        let mut client = host.client();
        let own = client.host().to_owned();
        for (value, expected) in [
            ("/v2/x", "/app/x".to_owned()),
            ("/other", "/other".to_owned()),
            ("http://internal.example/v2/x", format!("http://{own}/app/x")),
            (&format!("http://{back}/v2"), format!("http://{own}/app/")),
            (&format!("http://{own}/v2/x"), format!("http://{own}/app/x")),
            ("http://other.example/v2/x", "http://other.example/v2/x".to_owned()),
        ] {
            assert_eq!(given(&mut client, "Location", value), expected);
        }
        drop(host);
        let server = self::host(kind, &a, &["HostHeader server"]);
        let mut client = server.client();
        let expected = format!("http://{}/x", client.host());
        assert_eq!(given(&mut client, "Location", &format!("http://{back}/x")), expected);
    });
}

#[test]
fn a_trusted_proxy_says_how_clients_reach_us() {
    let a = Backend::start("a", gives());
    let back = a.address();
    for_each_host(|kind| {
        for (trusted, expected) in [("private", Some("https://p.example/x")), ("none", None)] {
            let host = host(kind, &a, &[&format!("TrustedProxies {trusted}")]);
            let mut client = host.client();
            let fields = format!(
                "X-Forwarded-Proto: https\r\nX-Forwarded-Host: p.example\r\nX-Give-Location: http://{back}/x\r\n"
            );
            let response = client.ask("GET", "/app", &fields, b"").expect(302);
            let own = format!("http://{}/x", client.host());
            assert_eq!(response.header("Location"), Some(expected.unwrap_or(&own)));
        }
    });
}

#[test]
fn cookies_come_back_to_the_proxy() {
    let a = Backend::start("a", gives());
    for_each_host(|kind| {
        let lines = [
            "CookieDomain internal.example public.example",
            "CookieDomain old.example new.example",
            "CookiePath /v2 /app",
            "CookiePath / /root",
        ];
        let host = host(kind, &a, &lines);
        let mut client = host.client();
        for (value, expected) in [
            (
                "a=\"x; y\"; Domain=.Internal.example;Path=/v2/x; HttpOnly",
                "a=\"x; y\"; Domain=.public.example;Path=/app/x; HttpOnly",
            ),
            (
                "b=1; PATH=/; domain=old.example; SameSite=Lax",
                "b=1; PATH=/root; domain=new.example; SameSite=Lax",
            ),
            ("c=1; Path=/v20; Domain=other.example", "c=1; Path=/root/v20; Domain=other.example"),
            ("d=/v2", "d=/v2"),
        ] {
            assert_eq!(given(&mut client, "Set-Cookie", value), expected);
        }
    });
}

// --- Fields --------------------------------------------------------------------------------

#[test]
fn fields_are_set_and_removed_on_both_sides() {
    let a = Backend::start("a", gives());
    for_each_host(|kind| {
        let lines = [
            "SetRequestHeader X-Site ${scheme}://${host}/ for ${client_ip}",
            "SetRequestHeader X-Forwarded-For 192.0.2.7",
            "RemoveRequestHeader X-Secret Cookie",
            "RemoveRequestHeader X-Forwarded-Proto",
            "SetResponseHeader X-Frame-Options DENY",
            "SetResponseHeader X-Via ${host} ${client_ip}",
            "RemoveResponseHeader X-Powered-By",
        ];
        let host = host(kind, &a, &lines);
        let mut client = host.client();
        let fields = "x-site: lie\r\nX-Site: lie\r\nX-SECRET: s\r\nCookie: c\r\nX-Kept: k\r\n\
                      X-Give-X-Frame-Options: ALLOW\r\nX-Give-X-Powered-By: p\r\nX-Give-X-Kept: k\r\n";
        let response = client.ask("GET", "/app", fields, b"").expect(302);
        let (seen, own) = (a.last_seen(), client.host());
        assert_eq!(seen.header("X-Site"), Some(&*format!("http://{own}/ for 127.0.0.1")));
        assert_eq!(seen.header("X-Forwarded-For"), Some("192.0.2.7"));
        assert_eq!(seen.header("X-Forwarded-Host"), Some(own));
        assert_eq!(seen.header("X-Kept"), Some("k"));
        for name in ["X-Secret", "Cookie", "X-Forwarded-Proto"] {
            assert_eq!(seen.header(name), None);
        }
        assert_eq!(response.header("X-Frame-Options"), Some("DENY"));
        assert_eq!(response.header("X-Via"), Some(&*format!("{own} 127.0.0.1")));
        assert_eq!(response.header("X-Powered-By"), None);
        assert_eq!((response.header("X-Kept"), response.header("Content-Length")), (Some("k"), Some("0")));
    });
}

#[test]
fn an_entry_replaces_inherited_fields_as_a_whole() {
    let a = Backend::start("a", vice::echo());
    for_each_host(|kind| {
        let conf = Conf::new()
            .default_key("SetRequestHeader X-A default")
            .default_key("SetRequestHeader X-B default");
        let conf = conf.route("^/own", &[&a]).with("SetRequestHeader X-A own").route("^/app", &[&a]);
        let host = Host::start(kind, conf);
        for (path, a_value, b_value) in [("/own", "own", None), ("/app", "default", Some("default"))] {
            host.client().get(path).expect(200);
            let seen = a.last_seen();
            assert_eq!((seen.header("X-A"), seen.header("X-B")), (Some(a_value), b_value), "{path}");
        }
    });
}

#[test]
fn a_removed_field_does_not_pass_as_a_trailer() {
    let trailers = "5\r\nhello\r\n0\r\nX-Powered-By: p\r\nX-Sum: 1\r\n\r\n";
    let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let at_once = Backend::start("a", vice::raw(format!("{head}{trailers}"), Next::Close));
    let pieces = vec![head.into(), trailers[..20].into(), trailers[20..].into()];
    let later = Backend::start("b", vice::pieces(pieces, Duration::from_millis(20), Next::Close));
    for_each_host(|kind| {
        for backend in [&at_once, &later] {
            let host = host(kind, backend, &["RemoveResponseHeader X-Powered-By"]);
            let mut client = host.client();
            client.send("GET /app HTTP/1.1\r\nHost: h\r\nConnection: TE, close\r\nTE: trailers\r\n\r\n");
            let (answer, _) = client.read_all(Duration::from_secs(5));
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(answer.ends_with("0\r\nX-Sum: 1\r\n\r\n"), "{answer}");
            assert!(!answer.contains("X-Powered-By"), "{answer}");
        }
    });
}
