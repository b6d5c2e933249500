//! The exact message for each mistake.

use super::*;

// --- Messages: files and lines ---------------------------------------------------------

#[test]
fn nothing_in_the_file() {
    for text in ["", "\n \r\n", "\u{feff}"] {
        assert_eq!(
            messages(text),
            ["p.conf: the file is empty; write at least one [PROXY_ENTRY] with Match and ServerList"]
        );
    }
    for text in ["# x\n", "[PROXY_DEFAULTS]\n ServerList a\n"] {
        assert_eq!(
            messages(text),
            ["p.conf: there is no [PROXY_ENTRY]; write at least one with Match and ServerList"]
        );
    }
}

#[test]
fn bytes_that_are_no_text() {
    let text = b"[PROXY_ENTRY]\n Match \xff\n\xc3\xa4\0\n ServerList a\n";
    let errors = from_text(Path::new("p.conf"), text, &|_| None).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "p.conf:2:8: byte 0xff is not UTF-8; save the file as UTF-8 text\n\
         p.conf:3:2: NUL byte; save the file as UTF-8 text"
    );
}

#[test]
fn sections() {
    assert_eq!(
        messages_for("[PROXY_ENTRIES]\n Foo 1\n[MAIN]\n[PROXY_DEFAULTS\n Bar"),
        [
            "p.conf:4:1: unknown section [PROXY_ENTRIES]; did you mean [PROXY_ENTRY]?",
            "p.conf:6:1: unknown section [MAIN]; the sections are [PROXY_DEFAULTS] and [PROXY_ENTRY]",
            "p.conf:7:1: section line without ']'; write [PROXY_DEFAULTS] or [PROXY_ENTRY]",
        ]
    );
    assert_eq!(
        messages_for("[PROXY_DEFAULTS]\n KeepAlive on\n[proxy_defaults]\n KeepAlive yes"),
        [
            "p.conf:6:1: [PROXY_DEFAULTS] stands already at line 4; keep one and move the keys there",
            "p.conf:7:12: 'yes' is no value for KeepAlive; did you mean 'on'? Write on or off",
        ]
    );
    assert_eq!(
        warnings("[PROXY_ENTRY] x\n Match x\n ServerList a"),
        ["p.conf:1:15: text after ']' is ignored; put it on a line of its own"]
    );
}

#[test]
fn keys_in_the_wrong_place_or_unknown() {
    assert_eq!(
        messages(" Match x\n[PROXY_ENTRY]\n Match x\n ServerList a"),
        [
            "p.conf:1:2: key 'Match' stands before any section; write [PROXY_DEFAULTS] or [PROXY_ENTRY] above it"
        ]
    );
    assert_eq!(
        messages_for("  OflineTimeout 3"),
        ["p.conf:4:3: unknown key 'OflineTimeout'; did you mean 'OfflineTimeOut'?"]
    );
    assert_eq!(
        messages_for("Colour blue"),
        ["p.conf:4:1: unknown key 'Colour'; none is called anything like it, 'mkproxy keys' lists them all"]
    );
    // The missing Match isn't held against an entry that misspells it.
    assert_eq!(
        messages("[PROXY_ENTRY]\n Macth x\n ServerList a"),
        ["p.conf:2:2: unknown key 'Macth'; did you mean 'Match'?"]
    );
}

#[test]
fn keys_twice_or_without_value() {
    assert_eq!(
        messages_for(" LoadBalance naive\n LoadBalancer naive"),
        ["p.conf:5:2: key 'LoadBalancer' stands already at line 4; keep one of the two lines"]
    );
    for line in [" PoolSize", " PoolSize  ", " PoolSize ${EMPTY}", " PoolSize ${X:-}"] {
        assert_eq!(
            messages_for(line),
            ["p.conf:4:2: key 'PoolSize' has no value; write one, as in 'PoolSize 32'"]
        );
    }
    for (line, sign) in [(" PoolSize=3", '='), (" PoolSize = 3", '='), (" PoolSize: 3", ':')] {
        assert_eq!(
            messages_for(line),
            [format!(
                "p.conf:4:2: '{sign}' follows the key 'PoolSize'; a blank alone separates key and value"
            )]
        );
    }
}

