//! Backups, limits, and requests that wait for a backend with room.

use std::sync::atomic::{AtomicBool, AtomicU32};

use parking_lot::{Condvar, Mutex};

use super::*;

/// A request that waits: what it was told.
#[derive(Debug, Default)]
struct Guest {
    calls: Mutex<Vec<Option<InFlight>>>,
    called: Condvar,
    gone: AtomicBool,
}

impl Caller for Guest {
    fn call(&self, place: Option<InFlight>) -> Option<InFlight> {
        if self.gone.load(Ordering::SeqCst) {
            return place;
        }
        self.calls.lock().push(place);
        self.called.notify_one();
        None
    }
}

impl Guest {
    fn new() -> Arc<Guest> {
        Arc::new(Guest::default())
    }

    /// The backends of the calls so far; `None` is to ask again.
    fn heard(&self) -> Vec<Option<usize>> {
        self.calls.lock().iter().map(|place| place.as_ref().map(InFlight::index)).collect()
    }
}

fn limited(primary: &[usize], backup: &[usize], limits: &[u32]) -> Arc<Cluster> {
    let plan = Plan { primary, backup, backends: limits.len(), limits };
    Arc::new(Cluster::new(Algorithm::RoundRobin, &plan, POLICY))
}

fn wait(cluster: &Arc<Cluster>, guest: &Arc<Guest>) -> Option<Waiting> {
    cluster.wait(10, &Tried::new(), Arc::clone(guest) as Arc<dyn Caller>)
}

fn overflowing(cluster: &Cluster) -> Pick {
    cluster.pick(&Ask { overflow: true, ..plain(&Tried::new()) })
}

#[test]
fn a_backup_stands_in_while_the_others_are_offline_and_no_longer() {
    let cluster = limited(&[0, 1], &[2, 3], &[0; 4]);
    assert_eq!(letters(&cluster, 4, &Tried::new(), 0), "abab");
    take_offline(&cluster, 0, 0);
    assert_eq!(letters(&cluster, 3, &Tried::new(), 1), "bbb");
    take_offline(&cluster, 1, 0);
    assert_eq!(letters(&cluster, 4, &Tried::new(), 2), "cdcd");
    assert_eq!(letters(&cluster, 3, &Tried::new(), 10_000), "ABc", "trials go on meanwhile");
    assert_eq!(cluster.record_success(1, 10_001), Some(Flip::CameBack));
    assert_eq!(letters(&cluster, 3, &Tried::new(), 10_002), "bbb");
}

#[test]
fn a_backup_is_the_last_of_the_retries() {
    let cluster = limited(&[0, 1], &[2], &[0; 3]);
    assert_eq!(pick_after(&cluster, &[0, 1], 0), to(2));
    assert_eq!(pick_after(&cluster, &[0, 1, 2], 0), Pick::AllTried);
    assert!(cluster.has_others(&tried(&[0, 1])) && !cluster.has_others(&tried(&[0, 1, 2])));
}

#[test]
fn backups_alone_share_everything() {
    let cluster = limited(&[], &[0, 1], &[0; 2]);
    assert_eq!(letters(&cluster, 4, &Tried::new(), 0), "abab");
}

#[test]
fn nobody_stands_in_for_itself() {
    let cluster = limited(&[0], &[0, 1], &[0; 2]);
    assert!(!cluster.backend(0).is_backup() && cluster.backend(1).is_backup());
    assert_eq!(letters(&cluster, 3, &Tried::new(), 0), "aaa");
}

#[test]
fn a_full_backend_is_passed_over_and_a_backup_saved_for_those_who_cannot_wait() {
    let cluster = limited(&[0, 1], &[2], &[1, 1, 1]);
    let first = cluster.begin(0).unwrap();
    assert!(cluster.begin(0).is_none());
    assert_eq!(letters(&cluster, 3, &Tried::new(), 0), "bbb");
    let second = cluster.begin(1);
    assert_eq!((pick_at(&cluster, 0), overflowing(&cluster)), (Pick::Full, to(2)));
    let third = cluster.begin(2);
    assert_eq!((pick_at(&cluster, 0), overflowing(&cluster)), (Pick::Full, Pick::Full));
    drop(first);
    assert_eq!((pick_at(&cluster, 0), overflowing(&cluster)), (to(0), to(0)));
    drop((second, third));
}

