//! Is one backend online, and may an offline one be given a trial?
//!
//! Lock-free: whether a backend is online, its failures in a row and the end of its offline time
//! are one word that changes by compare-exchange; the start of the latest trial is a second word,
//! and whoever exchanges that has the trial. Every word stands alone, hence `Relaxed` throughout.
//!
//! Two things take a backend offline, and each is undone in its own way: requests that failed, by
//! a trial request; active checks that failed, by checks that pass.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::Backoff;

/// When a backend goes offline, for how long, and how it comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Failures in a row after which a backend goes offline. 0 turns High-Availability off;
    /// above 65 535 it counts as that.
    pub attempts: u32,
    /// Milliseconds until an offline backend gets its first trial. 0 turns High-Availability off.
    pub offline_ms: u64,
    /// How that time grows when the trial fails.
    pub backoff: Backoff,
    /// Milliseconds in which a backend that came back gets its full share again. 0: at once.
    pub slow_start_ms: u64,
    /// What becomes of a request when no backend is online and no trial is due.
    pub last_resort: LastResort,
}

/// What becomes of a request when no backend is online and no trial is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LastResort {
    /// It goes to a backend as a trial out of turn, if the rate of those allows it.
    Try,
    /// It goes nowhere.
    Refuse,
}

impl HealthPolicy {
    /// High-Availability off: a backend is always online, failures are only counted.
    pub const OFF: HealthPolicy = HealthPolicy::steady(0, 0);

    /// Offline after `attempts` failures for `offline_ms` milliseconds time after time; at full
    /// share as soon as it is back.
    #[must_use]
    pub const fn steady(attempts: u32, offline_ms: u64) -> HealthPolicy {
        HealthPolicy {
            attempts,
            offline_ms,
            backoff: Backoff::NONE,
            slow_start_ms: 0,
            last_resort: LastResort::Try,
        }
    }

    /// Can failed requests take a backend offline at all?
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.attempts > 0 && self.offline_ms > 0
    }
}

/// A backend changed sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// It was online and is no more, since requests failed.
    WentOffline {
        /// Failures in a row that led to it.
        failures: u32,
        /// When it may have its trial, in milliseconds since the process's own epoch.
        until_ms: u64,
    },
    /// It was online and is no more, since active checks failed.
    BecameUnfit,
    /// It was offline and answered.
    CameBack,
}

/// How a backend was at one moment, for statistics. Times are milliseconds since the process's own
/// epoch; `None` is "never".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthSnapshot {
    /// Online, or at which point of being offline.
    pub state: HealthState,
    /// Failures since the latest success.
    pub consecutive_failures: u32,
    /// How often it has gone offline.
    pub offline_count: u64,
    /// When it last went offline or came back.
    pub last_change_ms: Option<u64>,
    /// When a request last succeeded or failed.
    pub last_check_ms: Option<u64>,
    /// When it may have its trial; `None` while no request has taken it offline.
    pub offline_until_ms: Option<u64>,
    /// The latest probe or active check.
    pub last_probe: Option<Probed>,
}

/// What a probe or an active check found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Probed {
    /// When it ended, in milliseconds since the process's own epoch.
    pub at_ms: u64,
    /// The backend took the connection, or passed the check.
    pub good: bool,
}

/// Where a backend stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum HealthState {
    /// It gets requests.
    Online,
    /// It gets none, except forced trials when nobody else is left.
    Offline,
    /// Its time is over: the next request is its trial.
    TrialDue,
    /// A request is trying it.
    OnTrial,
    /// Its active checks fail: it gets none, except when nobody else is left.
    Unfit,
}

/// The health of one backend.
#[derive(Debug, Default)]
pub(super) struct Health {
    word: AtomicU64,
    last_trial: Moment,
    last_change: Moment,
    last_check: Moment,
    offline_count: AtomicU64,
    /// A [`Moment`] whose lowest bit tells how it ended.
    last_probe: AtomicU64,
}

impl Health {
    pub(super) fn is_online(&self) -> bool {
        self.word().is_online()
    }

