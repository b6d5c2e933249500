//! Prints which of three servers, weights 3, 1 and 1, each balancer chooses for 20 requests: with
//! all online, and with the first one offline.
//!
//! `cargo run --example pick`

use std::collections::VecDeque;
use std::sync::Arc;

use monkey_proxy_reverse::balancer::{Algorithm, Ask, Cluster, HealthPolicy, Pick, Plan, Tried};

/// `ServerList a a a b c`
const LIST: [usize; 5] = [0, 0, 0, 1, 2];
const NAMES: [char; 3] = ['a', 'b', 'c'];
const POLICY: HealthPolicy = HealthPolicy::steady(2, 60_000);
/// How many requests are in flight at a time; counts for Least-Connections.
const AT_A_TIME: usize = 4;

fn main() {
    println!("{:20}{:23}{:13}a is offline", "", "all online", "a  b  c");
    for algorithm in Algorithm::ALL {
        let (all, share) = twenty(algorithm, None);
        let (some, share_of_some) = twenty(algorithm, Some(0));
        println!("{:20}{all:23}{share:13}{some:23}{}", format!("{algorithm:?}"), share_of_some.trim_end());
    }
}

/// The choices for 20 requests, and how many each server got.
fn twenty(algorithm: Algorithm, offline: Option<usize>) -> (String, String) {
    let plan = Plan { primary: &LIST, backends: NAMES.len(), ..Plan::default() };
    let cluster = Arc::new(Cluster::new(algorithm, &plan, POLICY));
    if let Some(index) = offline {
        for _ in 0..POLICY.attempts {
            cluster.record_failure(index, false, 0);
        }
    }
    let tried = Tried::new();
    let mut in_flight = VecDeque::new();
    let mut choices = String::new();
    let mut counts = [0; NAMES.len()];
    for n in 0..20_u8 {
        // Each request comes from a client of its own: 192.0.2.1 and up.
        let source = [192, 0, 2, n + 1];
        let (connection, tried) = (n.into(), &tried);
        let ask = Ask { connection, source: &source, tried, repeatable: true, overflow: false, now_ms: 1 };
        if in_flight.len() == AT_A_TIME {
            in_flight.pop_front();
        }
        if let Pick::Backend { index, .. } = cluster.pick(&ask) {
            in_flight.extend(cluster.begin(index));
            choices.push(NAMES[index]);
            counts[index] += 1;
        }
    }
    (choices, counts.map(|count| format!("{count:<3}")).concat())
}
