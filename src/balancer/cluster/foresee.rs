//! What would become of a request that came at this moment: [`Cluster::pick`] without any of its
//! consequences. No turn is used up, no trial claimed.

use std::sync::atomic::Ordering;

use super::super::slow_start::{Spared, WHOLE};
use super::super::{Ask, Balancer, Candidates, HealthState, LastResort, Reason, Tried};
use super::{Cluster, Pick, Standing, Tier, View};

/// Where a request would go, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foresight {
    /// What [`Cluster::pick`] would answer.
    pub pick: Pick,
    /// What the algorithm begins from, for the backends that are no backups.
    pub reason: Reason,
    /// The outlook of each backend, by index.
    pub outlooks: Vec<Outlook>,
}

/// Whether a backend would get a request, and if not, why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outlook {
    /// It would.
    Chosen,
    /// It would, as the trial that decides whether it is back.
    Trial,
    /// It could, but the algorithm takes another one.
    NotInTurn,
    /// It came back a moment ago and is spared this one.
    Starting,
    /// It is a backup, and others can take it.
    Backup,
    /// It works on as many requests as it takes.
    Full,
    /// Requests have failed; nothing is due yet.
    Offline {
        /// Milliseconds until its trial.
        trial_in_ms: u64,
    },
    /// Requests have failed; another request is trying it.
    OnTrial,
    /// Requests have failed; its trial is due, but this request is not for it.
    TrialDue,
    /// Its checks fail.
    Unfit,
    /// This request has been sent there before.
    Tried,
    /// The list does not name it.
    Disabled,
}

/// What would have happened so far.
#[derive(Default)]
struct Dream {
    /// By how much the cursor of either tier would have moved.
    moved: [usize; 2],
    /// Who was passed over since it starts slowly.
    spared: Tried,
}

impl Cluster {
    /// What [`pick`](Cluster::pick) would answer to this, if no other request came before it.
    #[must_use]
    pub fn foresee(&self, ask: &Ask<'_>) -> Foresight {
        let mut dream = Dream::default();
        let pick = self.dream(ask, &mut dream);
        let outlooks = (0..self.len()).map(|index| self.outlook(index, ask, pick, &dream)).collect();
        Foresight { pick, reason: self.primary.balancer.reason(ask), outlooks }
    }

    /// Follows [`pick`](Cluster::pick) step by step.
    fn dream(&self, ask: &Ask<'_>, dream: &mut Dream) -> Pick {
        let all_online = self.offline.0.load(Ordering::Relaxed) == 0;
        let standing = if all_online { Standing::Any } else { Standing::Online };
        let mut is_full = false;
        for (nth, tier) in [&self.primary, &self.backup].into_iter().enumerate() {
            if !all_online
                && ask.repeatable
                && let Some(index) = self.due_trial(ask, tier)
            {
                return Pick::Backend { index, trial: true };
            }
            if let Some(index) = self.dream_online(nth, ask, standing, dream) {
                return Pick::Backend { index, trial: false };
            }
            let might = |&index: &usize| !ask.tried.contains(index) && self.backends[index].is_online();
            is_full |= self.is_limited && tier.members.iter().any(might);
            if is_full && !ask.overflow {
                return Pick::Full;
            }
        }
        if all_online {
            return if is_full { Pick::Full } else { Pick::AllTried };
        }
        if let Some(index) = [&self.primary, &self.backup].iter().find_map(|tier| self.due_trial(ask, tier)) {
            return Pick::Backend { index, trial: true };
        }
        let pick = match self.policy.last_resort {
            LastResort::Try => self.dream_last_resort(ask, dream),
            LastResort::Refuse => self.refuse(ask),
        };
        match pick {
            Pick::NoneEligible { .. } | Pick::AllTried if is_full => Pick::Full,
            pick => pick,
        }
    }

