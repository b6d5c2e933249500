//! What is told of a single request: its line in `ProxyLog`, its name (`RequestId`), and what its
//! answer says of its way (`ProxyStatus`, `Explain`). An exchange of a route that wants none of it
//! has no record, and costs nothing.
//!
//! Read next: `log_file.rs` (how a line gets to the disk), `line.rs`, [`super::cause`].

mod ids;
mod line;
mod log_file;
mod stamp;

use std::fmt::Write;
use std::sync::Arc;

pub use ids::{IdSource, Ids};
pub use log_file::{LogFile, Logs, start};
pub use stamp::Stamp;

use super::Now;
use super::cause::Cause;
use super::exchange::Exchange;
use super::explain;
use super::host::RequestParts;
use super::network::Network;
use super::shared::{Route, Shared};
use super::times::Times;
use super::worker::Worker;
use crate::balancer::Outlook;
use crate::http::forward::Own;
use crate::http::request::Request;
use line::Line;

/// The request header that asks for an explanation, and the field that gives it.
pub const EXPLAIN: &str = "X-Proxy-Explain";
/// RFC 9209.
const PROXY_STATUS: &str = "Proxy-Status";
/// Most bytes of a request line that are kept.
const MOST_OF_LINE: usize = 2000;
/// Most records that a worker keeps for later exchanges.
const MOST_SPARE: usize = 256;

/// What is told of a request.
#[derive(Debug, Default)]
pub struct Record {
    /// `None` of one that waits for its next exchange.
    route: Option<Arc<Route>>,
    client: String,
    request: Vec<u8>,
    /// What it is called; empty if it has no name.
    id: String,
    /// The last backend that was asked.
    server: Option<usize>,
    tries: u32,
    sent: u64,
    received: u64,
    trace: Option<Box<Trace>>,
}

/// What is only told to who asks for it.
#[derive(Debug, Default)]
struct Trace {
    pattern: usize,
    outlooks: Vec<Outlook>,
    failed: Vec<(usize, Cause)>,
}

/// What a worker needs to write records.
#[derive(Debug)]
pub struct Records {
    #[expect(clippy::vec_box, reason = "it is the boxes that are used again")]
    spare: Vec<Box<Record>>,
    ids: Ids,
    stamp: Stamp,
    text: Vec<u8>,
}

impl Records {
    /// Those of a worker.
    pub fn new(ids: Ids) -> Self {
        Records { spare: Vec::new(), ids, stamp: Stamp::default(), text: Vec::new() }
    }

    /// The record of a request that came along `route`, if that wants any.
    pub fn open(&mut self, route: &Arc<Route>, parts: &RequestParts<'_>) -> Option<Box<Record>> {
        if !route.is_traced {
            return None;
        }
        let mut record = self.spare.pop().unwrap_or_default();
        record.route = Some(Arc::clone(route));
        record.client.push_str(parts.client);
        // The parser skips empty lines in front as well.
        let mut lines = parts.head.split(|b| b"\r\n".contains(b));
        let line = lines.find(|line| !line.is_empty()).unwrap_or_default();
        record.request.extend_from_slice(&line[..line.len().min(MOST_OF_LINE)]);
        if line.len() > MOST_OF_LINE {
            record.request.extend_from_slice(b"...");
        }
        if route.settings.tracing.request_id.is_some() {
            self.ids.write(&mut record.id);
        }
        Some(record)
    }

    /// What we add to the answer of a backend, which has this status.
    pub fn fields_for<'a>(
        &'a mut self,
        record: Option<&'a Record>,
        shared: &Shared,
        status: u16,
        times: &Times,
        now: Now,
    ) -> Own<'a> {
        let Some(record) = record else { return Own::default() };
        self.text.clear();
        record.write_fields(&mut self.text, shared, Cause::Ok, Some(status), times, now);
        Own { replaced: record.replaced(), lines: &self.text }
    }

    /// What we add to an answer of our own.
    pub fn fields_of_own<'a>(&'a mut self, exchange: &Exchange, shared: &Shared, now: Now) -> Own<'a> {
        self.text.clear();
        if let Some(record) = &exchange.record {
            record.write_fields(&mut self.text, shared, exchange.cause, None, &exchange.times, now);
        }
        Own { replaced: &[], lines: &self.text }
    }

    /// Keeps the memory of a record.
    fn close(&mut self, mut record: Box<Record>) {
        if self.spare.len() < MOST_SPARE {
            let Record { route, client, request, id, server, tries, sent, received, trace } = &mut *record;
            (*route, *server, *trace) = (None, None, None);
            client.clear();
            request.clear();
            id.clear();
            (*tries, *sent, *received) = (0, 0, 0);
            self.spare.push(record);
        }
    }
}

