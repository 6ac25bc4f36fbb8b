//! Which stages can be lanes of one bundle. Both the coordinator, which makes bundles, and the worker, which checks
//! them, use this rule.

use serde::Serialize;

use super::{
    LearningRateSchedule, ModelSpec, OptimizerSpec, RegularizationKind, RegularizationSpec, Schedule, SelectBy,
    StageSpec, Training, TrainingSpec,
};
use crate::ids::{BundleClass, ContentHash, StageKey};

/// Everything that lanes trained in lockstep must share: the data, every shape, and every branch of the training loop.
/// Not included are numbers that each lane has of its own: seed, learning rate, strength, weight decay, dropout, norm
/// to clip to, class weights, criterion, counts, and the net it starts from.
///
/// The hash of its JSON names the class, so a new field is left out of the JSON at its default.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LaneClass<'a> {
    stage: &'static str,
    prepare: StageKey,
    model: &'a ModelSpec,
    batch_size: u32,
    epochs: u32,
    optimizer: OptimizerSpec,
    lr_schedule: LearningRateSchedule,
    regularization: Option<(RegularizationKind, u32, u32)>,
    masks: Option<Schedule>,
    skip_steps: u64,
    stop_after: Option<u64>,
    drops: bool,
    clips: bool,
    select_by: SelectBy,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    smooths: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    weighs: bool,
}

impl<'a> LaneClass<'a> {
    /// Names every field of a training, so that adding a field requires a decision whether lanes must share it.
    fn of(stage: &'static str, training: Training<'a>) -> Self {
        let Training { prepare, model, spec, penalty, schedule, skip_steps, stop_after } = training;
        let TrainingSpec {
            initialization: _,
            optimizer,
            lr_schedule,
            batch_size,
            epochs,
            dropout,
            clip_gradient_norm,
            select_by,
            label_smoothing,
            class_weights,
        } = spec;
        let regularization = penalty.map(|penalty| {
            let RegularizationSpec { kind, strength: _, warm_up_epochs, healing_epochs } = penalty;
            (*kind, *warm_up_epochs, *healing_epochs)
        });
        Self {
            stage,
            prepare,
            model,
            batch_size: *batch_size,
            epochs: *epochs,
            optimizer: without_lane_numbers(optimizer),
            lr_schedule: *lr_schedule,
            regularization,
            masks: schedule,
            skip_steps,
            stop_after,
            drops: *dropout > 0.0,
            clips: clip_gradient_norm.is_some(),
            select_by: *select_by,
            smooths: *label_smoothing > 0.0,
            weighs: !class_weights.is_empty(),
        }
    }
}

impl StageSpec {
    /// Returns what it must share with the other lanes of its bundle, or `None` if the stage does not train and so has
    /// no lane.
    #[must_use]
    pub fn lane_class(&self) -> Option<LaneClass<'_>> {
        self.training().map(|training| LaneClass::of(self.kind(), training))
    }

    /// Returns the class of bundles that it can be in. A stage without a lane has a class of its own.
    ///
    /// # Panics
    /// Never: a lane class is plain data, and hexadecimal digits are a valid id.
    #[must_use]
    pub fn bundle_class(&self) -> BundleClass {
        let identity = match self.lane_class() {
            Some(class) => serde_json::to_string(&class).expect("a lane class is plain data"),
            None => self.key().to_string(),
        };
        ContentHash::of(identity.as_bytes()).short(12).parse().expect("hexadecimal digits are a valid id")
    }
}

