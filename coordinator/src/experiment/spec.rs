//! The sweep file, checked and typed: what is in it, not yet what it comes to. Knows nothing of YAML's own types.

use secateur_proto::{
    ids::ContentHash,
    spec::{
        Activation, Initialization, LearningRateSchedule, OptimizerSpec, PrepareSpec, RegularizationKind, SelectBy,
        SplitSpec, TableFormat, Task,
    },
};

use super::{
    axis::{AnyAxis, Axis, AxisKey},
    diagnostic::{Diagnostics, Mark},
    plan::{Attempts, Constraint, Control, Objective},
    read,
    setting::{AblationSetting, Grain, Phase, Scope, Strategy, Timing},
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
    /// What the sweep is called: 1 to 48 characters that are safe in paths.
    pub name: String,
    /// The table or the images, and what to do with them.
    pub data: DataSpec,
    /// Every setting that can have several values.
    pub grid: Grid,
    /// The form of the net. The widths of a perceptron are the grid's.
    pub architecture: Architecture,
    /// The file that dense nets come from, where they are not trained.
    pub weights: Option<WeightsSpec>,
    /// Initial values.
    pub initialization: Initialization,
    /// The update rule. Its learning rate and weight decay are the grid's.
    pub optimizer: OptimizerSpec,
    /// What the learning rate does while the dense net is trained.
    pub lr_schedule: LearningRateSchedule,
    /// And while it is retrained.
    pub retrain_lr_schedule: LearningRateSchedule,
    /// Share of the values that a dropout step drops.
    pub dropout: f64,
    /// Epochs of each training before the penalty sets in.
    pub warm_up_epochs: u32,
    /// Epochs at the end of each training without the penalty, in which zeros stay.
    pub healing_epochs: u32,
    /// The layers that pruning may take from.
    pub layers: Selection,
    /// The largest share that a layer may lose.
    pub most_per_layer: Option<f64>,
    /// Which epoch's net is kept.
    pub select_by: SelectBy,
    /// At least one, all different.
    pub seeds: Vec<u64>,
    /// What the front is about.
    pub objectives: Vec<Objective>,
    /// What cells on the front must hold.
    pub constraints: Vec<Constraint>,
    /// Partial cells to leave out.
    pub exclude: Vec<Exclusion>,
    /// What to add to compare with.
    pub controls: Controls,
    /// How often stages are tried.
    pub attempts: Attempts,
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
    /// Where the file says so.
    pub path_mark: Mark,
    /// How to read it.
    pub format: TableFormat,
    /// The column to predict; images have labels of their own.
    pub target: Option<String>,
    /// What is predicted.
    pub task: Task,
    /// Which rows are for what.
    pub split: SplitSpec,
    /// The most train rows to keep, where the file says so.
    pub rows: Option<u32>,
    /// The input columns, where the file lists them.
    pub inputs: Option<Vec<String>>,
    /// Columns to ignore.
    pub drop: Vec<String>,
    /// Columns that metrics are reported by.
    pub groups: Vec<String>,
    /// Where the file names which column; the target first. Images have none.
    pub named: Vec<NamedColumn>,
    /// Where the split begins.
    pub split_mark: Mark,
    /// Where the task is said.
    pub task_mark: Mark,
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
    /// The stage that prepares the table, or the packed images, whose bytes have the hash `table`.
    #[must_use]
    pub fn prepare(&self, table: ContentHash) -> PrepareSpec {
        PrepareSpec {
            table,
            format: self.format,
            target: self.target.clone(),
            task: self.task,
            split: self.split.clone(),
            rows: self.rows,
            inputs: self.inputs.clone(),
            drop: self.drop.clone(),
            groups: self.groups.clone(),
        }
    }
}

/// The settings that can have several values, in the order in which the grid counts them: the first is the slowest.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    /// Widths of the hidden layers.
    pub hidden: Axis<Vec<u32>>,
    /// Learning rate of the dense net.
    pub lr: Axis<f64>,
    /// Weight decay, dense and retraining.
    pub weight_decay: Axis<f64>,
    /// Rows a step.
    pub batch_size: Axis<u32>,
    /// Epochs of the dense net.
    pub epochs: Axis<u32>,
    /// The longest gradient, where it is clipped.
    pub clip_gradient_norm: Axis<Option<f64>>,
    /// How weights are scored.
    pub strategy: Axis<Strategy>,
    /// Which weights compete.
    pub scope: Axis<Scope>,
    /// What is removed as one.
    pub granularity: Axis<Grain>,
    /// When weights go.
    pub schedule: Axis<Timing>,
    /// What is changed to see whether it matters.
    pub ablation: Axis<AblationSetting>,
    /// Fraction of the prunable weights that is removed.
    pub sparsity: Axis<f64>,
    /// Epochs of retraining.
    pub retrain_epochs: Axis<u32>,
    /// Learning rate of retraining; nothing for that of the dense net.
    pub retrain_lr: Axis<Option<f64>>,
    /// Form of the penalty, if there is any.
    pub regularization: Axis<Option<RegularizationKind>>,
    /// λ.
    pub strength: Axis<f64>,
    /// When the penalty is on.
    pub phase: Axis<Phase>,
}

impl Grid {
    /// The axes in the order of [`AxisKey::ALL`].
    pub(super) fn axes(&self) -> [&dyn AnyAxis; AxisKey::ALL.len()] {
        [
            &self.hidden,
            &self.lr,
            &self.weight_decay,
            &self.batch_size,
            &self.epochs,
            &self.clip_gradient_norm,
            &self.strategy,
            &self.scope,
            &self.granularity,
            &self.schedule,
            &self.ablation,
            &self.sparsity,
            &self.retrain_epochs,
            &self.retrain_lr,
            &self.regularization,
            &self.strength,
            &self.phase,
        ]
    }

    /// Whether any point of the grid has a penalty to speak of.
    pub(super) fn regularized(&self) -> bool {
        self.regularization.values.iter().any(Option::is_some)
    }
}

/// The form of the net.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Architecture {
    /// A perceptron.
    Mlp {
        /// Between the layers.
        activation: Activation,
        /// Whether batch normalisation stands before each activation.
        batch_norm: bool,
    },
    /// A perceptron of residual blocks.
    ResidualMlp {
        /// Of every hidden layer.
        width: u32,
        /// How many.
        blocks: u32,
        /// Between the layers.
        activation: Activation,
    },
    /// LeNet-5 as Caffe has it.
    Lenet5,
    /// A small residual net of convolutions.
    ResidualCnn {
        /// Filters of each stage.
        channels: Vec<u32>,
        /// Blocks a stage.
        blocks: u32,
    },
}

/// A net that was trained elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WeightsSpec {
    /// Its file, relative to the sweep file.
    pub path: String,
    /// Where the file says so.
    pub mark: Mark,
    /// Beginnings of its tensors' names, and what stands there in the names of the net's.
    pub rename: Vec<(String, String)>,
}

/// The layers that pruning may take from, by name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Only these; nothing for all but the output layer.
    pub include: Option<Vec<String>>,
    /// None of these.
    pub exclude: Vec<String>,
}

/// A partial cell: every point of the grid that has one of the values chosen on each axis named.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exclusion {
    /// Where it is.
    pub mark: Mark,
    /// By axis, which of its values.
    pub chosen: Vec<(AxisKey, Vec<bool>)>,
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
        Self { list: vec![Control::Dense, Control::Random, Control::ScratchEpochs], named: false }
    }

    /// Whether there is that one.
    #[must_use]
    pub fn has(&self, control: Control) -> bool {
        self.list.contains(&control)
    }
}
