//! The table of all rules of HTTP that the proxy holds to, and the test of each: it writes
//! `docs/HTTP-CONFORMANCE.md` from the names and comments of the tests in `tests/rules_*.rs`.
//! `MPR_BLESS=1` writes it anew.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    collections::{BTreeMap, HashSet},
    fmt::Write as _,
    fs,
    path::{Path, PathBuf},
};

use support::limits::{HOST_LIMITS, Limit};

use Level::{Choice, Must, Should};

/// How binding a rule is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Level {
    /// An RFC demands it, or safety does.
    Must,
    /// To be done unless there is a reason, which is written down.
    Should,
    /// One of several ways, which is documented.
    Choice,
}

/// The kinds of rules: the letter that their ids begin with, where their tests are, what they are on.
const KINDS: &[(char, &str, &str)] = &[
    ('H', "rules_requests", "What a lenient server hands over: refused or rebuilt"),
    ('F', "rules_requests", "Requests on their way to a backend"),
    ('R', "rules_responses", "Answers on their way to a client"),
    ('C', "rules_connections", "Connections, retries and time-outs"),
    ('U', "rules_upgrade", "Upgrade and tunnels"),
    ('S', "rules_smuggling", "Smuggling"),
];

/// Every rule: its id, how binding it is, what it says.
#[rustfmt::skip]
const RULES: &[(&str, Level, &str)] = &[
    ("H1", Must, "Bytes behind a body are no part of it."),
    ("H2", Must, "A line without a colon swallows neither the end of the head nor what follows."),
    ("H3", Must, "A framing field behind a line without a colon is not overlooked."),
    ("H4", Must, "A framing field with a blank or a line end in its name is refused."),
    ("H5", Must, "A folded line is refused."),
    ("H6", Must, "The chunks of a GET are its body or refused; they are never a request."),
    ("H7", Must, "An empty line before the request is no part of the method."),
    ("H8", Must, "The beginning of a method's name is not that method."),
    ("H9", Must, "Two lengths that differ are refused, whichever comes last."),
    ("H10", Must, "A length together with chunks is refused."),
    ("H11", Must, "No transfer coding but exactly `chunked` is taken for chunks."),
    ("H12", Must, "A client's chunk lines are never copied; what is forwarded has the proxy's own framing."),
    ("H13", Must, "Chunks on methods other than POST and PUT are a body or refused, never a request."),
    ("H14", Must, "Of fields that the server knows by name all lines count, not only the last."),
    ("H15", Must, "Host is the one of the request's head, with its port; two of them are refused."),
    ("H16", Must, "A name that the server has rewritten is still that name, and none is doubled."),
    ("H17", Must, "Blanks, controls and a second version in a request line are refused."),
    ("H18", Must, "The path that was matched is the path that is forwarded; `%00` cuts neither."),
    ("H19", Must, "A fragment is refused or cut."),
    ("H20", Must, "NUL in a value is refused."),
    ("H21", Must, "More fields than the server takes get one answer and a close."),
    ("H22", Must, "A client that waits for 100 is not left waiting."),
    ("H23", Should, "An absolute target is accepted, or refused with an error."),
    ("H24", Must, "The request line is rebuilt, so that no byte behind the target is changed."),
    ("H25", Must, "A path with `..` is refused, or forwarded as it is to the route of its normal form."),
    ("H26", Must, "`close` counts anywhere in Connection; HTTP/1.0 stays open only when that is granted."),
    ("F1", Must, "What Connection names is not forwarded, and neither is that option."),
    ("F2", Must, "Fields of the connection are removed even if Connection does not name them."),
    ("F3", Must, "A client's close ends its own connection and none of a backend."),
    ("F4", Must, "Naming a field in Connection removes nothing that frames, routes or identifies."),
    ("F5", Must, "TE goes no further, or only as `trailers` together with the option TE."),
    ("F5b", Must, "The framing of a request is the proxy's own, never a copied Transfer-Encoding."),
    ("F5c", Should, "Credentials for a proxy are not handed to a backend."),
    ("F6", Must, "Host arrives as the client sent it, port and case included."),
    ("F6b", Must, "An IPv6 literal in Host arrives unchanged, with and without a port."),
    ("F7a", Must, "HTTP/1.1 without Host is refused."),
    ("F7b", Should, "HTTP/1.0 without Host is served, and the backend is given some Host."),
    ("F8", Must, "Two lines of Host are refused, equal or not."),
    ("F9", Should, "A Host that is none is refused: blank, `/`, `@`, `?`, `,`, controls inside."),
    ("F10", Must, "The backend learns the client's address, once."),
    ("F11", Must, "What a client claims in X-Forwarded-For is never the last address."),
    ("F12", Must, "X-Real-IP and X-Forwarded-Proto, -Host and -Port are never the client's own text."),
    ("F13", Choice, "`Forwarded` is written as RFC 7239 says, where it is asked for."),
    ("F14", Choice, "Via names this proxy unless it is switched off; a loop is answered with 508 or 502."),
    ("F15", Choice, "TRACE is refused, and a request with Max-Forwards: 0 goes no further."),
    ("F16", Must, "A body is as long as its length says; what follows is a request of its own."),
    ("F16b", Must, "300 kB of any bytes arrive unchanged."),
    ("F17", Must, "POST, PUT and PATCH with an empty body keep `Content-Length: 0`."),
    ("F18", Should, "A GET without a body has no framing."),
    ("F19", Must, "A body of any method goes along whole, or the request is refused and closed."),
    ("F20", Must, "A chunked upload arrives with the same bytes and one framing, on any method."),
    ("F20b", Must, "200 chunks that are cut at odd places on their way arrive whole."),
    ("F21", Must, "Trailers of a request are dropped or stay trailers; none gets into the head."),
    ("F22", Must, "Chunk extensions are not forwarded."),
    ("F23a", Must, "A client that waits for 100 gets it, or a final answer, at once."),
    ("F23b", Must, "An Expect that the proxy has answered goes no further."),
    ("F23c", Must, "A 100 of the backend is not the answer."),
    ("F25", Must, "A method is forwarded letter for letter or refused; a part of a name is another name."),
    ("F25C", Must, "CONNECT is refused, in each form of its target."),
    ("F26", Must, "A method that is no token is refused."),
    ("F27", Must, "An absolute target becomes a path and decides about Host, or is refused."),
    ("F28", Choice, "`OPTIONS *` is never forwarded as something else."),
    ("F29", Must, "A target that is no path is refused."),
    ("F30", Must, "A target is forwarded byte for byte; what is encoded stays as it is."),
    ("F30.nul", Must, "`%00` in a path is forwarded as it is or refused; nothing is cut there."),
    ("F32", Must, "Dot segments never carry a request past the route that it was checked against."),
    ("F33", Must, "A fragment is cut off, or the request refused."),
    ("F34", Must, "Blanks and controls in a target are refused, and so are two versions."),
    ("F34b", Should, "Bytes above 0x7f in a target are forwarded unchanged or refused."),
    ("F35", Must, "A long target is forwarded whole, or refused when it is very long."),
    ("F37", Must, "Many fields arrive all, or the request is refused; none is lost on the way."),
    ("F37b", Must, "A head that is too long gets one answer and a close."),
    ("F38", Must, "A long field arrives whole, or the request is refused."),
    ("F39", Must, "Folded lines are refused."),
    ("F40", Must, "Bare LF as line end is refused, or leaves as CRLF."),
    ("F42", Must, "NUL, CR and LF inside a value are refused or blanked; other controls should be, too."),
    ("F43", Must, "A field name that is no token is refused or removed; the line behind it is not lost."),
    ("F44", Choice, "Names with `_` that read like a field of the proxy's own are dropped or refused."),
    ("F45", Must, "Fields that come in several lines arrive with all values in order."),
    ("F46", Must, "Values are kept byte for byte: empty, quoted, with blanks inside, and above 0x7f."),
    ("F46b", Should, "Field names keep their case, and lines their order."),
    ("F48", Must, "Range and conditions go through, and nobody but the backend applies them."),
    ("F49", Must, "An HTTP/1.0 client gets no chunks, and a close unless keep-alive was asked and granted."),
    ("F50", Must, "Five requests at once are answered in order, each by a request of its own."),
    ("F51", Should, "One empty line before a request is skipped."),
    ("F52", Must, "20 MB arrive whole, whatever the server's own limit."),
    ("F52b", Should, "A slow upload holds no connection of a backend."),
    ("F54", Must, "A length that is no plain decimal number is refused."),
    ("R1", Must, "Odd but good status lines are taken; what is none of HTTP/1 is answered with 502."),
    ("R2", Choice, "An answer with bare LF is a 502, or leaves with CRLF; bare LF is never passed on."),
    ("R3", Must, "An unasked 100 is swallowed."),
    ("R4", Must, "103 is relayed to HTTP/1.1 clients or dropped, and its fields are not the answer's."),
    ("R4b", Must, "No interim answer reaches an HTTP/1.0 client."),
    ("R5", Must, "Several interim answers in segments of their own come before the answer."),
    ("R5b", Must, "103 and a 50 kB answer in one burst arrive both."),
    ("R6", Must, "An interim answer and then the end is a 502."),
    ("R6b", Should, "Interim answers without an end are cut by their number or by the total time."),
    ("R7", Must, "101 without a forwarded Upgrade is a 502, and no tunnel."),
    ("R9", Must, "204 and 304 have no body whatever their fields say, and the connection goes on."),
    ("R9b", Must, "A body behind 204 leaks nowhere, and that connection is dropped."),
    ("R10", Must, "304 with a length has no body, and the next answer is in step."),
    ("R11", Must, "The answer to HEAD keeps its length, has no body, and the connection is reused."),
    ("R11b", Must, "A body behind the answer to HEAD is dropped, together with its connection."),
    ("R12", Must, "The answer to HEAD has no chunk bytes."),
    ("R12b", Must, "205 is framed like any other answer."),
    ("R14", Must, "3 MB arrive with their length unchanged."),
    ("R15", Must, "Bytes behind a body are cut off, and that connection is never used again."),
    ("R15b", Must, "Bytes that come while a connection is idle are never read as an answer."),
    ("R16", Must, "A body that ends early is visibly cut, for HTTP/1.0 clients too."),
    ("R17", Must, "Sizes in any case and with zeros in front, extensions, and any number of chunks are good."),
    ("R18", Must, "A chunk line has a limit: too many digits, or an extension without an end, are an error."),
    ("R19", Must, "A chunk size that is none, or a chunk without its line end, never looks complete."),
    ("R20", Must, "Bare LF between chunks is an error or repaired, never passed on."),
    ("R21", Must, "Chunks without the last one are visibly cut; HTTP/1.0 gets at least a close."),
    ("R22", Should, "An end behind the last chunk but before the final line end is a cut."),
    ("R23", Must, "Trailers are read to their end and dropped, or relayed to whom asked; never merged."),
    ("R24", Must, "A body that the close ends arrives whole, in chunks or up to the close."),
    ("R24c", Must, "A reset in such a body is a cut."),
    ("R25", Must, "A connection with such a body is never used again."),
    ("R26", Must, "A connection of HTTP/1.0 is not used again unless keep-alive was said."),
    ("R27", Choice, "With keep-alive and a length it may be used again, and stays in step."),
    ("R28", Must, "Chunks are decoded for HTTP/1.0 clients."),
    ("R29", Choice, "Two equal lengths are one length, or a 502."),
    ("R30", Must, "Lengths that differ or are no number are a 502; `+5` and an empty one should be."),
    ("R31", Must, "A length together with chunks is a 502, or the chunks count and the connection ends."),
    ("R32", Must, "A transfer coding other than exactly one `chunked` is a 502, or visibly cut."),
    ("R33", Should, "Chunks in an answer of HTTP/1.0 are a 502, or the connection ends with it."),
    ("R34", Must, "Fields of the backend's connection, and what Connection names, are removed."),
    ("R35", Must, "Repeated fields keep all their lines, separate and in order."),
    ("R36", Must, "Date, Content-Length, Content-Type, Server and Connection come once, as the backend says."),
    ("R36b", Must, "No Content-Type is invented."),
    ("R37", Must, "A field line that is none is a 502, removed or repaired; it is never passed on raw."),
    ("R40", Must, "A head of 60 kB arrives whole or is a 502; one of 2 MB is a 502."),
    ("R40b", Must, "500 fields arrive all, or the answer is a 502."),
    ("R41", Must, "What is no HTTP/1 at all is a 502: text, HTTP/0.9, noise without a line end."),
    ("R42", Must, "A close before any byte is a 502 after at most one try for each server."),
    ("R43", Must, "A close within the head is a 502."),
    ("R45", Must, "An early 413 with close is relayed while the upload is still under way."),
    ("R45b", Must, "An early answer that claims to stay open leaves its connection in step or closed."),
    ("R46", Must, "Status, reason, body and Location are the backend's; no page of the server replaces them."),
    ("R47", Must, "An answer may be cut into segments anywhere."),
    ("R48", Must, "100 MB stream through in bounded memory."),
    ("R49", Should, "The first piece of a stream reaches the client within a second."),
    ("R50", Must, "An encoded body is not touched, even if the client did not ask for it."),
    ("R53", Must, "A 408 that comes on an idle connection is never the answer to the next request."),
    ("C1", Must, "Requests of many clients share a few connections."),
    ("C2", Must, "A backend's close is obeyed, and not relayed to the client."),
    ("C3", Must, "A connection that the backend closed while it was idle costs no request."),
    ("C3b", Must, "The same without any pause."),
    ("C4", Must, "A POST that a backend has read is never sent a second time."),
    ("C5", Must, "Where all servers die, each is tried at most once; then 502 or 504."),
    ("C6", Must, "Nothing is tried again once a byte of an answer has come."),
    ("C7", Must, "A silent backend is a 504 at the time that was set, after one try."),
    ("C8", Must, "A server that refuses connections is a 502 or 503."),
    ("C8b", Should, "That is said within a second."),
    ("C8c", Must, "An error for a POST whose body was not read closes, or leaves the connection in step."),
    ("C9", Must, "Behind a server that refuses, the next one gets GET and POST, body and all."),
    ("C10", Must, "A server that neither accepts nor refuses is an error within the connect time-out."),
    ("C11", Should, "A head that drips in is cut by a limit on the whole of it."),
    ("C12", Must, "A body that stops coming is cut after the time-out, visibly."),
    ("C13", Must, "A client that leaves while it waits has the backend's connection closed within 2 s."),
    ("C14", Must, "A reset in the middle of a download has it closed within 3 s."),
    ("C15", Must, "A client that does not read holds its backend back."),
    ("C15b", Must, "In the end a slow client has got everything."),
    ("C16", Choice, "A client that only closes its sending side gets an answer that is not long in coming."),
    ("C16b", Must, "Requests that are malformed or given up by the client never count against a backend."),
    ("C17", Must, "200 clients with ten requests each get their own answers."),
    ("C18", Must, "Twenty requests that hang on one backend hold up nobody else."),
    ("C19", Should, "Round robin is even."),
    ("C20", Must, "One server of three that refuses costs no GET, and is used again once it is back."),
    ("C21", Must, "A pooled connection serves the address that it leads to, and no other."),
    ("C22", Must, "A server that ends finishes the answers under way; at least none looks whole that is not."),
    ("C25", Must, "300 requests that are given up leave no descriptor behind."),
    ("C26", Should, "An error of the proxy's own is told apart from one of the backend, in the log."),
    ("C26b", Should, "On demand Proxy-Status tells them apart too, in the words of RFC 9209."),
    ("U1", Must, "The handshake goes through with a fresh Connection, the 101 comes back with its fields."),
    ("U2", Must, "Bytes in the same segment as the 101 are delivered."),
    ("U3", Should, "Bytes that a client sends right behind its handshake are delivered, too."),
    ("U4", Must, "4 MB in each direction at once arrive, without a deadlock."),
    ("U5", Must, "The end of one side ends the other within 3 s."),
    ("U5b", Choice, "A half-close is passed on, or ends both sides."),
    ("U6", Must, "Any other answer leaves plain HTTP: what follows is read as a request."),
    ("U7", Must, "Upgrade without the option in Connection is no upgrade."),
    ("U8", Must, "An upgrade to anything that is not allowed, h2c above all, is never forwarded."),
    ("U9", Must, "Upgrade in a request of HTTP/1.0 is ignored."),
    ("U10", Should, "An idle tunnel has a time-out of its own."),
    ("U13", Must, "The connection of a tunnel is never used for anything else."),
    ("U14", Must, "Case does not matter in the option and in the protocol, nor do other options."),
    ("U15", Must, "A body on the request goes out before any byte of the tunnel, or the request is refused."),
    ("S1", Must, "A length together with chunks, in either order, smuggles nothing."),
    ("S2", Must, "No spelling of Transfer-Encoding smuggles anything."),
    ("S3", Must, "No spelling of Content-Length smuggles anything."),
    ("S4", Must, "A body on any method, with or without Expect, is never read as a request."),
    ("S5", Must, "No malformed chunk smuggles anything."),
    ("S6", Must, "No odd request line smuggles anything."),
    ("S7", Must, "No odd field line smuggles anything."),
    ("S8", Must, "A refused upgrade opens no way past the proxy."),
    ("S9", Must, "Pipelines that are right are answered in order, or the rest is refused with a close."),
    ("S10", Must, "What comes behind an answer, or without a request, is nobody's answer."),
];

