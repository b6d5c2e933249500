//! Routes that rewrite heads: whatever a route asks for, a request stays one request and a
//! response one response, prefixes keep a client inside, and references lead nowhere else.

use std::sync::LazyLock;

use monkey_proxy_reverse::http::cookie::CookieRules;
use monkey_proxy_reverse::http::forward::{self, Answering, Forwarding, Framing, RequestEnd};
use monkey_proxy_reverse::http::path::{decoded_path, normalised};
use monkey_proxy_reverse::http::prefix::{Prefix, Prefixes};
use monkey_proxy_reverse::http::request::{self, Request};
use monkey_proxy_reverse::http::response::Response;
use monkey_proxy_reverse::http::rewrite::Rewriting;
use monkey_proxy_reverse::http::rules::{
    FieldRules, ForwardedFields, HostPolicy, Piece, Rules, SetField, Variables,
};
use monkey_proxy_reverse::http::{MAX_FIELDS, Version};

use super::naive::{Head, elements, is, is_one_of, shown, takes_away, trim};

/// What goes out along routes that rewrite.
pub fn check_request(head: &[u8], request: &Request<'_, '_>, sent: &Head<'_>) {
    for rules in ROUTES.iter() {
        let says = Forwarding {
            client: CLIENT,
            source: &SOURCE,
            secure: false,
            authority: AUTHORITY,
            rules,
            request_id: None,
        };
        let mut out = Vec::new();
        let host_at = forward::request_head(&mut out, request, &says);
        let host = out.get(host_at).map(shown);
        let framing = request.content_length.map_or(Framing::None, Framing::Length);
        let end = RequestEnd { framing, keep_alive: true, upgrade: None, takes_trailers: false };
        forward::request_end(&mut out, &end);
        let told = Head::read(&out);

        if told.fields.len() <= MAX_FIELDS {
            let mut room = request::storage();
            let again = request::parse(&out, &mut room).unwrap_or_else(|e| panic!("{e}: {}", shown(&out)));
            assert_eq!((again.method, again.version), (request.method, Version::Http11));
            assert_eq!((again.content_length, again.chunked), (request.content_length, false));
            assert_eq!(forward::is_loop(&again, rules), rules.via.is_some());
        }
        let expected = match &rules.host {
            HostPolicy::Client => request.host.unwrap_or(AUTHORITY),
            HostPolicy::Backend => AUTHORITY,
            HostPolicy::Literal(host) => host,
        };
        assert_eq!((told.all("host"), host), (vec![expected.as_bytes()], Some(shown(expected.as_bytes()))));
        fields_are_as_asked(&told, sent, rules, request.max_forwards.is_some());
        forwarding_is_ours(&told, sent, rules);
        path_is_below_the_prefix(head, &out, rules);
    }
}

/// `counts` tells that `Max-Forwards` is counted down.
fn fields_are_as_asked(told: &Head<'_>, sent: &Head<'_>, rules: &Rules, counts: bool) {
    let hyphened = |name: &[u8]| name.iter().map(|&b| if b == b'_' { b'-' } else { b }).collect::<Vec<_>>();
    let is_special = |name: &[u8]| {
        let name = hyphened(name);
        name.len() > 12 && is(&name[..12], "x-forwarded-") || is_one_of(&name, OURS) || is_one_of(&name, HOP)
    };
    let is_set = |name: &[u8]| rules.request.set.iter().any(|field| is(name, &field.name));
    let is_removed = |name: &[u8]| rules.request.removed.iter().any(|removed| is(name, removed));
    let nominated = sent.nominated();
    for (name, _) in &told.fields {
        assert!(!is_one_of(name, HOP) && !is_removed(name), "{}", shown(name));
    }
    for field in &rules.request.set {
        let values = told.all(&field.name);
        assert_eq!(values.len(), 1, "{}", field.name);
        assert!(
            values[0].starts_with(b"http") && values[0].ends_with(CLIENT.as_bytes()),
            "{}",
            shown(values[0])
        );
    }
    let of_clients = |head: &Head<'_>| {
        let counted = |name: &[u8]| counts && is(name, "max-forwards");
        let own = |name: &[u8]| !is_special(name) && !is_set(name) && !is_removed(name) && !counted(name);
        let fields = head.fields.iter().filter(|(name, _)| own(name) && !takes_away(&nominated, name));
        fields.map(|(name, value)| (shown(name), shown(value))).collect::<Vec<_>>()
    };
    assert_eq!(of_clients(told), of_clients(sent), "the client's own fields");
}

