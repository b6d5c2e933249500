//! Why a request goes where it goes: a dry run of matching and balancing. Nothing is moved,
//! claimed or counted by it.
//!
//! [`explain`] asks a proxy at work, [`of_config`] one that has just started with a configuration
//! and finds all servers online. The answer is text (`Display`) or JSON (`Serialize`).
//!
//! Read next: `page.rs` (what `StatisticsURL?explain=...` answers), `text.rs`.

mod page;
mod text;

use std::borrow::Cow;
use std::net::IpAddr;
use std::num::NonZeroU32;

use serde::Serialize;

use super::Now;
use super::setup;
use super::shared::{Route, Shared, Verdict};
use crate::balancer::{Ask, Foresight, Outlook, Pick, Reason, Tried};
use crate::config::Config;
use crate::http::path;
use crate::http::request;
use crate::http::router::BadPatterns;
use crate::http::rules::HostPolicy;

pub(super) use page::page;

/// A request that might come.
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// What stands in its request line: a path, percent-encoded as there, with or without a query.
    /// Or a whole URL, whose scheme is then of no interest.
    pub target: &'a str,
    /// Its method, which decides whether it may be risked on a server that is on trial.
    pub method: &'a str,
    /// Its `Host`. That of a whole URL counts more.
    pub host: Option<&'a str>,
    /// Where it comes from, for `Source-Hash`.
    pub client: Option<IpAddr>,
    /// The number of its connection, for `Naive`: how many clients were there before.
    pub connection: u32,
}

impl<'a> Question<'a> {
    /// A GET of `target`, of which nothing else is known.
    pub fn get(target: &'a str) -> Self {
        Question { target, method: "GET", host: None, client: None, connection: 0 }
    }
}

/// What would become of a request, and why. The fields of its JSON are a promise.
#[derive(Clone, Debug, Serialize)]
pub struct Explanation {
    /// The method that was asked for.
    pub method: String,
    /// The target that was asked for.
    pub target: String,
    /// The host that was asked for.
    pub host: Option<String>,
    /// The client that was asked for.
    pub client: Option<IpAddr>,
    /// What the patterns are compared with: decoded, without a query, without empty and dotted
    /// segments.
    pub path: String,
    /// What becomes of it.
    pub outcome: Outcome,
    /// The entry that takes it.
    pub entry: Option<Taker>,
    /// The entries before that one, none of whose patterns matches.
    pub passed_over: Vec<Passed>,
    /// Entries behind it that match as well.
    pub not_reached: Vec<Passed>,
    /// How a server is chosen for it.
    pub balancing: Option<Balancing>,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It goes to the server that is `chosen`.
    Forwarded,
    /// It waits until a server has room.
    Waits,
    /// It is answered with a 503: no server takes it.
    Refused,
    /// The entry leaves it to Monkey's own files, since all servers are offline.
    LeftToMonkey,
    /// It asks for a statistics page.
    Statistics,
    /// No pattern matches: Monkey serves it.
    NotMatched,
}

/// The entry that takes a request.
#[derive(Clone, Debug, Serialize)]
pub struct Taker {
    /// File and line of its section.
    pub place: String,
    /// The first of its patterns that matches.
    pub pattern: String,
    /// File, line and column of that.
    pub pattern_place: String,
    /// The target that a server gets.
    pub sent_target: String,
    /// The `Host` that a server gets.
    pub sent_host: String,
}

/// An entry that does not take a request.
#[derive(Clone, Debug, Serialize)]
pub struct Passed {
    /// File and line of its section.
    pub place: String,
    /// Its patterns.
    pub patterns: Vec<String>,
}

/// How a server is chosen.
#[derive(Clone, Debug, Serialize)]
pub struct Balancing {
    /// The load balancer, as the configuration spells it.
    pub algorithm: String,
    /// What it begins from.
    pub reasoning: String,
    /// The server that gets the request.
    pub chosen: Option<String>,
    /// Seconds after which a refused request is worth another try.
    pub retry_after: Option<u64>,
    /// Requests that wait for a server with room.
    pub waiting: usize,
    /// All servers, in the order of the file.
    pub servers: Vec<Candidate>,
}

/// One server.
#[derive(Clone, Debug, Serialize)]
pub struct Candidate {
    /// What messages call it.
    pub server: String,
    /// Why it gets the request, or why not: see [`code`].
    pub code: &'static str,
    /// The same in words, with figures.
    pub why: String,
    /// Its shares of the requests; 0 if it is disabled.
    pub weight: u32,
    /// It is a backup.
    pub backup: bool,
    /// Requests that it is working on.
    pub in_flight: u32,
    /// Most requests that it works on at a time.
    pub max: Option<u32>,
}

/// What would become of a request that came at `now`.
pub fn explain(shared: &Shared, question: &Question<'_>, now: Now) -> Explanation {
    Asked { shared, question, now, names_are_known: false }.answer()
}

