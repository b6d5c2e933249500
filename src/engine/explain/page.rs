//! The answer to `StatisticsURL?explain=/path&host=...&ip=...&method=...&format=json|text`.

use std::net::IpAddr;

use super::{Passed, Question, explain};
use crate::engine::Now;
use crate::engine::shared::{Route, Shared};
use crate::stats::html::escaped;

/// Status, body and media type, if the query asks for an explanation. Who asks without an `ip`
/// asks for itself: `source` are the bytes of its address. Of entries that it may not see it learns
/// that one of them takes the request, and no more.
pub fn page(
    shared: &Shared,
    query: &str,
    source: &[u8],
    may_see: impl Fn(&Route) -> bool,
    now: Now,
) -> Option<(u16, Vec<u8>, &'static str)> {
    let value = |name: &str| {
        let pairs = query.split('&').filter_map(|part| part.split_once('='));
        pairs.filter(|(key, _)| *key == name).map(|(_, value)| decoded(value)).next()
    };
    let target = value("explain")?;
    let (host, method) = (value("host"), value("method"));
    let client = match value("ip") {
        None => address(source),
        Some(text) => match text.parse::<IpAddr>() {
            Ok(address) => Some(address),
            Err(_) => return Some((400, b"ip: not an address, as in ip=10.0.0.9\n".to_vec(), TEXT)),
        },
    };
    let question = Question {
        host: host.as_deref(),
        client,
        method: method.as_deref().unwrap_or("GET"),
        ..Question::get(&target)
    };
    let mut answer = explain(shared, &question, now);
    if let Some(entry) = &answer.entry
        && !shared.routes.iter().any(|route| route.place == entry.place && may_see(route))
    {
        let text = b"an entry takes it whose StatisticsAllow does not name your address\n".to_vec();
        return Some((403, text, TEXT));
    }
    let may_be_seen =
        |passed: &Passed| shared.routes.iter().any(|route| route.place == passed.place && may_see(route));
    answer.passed_over.retain(may_be_seen);
    answer.not_reached.retain(may_be_seen);
    Some(match value("format").as_deref() {
        // Numbers and strings alone: nothing here can fail to be written.
        Some("json") => (200, serde_json::to_vec(&answer).unwrap_or_default(), "application/json"),
        Some("text") => (200, answer.to_string().into_bytes(), TEXT),
        _ => (200, html(&answer.to_string()).into_bytes(), "text/html; charset=utf-8"),
    })
}

const TEXT: &str = "text/plain; charset=utf-8";

fn html(text: &str) -> String {
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Proxy: explained</title></head>\
         <body>\n<h1>What would become of this request</h1>\n<pre>{}</pre>\n</body></html>\n",
        escaped(text)
    )
}

/// A value of a query string; an escape that encodes nothing stays as it is.
fn decoded(value: &str) -> String {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let [first, behind @ ..] = rest {
        let pair = behind.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        let pair = pair.filter(|pair| pair.bytes().all(|b| b.is_ascii_hexdigit()));
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if *first == b'%' => {
                out.push(byte);
                rest = &behind[2..];
            }
            _ => {
                out.push(*first);
                rest = behind;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn address(bytes: &[u8]) -> Option<IpAddr> {
    let four = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    four.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_decoded_once() {
        for (given, expected) in [
            ("/a%2Fb", "/a/b"),
            ("%2525", "%25"),
            ("%zz%4", "%zz%4"),
            ("a+b", "a+b"),
            ("%C3%A9", "\u{e9}"),
            ("", ""),
        ] {
            assert_eq!(decoded(given), expected);
        }
    }
}
