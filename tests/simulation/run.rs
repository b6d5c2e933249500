//! One seed: builds its world, lets it happen, and looks at what is left.

use std::cell::RefCell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::sync::Arc;

use monkey_proxy_reverse::balancer::{HealthState, Probed};
use monkey_proxy_reverse::engine::{Shared, Worker, drive};

use super::host::Owner;
use super::wire::Wires;
use super::world::{Happening, Spark, Tally, World};

/// More happenings than this, and something goes round in a circle.
const MOST_HAPPENINGS: usize = 200_000;

/// What a world came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    pub tally: Tally,
    /// When it ended, in milliseconds.
    end_ms: u64,
    /// What would have been drawn next.
    next: u64,
}

/// Lets the world of this seed happen.
///
/// # Errors
/// What went wrong first.
pub fn run(seed: u64, traces: bool) -> Result<Outcome, String> {
    let outcome = catch_unwind(AssertUnwindSafe(|| live(seed, traces)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text.or(panic.downcast_ref::<&str>().copied());
        Err(format!("a panic: {}", text.unwrap_or_default()))
    })
}

fn live(seed: u64, traces: bool) -> Result<Outcome, String> {
    let mut world = World::new(seed, traces);
    world.trace(|| format!("{}\n{:?}", world.settings.text, world.moods));
    let shared = Arc::new(world.settings.build());
    for _ in 0..world.settings.clients {
        world.add_client();
    }
    if !world.settings.calm && world.dice.chance(30) {
        for _ in 0..world.dice.below(8) {
            let (at, backend) = (world.dice.below(5000), world.dice.size(0, world.settings.backends - 1));
            world.after(at, Happening::Probe(backend));
        }
    }
    let workers = world.settings.workers;
    let world = Rc::new(RefCell::new(world));
    let owners: Vec<Owner> = (0..workers)
        .map(|number| {
            let wires = Wires { world: Rc::clone(&world), worker: number };
            let worker = Worker::with_network(Arc::clone(&shared), wires).unwrap();
            let (world, shared) = (Rc::clone(&world), Arc::clone(&shared));
            Owner { world, shared, worker: Rc::new(RefCell::new(worker)), number }
        })
        .collect();

    let mut happenings = 0;
    while world.borrow().failure.is_none() {
        let Some(happening) = world.borrow_mut().next() else { break };
        happenings += 1;
        if happenings > MOST_HAPPENINGS {
            world.borrow_mut().fail("it goes on for ever");
        }
        happen(&world, &owners, &shared, happening);
        let world = &mut *world.borrow_mut();
        world.notice_wakes();
        if let Happening::Turn(worker) = happening {
            world.check_work(worker);
        }
        if world.desks.iter().all(|desk| desk.live.is_empty() && !desk.turn_is_due) {
            check_rest(world, &shared);
        }
    }
    if world.borrow().failure.is_none() {
        check_end(&mut world.borrow_mut());
    }
    drop(owners);
    let world = &mut *world.borrow_mut();
    match world.failure.take() {
        Some(failure) => Err(failure),
        None => Ok(Outcome { tally: world.tally, end_ms: world.now_ms, next: world.dice.next() }),
    }
}

fn happen(world: &RefCell<World>, owners: &[Owner], shared: &Shared, happening: Happening) {
    match happening {
        Happening::Turn(worker) => {
            world.borrow_mut().desks[worker].turn_is_due = false;
            let now = world.borrow().now();
            let owner = &owners[worker];
            owner.worker.borrow_mut().turn(now);
            drive(&owner.worker, owner, now);
            let world = &mut *world.borrow_mut();
            if !world.desks[worker].pending.is_empty() {
                world.call(worker);
            }
            world.check_wires(worker);
            check_patience(world, worker);
        }
        Happening::Alarm(worker, number) => {
            let world = &mut *world.borrow_mut();
            if world.desks[worker].alarms == number {
                world.spark(worker, Spark::Timer);
            }
        }
        Happening::Connected(wire) => world.borrow_mut().connected(wire),
        Happening::BackendReads(wire) => world.borrow_mut().backend_reads(wire),
        Happening::BackendActs(wire) => world.borrow_mut().backend_acts(wire),
        Happening::Bounces(wire) => world.borrow_mut().bounces(wire),
        Happening::ClientActs(client) => world.borrow_mut().client_acts(client),
        Happening::ClientReads(client) => world.borrow_mut().client_reads(client),
        Happening::ClientAborts(client) => world.borrow_mut().client_aborts(client),
        Happening::HostLooks(client) => {
            let worker = world.borrow().clients[client].worker;
            owners[worker].looks(client);
        }
        Happening::Probe(backend) => {
            let (at_ms, good, checks) = {
                let world = &mut *world.borrow_mut();
                (world.now_ms, world.dice.chance(70), world.dice.chance(40))
            };
            for route in shared.routes() {
                route.cluster.record_probe(backend, Probed { at_ms, good });
                if checks {
                    route.cluster.record_fitness(backend, good, at_ms);
                }
            }
        }
        Happening::HostNotices(client) => {
            let worker = world.borrow().clients[client].worker;
            owners[worker].notices(client);
        }
    }
}

/// Nobody waits for longer than all time-outs together.
fn check_patience(world: &mut World, worker: usize) {
    // Lingering, and clients whose request belongs to no route.
    let most = world.settings.patience_ms * (world.settings.backends as u64 + 2) + 70_000;
    let now = world.now_ms;
    let late = world.desks[worker].live.iter().find(|&&id| now - world.asks[id].moved_ms > most);
    if let Some(&id) = late {
        let ms = now - world.asks[id].moved_ms;
        world.fail(format!("request {id}: nothing of it has moved for {ms} ms"));
    }
}

/// No exchange is under way: nothing counts as if one were.
fn check_rest(world: &mut World, shared: &Shared) {
    for route in shared.routes() {
        if route.cluster.waiting() > 0 {
            world.fail(format!("{} requests of none wait in line", route.cluster.waiting()));
        }
        for index in 0..route.cluster.len() {
            let backend = route.cluster.backend(index);
            if backend.in_flight() > 0 {
                world.fail(format!("backend {index} has {} requests in flight of none", backend.in_flight()));
            }
            if backend.health(world.now_ms).state == HealthState::OnTrial {
                world.fail(format!("backend {index} is on trial, and nobody tries it"));
            }
        }
    }
}

/// Nothing is going to happen any more: nothing may be left.
fn check_end(world: &mut World) {
    for worker in 0..world.desks.len() {
        let (live, wires) = (world.desks[worker].live.clone(), world.desks[worker].wires.clone());
        if !live.is_empty() {
            world.fail(format!("requests {live:?} wait, and nothing is going to wake worker {worker}"));
        }
        if !wires.is_empty() {
            world.fail(format!("wires {wires:?} are open, and nothing is going to close them"));
        }
    }
    if world.settings.calm {
        let unanswered = world.asks.iter().position(|ask| !ask.reader.is_complete);
        if let Some(id) = unanswered.filter(|&id| !world.is_excused(id)) {
            world.fail(format!("request {id} has no answer, though all is calm"));
        }
    }
}
