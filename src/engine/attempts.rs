//! What an order remembers of its attempts, and what follows when one failed:
//! whose fault it is, whether there is another, which answer the client gets.
//! The rule itself is in [`super::retry`].

use std::sync::Arc;
use std::time::Duration;

use super::Now;
use super::cause::Cause;
use super::exchange::{Attempt, Order, Phase};
use super::failure::Failure;
use super::host::ClientKey;
use super::network::Network;
use super::noting::{name_of, short_id};
use super::poison::{Fingerprint, Poison};
use super::retry::{self, Connection, Failed, Left, Next, Price, Repeating, Trouble};
use super::serve::Asked;
use super::setup::milliseconds;
use super::shared::Route;
use super::worker::Worker;
use crate::config::RetryCause;
use crate::http::request::{self, Request};

/// The attempts of one order.
#[derive(Debug)]
pub struct Attempts {
    /// How many there were.
    begun: u32,
    /// What `RetryCount` still allows.
    left: u32,
    /// When `RetryTimeOut` is over, once an attempt has begun.
    until_ms: Option<u64>,
    kept: Kept,
    guard: Guard,
}

/// An answer that is kept back while another backend is asked.
#[derive(Debug)]
enum Kept {
    Nothing,
    /// In case nobody has a better one.
    Reserve(Box<KeptAnswer>),
    /// Nobody has: it is passed on.
    Last(Box<KeptAnswer>),
}

/// An answer whose status `RetryOn` names.
#[derive(Debug)]
pub struct KeptAnswer {
    /// Where it comes from, and its rest, if that is still to come.
    attempt: Attempt,
    status: u16,
    /// What came of it: the head at least.
    bytes: Vec<u8>,
}

/// What the poison guard thinks of a request.
#[derive(Clone, Copy, Debug)]
enum Guard {
    /// `PoisonGuard off`.
    Off,
    /// Nothing bad.
    Trusts(Fingerprint),
    /// This backend broke over it.
    Suspects(Fingerprint, usize),
    /// Two backends broke over it.
    Knows(Fingerprint),
}

/// Whose fault a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// The backend's.
    Backend,
    /// The request's, as is known.
    Request,
    /// The request's, as has turned out now.
    Poison(Fingerprint),
}

impl Attempts {
    /// None yet. A request that is known to make backends break gets one only.
    pub fn new(route: &Route, request: &Request<'_, '_>, poison: &Poison, now: Now) -> Self {
        let retries = &route.settings.retries;
        let path = request.target.split_once('?').map_or(request.target, |(path, _)| path);
        let guard = retries.poison_guard.then(|| poison.fingerprint(request.method, request.host, path));
        let (guard, left) = match guard {
            None => (Guard::Off, retries.count),
            Some(print) if poison.knows(print, now.ms) => (Guard::Knows(print), 0),
            Some(print) => (Guard::Trusts(print), retries.count),
        };
        Attempts { begun: 0, left, until_ms: None, kept: Kept::Nothing, guard }
    }

    /// Another one begins; whether it is a further one. The first sets the clock.
    pub fn begin(&mut self, timeout: Option<Duration>, now: Now) -> bool {
        if self.begun == 0 {
            self.until_ms = timeout.map(|timeout| now.ms.saturating_add(milliseconds(timeout)));
        }
        self.begun += 1;
        self.begun > 1
    }

    /// Whether backends seem to break over this request. Then it goes out on connections of
    /// its own, where it is plain whose fault a close is.
    pub fn is_suspect(&self) -> bool {
        matches!(self.guard, Guard::Suspects(..) | Guard::Knows(_))
    }

    /// Decides whose fault a failure is. One backend may break at any time; when a second
    /// one does, it is the request.
    fn blame(&mut self, failed: &Failed, failure: &Failure, backend: usize) -> Blame {
        if failed.trouble == Trouble::NoConnection {
            return Blame::Backend;
        }
        let broke = match failure {
            Failure::Closed | Failure::Reset(_) => failed.sent,
            Failure::ClosedInHead => true,
            _ => false,
        };
        match self.guard {
            Guard::Knows(_) => return Blame::Request,
            Guard::Trusts(print) if broke && failed.connection == Connection::Fresh => {
                self.guard = Guard::Suspects(print, backend);
            }
            Guard::Suspects(print, first) if broke && first != backend => {
                self.guard = Guard::Knows(print);
                self.left = 0;
                return Blame::Poison(print);
            }
            Guard::Off | Guard::Trusts(_) | Guard::Suspects(..) => {}
        }
        Blame::Backend
    }

