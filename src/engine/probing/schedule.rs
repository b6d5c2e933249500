//! Whom to ask when. No socket, no clock: `now_ms` is an argument, and what
//! looks random follows from a seed.

use std::collections::HashMap;
use std::ops::RangeInclusive;
use std::time::Duration;

use super::line::host;
use crate::balancer::draw;
use crate::config::{Health, HealthCheck, HostHeader, Settings};
use crate::engine::setup::milliseconds;
use crate::engine::shared::Shared;

/// Longest pause between two probes of an offline backend, unless `ProbeInterval` is longer.
const LONGEST_PAUSE_MS: u64 = 10_000;
/// A pause is at most this part of the time for which the backend has been offline, so that
/// coming back costs no more than that in addition.
const PAUSE_PART: u64 = 8;
/// By up to so many hundredths a pause is shortened at random.
const JITTER_PERCENT: u64 = 10;
/// Longest wait for the connection of a probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// All targets, and when each is due.
#[derive(Debug)]
pub(super) struct Schedule {
    targets: Vec<Target>,
    seed: u64,
}

/// Something to be asked: an endpoint on behalf of the backends that it is.
#[derive(Debug)]
pub(super) struct Target {
    pub(super) endpoint: usize,
    pub(super) members: Vec<Member>,
    /// Asked for regularly; without it the target is asked only while a member is failing.
    pub(super) check: Option<Check>,
    /// Longest time for it, in milliseconds.
    pub(super) timeout_ms: u64,
    /// The first pause while a member is failing, in milliseconds, if that is to be found out.
    probe_ms: Option<u64>,
    /// The latest time at which a member began to fail, while one does.
    failing: Option<Failing>,
    due: Due,
    streak: Streak,
    /// How often it was due, and when last.
    count: u64,
    asked_ms: u64,
}

/// A backend, by route and place in its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Member {
    pub(super) route: usize,
    pub(super) backend: usize,
}

/// A regular check. Equal ones of one endpoint are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Check {
    /// What is asked; `None` asks for the connection alone.
    pub(super) question: Option<Question>,
    statuses: Vec<RangeInclusive<u16>>,
    interval_ms: u64,
    timeout_ms: u64,
    rise: u32,
    fall: u32,
}

/// A request of ours.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Question {
    pub(super) text: Vec<u8>,
    /// It is a HEAD request.
    pub(super) is_head: bool,
}

/// What came of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Finding {
    /// What was hoped for.
    Good,
    /// Something else, which speaks against the backend.
    Bad(String),
    /// Nothing, for want of something on our side.
    Nothing,
}

/// What checks have come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fitness {
    /// It may have requests.
    Fit,
    /// It may not.
    Unfit,
}