impl Record {
    /// Takes what the request says about its own record: the name that a trusted proxy has given
    /// it, and whether it is to be explained.
    pub fn read(&mut self, shared: &Shared, request: &Request<'_, '_>, parts: &RequestParts<'_>) {
        let Some(route) = &self.route else { return };
        let tracing = &route.settings.tracing;
        if let Some(name) = &tracing.request_id
            && route.rules.trusts(parts.source)
        {
            let mut given = request.fields.iter().filter(|field| field.name.eq_ignore_ascii_case(name));
            // Two names are none.
            if let (Some(field), None) = (given.next(), given.next())
                && ids::is_sane(field.value)
                && let Ok(id) = std::str::from_utf8(field.value)
            {
                self.id.clear();
                self.id.push_str(id);
            }
        }
        let may_ask = route.askers.as_ref().is_some_and(|askers| askers.include(parts.source, request));
        let asks = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(EXPLAIN);
        if may_ask && request.fields.iter().find(asks).is_some_and(|field| field.value == b"1") {
            let pattern = explain::first_pattern(shared, route.index, parts.head).unwrap_or(0);
            self.trace = Some(Box::new(Trace { pattern, ..Trace::default() }));
        }
    }

    /// The header that names the request, and its name.
    pub fn named(&self) -> Option<(&str, &str)> {
        let name = self.route.as_ref()?.settings.tracing.request_id.as_deref()?;
        Some((name, &self.id))
    }

    /// What the request is called; empty if it has no name.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The request line as it came, perhaps cut.
    pub fn line(&self) -> &[u8] {
        &self.request
    }

    /// File and line of the entry.
    pub fn place(&self) -> &str {
        self.route.as_ref().map_or("-", |route| &route.place)
    }

    /// Whether it is still to be noted what each backend's outlook is.
    pub fn wants_outlooks(&self) -> bool {
        self.trace.as_ref().is_some_and(|trace| trace.outlooks.is_empty())
    }

    /// Notes what each backend's outlook was when the first was chosen.
    pub fn note_outlooks(&mut self, outlooks: Vec<Outlook>) {
        if let Some(trace) = &mut self.trace {
            trace.outlooks = outlooks;
        }
    }

    /// A backend is asked.
    pub fn attempt(&mut self, backend: usize) {
        self.server = Some(backend);
        self.tries += 1;
    }

    /// A backend answers.
    pub fn hears(&mut self, backend: usize) {
        self.server = Some(backend);
    }

    /// That came to nothing.
    pub fn failed(&mut self, backend: usize, cause: Cause) {
        if let Some(trace) = &mut self.trace {
            trace.failed.push((backend, cause));
        }
    }

    /// Bytes went to a backend, or came from it.
    pub fn moved(&mut self, sent: u64, received: u64) {
        self.sent += sent;
        self.received += received;
    }

    /// Names of fields of backends that are not passed on.
    fn replaced(&self) -> &[Box<str>] {
        self.route.as_ref().map_or(&[], |route| &route.replaced)
    }

