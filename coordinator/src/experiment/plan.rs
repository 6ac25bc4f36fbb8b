//! The plan: what a sweep comes to. Plain data, made by [`super::expand`] and read by the scheduler and the report.

mod merge;
mod packed;
mod texts;

use std::{collections::BTreeMap, num::NonZeroU32};

use secateur_proto::{
    ids::{BundleClass, CellId, ContentHash, StageKey, SweepId, TrialId},
    metrics::{Direction, Quantity},
    outcome::{Artifacts, FailureClass},
    spec::StageSpec,
    vocabulary,
};
use serde::{Deserialize, Serialize};

pub use self::packed::{InvalidPlan, PackedPlan, Packer};
use super::adaptive::{AdaptiveSeeds, SeedRound};

/// A point of the grid: sweep-file key paths (`pruning.sparsity`) and their values.
pub type Settings = BTreeMap<String, serde_json::Value>;

/// The setting of a small dense net, a [control](Control::ScratchEpochs), that says its widths. Its other settings are those of the cell
/// that it stands beside.
pub const CONTROL_WIDTHS: &str = "control.hidden";

/// The setting of a [reference model](Control::is_reference) that names it. It has none of the settings of nets; its parameters are
/// settings below this one, where they are not the default.
pub const REFERENCE: &str = "reference";

/// Everything that a sweep will compute, and what it left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// The sweep.
    pub sweep: SweepInfo,
    /// Parents before children; every key once.
    pub stages: Vec<PlannedStage>,
    /// In the order of the grid, then the controls that were added.
    pub cells: Vec<Cell>,
    /// Cell by cell, seed by seed.
    pub trials: Vec<Trial>,
    /// Points of the grid that are the same work as another one.
    pub merged: Vec<Merged>,
    /// Points of the grid that cannot be done.
    pub refused: Vec<Refused>,
}

/// What a sweep is called and aims at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SweepInfo {
    /// From the file.
    pub name: String,
    /// A hash of what the file means and of the data.
    pub id: SweepId,
    /// The hash of the file's bytes.
    pub file_hash: ContentHash,
    /// The file, as it was submitted.
    pub file_text: String,
    /// What the front is about; at least one.
    pub objectives: Vec<Objective>,
    /// What a cell must hold to be on the front.
    pub constraints: Vec<Constraint>,
    /// How scores become decisions. `None`: the file does not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Rows of each split, and the like: for people.
    pub data: DataSummary,
    /// How often stages are tried.
    #[serde(default, skip_serializing_if = "Attempts::is_default")]
    pub attempts: Attempts,
    /// The net that the dense stages are replaced by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightsSummary>,
    /// How seeds are added while results come in. `None` if each cell has the same seeds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adaptive: Option<AdaptiveSeeds>,
    /// The rounds in which seeds were added so far, in their order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rounds: Vec<SeedRound>,
}

/// The id of a sweep by the hashes of its file, its data and its weights.
pub(super) fn sweep_id(file: ContentHash, data: ContentHash, weights: Option<ContentHash>) -> SweepId {
    let mut identity = format!("secateur sweep\n{file}\n{data}\n");
    if let Some(weights) = weights {
        identity.push_str(&format!("{weights}\n"));
    }
    ContentHash::of(identity.as_bytes()).short(12).parse().expect("hexadecimal digits are safe")
}

impl SweepInfo {
    /// The id that the sweep had while ids were made of the bytes of the file: folders of that time are called by it.
    #[must_use]
    pub fn former_id(&self) -> SweepId {
        sweep_id(self.file_hash, self.data.hash, self.weights.as_ref().map(|weights| weights.hash))
    }
}

/// How often a stage may fail alone before it has failed, by what it fails with. Decides nothing of a result. Where the file says
/// nothing, the operator of the coordinator does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// The executor died, or its worker was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub executor: Option<NonZeroU32>,
    /// Memory was not enough for a single lane.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub out_of_memory: Option<NonZeroU32>,
    /// Files could not be read, written or moved.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub storage: Option<NonZeroU32>,
}

