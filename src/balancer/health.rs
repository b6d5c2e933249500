//! Is one backend online, and may an offline one be given a trial?
//!
//! Lock-free: whether a backend is online, its failures in a row and the end of its offline time
//! are one word that changes by compare-exchange; the start of the latest trial is a second word,
//! and whoever exchanges that has the trial. Every word stands alone, hence `Relaxed` throughout.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// When a backend goes offline, and for how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthPolicy {
    /// Failures in a row after which a backend goes offline. 0 turns High-Availability off;
    /// above 16 777 215 it counts as that.
    pub attempts: u32,
    /// Milliseconds until an offline backend gets a trial. 0 turns High-Availability off.
    pub offline_ms: u64,
}

impl HealthPolicy {
    /// High-Availability off: a backend is always online, failures are only counted.
    pub const OFF: HealthPolicy = HealthPolicy { attempts: 0, offline_ms: 0 };

    /// Can a backend go offline at all?
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.attempts > 0 && self.offline_ms > 0
    }
}

/// A backend changed sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// It was online and is no more.
    WentOffline {
        /// Failures in a row that led to it.
        failures: u32,
        /// When it may have its trial, in milliseconds since the process's own epoch.
        until_ms: u64,
    },
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
    /// When it may have its trial; `None` while it is online.
    pub offline_until_ms: Option<u64>,
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
}

/// The health of one backend.
#[derive(Debug, Default)]
pub(super) struct Health {
    word: AtomicU64,
    last_trial: Moment,
    last_change: Moment,
    last_check: Moment,
    offline_count: AtomicU64,
}

impl Health {
    pub(super) fn is_online(&self) -> bool {
        self.word().is_online()
    }

    pub(super) fn snapshot(&self, now_ms: u64, policy: HealthPolicy) -> HealthSnapshot {
        let word = self.word();
        let last_trial = self.last_trial.get();
        let state = if word.is_online() {
            HealthState::Online
        } else if due_at(word, last_trial, policy) <= now_ms {
            HealthState::TrialDue
        } else if last_trial.is_some_and(|started| started >= word.until_ms) {
            HealthState::OnTrial
        } else {
            HealthState::Offline
        };
        HealthSnapshot {
            state,
            consecutive_failures: word.failures,
            offline_count: self.offline_count.load(Relaxed),
            last_change_ms: self.last_change.get(),
            last_check_ms: self.last_check.get(),
            offline_until_ms: (!word.is_online()).then_some(word.until_ms),
        }
    }

    /// A success counts whenever the request began: the backend answers, so it is online.
    pub(super) fn record_success(&self, now_ms: u64) -> Option<Flip> {
        self.last_check.set(now_ms);
        let before = self.update(|_| Word::default());
        if before.is_online() {
            return None;
        }
        self.last_change.set(now_ms);
        Some(Flip::CameBack)
    }

    /// A failure takes an online backend offline if it is one too many. An offline backend stays
    /// offline; only a trial that failed when its time was over makes it wait once more. Failures
    /// of older requests say nothing new, and a forced trial that failed has cost no waiting.
    pub(super) fn record_failure(&self, trial: bool, now_ms: u64, policy: HealthPolicy) -> Option<Flip> {
        self.last_check.set(now_ms);
        let until_ms = now_ms.saturating_add(policy.offline_ms).clamp(1, Word::LATEST_MS);
        let fail = |word: Word| {
            let failures = word.failures.saturating_add(1).min(Word::MOST_FAILURES);
            let go_offline = policy.is_on() && failures >= policy.attempts.min(Word::MOST_FAILURES);
            let wait_again = trial && now_ms >= word.until_ms;
            let changes = if word.is_online() { go_offline } else { wait_again };
            Word { failures, until_ms: if changes { until_ms } else { word.until_ms } }
        };
        let before = self.update(fail);
        let after = fail(before);
        if !before.is_online() || after.is_online() {
            return None;
        }
        self.offline_count.fetch_add(1, Relaxed);
        self.last_change.set(now_ms);
        Some(Flip::WentOffline { failures: after.failures, until_ms })
    }

    /// Claims the trial of a backend whose time is over. Of all threads that ask, one gets it; a
    /// trial without a verdict is given up after `offline_ms`.
    pub(super) fn claim_due_trial(&self, now_ms: u64, policy: HealthPolicy) -> bool {
        let last_trial = self.last_trial.get();
        let word = self.word();
        !word.is_online()
            && due_at(word, last_trial, policy) <= now_ms
            && self.last_trial.exchange(last_trial, now_ms)
    }