/// A backend that failed requests have taken offline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trouble {
    /// Since when.
    pub(super) since_ms: u64,
    /// Since when no backend of its cluster has been online, if none is.
    pub(super) none_online_since: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Failing {
    since_ms: u64,
    /// No backend of some member's cluster is online.
    is_missed: bool,
    /// Good probes since then; clients found the backend still failing, or did not come.
    good: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Due {
    Never,
    At(u64),
    /// It is being asked.
    Asked,
}

/// Findings in a row that contradict what the backend counts as.
#[derive(Clone, Copy, Debug)]
struct Streak {
    counts_as: Fitness,
    against: u32,
}

impl Check {
    /// Whether an answer with this status passes.
    pub(super) fn accepts(&self, status: u16) -> bool {
        self.statuses.iter().any(|range| range.contains(&status))
    }
}

impl Schedule {
    /// What the configuration asks for. Checks are spread over their interval.
    pub(super) fn new(shared: &Shared, now_ms: u64) -> Schedule {
        let mut places: HashMap<(usize, Option<Check>), usize> = HashMap::new();
        let mut targets: Vec<Target> = Vec::new();
        for (number, route) in shared.routes.iter().enumerate() {
            let enabled = |&(backend, _): &(usize, _)| route.cluster.backend(backend).weight() > 0;
            for (backend, &endpoint) in route.endpoints.iter().enumerate().filter(enabled) {
                let settings = &route.settings;
                let check = check_of(settings, |literal| host(literal, &shared.endpoints[endpoint]));
                let probe_ms =
                    settings.probes_offline().then(|| milliseconds(settings.health.probe_interval));
                if check.is_none() && probe_ms.is_none() {
                    continue;
                }
                let timeout_ms = match &check {
                    Some(check) => check.timeout_ms,
                    None => {
                        milliseconds(settings.connect_timeout.unwrap_or(PROBE_TIMEOUT).min(PROBE_TIMEOUT))
                    }
                };
                let place = *places.entry((endpoint, check.clone())).or_insert(targets.len());
                if place == targets.len() {
                    targets.push(Target::new(endpoint, check, timeout_ms));
                }
                let target = &mut targets[place];
                target.members.push(Member { route: number, backend });
                target.timeout_ms = target.timeout_ms.max(timeout_ms);
                target.probe_ms = target.probe_ms.into_iter().chain(probe_ms).min();
            }
        }
        let seed = targets.iter().fold(shared.seed, |seed, target| draw(seed, target.members.len() as u64));
        let mut schedule = Schedule { targets, seed };
        schedule.spread(now_ms);
        schedule
    }

    fn spread(&mut self, now_ms: u64) {
        let many = self.targets.len() as u64;
        for (nth, target) in (0..).zip(&mut self.targets) {
            if let Some(check) = &target.check {
                target.due = Due::At(now_ms.saturating_add(check.interval_ms.saturating_mul(nth) / many));
            }
        }
    }

    /// Is there never anything to ask?
    pub(super) fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// One target.
    ///
    /// # Panics
    /// If there is none at this place.
    pub(super) fn target(&self, place: usize) -> &Target {
        &self.targets[place]
    }

    /// The members of all targets.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> {
        self.targets.iter().flat_map(|target| target.members.iter().copied())
    }

    /// Takes note of which members fail, and since when. When the last backend of a cluster has
    /// gone offline, all are asked at once: one may be back already.
    pub(super) fn refresh(&mut self, now_ms: u64, trouble: impl Fn(Member) -> Option<Trouble>) {
        let seed = self.seed;
        for (place, target) in self.targets.iter_mut().enumerate() {
            if target.probe_ms.is_none() {
                continue;
            }
            let all = || target.members.iter().filter_map(|&member| trouble(member));
            let missed_since = all().filter_map(|trouble| trouble.none_online_since).max();
            let failing = all().map(|trouble| trouble.since_ms).max().map(|since_ms| Failing {
                since_ms,
                is_missed: missed_since.is_some(),
                good: target.failing.filter(|it| it.since_ms == since_ms).map_or(0, |it| it.good),
            });
            let is_urgent = missed_since.is_some_and(|at_ms| target.asked_ms < at_ms);
            if failing == target.failing && !is_urgent {
                continue;
            }
            target.failing = failing;
            let pause_ms = if is_urgent { Some(0) } else { target.pause_ms(place, seed, now_ms) };
            let next = pause_ms.map(|pause_ms| now_ms.saturating_add(pause_ms));
            target.due = match (target.due, next) {
                (Due::Asked, _) => Due::Asked,
                (Due::At(due), Some(next)) => Due::At(due.min(next)),
                (Due::Never, Some(next)) => Due::At(next),
                (_, None) => Due::Never,
            };
        }
    }

    /// The target that has been due longest, if one is; tell its end by
    /// [`finished`](Schedule::finished).
    pub(super) fn take_due(&mut self, now_ms: u64) -> Option<usize> {
        let due = self.targets.iter().enumerate().filter_map(|(place, target)| match target.due {
            Due::At(at) if at <= now_ms => Some((at, place)),
            _ => None,
        });
        let (_, place) = due.min()?;
        self.targets[place].due = Due::Asked;
        self.targets[place].count += 1;
        self.targets[place].asked_ms = now_ms;
        Some(place)
    }

    /// When the next target is due.
    pub(super) fn next_ms(&self) -> Option<u64> {
        let due = |target: &Target| match target.due {
            Due::At(at) => Some(at),
            Due::Never | Due::Asked => None,
        };
        self.targets.iter().filter_map(due).min()
    }

    /// A target was asked; what its checks have come to, if that is news.
    pub(super) fn finished(&mut self, place: usize, finding: &Finding, now_ms: u64) -> Option<Fitness> {
        let seed = self.seed;
        let target = &mut self.targets[place];
        if let (Finding::Good, Some(failing)) = (finding, &mut target.failing) {
            failing.good = failing.good.saturating_add(1);
        }
        let pause_ms = target.pause_ms(place, seed, now_ms);
        target.due = pause_ms.map_or(Due::Never, |pause_ms| Due::At(now_ms.saturating_add(pause_ms)));
        let check = target.check.as_ref()?;
        target.streak.add(finding, check.rise, check.fall)
    }
}