#[test]
fn an_entry_without_its_essentials() {
    assert_eq!(
        messages("[PROXY_ENTRY]\n KeepAlive on"),
        [
            r"p.conf:1:1: [PROXY_ENTRY] has no Match, nothing would reach it; write one, as in 'Match \.php$'",
            "p.conf:1:1: [PROXY_ENTRY] has no servers; write ServerList here or in [PROXY_DEFAULTS], as in 'ServerList 127.0.0.1:8081'",
        ]
    );
}

#[test]
fn comments_behind_values() {
    assert_eq!(
        warnings("[PROXY_ENTRY]\n Match a#b #c\n ServerList a"),
        ["p.conf:2:12: '#' inside a value does not begin a comment; put the comment on a line of its own"]
    );
    assert_eq!(
        messages_for(" PoolSize 3 # three"),
        [
            "p.conf:4:11: '3 # three' is no value for PoolSize; write auto, or a whole number from 0 to 65535",
            "p.conf:4:13: '#' inside a value does not begin a comment; put the comment on a line of its own",
        ]
    );
}

#[test]
fn variables() {
    assert_eq!(
        messages_for(" PoolSize ${NOT}\n Match ${1} ${a"),
        [
            "p.conf:4:11: environment variable 'NOT' is not set; set it, or write ${NOT:-default}",
            "p.conf:5:8: '${1}' is not a variable; write ${NAME} or ${NAME:-default}",
            "p.conf:5:13: '${a' is not a variable; write ${NAME} or ${NAME:-default}",
        ]
    );
}

// --- Messages: values ------------------------------------------------------------------

#[test]
fn bad_values() {
    for (line, message) in [
        ("PoolSize -1", "'-1' is no value for PoolSize; write auto, or a whole number from 0 to 65535"),
        ("RetryCount 101", "'101' is no value for RetryCount; write a whole number from 0 to 100"),
        (
            "ReadTimeOut 1d",
            "'1d' is no value for ReadTimeOut; did you mean '24h'? Write seconds from 0 to 604800, or as in 250ms, 5s, 2m, 1h",
        ),
        (
            "BufferSize 512",
            "'512' is no value for BufferSize; write bytes from 1024 to 1048576, or as in 16K, 1M",
        ),
        ("KeepAlive true", "'true' is no value for KeepAlive; did you mean 'on'? Write on or off"),
        (
            "StatisticsURL stats",
            "'stats' is no value for StatisticsURL; write a path that begins with / and has no blank, ? or #, as in /proxy/statistics",
        ),
        (
            "StatisticsAllow none",
            "'none' is no value for StatisticsAllow; write any, private, or addresses and networks, as in 127.0.0.0/8 2001:db8::1",
        ),
        (
            "HostHeader http://a",
            "'http://a' is no value for HostHeader; write client, server, or a host name with or without a port, as in app.example.com:8080",
        ),
        (
            "TrustedProxies 10.0.0.0/33",
            "'10.0.0.0/33' is no value for TrustedProxies; write none, private, or addresses and networks, as in 10.0.0.0/8 2001:db8::1",
        ),
        (
            "TrustedProxies none private",
            "'none' is no value for TrustedProxies; write none, private, or addresses and networks, as in 10.0.0.0/8 2001:db8::1",
        ),
        ("ForwardedHeaders yes", "'yes' is no value for ForwardedHeaders; write on, off, rfc7239 or both"),
        (
            "Via a b",
            "'a b' is no value for Via; write on, off, or a name of letters, digits and '-', as in proxy-1",
        ),
        ("Upgrade h2c", "'h2c' is no value for Upgrade; write websocket, any or off"),
        (
            "MaxResponseHeader 512K",
            "'512K' is no value for MaxResponseHeader; write bytes from 1024 to 262144, or as in 16K, 1M",
        ),
        (
            "StripPrefix app",
            "'app' is no value for StripPrefix; write a path that begins with / and has no blank, ?, #, ; or empty or dotted segment, as in /app",
        ),
        (
            "CookieDomain a",
            "'a' is no value for CookieDomain; write two host names, as in internal.example public.example",
        ),
        (
            "CookiePath /a b",
            "'/a b' is no value for CookiePath; write two paths that begin with /, as in /v2 /app",
        ),
        (
            "LoadBalancer best one",
            "unknown load balancer 'best one'; write one of Naive, First-Alive, Round-Robin, Locking-Round-Robin, Least-Connections, Source-Hash",
        ),
        ("ServerList http://a:80/", "server 'http://a:80/': a server is an address, not a URL; write 'a:80'"),
        (
            "ServerList a:65536",
            "server 'a:65536': not a port; write a number from 1 to 65535 after the colon",
        ),
        ("ServerList a:0", "server 'a:0': not a port; write a number from 1 to 65535 after the colon"),
        (
            "Match (a",
            r"pattern '(a' is not usable: unclosed group; write a regular expression without look-around and back-references, and \ before a character that stands for itself",
        ),
    ] {
        let column = line.find(' ').unwrap() + 2;
        assert_eq!(messages_for(line), [format!("p.conf:4:{column}: {message}")]);
    }
}

