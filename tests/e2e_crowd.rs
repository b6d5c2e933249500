//! Ten thousand clients at once, most of them idle: those that ask are served meanwhile, all of
//! them are in the end, and an idle one costs next to nothing.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "tests")]

mod support;

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
    thread,
    time::{Duration, Instant},
};

use support::{
    Backend, Client, Conf, Kind, Setup, for_each_host,
    usage::{memory, raise_own_descriptor_limit},
    vice,
};

/// As many as are wanted.
const CROWD: usize = 10_000;

/// Descriptors of this process, and of a host, that are no clients': those of the busy ones, of
/// connections to the backend on both ends, of files.
const OTHERS: usize = 400;

/// What an idle client may cost that was served by the plugin, besides what the host has for it:
/// a place in two tables and the text of its address. Tables grow by doubling.
const MOST_FOR_EACH: usize = 600;

/// What was never needed before may be needed with so many: slots, buffers, arenas of the allocator.
const MOST_BESIDES: usize = 3 << 20;

/// Threads that ask on behalf of the crowd.
const SPEAKERS: usize = 8;

/// How many there can be with so many descriptors for us, and for the host.
fn crowd(kind: Kind, limit: usize) -> usize {
    let room = match kind.is_modern() {
        true => limit.saturating_sub(OTHERS),
        // 1.5 keeps half of its descriptors back, gives each worker the same number of places, and
        // closes whom the system sends to one that has none left.
        false => (limit.saturating_sub(OTHERS) / 2) * 9 / 10,
    };
    if room < CROWD {
        eprintln!("{kind:?}: {room} clients, not {CROWD}: only {limit} descriptors are allowed here");
    }
    room.min(CROWD)
}

/// Each asks for something of its own.
fn ask(client: &mut Client, target: &str) {
    assert_eq!(client.get(target).expect(200).text(), format!("GET {target}\n"));
}

#[test]
fn ten_thousand_clients_are_served_and_cost_little_while_they_are_idle() {
    let limit = raise_own_descriptor_limit();
    for_each_host(|kind| {
        let crowd = crowd(kind, limit);
        let a = Backend::start("a", vice::echo());
        let conf = Conf::new().route("^/app", &[&a]);
        let host =
            Setup::new(kind, conf).server_line("KeepAliveTimeout 120").server_line("Timeout 120").start();
        for _ in 0..50 {
            host.get("/app").expect(200);
        }
        let before = memory(&host);
        let begun = Instant::now();
        let speak = |clients: &mut Vec<Client>, number: usize, round: usize| {
            for n in 0..crowd / SPEAKERS {
                if round == 0 {
                    // Served by the host itself: what this costs is not ours.
                    clients.push(Client::try_connect(host.addr()).unwrap());
                    clients[n].get("/page.html").expect(200);
                } else {
                    ask(&mut clients[n], &format!("/app/{number}/{n}"));
                }
            }
        };
        let mut all: Vec<Vec<Client>> = thread::scope(|scope| {
            let speak = &speak;
            let arrive = |number| {
                move || {
                    let mut clients = Vec::new();
                    speak(&mut clients, number, 0);
                    clients
                }
            };
            let threads: Vec<_> = (0..SPEAKERS).map(|number| scope.spawn(arrive(number))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let arrived = begun.elapsed();
        let here = crowd / SPEAKERS * SPEAKERS;
        assert!(host.descriptors() >= here, "{} descriptors", host.descriptors());
        let of_host = memory(&host);
        let (stop, busy) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for id in 0..6 {
                let (host, stop, busy) = (&host, &stop, &busy);
                scope.spawn(move || {
                    let mut client = host.client();
                    for n in 0.. {
                        if stop.load(SeqCst) {
                            return;
                        }
                        if n % 200 == 199 {
                            client = host.client();
                        }
                        ask(&mut client, &format!("/app/busy/{id}/{n}"));
                        busy.fetch_add(1, SeqCst);
                    }
                });
            }
            thread::sleep(Duration::from_millis(300));
            // Beside the busy ones, everybody once more.
            thread::scope(|scope| {
                for (number, clients) in all.iter_mut().enumerate() {
                    let speak = &speak;
                    scope.spawn(move || speak(clients, number, 1));
                }
            });
            stop.store(true, SeqCst);
        });
        let busy = busy.load(SeqCst);
        let grown = memory(&host).saturating_sub(of_host);
        eprintln!(
            "{kind:?}: {here} clients in {arrived:?}, {:?} in all; {busy} requests of others beside them; for \
             each client {} bytes of the host, {} of the plugin",
            begun.elapsed(),
            of_host.saturating_sub(before) / here,
            grown / here,
        );
        assert!(busy > 100, "only {busy} requests of busy clients were served");
        let most = here * MOST_FOR_EACH + MOST_BESIDES;
        assert!(grown <= most, "{grown} bytes for {here} idle clients, {} for each", grown / here);
    });
}
