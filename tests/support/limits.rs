//! Rules that a server keeps from being tried: it refuses, or stays silent, before the plugin is
//! asked. Each is in `docs/HTTP-CONFORMANCE.md`; the test of the rule asserts what happens instead.

use super::Kind;

/// One rule in one family.
pub struct Limit {
    /// The rule.
    pub id: &'static str,
    /// The family: 1.8, or 1.5.
    pub modern: bool,
    /// What the server does.
    pub reason: &'static str,
}

const CHUNKS_411: &str = "a chunked body is answered with 411";
const LOSES: &str = "what comes together with a request is lost; the connection is closed behind the answer";
const COLON_HOST: &str = "an IPv6 literal in Host is answered with 400";
const BLANK_HOST: &str = "a Host with tabs around it is answered with 400";
const WAITS: &str = "a head without CRLF is waited for until Timeout, without an answer";
const DROPS: &str = "closed without an answer";
const KEEPS: &str = "its own 400 leaves the connection open";
const CHUNKS_4K: &str = "a chunked body above 4 KB is dropped without an answer";
const CHUNKS_ODD: &str = "chunk extensions and trailers are dropped without an answer";
const ENDS: &str = "its end is that of the process: answers under way are visibly cut";
const FIFTY: &str = "a head with more than 50 fields that it does not know by name is answered with 413";

/// All of them.
pub const HOST_LIMITS: &[Limit] = &[
    legacy("F5b", CHUNKS_411),
    legacy("F6", BLANK_HOST),
    legacy("F6b", COLON_HOST),
    legacy("F16", LOSES),
    legacy("F17", "an empty body of POST or PUT is answered with 400"),
    legacy("F20", CHUNKS_411),
    legacy("F20b", CHUNKS_411),
    legacy("F21", CHUNKS_411),
    legacy("F22", CHUNKS_411),
    legacy("F40", WAITS),
    legacy("F46", "a field without a value, or without a blank behind its colon, is answered with 400"),
    legacy("F50", LOSES),
    legacy("F51", "an empty line before a request is answered with 400"),
    legacy("S9", LOSES),
    legacy("C22", ENDS),
    modern("C22", ENDS),
    modern("F6", BLANK_HOST),
    modern("F6b", COLON_HOST),
    modern("F7a", KEEPS),
    modern("F16", LOSES),
    modern("F20", CHUNKS_4K),
    modern("F21", CHUNKS_ODD),
    modern("F22", CHUNKS_ODD),
    modern("F25", DROPS),
    modern("F26", DROPS),
    modern("F29", KEEPS),
    modern("F34", DROPS),
    modern("F37", FIFTY),
    modern("F39", DROPS),
    modern("F40", DROPS),
    modern("F42", DROPS),
    modern("F46b", "names that it does not know are handed over in lower case"),
    modern("H8", DROPS),
    modern("H10", "waited on until Timeout, without an answer"),
    modern("H12", CHUNKS_ODD),
    modern(
        "H21",
        "behind its 413 for too many fields it answers the rest of the head, line by line, with 400",
    ),
    modern("S9", LOSES),
];

const fn legacy(id: &'static str, reason: &'static str) -> Limit {
    Limit { id, modern: false, reason }
}

const fn modern(id: &'static str, reason: &'static str) -> Limit {
    Limit { id, modern: true, reason }
}

/// Whether a limit is declared for this rule here.
pub fn is_limited(id: &str, kind: Kind) -> bool {
    limit(id, kind).is_some()
}

/// A test says that it meets the limit of a rule; the reason, which has to be declared.
#[track_caller]
pub fn host_limit(id: &str, kind: Kind) -> &'static str {
    let Some(limit) = limit(id, kind) else { panic!("no limit of {kind:?} is declared for {id}") };
    limit.reason
}

fn limit(id: &str, kind: Kind) -> Option<&'static Limit> {
    HOST_LIMITS.iter().find(|limit| limit.id == id && limit.modern == kind.is_modern())
}