/// The last word on the client is ours, and a stranger has none.
fn forwarding_is_ours(told: &Head<'_>, sent: &Head<'_>, rules: &Rules) {
    let trusted = rules.trusts(&SOURCE);
    if rules.forwarded.customary() {
        let all = told.all("x-forwarded-for");
        assert_eq!(all.len(), 1);
        let former = sent.all("x-forwarded-for");
        let mut expected: Vec<_> = former.into_iter().filter(|_| trusted).flat_map(elements).collect();
        expected.push(CLIENT.as_bytes());
        assert_eq!(elements(all[0]).collect::<Vec<_>>(), expected);
        assert!(trusted || told.all("x-forwarded-proto") == [b"http"]);
    } else if !trusted {
        assert!(told.all("x-forwarded-for").is_empty());
    }
    if rules.forwarded.standard() {
        let all = told.all("forwarded");
        assert_eq!(all.len(), 1);
        let ours = naive_elements(all[0]).pop().unwrap_or_default();
        let begins = ours.starts_with(b"for=10.0.0.9");
        assert!(begins && ours.ends_with(b";proto=http"), "{} in {}", shown(&ours), shown(all[0]));
        assert!(trusted || ours == trim(all[0]));
    } else if !trusted {
        assert!(told.all("forwarded").is_empty());
    }
    if !trusted {
        assert!(told.all("x-real-ip").is_empty() && told.all("x-forwarded-port").is_empty());
    }
}

/// The elements of a list whose commas may stand in quotes (RFC 7239).
fn naive_elements(list: &[u8]) -> Vec<Vec<u8>> {
    let (mut all, mut one, mut quoted, mut escaped) = (Vec::new(), Vec::new(), false, false);
    for &byte in list {
        if byte == b',' && !quoted {
            all.push(trim(&one).to_vec());
            one.clear();
            continue;
        }
        quoted ^= byte == b'"' && !escaped;
        escaped = quoted && byte == b'\\' && !escaped;
        one.push(byte);
    }
    assert!(!quoted, "a quote is left open in {}", shown(list));
    all.push(trim(&one).to_vec());
    all
}

/// What is asked for is what the client asked for, without the one prefix and behind the other.
fn path_is_below_the_prefix(head: &[u8], out: &[u8], rules: &Rules) {
    let (strip, add) =
        PREFIXES[usize::from(rules.prefixes.strip.is_some())][usize::from(rules.prefixes.add.is_some())];
    let (before, after) = (decoded_path(head), decoded_path(out));
    let (before, after) = (normalised(&before), normalised(&after));
    let rest = match before.get(..strip.len()) {
        Some(begin) if begin.eq_ignore_ascii_case(strip.as_bytes()) => {
            Some(&before[strip.len()..]).filter(|rest| rest.is_empty() || rest[0] == b'/')
        }
        _ => None,
    };
    let expected = [add.as_bytes(), rest.unwrap_or(&before)].concat();
    let bare = |path: &[u8]| shown(path.strip_suffix(b"/").unwrap_or(path));
    assert_eq!(bare(&after), bare(&expected), "from {}", shown(&before));
}

/// What is told along a route that rewrites.
pub fn check_response(response: &Response<'_, '_>, sent: &Head<'_>, says: &Answering<'_>) -> Vec<u8> {
    let client = Variables { source: &SOURCE, host: Some(GATE.as_bytes()), secure: true, request_id: "" };
    let rewriting = Rewriting { rules: &ROUTES[0], client, sent_host: b"sent.example", backend: AUTHORITY };
    let mut out = Vec::new();
    forward::response_head(&mut out, response, says, Some(&rewriting));
    let told = Head::read(&out);
    assert_eq!(told.all("x-powered-by"), [b"https gate.example:81"]);
    assert!(told.all("server").is_empty());

    let ours =
        ["connection", "content-length", "transfer-encoding", "date", "x-powered-by", "server", "trailer"];
    let nominated = sent.nominated();
    let of_backend = |head: &Head<'_>| {
        let fields =
            head.fields.iter().filter(|(name, _)| !is_one_of(name, &ours) && !is_one_of(name, ANSWER_HOP));
        let fields = fields.filter(|(name, _)| !takes_away(&nominated, name));
        fields.map(|(name, value)| (name.to_vec(), value.to_vec())).collect::<Vec<_>>()
    };
    let (before, after) = (of_backend(sent), of_backend(&told));
    assert_eq!(before.len(), after.len());
    for ((name, before), (same_name, after)) in before.iter().zip(&after) {
        assert_eq!(shown(name), shown(same_name));
        match name.to_ascii_lowercase().as_slice() {
            b"location" | b"content-location" => leads_nowhere_else(before, after),
            b"set-cookie" => is_the_same_cookie(before, after),
            b"refresh" => {}
            _ => assert_eq!(shown(before), shown(after)),
        }
    }
    out
}

