//! `prepare`: from a table, or images, to tensors.

use serde::{Deserialize, Serialize};

use super::{Stage, StageSpec};
use crate::{
    ids::{ContentHash, StageKey},
    outcome::Role,
    spec::DataSettings,
};

/// Converts a table, or images, to tensors. Everything is fitted on the train rows only.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepareSpec {
    /// The hash of the table's file, or of the packed images.
    pub table: ContentHash,
    /// How they are read and prepared.
    #[serde(flatten)]
    pub data: DataSettings,
}

impl Stage for PrepareSpec {
    fn parents(&self) -> Vec<StageKey> {
        vec![]
    }

    fn reads(&self) -> Vec<Role> {
        vec![Role::Table]
    }

    fn leaves(&self) -> Vec<Role> {
        vec![Role::Prepared, Role::Preparation]
    }

    fn with_seed(&self, _: u64, _: &dyn Fn(StageKey) -> StageKey) -> StageSpec {
        self.clone().into()
    }

    fn data(&self) -> Option<&DataSettings> {
        Some(&self.data)
    }
}