    fn dream_online(
        &self,
        nth: usize,
        ask: &Ask<'_>,
        standing: Standing,
        dream: &mut Dream,
    ) -> Option<usize> {
        let tier = self.tier(nth);
        let mut view = View { cluster: self, ask, standing, passed: Tried::new() };
        let moved = &mut dream.moved[nth];
        let first = tier.balancer.foresee(ask, &view, moved)?;
        let spared = tier.balancer.slow_start(ask);
        if ask.now_ms >= self.slow_until_ms.load(Ordering::Relaxed) || spared == Spared::None {
            return Some(first);
        }
        let eligible = tier.members.iter().filter(|&&index| view.eligible(index));
        let most = eligible.map(|&index| self.backends[index].share(ask.now_ms)).max().unwrap_or(WHOLE);
        let mut index = first;
        loop {
            let backend = &self.backends[index];
            let share = backend.share(ask.now_ms) * WHOLE / most.max(1);
            let takes = match spared {
                _ if share >= WHOLE => true,
                Spared::None => true,
                Spared::ByTurn => backend.turns.would_take(share),
                Spared::ByClient(number) => number % u64::from(WHOLE) < u64::from(share),
            };
            if takes {
                return Some(index);
            }
            view.passed.insert(index);
            dream.spared.insert(index);
            match tier.balancer.foresee(ask, &view, moved) {
                Some(next) => index = next,
                None => return Some(first),
            }
        }
    }

    fn dream_last_resort(&self, ask: &Ask<'_>, dream: &mut Dream) -> Pick {
        for (standing, trial) in [(Standing::MerelyUnfit, false), (Standing::Open, true)] {
            let view = View { cluster: self, ask, standing, passed: Tried::new() };
            for (nth, moved) in dream.moved.iter_mut().enumerate() {
                if let Some(index) = self.tier(nth).balancer.foresee(ask, &view, moved) {
                    return Pick::Backend { index, trial };
                }
            }
        }
        let mut earliest: Option<(u64, usize)> = None;
        for index in self.untried(ask).filter(|&index| !self.backends[index].is_full()) {
            let Some(at) = self.backends[index].health.next_trial_at(self.backends[index].policy) else {
                return Pick::Backend { index, trial: false };
            };
            if earliest.is_none_or(|(least, _)| at < least) {
                earliest = Some((at, index));
            }
        }
        match earliest {
            None => Pick::AllTried,
            Some((at, _)) if at > ask.now_ms => Pick::NoneEligible { retry_after_ms: at - ask.now_ms },
            Some((_, index)) => Pick::Backend { index, trial: true },
        }
    }

    /// Whose trial would be claimed?
    fn due_trial(&self, ask: &Ask<'_>, tier: &Tier) -> Option<usize> {
        let mut untried = tier.members.iter().copied().filter(|&index| !ask.tried.contains(index));
        untried.find(|&index| {
            let backend = &self.backends[index];
            !backend.is_full() && backend.health.trial_is_due(ask.now_ms, backend.policy)
        })
    }

    fn tier(&self, nth: usize) -> &Tier {
        if nth == 0 { &self.primary } else { &self.backup }
    }

