//! What a choice costs, counted in questions about backends: time is no measure that holds
//! everywhere. `benches/pick.rs` has the times.

use std::cell::Cell;

use super::testing::plain;
use super::{Algorithm, AnyBalancer, Ask, Balancer, Candidates, Tried};

/// All but some are eligible; counts how often that is asked.
#[derive(Default)]
struct Asked {
    ineligible: Vec<usize>,
    times: Cell<usize>,
}

impl Candidates for Asked {
    fn eligible(&self, index: usize) -> bool {
        self.times.set(self.times.get() + 1);
        !self.ineligible.contains(&index)
    }

    fn in_flight(&self, _: usize) -> u32 {
        0
    }
}

/// Most questions of one choice out of many.
fn most(algorithm: Algorithm, servers: usize, ineligible: &[usize]) -> usize {
    let list: Vec<usize> = (0..servers).collect();
    let balancer = AnyBalancer::new(algorithm, &list);
    let tried = Tried::new();
    let choices = 0..u32::try_from(2 * servers + 5).unwrap();
    let questions = choices.map(|nth| {
        let asked = Asked { ineligible: ineligible.to_vec(), ..Asked::default() };
        let ask = Ask { connection: nth, source: &nth.to_be_bytes(), ..plain(&tried) };
        assert!(balancer.choose(&ask, &asked).is_some());
        asked.times.get()
    });
    questions.max().unwrap_or(0)
}

#[test]
fn a_choice_costs_the_same_however_many_servers_there_are() {
    for servers in [3, 100, 1000] {
        for algorithm in Algorithm::ALL {
            // Only the least busy of all is not to be had without a look at all.
            let expected = if algorithm == Algorithm::LeastConnections { servers } else { 1 };
            assert_eq!(most(algorithm, servers, &[]), expected, "{algorithm:?} among {servers}");
        }
    }
}

#[test]
fn one_that_is_offline_costs_one_question_more() {
    for servers in [3, 100, 1000] {
        for algorithm in Algorithm::ALL.into_iter().filter(|&it| it != Algorithm::LeastConnections) {
            assert_eq!(most(algorithm, servers, &[0]), 2, "{algorithm:?} among {servers}");
        }
    }
}