    /// Nobody is going to have a better answer than the one that is kept, if there is one.
    fn settle(&mut self) -> bool {
        self.kept = match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Reserve(answer) => Kept::Last(answer),
            other => other,
        };
        matches!(self.kept, Kept::Last(_))
    }

    /// The answer that is to be passed on.
    fn take_last(&mut self) -> Option<Box<KeptAnswer>> {
        match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Last(answer) => Some(answer),
            other => {
                self.kept = other;
                None
            }
        }
    }

    /// For how long a further attempt may begin; `None` for no limit, and before the first.
    pub fn time_left(&self, now: Now) -> Option<Duration> {
        self.until_ms.map(|until| Duration::from_millis(until.saturating_sub(now.ms)))
    }

    /// Whether there is an answer to fall back on.
    pub fn has_kept(&self) -> bool {
        !matches!(self.kept, Kept::Nothing)
    }

    /// The answer that is kept, whatever for.
    fn take_kept(&mut self) -> Option<Box<KeptAnswer>> {
        match std::mem::replace(&mut self.kept, Kept::Nothing) {
            Kept::Nothing => None,
            Kept::Reserve(answer) | Kept::Last(answer) => Some(answer),
        }
    }
}

/// Whether it is harmless to ask this request twice: by its method, because the client says
/// so with a key that the backends get to see, or because the operator does.
pub fn is_repeatable(request: &Request<'_, '_>, route: &Route) -> bool {
    let retries = &route.settings.retries;
    let is_key = |name: &str| {
        let names = |field: &&httparse::Header<'_>| field.name.eq_ignore_ascii_case(name);
        let reaches_backends = !route.rules.request.names(name.as_bytes());
        let mut fields = request.fields.iter().filter(names);
        reaches_backends && fields.any(|field| !field.value.trim_ascii().is_empty())
    };
    request::is_idempotent(request.method)
        || retries.non_idempotent
        || retries.key_header.as_deref().is_some_and(is_key)
}

impl Order {
    /// How an attempt has failed.
    fn failed(&self, trouble: Trouble, attempt: &Attempt) -> Failed {
        let connection = if attempt.reused { Connection::Pooled } else { Connection::Fresh };
        let begun = self.upload.let_go || attempt.interims > 0;
        let repeating = match self.idempotent {
            _ if begun => Repeating::Impossible,
            true => Repeating::Harmless,
            false => Repeating::Harmful,
        };
        Failed { trouble, connection, sent: attempt.written > 0 || begun, repeating }
    }

    /// What to do about a failed attempt. Pays for what is to be done.
    fn next(&mut self, failed: &Failed, now: Now) -> Next {
        let route = &self.route;
        let on = &route.settings.retries.on;
        let mut left = Left {
            others: route.cluster.has_others(&self.tried),
            count: self.attempts.left,
            time: self.attempts.until_ms.is_none_or(|until| now.ms < until),
            budget: true,
        };
        let mut next = retry::next(failed, on, &left);
        if next == Next::OtherBackend(Price::One) {
            if route.budget.take(now.ms) {
                self.attempts.left -= 1;
            } else {
                route.totals.retry_denied();
                left.budget = false;
                next = retry::next(failed, on, &left);
            }
        }
        next
    }

    /// A backend could not be connected to: whether there is anything more to do.
    pub fn goes_on_unconnected(&mut self, now: Now) -> bool {
        // Nothing of it was sent now, and nothing is lost of what goes on.
        let (trouble, connection, repeating) =
            (Trouble::NoConnection, Connection::Fresh, Repeating::Harmless);
        let failed = Failed { trouble, connection, sent: false, repeating };
        !matches!(self.next(&failed, now), Next::GiveUp(_))
    }

    /// Whether another backend is asked instead of passing on an answer with this status.
    pub fn declines(&mut self, status: u16, attempt: &Attempt, now: Now) -> bool {
        // Behind a body that is still coming there would be no way back to this answer.
        if !self.route.settings.retries.on.has(RetryCause::Status(status)) || !self.upload.is_over() {
            return false;
        }
        let failed = self.failed(Trouble::Status(status), attempt);
        !matches!(self.next(&failed, now), Next::GiveUp(_))
    }
}

