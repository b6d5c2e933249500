//! The cluster as the engine uses it: one thread, several threads, any order of events.

use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::super::testing::plain;
use super::super::{HealthState, LastResort, Probed, Tried};
use super::*;

mod capacity;

const POLICY: HealthPolicy = HealthPolicy::steady(2, 10_000);

fn plan(primary: &[usize], backends: usize) -> Plan<'_> {
    Plan { primary, backends, ..Plan::default() }
}

fn cluster(algorithm: Algorithm, list: &[usize]) -> Cluster {
    let backends = list.iter().max().map_or(0, |&most| most + 1);
    Cluster::new(algorithm, &plan(list, backends), POLICY)
}

fn take_offline(cluster: &Cluster, index: usize, now_ms: u64) {
    assert_eq!(cluster.record_failure(index, false, now_ms), None);
    let until_ms = now_ms + POLICY.offline_ms;
    assert_eq!(
        cluster.record_failure(index, false, now_ms),
        Some(Flip::WentOffline { failures: 2, until_ms })
    );
}

fn tried(indices: &[usize]) -> Tried {
    let mut tried = Tried::new();
    indices.iter().for_each(|&index| tried.insert(index));
    tried
}

fn pick_at(cluster: &Cluster, now_ms: u64) -> Pick {
    cluster.pick(&Ask { repeatable: true, now_ms, ..plain(&Tried::new()) })
}

fn pick_after(cluster: &Cluster, tried_before: &[usize], now_ms: u64) -> Pick {
    cluster.pick(&Ask { repeatable: true, now_ms, ..plain(&tried(tried_before)) })
}

/// `count` picks as letters; a trial is a capital, no backend a `-`.
fn letters(cluster: &Cluster, count: u32, tried: &Tried, now_ms: u64) -> String {
    (0..count)
        .map(|connection| {
            let source = connection.to_be_bytes();
            match cluster.pick(&Ask {
                connection,
                source: &source,
                tried,
                repeatable: true,
                overflow: false,
                now_ms,
            }) {
                Pick::Backend { index, trial: false } => char::from(b"abcdef"[index]),
                Pick::Backend { index, trial: true } => char::from(b"ABCDEF"[index]),
                _ => '-',
            }
        })
        .collect()
}

const fn to(index: usize) -> Pick {
    Pick::Backend { index, trial: false }
}

const fn trial(index: usize) -> Pick {
    Pick::Backend { index, trial: true }
}

#[test]
fn every_algorithm_passes_over_offline_and_tried_ones() {
    for (algorithm, all, without_b) in [
        (Algorithm::Naive, "aabcaabc", "aaccaacc"),
        (Algorithm::FirstAlive, "aaaaaaaa", "aaaaaaaa"),
        (Algorithm::RoundRobin, "abcaabca", "acaacaac"),
        (Algorithm::LockingRoundRobin, "abcaabca", "acaacaac"),
        (Algorithm::LeastConnections, "abcabcab", "acacacac"),
        (Algorithm::SourceHash, "cbccaaac", "ccccaaac"),
    ] {
        let list = [0, 0, 1, 2];
        assert_eq!(letters(&cluster(algorithm, &list), 8, &Tried::new(), 0), all, "{algorithm:?}");

        let offline = cluster(algorithm, &list);
        take_offline(&offline, 1, 0);
        assert_eq!(letters(&offline, 8, &Tried::new(), 1), without_b, "{algorithm:?}");

        let untouched = cluster(algorithm, &list);
        assert_eq!(letters(&untouched, 8, &tried(&[1]), 0), without_b, "{algorithm:?}");
    }
}

#[test]
fn a_request_that_has_tried_all_is_told_so() {
    for algorithm in Algorithm::ALL {
        let cluster = cluster(algorithm, &[0, 1, 0]);
        assert_eq!(pick_after(&cluster, &[0], 0), to(1), "{algorithm:?}");
        assert_eq!(pick_after(&cluster, &[0, 1], 0), Pick::AllTried, "{algorithm:?}");
        take_offline(&cluster, 0, 0);
        assert_eq!(pick_after(&cluster, &[0, 1], 1), Pick::AllTried, "{algorithm:?}");
        take_offline(&cluster, 1, 0);
        assert_eq!(pick_after(&cluster, &[0, 1], 50_000), Pick::AllTried, "{algorithm:?}");
    }
}