    /// When a trial may go out although the time is not over, since nobody else is left. `None`
    /// if the backend is online.
    pub(super) fn next_trial_at(&self, policy: HealthPolicy) -> Option<u64> {
        let last_trial = self.last_trial.get();
        let word = self.word();
        (!word.is_online()).then(|| forced_at(last_trial).min(due_at(word, last_trial, policy)))
    }

    /// Claims a trial that [`next_trial_at`](Health::next_trial_at) has allowed, if nobody else
    /// was faster.
    pub(super) fn claim_forced_trial(&self, now_ms: u64, policy: HealthPolicy) -> bool {
        let last_trial = self.last_trial.get();
        let word = self.word();
        let at = forced_at(last_trial).min(due_at(word, last_trial, policy));
        !word.is_online() && at <= now_ms && self.last_trial.exchange(last_trial, now_ms)
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

/// What decides whether a backend is online, in 64 bits: 24 for the failures, 40 for the time
/// (34 years of uptime; beyond that an offline backend is on trial all the time).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Word {
    failures: u32,
    /// The end of the offline time; 0 is online.
    until_ms: u64,
}

impl Word {
    const MOST_FAILURES: u32 = (1 << 24) - 1;
    const LATEST_MS: u64 = (1 << 40) - 1;

    fn is_online(self) -> bool {
        self.until_ms == 0
    }

    fn pack(self) -> u64 {
        u64::from(self.failures) << 40 | self.until_ms
    }

