//! `dense`: training of the unpruned net.

use serde::{Deserialize, Serialize};

use super::{EVALUATED, Stage, StageSpec, Training};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{ModelSpec, RegularizationSpec, TrainingSpec},
};

/// Trains the unpruned net from its initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// The stage that prepared the data.
    pub prepare: StageKey,
    /// The net.
    pub model: ModelSpec,
    /// How to train it.
    pub training: TrainingSpec,
    /// Its penalty.
    pub regularization: Option<RegularizationSpec>,
    /// Stop after this many steps and keep the last net, as a point to rewind to. `None` trains to the end and keeps
    /// the best epoch's net.
    pub stop_after: Option<u64>,
    /// Decides the initial weights and the order of rows.
    pub seed: u64,
}

impl Stage for DenseSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![self.prepare]
    }

    fn with_seed(&self, seed: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        Self { prepare: renamed(self.prepare), seed, ..self.clone() }.into()
    }

    fn reads(&self) -> Vec<Role> {
        vec![Role::Prepared]
    }

    fn leaves(&self) -> Vec<Role> {
        if self.stop_after.is_some() { vec![Role::EarlyCheckpoint] } else { EVALUATED.to_vec() }
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
            schedule: None,
            skip_steps: 0,
            stop_after: self.stop_after,
        })
    }
}