/// What would become of the first request to a proxy with this configuration: all servers are
/// online and idle, and all names have addresses.
///
/// # Errors
/// [`BadPatterns`] when all patterns together are more than the matcher takes.
pub fn of_config(config: &Config, question: &Question<'_>) -> Result<Explanation, BadPatterns> {
    let shared = setup::build(config, "monkey")?;
    let now = Now { ms: 0, us: 0, unix: 0 };
    Ok(Asked { shared: &shared, question, now, names_are_known: true }.answer())
}

/// The code of a server's outlook. They are a promise, too:
///
/// `chosen`, `trial` (chosen, to find out whether it is back), `not-in-turn`, `starting`
/// (`SlowStart`), `backup-not-needed`, `full`, `offline`, `on-trial`, `trial-due` (for a request
/// that may be repeated), `unfit` (`HealthCheck`), `tried`, `disabled`, `unresolved`.
pub fn code(outlook: Outlook, is_resolved: bool) -> &'static str {
    match outlook {
        Outlook::Chosen => "chosen",
        Outlook::Trial => "trial",
        Outlook::Disabled => "disabled",
        _ if !is_resolved => "unresolved",
        Outlook::NotInTurn => "not-in-turn",
        Outlook::Starting => "starting",
        Outlook::Backup => "backup-not-needed",
        Outlook::Full => "full",
        Outlook::Offline { .. } => "offline",
        Outlook::OnTrial => "on-trial",
        Outlook::TrialDue => "trial-due",
        Outlook::Unfit => "unfit",
        Outlook::Tried => "tried",
    }
}

/// The first pattern of a route that takes the request with this head.
pub(super) fn first_pattern(shared: &Shared, route: usize, head: &[u8]) -> Option<usize> {
    let path = path::decoded_path(head);
    let matching = shared.matching(&path::normalised(&path), &mut shared.match_scratch());
    matching.into_iter().find(|&(index, _)| index == route).map(|(_, pattern)| pattern)
}

/// A question, and who is asked.
struct Asked<'a> {
    shared: &'a Shared,
    question: &'a Question<'a>,
    now: Now,
    names_are_known: bool,
}

impl Asked<'_> {
    fn answer(&self) -> Explanation {
        let Question { target, method, host, client, .. } = *self.question;
        let (authority, target) = split_url(target);
        let host = authority.or(host);
        let line = [b"- ", target.as_bytes(), b" -"].concat();
        let decoded = path::decoded_path(&line);
        let path = path::normalised(&decoded);
        let mut answer = Explanation {
            method: method.to_owned(),
            target: target.to_owned(),
            host: host.map(str::to_owned),
            client,
            path: String::from_utf8_lossy(&path).into_owned(),
            outcome: Outcome::NotMatched,
            entry: None,
            passed_over: Vec::new(),
            not_reached: Vec::new(),
            balancing: None,
        };
        let mut scratch = self.shared.match_scratch();
        if let Verdict::Statistics(_) = self.shared.admit(&decoded, &mut scratch) {
            answer.outcome = Outcome::Statistics;
            return answer;
        }
        let matching = self.shared.matching(&path, &mut scratch);
        let taker = matching.first().copied();
        for (index, route) in self.shared.routes.iter().enumerate() {
            let is_before = taker.is_none_or(|(taker, _)| index < taker);
            if is_before {
                answer.passed_over.push(passed(route));
            } else if taker.is_some_and(|(taker, _)| index > taker)
                && matching.iter().any(|&(other, _)| other == index)
            {
                answer.not_reached.push(passed(route));
            }
        }
        if let Some((index, pattern)) = taker {
            let route = &self.shared.routes[index];
            answer.entry = Some(self.taker(route, pattern, target, host));
            let foresight = self.foresee(route);
            answer.outcome = outcome(route, foresight.pick, self.now);
            answer.balancing = Some(self.balancing(route, &foresight));
        }
        answer
    }

    fn taker(&self, route: &Route, pattern: usize, target: &str, host: Option<&str>) -> Taker {
        let mut sent = Vec::new();
        if route.rules.prefixes.is_empty() {
            sent.extend_from_slice(target.as_bytes());
        } else {
            route.rules.prefixes.write_target(&mut sent, target);
        }
        let authority = || self.shared.endpoints[route.endpoints[0]].authority();
        let sent_host = match &route.rules.host {
            HostPolicy::Client => host.unwrap_or_else(authority),
            HostPolicy::Backend => "the name of the server",
            HostPolicy::Literal(host) => host,
        };
        Taker {
            place: route.place.clone(),
            pattern: route.patterns[pattern].clone(),
            pattern_place: route.pattern_places[pattern].clone(),
            sent_target: String::from_utf8_lossy(&sent).into_owned(),
            sent_host: sent_host.to_owned(),
        }
    }

    fn foresee(&self, route: &Route) -> Foresight {
        let source = self.question.client.map_or_else(Vec::new, |address| match address.to_canonical() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        });
        let ask = Ask {
            connection: self.question.connection,
            source: &source,
            tried: &Tried::new(),
            repeatable: request::is_idempotent(self.question.method) || route.settings.retries.non_idempotent,
            overflow: route.settings.capacity.queue_size == 0,
            now_ms: self.now.ms,
        };
        route.cluster.foresee(&ask)
    }

    fn balancing(&self, route: &Route, foresight: &Foresight) -> Balancing {
        let candidate = |(index, &outlook): (usize, &Outlook)| {
            let backend = route.cluster.backend(index);
            let is_resolved =
                self.names_are_known || self.shared.endpoints[route.endpoints[index]].is_resolved();
            Candidate {
                server: route.labels[index].clone(),
                code: code(outlook, is_resolved),
                why: why(outlook, is_resolved).into_owned(),
                weight: backend.weight(),
                backup: backend.is_backup(),
                in_flight: backend.in_flight(),
                max: backend.limit().map(NonZeroU32::get),
            }
        };
        let (chosen, retry_after) = match foresight.pick {
            Pick::Backend { index, .. } => (Some(route.labels[index].clone()), None),
            Pick::NoneEligible { retry_after_ms } => (None, Some(retry_after_ms.div_ceil(1000).max(1))),
            Pick::Full | Pick::AllTried => (None, Some(1)),
        };
        Balancing {
            algorithm: route.load_balancer.clone(),
            reasoning: reasoning(foresight.reason),
            chosen,
            retry_after,
            waiting: route.cluster.waiting(),
            servers: foresight.outlooks.iter().enumerate().map(candidate).collect(),
        }
    }
}

