//! Which backend a request goes to next, if any has room for it.

use super::Now;
use super::cause::Cause;
use super::exchange::Order;
use super::queue::Queueing;
use crate::balancer::{Ask, Foresight, InFlight, Pick};

/// What a request finds that looks for a backend.
#[derive(Debug)]
pub enum Choice {
    /// A place at one.
    Place {
        /// Counts as in flight there.
        place: InFlight,
        /// The backend is on trial.
        trial: bool,
    },
    /// It stands in line already, and nobody has room.
    Wait,
    /// Nobody has room, but somebody may soon.
    MayWait,
    /// Nobody takes it.
    Nobody {
        /// Why.
        why: &'static str,
        /// The same in one word.
        cause: Cause,
        /// In how many seconds it is worth another try.
        retry_after: u64,
    },
}

impl Order {
    /// Looks for a backend that was not asked yet.
    pub fn choose(&mut self, now: Now) -> Choice {
        if let Queueing::Called(_) = self.queueing
            && let Queueing::Called(place) = std::mem::replace(&mut self.queueing, Queueing::No)
        {
            return Choice::Place { place, trial: false };
        }
        let waits = self.waits();
        loop {
            let ask = self.ask(now);
            let cluster = &self.route.cluster;
            return match cluster.pick(&ask) {
                Pick::Backend { index, trial } => match cluster.begin(index) {
                    Some(place) => Choice::Place { place, trial },
                    // Another request was faster.
                    None => {
                        if trial {
                            cluster.abandon_trial(index);
                        }
                        continue;
                    }
                },
                Pick::Full if !waits => {
                    let (why, cause) = match self.queueing {
                        Queueing::Over => ("no backend had room in time", Cause::QueueTimeOut),
                        _ => ("all backends are busy", Cause::QueueFull),
                    };
                    Choice::Nobody { why, cause, retry_after: 1 }
                }
                Pick::Full if matches!(self.queueing, Queueing::Waits(_)) => Choice::Wait,
                Pick::Full => Choice::MayWait,
                Pick::NoneEligible { retry_after_ms } => Choice::Nobody {
                    why: "no backend is available",
                    cause: Cause::AllOffline,
                    retry_after: retry_after_ms.div_ceil(1000).max(1),
                },
                Pick::AllTried => Choice::Nobody {
                    why: "no backend is available",
                    cause: Cause::AllOffline,
                    retry_after: 1,
                },
            };
        }
    }

    /// Whether it is worth standing in line.
    fn waits(&self) -> bool {
        // An answer that is kept is worth more than a place in the line.
        self.route.settings.capacity.queue_size > 0
            && !matches!(self.queueing, Queueing::Over)
            && !self.attempts.has_kept()
    }

    fn ask(&self, now: Now) -> Ask<'_> {
        Ask {
            connection: self.connection,
            source: &self.source[..usize::from(self.source_len)],
            tried: &self.tried,
            repeatable: self.idempotent && !self.attempts.is_suspect(),
            overflow: !self.waits(),
            now_ms: now.ms,
        }
    }

    /// What [`choose`](Order::choose) is about to find.
    pub fn foresee(&self, now: Now) -> Foresight {
        self.route.cluster.foresee(&self.ask(now))
    }
}
