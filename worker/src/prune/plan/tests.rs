use proptest::prelude::*;
use secateur_proto::{
    ids::{ContentHash, StageKey},
    spec::{Along, OptimizerSpec, Schedule, SelectBy, Start, TrainingSpec},
};

use super::*;

fn model() -> ModelSpec {
    ModelSpec::mlp(3, vec![4, 2])
}

/// A pruning of a dense net of [`model`].
pub(crate) fn spec(removal: Removal) -> PruneSpec {
    let key = StageKey(ContentHash::of(b"a stage"));
    PruneSpec {
        prepare: key,
        subject: Subject::Dense { stage: key },
        model: model(),
        layers: vec![0, 1],
        criterion: Some(CriterionSpec::new("magnitude", &[])),
        granularity: Granularity::Weight,
        ranking: Ranking::Raw,
        removal,
        ablation: None,
        start: Start::Scored {},
        schedule: Schedule::OneShot,
        training: TrainingSpec {
            optimizer: OptimizerSpec::Sgd { lr: 0.1, momentum: 0.0, weight_decay: 0.0, nesterov: false },
            batch_size: 8,
            epochs: 1,
            select_by: SelectBy::Last,
            ..TrainingSpec::default()
        },
        skip_steps: 0,
        regularization: None,
        seed: 1,
    }
}

fn make(spec: &PruneSpec, scores: &[Vec<f64>]) -> Result<PruningPlan, NoSelection> {
    PruningPlan::make(spec, &Parameters::initial(&model(), 1), None, &Scores::Weights(scores.to_vec()))
}

fn places(plan: &PruningPlan) -> Vec<(u32, u32)> {
    plan.removed.iter().map(|entry| (entry.layer, entry.index)).collect()
}

#[test]
fn ties_go_by_layer_and_place() {
    let plan = make(&spec(Removal::global(3)), &[vec![1.0; 12], vec![1.0; 8]]).expect("a plan");
    assert_eq!(places(&plan), [(0, 0), (0, 1), (0, 2)]);
}

#[test]
fn a_layer_that_would_be_emptied_is_a_collapse_and_a_nan_no_score() {
    let scores = [vec![1.0; 12], vec![0.5; 8]];
    let collapsed = NoSelection::Collapsed { layer: "layers.1".into() };
    assert_eq!(make(&spec(Removal::global(8)), &scores), Err(collapsed));
    assert!(make(&spec(Removal::PerLayer { counts: vec![5, 3] }), &scores).is_ok());
    let scores = [vec![f64::NAN; 12], vec![0.5; 8]];
    assert_eq!(make(&spec(Removal::global(1)), &scores), Err(NoSelection::NotFinite));
}

#[test]
fn a_cap_passes_on_what_a_layer_may_not_lose() {
    let scores = [vec![1.0; 12], vec![0.5; 8]];
    let plan = make(&spec(Removal::Global { count: 8, caps: Some(vec![11, 6]) }), &scores).expect("a plan");
    let lost: Vec<u64> = plan.summary.layers.iter().map(|layer| layer.removed).collect();
    assert_eq!(lost, [2, 6]);
}

#[test]
fn of_each_group_along_the_inputs_the_best_stay_and_a_short_group_keeps_what_it_can() {
    // Rows of 3 in groups of 2: one of the first pair is removed, none of the single rest.
    let rows = [[3.0, 1.0, 0.0], [1.0, 3.0, 0.0], [2.0, 2.0, 0.0], [0.0, 1.0, 0.0]];
    let pairs = spec(Removal::Grouped { keep: 1, group: 2, along: Along::Flat });
    let plan = make(&pairs, &[rows.concat(), vec![1.0; 8]]).expect("a plan");
    let first: Vec<u32> = {
        let mut first: Vec<u32> =
            plan.removed.iter().filter(|entry| entry.layer == 0).map(|entry| entry.index).collect();
        first.sort_unstable();
        first
    };
    assert_eq!(first, [1, 3, 6, 9]);
    assert_eq!(plan.removed.len(), 4 + 4);
}