#[test]
fn odd_lists_are_harmless() {
    for algorithm in Algorithm::ALL {
        let empty = Cluster::new(algorithm, &plan(&[], 0), POLICY);
        assert!(empty.is_empty());
        assert_eq!(pick_at(&empty, 0), Pick::AllTried);
        let unnamed = Cluster::new(algorithm, &plan(&[1, 7, usize::MAX], 3), POLICY);
        assert_eq!(unnamed.len(), 3);
        let weights: Vec<u32> = (0..3).map(|index| unnamed.backend(index).weight()).collect();
        assert_eq!(weights, [0, 1, 0]);
        assert_eq!(pick_at(&unnamed, 0), to(1));
        assert_eq!(pick_after(&unnamed, &[1], 0), Pick::AllTried);
    }
}

#[test]
fn a_trial_goes_before_the_algorithms_choice() {
    let cluster = cluster(Algorithm::FirstAlive, &[0, 1]);
    take_offline(&cluster, 1, 0);
    assert_eq!(pick_at(&cluster, 9_999), to(0));
    assert_eq!(pick_after(&cluster, &[1], 10_000), to(0), "not for who has tried it");
    assert_eq!(pick_at(&cluster, 10_000), trial(1));
    assert_eq!(pick_at(&cluster, 10_000), to(0));
    assert_eq!(cluster.record_failure(1, true, 10_500), None);
    assert_eq!(pick_at(&cluster, 20_499), to(0));
    assert_eq!(pick_at(&cluster, 20_500), trial(1));
    assert_eq!(cluster.record_success(1, 20_600), Some(Flip::CameBack));
    assert_eq!(pick_after(&cluster, &[0], 20_600), to(1));
}

#[test]
fn an_abandoned_or_silent_trial_is_followed_by_another() {
    let cluster = cluster(Algorithm::FirstAlive, &[0, 1]);
    take_offline(&cluster, 1, 0);
    assert_eq!(pick_at(&cluster, 10_000), trial(1));
    cluster.abandon_trial(1);
    assert_eq!(pick_at(&cluster, 10_001), trial(1));
    assert_eq!(pick_at(&cluster, 20_000), to(0));
    assert_eq!(pick_at(&cluster, 20_001), trial(1));
}

#[test]
fn with_all_offline_each_gets_a_trial_now_and_then() {
    let cluster = cluster(Algorithm::RoundRobin, &[0, 1]);
    take_offline(&cluster, 0, 1_000);
    take_offline(&cluster, 1, 1_000);
    assert_eq!(pick_at(&cluster, 1_000), trial(0));
    assert_eq!(pick_at(&cluster, 1_010), trial(1));
    assert_eq!(pick_at(&cluster, 1_020), Pick::NoneEligible { retry_after_ms: 230 });
    cluster.record_failure(0, true, 1_030);
    cluster.record_failure(1, true, 1_030);
    assert_eq!(pick_after(&cluster, &[0], 1_249), Pick::NoneEligible { retry_after_ms: 11 });
    assert_eq!(pick_at(&cluster, 1_249), Pick::NoneEligible { retry_after_ms: 1 });
    assert_eq!(pick_at(&cluster, 1_250), trial(0));
    assert_eq!(pick_at(&cluster, 1_250), Pick::NoneEligible { retry_after_ms: 10 });
    cluster.abandon_trial(0);
    assert_eq!(pick_at(&cluster, 1_251), trial(0));
    assert_eq!(cluster.record_success(0, 1_252), Some(Flip::CameBack));
    assert_eq!(pick_at(&cluster, 1_253), to(0));
}

#[test]
fn forced_trials_stay_below_their_rate() {
    let cluster = cluster(Algorithm::LeastConnections, &[0, 1, 2]);
    (0..3).for_each(|index| take_offline(&cluster, index, 0));
    let mut trials = [0; 3];
    for now_ms in 1..=5_000 {
        match pick_at(&cluster, now_ms) {
            Pick::Backend { index, trial: true } => {
                trials[index] += 1;
                cluster.record_failure(index, true, now_ms);
            }
            Pick::NoneEligible { retry_after_ms } => assert!((1..=250).contains(&retry_after_ms)),
            other => panic!("{other:?} at {now_ms}"),
        }
    }
    assert_eq!(trials, [20, 20, 20]);
}

