//! Asks backends whether they are there: those that are offline for a
//! connection, and where `HealthCheck` wants it all of them for an answer.
//!
//! One thread for the process, since a worker's time belongs to clients. It
//! sleeps in a poll of its own while nothing is to be asked, and is woken when
//! a backend goes offline. What it finds goes into `balancer::Cluster`; of
//! backends that failed requests clients alone decide.
//!
//! Read next: `schedule.rs` (whom to ask when), `answer.rs` (what an answer is
//! worth).

mod answer;
mod line;
mod schedule;

use std::io;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

use mio::{Events, Poll, Token, Waker};

use super::Now;
use super::failure::Failure;
use super::shared::{Route, Shared};
use crate::balancer::{Flip, Probed};
use crate::stats::events::Kind;
use line::{Line, Progress};
use schedule::{Finding, Fitness, Schedule, Trouble};

/// Connections of this thread at a time; with more servers than this some wait.
const MOST_AT_ONCE: usize = 64;
/// The token of the wake-up; all others are places in the schedule.
const WAKE: Token = Token(usize::MAX);
/// Events taken from the poll at a time.
const EVENTS: usize = 64;

/// How workers reach the thread.
#[derive(Debug, Default)]
pub struct Bell(OnceLock<Waker>);

impl Bell {
    /// A backend has gone offline: there may be somebody to ask.
    pub fn ring(&self) {
        if let Some(waker) = self.0.get()
            && let Err(error) = waker.wake()
        {
            log::error!("probes of offline servers may come late: {error}");
        }
    }
}

/// Starts the thread if there may ever be something to ask. Call it in the
/// process that serves: threads do not survive a fork.
pub fn start(shared: &Arc<Shared>, clock: fn() -> Now) {
    let schedule = Schedule::new(shared, clock().ms);
    if schedule.is_empty() {
        return;
    }
    let started = Prober::new(Arc::clone(shared), schedule, clock).and_then(|mut prober| {
        let run = move || prober.run();
        thread::Builder::new().name("proxy-prober".into()).spawn(run)
    });
    if let Err(error) = started {
        log::error!("servers are neither probed nor checked: no thread: {error}");
    }
}

/// What the thread has.
struct Prober {
    shared: Arc<Shared>,
    schedule: Schedule,
    clock: fn() -> Now,
    poll: Poll,
    /// The connections under way, by place in the schedule.
    lines: Vec<(usize, Line)>,
}