#[test]
fn groups_of_a_convolution_run_along_its_input_channels() {
    let mut spec = spec(Removal::Grouped { keep: 2, group: 4, along: Along::Channels });
    spec.model = ModelSpec::Lenet5 { image: [6, 16, 16], outputs: 2 };
    spec.layers = vec![0];
    // 20 filters of 6 channels of 5 × 5. Scores only depend on the channel and increase with it.
    let scores = (0..20 * 6 * 25).map(|place| f64::from(place / 25 % 6)).collect();
    let net = Parameters::initial(&spec.model, 1);
    let plan = PruningPlan::make(&spec, &net, None, &Scores::Weights(vec![scores])).expect("a plan");
    assert_eq!(Some(plan.removed.len() as u64), spec.removed());
    // The first two of the first four channels are removed; the last two are an incomplete group that loses nothing.
    let channels: HashSet<u32> = plan.removed.iter().map(|entry| entry.index / 25 % 6).collect();
    assert_eq!((plan.removed.len(), channels), (20 * 2 * 25, HashSet::from([0, 1])));
}

#[test]
fn lamp_scores_are_those_of_the_paper() {
    let mut spec = spec(Removal::global(2));
    spec.ranking = Ranking::Lamp;
    let scores: Vec<f64> = (1..=12).map(f64::from).collect();
    let candidates = candidates(
        &Request::of(&spec, &Parameters::initial(&model(), 1), None),
        &Scores::Weights(vec![scores, vec![1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 0.0, 0.0]]),
    )
    .expect("scores");
    // 1/14, 4/13, 9/9: the largest of a layer always has 1, so no layer can be emptied first.
    for (found, expected) in candidates[1].scores.iter().zip([1.0 / 14.0, 4.0 / 13.0, 1.0]) {
        assert!((found - expected).abs() < 1e-12, "{found} {expected}");
    }
    assert_eq!(candidates[0].scores[11], 1.0);
}

#[test]
fn layers_compete_by_shares_of_their_mean() {
    let mut spec = spec(Removal::global(2));
    spec.ranking = Ranking::LayerMean;
    // The second layer's scores are ten times as large, and in proportion its third is the smallest of all.
    let first: Vec<f64> = (0..12).map(|place| if place == 7 { 1.0 } else { 2.0 }).collect();
    let scores = [first, vec![30.0, 30.0, 3.0, 30.0, 30.0, 30.0, 30.0, 30.0]];
    assert_eq!(places(&make(&spec, &scores).expect("a plan")), [(1, 2), (0, 7)]);
}

#[test]
fn what_an_earlier_level_removed_stays_removed_and_counts() {
    let spec = spec(Removal::global(3));
    let net = Parameters::initial(&model(), 1);
    let mut removed = Mask::full(&model(), &[0, 1]);
    removed.remove(0, 5, 12);
    removed.remove(2, 7, 8);
    let scores = Scores::Weights(vec![(1..=12).map(f64::from).collect(), vec![9.0; 8]]);
    let plan = PruningPlan::make(&spec, &net, Some(&removed), &scores).expect("a plan");
    let mut found = places(&plan);
    found.sort_unstable();
    assert_eq!(found, [(0, 0), (0, 5), (1, 7)]);
}

#[test]
fn a_unit_goes_with_all_that_hangs_on_it() {
    let mut spec = spec(Removal::PerLayer { counts: vec![1, 1] });
    spec.granularity = Granularity::Unit;
    let scores = Scores::Units(vec![vec![4.0, 1.0, 3.0, 2.0], vec![2.0, 1.0]]);
    let plan = PruningPlan::make(&spec, &Parameters::initial(&model(), 1), None, &scores).expect("a plan");
    assert_eq!(places(&plan), [(0, 1), (1, 1)]);
    let mask = plan.mask(&model(), &[0, 1]).expect("a mask");
    let kept = |tensor: usize| {
        mask.kept[tensor].clone().unwrap_or_default().iter().map(|kept| u8::from(*kept)).collect::<Vec<_>>()
    };
    assert_eq!(kept(0), [1, 1, 1, 0, 0, 0, 1, 1, 1, 1, 1, 1]);
    assert_eq!(kept(1), [1, 0, 1, 1]);
    assert_eq!(kept(2), [1, 0, 1, 1, 0, 0, 0, 0]);
    assert_eq!(kept(3), [1, 0]);
    assert_eq!(kept(4), [1, 0]);
    // Single weights cannot be chosen by scores of units.
    spec.granularity = Granularity::Weight;
    let scores = Scores::Units(vec![vec![1.0; 4], vec![1.0; 2]]);
    let made = PruningPlan::make(&spec, &Parameters::initial(&model(), 1), None, &scores);
    assert!(matches!(made, Err(NoSelection::Unfit(_))));
}