impl<N: Network> Worker<N> {
    /// An attempt has failed before its answer began: says whose fault it is, and what to do.
    pub(super) fn review(
        &mut self,
        key: ClientKey,
        attempt: &Attempt,
        head_begun: bool,
        failure: &Failure,
        now: Now,
    ) -> Next {
        let nothing = Next::GiveUp(retry::Because::Unrepeatable);
        let Some(order) = self.exchanges.get_mut(key).and_then(|e| e.order.as_mut()) else { return nothing };
        let route = Arc::clone(&order.route);
        let trouble = match failure.trouble() {
            Trouble::TooSlow if head_begun => Trouble::InAnswer,
            trouble => trouble,
        };
        let failed = order.failed(trouble, attempt);
        let Attempt { backend, reused, trial, .. } = *attempt;
        let blame = order.attempts.blame(&failed, failure, backend);
        let request = if let Blame::Poison(_) = blame { name_of(&order.request) } else { String::new() };
        let next = order.next(&failed, now);
        if blame != Blame::Backend
            && let Some(exchange) = self.exchanges.get_mut(key)
        {
            exchange.cause = Cause::Poisoned;
        }
        match blame {
            Blame::Backend => self.judge(key, backend, trial, reused, failure, now),
            Blame::Request => self.excuse(key, &route, backend, trial, now),
            Blame::Poison(print) => {
                let timeout = route.settings.retries.poison_timeout;
                self.shared.poison.remember(print, now.ms.saturating_add(milliseconds(timeout)));
                log::warn!(
                    "'{request}' made two backends break ({failure}); requests like it get one attempt for {} s \
                     (entry {}{})",
                    timeout.as_secs_f32(),
                    route.place,
                    self.subject(key).id()
                );
                self.excuse(key, &route, backend, trial, now);
            }
        }
        next
    }

    /// The failure was the request's: nothing is held against the backend.
    fn excuse(&mut self, key: ClientKey, route: &Route, backend: usize, trial: bool, now: Now) {
        route.totals.poisoned();
        if let Some(exchange) = self.exchanges.get(key)
            && let Some(order) = &exchange.order
        {
            order.note_poison(backend, short_id(exchange.record.as_deref()), now);
        }
        if trial {
            route.cluster.abandon_trial(backend);
        }
    }

    /// There is no further attempt: the client gets the last answer of a backend, or ours.
    pub(super) fn give_up(&mut self, key: ClientKey, failure: &Failure, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        if exchange.order.as_mut().is_some_and(|order| order.attempts.settle()) {
            exchange.phase = Phase::Picking;
            return;
        }
        let status = failure.status();
        let retry_after = (status == 503).then_some(1);
        self.reply_error(key, status, &failure.to_string(), retry_after, now);
    }

    /// Keeps back an answer of which `filled` bytes are in the read buffer; another backend
    /// is to be asked.
    pub(super) fn keep_back(&mut self, key: ClientKey, status: u16, filled: usize, now: Now) {
        let Some(exchange) = self.exchanges.get_mut(key) else { return };
        let phase = std::mem::replace(&mut exchange.phase, Phase::Picking);
        exchange.deadline_ms = None;
        let (Phase::Asking { attempt, .. }, Some(order)) = (phase, exchange.order.as_mut()) else { return };
        let route = Arc::clone(&order.route);
        let before = order.attempts.take_kept();
        let bytes = self.scratch[..filled].to_vec();
        order.attempts.kept = Kept::Reserve(Box::new(KeptAnswer { attempt, status, bytes }));
        if let Some(before) = before {
            self.drop_kept(key, &route, *before, now);
        }
    }

    /// Passes on the answer that was kept back, if nobody is left who may have a better one:
    /// what `pick` found out, or `give_up` before.
    pub(super) fn pass_on_kept(&mut self, key: ClientKey, nobody_left: bool, now: Now) -> Option<Asked> {
        let exchange = self.exchanges.get_mut(key)?;
        let order = exchange.order.as_mut()?;
        if nobody_left {
            order.attempts.settle();
        }
        let KeptAnswer { attempt, bytes, .. } = *order.attempts.take_last()?;
        // It is taken as it is now.
        order.attempts.left = 0;
        order.address_to(self.shared.endpoints[order.route.endpoints[attempt.backend]].authority());
        exchange.phase = Phase::Asking { attempt, head: Vec::new() };
        self.scratch[..bytes.len()].copy_from_slice(&bytes);
        match self.take_head(key, bytes.len(), now) {
            Ok(asked) => asked.or(Some(Asked::Wait)),
            Err(failure) => {
                self.fail(key, failure, now);
                Some(Asked::Changed)
            }
        }
    }

    /// A backend's answer goes to the client: what was kept back is not needed any more, and
    /// the request is not as bad as it seemed.
    pub(super) fn accept(&mut self, key: ClientKey, now: Now) {
        let Some(order) = self.exchanges.get_mut(key).and_then(|e| e.order.as_mut()) else { return };
        if let Guard::Knows(print) = order.attempts.guard {
            self.shared.poison.forget(print);
        }
        if let Some(kept) = order.attempts.take_kept() {
            let route = Arc::clone(&order.route);
            self.drop_kept(key, &route, *kept, now);
        }
    }

