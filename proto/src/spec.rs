//! Stage specs: everything that decides a result, and nothing else.
//!
//! A spec's canonical form is its JSON with the fields in the order of these structs. The hash of that and of the
//! semantics version is the stage key. Renaming or reordering a field changes every key: raise [`SEMANTICS_VERSION`]
//! with it.
//!
//! The kinds of stages (`stage/`) define what a stage reads, makes and trains; `lanes` defines which stages can be
//! trained together.

mod architecture;
mod data;
mod lanes;
mod measuring;
mod model;
mod pruning;
mod quantization;
mod reading;
mod stage;
mod training;
mod vocabulary;

pub use architecture::{Architecture, Layer, LayerKind, Step, TensorKind, TensorSpec};
pub use data::{DataSettings, SplitSpec, TableFormat, Task};
pub use lanes::LaneClass;
pub use measuring::{Engine, MeasureSettings};
pub use model::{Activation, MAX_DEPTH, MAX_WIDTH, ModelSpec};
pub use pruning::{
    Ablation, Along, CriterionSpec, Granularity, Growth, Ramp, Ranking, Removal, Schedule, Start, Subject,
};
pub use quantization::{Calibration, QuantizationSpec};
pub use reading::{ColumnKind, ColumnReading, Decimal, Reading, Scaling, Separator, TextEncoding};
pub use stage::*;
pub use training::{
    Initialization, LearningRateSchedule, OptimizerSpec, RegularizationKind, RegularizationSpec, SelectBy, Training,
    TrainingSpec,
};
pub use vocabulary::Vocabulary;

use crate::{
    SEMANTICS_VERSION,
    ids::{ContentHash, StageKey},
};

/// An invalid stage spec that arrived from outside.
#[derive(Debug, thiserror::Error)]
pub enum InvalidSpec {
    /// Not the JSON of a known stage.
    #[error("cannot parse the stage spec: {0}")]
    Unreadable(#[from] serde_json::Error),
    /// The key is not the hash of the spec: the sender has another semantics version, or the message was changed.
    #[error(
        "the stage key {found} does not belong to its spec (expected {expected}); worker and coordinator have different versions"
    )]
    KeyMismatch {
        /// The key that came with the spec.
        found: StageKey,
        /// The key of the spec.
        expected: StageKey,
    },
    /// A number is out of range.
    #[error("invalid stage spec: {0}")]
    Impossible(&'static str),
}

impl StageSpec {
    /// The canonical JSON.
    ///
    /// # Panics
    /// Never: the structs have no map with keys other than strings.
    #[must_use]
    pub fn canonical(&self) -> String {
        serde_json::to_string(self).expect("a stage spec is plain data")
    }

    /// The stage key: the hash of the semantics version and the canonical JSON.
    #[must_use]
    pub fn key(&self) -> StageKey {
        key_of(&self.canonical())
    }

    /// Parses a spec that came with `key`.
    ///
    /// # Errors
    /// If the text is not a spec, does not match `key`, or has a value out of range.
    pub fn parse(text: &str, key: StageKey) -> Result<Self, InvalidSpec> {
        let spec: Self = serde_json::from_str(text)?;
        let expected = spec.key();
        if expected != key {
            return Err(InvalidSpec::KeyMismatch { found: key, expected });
        }
        spec.check_all().map_err(InvalidSpec::Impossible)?;
        Ok(spec)
    }

    /// Checks what holds for every stage, then what holds for its kind.
    fn check_all(&self) -> Result<(), &'static str> {
        if let Some(model) = self.model() {
            model.check()?;
            if model.weights() > MAX_WEIGHTS {
                return Err("more than 2^31 weights");
            }
        }
        if let Some(Training { spec, model, .. }) = self.training() {
            spec.check()?;
            // One output tells two classes apart.
            if !spec.class_weights.is_empty() && spec.class_weights.len() != model.outputs().max(2) as usize {
                return Err("as many class weights as classes are needed");
            }
        }
        self.check()
    }
}

/// The largest net, in weights, that a spec may ask for.
pub const MAX_WEIGHTS: u64 = 1 << 31;

fn key_of(canonical: &str) -> StageKey {
    let mut hasher = blake3::Hasher::new();
    hasher.update(format!("secateur stage {SEMANTICS_VERSION}\n").as_bytes());
    hasher.update(canonical.as_bytes());
    StageKey(ContentHash::from(hasher.finalize()))
}