#[test]
fn the_last_untried_backend_is_tried_even_if_offline() {
    let cluster = cluster(Algorithm::RoundRobin, &[0, 1]);
    take_offline(&cluster, 1, 0);
    assert_eq!(pick_after(&cluster, &[0], 100), trial(1));
    assert_eq!(pick_after(&cluster, &[0], 100), Pick::NoneEligible { retry_after_ms: 250 });
}

#[test]
fn without_high_availability_nobody_goes_offline() {
    let cluster = Cluster::new(Algorithm::RoundRobin, &plan(&[0, 1], 2), HealthPolicy::OFF);
    for now_ms in 0..100 {
        assert_eq!(cluster.record_failure(0, false, now_ms), None);
    }
    assert_eq!(letters(&cluster, 4, &Tried::new(), 100), "abab");
    assert_eq!(cluster.backend(0).health(100).consecutive_failures, 100);
    assert_eq!(cluster.backend(0).health(100).state, HealthState::Online);
}

#[test]
fn a_trial_is_one_under_eight_threads() {
    for round in 0..200 {
        let cluster = cluster(Algorithm::RoundRobin, &[0, 1, 2]);
        take_offline(&cluster, 1, round);
        let picks = in_threads(8, || [(); 20].map(|()| pick_at(&cluster, round + 10_000)));
        assert_eq!(picks.iter().flatten().filter(|&&pick| pick == trial(1)).count(), 1);
        assert_eq!(picks.iter().flatten().filter(|&&pick| pick == to(1)).count(), 0);
    }
}

#[test]
fn a_forced_trial_is_one_per_backend_under_eight_threads() {
    for round in 0..200 {
        let cluster = cluster(Algorithm::RoundRobin, &[0, 1]);
        take_offline(&cluster, 0, round);
        take_offline(&cluster, 1, round);
        let picks = in_threads(8, || [(); 20].map(|()| pick_at(&cluster, round + 1)));
        for index in 0..2 {
            assert_eq!(picks.iter().flatten().filter(|&&pick| pick == trial(index)).count(), 1);
        }
        assert!(!picks.iter().flatten().any(|pick| matches!(pick, Pick::AllTried)));
    }
}

#[test]
fn the_count_of_offline_ones_survives_flips_from_all_sides() {
    let cluster = cluster(Algorithm::RoundRobin, &[0, 1]);
    in_threads(8, || {
        for now_ms in 0..2_000 {
            for index in 0..2 {
                cluster.record_failure(index, false, now_ms);
                cluster.record_failure(index, false, now_ms);
                cluster.record_success(index, now_ms);
            }
        }
    });
    assert_eq!(cluster.offline.0.load(Ordering::Relaxed), 0);
    assert!(cluster.backend(0).is_online() && cluster.backend(1).is_online());
}

#[test]
fn turns_are_shared_exactly_by_four_threads() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::LockingRoundRobin] {
        let counts = count_picks(&cluster(algorithm, &[0, 1, 2]));
        assert_eq!(counts, [40_000, 40_000, 40_000], "{algorithm:?}");
        let counts = count_picks(&cluster(algorithm, &[0, 0, 0, 1, 2]));
        assert_eq!(counts, [72_000, 24_000, 24_000], "{algorithm:?}");
    }
}

#[test]
fn survivors_share_the_turns_of_a_missing_one() {
    let exact = cluster(Algorithm::LockingRoundRobin, &[0, 1, 2, 3]);
    take_offline(&exact, 1, 0);
    assert_eq!(count_picks(&exact), [40_000, 0, 40_000, 40_000]);

    let lock_free = cluster(Algorithm::RoundRobin, &[0, 1, 2, 3]);
    take_offline(&lock_free, 1, 0);
    let counts = count_picks(&lock_free);
    assert_eq!(counts[1], 0);
    for index in [0, 2, 3] {
        assert!(counts[index].abs_diff(40_000) < 2_000, "{counts:?}");
    }
}

/// How often each backend is picked by 4 threads with 30 000 requests each.
fn count_picks(cluster: &Cluster) -> Vec<u32> {
    let mut counts = vec![0; cluster.len()];
    let picks = in_threads(4, || (0..30_000).map(|_| pick_at(cluster, 1)).collect::<Vec<_>>());
    for pick in picks.iter().flatten() {
        match *pick {
            Pick::Backend { index, trial: false } => counts[index] += 1,
            other => panic!("{other:?}"),
        }
    }
    counts
}