    /// Offline since active checks fail, and for no other reason.
    pub(super) fn is_merely_unfit(&self) -> bool {
        let word = self.word();
        word.unfit && word.until_ms == 0
    }

    /// Offline since requests failed; the latest that was heard of it is that it takes connections.
    pub(super) fn is_open(&self) -> bool {
        let word = self.word();
        word.open && word.until_ms != 0
    }

    /// Offline since requests failed, since when if so.
    pub(super) fn failing_since(&self) -> Option<u64> {
        (self.word().until_ms != 0).then(|| self.last_change.get().unwrap_or(0))
    }

    /// Offline for whatever reason, since when if so.
    pub(super) fn offline_since(&self) -> Option<u64> {
        (!self.is_online()).then(|| self.last_change.get().unwrap_or(0))
    }

    /// For how long it has been back, if it ever was offline and is online now.
    pub(super) fn back_for_ms(&self, now_ms: u64) -> Option<u64> {
        let since_ms = self.last_change.get()?;
        self.is_online().then(|| now_ms.saturating_sub(since_ms))
    }

    pub(super) fn snapshot(&self, now_ms: u64, policy: HealthPolicy) -> HealthSnapshot {
        let word = self.word();
        let last_trial = self.last_trial.get();
        let state = if word.is_online() {
            HealthState::Online
        } else if word.unfit {
            HealthState::Unfit
        } else if due_at(word, last_trial, policy) <= now_ms {
            HealthState::TrialDue
        } else if last_trial.is_some_and(|started| started >= word.until_ms) {
            HealthState::OnTrial
        } else {
            HealthState::Offline
        };
        let last_probe = self.last_probe.load(Relaxed);
        HealthSnapshot {
            state,
            consecutive_failures: word.failures,
            offline_count: self.offline_count.load(Relaxed),
            last_change_ms: self.last_change.get(),
            last_check_ms: self.last_check.get(),
            offline_until_ms: (word.until_ms != 0).then_some(word.until_ms),
            last_probe: (last_probe >> 1)
                .checked_sub(1)
                .map(|at_ms| Probed { at_ms, good: last_probe & 1 == 1 }),
        }
    }

    /// A success counts whenever the request began: the backend answers, so it is online, unless
    /// its checks fail.
    pub(super) fn record_success(&self, now_ms: u64) -> Option<Flip> {
        self.last_check.set(now_ms);
        let succeed = |word: Word| Word { unfit: word.unfit, ..Word::default() };
        let before = self.update(succeed);
        self.came_back(before, succeed(before), now_ms)
    }

    /// A failure takes an online backend offline if it is one too many. An offline backend stays
    /// offline; only a trial that failed when its time was over makes it wait once more, longer
    /// than before. Failures of older requests say nothing new, and a forced trial that failed has
    /// cost no waiting.
    pub(super) fn record_failure(&self, trial: bool, now_ms: u64, policy: HealthPolicy) -> Option<Flip> {
        self.last_check.set(now_ms);
        let fail = |word: Word| {
            let failures = word.failures.saturating_add(1).min(Word::MOST_FAILURES);
            let go_offline = policy.is_on() && failures >= policy.attempts.min(Word::MOST_FAILURES);
            let wait_again = trial && now_ms >= word.until_ms;
            let (changes, round) = match word.until_ms {
                0 => (go_offline, 0),
                _ => (wait_again, (word.round + 1).min(Word::MOST_ROUNDS)),
            };
            if !changes {
                return Word { failures, open: false, ..word };
            }
            let time_ms = policy.backoff.time_ms(policy.offline_ms, round, now_ms);
            let until_ms = now_ms.saturating_add(time_ms).clamp(1, Word::LATEST_MS);
            Word { failures, round, open: false, until_ms, ..word }
        };
        let before = self.update(fail);
        let after = fail(before);
        if !before.is_online() || after.is_online() {
            return None;
        }
        self.went(now_ms);
        Some(Flip::WentOffline { failures: after.failures, until_ms: after.until_ms })
    }