/// A path stays a path on the same server; a URL is the backend's own, and then that of the gate.
fn leads_nowhere_else(before: &[u8], after: &[u8]) {
    if before == after {
        return;
    }
    let is_path = |text: &[u8]| text.starts_with(b"/") && !matches!(text.get(1), Some(b'/' | b'\\'));
    if is_path(before) {
        assert!(is_path(after), "{} became {}", shown(before), shown(after));
        return;
    }
    let authority = |text: &[u8]| {
        let at = text.windows(2).position(|w| w == b"//").expect("a URL") + 2;
        let rest = &text[at..];
        let end = rest.iter().position(|b| b"/?#\\".contains(b)).unwrap_or(rest.len());
        shown(&rest[..end]).to_ascii_lowercase()
    };
    assert!(is_one_of(authority(after).as_bytes(), &[GATE, "gate.example:081"]), "{}", shown(after));
    let known =
        ["backend:8080", "sent.example", "gate.example"].map(|name| authority(before).starts_with(name));
    assert!(known.contains(&true), "{} became {}", shown(before), shown(after));
}

/// But for the values of Domain and Path, each byte of a cookie is kept.
fn is_the_same_cookie(before: &[u8], after: &[u8]) {
    let (before, after): (Vec<_>, Vec<_>) =
        (before.split(|&b| b == b';').collect(), after.split(|&b| b == b';').collect());
    assert_eq!(before.len(), after.len());
    for (index, (before, after)) in before.iter().zip(&after).enumerate() {
        if before != after {
            let name = |part: &[u8]| trim(part.split(|&b| b == b'=').next().unwrap_or_default()).to_vec();
            assert!(index > 0 && is_one_of(&name(before), &["domain", "path"]), "{}", shown(before));
            assert_eq!(name(before), name(after));
        }
    }
}

const CLIENT: &str = "10.0.0.9";
const SOURCE: [u8; 4] = [10, 0, 0, 9];
const AUTHORITY: &str = "backend:8080";
const GATE: &str = "gate.example:81";

/// What is taken off and put in front, by whether a route does either.
const PREFIXES: [[(&str, &str); 2]; 2] = [[("\n", ""), ("\n", "/b/c")], [("/a", ""), ("/a", "/b/c")]];

static ROUTES: LazyLock<[Rules; 5]> = LazyLock::new(|| {
    let trusted = || vec!["10.0.0.0/8".parse().expect("a network")];
    let prefixes = |strip, add| Prefixes {
        strip: if strip { Prefix::new("/a") } else { None },
        add: if add { Prefix::new("/b/c") } else { None },
    };
    let text = |text: &str| Piece::Text(text.into());
    let set = |name: &str, value: Vec<Piece>| vec![SetField { name: name.into(), value }];
    let mut cookies = CookieRules::default();
    cookies.rename_domain("internal.example", "public.example");
    cookies.move_path("/v2", "/app");
    cookies.move_path("/", "/below");
    let all = Rules {
        host: HostPolicy::Literal("literal.example:82".into()),
        trusted: trusted(),
        forwarded: ForwardedFields::Both,
        via: Some("gate".into()),
        prefixes: prefixes(true, true),
        location: true,
        cookies,
        request: FieldRules {
            removed: vec!["Accept".into(), "X_Under".into()],
            set: set("X-Set", vec![Piece::Scheme, text("://"), Piece::Host, text(" "), Piece::ClientIp]),
        },
        response: FieldRules {
            removed: vec!["Server".into()],
            set: set("X-Powered-By", vec![Piece::Scheme, text(" "), Piece::Host]),
        },
    };
    let customary = Rules {
        host: HostPolicy::Backend,
        trusted: trusted(),
        prefixes: prefixes(true, false),
        ..Rules::default()
    };
    let standard = Rules {
        forwarded: ForwardedFields::Standard,
        via: Some("gate".into()),
        prefixes: prefixes(false, true),
        ..Rules::default()
    };
    let silent =
        Rules { forwarded: ForwardedFields::Off, prefixes: prefixes(true, true), ..Rules::default() };
    let silent_to_friends = Rules { trusted: trusted(), ..silent.clone() };
    [all, customary, standard, silent, silent_to_friends]
});

/// What we say ourselves, or keep of those that we trust.
const OURS: &[&str] = &[
    "host",
    "via",
    "content-length",
    "transfer-encoding",
    "connection",
    "te",
    "upgrade",
    "forwarded",
    "x-real-ip",
];

const HOP: &[&str] = &[
    "keep-alive",
    "proxy-connection",
    "trailer",
    "proxy-authenticate",
    "proxy-authorization",
    "expect",
    "proxy",
];

const ANSWER_HOP: &[&str] = &["keep-alive", "proxy-connection", "te", "upgrade", "proxy-authorization"];
