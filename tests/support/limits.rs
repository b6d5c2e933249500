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

const LOSES: &str = "what comes together with a request is lost; the connection is closed behind the answer";

/// All of them.
pub const HOST_LIMITS: &[Limit] =
    &[modern("F46b", "names that it does not know reach the plugin in lower case")];

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
