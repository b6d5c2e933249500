//! How long a connection to a backend may be idle before it is likely to be
//! closed on the other side: what the configuration allows, what the backend
//! announced (`Keep-Alive`), what was learned from its closes. Knows no socket
//! and no clock: times are milliseconds of [`super::Now`].

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::setup::milliseconds;
use crate::config::Settings;
use crate::http::response::KeepAlive;
use crate::stats::events::Connection;

/// A connection that is closed sooner than this was not idle for too long: its
/// backend stopped, or never keeps any.
const LEAST_AGE_MS: u64 = 100;
/// After so long without a lesson the learned limit grows by a half, and again.
const GROWS_AFTER_MS: u64 = 60 * 60 * 1000;
/// A learned limit that has grown beyond this says nothing any more.
const FORGOTTEN_MS: u64 = 60 * 60 * 1000;
/// A connection that breaks sooner than this behind its reuse was stale; later
/// on, it is the request that it broke on.
const SOON_MS: u64 = 1000;
/// A backend that refuses connections this soon after it closed some did not
/// find them too old: it stopped.
const DOUBTED_S: u64 = 60;
/// How long to keep a connection whose backend promises a single second.
const WITHIN_A_SECOND_MS: u64 = 800;

/// What a route allows a pooled connection; `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Milliseconds that it may be idle.
    pub idle_ms: Option<u64>,
    /// Milliseconds from its connect to its last request.
    pub age_ms: Option<u64>,
    /// Requests that it may carry.
    pub requests: Option<u32>,
    /// Whether announcements and closes of the backend count.
    pub learns: bool,
}

impl Limits {
    /// The limits of a route.
    pub fn of(settings: &Settings) -> Self {
        Limits {
            idle_ms: settings.pool_idle_timeout.map(milliseconds),
            age_ms: settings.pool_max_age.map(milliseconds),
            requests: settings.pool_max_requests,
            learns: settings.pool_learn,
        }
    }
}

/// From when to when a connection was idle, in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Idleness {
    /// When it was parked.
    pub since_ms: u64,
    /// When it was taken out again, or was found closed.
    pub until_ms: u64,
}

impl Idleness {
    fn ms(self) -> u64 {
        self.until_ms.saturating_sub(self.since_ms)
    }
}

/// What is known of one connection, from its connect to its close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    opened_ms: u64,
    /// Requests so far, that under way included.
    requests: u32,
    /// From when to when it was idle before the present request.
    idle: Idleness,
    /// Milliseconds of idleness that the backend announced to bear.
    announced_ms: Option<u64>,
    /// Requests that the backend announced to take, from the first one on.
    announced_requests: Option<u32>,
}

impl Window {
    /// Of a connection that is opened now, for its first request.
    pub fn opened(now_ms: u64) -> Self {
        Window {
            opened_ms: now_ms,
            requests: 1,
            idle: Idleness::default(),
            announced_ms: None,
            announced_requests: None,
        }
    }

    /// It carries another request, after having been idle.
    pub fn reuse(&mut self, idle: Idleness) {
        self.requests = self.requests.saturating_add(1);
        self.idle = idle;
    }

    /// What is told of it to people.
    pub fn connection(&self, now_ms: u64) -> Connection {
        Connection { age_ms: now_ms.saturating_sub(self.opened_ms), requests: self.requests }
    }

    /// When it was idle, if it was lost at `now_ms` for that reason: soon after
    /// it was taken out of the pool.
    pub fn lost_for(&self, now_ms: u64) -> Option<Idleness> {
        (now_ms.saturating_sub(self.idle.until_ms) <= SOON_MS).then_some(self.idle)
    }

    /// The backend's answer to the present request said this. A second less
    /// than announced and a request less, since both sides count differently.
    pub fn announce(&mut self, keep_alive: KeepAlive) {
        if let Some(seconds) = keep_alive.timeout {
            self.announced_ms = Some(match seconds {
                0 => 0,
                1 => WITHIN_A_SECOND_MS,
                more => (u64::from(more) - 1) * 1000,
            });
        }
        if let Some(max) = keep_alive.max {
            // Some count down to the end of the connection, some name the same
            // number each time. The least is right for both.
            let total = self.requests.saturating_add(max.saturating_sub(1));
            self.announced_requests = Some(self.announced_requests.unwrap_or(u32::MAX).min(total));
        }
    }

