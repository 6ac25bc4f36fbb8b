//! The kinds of stages. Each kind has a file here with its spec, which implements [`Stage`]: what it reads, makes and
//! trains. To add a kind, write its file and its line in [`kinds!`]. The line names the file, the variant and the spec.
//! The file's name is also the tag of the kind's JSON.

use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{DataSettings, Engine, ModelSpec, training::Training};
use crate::{ids::StageKey, outcome::Role};

/// What coordinators and workers need to know of a stage, whatever its kind.
pub trait Stage {
    /// The stages whose results it reads.
    fn parents(&self) -> Vec<StageKey>;

    /// The files that it reads.
    fn reads(&self) -> Vec<Role>;

    /// The files that it makes.
    fn leaves(&self) -> Vec<Role>;

    /// Whether it makes a net. The last such stage of a trial makes the trial's net.
    fn leaves_net(&self) -> bool {
        self.leaves().contains(&Role::Checkpoint)
    }

    /// How a table or images are prepared, or `None` if the stage prepares nothing.
    fn data(&self) -> Option<&DataSettings> {
        None
    }

    /// The net, or `None` if the stage has none.
    fn model(&self) -> Option<&ModelSpec> {
        None
    }

    /// How its net is trained, or `None` if the stage does not train.
    fn training(&self) -> Option<Training<'_>> {
        None
    }

    /// Whether no other stage may run on its machine at the same time, because it takes the time.
    fn is_exclusive(&self) -> bool {
        false
    }

    /// The engine that its worker must have, or `None`.
    fn engine(&self) -> Option<Engine> {
        None
    }

    /// The same work with another seed, if it depends on the seed. The stages that it reads are those that `renamed` returns for the ones
    /// that it read.
    fn with_seed(&self, seed: u64, renamed: &dyn Fn(StageKey) -> StageKey) -> StageSpec;

    /// Checks what is particular to this kind; nets and trainings are checked for every kind.
    ///
    /// # Errors
    /// If a value is out of range.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

pub use reference::{BoostingSpec, LogisticSpec, ReferenceModel, ScoresSpec};

/// The files made by a stage that evaluates its net.
const EVALUATED: &[Role] = &[Role::Checkpoint, Role::Scores, Role::Curve];

/// Generates the modules of the kinds, [`StageSpec`] and `for_each_kind!` from the list of kinds.
macro_rules! kinds {
    ($d:tt $($(#[$doc:meta])* $name:ident => $kind:ident($spec:ident),)+) => {
        $(mod $name;)+
        $(pub use $name::$spec;)+

        /// The work of one stage.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[serde(tag = "stage", rename_all = "snake_case")]
        pub enum StageSpec {
            $($(#[$doc])* $kind($spec),)+
        }

        impl StageSpec {
            /// The names of all kinds, in the order in which they are shown.
            pub const KINDS: &[&str] = &[$(stringify!($name)),+];

            /// The name of its kind.
            #[must_use]
            pub const fn kind(&self) -> &'static str {
                match self {
                    $(Self::$kind(_) => stringify!($name),)+
                }
            }
        }

        /// A stage spec dereferences to the [`Stage`] that it holds.
        impl Deref for StageSpec {
            type Target = dyn Stage;

            fn deref(&self) -> &Self::Target {
                match self {
                    $(Self::$kind(spec) => spec,)+
                }
            }
        }

        $(impl From<$spec> for StageSpec {
            fn from(spec: $spec) -> Self {
                Self::$kind(spec)
            }
        })+

        /// Evaluates an expression with the spec of a stage, whatever its kind. A crate that implements a trait of its
        /// own for every kind need not list the kinds.
        #[macro_export]
        macro_rules! for_each_kind {
            ($d stage:expr, $d spec:ident => $d body:expr) => {
                match $d stage {
                    $($crate::spec::StageSpec::$kind($d spec) => $d body,)+
                }
            };
        }
    };
}

kinds! { $
    /// From a table, or images, to tensors.
    prepare => Prepare(PrepareSpec),
    /// Evaluate an unpruned net that was trained elsewhere.
    import => Import(ImportSpec),
    /// Train the unpruned net.
    dense => Dense(DenseSpec),
    /// Score, plan, mask, retrain, evaluate.
    prune => Prune(PruneSpec),
    /// Round the net's numbers to few bits, and evaluate.
    quantize => Quantize(QuantizeSpec),
    /// Take the sizes of a net and the time of its answers.
    measure => Measure(MeasureSpec),
    /// Fit a model of another kind, to compare nets with.
    reference => Reference(ReferenceSpec),
}
