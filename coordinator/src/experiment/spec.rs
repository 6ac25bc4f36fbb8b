//! The sweep file, checked and typed: what is in it, not yet what it comes to. Knows nothing of YAML's own types.

use secateur_proto::{
    ids::ContentHash,
    spec::{DataSettings, MeasureSettings, PrepareSpec, Reading, ReferenceModel},
};

use super::{
    adaptive::AdaptiveSeeds,
    diagnostic::{Diagnostics, Mark},
    expand::Grid,
    plan::{Attempts, Constraint, Control, Decision, Objective},
    propose::Search,
    read,
    setting::Value,
};

/// Points that a grid may have.
pub const MAX_CELLS: u128 = 100_000;

/// Trials that a sweep may have: points times seeds. A coordinator has a kilobyte and more of each in memory.
pub const MAX_TRIALS: u128 = 250_000;

/// A sweep file without a problem in it.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepSpec {
    /// The file's name, for messages.
    pub file: String,
    /// A hash of what the file means: comments, the order of keys and spellings of numbers are no difference.
    pub meaning: ContentHash,
    /// What the sweep is called: 1 to 48 characters that are safe in paths.
    pub name: String,
    /// The table or the images, and what to do with them.
    pub data: DataSpec,
    /// What cells can have.
    pub grid: Grid,
    /// How cells are drawn; `None` for the whole grid.
    pub search: Option<Search>,
    /// The file that dense nets come from, where they are not trained.
    pub weights: Option<WeightsSpec>,
    /// Those that every cell has from the beginning. At least one, all different.
    pub seeds: Vec<u64>,
    /// How seeds are added while results come in, if the file asks for that.
    pub adaptive: Option<AdaptiveSeeds>,
    /// What the front is about.
    pub objectives: Vec<Objective>,
    /// What cells on the front must hold.
    pub constraints: Vec<Constraint>,
    /// How scores become decisions, for the report.
    pub decision: Option<Decision>,
    /// Partial cells to leave out.
    pub exclude: Vec<Exclusion>,
    /// What to add to compare with.
    pub controls: Controls,
    /// Models of other kinds to compare with.
    pub references: References,
    /// How often stages are tried.
    pub attempts: Attempts,
    /// How nets are measured; `None` if they are not.
    pub measure: Option<MeasureSettings>,
}

impl SweepSpec {
    /// Reads the text of a sweep file; `file` is its name, for messages.
    ///
    /// # Errors
    /// Every problem of the file, together.
    pub fn parse(file: &str, text: &str) -> Result<Self, Diagnostics> {
        read::sweep(file, text)
    }
}

/// The table or the images, and what to do with them.
#[derive(Debug, Clone, PartialEq)]
pub struct DataSpec {
    /// The table's file, or the folder of images, relative to the sweep file.
    pub path: String,
    /// Its line and column in the file.
    pub path_mark: Mark,
    /// What to do with it.
    pub settings: DataSettings,
    /// Where the file names which column; the target first. Images have none.
    pub named: Vec<NamedColumn>,
    /// Where the split begins.
    pub split_mark: Mark,
    /// Where the task is said.
    pub task_mark: Mark,
    /// Where the positive class is said.
    pub positive_mark: Option<Mark>,
    /// Where the rows to keep are said.
    pub rows_mark: Mark,
}

/// A column that the file names. Whether the table has it is found out later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedColumn {
    /// The key's path, as `data.drop[1]`.
    pub path: String,
    /// Where.
    pub mark: Mark,
    /// The name.
    pub name: String,
}

impl DataSpec {
    /// The stage that prepares the table, or the packed images, whose bytes have the hash `table` and are read in this way.
    #[must_use]
    pub fn prepare(&self, table: ContentHash, reading: Reading) -> PrepareSpec {
        PrepareSpec { table, data: DataSettings { reading, ..self.settings.clone() } }
    }
}

/// A net that was trained elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsSpec {
    /// Its file, relative to the sweep file.
    pub path: String,
    /// Its line and column in the file.
    pub mark: Mark,
    /// The dictionary in it that holds the net, if that is said: its keys, joined by dots.
    pub key: Option<String>,
    /// Beginnings of its tensors' names, and what stands there in the names of the net's.
    pub rename: Vec<(String, String)>,
}

/// A partial cell: every point that has one of the values chosen for each setting named.
#[derive(Debug, Clone, PartialEq)]
pub struct Exclusion {
    /// Where it is.
    pub mark: Mark,
    /// By path of a setting, which of its values.
    pub chosen: Vec<(&'static str, Vec<Value>)>,
}

/// Models of other kinds to compare with.
#[derive(Debug, Clone, PartialEq)]
pub struct References {
    /// Each kind at most once.
    pub models: Vec<ReferenceModel>,
    /// Its line and column in the file.
    pub mark: Mark,
}

/// Which trials to add to compare with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// One after the other.
    pub list: Vec<Control>,
    /// Whether the file names them: then one that cannot be made is told.
    pub named: bool,
}

impl Controls {
    /// The unpruned net trained for as long, and at each sparsity random weights removed and a small dense net of about as many parameters.
    #[must_use]
    pub fn auto() -> Self {
        Self {
            list: vec![Control::Dense, Control::DenseQuantized, Control::Random, Control::ScratchEpochs],
            named: false,
        }
    }

    /// Whether there is that one.
    #[must_use]
    pub fn has(&self, control: Control) -> bool {
        self.list.contains(&control)
    }
}