    /// Until when it may wait for another request, if it was parked at
    /// `since_ms`. Not later than `since_ms` itself if it must not be parked;
    /// `None` when it may wait for ever.
    pub fn until_ms(&self, since_ms: u64, limits: Limits, learned_ms: Option<u64>) -> Option<u64> {
        let (announced_requests, learned) =
            if limits.learns { (self.announced_requests, learned_ms) } else { (None, None) };
        let requests = least(limits.requests, announced_requests);
        if requests.is_some_and(|most| self.requests >= most) {
            return Some(since_ms);
        }
        let idle = least(limits.idle_ms, least(self.announced(limits), learned));
        let by_idle = idle.map(|idle| since_ms.saturating_add(idle));
        let by_age = limits.age_ms.map(|age| self.opened_ms.saturating_add(age));
        least(by_idle, by_age)
    }

    /// What a close by the backend behind this idleness teaches, in
    /// milliseconds; `None` if nothing: it was announced, or came too soon for a habit.
    pub fn lesson(&self, idle: Idleness, limits: Limits) -> Option<u64> {
        let idle_ms = idle.ms();
        let announced = self.announced(limits).is_some_and(|announced| idle_ms >= announced);
        (limits.learns && !announced && idle_ms >= LEAST_AGE_MS).then_some(idle_ms)
    }

    fn announced(&self, limits: Limits) -> Option<u64> {
        if limits.learns { self.announced_ms } else { None }
    }
}

/// The smaller limit, where `None` is none. (An iterator over the two takes a hundred times the
/// instructions, and this is asked three times for each request.)
fn least<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// The idle limit that was learned of one endpoint, shared by all workers: four
/// fifths of the shortest idleness after which it closed a connection.
///
/// Limit and time of the lesson are one number, so that nobody sees one
/// without the other: milliseconds above, seconds below; 0 is no limit.
#[derive(Debug, Default)]
pub struct Learned {
    known: AtomicU64,
    /// What was known before the latest lessons, which may have been none.
    before: AtomicU64,
}

impl Learned {
    /// The limit at this moment, in milliseconds; `None` if there is none.
    pub fn limit_ms(&self, now_ms: u64) -> Option<u64> {
        // Relaxed: the number stands for itself.
        limit_at(self.known.load(Relaxed), now_ms)
    }

    /// A connection was closed after so many idle milliseconds; true if the
    /// limit is lower now.
    pub fn closed_after(&self, idle_ms: u64, now_ms: u64) -> bool {
        let limit = u32::try_from(idle_ms / 5 * 4).unwrap_or(u32::MAX).max(1);
        // After 136 years the seconds stand still, and with them the limit.
        let second = u32::try_from(now_ms / 1000).unwrap_or(u32::MAX);
        let lesson = u64::from(limit) << 32 | u64::from(second);
        let lower = |known: u64| match limit_at(known, now_ms) {
            // Closes that come together are one event, and the first was told
            // of the oldest connection.
            Some(limit_now) => u64::from(limit) < limit_now && u64::from(second) > taught_at(known) + 1,
            None => true,
        };
        let taught = self.known.fetch_update(Relaxed, Relaxed, |known| lower(known).then_some(lesson));
        if let Ok(known) = taught
            && !is_doubted(known, now_ms)
        {
            self.before.store(known, Relaxed);
        }
        taught.is_ok()
    }

    /// The backend refuses connections: what its latest closes have taught is forgotten.
    pub fn stopped(&self, now_ms: u64) {
        let known = self.known.load(Relaxed);
        if is_doubted(known, now_ms) {
            // Should another worker be faster, it has forgotten the same.
            let _ = self.known.compare_exchange(known, self.before.load(Relaxed), Relaxed, Relaxed);
        }
    }
}

