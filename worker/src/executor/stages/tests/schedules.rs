//! Stages whose masks change while they train, and those whose criterion trains.

use std::collections::BTreeMap;

use secateur_proto::spec::{Granularity, Growth, Ramp, Schedule};

use super::{super::*, *};
use crate::{
    executor::stages::prune::Pruning,
    prune::{criteria::Definition, probe::Probe as _},
    train::{bundle::Phase, probe::NetProbe},
};

/// Eight steps: four an epoch.
const SCHEDULES: [Schedule; 4] = [
    Schedule::Gradual { shape: Ramp::Exponential, begin: 1, every: 2, times: 3 },
    Schedule::Dynamic { growth: Growth::Random, fraction: 0.4, every: 2, end: 7 },
    Schedule::Dynamic { growth: Growth::Gradient, fraction: 0.4, every: 2, end: 7 },
    Schedule::Alternating { every: 2, end: 6 },
];

fn scheduled(fixture: &Fixture, dense: StageKey, schedule: Schedule, removal: Removal) -> PruneSpec {
    PruneSpec { schedule, ..fixture.prune(dense, Some(taylor(1.0)), removal) }
}

fn read(fixture: &Fixture, result: &StageResult, role: Role) -> Vec<u8> {
    fixture.stages.workspace.store.get(result.artifacts[&role].hash).expect("it was made")
}

#[test]
fn the_plan_and_the_mask_are_those_of_the_end() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let model = mlp(WIDTH, &[6, 4]);
    for schedule in SCHEDULES {
        for removal in [Removal::global(33), Removal::PerLayer { counts: vec![20, 11] }] {
            let spec = scheduled(&fixture, key, schedule, removal);
            let asked = spec.removed().expect("a count");
            let stage = fixture.prune_stage(spec, &dense);
            let result = completed(one(&mut fixture.stages, &stage));
            let plan = PruningPlan::read(&read(&fixture, &result, Role::Plan)).expect("a plan");
            assert_eq!(plan.removed.len() as u64, asked, "{schedule:?}");
            let mask = plan.mask(&model, &[0, 1]).expect("a mask");
            assert_eq!(checkpoint::write_mask(&model, &mask).expect("writes"), read(&fixture, &result, Role::Mask));
            let net = checkpoint::read_parameters(&model, &read(&fixture, &result, Role::Checkpoint)).expect("a net");
            assert_eq!((mask.removed(), mask.violations(&net)), (asked, 0));
            let steps: BTreeSet<u64> = plan.removed.iter().map(|entry| entry.step).collect();
            match schedule {
                Schedule::Gradual { .. } => assert_eq!(steps, [1, 3, 5].into()),
                Schedule::Dynamic { .. } => assert!(steps.is_subset(&[0, 2, 4, 6].into()) && steps.len() > 1),
                Schedule::Alternating { .. } | Schedule::OneShot => assert_eq!(steps, [6].into()),
            }
            // The masks settle after five or six steps: within the second epoch.
            let curve: serde_json::Value = serde_json::from_slice(&read(&fixture, &result, Role::Curve)).expect("json");
            assert_eq!(curve["best_epoch"].as_u64(), Some(2));
        }
    }
}

#[test]
fn a_bundle_of_one_schedule_makes_the_files_that_its_stages_make_alone() {
    for schedule in SCHEDULES {
        let mut fixture = Fixture::new();
        let (key, dense) = fixture.trained();
        let bundle: Vec<StageWithInputs> = [9, 30, 53]
            .map(|count| fixture.prune_stage(scheduled(&fixture, key, schedule, Removal::global(count)), &dense))
            .to_vec();
        let together = fixture.outcomes(&bundle);
        for (stage, found) in bundle.iter().zip(together) {
            assert_same(&one(&mut fixture.stages, stage), &found);
        }
    }
}

#[test]
fn stages_of_other_schedules_are_no_bundle() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let mut one_shot = fixture.prune(key, Some(magnitude()), Removal::global(9));
    let other = Schedule::Gradual { shape: Ramp::Exponential, begin: 1, every: 2, times: 2 };
    for (first, second) in [(Schedule::OneShot, SCHEDULES[0]), (SCHEDULES[1], SCHEDULES[2]), (SCHEDULES[0], other)] {
        one_shot.schedule = first;
        let first = fixture.prune_stage(one_shot.clone(), &dense);
        one_shot.schedule = second;
        let second = fixture.prune_stage(one_shot.clone(), &dense);
        for outcome in fixture.outcomes(&[first, second]) {
            assert_failed(&outcome, FailureClass::Input);
        }
    }
}

#[test]
fn a_schedule_that_outlasts_the_training_or_a_criterion_that_cannot_follow_it_is_refused_alone() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let long = |begin| Schedule::Gradual { shape: Ramp::Cubic, begin, every: 3, times: 2 };
    let good = scheduled(&fixture, key, long(5), Removal::global(9));
    let too_long = scheduled(&fixture, key, long(6), Removal::global(9));
    let mut later = good.clone();
    later.skip_steps = 1;
    let admm = Definition::named("admm").expect("a criterion").spec(&BTreeMap::new());
    let trains = PruneSpec { criterion: Some(admm), ..good.clone() };
    let bundle = [good, too_long, later, trains].map(|spec| fixture.prune_stage(spec, &dense));
    let outcomes = fixture.outcomes(&bundle);
    drop(completed(outcomes[0].clone()));
    outcomes[1..].iter().for_each(|outcome| assert_failed(outcome, FailureClass::Input));
}