fn outcome(route: &Route, pick: Pick, now: Now) -> Outcome {
    match pick {
        _ if route.is_left_to_host(now) => Outcome::LeftToMonkey,
        Pick::Backend { .. } => Outcome::Forwarded,
        Pick::Full if route.settings.capacity.queue_size > 0 => Outcome::Waits,
        Pick::Full | Pick::NoneEligible { .. } | Pick::AllTried => Outcome::Refused,
    }
}

fn passed(route: &Route) -> Passed {
    Passed { place: route.place.clone(), patterns: route.patterns.clone() }
}

/// The authority and the rest of a whole URL; of anything else all is rest.
fn split_url(target: &str) -> (Option<&str>, &str) {
    let Some((scheme, rest)) = target.split_once("://") else { return (None, target) };
    if scheme.is_empty() || !scheme.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return (None, target);
    }
    let at = rest.find(['/', '?']).unwrap_or(rest.len());
    let (authority, target) = rest.split_at(at);
    (Some(authority).filter(|it| !it.is_empty()), if target.is_empty() { "/" } else { target })
}

fn reasoning(reason: Reason) -> String {
    match reason {
        Reason::Connection { number, place, of } => {
            format!("connection number {number} leads to place {} of {of} in the list", place + 1)
        }
        Reason::First => "the first of the list that can take it".to_owned(),
        Reason::Turn { place, of } => format!("it is the turn of place {} of {of}", place + 1),
        Reason::LeastBusy { place, of } => {
            format!(
                "the fewest requests in flight for its weight; among equals place {} of {of} is first",
                place + 1
            )
        }
        Reason::AddressHash { hash, place, of } => {
            format!(
                "the hash of the client's address, {hash:016x}, leads to place {} of {of} in the list",
                place + 1
            )
        }
    }
}

fn why(outlook: Outlook, is_resolved: bool) -> Cow<'static, str> {
    if !is_resolved && outlook != Outlook::Disabled {
        return "its name has no address yet".into();
    }
    match outlook {
        Outlook::Chosen => "it gets the request".into(),
        Outlook::Trial => "it gets the request, which finds out whether it is back".into(),
        Outlook::NotInTurn => "it could take the request, but the load balancer takes another".into(),
        Outlook::Starting => "it came back a moment ago and gets only a part of its share (SlowStart)".into(),
        Outlook::Backup => "it is a backup, and others can take the request".into(),
        Outlook::Full => "it works on as many requests as it takes".into(),
        Outlook::Offline { trial_in_ms } => {
            let seconds = trial_in_ms.div_ceil(1000);
            format!("it is offline since requests failed; its trial is due in {seconds} s").into()
        }
        Outlook::OnTrial => "it is offline, and another request is trying it".into(),
        Outlook::TrialDue => "it is offline and its trial is due, for a request that may be repeated".into(),
        Outlook::Unfit => "it is offline since its checks fail (HealthCheck)".into(),
        Outlook::Tried => "the request has been sent there before".into(),
        Outlook::Disabled => "it is disabled".into(),
    }
}

#[cfg(test)]
mod tests;