/// What a limit that was learned some time ago has grown to.
fn limit_at(known: u64, now_ms: u64) -> Option<u64> {
    let mut limit = known >> 32;
    let hours = now_ms.saturating_sub(taught_at(known) * 1000) / GROWS_AFTER_MS;
    if limit == 0 {
        return None;
    }
    for _ in 0..hours {
        limit += limit.div_ceil(2);
        if limit > FORGOTTEN_MS {
            return None;
        }
    }
    Some(limit)
}

/// Whether a lesson is so young that a stop of the backend may turn out to be behind it.
fn is_doubted(known: u64, now_ms: u64) -> bool {
    known != 0 && now_ms / 1000 <= taught_at(known) + DOUBTED_S
}

/// The second of the lesson.
fn taught_at(known: u64) -> u64 {
    known & u64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: Limits = Limits { idle_ms: None, age_ms: None, requests: None, learns: true };
    const HOUR_MS: u64 = GROWS_AFTER_MS;

    fn says(timeout: Option<u32>, max: Option<u32>) -> KeepAlive {
        KeepAlive { timeout, max }
    }

    #[test]
    fn a_backend_that_stopped_has_taught_nothing() {
        let learned = Learned::default();
        learned.stopped(5000);
        assert_eq!(learned.limit_ms(5000), None);
        assert!(learned.closed_after(1000, 10_000));
        learned.stopped(10_000 + (DOUBTED_S + 1) * 1000);
        assert_eq!(learned.limit_ms(100_000), Some(800), "too late to doubt it");
        assert!(learned.closed_after(500, 200_000));
        assert!(learned.closed_after(100, 203_000));
        assert_eq!(learned.limit_ms(203_000), Some(80));
        learned.stopped(204_000);
        assert_eq!(learned.limit_ms(204_000), Some(800), "both lessons were of one stop");
        learned.stopped(204_000);
        assert_eq!(learned.limit_ms(204_000), Some(800));
    }

    #[test]
    fn without_limits_a_connection_waits_for_ever() {
        assert_eq!(Window::opened(5).until_ms(10, FREE, None), None);
    }

    #[test]
    fn the_shortest_of_all_limits_counts() {
        let mut window = Window::opened(1_000);
        let limits = Limits { idle_ms: Some(4_000), ..FREE };
        assert_eq!(window.until_ms(2_000, limits, None), Some(6_000));
        assert_eq!(window.until_ms(2_000, limits, Some(3_000)), Some(5_000));
        window.announce(says(Some(3), None));
        assert_eq!(window.until_ms(2_000, limits, Some(3_000)), Some(4_000));
        assert_eq!(window.until_ms(2_000, Limits { age_ms: Some(2_500), ..limits }, None), Some(3_500));
        assert_eq!(window.until_ms(2_000, Limits { idle_ms: None, ..limits }, Some(1_500)), Some(3_500));
    }

    #[test]
    fn an_announced_time_is_kept_by_a_margin_and_the_last_one_counts() {
        let mut window = Window::opened(0);
        for (seconds, idle) in [(60, 59_000), (5, 4_000), (2, 1_000), (1, 800), (0, 0)] {
            window.announce(says(Some(seconds), None));
            assert_eq!(window.until_ms(100, FREE, None), Some(100 + idle), "{seconds} s");
        }
        window.announce(says(None, None));
        assert_eq!(window.until_ms(100, FREE, None), Some(100));
        window.announce(says(Some(u32::MAX), None));
        assert!(window.until_ms(100, FREE, None).is_some_and(|until| until > 1 << 40));
    }

    #[test]
    fn so_many_requests_and_no_more() {
        let limits = Limits { requests: Some(2), ..FREE };
        let mut window = Window::opened(0);
        assert_eq!(window.until_ms(10, limits, None), None);
        window.reuse(Idleness::default());
        assert_eq!(window.until_ms(10, limits, None), Some(10));
        assert_eq!(Window::opened(0).until_ms(10, Limits { requests: Some(1), ..FREE }, None), Some(10));
    }

    /// How many requests a connection carries whose backend says `max` so.
    fn carried(max: impl Fn(u32) -> u32) -> u32 {
        let mut window = Window::opened(0);
        for request in 1.. {
            window.announce(says(None, Some(max(request))));
            if window.until_ms(10, FREE, None).is_some() {
                return request;
            }
            window.reuse(Idleness::default());
        }
        unreachable!("numbers do not end")
    }

    #[test]
    fn an_announced_number_is_never_exceeded_however_it_is_meant() {
        // What is left behind the present answer: the backend takes six.
        assert_eq!(carried(|request| 6 - request), 5);
        // The same number each time.
        assert_eq!(carried(|_| 5), 5);
        assert_eq!((carried(|_| 1), carried(|_| 0)), (1, 1));
    }

    #[test]
    fn nothing_is_learned_where_that_is_switched_off() {
        let limits = Limits { learns: false, idle_ms: Some(9_000), ..FREE };
        let mut window = Window::opened(0);
        window.announce(says(Some(2), Some(1)));
        assert_eq!(window.until_ms(0, limits, Some(1)), Some(9_000));
        assert_eq!(window.lesson(idle(500), limits), None);
    }

    fn idle(ms: u64) -> Idleness {
        Idleness { since_ms: 7, until_ms: 7 + ms }
    }

    #[test]
    fn a_connection_that_breaks_long_after_its_reuse_was_not_stale() {
        let mut window = Window::opened(0);
        window.reuse(idle(500));
        assert_eq!(window.lost_for(507 + SOON_MS), Some(idle(500)));
        assert_eq!(window.lost_for(508 + SOON_MS), None);
    }

    #[test]
    fn only_a_close_that_nobody_announced_teaches() {
        let mut window = Window::opened(0);
        assert_eq!(window.lesson(idle(500), FREE), Some(500));
        assert_eq!(window.lesson(idle(LEAST_AGE_MS - 1), FREE), None);
        window.announce(says(Some(5), None));
        assert_eq!(window.lesson(idle(4_000), FREE), None);
        assert_eq!(window.lesson(idle(3_000), FREE), Some(3_000));
    }

    #[test]
    fn a_close_lowers_the_limit_and_none_raises_it() {
        let learned = Learned::default();
        assert_eq!(learned.limit_ms(0), None);
        assert!(learned.closed_after(1_000, 0));
        assert_eq!(learned.limit_ms(0), Some(800));
        assert!(!learned.closed_after(5_000, 2_000));
        assert!(!learned.closed_after(1_000, 2_000));
        assert!(learned.closed_after(500, 2_000));
        assert_eq!(learned.limit_ms(2_000), Some(400));
    }

    #[test]
    fn closes_that_come_together_teach_once() {
        let learned = Learned::default();
        assert!(learned.closed_after(1_000, 900));
        assert!(!learned.closed_after(300, 901) && !learned.closed_after(300, 1_900));
        assert!(learned.closed_after(300, 2_000));
    }

    #[test]
    fn the_limit_creeps_up_after_an_hour_and_is_forgotten_in_the_end() {
        let learned = Learned::default();
        assert!(learned.closed_after(1_000, 7_000));
        let at = |ms| learned.limit_ms(7_000 + ms);
        assert_eq!((at(0), at(HOUR_MS - 1), at(HOUR_MS)), (Some(800), Some(800), Some(1_200)));
        assert_eq!((at(2 * HOUR_MS), at(60 * HOUR_MS)), (Some(1_800), None));
        assert_eq!(learned.limit_ms(u64::MAX), None);
        // What has grown too far comes down at the next close.
        assert!(learned.closed_after(1_000, 7_000 + HOUR_MS));
        assert_eq!((at(HOUR_MS), at(2 * HOUR_MS)), (Some(800), Some(1_200)));
    }

    #[test]
    fn extreme_times_do_not_overflow() {
        let learned = Learned::default();
        assert!(learned.closed_after(1, u64::MAX / 2));
        assert_eq!(learned.limit_ms(0), Some(1));
        assert!(!learned.closed_after(u64::MAX, 0) && learned.closed_after(u64::MAX, u64::MAX));
        let window = Window::opened(u64::MAX);
        let limits = Limits { idle_ms: Some(u64::MAX), age_ms: Some(u64::MAX), ..FREE };
        assert_eq!(window.until_ms(u64::MAX, limits, None), Some(u64::MAX));
    }
}
