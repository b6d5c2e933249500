//! Response heads: what is taken is told to the client with the same meaning.

use monkey_proxy_reverse::http::body::BodyLength;
use monkey_proxy_reverse::http::forward::{self, Answering};
use monkey_proxy_reverse::http::response::{self, BadResponse, Parsed, Response};
use monkey_proxy_reverse::http::{MAX_FIELDS, Version};

use super::naive::{Head, assert_same, is, is_one_of, shown, takes_away};
use super::rules;

/// The property of the target `response_head`.
pub fn check(input: &[u8]) -> bool {
    let mut taken = false;
    for to_head in [false, true] {
        let mut room = response::storage();
        match response::parse(input, &mut room, to_head) {
            Ok(Parsed::Complete { response, length }) => {
                taken = true;
                assert!(length <= input.len() && input.starts_with(b"HTTP/1."));
                comes_in_pieces_as_well(input, length, to_head);
                let sent = Head::read_carelessly(&input[..length]);
                agrees_with_what_was_sent(&response, &sent, to_head);
                match response.status {
                    100..=199 => is_told_at_once(&response, &sent),
                    _ => is_told_to_clients(&response, &sent, to_head),
                }
            }
            Ok(Parsed::Partial) => assert!(!is_refused_before_its_end(input, input.len(), to_head)),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    taken
}

/// Whoever reads the same bytes in pieces comes to the same head, and not too early.
fn comes_in_pieces_as_well(input: &[u8], length: usize, to_head: bool) {
    assert!(!is_refused_before_its_end(input, length, to_head));
    let mut room = response::storage();
    match response::parse(&input[..length], &mut room, to_head) {
        Ok(Parsed::Complete { length: alone, .. }) => assert_eq!(alone, length),
        other => panic!("complete with what follows, alone {other:?}"),
    }
}

/// Whether the first bytes alone, fewer than `length`, are something else than a beginning.
fn is_refused_before_its_end(input: &[u8], length: usize, to_head: bool) -> bool {
    let step = (length / 128).max(1);
    (0..length).step_by(step).chain(length.saturating_sub(4)..length).any(|part| {
        let mut room = response::storage();
        !matches!(response::parse(&input[..part], &mut room, to_head), Ok(Parsed::Partial))
    })
}

/// A careless reader finds the same response in the bytes as we did.
fn agrees_with_what_was_sent(response: &Response<'_, '_>, sent: &Head<'_>, to_head: bool) {
    let line = String::from_utf8_lossy(sent.first).into_owned();
    let (version, rest) = line.split_once(' ').unwrap_or_default();
    let http11 = response.version == Version::Http11;
    assert_eq!(version, if http11 { "HTTP/1.1" } else { "HTTP/1.0" });
    let (status, reason) = rest.split_once(' ').unwrap_or((rest, ""));
    assert_eq!(status.parse(), Ok(response.status), "{line:?}");
    // One that is not ASCII is left out.
    assert_eq!(response.reason, if line.is_ascii() { reason } else { "" });
    assert!((100..1000).contains(&response.status));
    assert_eq!(response.is_interim(), response.status < 200 && response.status != 101);
    assert_eq!(response.fields.len(), sent.fields.len());
    for (ours, (name, value)) in response.fields.iter().zip(&sent.fields) {
        assert_same(ours.name.as_bytes(), name);
        assert_same(ours.value, value);
    }
    // RFC 9112 6.3, in its own order.
    let lengths = sent.all("content-length");
    let chunked = !sent.all("transfer-encoding").is_empty();
    assert!(!chunked || lengths.is_empty(), "two framings were taken");
    let first = lengths.first().map(|length| number(length).expect("a length that is a number"));
    assert!(lengths.iter().all(|length| number(length) == first), "two lengths were taken");
    assert_eq!(response.content_length, first);
    let expected = if to_head || response.status < 200 || matches!(response.status, 204 | 304) {
        BodyLength::None
    } else if chunked {
        assert!(http11);
        BodyLength::Chunked
    } else {
        match first {
            Some(0) => BodyLength::None,
            Some(length) => BodyLength::Length(length),
            None => BodyLength::UntilClose,
        }
    };
    assert_eq!(response.body, expected);
    let options = sent.nominated();
    let has = |option: &[u8]| options.iter().any(|o| o == option);
    let keeps = expected != BodyLength::UntilClose && !has(b"close") && (http11 || has(b"keep-alive"));
    assert_eq!(response.keeps_alive(), keeps);
}

fn number(value: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(value).ok()?;
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

/// Every kind of client is told the same, in a framing that it understands.
fn is_told_to_clients(response: &Response<'_, '_>, sent: &Head<'_>, to_head: bool) {
    let by_close = matches!(response.body, BodyLength::UntilClose | BodyLength::Chunked);
    let chunked = response.body == BodyLength::Chunked;
    for (version, wants, trailers) in [
        (Version::Http11, true, false),
        (Version::Http11, true, chunked),
        (Version::Http11, false, false),
        (Version::Http10, true, false),
        (Version::Http10, false, false),
    ] {
        // As the engine does: HTTP/1.0 knows no other end of what has no length.
        let keep_alive = wants && !(by_close && version == Version::Http10);
        let says = Answering { version, keep_alive, date: DATE, trailers, own: forward::Own::default() };
        let mut out = Vec::new();
        forward::response_head(&mut out, response, &says, None);
        let told = Head::read(&out);
        is_the_same_response(&out, response, &says, to_head);
        has_only_what_may_go_on(&told, sent, &says);
        let rewritten = rules::check_response(response, sent, &says);
        is_the_same_response(&rewritten, response, &says, to_head);
    }
}

const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";

/// An interim response, or one that switches protocols, has no framing and is not the last.
fn is_told_at_once(response: &Response<'_, '_>, sent: &Head<'_>) {
    let protocols = sent.all("upgrade");
    for protocol in ["websocket", "x"] {
        let expected = response.status == 101 && protocols.len() == 1 && is(protocols[0], protocol);
        assert_eq!(response.switches_to(protocol), expected);
    }
    let switches = response.status == 101;
    let mut out = Vec::new();
    forward::interim_head(&mut out, response, switches, None, forward::Own::default());
    let told = Head::read(&out);
    let mut room = response::storage();
    match response::parse(&out, &mut room, false) {
        Ok(Parsed::Complete { response: again, length }) => {
            assert_eq!(length, out.len());
            assert_eq!((again.status, again.reason), (response.status, response.reason));
            assert_eq!((again.body, again.content_length), (BodyLength::None, None));
        }
        Err(BadResponse::TooLarge) if told.fields.len() > MAX_FIELDS => {}
        other => panic!("{other:?}: {}", shown(&out)),
    }
    let connection: &[&[u8]] = if switches { &[b"Upgrade"] } else { &[] };
    assert_eq!(told.all("connection"), connection);
    assert_eq!(told.all("upgrade"), if switches { protocols } else { Vec::new() });

    let nominated = sent.nominated();
    let hop =
        |name: &[u8]| is_one_of(name, HOP) || is_one_of(name, FRAMING) || is(name, "proxy-authenticate");
    let of_backend = |head: &Head<'_>| {
        let fields = head.fields.iter().filter(|(name, _)| !hop(name) && !takes_away(&nominated, name));
        fields.map(|(name, value)| (shown(name), shown(value))).collect::<Vec<_>>()
    };
    assert_eq!(of_backend(&told), of_backend(sent), "the backend's own fields");
    let ours = told.all("connection").len() + told.all("upgrade").len();
    assert_eq!(told.fields.len(), of_backend(sent).len() + ours, "{}", shown(&out));
}

/// Two parsers read back what we wrote, and its body ends where ours does.
fn is_the_same_response(out: &[u8], response: &Response<'_, '_>, says: &Answering<'_>, to_head: bool) {
    // Our own lines may be more than we would take ourselves.
    let mut fields = [httparse::EMPTY_HEADER; MAX_FIELDS + 8];
    let mut parsed = httparse::Response::new(&mut fields);
    assert_eq!(parsed.parse(out), Ok(httparse::Status::Complete(out.len())), "{}", shown(out));
    assert_eq!((parsed.code, parsed.reason), (Some(response.status), Some(response.reason)));
    assert_eq!(parsed.version, Some(1));
    let count = parsed.headers.len();

    let expected = match (response.body, says.version) {
        (BodyLength::UntilClose | BodyLength::Chunked, Version::Http11) => BodyLength::Chunked,
        (BodyLength::UntilClose | BodyLength::Chunked, Version::Http10) => BodyLength::UntilClose,
        (other, _) => other,
    };
    let mut room = response::storage();
    match response::parse(out, &mut room, to_head) {
        Ok(Parsed::Complete { response: again, length }) => {
            assert_eq!(length, out.len());
            assert_eq!((again.status, again.reason), (response.status, response.reason));
            assert_eq!(again.body, expected, "the body in {}", shown(out));
            let announced = if response.status == 204 { None } else { response.content_length };
            assert_eq!(again.content_length, announced);
            assert_eq!(again.keeps_alive(), says.keep_alive && expected != BodyLength::UntilClose);
        }
        Err(BadResponse::TooLarge) if count > MAX_FIELDS => {}
        other => panic!("{other:?}: {}", shown(out)),
    }
}

/// Each line is ours, or the backend's own and for the client.
fn has_only_what_may_go_on(told: &Head<'_>, sent: &Head<'_>, says: &Answering<'_>) {
    assert!(told.all("content-length").len() + told.all("transfer-encoding").len() <= 1, "two framings");
    assert!(told.all("transfer-encoding").is_empty() || says.version == Version::Http11);
    let connection: &[&[u8]] = match (says.keep_alive, says.version) {
        (false, _) => &[b"close"],
        (true, Version::Http10) => &[b"keep-alive"],
        (true, Version::Http11) => &[],
    };
    assert_eq!(told.all("connection"), connection);

    let announced = if says.trailers { sent.all("trailer") } else { Vec::new() };
    assert_eq!(told.all("trailer"), announced);

    let nominated = sent.nominated();
    let is_nominated = |name: &[u8]| takes_away(&nominated, name);
    let dates = sent.all("date");
    let date = if is_nominated(b"date") { None } else { dates.first().copied() };
    assert_eq!(told.all("date"), [date.unwrap_or(DATE.as_bytes())]);

    for (name, _) in &told.fields {
        let ours = is(name, "date") || is(name, "trailer") || is_one_of(name, FRAMING);
        assert!(ours || !is_nominated(name) && !is_one_of(name, HOP), "{} is not for clients", shown(name));
    }
    let of_backend = |head: &Head<'_>| {
        let fields = head.fields.iter().filter(|(name, _)| !is(name, "date") && !is_one_of(name, FRAMING));
        let fields = fields.filter(|(name, _)| !is_nominated(name) && !is_one_of(name, HOP));
        fields.map(|(name, value)| (shown(name), shown(value))).collect::<Vec<_>>()
    };
    assert_eq!(of_backend(told), of_backend(sent), "the backend's own fields");
}

/// What is written anew.
const FRAMING: &[&str] = &["content-length", "transfer-encoding", "connection"];

/// What belongs to the backend's connection.
const HOP: &[&str] = &["keep-alive", "proxy-connection", "te", "trailer", "upgrade", "proxy-authorization"];