#[test]
fn patterns_are_checked_one_by_one() {
    let found = messages_for(r" Match ok a(?=b) [[:alpha:]] (a)\1 ä x{1000}{1000}");
    assert_eq!(found.len(), 3, "{found:#?}");
    assert!(found[0].starts_with("p.conf:4:12: pattern 'a(?=b)' is not usable: look-around"));
    assert!(found[1].starts_with(r"p.conf:4:33: pattern '(a)\1' is not usable: backreferences"));
    assert!(found[2].contains("it takes more than 1048576 bytes when compiled"));
    assert!(found.iter().all(|message| !message.contains('\n')));
}

#[test]
fn servers_are_checked_one_by_one_and_counted() {
    assert_eq!(
        messages_for(" ServerList ok a:x ok ::1"),
        [
            "p.conf:4:16: server 'a:x': not a port; write a number from 1 to 65535 after the colon",
            "p.conf:4:23: server '::1': an IPv6 address stands in brackets; write [::1] or [::1]:port",
        ]
    );
    let line = " ServerList".to_owned() + &" a".repeat(4096);
    assert_eq!(
        messages_for(&line),
        [
            "p.conf:4:8203: more than 4096 servers or 65536 shares in one entry; split them over several entries"
        ]
    );
}

#[test]
fn entries_that_come_too_late() {
    let entry = |patterns: &str| format!("[PROXY_ENTRY]\n Match {patterns}\n ServerList a\n");
    assert_eq!(
        warnings(&[entry("a b a"), entry("b a"), entry("c b")].concat()),
        [
            "p.conf:4:1: this [PROXY_ENTRY] can never match, the entry at line 1 has the same patterns and comes first; remove one of them",
            "p.conf:8:10: pattern 'b' can never match here, the entry at line 1 has it too and comes first; remove one of them",
        ]
    );
}

#[test]
fn values_in_messages_are_short_and_printable() {
    let found = messages_for(&format!(" PoolSize \u{1b}[2J{}", "x".repeat(100_000)));
    assert!(found[0].starts_with(r"p.conf:4:11: '\u{1b}[2Jxxx"), "{}", found[0]);
    assert!(found[0].len() < 250);
}

#[test]
fn messages_are_bounded() {
    let found = messages_for(&"x\n".repeat(1000));
    assert_eq!(found.len(), 201);
    assert_eq!(found[200], "p.conf: 800 further problems are not shown; correct the ones above first");
}

#[test]
fn many_warnings_hide_no_error() {
    let text = "[PROXY_ENTRY]\n ServerList a\n".to_owned() + &" Match a #\n".repeat(300);
    let config = good(&text);
    assert_eq!(config.warnings.len(), 201);
    assert!(config.warnings.iter().all(|warning| warning.is_warning()));
    let errors = read(&(text + " PoolSize x")).unwrap_err();
    assert_eq!(errors.iter().filter(|error| !error.is_warning()).count(), 1);
}
