//! What a choice costs. `cargo bench --bench pick`

use std::hint::black_box;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use criterion::{Criterion, criterion_group, criterion_main};
use monkey_proxy_reverse::balancer::{Algorithm, Ask, Cluster, HealthPolicy, Plan, Tried};

const POLICY: HealthPolicy = HealthPolicy::steady(1, 60_000);
/// Eight servers, the first one thrice.
const LIST: [usize; 10] = [0, 0, 0, 1, 2, 3, 4, 5, 6, 7];

fn cluster(algorithm: Algorithm) -> Arc<Cluster> {
    Arc::new(Cluster::new(algorithm, &Plan { primary: &LIST, backends: 8, ..Plan::default() }, POLICY))
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
        let all = cluster(algorithm);
        group.bench_function("all online", |it| it.iter(|| pick(&all, &tried)));

        let some = cluster(algorithm);
        some.record_failure(1, false, 0);
        group.bench_function("one offline", |it| it.iter(|| pick(&some, &tried)));

        // Another thread picks without pause: the worst that sharing can cost.
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    pick(&all, &Tried::new());
                }
            });
            group.bench_function("two threads", |it| it.iter(|| pick(&all, &tried)));
            stop.store(true, Ordering::Relaxed);
        });
        group.finish();
    }
}

fn bookkeeping(criterion: &mut Criterion) {
    let cluster = cluster(Algorithm::RoundRobin);
    let mut group = criterion.benchmark_group("bookkeeping");
    group.bench_function("begin and end", |it| it.iter(|| drop(black_box(cluster.begin(0)))));
    group.bench_function("success", |it| it.iter(|| cluster.record_success(black_box(0), 1)));
    group.finish();
}

criterion_group!(benches, picks, bookkeeping);
criterion_main!(benches);