#[test]
fn a_further_level_goes_on_from_what_is_gone() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let first = fixture.prune_stage(fixture.prune(key, Some(magnitude()), Removal::global(20)), &dense);
    let pruned = completed(one(&mut fixture.stages, &first));
    let model = mlp(WIDTH, &[6, 4]);
    let before = checkpoint::read_mask(&model, &read(&fixture, &pruned, Role::Mask)).expect("a mask");
    for schedule in SCHEDULES {
        let mut spec = scheduled(&fixture, key, schedule, Removal::global(40));
        spec.subject = Subject::Pruned { stage: first.key };
        let mut stage = fixture.prune_stage(spec, &pruned);
        stage.inputs.insert(Role::Mask, pruned.artifacts[&Role::Mask]);
        let result = completed(one(&mut fixture.stages, &stage));
        let after = checkpoint::read_mask(&model, &read(&fixture, &result, Role::Mask)).expect("a mask");
        let mut both = after.clone();
        both.remove_all(&before);
        assert_eq!((after.removed(), &both), (40, &after), "{schedule:?}");
        let plan = PruningPlan::read(&read(&fixture, &result, Role::Plan)).expect("a plan");
        let at_once = plan.removed.iter().filter(|entry| entry.step == 0).count();
        assert!(at_once >= 20 || matches!(schedule, Schedule::Alternating { .. }));
    }
}

/// The stage against its parts: the criterion's own training, the plan by its scores, and the training of what that left.
#[test]
fn what_is_left_begins_from_the_net_that_a_criterion_trained() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let model = mlp(WIDTH, &[6, 4]);
    for name in ["movement", "l0", "admm"] {
        let criterion = Definition::named(name).expect("a criterion").spec(&BTreeMap::new());
        let spec = fixture.prune(key, Some(criterion.clone()), Removal::global(30));
        let stage = fixture.prune_stage(spec.clone(), &dense);
        let result = completed(one(&mut fixture.stages, &stage));

        let net = checkpoint::read_parameters(&model, &read(&fixture, &dense, Role::Checkpoint)).expect("a net");
        let (data, device) = (fixture.stages.workspace.data().expect("loaded"), fixture.stages.device());
        let mut probe = NetProbe::new(&model, data, device);
        let validation = probe.validation_loss(&net).expect("a loss");
        let (definition, arguments) = Definition::of(&criterion).expect("a criterion");
        let mut context = crate::prune::criteria::Context {
            model: &model,
            layers: &spec.layers,
            net: &net,
            removed: None,
            count: Some(30),
            counts: None,
            granularity: Granularity::Weight,
            training: &spec.training,
            seed: spec.seed,
            probe: &mut probe,
        };
        let scores = (definition.scores)(&mut context, &arguments).expect("scores");
        let mask =
            PruningPlan::make(&spec, &net, None, &scores).expect("a plan").mask(&model, &[0, 1]).expect("a mask");
        assert_eq!(checkpoint::write_mask(&model, &mask).expect("writes"), read(&fixture, &result, Role::Mask));
        let mut start = scores.conditioned().expect("a net").clone();
        assert_ne!(probe.validation_loss(&start).expect("a loss"), validation);
        mask.apply(&mut start);
        let lane = Lane {
            start,
            mask: Some(mask),
            training: spec.training.clone(),
            regularization: None,
            seed: spec.seed,
            phase: Phase::Retrain,
            skip_steps: 0,
            stop_after: None,
        };
        let ends = train(&model, &[lane], &[], &mut [], data, device, &mut ()).expect("no defect");
        let LaneEnd::Trained(expected) = &ends[0] else { panic!("{:?}", ends[0]) };
        let expected = checkpoint::write_parameters(&model, &expected.parameters).expect("writes");
        assert_eq!(read(&fixture, &result, Role::Checkpoint), expected, "{name}");
    }
}

#[test]
fn a_mask_that_is_not_the_one_that_was_asked_for_is_a_defect() {
    let mut fixture = Fixture::new();
    let (key, dense) = fixture.trained();
    let spec = fixture.prune(key, Some(magnitude()), Removal::global(20));
    let stage = fixture.prune_stage(spec.clone(), &dense);
    let result = completed(one(&mut fixture.stages, &stage));
    let bytes = read(&fixture, &result, Role::Plan);
    let plan = PruningPlan::read(&bytes).expect("a plan");
    let mask = plan.mask(&mlp(WIDTH, &[6, 4]), &[0, 1]).expect("a mask");
    let pruning = Pruning { spec: &spec, earlier: None, plan: plan.clone() };
    assert_eq!(pruning.audit(&bytes, &mask), Ok(()));
    let mut other = mask.clone();
    let kept = other.kept[0].as_mut().expect("prunable");
    kept.rotate_left(1);
    let failure = pruning.audit(&bytes, &other).expect_err("another place is gone");
    assert_eq!(failure.class, FailureClass::Internal);
    let more = PruneSpec { removal: Removal::global(21), ..spec.clone() };
    let failure = Pruning { spec: &more, earlier: None, plan }.audit(&bytes, &mask).expect_err("one too few");
    assert_eq!(failure.class, FailureClass::Internal);
}