    /// An offline backend takes connections: its trial is due now.
    pub(super) fn record_open(&self, now_ms: u64) {
        // Behind a trial that is over already, lest it be taken for this one.
        let next = self.last_trial.get().map_or(0, |started| started.saturating_add(1));
        let due_ms = now_ms.max(next).clamp(1, Word::LATEST_MS);
        self.update(|word| match word.until_ms {
            0 => word,
            until_ms => Word { open: true, until_ms: until_ms.min(due_ms), ..word },
        });
    }

    /// An offline backend takes no connections.
    pub(super) fn record_shut(&self) {
        self.update(|word| Word { open: false, ..word });
    }

    /// Active checks say whether the backend may have requests.
    pub(super) fn record_fitness(&self, fit: bool, now_ms: u64) -> Option<Flip> {
        let judge = |word: Word| Word { unfit: !fit, ..word };
        let before = self.update(judge);
        let after = judge(before);
        if before.is_online() && !after.is_online() {
            self.went(now_ms);
            return Some(Flip::BecameUnfit);
        }
        self.came_back(before, after, now_ms)
    }

    /// Notes a probe or check for the statistics.
    pub(super) fn note_probe(&self, probed: Probed) {
        let bits = Moment::bits(Some(probed.at_ms)) << 1 | u64::from(probed.good);
        self.last_probe.store(bits, Relaxed);
    }

    fn went(&self, now_ms: u64) {
        self.offline_count.fetch_add(1, Relaxed);
        self.last_change.set(now_ms);
    }

    fn came_back(&self, before: Word, after: Word, now_ms: u64) -> Option<Flip> {
        if before.is_online() || !after.is_online() {
            return None;
        }
        self.last_change.set(now_ms);
        Some(Flip::CameBack)
    }

    /// Is a trial due that a request could claim?
    pub(super) fn trial_is_due(&self, now_ms: u64, policy: HealthPolicy) -> bool {
        let last_trial = self.last_trial.get();
        let word = self.word();
        word.takes_trials() && due_at(word, last_trial, policy) <= now_ms
    }

    /// When a trial will be due. `None` if the backend is online, or if its checks fail.
    pub(super) fn trial_due_at(&self, policy: HealthPolicy) -> Option<u64> {
        let last_trial = self.last_trial.get();
        let word = self.word();
        word.takes_trials().then(|| due_at(word, last_trial, policy))
    }

    /// Claims the trial of a backend whose time is over. Of all threads that ask, one gets it; a
    /// trial without a verdict is given up after `offline_ms`.
    pub(super) fn claim_due_trial(&self, now_ms: u64, policy: HealthPolicy) -> bool {
        let last_trial = self.last_trial.get();
        let word = self.word();
        word.takes_trials()
            && due_at(word, last_trial, policy) <= now_ms
            && self.last_trial.exchange(last_trial, now_ms)
    }

    /// When a trial may go out although the time is not over, since nobody else is left. `None`
    /// if no failed request keeps the backend offline.
    pub(super) fn next_trial_at(&self, policy: HealthPolicy) -> Option<u64> {
        let last_trial = self.last_trial.get();
        let word = self.word();
        (word.until_ms != 0).then(|| forced_at(last_trial).min(due_at(word, last_trial, policy)))
    }

    /// Claims a trial that [`next_trial_at`](Health::next_trial_at) has allowed, if nobody else
    /// was faster.
    pub(super) fn claim_forced_trial(&self, now_ms: u64, policy: HealthPolicy) -> bool {
        let last_trial = self.last_trial.get();
        let word = self.word();
        let at = forced_at(last_trial).min(due_at(word, last_trial, policy));
        word.until_ms != 0 && at <= now_ms && self.last_trial.exchange(last_trial, now_ms)
    }

    /// The trial ended without a verdict: as if there had been none.
    pub(super) fn abandon_trial(&self) {
        self.last_trial.forget();
    }

    fn word(&self) -> Word {
        Word::unpack(self.word.load(Relaxed))
    }