    /// Another answer is better, or newer. This one counts all the same.
    fn drop_kept(&mut self, key: ClientKey, route: &Route, kept: KeptAnswer, now: Now) {
        let KeptAnswer { attempt, status, .. } = kept;
        self.upstreams.remove(attempt.upstream);
        self.tally.backend(route.row(attempt.backend)).response(status);
        if attempt.trial {
            self.praise(key, route, attempt.backend, now);
        }
    }

    /// The exchange is over: lets go of what is still kept, without a verdict.
    pub(super) fn abandon_kept(&mut self, order: &mut Order) {
        if let Some(kept) = order.attempts.take_kept() {
            self.abandon(&order.route, Phase::Asking { attempt: kept.attempt, head: Vec::new() });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    const SENT: Failed = Failed {
        trouble: Trouble::Lost,
        connection: Connection::Fresh,
        sent: true,
        repeating: Repeating::Harmless,
    };

    fn attempts(guard: Guard) -> Attempts {
        Attempts { begun: 0, left: 2, until_ms: None, kept: Kept::Nothing, guard }
    }

    fn print() -> Fingerprint {
        Poison::new().fingerprint("GET", None, "/")
    }

    #[test]
    fn one_backend_may_break_and_the_second_makes_it_poison() {
        let print = print();
        let mut attempts = attempts(Guard::Trusts(print));
        assert!(!attempts.is_suspect());
        assert_eq!(attempts.blame(&SENT, &Failure::Closed, 4), Blame::Backend);
        assert!(attempts.is_suspect());
        // The same one again proves nothing.
        assert_eq!(attempts.blame(&SENT, &Failure::Closed, 4), Blame::Backend);
        let reset = Failure::Reset(io::ErrorKind::ConnectionReset.into());
        assert_eq!((attempts.blame(&SENT, &reset, 5), attempts.left), (Blame::Poison(print), 0));
        assert_eq!(attempts.blame(&SENT, &Failure::Closed, 6), Blame::Request);
        assert_eq!(attempts.blame(&SENT, &Failure::HeaderTimeOut, 6), Blame::Request);
        let refused = Failure::Connect(io::ErrorKind::ConnectionRefused.into());
        let unconnected = Failed { trouble: Trouble::NoConnection, sent: false, ..SENT };
        assert_eq!(attempts.blame(&unconnected, &refused, 6), Blame::Backend);
    }

    #[test]
    fn only_a_new_connection_that_breaks_over_the_request_is_a_witness() {
        let slow = Failed { trouble: Trouble::TooSlow, ..SENT };
        let invalid = Failed { trouble: Trouble::Invalid, ..SENT };
        let cases = [
            (SENT, Failure::Closed, true),
            (invalid, Failure::ClosedInHead, true),
            (Failed { connection: Connection::Pooled, ..SENT }, Failure::Closed, false),
            (Failed { sent: false, ..SENT }, Failure::Closed, false),
            (slow, Failure::HeaderTimeOut, false),
            (invalid, Failure::BadResponse(crate::http::response::BadResponse::Malformed), false),
        ];
        for (failed, failure, witness) in cases {
            let mut attempts = attempts(Guard::Trusts(print()));
            assert_eq!(attempts.blame(&failed, &failure, 0), Blame::Backend);
            assert_eq!(attempts.is_suspect(), witness, "{failure:?} {failed:?}");
        }
    }

    #[test]
    fn without_the_guard_it_is_always_the_backend() {
        let mut attempts = attempts(Guard::Off);
        for backend in 0..5 {
            assert_eq!(attempts.blame(&SENT, &Failure::Closed, backend), Blame::Backend);
        }
        assert_eq!(attempts.left, 2);
    }

    #[test]
    fn the_clock_begins_with_the_first_attempt() {
        let mut attempts = attempts(Guard::Off);
        let at = |ms| Now { ms, us: ms * 1000, unix: 0 };
        assert!(!attempts.begin(Some(Duration::from_secs(1)), at(500)));
        assert!(attempts.begin(Some(Duration::from_secs(1)), at(900)));
        assert_eq!(attempts.until_ms, Some(1500));
    }

    #[test]
    fn a_further_attempt_waited_in_line_beyond_its_time() {
        let mut attempts = attempts(Guard::Off);
        let left = |attempts: &Attempts, ms| attempts.time_left(Now { ms, us: ms * 1000, unix: 0 });
        assert_eq!(left(&attempts, 500), None);
        attempts.begin(Some(Duration::from_secs(1)), Now { ms: 500, us: 500_000, unix: 0 });
        assert_eq!(left(&attempts, 900), Some(Duration::from_millis(600)));
        assert_eq!(left(&attempts, 5000), Some(Duration::ZERO));
    }
}
