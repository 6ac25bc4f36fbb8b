//! A naive reading of the plans, which says how everything must have ended.

use super::*;

impl World {
    /// How a stage must have ended: by its nature, unless something above it did not complete.
    fn oracle(&self, plan: &PackedPlan, key: StageKey) -> (&'static str, Option<FailureClass>) {
        let place = plan.keys().position(|stage| stage == key).expect("in the plan");
        for parent in plan.spec(place).parents() {
            match self.oracle(plan, parent).0 {
                "completed" => {}
                "failed" => return ("failed", Some(FailureClass::Upstream)),
                other => return (other, None),
            }
        }
        if let Some(StageOutcome::Failed(failure)) = self.lab.core.outcome(&key)
            && (failure.class.is_retryable() || failure.class == FailureClass::Poison)
        {
            assert_ne!(failure.class, FailureClass::NoSpace, "{key:?}");
            assert!(self.alone[&key] >= 3, "{key:?} was given up after {} leases alone", self.alone[&key]);
            return ("failed", Some(failure.class));
        }
        match nature(key, self.salt) {
            Nature::Completes => ("completed", None),
            Nature::Diverges => ("diverged", None),
            Nature::Collapses => ("collapsed", None),
            Nature::HasBadInput => ("failed", Some(FailureClass::Input)),
            Nature::KillsItsExecutor => panic!("{key:?} kills its executor and was not given up"),
        }
    }

    pub(in crate::scheduler::tests) fn check(&self) {
        for plan in &self.plans {
            let id = &plan.sweep.id;
            let status = self.lab.core.sweep(id).expect("submitted");
            assert_eq!(status.state, SweepState::Completed, "{status:?}");
            assert!(self.ended_sweeps.contains(id));
            assert_eq!(status.stages_ended, status.stages);
            let trials: usize = self.lab.core.plan_parts(id).expect("submitted").map(|plan| plan.trial_count()).sum();
            assert_eq!(status.trials, trials as u64);
            for (trial, status) in self.lab.core.trials(id).expect("submitted") {
                let announced = self.announced.get(&(id.clone(), trial.id.clone())).expect("was announced");
                assert_eq!(status, TrialStatus::Ended(announced.clone()));
                let last = *trial.stages.last().expect("has stages");
                let class = if let StageOutcome::Failed(failure) = announced { Some(failure.class) } else { None };
                let parts = self.lab.core.plan_parts(id).expect("submitted");
                let plan = parts.into_iter().find(|plan| plan.keys().any(|key| key == last)).expect("it is listed");
                assert_eq!((announced.name(), class), self.oracle(plan, last), "{} of {id}", trial.id);
            }
        }
    }
}
