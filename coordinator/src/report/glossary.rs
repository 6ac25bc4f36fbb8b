//! What quantities are called, for readers who did not write the sweep.

use secateur_proto::metrics::{Over, Quantity};

use crate::experiment::plan::Control;

/// How a control is called, also behind "minus".
pub(crate) const fn control_title(control: Control) -> &'static str {
    match control {
        Control::Dense => "dense",
        Control::DenseQuantized => "dense, quantized",
        Control::Random => "random",
        Control::RandomMatched => "random matched by layer",
        Control::Shuffle => "shuffled mask",
        Control::Reinitialize => "reinitialized",
        Control::ScratchEpochs => "small net",
        Control::ScratchCompute => "small net of as much compute",
        Control::Logistic => "logistic regression",
        Control::Boosting => "gradient boosting",
        Control::Scores => "given scores",
    }
}

/// In titles and columns: `AUC, test`, `AUC, test, region = north`, `AUC, test, gap by region`.
pub(super) fn title(quantity: &Quantity) -> String {
    let metric = quantity.metric().title();
    match quantity.over() {
        Over::Net => metric.to_owned(),
        Over::Rows(split) => format!("{metric}, {split}"),
        Over::Slice(split, slice) => format!("{metric}, {split}, {} = {}", slice.column, slice.level),
        Over::Gap(split, gap) => format!("{metric}, {split}, gap by {}", gap.column),
    }
}

/// Without its split: `AUC`, `AUC, region = north`.
pub(super) fn title_of_any_split(quantity: &Quantity) -> String {
    let metric = quantity.metric().title();
    match quantity.over() {
        Over::Net | Over::Rows(_) => metric.to_owned(),
        Over::Slice(_, slice) => format!("{metric}, {} = {}", slice.column, slice.level),
        Over::Gap(_, gap) => format!("{metric}, gap by {}", gap.column),
    }
}

/// In sentences, by a name: `AUC on validation`, `AUC on test where region is north`.
fn placed(name: &str, quantity: &Quantity) -> String {
    match quantity.over() {
        Over::Net => name.to_owned(),
        Over::Rows(split) => format!("{name} on {split}"),
        Over::Slice(split, slice) => format!("{name} on {split} where {} is {}", slice.column, slice.level),
        Over::Gap(split, gap) => format!("gap of {name} by {} on {split}", gap.column),
    }
}

/// In sentences for readers of the report: `AUC on validation`.
pub(super) fn aim(quantity: &Quantity) -> String {
    placed(quantity.metric().title(), quantity)
}

/// In sentences for whoever wrote the sweep: `auc on validation`.
pub(super) fn sentence(quantity: &Quantity) -> String {
    placed(quantity.metric().name(), quantity)
}