    /// Appends what the answer says of its way. `received` is the status that a backend gave, if
    /// the answer is one of a backend.
    fn write_fields(
        &self,
        out: &mut Vec<u8>,
        shared: &Shared,
        cause: Cause,
        received: Option<u16>,
        times: &Times,
        now: Now,
    ) {
        let Some(route) = &self.route else { return };
        let is_free = |name: &str| !route.rules.response.names(name.as_bytes());
        if let Some((name, id)) = self.named()
            && is_free(name)
        {
            out.extend_from_slice(name.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(id.as_bytes());
            out.extend_from_slice(b"\r\n");
        }
        if route.settings.tracing.proxy_status && is_free(PROXY_STATUS) {
            self.write_status(out, route, cause, received);
        }
        if let Some(trace) = &self.trace {
            out.extend_from_slice(EXPLAIN.as_bytes());
            out.extend_from_slice(b": ");
            out.extend_from_slice(&self.explanation(shared, route, trace, cause, times, now));
            out.extend_from_slice(b"\r\n");
        }
    }

    /// `Proxy-Status` (RFC 9209): who we are, and what went wrong or what the backend said.
    /// Addresses of backends are nobody's business; a name that the operator gave may be told.
    fn write_status(&self, out: &mut Vec<u8>, route: &Route, cause: Cause, received: Option<u16>) {
        out.extend_from_slice(PROXY_STATUS.as_bytes());
        out.extend_from_slice(b": ");
        write_item(out, route.rules.via.as_deref().unwrap_or(env!("CARGO_PKG_NAME")));
        match (received, cause.proxy_error()) {
            (Some(status), _) => {
                out.extend_from_slice(b"; received-status=");
                out.extend_from_slice(itoa::Buffer::new().format(status).as_bytes());
            }
            (None, Some(error)) => {
                out.extend_from_slice(b"; error=");
                out.extend_from_slice(error.as_bytes());
            }
            (None, None) => {}
        }
        if let Some(name) = self.server.and_then(|backend| route.names[backend].as_deref()) {
            out.extend_from_slice(b"; next-hop=");
            write_item(out, name);
        }
        out.extend_from_slice(b"\r\n");
    }

    fn explanation(
        &self,
        shared: &Shared,
        route: &Route,
        trace: &Trace,
        cause: Cause,
        times: &Times,
        now: Now,
    ) -> Vec<u8> {
        let mut out = Vec::new();
        let server = |backend: usize| brief(shared, route, backend);
        line::pair(&mut out, "entry", route.place.as_bytes());
        line::pair(&mut out, "pattern", route.patterns[trace.pattern].as_bytes());
        line::pair(&mut out, "pattern_at", route.pattern_places[trace.pattern].as_bytes());
        line::pair(&mut out, "balancer", route.load_balancer.as_bytes());
        line::pair(&mut out, "server", self.server.map_or("-", server).as_bytes());
        line::pair(&mut out, "code", cause.code().as_bytes());
        line::pair(&mut out, "tries", self.tries.to_string().as_bytes());
        let mut list = String::new();
        for (index, &outlook) in trace.outlooks.iter().enumerate() {
            let is_resolved = shared.endpoints[route.endpoints[index]].is_resolved();
            separate(&mut list);
            list.push_str(server(index));
            list.push(':');
            list.push_str(explain::code(outlook, is_resolved));
            if let Outlook::Offline { trial_in_ms } = outlook {
                // Into a String, which takes all.
                let _ = write!(list, ":{}s", trial_in_ms.div_ceil(1000));
            }
        }
        line::pair(&mut out, "servers", list.as_bytes());
        if !trace.failed.is_empty() {
            let mut list = String::new();
            for &(backend, cause) in &trace.failed {
                separate(&mut list);
                list.push_str(server(backend));
                list.push(':');
                list.push_str(cause.code());
            }
            line::pair(&mut out, "failed", list.as_bytes());
        }
        let known = [
            ("queue_us", times.waited_us()),
            ("connect_us", times.connect_us()),
            ("header_us", times.first_byte_us()),
            ("total_us", Some(times.total_us(now))),
        ];
        for (key, us) in known {
            line::pair(&mut out, key, us.map_or("-".to_owned(), |us| us.to_string()).as_bytes());
        }
        out
    }
}

fn separate(list: &mut String) {
    if !list.is_empty() {
        list.push(',');
    }
}

/// Appends a token where that can be one, and a string otherwise (RFC 9651 3.3.3 and 3.3.4).
fn write_item(out: &mut Vec<u8>, text: &str) {
    let is_token = |b: u8| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&b);
    let begins = text.as_bytes().first().is_some_and(|&b| b.is_ascii_alphabetic() || b == b'*');
    if begins && text.bytes().all(is_token) {
        return out.extend_from_slice(text.as_bytes());
    }
    out.push(b'"');
    for byte in text.bytes().filter(|b| matches!(b, b' '..=b'~')) {
        if matches!(byte, b'"' | b'\\') {
            out.push(b'\\');
        }
        out.push(byte);
    }
    out.push(b'"');
}

/// Name or address of a backend.
fn brief<'a>(shared: &'a Shared, route: &'a Route, backend: usize) -> &'a str {
    let address = || shared.endpoints[route.endpoints[backend]].label();
    route.names[backend].as_deref().unwrap_or_else(address)
}

impl<N: Network> Worker<N> {
    /// The exchange is over: writes its line, if there is to be one.
    pub(super) fn close_record(&mut self, exchange: &mut Exchange, now: Now) {
        let Some(record) = exchange.record.take() else { return };
        if let Some(route) = &record.route
            && let Some(file) = &route.log
        {
            self.records.stamp.refresh(now);
            self.records.text.clear();
            let line = Line {
                time: self.records.stamp.text(),
                client: &record.client,
                request: &record.request,
                status: exchange.status,
                entry: &route.place,
                server: record.server.map(|backend| brief(&self.shared, route, backend)),
                tries: record.tries,
                code: exchange.cause.code(),
                queue_us: exchange.times.waited_us(),
                connect_us: exchange.times.connect_us(),
                header_us: exchange.times.first_byte_us(),
                total_us: exchange.times.total_us(now),
                sent: record.sent,
                received: record.received,
                body: exchange.body_bytes,
                id: &record.id,
            };
            line::write(&mut self.records.text, file.format(), &line);
            self.shared.logs.push(file, &self.records.text);
        }
        self.records.close(record);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_tokens_or_strings() {
        for (text, expected) in [
            ("monkey-0a1b", "monkey-0a1b"),
            ("app_1.b", "app_1.b"),
            ("1app", "\"1app\""),
            ("a b\"\\", "\"a b\\\"\\\\\""),
            ("\u{e9}\n", "\"\""),
            ("", "\"\""),
        ] {
            let mut out = Vec::new();
            write_item(&mut out, text);
            assert_eq!(String::from_utf8(out).unwrap(), expected);
        }
    }
}