/// Tests by the id of their rule.
type Tests = BTreeMap<String, Vec<String>>;

#[test]
fn the_table_is_up_to_date() {
    let fresh = page(&tests());
    let path = root().join("docs/HTTP-CONFORMANCE.md");
    if std::env::var_os("MPR_BLESS").is_some() {
        fs::write(&path, &fresh).unwrap();
    }
    let checked_in = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        fresh == checked_in,
        "docs/HTTP-CONFORMANCE.md differs from the tests; run: MPR_BLESS=1 cargo test --test conformance"
    );
}

#[test]
fn ids_are_unique_and_of_a_kind() {
    let mut ids = HashSet::new();
    for (id, _, text) in RULES {
        assert!(ids.insert(id), "{id} is there twice");
        assert!(KINDS.iter().any(|(kind, ..)| id.starts_with(*kind)), "{id} is of no kind");
        assert!(text.ends_with('.') && !text.contains('|'), "{id}: one sentence for a table");
    }
}

#[test]
fn limits_belong_to_rules_with_tests() {
    let tests = tests();
    let mut seen = HashSet::new();
    for limit in HOST_LIMITS {
        assert!(tests.contains_key(limit.id), "a limit for {}, which no test is for", limit.id);
        assert!(seen.insert((limit.id, limit.modern)), "two limits for {} in one family", limit.id);
    }
}

