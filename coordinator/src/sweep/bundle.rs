//! Which stages can be lanes of one bundle.

use secateur_proto::{
    ids::{BundleClass, ContentHash},
    spec::{ModelSpec, OptimizerSpec, RegularizationKind, SelectBy, StageSpec},
};
use serde::Serialize;

/// All that lanes trained in lockstep must have in common: the data, every shape, and every branch of the training loop. Numbers
/// that a lane can have of its own (seed, learning rate, strength, weight decay, norm to clip to, criterion, counts, the dense net
/// it starts from) are left out.
#[derive(Serialize)]
struct Common<'a> {
    stage: &'static str,
    prepare: String,
    model: &'a ModelSpec,
    batch_size: u32,
    epochs: u32,
    optimizer: OptimizerSpec,
    regularization: Option<RegularizationKind>,
    clips: bool,
    select_by: SelectBy,
}

/// The class of a stage, and whether it has lanes at all.
pub(super) fn class(spec: &StageSpec) -> (BundleClass, bool) {
    let (stage, prepare) = match spec {
        StageSpec::Prepare(_) => return (name(spec.key().to_string().as_bytes()), false),
        StageSpec::Dense(spec) => ("dense", spec.prepare),
        StageSpec::Prune(spec) => ("prune", spec.prepare),
    };
    let Some((model, training)) = spec.training() else { return (name(spec.key().to_string().as_bytes()), false) };
    let common = Common {
        stage,
        prepare: prepare.to_string(),
        model,
        batch_size: training.batch_size,
        epochs: training.epochs,
        optimizer: without_lane_numbers(&training.optimizer),
        regularization: spec.regularization().map(|penalty| penalty.kind),
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