impl Prober {
    fn new(shared: Arc<Shared>, schedule: Schedule, clock: fn() -> Now) -> io::Result<Self> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKE)?;
        // Nobody else sets it: there is one such thread.
        let _ = shared.bell.0.set(waker);
        Ok(Prober { shared, schedule, clock, poll, lines: Vec::new() })
    }

    fn run(&mut self) {
        let mut events = Events::with_capacity(EVENTS);
        loop {
            let now = (self.clock)();
            self.give_up_late_ones(now);
            self.look_around(now);
            self.ask(now);
            match self.poll.poll(&mut events, self.pause(now)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    log::error!("servers are neither probed nor checked any more: {error}");
                    return;
                }
            }
            let now = (self.clock)();
            for event in &events {
                if event.token() != WAKE {
                    self.go_on(event.token().0, now);
                }
            }
        }
    }

    /// Who fails, and is anybody left?
    fn look_around(&mut self, now: Now) {
        let routes = &self.shared.routes;
        let none_online_since: Vec<Option<u64>> =
            routes.iter().map(|route| route.cluster.none_online_since()).collect();
        self.schedule.refresh(now.ms, |member| {
            let since_ms = routes[member.route].cluster.backend(member.backend).failing_since()?;
            Some(Trouble { since_ms, none_online_since: none_online_since[member.route] })
        });
    }

    /// How long there is nothing to do unless something happens; `None` is for ever.
    fn pause(&self, now: Now) -> Option<Duration> {
        let late = self.lines.iter().map(|(_, line)| line.deadline_ms);
        let due = if self.lines.len() < MOST_AT_ONCE { self.schedule.next_ms() } else { None };
        // One more, since the poll may end a moment early.
        late.chain(due).min().map(|at| Duration::from_millis(at.saturating_sub(now.ms) + 1))
    }

    fn ask(&mut self, now: Now) {
        while self.lines.len() < MOST_AT_ONCE
            && let Some(place) = self.schedule.take_due(now.ms)
        {
            let target = self.schedule.target(place);
            let deadline_ms = now.ms.saturating_add(target.timeout_ms);
            let opened = self.shared.endpoints[target.endpoint]
                .connect()
                .and_then(|socket| Line::new(socket, self.poll.registry(), Token(place), deadline_ms));
            match opened {
                Ok(line) => self.lines.push((place, line)),
                Err(error) => self.found(place, finding_of(error), now),
            }
        }
    }

    fn go_on(&mut self, place: usize, now: Now) {
        let Some(at) = self.lines.iter().position(|(of, _)| *of == place) else { return };
        let check = self.schedule.target(place).check.as_ref();
        let finding = match self.lines[at].1.go_on(check.and_then(|check| check.question.as_ref())) {
            Ok(Progress::Waits) => return,
            Ok(Progress::Connected) => Finding::Good,
            Ok(Progress::Answered(status)) if check.is_some_and(|check| check.accepts(status)) => {
                Finding::Good
            }
            Ok(Progress::Answered(status)) => Finding::Bad(format!("it answered {status}")),
            Ok(Progress::Bad(why)) => Finding::Bad(why),
            Err(error) => finding_of(error),
        };
        self.lines.swap_remove(at);
        self.found(place, finding, now);
    }

    fn give_up_late_ones(&mut self, now: Now) {
        while let Some(at) = self.lines.iter().position(|(_, line)| line.deadline_ms <= now.ms) {
            let (place, line) = self.lines.swap_remove(at);
            self.found(place, Finding::Bad(line.what_is_late().to_owned()), now);
        }
    }

    /// Tells the clusters what was found.
    fn found(&mut self, place: usize, finding: Finding, now: Now) {
        let fitness = self.schedule.finished(place, &finding, now.ms);
        let (good, why) = match finding {
            Finding::Good => (true, String::new()),
            Finding::Bad(why) => (false, why),
            Finding::Nothing => return,
        };
        for member in &self.schedule.target(place).members {
            let route = &self.shared.routes[member.route];
            route.cluster.record_probe(member.backend, Probed { at_ms: now.ms, good });
            if let Some(fitness) = fitness {
                self.judge(route, member.backend, fitness, &why, now);
            }
        }
    }

    fn judge(&self, route: &Route, backend: usize, fitness: Fitness, why: &str, now: Now) {
        let label = &route.labels[backend];
        let check = &route.settings.health.check;
        let fit = fitness == Fitness::Fit;
        let flip = route.cluster.record_fitness(backend, fit, now.ms);
        let (kind, why) = if fit { (Kind::CheckPassed, "") } else { (Kind::CheckFailed, why) };
        route.note(backend, kind, why, None, now);
        if let Some(Flip::CameBack) = flip {
            route.note_flip(backend, Flip::CameBack, now);
        }
        let Some(left_out) = route.changes[backend].say(now.ms) else { return };
        let place = &route.place;
        match (fitness, flip) {
            (Fitness::Unfit, _) => log::warn!(
                "backend {label} is offline until it passes its check ({check}): {why} (entry {place}){left_out}"
            ),
            (Fitness::Fit, Some(Flip::CameBack)) => log::info!(
                "backend {label} passes its check ({check}) and is back online (entry {place}){left_out}"
            ),
            (Fitness::Fit, _) => log::info!(
                "backend {label} passes its check ({check}); a request will try it (entry {place}){left_out}"
            ),
        }
    }
}

/// Without this thread nobody would ever find an unfit backend to be fit again.
impl Drop for Prober {
    fn drop(&mut self) {
        let now = (self.clock)();
        for member in self.schedule.members() {
            self.shared.routes[member.route].cluster.record_fitness(member.backend, true, now.ms);
        }
    }
}

/// What an error of a connection says about the backend; a lack of ours says nothing.
fn finding_of(error: io::Error) -> Finding {
    match Failure::of_connect(error) {
        Failure::Local(_) => Finding::Nothing,
        failure => Finding::Bad(failure.to_string()),
    }
}