/// The tests in `rules_*.rs` and below `rules/`; panics when one does not say which rule it is for.
fn tests() -> Tests {
    let mut files = Vec::new();
    gather(&root().join("tests"), &mut files);
    let mut tests = Tests::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        for at in (0..lines.len()).filter(|&at| lines[at] == "#[test]") {
            let name = lines[at + 1].trim_start_matches("fn ").split('(').next().unwrap_or_default();
            let id = rule_of(lines[at - 1], name);
            tests.entry(id).or_default().push(name.to_owned());
        }
    }
    tests.values_mut().for_each(|names| names.sort());
    tests
}

/// The rule that the line above a test names; its level and its sentence have to be those of `RULES`.
fn rule_of(comment: &str, test: &str) -> String {
    let rule = RULES.iter().find(|(id, level, text)| {
        let level = format!("{level:?}").to_uppercase();
        comment == format!("/// {id} {level}: {text}")
    });
    let Some((id, ..)) = rule else { panic!("{test}: no rule says {comment:?}") };
    let prefix = id.replace('.', "").to_lowercase() + "_";
    assert!(test.starts_with(&prefix), "{test} is for {id}, so its name has to begin with {prefix}");
    (*id).to_owned()
}

fn gather(folder: &Path, files: &mut Vec<PathBuf>) {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        let name = path.strip_prefix(root().join("tests")).unwrap().to_string_lossy().into_owned();
        let of_rules = name.starts_with("rules_") || name.starts_with("rules/") || name == "rules";
        if of_rules && path.is_dir() {
            gather(&path, files);
        } else if of_rules && name.ends_with(".rs") {
            files.push(path);
        }
    }
}

