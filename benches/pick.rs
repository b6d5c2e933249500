//! What a choice costs. `cargo bench --bench pick`
//!
//! What must hold: the number of servers makes no difference, but to Least-Connections, which
//! looks at all of them. While one is offline, one choice in each millisecond looks whose trial is
//! due. A limit costs one look more. `src/balancer/costs.rs` holds for the algorithms, by counting, what
//! the times here show of the whole.

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use monkey_proxy_reverse::balancer::{Algorithm, Ask, Cluster, HealthPolicy, Plan, Tried};

const POLICY: HealthPolicy = HealthPolicy::steady(1, 60_000);
const SERVERS: [usize; 3] = [3, 100, 1000];

/// The first server is twice in the list.
fn cluster(algorithm: Algorithm, servers: usize, limit: u32) -> Arc<Cluster> {
    let list: Vec<usize> = [0].into_iter().chain(0..servers).collect();
    let limits = vec![limit; servers];
    let plan = Plan { primary: &list, backends: servers, limits: &limits, ..Plan::default() };
    Arc::new(Cluster::new(algorithm, &plan, POLICY))
}

fn pick(cluster: &Cluster, tried: &Tried) {
    let ask =
        Ask { connection: 5, source: &[192, 0, 2, 1], tried, repeatable: true, overflow: false, now_ms: 1 };
    black_box(cluster.pick(black_box(&ask)));
}

fn picks(criterion: &mut Criterion) {
    let tried = Tried::new();
    for algorithm in Algorithm::ALL {
        let mut group = criterion.benchmark_group(format!("{algorithm:?}"));
        for servers in SERVERS {
            let all = cluster(algorithm, servers, 0);
            group
                .bench_function(BenchmarkId::new("all online", servers), |it| it.iter(|| pick(&all, &tried)));

            let some = cluster(algorithm, servers, 0);
            some.record_failure(1, false, 0);
            group.bench_function(BenchmarkId::new("one offline", servers), |it| {
                it.iter(|| pick(&some, &tried))
            });

            let limited = cluster(algorithm, servers, 100);
            group.bench_function(BenchmarkId::new("with limits", servers), |it| {
                it.iter(|| pick(&limited, &tried));
            });
        }
        // Another thread picks without pause: the worst that sharing can cost.
        let shared = cluster(algorithm, 3, 0);
        beside(
            || pick(&shared, &Tried::new()),
            || {
                group.bench_function("two threads", |it| it.iter(|| pick(&shared, &tried)));
            },
        );
        group.finish();
    }
}

/// Picks, begins and ends: the whole of what an exchange asks, by one thread and by two.
fn places(criterion: &mut Criterion) {
    let tried = Tried::new();
    let mut group = criterion.benchmark_group("begin and end");
    for (name, limit) in [("without limits", 0), ("with limits", 100)] {
        let cluster = cluster(Algorithm::RoundRobin, 3, limit);
        let exchange = |tried: &Tried| {
            pick(&cluster, tried);
            drop(black_box(cluster.begin(0)));
        };
        group.bench_function(BenchmarkId::new(name, "one thread"), |it| it.iter(|| exchange(&tried)));
        beside(
            || exchange(&Tried::new()),
            || {
                group
                    .bench_function(BenchmarkId::new(name, "two threads"), |it| it.iter(|| exchange(&tried)));
            },
        );
    }
    let cluster = cluster(Algorithm::RoundRobin, 3, 0);
    group.bench_function("success", |it| it.iter(|| cluster.record_success(black_box(0), 1)));
    group.finish();
}

/// Runs `work` while a second thread does `other` without pause.
fn beside(other: impl Fn() + Send + Sync, work: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                other();
            }
        });
        // Told in any case: the scope waits for the thread.
        let _told = Tell(&stop);
        work();
    });
}

/// Tells a thread to stop when dropped.
struct Tell<'a>(&'a AtomicBool);

impl Drop for Tell<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

criterion_group!(benches, picks, places);
criterion_main!(benches);
