//! What the planner must know of the files that a sweep names.

use std::collections::BTreeMap;

use secateur_proto::{
    outcome::{Artifact, Artifacts, Role},
    spec::{Reading, StageSpec},
};

use super::plan::{ClassRows, DataSummary, Periods};

/// What the planner must know of the files that a sweep names: the table, or the images, and the weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InputFacts {
    /// The table, or the packed images.
    pub artifact: Artifact,
    /// Rows for train, validation, test.
    pub rows: [u64; 3],
    /// The classes in the order of their indices.
    pub classes: Vec<ClassRows>,
    /// Input columns; images have none.
    pub columns: u32,
    /// Width of the prepared rows.
    pub inputs: u32,
    /// Channels, height and width of images.
    pub image: Option<[u32; 3]>,
    /// How the text of the table is read: what is said of it and what was found in it.
    pub reading: Reading,
    /// Of a split by time, which times the parts have.
    pub periods: Option<Periods>,
    /// What a person should know of the data.
    pub notes: Vec<String>,
    /// The net that was trained elsewhere, where the sweep names one.
    pub weights: Option<WeightsFacts>,
}

impl InputFacts {
    /// Those of the files that a stage reads which no stage leaves.
    pub(super) fn given(&self, stage: &StageSpec) -> Artifacts {
        let file = |role: Role| match role {
            Role::Table => Some(self.artifact),
            Role::Weights => self.weights.as_ref().map(|weights| weights.artifact),
            _ => None,
        };
        stage.reads().into_iter().filter_map(|role| Some((role, file(role)?))).collect()
    }

    /// What the plan keeps of the data, which the sweep file calls `path`.
    pub(super) fn summary(&self, path: &str) -> DataSummary {
        DataSummary {
            path: path.to_owned(),
            hash: self.artifact.hash,
            size: self.artifact.size,
            rows: self.rows,
            classes: self.classes.clone(),
            columns: self.columns,
            inputs: self.inputs,
            image: self.image,
            periods: self.periods.clone(),
            notes: self.notes.clone(),
        }
    }
}

/// What the planner must know of a net that was trained elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsFacts {
    /// The file.
    pub artifact: Artifact,
    /// Names and shapes of its tensors.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Of tensors that were pruned already: how many of their numbers are removed.
    pub removed: BTreeMap<String, u64>,
}