fn page(tests: &Tests) -> String {
    let mut page = String::from(INTRODUCTION);
    page.push_str(
        "\n| Rules | listed | held, 1.5 | limited by 1.5 | held, 1.8 | limited by 1.8 | without a test |\n",
    );
    page.push_str("| --- | --- | --- | --- | --- | --- | --- |\n");
    for level in [Some(Must), Some(Should), Some(Choice), None] {
        page.push_str(&totals(tests, level));
    }
    for (kind, file, what) in KINDS {
        let _ = write!(page, "\n## {what}\n\nTests: `tests/{file}.rs`.\n\n");
        page.push_str(
            "| Rule | Level | What it says | 1.5 | 1.8 | Test |\n| --- | --- | --- | --- | --- | --- |\n",
        );
        for rule in RULES.iter().filter(|(id, ..)| id.starts_with(*kind)) {
            page.push_str(&row(rule, tests));
        }
    }
    page
}

fn totals(tests: &Tests, level: Option<Level>) -> String {
    let rules: Vec<_> = RULES.iter().filter(|rule| level.is_none_or(|level| rule.1 == level)).collect();
    let tried: Vec<_> = rules.iter().filter(|rule| tests.contains_key(rule.0)).collect();
    let limited = |modern| tried.iter().filter(|rule| limit(rule.0, modern).is_some()).count();
    let (old, new) = (limited(false), limited(true));
    let name = level.map_or("all".into(), |level| format!("{level:?}").to_uppercase());
    let (listed, tried) = (rules.len(), tried.len());
    let (held_old, held_new, without) = (tried - old, tried - new, listed - tried);
    format!("| {name} | {listed} | {held_old} | {old} | {held_new} | {new} | {without} |\n")
}

