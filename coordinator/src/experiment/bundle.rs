//! Which stages can be lanes of one bundle.

use secateur_proto::{
    ids::{BundleClass, ContentHash},
    spec::{LearningRateSchedule, ModelSpec, OptimizerSpec, RegularizationKind, Schedule, SelectBy, StageSpec},
};
use serde::Serialize;

/// All that lanes trained in lockstep must have in common: the data, every shape, and every branch of the training loop. Numbers
/// that a lane can have of its own (seed, learning rate, strength, weight decay, dropout, norm to clip to, criterion, counts, the net
/// it starts from) are left out.
#[derive(Serialize)]
struct Common<'a> {
    stage: &'static str,
    prepare: String,
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
}

/// The class of a stage, and whether it has lanes at all.
pub(super) fn class(spec: &StageSpec) -> (BundleClass, bool) {
    let (stage, prepare, masks, skip_steps, stop_after) = match spec {
        StageSpec::Prepare(_) | StageSpec::Import(_) => return (name(spec.key().to_string().as_bytes()), false),
        StageSpec::Dense(spec) => ("dense", spec.prepare, None, 0, spec.stop_after),
        StageSpec::Prune(spec) => ("prune", spec.prepare, Some(spec.schedule), spec.skip_steps, None),
    };
    let Some((model, training)) = spec.training() else { return (name(spec.key().to_string().as_bytes()), false) };
    let common = Common {
        stage,
        prepare: prepare.to_string(),
        model,
        batch_size: training.batch_size,
        epochs: training.epochs,
        optimizer: without_lane_numbers(&training.optimizer),
        lr_schedule: training.lr_schedule,
        regularization: (spec.regularization())
            .map(|penalty| (penalty.kind, penalty.warm_up_epochs, penalty.healing_epochs)),
        masks,
        skip_steps,
        stop_after,
        drops: training.dropout > 0.0,
        clips: training.clip_gradient_norm.is_some(),
        select_by: training.select_by,
    };
    (name(&serde_json::to_vec(&common).expect("plain data")), true)
}

fn name(bytes: &[u8]) -> BundleClass {
    ContentHash::of(bytes).short(12).parse().expect("hexadecimal digits are safe")
}

/// Weight decay keeps only whether there is any.
fn without_lane_numbers(rule: &OptimizerSpec) -> OptimizerSpec {
    let mut rule = rule.with_lr(0.0);
    match &mut rule {
        OptimizerSpec::Adam { weight_decay, .. }
        | OptimizerSpec::AdamW { weight_decay, .. }
        | OptimizerSpec::Sgd { weight_decay, .. } => *weight_decay = if *weight_decay == 0.0 { 0.0 } else { 1.0 },
    }
    rule
}
