//! Under which name a request goes out and was asked for: what its answer is
//! rewritten by. Takes no memory of its own where the client's Host goes out
//! as it came.

use std::ops::Range;

use super::exchange::Order;
use crate::http::forward::Forwarding;
use crate::http::forwarded::Seen;
use crate::http::request::Request;
use crate::http::rewrite::Rewriting;
use crate::http::rules::{HostPolicy, Variables};

/// The names of one request.
#[derive(Debug)]
pub struct Naming {
    /// Where in the order's request the value of `Host` stands.
    host_at: Range<usize>,
    /// By which Host the client reached us.
    client: ClientHost,
    /// The client used https.
    secure: bool,
    /// The Host that went out, once the head is gone from the order.
    sent: Option<Box<[u8]>>,
}

#[derive(Debug)]
enum ClientHost {
    /// It sent none, or no answer needs it.
    Unknown,
    /// The one that goes out.
    AsSent,
    /// Another one than goes out.
    Kept(Box<str>),
}

impl Naming {
    /// The names of `request`, whose head was written with its Host at `host_at`.
    pub fn new(request: &Request<'_, '_>, says: &Forwarding<'_>, host_at: Range<usize>) -> Self {
        let rules = says.rules;
        if !rules.rewrites_answers() {
            return Naming { host_at, client: ClientHost::Unknown, secure: says.secure, sent: None };
        }
        let seen = Seen::new(request, says.secure, rules.trusts(says.source));
        let client = match seen.host {
            None => ClientHost::Unknown,
            Some(host) if rules.host == HostPolicy::Client && request.host == Some(host) => {
                ClientHost::AsSent
            }
            Some(host) => ClientHost::Kept(host.into()),
        };
        Naming { host_at, client, secure: seen.secure, sent: None }
    }
}

impl Order {
    /// Puts the authority of the backend that is asked next into the request,
    /// if the route wants it to be there.
    pub fn address_to(&mut self, authority: &str) {
        if self.route.rules.host == HostPolicy::Backend
            && let Some(old) = self.request.get(self.naming.host_at.clone())
            && old != authority.as_bytes()
        {
            let begin = self.naming.host_at.start;
            self.request.splice(self.naming.host_at.clone(), authority.bytes());
            self.naming.host_at = begin..begin + authority.len();
        }
    }

    /// The head is about to make room for more of the body.
    pub fn let_go_of_head(&mut self) {
        if self.route.rules.rewrites_answers() {
            self.naming.sent = self.request.get(self.naming.host_at.clone()).map(Box::from);
        }
    }

    /// How the answer of the backend with this authority is rewritten, if it may be.
    /// `request_id` is what the request is called.
    pub fn rewriting<'a>(&'a self, backend: &'a str, request_id: &'a str) -> Option<Rewriting<'a>> {
        let rules = &self.route.rules;
        if !rules.rewrites_answers() {
            return None;
        }
        let in_head = || self.request.get(self.naming.host_at.clone());
        let sent_host = self.naming.sent.as_deref().or_else(in_head).unwrap_or_default();
        let host = match &self.naming.client {
            ClientHost::Unknown => None,
            ClientHost::AsSent => Some(sent_host),
            ClientHost::Kept(host) => Some(host.as_bytes()),
        };
        let source = &self.source[..usize::from(self.source_len)];
        let client = Variables { source, host, secure: self.naming.secure, request_id };
        Some(Rewriting { rules, client, sent_host, backend })
    }
}