    /// Changes the word and returns the one before. Where nothing changes nothing is written, so
    /// that success after success leaves the cache line alone.
    fn update(&self, change: impl Fn(Word) -> Word) -> Word {
        let mut bits = self.word.load(Relaxed);
        loop {
            let next = change(Word::unpack(bits)).pack();
            if next == bits {
                return Word::unpack(bits);
            }
            match self.word.compare_exchange_weak(bits, next, Relaxed, Relaxed) {
                Ok(_) => return Word::unpack(bits),
                Err(current) => bits = current,
            }
        }
    }
}

/// When an offline backend's trial is due: when its time is over, or, if a trial has begun since
/// then, when that has been silent for too long.
fn due_at(word: Word, last_trial: Option<u64>, policy: HealthPolicy) -> u64 {
    match last_trial {
        Some(started) if started >= word.until_ms => started.saturating_add(policy.offline_ms),
        _ => word.until_ms,
    }
}

/// When the rate of forced trials allows the next one.
fn forced_at(last_trial: Option<u64>) -> u64 {
    last_trial.map_or(0, |started| started.saturating_add(FORCED_TRIAL_INTERVAL_MS))
}

/// What decides whether a backend is online, in 64 bits: 16 for the failures, 6 for the round, one
/// each for `unfit` and `open`, 40 for the time (34 years of uptime; beyond that an offline backend
/// is on trial all the time).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    failures: u32,
    /// How many trials have failed since it went offline.
    round: u32,
    /// Active checks fail.
    unfit: bool,
    /// It takes connections, as was seen after the latest failure.
    open: bool,
    /// The end of the offline time; 0 if failures have not taken it offline.
    until_ms: u64,
}

impl Word {
    const MOST_FAILURES: u32 = (1 << 16) - 1;
    const MOST_ROUNDS: u32 = (1 << 6) - 1;
    const LATEST_MS: u64 = (1 << 40) - 1;

    fn is_online(self) -> bool {
        self.until_ms == 0 && !self.unfit
    }

    fn takes_trials(self) -> bool {
        self.until_ms != 0 && !self.unfit
    }

    fn pack(self) -> u64 {
        u64::from(self.failures) << 48
            | u64::from(self.round) << 42
            | u64::from(self.unfit) << 41
            | u64::from(self.open) << 40
            | self.until_ms
    }

    fn unpack(bits: u64) -> Word {
        // What the masks leave fits: the conversions never fall back.
        let part = |shift: u32, most: u32| u32::try_from(bits >> shift & u64::from(most)).unwrap_or(most);
        Word {
            failures: part(48, Word::MOST_FAILURES),
            round: part(42, Word::MOST_ROUNDS),
            unfit: part(41, 1) == 1,
            open: part(40, 1) == 1,
            until_ms: bits & Word::LATEST_MS,
        }
    }
}

/// A time or "never", shared by threads.
#[derive(Debug, Default)]
struct Moment(AtomicU64);

impl Moment {
    fn get(&self) -> Option<u64> {
        self.0.load(Relaxed).checked_sub(1)
    }

    fn set(&self, now_ms: u64) {
        let bits = Moment::bits(Some(now_ms));
        // Many requests end in the same millisecond: write only what is new.
        if self.0.load(Relaxed) != bits {
            self.0.store(bits, Relaxed);
        }
    }

    fn forget(&self) {
        self.0.store(Moment::bits(None), Relaxed);
    }

    /// Sets the time if it is still the one that was seen.
    fn exchange(&self, seen: Option<u64>, now_ms: u64) -> bool {
        let (seen, now) = (Moment::bits(seen), Moment::bits(Some(now_ms)));
        self.0.compare_exchange(seen, now, Relaxed, Relaxed).is_ok()
    }

    fn bits(time_ms: Option<u64>) -> u64 {
        time_ms.map_or(0, |time_ms| time_ms.saturating_add(1))
    }
}

/// When no backend is online, each gets one trial per this many milliseconds at most.
pub const FORCED_TRIAL_INTERVAL_MS: u64 = 250;

#[cfg(test)]
mod tests;
