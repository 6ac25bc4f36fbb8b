//! What is promised of views of results: they stay as they were taken, and the generation tells every change.

use std::collections::BTreeMap;

use super::*;

/// What the trials of each sweep had come to at one moment, to be compared with a later one.
pub(super) struct Generations(BTreeMap<SweepId, (u64, Vec<Option<StageOutcome>>)>);

impl Generations {
    pub(super) fn of(core: &Core) -> Self {
        let results = core.sweep_ids().map(|id| {
            let results = core.results(id).expect("a sweep");
            (id.clone(), (results.generation, results.outcomes().collect()))
        });
        Self(results.collect())
    }

    /// A sweep of the same generation has the same results; one of other results, or a new one, has a generation that no sweep had.
    pub(super) fn check(self, core: &Core) {
        let newest = self.0.values().map(|(generation, _)| *generation).max().unwrap_or_default();
        for (id, (generation, outcomes)) in Self::of(core).0 {
            assert_eq!(core.generation(&id), Some(generation));
            match self.0.get(&id) {
                Some((before, same)) if *before == generation => assert_eq!(outcomes, *same, "{id} in {generation}"),
                _ => assert!(generation > newest, "{id} changed in {newest} and has {generation}"),
            }
        }
    }
}

#[test]
fn a_view_of_results_stays_as_it_was_taken() {
    let mut lab = Lab::new(Policy::default());
    let (plan, prepare) = single("s", "x");
    lab.submit(&plan);
    let before = lab.core.results(&sweep("s")).expect("a sweep");
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&given.report(0, completed(prepare)));
    lab.apply(&given.ended(None));
    let after = lab.core.results(&sweep("s")).expect("a sweep");
    assert!(before.generation < after.generation);
    assert_eq!(before.outcomes().collect::<Vec<_>>(), [None]);
    assert_eq!(after.outcomes().collect::<Vec<_>>(), [Some(completed(prepare))]);
    lab.effects.clear();
    lab.finish();
}