impl Target {
    fn new(endpoint: usize, check: Option<Check>, timeout_ms: u64) -> Target {
        Target {
            endpoint,
            members: Vec::new(),
            check,
            timeout_ms,
            probe_ms: None,
            failing: None,
            due: Due::Never,
            streak: Streak { counts_as: Fitness::Fit, against: 0 },
            count: 0,
            asked_ms: 0,
        }
    }

    /// The pause before it is asked (again), in milliseconds; `None` if nobody wants to know.
    fn pause_ms(&self, place: usize, seed: u64, now_ms: u64) -> Option<u64> {
        let probe = match (self.failing, self.probe_ms) {
            (Some(failing), Some(probe_ms)) => Some(failing.pause_ms(probe_ms, now_ms)),
            _ => None,
        };
        let regular = self.check.as_ref().map(|check| check.interval_ms);
        let pause_ms = probe.into_iter().chain(regular).min()?;
        let most = pause_ms * JITTER_PERCENT / 100;
        Some(pause_ms - draw(draw(seed, place as u64), self.count) % (most + 1))
    }
}

impl Failing {
    /// A backend that was seen to take connections and is still failing is
    /// asked less and less often: each time costs a client its trial. The
    /// others as well, unless clients wait for any of them to come back.
    fn pause_ms(self, first_ms: u64, now_ms: u64) -> u64 {
        let waited = if self.is_missed { 0 } else { now_ms.saturating_sub(self.since_ms) / PAUSE_PART };
        let grown = first_ms.saturating_mul(1 << self.good.min(16));
        waited.max(grown).min(LONGEST_PAUSE_MS.max(first_ms))
    }
}

impl Streak {
    /// Adds a finding; the new fitness, if this has changed it.
    fn add(&mut self, finding: &Finding, rise: u32, fall: u32) -> Option<Fitness> {
        let (found, needed) = match (finding, self.counts_as) {
            (Finding::Nothing, _) => return None,
            (Finding::Good, _) => (Fitness::Fit, rise),
            (Finding::Bad(_), _) => (Fitness::Unfit, fall),
        };
        if found == self.counts_as {
            self.against = 0;
            return None;
        }
        self.against += 1;
        if self.against < needed {
            return None;
        }
        *self = Streak { counts_as: found, against: 0 };
        Some(found)
    }
}