/// Keeps of the weight decay only whether there is one.
fn without_lane_numbers(rule: &OptimizerSpec) -> OptimizerSpec {
    let mut rule = rule.with_lr(0.0);
    match &mut rule {
        OptimizerSpec::Adam { weight_decay, .. }
        | OptimizerSpec::AdamW { weight_decay, .. }
        | OptimizerSpec::Sgd { weight_decay, .. } => *weight_decay = if *weight_decay == 0.0 { 0.0 } else { 1.0 },
    }
    rule
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{
        CriterionSpec, DenseSpec, Granularity, Initialization, PruneSpec, Ranking, Removal, Start, Subject,
    };

    fn prepare() -> StageKey {
        StageKey(ContentHash::of(b"data"))
    }

    fn training() -> TrainingSpec {
        TrainingSpec {
            optimizer: OptimizerSpec::Adam { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weight_decay: 0.0 },
            batch_size: 32,
            epochs: 5,
            ..TrainingSpec::default()
        }
    }

    fn dense() -> DenseSpec {
        DenseSpec {
            prepare: prepare(),
            model: ModelSpec::mlp(4, vec![3]),
            training: training(),
            regularization: None,
            stop_after: None,
            seed: 1,
        }
    }

    fn prune() -> PruneSpec {
        PruneSpec {
            prepare: prepare(),
            subject: Subject::Initial {},
            model: ModelSpec::mlp(4, vec![3]),
            layers: vec![0],
            criterion: Some(CriterionSpec::new("magnitude", &[])),
            granularity: Granularity::Weight,
            ranking: Ranking::Raw,
            removal: Removal::global(3),
            ablation: None,
            start: Start::Scored {},
            schedule: Schedule::OneShot,
            training: training(),
            skip_steps: 0,
            regularization: None,
            seed: 1,
        }
    }

    fn adam(lr: f64, weight_decay: f64) -> OptimizerSpec {
        OptimizerSpec::Adam { lr, betas: [0.9, 0.999], eps: 1e-8, weight_decay }
    }

    fn penalty(strength: f64, warm_up_epochs: u32) -> Option<RegularizationSpec> {
        Some(RegularizationSpec { kind: RegularizationKind::L1, strength, warm_up_epochs, healing_epochs: 0 })
    }

    /// Whether the two stages can be lanes of one bundle, by the name of their class as by the class itself.
    fn share(one: impl Into<StageSpec>, two: impl Into<StageSpec>) -> bool {
        let (one, two) = (one.into(), two.into());
        let share = one.lane_class() == two.lane_class();
        assert_eq!(one.bundle_class() == two.bundle_class(), share);
        share
    }

    #[test]
    fn numbers_that_a_lane_has_of_its_own_part_nobody() {
        let with = |change: &dyn Fn(&mut DenseSpec)| {
            let mut spec = dense();
            (spec.training.optimizer, spec.regularization) = (adam(1e-3, 0.1), penalty(0.1, 1));
            (spec.training.dropout, spec.training.clip_gradient_norm) = (0.1, Some(1.0));
            spec.training.label_smoothing = 0.1;
            spec.training.class_weights = vec![0.5, 1.5];
            change(&mut spec);
            spec
        };
        assert!(share(with(&|_| {}), with(&|spec| spec.seed = 2)));
        assert!(share(with(&|_| {}), with(&|spec| spec.training.optimizer = adam(1e-2, 0.2))));
        assert!(share(with(&|_| {}), with(&|spec| spec.regularization = penalty(0.2, 1))));
        assert!(share(with(&|_| {}), with(&|spec| spec.training.dropout = 0.2)));
        assert!(share(with(&|_| {}), with(&|spec| spec.training.clip_gradient_norm = Some(2.0))));
        assert!(share(with(&|_| {}), with(&|spec| spec.training.label_smoothing = 0.2)));
        assert!(share(with(&|_| {}), with(&|spec| spec.training.class_weights = vec![0.25, 1.75])));
        assert!(share(with(&|_| {}), with(&|spec| spec.training.initialization = Initialization::KaimingNormal)));
        let level = PruneSpec { start: Start::Initial {}, removal: Removal::global(5), layers: vec![0, 1], ..prune() };
        assert!(share(prune(), level));
    }

    #[test]
    fn what_decides_the_loop_parts_lanes() {
        let with = |change: &dyn Fn(&mut DenseSpec)| {
            let mut spec = dense();
            change(&mut spec);
            share(dense(), spec)
        };
        assert!(!with(&|spec| spec.prepare = StageKey(ContentHash::of(b"other data"))));
        assert!(!with(&|spec| spec.model = ModelSpec::mlp(4, vec![4])));
        assert!(!with(&|spec| spec.training.batch_size = 33));
        assert!(!with(&|spec| spec.training.epochs = 6));
        assert!(!with(&|spec| spec.training.optimizer = adam(1e-3, 0.1)));
        assert!(!with(&|spec| spec.training.lr_schedule = LearningRateSchedule::Cosine));
        assert!(!with(&|spec| spec.training.dropout = 0.1));
        assert!(!with(&|spec| spec.training.clip_gradient_norm = Some(1.0)));
        assert!(!with(&|spec| spec.training.label_smoothing = 0.1));
        assert!(!with(&|spec| spec.training.class_weights = vec![0.5, 1.5]));
        assert!(!with(&|spec| spec.regularization = penalty(0.1, 0)));
        assert!(!with(&|spec| spec.stop_after = Some(3)));
        assert!(!share(
            DenseSpec { regularization: penalty(0.1, 0), ..dense() },
            DenseSpec { regularization: penalty(0.1, 1), ..dense() }
        ));
        assert!(!share(dense(), prune()));
        assert!(!share(prune(), PruneSpec { skip_steps: 3, ..prune() }));
        assert!(!share(prune(), PruneSpec { schedule: Schedule::Alternating { every: 2, end: 4 }, ..prune() }));
    }

    #[test]
    fn steps_are_those_between_the_first_and_the_last() {
        let steps = |spec: StageSpec| spec.training().map(|training| training.steps(100));
        assert_eq!(steps(dense().into()), Some(4 * 5), "the last batch of an epoch is smaller");
        assert_eq!(steps(DenseSpec { stop_after: Some(7), ..dense() }.into()), Some(7));
        assert_eq!(steps(PruneSpec { skip_steps: 7, ..prune() }.into()), Some(13));
    }
}
