//! Random interleavings of everything that can happen in a [`World`].

use proptest::prelude::*;

use super::world::{Fate, World};

/// A quarter of the usual number, since a case is long: 64, or what `PROPTEST_CASES` asks for.
fn cases() -> ProptestConfig {
    let usual = ProptestConfig::default();
    ProptestConfig { cases: usual.cases / 4, failure_persistence: None, ..usual }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn whatever_happens_each_trial_ends_once_and_as_its_stages_say(
        salt in any::<u8>(),
        actions in proptest::collection::vec((any::<u8>(), 0..1_000_usize, 0..1_000_usize), 0..150),
    ) {
        let mut world = World::new(salt);
        world.submit(0, Fate::Lives);
        world.join(2, Fate::Lives);
        for (action, a, b) in actions {
            world.act(action, a, b);
        }
        world.complete();
        world.check();
        // Again, after a restart: nothing is left to compute.
        world.restart();
        world.complete();
        world.check();
        prop_assert!(world.lab.core.sweeps().all(|sweep| sweep.stages_computed == 0));
    }

    #[test]
    fn a_journal_cut_anywhere_is_a_core_that_can_go_on(
        salt in any::<u8>(),
        actions in proptest::collection::vec((any::<u8>(), 0..1_000_usize, 0..1_000_usize), 0..60),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut world = World::new(salt);
        world.submit(0, Fate::Lives);
        world.join(2, Fate::Lives);
        for (action, a, b) in actions {
            world.act(action, a, b);
        }
        let beginning = world.lab.beginning();
        let journal = std::mem::take(&mut world.lab.journal);
        for length in beginning..=journal.len() {
            world.lab.journal = journal[..length].to_vec();
            world.restart();
        }
        world.lab.journal = journal[..beginning + cut.index(1 + journal.len() - beginning)].to_vec();
        // Leases of lives that this journal knows nothing of.
        world.leases.clear();
        world.restart();
        world.complete();
        world.check();
    }

    #[test]
    fn a_snapshot_taken_anywhere_and_the_rest_is_as_good_as_the_whole_history(
        salt in any::<u8>(),
        actions in proptest::collection::vec((any::<u8>(), 0..1_000_usize, 0..1_000_usize), 0..100),
        cut in any::<proptest::sample::Index>(),
    ) {
        let mut world = World::new(salt);
        world.submit(0, Fate::Lives);
        world.join(2, Fate::Lives);
        for (action, a, b) in actions {
            world.act(action, a, b);
        }
        let (beginning, length) = (world.lab.beginning(), world.lab.journal.len());
        let cut = beginning + cut.index(1 + length - beginning);
        world.lab.goes_on_alike_from_a_snapshot(cut);
    }
}
