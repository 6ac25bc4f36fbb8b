//! What a point of the grid comes to: nets, training and exact counts, but no seed.

use secateur_proto::{
    ids::StageKey,
    spec::{
        CriterionSpec, DenseSpec, MAX_WEIGHTS, ModelSpec, OptimizerSpec, PruneSpec, RegularizationSpec, Removal,
        StageSpec, TrainingSpec,
    },
};

use super::{
    axis::{Phase, Strategy},
    counts,
    expand::Point,
    spec::SweepSpec,
};

/// Everything that decides a cell's results but the data and the seed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Work {
    pub(super) model: ModelSpec,
    training: TrainingSpec,
    dense_penalty: Option<RegularizationSpec>,
    retraining: TrainingSpec,
    retrain_penalty: Option<RegularizationSpec>,
    criterion: Option<CriterionSpec>,
    pub(super) removal: Removal,
}

impl Work {
    /// The work of `point` for a table of so many prepared `inputs`; in words, why it cannot be done.
    pub(super) fn of(spec: &SweepSpec, point: Point, inputs: u32) -> Result<Self, String> {
        let grid = &spec.grid;
        let model = ModelSpec::Mlp { inputs, hidden: point.of(&grid.hidden).clone() };
        if model.macs() > MAX_WEIGHTS {
            return Err(format!("the net would have {} weights, allowed at most {MAX_WEIGHTS}", model.macs()));
        }
        let layers: Vec<_> = (model.layers().into_iter().filter(|layer| layer.prunable))
            .map(|layer| (layer.name.clone(), layer.weights()))
            .collect();
        let removal = counts::removal(*point.of(&grid.scope), *point.of(&grid.sparsity), &layers)?;
        let training = TrainingSpec {
            optimizer: update_rule(&spec.optimizer, *point.of(&grid.lr), *point.of(&grid.weight_decay)),
            batch_size: *point.of(&grid.batch_size),
            epochs: *point.of(&grid.epochs),
            clip_gradient_norm: *point.of(&grid.clip_gradient_norm),
            select_by: spec.select_by,
        };
        let retrain_lr = point.of(&grid.retrain_lr).unwrap_or(*point.of(&grid.lr));
        let retraining = TrainingSpec {
            optimizer: training.optimizer.with_lr(retrain_lr),
            epochs: *point.of(&grid.retrain_epochs),
            ..training.clone()
        };
        let penalty = |on: [Phase; 2]| {
            let kind = (*point.of(&grid.regularization))?;
            let strength = *point.of(&grid.strength);
            (strength > 0.0 && on.contains(point.of(&grid.phase))).then_some(RegularizationSpec { kind, strength })
        };
        let criterion = match point.of(&grid.strategy) {
            _ if removal.total() == 0 => None,
            Strategy::Random => Some(CriterionSpec::Random {}),
            Strategy::Magnitude => Some(CriterionSpec::Magnitude {}),
            Strategy::Taylor { batches, .. } => Some(CriterionSpec::Taylor { batches: *batches }),
        };
        Ok(Self {
            dense_penalty: penalty([Phase::Dense, Phase::Both]),
            retrain_penalty: penalty([Phase::Retrain, Phase::Both]),
            model,
            training,
            retraining,
            criterion,
            removal,
        })
    }

    /// The same with nothing removed.
    pub(super) fn dense_control(&self) -> Self {
        Self { criterion: None, removal: Removal::Global { count: 0 }, ..self.clone() }
    }

    /// The same with random weights removed.
    pub(super) fn random_control(&self) -> Self {
        Self { criterion: Some(CriterionSpec::Random {}), ..self.clone() }
    }

    /// Trains the unpruned net.
    pub(super) fn dense_stage(&self, prepare: StageKey, seed: u64) -> StageSpec {
        StageSpec::Dense(DenseSpec {
            prepare,
            model: self.model.clone(),
            training: self.training.clone(),
            regularization: self.dense_penalty.clone(),
            seed,
        })
    }

    /// Prunes and retrains the net that the stage `dense` trained.
    pub(super) fn prune_stage(&self, prepare: StageKey, dense: StageKey, seed: u64) -> StageSpec {
        StageSpec::Prune(PruneSpec {
            prepare,
            dense,
            model: self.model.clone(),
            criterion: self.criterion.clone(),
            removal: self.removal.clone(),
            training: self.retraining.clone(),
            regularization: self.retrain_penalty.clone(),
            seed,
        })
    }
}

fn update_rule(template: &OptimizerSpec, lr: f64, decay: f64) -> OptimizerSpec {
    let mut rule = template.with_lr(lr);
    match &mut rule {
        OptimizerSpec::Adam { weight_decay, .. }
        | OptimizerSpec::AdamW { weight_decay, .. }
        | OptimizerSpec::Sgd { weight_decay, .. } => *weight_decay = decay,
    }
    rule
}