/// Runs `work` in several threads that start together.
fn in_threads<T: Send>(threads: usize, work: impl Fn() -> T + Sync) -> Vec<T> {
    let start = Barrier::new(threads);
    thread::scope(|scope| {
        let work = || {
            start.wait();
            work()
        };
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().map(|handle| handle.join().unwrap()).collect()
    })
}

#[derive(Clone, Debug)]
enum Step {
    Pick { connection: u32, source: Vec<u8>, tried: Vec<usize>, overflow: bool },
    Begin(usize),
    End,
    Success(usize),
    Failure(usize, bool),
    Abandon(usize),
    Probe(usize, bool),
    Fitness(usize, bool),
    Wait(u64),
}

const BACKENDS: usize = 6;

fn any_step() -> impl Strategy<Value = Step> {
    let index = 0..BACKENDS;
    let tried = prop::collection::vec(0..BACKENDS, 0..=BACKENDS);
    let source = prop::collection::vec(any::<u8>(), 0..17);
    prop_oneof![
        4 => (any::<u32>(), source, tried, any::<bool>()).prop_map(
            |(connection, source, tried, overflow)| Step::Pick { connection, source, tried, overflow }
        ),
        1 => index.clone().prop_map(Step::Begin),
        1 => Just(Step::End),
        1 => index.clone().prop_map(Step::Success),
        4 => (index.clone(), any::<bool>()).prop_map(|(index, trial)| Step::Failure(index, trial)),
        1 => index.clone().prop_map(Step::Abandon),
        1 => (index.clone(), any::<bool>()).prop_map(|(index, good)| Step::Probe(index, good)),
        1 => (index, any::<bool>()).prop_map(|(index, fit)| Step::Fitness(index, fit)),
        2 => prop_oneof![0_u64..600, Just(u64::MAX / 8)].prop_map(Step::Wait),
    ]
}

