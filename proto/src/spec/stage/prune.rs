//! `prune`: scores, plan, mask, retraining.

use serde::{Deserialize, Serialize};

use super::{EVALUATED, Stage, StageSpec, Training};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{
        Ablation, CriterionSpec, Granularity, Layer, ModelSpec, Ranking, RegularizationSpec, Removal, Schedule, Start,
        Subject, TrainingSpec,
    },
};

/// Prunes a net and retrains it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PruneSpec {
    /// The stage that prepared the data.
    pub prepare: StageKey,
    /// The net that is scored.
    pub subject: Subject,
    /// Its architecture.
    pub model: ModelSpec,
    /// Indices of the layers that are pruned, ascending.
    pub layers: Vec<u32>,
    /// How weights are scored. `None` if nothing is pruned.
    pub criterion: Option<CriterionSpec>,
    /// The unit of pruning.
    pub granularity: Granularity,
    /// How scores of different layers are made comparable.
    pub ranking: Ranking,
    /// How many are pruned, and among which they compete.
    pub removal: Removal,
    /// The ablation of the mask or the net, if this is a control.
    pub ablation: Option<Ablation>,
    /// The weights that retraining starts from.
    pub start: Start,
    /// When weights are pruned.
    pub schedule: Schedule,
    /// How to retrain. The mask is applied at every step.
    pub training: TrainingSpec,
    /// Steps to skip at the beginning of retraining: those before the point that it rewinds to.
    pub skip_steps: u64,
    /// The penalty during retraining.
    pub regularization: Option<RegularizationSpec>,
    /// Decides random scores, initial values and the order of rows.
    pub seed: u64,
}

impl PruneSpec {
    /// The layers that are pruned. Requires a checked spec.
    #[must_use]
    pub fn prunable_layers(&self) -> Vec<Layer> {
        let layers = self.model.layers();
        self.layers.iter().filter_map(|index| layers.get(*index as usize).cloned()).collect()
    }

    /// The number of prunable weights or units of each of those layers.
    #[must_use]
    pub fn sizes(&self) -> Vec<u64> {
        let size = |layer: &Layer| match self.granularity {
            Granularity::Weight => layer.weights(),
            Granularity::Unit => u64::from(layer.outputs()),
        };
        self.prunable_layers().iter().map(size).collect()
    }

    /// The number that is pruned in total, or `None` if it depends on the net.
    #[must_use]
    pub fn removed(&self) -> Option<u64> {
        self.removal.total(&self.prunable_layers())
    }
}

impl Stage for PruneSpec {
    fn parents(&self) -> Vec<StageKey> {
        [Some(self.prepare), self.subject.stage(), self.start.stage()].into_iter().flatten().collect()
    }

    fn with_seed(&self, seed: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        let (prepare, subject, start) =
            (renamed(self.prepare), self.subject.renamed(renamed), self.start.renamed(renamed));
        Self { prepare, subject, start, seed, ..self.clone() }.into()
    }

    fn reads(&self) -> Vec<Role> {
        let subject: &[Role] = match self.subject {
            Subject::Dense { .. } => &[Role::Checkpoint],
            Subject::Pruned { .. } => &[Role::Checkpoint, Role::Mask],
            Subject::Initial {} => &[],
        };
        let early = self.start.stage().map(|_| Role::EarlyCheckpoint);
        [Role::Prepared].into_iter().chain(subject.iter().copied()).chain(early).collect()
    }

    fn leaves(&self) -> Vec<Role> {
        [&[Role::Plan, Role::Mask], EVALUATED].concat()
    }

    fn model(&self) -> Option<&ModelSpec> {
        Some(&self.model)
    }

    fn training(&self) -> Option<Training<'_>> {
        Some(Training {
            prepare: self.prepare,
            model: &self.model,
            spec: &self.training,
            penalty: self.regularization.as_ref(),
            schedule: Some(self.schedule),
            skip_steps: self.skip_steps,
            stop_after: None,
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        let layers = self.model.layers();
        let weighted = |index: &u32| layers.get(*index as usize).is_some_and(|layer| layer.weights() > 0);
        if !self.layers.is_sorted_by(|one, two| one < two) || !self.layers.iter().all(weighted) {
            return Err("prunable layers do not exist or have no weights");
        }
        let sizes = self.sizes();
        let fits = match &self.removal {
            Removal::Global { count, caps } => {
                let caps = caps.as_ref().unwrap_or(&sizes);
                caps.len() == sizes.len()
                    && caps.iter().zip(&sizes).all(|(cap, size)| cap <= size)
                    && *count <= caps.iter().sum()
            }
            Removal::PerLayer { counts } => {
                counts.len() == sizes.len() && counts.iter().zip(&sizes).all(|(count, size)| count <= size)
            }
            Removal::Sensitivity { count } => *count <= sizes.iter().sum(),
            Removal::Grouped { keep, group, .. } => {
                *keep > 0 && keep <= group && self.granularity == Granularity::Weight
            }
            Removal::Zeros {} => self.granularity == Granularity::Weight,
        };
        if !fits {
            return Err("more weights to remove than there are");
        }
        if self.criterion.is_none() && !self.removal.is_none() && self.removal != (Removal::Zeros {}) {
            return Err("weights to remove without a criterion");
        }
        let fires = match self.schedule {
            Schedule::OneShot => true,
            Schedule::Gradual { every, times, .. } => every > 0 && times > 0,
            Schedule::Dynamic { every, fraction, .. } => every > 0 && (0.0..=1.0).contains(&fraction),
            Schedule::Alternating { every, .. } => every > 0,
        };
        if !fires {
            return Err("the schedule has no first step");
        }
        let goes_together = match self.schedule {
            Schedule::OneShot => true,
            Schedule::Gradual { .. } | Schedule::Alternating { .. } => self.removal != (Removal::Zeros {}),
            // Dynamic schedules replace single weights anywhere in their layer.
            Schedule::Dynamic { .. } => {
                self.granularity == Granularity::Weight
                    && !matches!(self.removal, Removal::Grouped { .. } | Removal::Zeros {})
            }
        };
        if !goes_together {
            return Err("this schedule does not support this removal");
        }
        Ok(())
    }
}