#[test]
fn what_is_full_and_tried_is_not_waited_for() {
    let cluster = limited(&[0, 1], &[], &[1, 0]);
    let _busy = cluster.begin(0);
    assert_eq!(pick_after(&cluster, &[1], 0), Pick::Full);
    assert_eq!(pick_after(&cluster, &[0, 1], 0), Pick::AllTried);
    take_offline(&cluster, 0, 0);
    assert_eq!(pick_after(&cluster, &[1], 1), Pick::AllTried, "offline, and busy with all it takes");
}

#[test]
fn a_place_goes_to_the_first_who_may_have_it() {
    let cluster = limited(&[0, 1], &[], &[1, 1]);
    let (a, b) = (cluster.begin(0), cluster.begin(1));
    let guests = [Guest::new(), Guest::new(), Guest::new()];
    let _choosy = cluster.wait(10, &tried(&[0]), Arc::clone(&guests[0]) as Arc<dyn Caller>);
    let _second = wait(&cluster, &guests[1]);
    let _third = wait(&cluster, &guests[2]);
    assert_eq!(cluster.waiting(), 3);
    drop(a);
    assert_eq!(guests.each_ref().map(|guest| guest.heard()), [vec![], vec![Some(0)], vec![]]);
    assert_eq!((cluster.waiting(), cluster.backend(0).in_flight()), (2, 1), "it was never free");
    assert_eq!(pick_at(&cluster, 0), Pick::Full, "nobody gets in between");
    drop(b);
    assert_eq!(guests[0].heard(), [Some(1)]);
    guests[1].calls.lock().clear();
    assert_eq!(guests[2].heard(), [Some(0)], "who lets go of a place passes it on");
    guests.iter().for_each(|guest| guest.calls.lock().clear());
    let in_flight = (cluster.backend(0).in_flight(), cluster.backend(1).in_flight());
    assert_eq!((cluster.waiting(), in_flight), (0, (0, 0)));
}

#[test]
fn who_has_left_gets_no_place() {
    let cluster = limited(&[0], &[], &[1]);
    let busy = cluster.begin(0);
    let (gone, stays) = (Guest::new(), Guest::new());
    let waiting = wait(&cluster, &gone);
    gone.gone.store(true, Ordering::SeqCst);
    let _stays = wait(&cluster, &stays);
    let leaves = wait(&cluster, &Guest::new());
    drop(leaves);
    drop(busy);
    assert_eq!((gone.heard(), stays.heard()), (vec![], vec![Some(0)]));
    drop(waiting);
    stays.calls.lock().clear();
    assert_eq!((cluster.waiting(), cluster.backend(0).in_flight()), (0, 0));
}

#[test]
fn the_line_is_bounded() {
    let cluster = limited(&[0], &[], &[1]);
    let _busy = cluster.begin(0);
    let enter = || cluster.wait(2, &Tried::new(), Guest::new());
    let (first, second) = (enter(), enter());
    assert!(first.is_some() && second.is_some() && enter().is_none());
    drop(first);
    assert!(enter().is_some());
    drop(second);
}

#[test]
fn a_place_at_a_backend_that_has_gone_offline_is_nobodys() {
    let cluster = limited(&[0, 1], &[], &[1, 1]);
    let (a, b) = (cluster.begin(0), cluster.begin(1));
    let guest = Guest::new();
    let _waiting = wait(&cluster, &guest);
    take_offline(&cluster, 0, 0);
    assert_eq!(guest.heard(), [None], "it looks again, since much has changed");
    drop(a);
    assert_eq!(guest.heard(), [None]);
    assert_eq!(cluster.record_success(0, 1), Some(Flip::CameBack));
    assert_eq!(guest.heard(), [None, None]);
    drop(b);
    assert_eq!(guest.heard(), [None, None, Some(1)]);
    guest.calls.lock().clear();
}