proptest! {
    #[test]
    fn never_a_tried_one_nor_outside_trials_an_offline_one(
        algorithm in prop::sample::select(&Algorithm::ALL[..]),
        list in prop::collection::vec(0..BACKENDS + 2, 0..20),
        backup in prop::collection::vec(0..BACKENDS, 0..4),
        limits in prop::collection::vec(0_u32..4, 0..=BACKENDS),
        attempts in 0_u32..4,
        offline_ms in prop_oneof![Just(0_u64), 1_u64..1000, Just(u64::MAX)],
        factor in 0_u32..4,
        slow_start_ms in prop_oneof![Just(0_u64), 1_u64..1000],
        last_resort in prop::sample::select(&[LastResort::Try, LastResort::Refuse][..]),
        steps in prop::collection::vec(any_step(), 1..200),
    ) {
        let backoff = Backoff { factor, longest_ms: 5_000, jitter_percent: 10, seed: 3 };
        let steady = HealthPolicy::steady(attempts, offline_ms);
        let policy = HealthPolicy { backoff, slow_start_ms, last_resort, ..steady };
        let mut unfit = [false; BACKENDS];
        let cluster = Arc::new(Cluster::new(
            algorithm,
            &Plan { primary: &list, backup: &backup, backends: BACKENDS, limits: &limits },
            policy,
        ));
        let is_primary = |index: usize| list.contains(&index);
        let is_member = |index: usize| is_primary(index) || backup.contains(&index);
        let mut guards = Vec::new();
        let mut now_ms = 0_u64;
        for step in steps {
            match step {
                Step::Begin(index) => {
                    let limit = limits.get(index).copied().filter(|&limit| limit > 0);
                    let had_room = limit.is_none_or(|limit| cluster.backend(index).in_flight() < limit);
                    let guard = cluster.begin(index);
                    prop_assert_eq!(guard.is_some(), had_room);
                    guards.extend(guard);
                }
                Step::End => drop(guards.pop()),
                Step::Success(index) => {
                    cluster.record_success(index, now_ms);
                    prop_assert_eq!(cluster.backend(index).is_online(), !unfit[index]);
                }
                Step::Failure(index, trial) => {
                    cluster.record_failure(index, trial, now_ms);
                    prop_assert!(policy.is_on() || unfit[index] || cluster.backend(index).is_online());
                }
                Step::Abandon(index) => cluster.abandon_trial(index),
                Step::Probe(index, good) => {
                    let before = cluster.backend(index).is_online();
                    cluster.record_probe(index, Probed { at_ms: now_ms, good });
                    prop_assert_eq!(cluster.backend(index).is_online(), before, "clients decide");
                }
                Step::Fitness(index, fit) => {
                    cluster.record_fitness(index, fit, now_ms);
                    unfit[index] = !fit;
                    prop_assert!(fit || !cluster.backend(index).is_online());
                }
                Step::Wait(ms) => now_ms = now_ms.saturating_add(ms),
                Step::Pick { connection, source, tried: indices, overflow } => {
                    let set = tried(&indices);
                    let online: Vec<bool> =
                        (0..BACKENDS).map(|index| cluster.backend(index).is_online()).collect();
                    let all_tried = (0..BACKENDS).all(|index| !is_member(index) || set.contains(index));
                    let might = |index: usize| is_member(index) && !set.contains(index) && online[index];
                    let takes = |index: usize| might(index) && !cluster.backend(index).is_full();
                    let ask =
                        Ask { connection, source: &source, tried: &set, repeatable: true, overflow, now_ms };
                    match cluster.pick(&ask) {
                        Pick::Backend { index, trial } => {
                            prop_assert!(is_member(index));
                            prop_assert!(!indices.contains(&index));
                            prop_assert!(!cluster.backend(index).is_full());
                            let well = (0..BACKENDS).any(takes);
                            if !is_primary(index) && !trial {
                                prop_assert!(!(0..BACKENDS).any(|it| is_primary(it) && takes(it)));
                                let waits = (0..BACKENDS).any(|it| is_primary(it) && might(it));
                                prop_assert!(overflow || !waits);
                            }
                            let resort = last_resort == LastResort::Try && unfit[index] && !well;
                            prop_assert!(online[index] != trial || (resort && !trial));
                        }
                        Pick::NoneEligible { retry_after_ms } => {
                            prop_assert!(!all_tried);
                            let most = if last_resort == LastResort::Try { 250 } else { 5_000 };
                            prop_assert!((1..=most).contains(&retry_after_ms));
                            prop_assert!(!(0..BACKENDS).any(might));
                        }
                        Pick::Full => {
                            prop_assert!((0..BACKENDS).any(might));
                            prop_assert!(!(0..BACKENDS).any(|index| is_primary(index) && takes(index)));
                            prop_assert!(!overflow || !(0..BACKENDS).any(takes));
                        }
                        Pick::AllTried => {
                            // Or those that are left are offline, and busy with all that they take.
                            let is_stuck = |index: usize| !online[index] && cluster.backend(index).is_full();
                            prop_assert!(all_tried || (0..BACKENDS).any(is_stuck));
                            prop_assert!(!(0..BACKENDS).any(might));
                        }
                    }
                }
            }
            let offline =
                (0..BACKENDS).filter(|&index| !cluster.backend(index).is_online()).count();
            prop_assert_eq!(cluster.offline.0.load(Ordering::Relaxed), offline);
        }
    }
}

#[test]
fn a_good_probe_lets_one_trial_through_while_others_are_online() {
    let cluster = cluster(Algorithm::FirstAlive, &[0, 1]);
    take_offline(&cluster, 0, 0);
    cluster.record_probe(0, Probed { at_ms: 700, good: false });
    assert_eq!(pick_at(&cluster, 700), to(1));
    cluster.record_probe(0, Probed { at_ms: 800, good: true });
    assert_eq!(pick_at(&cluster, 800), trial(0));
    assert_eq!(pick_at(&cluster, 801), to(1), "the others wait for its end");
    assert_eq!(cluster.record_success(0, 810), Some(Flip::CameBack));
    assert_eq!(pick_at(&cluster, 810), to(0));
}