#[test]
fn a_shuffled_mask_takes_as_many_of_each_layer() {
    let mut spec = spec(Removal::PerLayer { counts: vec![5, 3] });
    let scores = [(0..12).map(f64::from).collect(), (0..8).map(f64::from).collect()];
    let plain = make(&spec, &scores).expect("a plan");
    for ablation in [Ablation::ShuffleMask, Ablation::RandomMatched] {
        spec.ablation = Some(ablation);
        let other = make(&spec, &scores).expect("a plan");
        assert_eq!(
            other.summary.layers.iter().map(|layer| layer.removed).collect::<Vec<_>>(),
            plain.summary.layers.iter().map(|layer| layer.removed).collect::<Vec<_>>()
        );
        assert_ne!(places(&other), places(&plain));
        assert_eq!(make(&spec, &scores).expect("a plan"), other);
    }
}

proptest! {
    #[test]
    fn exactly_the_lowest_scores_go_and_the_file_says_so(
        first in proptest::collection::vec(0_u8..6, 12),
        second in proptest::collection::vec(0_u8..6, 8),
        share in 0.0..0.55_f64,
        local in any::<bool>(),
    ) {
        let scores: Vec<Vec<f64>> =
            [first, second].iter().map(|layer| layer.iter().map(|score| f64::from(*score)).collect()).collect();
        let count = |size: usize| (share * size as f64) as u64;
        let removal = if local {
            Removal::PerLayer { counts: scores.iter().map(|layer| count(layer.len())).collect() }
        } else {
            Removal::global(count(20))
        };
        let plan = match make(&spec(removal.clone()), &scores) {
            Ok(plan) => plan,
            Err(NoSelection::Collapsed { .. }) => return Ok(()),
            Err(error) => return Err(TestCaseError::fail(error.to_string())),
        };
        let mask = plan.mask(&model(), &[0, 1]).expect("a mask");
        prop_assert_eq!(Some(mask.removed()), removal.total(&[]));
        // No kept weight scores below a removed one that it competed with.
        for (index, layer) in plan.summary.layers.iter().enumerate() {
            let kept = mask.kept[2 * index].iter().flatten().filter(|kept| **kept).count() as u64;
            prop_assert_eq!(kept, layer.places - layer.removed);
            if let (Some(removed), Some(kept)) = (layer.highest_removed_score, layer.lowest_kept_score) {
                prop_assert!(removed <= kept);
            }
        }
        if !local {
            let removed = plan.removed.last().map(|entry| entry.score);
            let kept = plan.summary.layers.iter().filter_map(|layer| layer.lowest_kept_score).min_by(f64::total_cmp);
            prop_assert!(removed.is_none_or(|removed| kept.is_none_or(|kept| removed <= kept)));
        }
        prop_assert!(plan.removed.is_sorted_by(|a, b| a.score <= b.score));
        let bytes = plan.write().expect("writes");
        prop_assert_eq!(PruningPlan::read(&bytes).expect("reads"), plan);
    }
}

#[test]
fn a_damaged_plan_is_refused() {
    let plan = make(&spec(Removal::global(3)), &[vec![1.0; 12], vec![1.0; 8]]).expect("a plan");
    let bytes = plan.write().expect("writes");
    for end in 0..bytes.len() {
        assert!(PruningPlan::read(&bytes[..end]).is_err());
    }
    let mut twice = plan.clone();
    twice.removed[1] = twice.removed[0];
    assert!(twice.mask(&model(), &[0, 1]).is_err());
    let mut outside = plan;
    outside.removed[0].index = 12;
    assert!(outside.mask(&model(), &[0, 1]).is_err());
}