impl Attempts {
    /// What the file says of a class; nothing of one that has no limit of its own.
    #[must_use]
    pub const fn of(&self, class: FailureClass) -> Option<NonZeroU32> {
        match class {
            FailureClass::Executor => self.executor,
            FailureClass::OutOfMemory => self.out_of_memory,
            FailureClass::Storage | FailureClass::Unfit => self.storage,
            FailureClass::Input
            | FailureClass::Internal
            | FailureClass::Upstream
            | FailureClass::NoSpace
            | FailureClass::Poison => None,
        }
    }

    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// An axis of the front.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Objective {
    /// What is measured, on validation. In files it is called `metric`.
    #[serde(rename = "metric", with = "on_validation")]
    pub quantity: Quantity,
    /// Which way is better.
    pub direction: Direction,
    /// How much of it a cell may lose and still count as good as the best dense net. `None`: what is usual for the metric.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub margin: Option<f64>,
}

/// How the score of a row becomes a decision. The positive class is the bad one, and rows with low scores are approved. The cut-off of
/// each net is chosen on validation. Decides nothing of a result.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Approve this share of the validation rows.
    Approve(f64),
    /// Approve so that the cost on validation is lowest.
    Cost {
        /// Of approving a row of the positive class.
        bad_approved: f64,
        /// Of declining a row of the other class.
        good_declined: f64,
    },
}

/// A bound on a quantity's mean over the seeds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Constraint {
    /// What is bounded. In files it is called `metric`.
    #[serde(rename = "metric", with = "on_validation")]
    pub quantity: Quantity,
    /// The lowest value allowed.
    pub min: Option<f64>,
    /// The highest value allowed.
    pub max: Option<f64>,
}

/// Quantities as a sweep file has them: a metric of rows without a split is over all rows of validation.
mod on_validation {
    use secateur_proto::metrics::{Quantity, Split};
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(quantity: &Quantity, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&quantity.text_or_on(Split::Validation))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quantity, D::Error> {
        let text = String::deserialize(deserializer)?;
        Quantity::parse_or_on(&text, Split::Validation).map_err(D::Error::custom)
    }
}

/// A net that was trained elsewhere and that all others come from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WeightsSummary {
    /// The name of its file in the sweep file.
    pub path: String,
    /// Hash of its tensors, as safetensors.
    pub hash: ContentHash,
}

/// What is known of the data when the plan is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSummary {
    /// The name of the table, or of the folder of images, in the sweep file.
    pub path: String,
    /// Hash of its bytes; of images, of what they are packed into.
    pub hash: ContentHash,
    /// Size in bytes.
    pub size: u64,
    /// Train, validation, test.
    pub rows: [u64; 3],
    /// The classes in the order of their indices, at least two. Of two the second is the positive one.
    pub classes: Vec<ClassRows>,
    /// Input columns of the table; images have none.
    pub columns: u32,
    /// Width of the prepared rows.
    pub inputs: u32,
    /// Channels, height and width of images.
    pub image: Option<[u32; 3]>,
    /// Of a split by time, which times the parts have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub periods: Option<Periods>,
    /// What a person should know of the data: what is read otherwise than it is written, pooled, constant, left out or there twice.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// The times of the parts of a split by time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Periods {
    /// The column that the split goes by.
    pub column: String,
    /// The first and the last of train, validation and test, as the table has them.
    pub parts: [[String; 2]; 3],
}

impl DataSummary {
    /// The positive one of two classes.
    #[must_use]
    pub fn positive(&self) -> Option<&ClassRows> {
        if let [_, positive] = self.classes.as_slice() { Some(positive) } else { None }
    }
}

impl Periods {
    /// The parts by name, each with its first and its last time.
    pub fn named(&self) -> impl Iterator<Item = (&'static str, &[String; 2])> {
        ["train", "validation", "test"].into_iter().zip(&self.parts)
    }
}

/// One class of the target.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassRows {
    /// The value of the target, or the label.
    pub name: String,
    /// Its rows in train, validation and test.
    pub rows: [u64; 3],
}

/// A stage and what the scheduler needs to know of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedStage {
    /// The hash of the spec.
    pub key: StageKey,
    /// What to do.
    pub spec: StageSpec,
    /// Files that are there before any stage has run: the table.
    pub given: Artifacts,
    /// Stages of one class can be lanes of one bundle; a stage whose class no other shares runs alone.
    pub bundle_class: BundleClass,
    /// Whether lanes of this class exist at all. A stage that trains nothing runs alone.
    pub bundled: bool,
    /// Optimiser steps.
    pub lane_steps: u64,
}