/// Who has found no trial to be due does not look again in the same millisecond, unless something
/// has happened.
#[test]
fn a_trial_that_becomes_due_is_noticed_in_the_same_millisecond() {
    let both = cluster(Algorithm::RoundRobin, &[0, 1]);
    take_offline(&both, 0, 1_000);
    let trial = Pick::Backend { index: 0, trial: true };
    let other = Pick::Backend { index: 1, trial: false };
    assert_eq!((pick_at(&both, 2_000), pick_at(&both, 2_000)), (other, other));
    both.record_probe(0, Probed { at_ms: 2_000, good: true });
    assert_eq!((pick_at(&both, 2_000), pick_at(&both, 2_000)), (trial, other));
    both.abandon_trial(0);
    assert_eq!((pick_at(&both, 2_000), pick_at(&both, 2_000)), (trial, other));
    assert!(both.record_failure(0, true, 2_000).is_none());
    assert_eq!(both.record_fitness(0, false, 12_000), None);
    assert_eq!(pick_at(&both, 12_000), other);
    assert_eq!(both.record_fitness(0, true, 12_000), None);
    assert_eq!((pick_at(&both, 12_000), pick_at(&both, 12_001)), (trial, other));
}

#[test]
fn a_good_probe_lets_all_through_when_nobody_else_is_left() {
    let cluster = cluster(Algorithm::RoundRobin, &[0, 1, 2]);
    (0..3).for_each(|index| take_offline(&cluster, index, 0));
    assert_eq!(letters(&cluster, 5, &Tried::new(), 0), "ABC--");
    (0..3).for_each(|index| assert_eq!(cluster.record_failure(index, true, 1), None));
    cluster.record_probe(1, Probed { at_ms: 10, good: true });
    assert_eq!(letters(&cluster, 5, &Tried::new(), 10), "BBBBB");
    cluster.record_probe(2, Probed { at_ms: 11, good: true });
    assert_eq!(letters(&cluster, 5, &Tried::new(), 12), "CCBCB", "both take connections");
    cluster.record_failure(1, true, 13);
    cluster.record_failure(2, true, 13);
    assert_eq!(letters(&cluster, 5, &Tried::new(), 14), "-----", "it was nothing");
}

#[test]
fn the_last_to_go_tells_since_when_none_is_online() {
    let cluster = cluster(Algorithm::RoundRobin, &[0, 1]);
    assert_eq!(cluster.none_online_since(), None);
    take_offline(&cluster, 1, 20);
    assert_eq!(cluster.none_online_since(), None);
    assert_eq!(cluster.record_fitness(0, false, 30), Some(Flip::BecameUnfit));
    assert_eq!(cluster.none_online_since(), Some(30));
    assert_eq!(cluster.record_success(1, 40), Some(Flip::CameBack));
    assert_eq!(cluster.none_online_since(), None);
}

#[test]
fn refusing_waits_for_a_trial_that_is_due() {
    let policy = HealthPolicy { last_resort: LastResort::Refuse, ..POLICY };
    let cluster = Cluster::new(Algorithm::RoundRobin, &plan(&[0, 1], 2), policy);
    take_offline(&cluster, 0, 0);
    assert!(!cluster.is_exhausted(0));
    take_offline(&cluster, 1, 2_000);
    assert!(cluster.is_exhausted(2_000));
    assert_eq!(pick_at(&cluster, 2_000), Pick::NoneEligible { retry_after_ms: 5_000 });
    assert_eq!(pick_at(&cluster, 9_999), Pick::NoneEligible { retry_after_ms: 1 });
    assert_eq!(pick_after(&cluster, &[0, 1], 9_999), Pick::AllTried);
    assert!(!cluster.is_exhausted(10_000));
    assert_eq!(pick_at(&cluster, 10_000), trial(0));
    assert!(cluster.is_exhausted(10_000));
    cluster.record_probe(1, Probed { at_ms: 10_001, good: true });
    assert!(!cluster.is_exhausted(10_001));
    assert_eq!(letters(&cluster, 3, &Tried::new(), 10_001), "B--");
    assert_eq!(cluster.record_success(1, 10_002), Some(Flip::CameBack));
    assert!(!cluster.is_exhausted(10_003));
    assert_eq!(letters(&cluster, 3, &Tried::new(), 10_003), "bbb");
}

#[test]
fn what_fails_its_checks_serves_only_when_nobody_else_can() {
    for (last_resort, alone) in [(LastResort::Try, "bbb"), (LastResort::Refuse, "---")] {
        let policy = HealthPolicy { last_resort, ..POLICY };
        let cluster = Cluster::new(Algorithm::RoundRobin, &plan(&[0, 1], 2), policy);
        assert_eq!(cluster.record_fitness(1, false, 0), Some(Flip::BecameUnfit));
        assert_eq!(letters(&cluster, 3, &Tried::new(), 0), "aaa");
        take_offline(&cluster, 0, 0);
        assert_eq!(letters(&cluster, 3, &Tried::new(), 1), alone);
        assert_eq!(cluster.record_fitness(1, true, 2), Some(Flip::CameBack));
        assert_eq!(letters(&cluster, 3, &Tried::new(), 2), "bbb");
        assert_eq!(cluster.record_success(0, 3), Some(Flip::CameBack));
        assert_eq!(cluster.offline.0.load(Ordering::Relaxed), 0);
    }
}