    fn outlook(&self, index: usize, ask: &Ask<'_>, pick: Pick, dream: &Dream) -> Outlook {
        let backend = &self.backends[index];
        match pick {
            Pick::Backend { index: chosen, trial } if chosen == index => {
                return if trial { Outlook::Trial } else { Outlook::Chosen };
            }
            _ => {}
        }
        if backend.weight() == 0 {
            return Outlook::Disabled;
        }
        if ask.tried.contains(index) {
            return Outlook::Tried;
        }
        let health = backend.health(ask.now_ms);
        match health.state {
            HealthState::Unfit => return Outlook::Unfit,
            HealthState::OnTrial => return Outlook::OnTrial,
            HealthState::TrialDue => return Outlook::TrialDue,
            HealthState::Offline => {
                let due_ms = health.offline_until_ms.unwrap_or(ask.now_ms);
                return Outlook::Offline { trial_in_ms: due_ms.saturating_sub(ask.now_ms) };
            }
            HealthState::Online => {}
        }
        if backend.is_full() {
            return Outlook::Full;
        }
        if backend.is_backup() {
            return Outlook::Backup;
        }
        if dream.spared.contains(index) { Outlook::Starting } else { Outlook::NotInTurn }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::super::super::{Algorithm, Backoff, HealthPolicy, Plan, Probed};
    use super::*;

    /// Something that happens to a cluster before it is asked.
    #[derive(Clone, Copy, Debug)]
    enum Event {
        Picked,
        Kept(usize),
        Failed(usize, bool),
        Answered(usize),
        Fit(usize, bool),
        Open(usize),
        Passes(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let backend = 0..5_usize;
        let event = prop_oneof![
            Just(Event::Picked),
            backend.clone().prop_map(Event::Kept),
            (backend.clone(), any::<bool>()).prop_map(|(index, trial)| Event::Failed(index, trial)),
            (backend.clone(), any::<bool>()).prop_map(|(index, trial)| Event::Failed(index, trial)),
            backend.clone().prop_map(Event::Answered),
            (backend.clone(), any::<bool>()).prop_map(|(index, fit)| Event::Fit(index, fit)),
            backend.prop_map(Event::Open),
            (0..400_u64).prop_map(Event::Passes),
        ];
        prop::collection::vec(event, 0..30)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3000))]

        #[test]
        fn what_is_foreseen_happens_and_foreseeing_changes_nothing(
            algorithm in prop::sample::select(Algorithm::ALL.to_vec()),
            primary in prop::collection::vec(0..5_usize, 0..6),
            backup in prop::collection::vec(0..5_usize, 0..3),
            limits in prop::collection::vec(0..3_u32, 5),
            slow_start_ms in prop_oneof![Just(0_u64), Just(300)],
            refuses in any::<bool>(),
            events in events(),
            (connection, repeatable, overflow) in any::<(u32, bool, bool)>(),
            tried in prop::collection::vec(0..5_usize, 0..3),
        ) {
            let policy = HealthPolicy {
                slow_start_ms,
                backoff: Backoff::NONE,
                last_resort: if refuses { LastResort::Refuse } else { LastResort::Try },
                ..HealthPolicy::steady(2, 300)
            };
            let plan = Plan { primary: &primary, backup: &backup, backends: 5, limits: &limits };
            let cluster = Arc::new(Cluster::new(algorithm, &plan, policy));
            let mut kept = Vec::new();
            let mut now_ms = 1000;
            let none = Tried::new();
            let plain = |now_ms| Ask { connection: 7, source: &[9], tried: &none, repeatable: true, overflow: true, now_ms };
            for event in events {
                match event {
                    Event::Picked => { let _ = cluster.pick(&plain(now_ms)); }
                    Event::Kept(index) => kept.extend(cluster.begin(index)),
                    Event::Failed(index, trial) => { cluster.record_failure(index, trial, now_ms); }
                    Event::Answered(index) => { cluster.record_success(index, now_ms); }
                    Event::Fit(index, fit) => { cluster.record_fitness(index, fit, now_ms); }
                    Event::Open(index) => cluster.record_probe(index, Probed { at_ms: now_ms, good: true }),
                    Event::Passes(ms) => now_ms += ms,
                }
            }
            let mut asked = Tried::new();
            tried.iter().for_each(|&index| asked.insert(index));
            let source = connection.to_be_bytes();
            let ask = Ask { connection, source: &source, tried: &asked, repeatable, overflow, now_ms };
            let foreseen = cluster.foresee(&ask);
            prop_assert_eq!(&cluster.foresee(&ask), &foreseen);
            prop_assert_eq!(cluster.pick(&ask), foreseen.pick);
            let chosen = foreseen.outlooks.iter().filter(|it| matches!(it, Outlook::Chosen | Outlook::Trial));
            prop_assert_eq!(chosen.count(), usize::from(matches!(foreseen.pick, Pick::Backend { .. })));
        }
    }
}