fn row((id, level, text): &(&str, Level, &str), tests: &Tests) -> String {
    let level = format!("{level:?}").to_uppercase();
    let Some(names) = tests.get(*id) else {
        return format!("| {id} | {level} | {text} | not covered | not covered | |\n");
    };
    let cell =
        |modern| limit(id, modern).map_or("held".into(), |limit| format!("the server: {}", limit.reason));
    let names: Vec<_> = names.iter().map(|name| format!("`{name}`")).collect();
    format!("| {id} | {level} | {text} | {} | {} | {} |\n", cell(false), cell(true), names.join(", "))
}

fn limit(id: &str, modern: bool) -> Option<&'static Limit> {
    HOST_LIMITS.iter().find(|limit| limit.id == id && limit.modern == modern)
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

const INTRODUCTION: &str = "\
# HTTP conformance

What the proxy promises about HTTP, one rule for each promise and one test (or a few) for each rule. \
The rules follow RFC 9110 (semantics), RFC 9112 (HTTP/1.1), RFC 7239 (Forwarded), RFC 6455 (WebSocket), \
RFC 8297 (Early Hints) and RFC 9209 (Proxy-Status), and what is known about request smuggling.

This page is made from the tests: `MPR_BLESS=1 cargo test --test conformance` writes it anew. *Held* \
means that the test of the rule runs over that family of servers, and the build is not good unless it \
passes. Where a family of servers refuses some or all of the requests of a rule, or loses them, before \
the plugin is asked, the rule is *limited*, and the column says what the server does instead; the test \
then asserts that nothing of them reaches a backend, or that the rest is held.

MUST is what an RFC or safety demands. SHOULD is done unless there is a reason. CHOICE is one of \
several ways that an RFC allows.
";