/// Backend 1 of the list came back at 1000, and has its full share at 6000.
fn slow_start(algorithm: Algorithm, list: &[usize]) -> Cluster {
    let policy = HealthPolicy { slow_start_ms: 5_000, ..POLICY };
    let backends = list.iter().max().map_or(0, |&most| most + 1);
    let cluster = Cluster::new(algorithm, &plan(list, backends), policy);
    take_offline(&cluster, 1, 900);
    assert_eq!(cluster.record_success(1, 1_000), Some(Flip::CameBack));
    cluster
}

#[test]
fn a_backend_that_came_back_starts_slowly() {
    for algorithm in [Algorithm::RoundRobin, Algorithm::LockingRoundRobin, Algorithm::LeastConnections] {
        let at = |now_ms| letters(&slow_start(algorithm, &[0, 1]), 22, &Tried::new(), now_ms);
        assert_eq!(at(1_000), "aaaaaaaaaabaaaaaaaaaab", "{algorithm:?}");
        assert_eq!(at(3_500), "aabaabaabaabaababaabaa", "{algorithm:?}");
        assert_eq!(at(6_000), "ababababababababababab", "{algorithm:?}");
    }
    let first_alive = slow_start(Algorithm::FirstAlive, &[1, 0]);
    assert_eq!(letters(&first_alive, 3, &Tried::new(), 1_000), "bbb", "shares mean nothing there");
}

#[test]
fn slow_starts_move_clients_one_by_one() {
    for algorithm in [Algorithm::Naive, Algorithm::SourceHash] {
        let cluster = slow_start(algorithm, &[0, 1, 2]);
        let at = |now_ms| letters(&cluster, 2_000, &Tried::new(), now_ms);
        let steady = at(6_000);
        let share = |text: &str| text.chars().filter(|&letter| letter == 'b').count();
        let full = share(&steady);
        let mut before = "-".repeat(2_000);
        for (now_ms, percent) in [(1_000, 10), (2_000, 28), (3_500, 55), (5_999, 99)] {
            let now = at(now_ms);
            assert!(share(&now).abs_diff(full * percent / 100) < full / 10, "{algorithm:?} {now_ms}");
            for ((was, is), will_be) in before.chars().zip(now.chars()).zip(steady.chars()) {
                assert!(is == will_be || will_be == 'b', "only its own clients wait");
                assert!(was != 'b' || is == 'b', "nobody goes back and forth");
            }
            before = now;
        }
    }
}

#[test]
fn nobody_is_spared_at_the_expense_of_an_answer() {
    for algorithm in Algorithm::ALL {
        let alone = slow_start(algorithm, &[1]);
        assert_eq!(letters(&alone, 4, &Tried::new(), 1_000), "bbbb", "{algorithm:?}");
        let cluster = slow_start(algorithm, &[0, 1]);
        assert_eq!(letters(&cluster, 4, &tried(&[0]), 1_000), "bbbb", "{algorithm:?}");
        take_offline(&cluster, 0, 1_000);
        assert_eq!(pick_at(&cluster, 1_001), to(1), "{algorithm:?}");
    }
}

#[test]
fn where_all_start_slowly_they_share_as_ever() {
    let policy = HealthPolicy { slow_start_ms: 5_000, ..POLICY };
    let cluster = Cluster::new(Algorithm::RoundRobin, &plan(&[0, 1, 2], 3), policy);
    (0..3).for_each(|index| take_offline(&cluster, index, 0));
    (0..3).for_each(|index| assert_eq!(cluster.record_success(index, 10), Some(Flip::CameBack)));
    assert_eq!(letters(&cluster, 6, &Tried::new(), 10), "abcabc");
    let fresh = Cluster::new(Algorithm::RoundRobin, &plan(&[0, 1, 2], 3), policy);
    assert_eq!(letters(&fresh, 6, &Tried::new(), 0), "abcabc", "no slow start at the start");
}