#[test]
fn a_place_at_a_backup_is_for_those_who_wait_for_backups() {
    let cluster = limited(&[0], &[1], &[1, 1]);
    let (a, b) = (cluster.begin(0), cluster.begin(1));
    let guest = Guest::new();
    let _waiting = wait(&cluster, &guest);
    drop(b);
    assert_eq!(guest.heard(), []);
    take_offline(&cluster, 0, 0);
    let b = cluster.begin(1);
    drop(b);
    assert_eq!(guest.heard(), [None, Some(1)]);
    guest.calls.lock().clear();
    drop(a);
}

#[test]
fn a_good_probe_calls_one_for_the_trial() {
    let cluster = limited(&[0, 1], &[], &[1, 1]);
    take_offline(&cluster, 0, 0);
    let _busy = cluster.begin(1);
    let (first, second) = (Guest::new(), Guest::new());
    let _waiting = (wait(&cluster, &first), wait(&cluster, &second));
    cluster.record_probe(0, Probed { at_ms: 5, good: true });
    assert_eq!((first.heard(), second.heard()), (vec![None], vec![]));
    assert_eq!(pick_at(&cluster, 5), trial(0));
}

#[test]
fn threads_that_wait_are_all_served_and_never_too_many_at_once() {
    const THREADS: usize = 8;
    const LIMITS: [u32; 2] = [1, 2];
    let cluster = limited(&[0, 1], &[], &LIMITS);
    let busy: [AtomicU32; 2] = Default::default();
    let waited = AtomicU32::new(0);
    let start = Barrier::new(THREADS);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                start.wait();
                for _ in 0..2_000 {
                    let place = a_place(&cluster, &waited);
                    let index = place.index();
                    let others = busy[index].fetch_add(1, Ordering::SeqCst);
                    assert!(others < LIMITS[index]);
                    // Somebody is to find it full, however many processors there are.
                    thread::yield_now();
                    busy[index].fetch_sub(1, Ordering::SeqCst);
                    drop(place);
                }
            });
        }
    });
    assert!(waited.load(Ordering::SeqCst) > 0, "nobody ever waited, this shows nothing");
    assert_eq!(cluster.waiting(), 0);
    assert_eq!((cluster.backend(0).in_flight(), cluster.backend(1).in_flight()), (0, 0));
}

/// Looks for a place as the engine does; a request that is forgotten makes this panic.
fn a_place(cluster: &Arc<Cluster>, waited: &AtomicU32) -> InFlight {
    let guest = Guest::new();
    let mut waiting = None;
    loop {
        match pick_at(cluster, 0) {
            Pick::Backend { index, .. } => {
                if let Some(place) = cluster.begin(index) {
                    // The place that it may have been given meanwhile goes to the next.
                    drop(waiting);
                    guest.gone.store(true, Ordering::SeqCst);
                    let unwanted = std::mem::take(&mut *guest.calls.lock());
                    drop(unwanted);
                    return place;
                }
            }
            Pick::Full if waiting.is_none() => {
                waiting = cluster.wait(usize::MAX, &Tried::new(), Arc::clone(&guest) as Arc<dyn Caller>);
                waited.fetch_add(1, Ordering::SeqCst);
            }
            Pick::Full => {
                let mut calls = guest.calls.lock();
                if calls.is_empty() {
                    let late = guest.called.wait_for(&mut calls, std::time::Duration::from_secs(20));
                    assert!(!late.timed_out(), "forgotten");
                }
                if let Some(place) = calls.drain(..).flatten().next() {
                    return place;
                }
            }
            other => panic!("{other:?}"),
        }
    }
}
