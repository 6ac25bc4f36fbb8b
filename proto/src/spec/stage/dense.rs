//! `dense`: training of the unpruned net.

use serde::{Deserialize, Serialize};

use super::{EVALUATED, Stage, Training};
use crate::{
    ids::StageKey,
    outcome::Role,
    spec::{ModelSpec, RegularizationSpec, TrainingSpec},
};

/// Trains the unpruned net from its initialisation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DenseSpec {
    /// Where the data come from.
    pub prepare: StageKey,
    /// The net.
    pub model: ModelSpec,
    /// How to train it.
    pub training: TrainingSpec,
    /// Its penalty.
    pub regularization: Option<RegularizationSpec>,
    /// End after so many steps and keep the last net: what a rewinding goes back to. Nothing for the whole training, of which the
    /// best epoch is kept.
    pub stop_after: Option<u64>,
    /// Decides the initial weights and the order of rows.
    pub seed: u64,
}

impl Stage for DenseSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![self.prepare]
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
