//! The story of one backend, event by event.

use super::*;

const POLICY: HealthPolicy = HealthPolicy::steady(2, 1000);

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
            last_probe: None,
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
            last_probe: None,
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
    let policy = HealthPolicy::steady(u32::MAX, u64::MAX);
    let health = Health::default();
    health.word.store(Word { failures: Word::MOST_FAILURES - 1, ..Word::default() }.pack(), Relaxed);
    let flip = health.record_failure(false, u64::MAX, policy);
    let until_ms = Word::LATEST_MS;
    assert_eq!(flip, Some(Flip::WentOffline { failures: Word::MOST_FAILURES, until_ms }));
    health.record_failure(false, u64::MAX, policy);
    assert_eq!(health.word().failures, Word::MOST_FAILURES);
    assert!(health.claim_due_trial(u64::MAX, policy));
    health.record_failure(true, u64::MAX, policy);
    assert!(!health.is_online());
}

#[test]
fn each_failed_trial_doubles_the_time_and_a_success_resets_it() {
    let backoff = Backoff { factor: 2, longest_ms: 5000, jitter_percent: 0, seed: 0 };
    let policy = HealthPolicy { backoff, ..POLICY };
    let health = Health::default();
    let until = |health: &Health| health.snapshot(0, policy).offline_until_ms;
    for _ in 0..2 {
        health.record_failure(false, 0, policy);
        health.record_failure(false, 0, policy);
        assert_eq!(until(&health), Some(1000));
        let mut now_ms = 1000;
        for time_ms in [2000, 4000, 5000, 5000] {
            assert!(!health.claim_due_trial(now_ms - 1, policy));
            assert!(health.claim_due_trial(now_ms, policy));
            assert_eq!(health.record_failure(true, now_ms, policy), None);
            now_ms += time_ms;
            assert_eq!(until(&health), Some(now_ms));
        }
        assert_eq!(health.record_success(now_ms), Some(Flip::CameBack));
        health.abandon_trial();
    }
}

#[test]
fn forced_trials_do_not_make_the_time_grow() {
    let policy = HealthPolicy { backoff: Backoff { factor: 2, ..Backoff::NONE }, ..POLICY };
    let health = offline();
    assert!(health.claim_forced_trial(500, policy));
    assert_eq!(health.record_failure(true, 501, policy), None);
    assert_eq!(health.snapshot(501, policy).offline_until_ms, Some(1100));
}

#[test]
fn a_good_probe_makes_the_trial_due_now() {
    let health = offline();
    health.record_open(300);
    assert!(!health.is_online(), "clients alone decide");
    assert!(health.is_open());
    assert_eq!(state(&health, 300), HealthState::TrialDue);
    assert!(health.claim_due_trial(300, POLICY));
    assert!(!health.claim_due_trial(301, POLICY), "it is one");
    health.record_open(302);
    assert!(!health.claim_due_trial(302, POLICY), "and stays one");
    assert_eq!(health.record_success(310), Some(Flip::CameBack));
    health.record_open(311);
    assert!(!health.is_open() && health.is_online(), "of an online one a probe says nothing");
}

#[test]
fn a_probe_behind_a_forced_trial_of_the_same_moment_leaves_a_trial() {
    let health = offline();
    assert!(health.claim_forced_trial(300, POLICY));
    assert_eq!(health.record_failure(true, 300, POLICY), None);
    health.record_open(300);
    assert!(!health.claim_due_trial(300, POLICY));
    assert!(health.claim_due_trial(301, POLICY));
    assert_eq!(health.record_failure(true, 305, POLICY), None);
    assert!(!health.is_open(), "it takes connections and answers none");
    assert!(!health.claim_due_trial(1304, POLICY));
    health.record_open(400);
    health.record_shut();
    assert!(!health.is_open());
}

#[test]
fn checks_take_it_out_and_bring_it_back() {
    let health = Health::default();
    assert_eq!(health.record_fitness(true, 5), None);
    assert_eq!(health.record_fitness(false, 10), Some(Flip::BecameUnfit));
    assert_eq!(health.record_fitness(false, 11), None);
    assert!(!health.is_online() && health.is_merely_unfit());
    assert_eq!(state(&health, 12), HealthState::Unfit);
    assert_eq!(health.record_success(20), None, "an answer is no check");
    assert!(!health.claim_due_trial(99_999, POLICY) && health.next_trial_at(POLICY).is_none());
    assert_eq!(health.record_fitness(true, 30), Some(Flip::CameBack));
    assert_eq!((health.is_online(), health.snapshot(30, POLICY).offline_count), (true, 1));
}

#[test]
fn checks_and_requests_have_to_agree() {
    let health = offline();
    assert_eq!(health.record_fitness(false, 200), None, "it was offline already");
    assert!(!health.claim_due_trial(1100, POLICY), "no trial while checks fail");
    assert_eq!(health.next_trial_at(POLICY), Some(0), "but when nobody else is left");
    assert_eq!(health.record_fitness(true, 1200), None);
    assert!(health.claim_due_trial(1200, POLICY));
    assert_eq!(health.record_fitness(false, 1201), None);
    assert_eq!(health.record_success(1202), None, "its checks fail");
    assert_eq!(health.record_fitness(true, 1300), Some(Flip::CameBack));
    assert_eq!(health.snapshot(1300, POLICY).offline_count, 1);
}

#[test]
fn words_survive_packing() {
    for unfit in [false, true] {
        for open in [false, true] {
            let word = Word { failures: 65_535, round: 63, unfit, open, until_ms: Word::LATEST_MS };
            assert_eq!(Word::unpack(word.pack()), word);
            let word = Word { failures: 1, round: 2, unfit, open, until_ms: 3 };
            assert_eq!(Word::unpack(word.pack()), word);
        }
    }
}

#[test]
fn the_latest_probe_is_shown() {
    let health = Health::default();
    assert_eq!(health.snapshot(0, POLICY).last_probe, None);
    for probed in [Probed { at_ms: 0, good: false }, Probed { at_ms: 70, good: true }] {
        health.note_probe(probed);
        assert_eq!(health.snapshot(99, POLICY).last_probe, Some(probed));
    }
}