/// A point of the grid, without the seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    /// A hash of the settings.
    pub id: CellId,
    /// All that can vary between cells.
    pub settings: Settings,
    /// Why the planner added it; nothing for a cell that the file asks for.
    pub control: Option<Control>,
    /// The dense control that it is compared with.
    pub dense_control: Option<CellId>,
    /// The cell that differs from it in that random places go.
    #[serde(default)]
    pub random_control: Option<CellId>,
    /// The dense net of about as many parameters as this one leaves, trained from its beginning for as many epochs.
    #[serde(default)]
    pub scratch_control: Option<CellId>,
    /// The controls of other kinds that it is compared with.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other_controls: BTreeMap<Control, CellId>,
    /// Weights, or units, that pruning may take from.
    pub prunable_weights: u64,
    /// How many it takes; nothing where only training tells.
    pub removed_weights: Option<u64>,
}

vocabulary! {
    /// Trials that the planner adds by itself.
    #[derive(PartialOrd, Ord)]
    pub enum Control {
        /// Nothing removed, retrained for the same epochs: what every cell with the same settings is compared with.
        Dense = "dense",
        /// Nothing removed, retrained for the same epochs, and quantized in the same way.
        DenseQuantized = "dense_quantized",
        /// Random weights removed at the same sparsity: what every criterion has to beat.
        Random = "random",
        /// As many of each layer as the criterion removes, at random (Blalock et al. 2020).
        RandomMatched = "random_matched",
        /// The criterion's mask, shuffled within each layer (Frankle et al. 2021).
        Shuffle = "shuffle",
        /// The criterion's mask over other initial weights (Frankle & Carbin 2019).
        Reinitialize = "reinitialize",
        /// A dense net of about as many parameters as are left, trained for as many epochs (Liu et al. 2019, scratch-E).
        ScratchEpochs = "scratch_epochs",
        /// The same, trained for as much compute (scratch-B).
        ScratchCompute = "scratch_compute",
        /// Logistic regression on the same rows, a reference model.
        Logistic = "logistic",
        /// Gradient boosting of trees on the same rows, a reference model.
        Boosting = "boosting",
        /// Scores of another model in a column of the table, a reference model.
        Scores = "scores",
    }
}

impl Control {
    /// Whether it is a model of another kind, which the key `references` asks for. The others are nets, of the key `controls`.
    #[must_use]
    pub const fn is_reference(self) -> bool {
        matches!(self, Self::Logistic | Self::Boosting | Self::Scores)
    }

    /// Whether somebody could serve such a model as it is. The others only show what a method is worth.
    #[must_use]
    pub const fn is_deployable(self) -> bool {
        match self {
            Self::Dense | Self::DenseQuantized | Self::ScratchEpochs | Self::ScratchCompute => true,
            Self::Logistic | Self::Boosting | Self::Scores => true,
            Self::Random | Self::RandomMatched | Self::Shuffle | Self::Reinitialize => false,
        }
    }

    /// The controls that the key `controls` can name.
    pub fn of_nets() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|control| !control.is_reference())
    }
}

impl Cell {
    /// A cell without controls and without prunable weights.
    #[must_use]
    pub const fn new(id: CellId, settings: Settings, control: Option<Control>) -> Self {
        Self {
            id,
            settings,
            control,
            dense_control: None,
            random_control: None,
            scratch_control: None,
            other_controls: BTreeMap::new(),
            prunable_weights: 0,
            removed_weights: None,
        }
    }
}

/// A cell and a seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trial {
    /// `<cell>-<seed>`.
    pub id: TrialId,
    /// Its cell.
    pub cell: CellId,
    /// Its seed.
    pub seed: u64,
    /// Parents before children. The trial ends as the last one does; see [`PackedPlan::result_stages`].
    pub stages: Vec<StageKey>,
}

impl Trial {
    /// The trial of a cell and a seed.
    ///
    /// # Panics
    /// Never: a cell's id and a number are safe in a name.
    #[must_use]
    pub fn new(cell: CellId, seed: u64, stages: Vec<StageKey>) -> Self {
        let id = format!("{cell}-{seed}").parse().expect("a cell's id and a number are safe");
        Self { id, cell, seed, stages }
    }
}

/// A point of the grid that is the same work as another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Merged {
    /// The one that stays.
    pub into: CellId,
    /// The point's settings.
    pub settings: Settings,
    /// Why they are the same.
    pub reason: String,
}

/// A point of the grid that cannot be done.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refused {
    /// The point's settings.
    pub settings: Settings,
    /// Why not.
    pub reason: String,
}