/// The check that the settings of a route want, for an endpoint of this name.
fn check_of<'a>(settings: &'a Settings, name: impl Fn(Option<&'a str>) -> &'a str) -> Option<Check> {
    let health: &Health = &settings.health;
    let question = match &health.check {
        HealthCheck::Off => return None,
        HealthCheck::Tcp => None,
        HealthCheck::Http { method, target } => {
            let literal = match &settings.heads.host {
                HostHeader::Literal(host) => Some(host.as_str()),
                HostHeader::Client | HostHeader::Server => None,
            };
            let host = name(literal);
            let text = format!(
                "{method} {target} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: monkey-proxy-reverse\r\n\
                 Accept: */*\r\nConnection: close\r\n\r\n"
            );
            Some(Question { text: text.into_bytes(), is_head: *method == "HEAD" })
        }
    };
    Some(Check {
        question,
        statuses: health.statuses.clone(),
        interval_ms: milliseconds(health.interval),
        timeout_ms: milliseconds(health.timeout),
        rise: health.rise,
        fall: health.fall,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;
    use crate::engine::setup;
    use std::path::Path;

    fn schedule(text: &str) -> Schedule {
        let config = config::from_text(Path::new("p.conf"), text.as_bytes(), &|_| None).unwrap();
        let shared = setup::build(&config, "monkey-1").unwrap();
        Schedule::new(&Shared { seed: 7, ..shared }, 1_000)
    }

    fn entry(servers: &str, lines: &str) -> String {
        format!("[PROXY_ENTRY]\nMatch {servers}\nServerList {servers}\n{lines}\n")
    }

    /// One of several, the others being well.
    fn failing(since_ms: u64) -> Option<Trouble> {
        Some(Trouble { since_ms, none_online_since: None })
    }

    fn bad() -> Finding {
        Finding::Bad("no".to_owned())
    }

    /// When the only target is asked, from `now_ms` on, while it fails since `since_ms`.
    fn times(schedule: &mut Schedule, since_ms: u64, mut now_ms: u64, finding: &Finding) -> Vec<u64> {
        let mut times = Vec::new();
        while times.len() < 12 {
            schedule.refresh(now_ms, |_| failing(since_ms));
            now_ms = schedule.next_ms().unwrap();
            assert_eq!(schedule.take_due(now_ms), Some(0));
            times.push(now_ms);
            schedule.finished(0, finding, now_ms);
        }
        times
    }

    #[test]
    fn nothing_is_asked_where_nothing_can_come_of_it() {
        for lines in ["ProbeOffline off", "AttemptsCount 0", "OfflineTimeOut 0"] {
            assert!(schedule(&entry("a:1 b:2", lines)).is_empty(), "{lines}");
        }
        assert!(!schedule(&entry("a:1", "AttemptsCount 0\nHealthCheck tcp")).is_empty());
    }

    #[test]
    fn healthy_ones_are_left_alone() {
        let mut schedule = schedule(&entry("a:1 b:2", ""));
        schedule.refresh(1_000, |_| None);
        assert_eq!(schedule.next_ms(), None);
        schedule.refresh(2_000, |member| failing(2_000).filter(|_| member.backend == 1));
        let due = schedule.next_ms().unwrap();
        assert!((2_900..=3_000).contains(&due), "{due}");
        assert_eq!(schedule.take_due(due - 1), None);
        assert_eq!(schedule.take_due(due), Some(1));
        assert_eq!((schedule.take_due(due), schedule.next_ms()), (None, None), "it is being asked");
        schedule.refresh(due + 1, |_| None);
        assert_eq!(schedule.finished(1, &Finding::Good, due + 1), None);
        assert_eq!(schedule.next_ms(), None, "it is back");
    }

    #[test]
    fn probes_of_the_dead_grow_rare() {
        let times = times(&mut schedule(&entry("a:1", "")), 1_000, 1_000, &bad());
        let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!(times[0] <= 2_000 && times[8] <= 10_000, "{times:?}");
        for (at, pause) in times.iter().zip(pauses) {
            let longest = ((at - 1_000) / 8).clamp(1_000, 10_000);
            assert!((longest * 9 / 10..=longest).contains(&pause), "{pause} at {at}");
        }
        let later = self::times(&mut schedule(&entry("a:1", "")), 1_000, 900_000, &bad());
        assert!(later.windows(2).all(|pair| (9_000..=10_000).contains(&(pair[1] - pair[0]))), "{later:?}");
    }

    #[test]
    fn who_takes_connections_and_fails_is_asked_less_and_less() {
        let times = times(&mut schedule(&entry("a:1", "")), 1_000, 1_000, &Finding::Good);
        let pauses: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        for (pause, longest) in pauses.iter().zip([2_000, 4_000, 8_000, 10_000, 10_000]) {
            assert!((longest * 9 / 10..=longest).contains(pause), "{pauses:?}");
        }
    }

    #[test]
    fn when_the_last_one_goes_all_are_asked_at_once_and_often() {
        let mut schedule = schedule(&entry("a:1 b:2", ""));
        schedule.refresh(1_000, |member| failing(1_000).filter(|_| member.backend == 0));
        let now_ms = 1_200;
        let alone = |member: Member| {
            let since_ms = if member.backend == 0 { 1_000 } else { 1_200 };
            Some(Trouble { since_ms, none_online_since: Some(1_200) })
        };
        schedule.refresh(now_ms, alone);
        assert_eq!([schedule.take_due(now_ms), schedule.take_due(now_ms)], [Some(0), Some(1)]);
        for place in [0, 1] {
            schedule.finished(place, &bad(), now_ms + 1);
        }
        schedule.refresh(now_ms + 1, alone);
        let due = schedule.next_ms().unwrap();
        assert!((2_101..=2_201).contains(&due), "once, then as ever: {due}");

        let mut now_ms = 600_000;
        for _ in 0..5 {
            schedule.refresh(now_ms, alone);
            while let Some(place) = schedule.take_due(now_ms) {
                schedule.finished(place, &bad(), now_ms);
            }
            let next = schedule.next_ms().unwrap();
            assert!(next <= now_ms + 1_000, "somebody is waiting for it");
            now_ms = next;
        }
    }

    #[test]
    fn a_new_failure_begins_anew() {
        let mut schedule = schedule(&entry("a:1", ""));
        times(&mut schedule, 1_000, 200_000, &Finding::Good);
        let before = schedule.next_ms().unwrap();
        schedule.refresh(before - 5_000, |_| failing(before - 5_000));
        assert!(schedule.next_ms().unwrap() <= before - 4_000);
    }

    #[test]
    fn the_same_seed_gives_the_same_times() {
        let times = |seed| {
            let mut schedule = schedule(&entry("a:1", ""));
            schedule.seed = seed;
            times(&mut schedule, 1_000, 1_000, &bad())
        };
        assert_eq!(times(1), times(1));
        assert_ne!(times(1), times(2));
    }

    #[test]
    fn a_shared_endpoint_is_asked_once() {
        let text =
            entry("a:1 b:2", "") + &entry("b:2", "ProbeInterval 500ms") + &entry("b:2", "ProbeOffline off");
        let mut schedule = schedule(&text);
        assert_eq!(schedule.targets.len(), 2);
        let members = [Member { route: 0, backend: 1 }, Member { route: 1, backend: 0 }];
        assert_eq!(schedule.target(1).members, members);
        schedule.refresh(1_000, |member| failing(1_000).filter(|_| member.route == 1));
        assert!(schedule.next_ms().unwrap() <= 1_500);
        let checks = entry("b:2", "HealthCheck GET /x") + &entry("b:2", "HealthCheck GET /x");
        assert_eq!(self::schedule(&checks).targets.len(), 1);
        let checks = entry("b:2", "HealthCheck GET /x") + &entry("b:2", "HealthCheck GET /y");
        assert_eq!(self::schedule(&checks).targets.len(), 2);
    }

    #[test]
    fn checks_are_spread_over_their_interval() {
        let mut schedule = schedule(&entry("a:1 b:2 c:3 d:4", "HealthCheck tcp\nHealthInterval 8"));
        let mut times = Vec::new();
        while times.len() < 4 {
            let now_ms = schedule.next_ms().unwrap();
            times.push((schedule.take_due(now_ms).unwrap(), now_ms));
        }
        assert_eq!(times, [(0, 1_000), (1, 3_000), (2, 5_000), (3, 7_000)]);
        schedule.finished(0, &Finding::Good, 1_010);
        let next = schedule.next_ms().unwrap();
        assert!((8_210..=9_010).contains(&next), "{next}");
    }

    #[test]
    fn what_fails_is_checked_as_often_as_it_would_be_probed() {
        let mut schedule = schedule(&entry("a:1", "HealthCheck tcp\nHealthInterval 60"));
        assert_eq!(schedule.take_due(1_000), Some(0));
        schedule.finished(0, &Finding::Good, 1_000);
        assert!(schedule.next_ms().unwrap() > 50_000);
        schedule.refresh(2_000, |_| failing(2_000));
        assert!(schedule.next_ms().unwrap() <= 3_000);
    }

    #[test]
    fn so_many_in_a_row_change_the_fitness() {
        let mut schedule = schedule(&entry("a:1", "HealthCheck GET /x\nHealthRise 2\nHealthFall 3"));
        let mut now_ms = 1_000;
        let mut find = |finding: Finding| {
            now_ms = schedule.next_ms().unwrap();
            assert_eq!(schedule.take_due(now_ms), Some(0));
            schedule.finished(0, &finding, now_ms)
        };
        for (findings, last) in
            [("ggbbgbb", None), ("b", Some(Fitness::Unfit)), ("bgbgb", None), ("gg", Some(Fitness::Fit))]
        {
            let mut found = None;
            for letter in findings.chars() {
                assert_eq!(found, None);
                assert_eq!(find(Finding::Nothing), None, "says nothing, and breaks no row");
                found = find(if letter == 'g' { Finding::Good } else { bad() });
            }
            assert_eq!(found, last, "{findings}");
        }
    }

    #[test]
    fn the_question_names_the_server_as_the_entry_does() {
        let text = |lines: &str| {
            let schedule = schedule(&entry("App:81", lines));
            let question = schedule.target(0).check.clone().unwrap().question.unwrap();
            (String::from_utf8(question.text).unwrap(), question.is_head)
        };
        let (get, is_head) = text("HealthCheck GET /up");
        assert!(
            get.starts_with("GET /up HTTP/1.1\r\nHost: app:81\r\n") && get.ends_with("\r\n\r\n"),
            "{get}"
        );
        assert!(!is_head);
        let (head, is_head) = text("HealthCheck HEAD /up\nHostHeader site.example");
        assert!(head.starts_with("HEAD /up HTTP/1.1\r\nHost: site.example\r\n"), "{head}");
        assert!(is_head);
    }
}