    fn unpack(bits: u64) -> Word {
        // 24 bits are left after the shift: the conversion never falls back.
        let failures = u32::try_from(bits >> 40).unwrap_or(Word::MOST_FAILURES);
        Word { failures, until_ms: bits & Word::LATEST_MS }
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
mod tests {
    use super::*;

    const POLICY: HealthPolicy = HealthPolicy { attempts: 2, offline_ms: 1000 };

    /// Went offline at 100, so its trial is due at 1100.
    fn offline() -> Health {
        let health = Health::default();
        assert_eq!(health.record_failure(false, 90, POLICY), None);
        let flip = health.record_failure(false, 100, POLICY);
        assert_eq!(flip, Some(Flip::WentOffline { failures: 2, until_ms: 1100 }));
        health
    }

    fn state(health: &Health, now_ms: u64) -> HealthState {
        health.snapshot(now_ms, POLICY).state
    }

    #[test]
    fn only_failures_in_a_row_count() {
        let health = Health::default();
        for now_ms in 0..10 {
            assert_eq!(health.record_failure(false, now_ms, POLICY), None);
            assert_eq!(health.record_success(now_ms), None);
        }
        assert!(health.is_online());
    }

    #[test]
    fn goes_offline_and_has_one_trial_when_the_time_is_over() {
        let health = offline();
        assert!(!health.claim_due_trial(1099, POLICY));
        assert!(health.claim_due_trial(1100, POLICY));
        assert!(!health.claim_due_trial(1100, POLICY));
        assert!(!health.claim_due_trial(1101, POLICY));
        assert!(!health.is_online());
    }

    #[test]
    fn a_good_trial_brings_it_back() {
        let health = offline();
        assert!(health.claim_due_trial(1200, POLICY));
        assert_eq!(health.record_success(1210), Some(Flip::CameBack));
        assert_eq!(health.record_success(1211), None);
        assert!(health.is_online());
        assert_eq!(health.snapshot(1220, POLICY).consecutive_failures, 0);
        assert_eq!(health.record_failure(false, 1300, POLICY), None, "one failure is not two");
        assert!(!health.claim_due_trial(9999, POLICY), "online ones get no trial");
    }

    #[test]
    fn a_bad_trial_costs_the_whole_time_again() {
        let health = offline();
        assert!(health.claim_due_trial(1200, POLICY));
        assert_eq!(health.record_failure(true, 1250, POLICY), None);
        assert!(!health.claim_due_trial(2249, POLICY));
        assert!(health.claim_due_trial(2250, POLICY));
    }

    #[test]
    fn late_failures_of_older_requests_do_not_prolong() {
        let health = offline();
        assert_eq!(health.record_failure(false, 500, POLICY), None);
        assert_eq!(health.record_failure(false, 1100, POLICY), None);
        assert!(health.claim_due_trial(1100, POLICY));
        assert_eq!(health.record_failure(false, 1150, POLICY), None);
        assert_eq!(state(&health, 1150), HealthState::OnTrial);
        assert_eq!(health.snapshot(1150, POLICY).consecutive_failures, 5);
    }

    #[test]
    fn a_late_success_of_an_older_request_brings_it_back() {
        let health = offline();
        assert_eq!(health.record_success(150), Some(Flip::CameBack));
        assert!(health.is_online());
    }

    #[test]
    fn a_silent_trial_is_given_up() {
        let health = offline();
        assert!(health.claim_due_trial(1100, POLICY));
        assert!(!health.claim_due_trial(2099, POLICY));
        assert!(health.claim_due_trial(2100, POLICY));
        assert!(!health.claim_due_trial(2100, POLICY));
    }

    #[test]
    fn an_abandoned_trial_is_free_at_once() {
        let health = offline();
        assert!(health.claim_due_trial(1100, POLICY));
        health.abandon_trial();
        assert_eq!(state(&health, 1101), HealthState::TrialDue);
        assert!(health.claim_due_trial(1101, POLICY));
        assert!(!health.claim_due_trial(1101, POLICY));
    }

    #[test]
    fn forced_trials_keep_their_distance_and_cost_no_waiting() {
        let health = offline();
        assert_eq!(health.next_trial_at(POLICY), Some(0));
        assert!(health.claim_forced_trial(200, POLICY));
        assert!(!health.claim_forced_trial(200, POLICY));
        assert_eq!(health.record_failure(true, 201, POLICY), None);
        assert_eq!(health.next_trial_at(POLICY), Some(450));
        assert!(!health.claim_forced_trial(449, POLICY));
        assert!(health.claim_forced_trial(450, POLICY));
        assert!(health.claim_due_trial(1100, POLICY), "the time was over when it should be");
    }

    #[test]
    fn switched_off_it_only_counts() {
        for policy in [HealthPolicy::OFF, HealthPolicy { attempts: 0, ..POLICY }] {
            let health = Health::default();
            for now_ms in 0..100 {
                assert_eq!(health.record_failure(false, now_ms, policy), None);
            }
            assert!(health.is_online());
            assert_eq!(health.snapshot(100, policy).consecutive_failures, 100);
            assert_eq!(health.snapshot(100, policy).offline_count, 0);
        }
    }

    #[test]
    fn the_snapshot_tells_the_story() {
        let health = Health::default();
        assert_eq!(
            health.snapshot(0, POLICY),
            HealthSnapshot {
                state: HealthState::Online,
                consecutive_failures: 0,
                offline_count: 0,
                last_change_ms: None,
                last_check_ms: None,
                offline_until_ms: None,
            }
        );
        let health = offline();
        assert_eq!(
            health.snapshot(100, POLICY),
            HealthSnapshot {
                state: HealthState::Offline,
                consecutive_failures: 2,
                offline_count: 1,
                last_change_ms: Some(100),
                last_check_ms: Some(100),
                offline_until_ms: Some(1100),
            }
        );
        assert_eq!(state(&health, 1100), HealthState::TrialDue);
        assert!(health.claim_due_trial(1100, POLICY));
        assert_eq!(state(&health, 1100), HealthState::OnTrial);
        assert_eq!(state(&health, 2100), HealthState::TrialDue);
        health.record_success(2200);
        let snapshot = health.snapshot(2200, POLICY);
        assert_eq!((snapshot.state, snapshot.offline_count), (HealthState::Online, 1));
        assert_eq!(snapshot.last_change_ms, Some(2200));
        assert_eq!(snapshot.offline_until_ms, None);
    }

    #[test]
    fn times_and_counts_stop_at_their_ends() {
        let policy = HealthPolicy { attempts: u32::MAX, offline_ms: u64::MAX };
        let health = Health::default();
        health.word.store(Word { failures: Word::MOST_FAILURES - 1, until_ms: 0 }.pack(), Relaxed);
        let flip = health.record_failure(false, u64::MAX, policy);
        let until_ms = Word::LATEST_MS;
        assert_eq!(flip, Some(Flip::WentOffline { failures: Word::MOST_FAILURES, until_ms }));
        health.record_failure(false, u64::MAX, policy);
        assert_eq!(health.word().failures, Word::MOST_FAILURES);
        assert!(health.claim_due_trial(u64::MAX, policy));
        health.record_failure(true, u64::MAX, policy);
        assert!(!health.is_online());
    }
}
