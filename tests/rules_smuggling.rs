//! Rules against smuggling: hundreds of requests that two parsers may read differently (RFC 9112
//! section 11.2), each followed by innocent ones.
//!
//! Each test is named by its rule; `docs/HTTP-CONFORMANCE.md` is the table of all of them. Where the
//! vectors come from: `rules/smuggling/vectors.rs` and its neighbours; how they are judged:
//! `rules/smuggling/range.rs`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

#[path = "rules/smuggling/answers.rs"]
mod answers;
#[path = "rules/smuggling/bursts.rs"]
mod bursts;
#[path = "rules/smuggling/heads.rs"]
mod heads;
#[path = "rules/smuggling/lengths.rs"]
mod lengths;
#[path = "rules/smuggling/pipelines.rs"]
mod pipelines;
#[path = "rules/smuggling/range.rs"]
mod range;
#[path = "rules/smuggling/readings.rs"]
mod readings;
#[path = "rules/smuggling/vectors.rs"]
mod vectors;

use range::fire_all;

/// S1 MUST: A length together with chunks, in either order, smuggles nothing.
#[test]
fn s1_two_framings() {
    fire_all("S1", lengths::two_framings());
}

/// S2 MUST: No spelling of Transfer-Encoding smuggles anything.
#[test]
fn s2_spellings_of_transfer_encoding() {
    fire_all("S2", lengths::codings());
}

/// S3 MUST: No spelling of Content-Length smuggles anything.
#[test]
fn s3_spellings_of_content_length() {
    fire_all("S3", lengths::lengths());
}

/// S4 MUST: A body on any method, with or without Expect, is never read as a request.
#[test]
fn s4_bodies_of_any_method() {
    fire_all("S4", lengths::bodies());
}

/// S4 MUST: A body on any method, with or without Expect, is never read as a request.
#[test]
fn s4_bodies_behind_errors() {
    fire_all("S4", lengths::bodies_behind_errors());
}

/// S5 MUST: No malformed chunk smuggles anything.
#[test]
fn s5_malformed_chunks() {
    fire_all("S5", lengths::chunks());
}

/// S6 MUST: No odd request line smuggles anything.
#[test]
fn s6_odd_request_lines() {
    fire_all("S6", heads::request_lines());
}

/// S7 MUST: No odd field line smuggles anything.
#[test]
fn s7_odd_field_lines() {
    fire_all("S7", heads::field_lines());
}

/// S8 MUST: A refused upgrade opens no way past the proxy.
#[test]
fn s8_refused_upgrades() {
    fire_all("S8", heads::upgrades());
}
