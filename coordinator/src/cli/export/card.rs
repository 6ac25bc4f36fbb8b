//! The model card: what a net is, where it comes from, what it was measured at, and how it is served.

use std::fmt::Write as _;

use secateur_proto::{ids::ContentHash, metrics::Quantity};
use secateur_worker::{export::onnx::RawInput, serve::NetFile};

use super::{super::saved::SavedNet, TestVector, ending};
use crate::report::{CellReport, Report, TrialReport, limits};

/// What a card is made of.
pub(super) struct Card<'a> {
    pub(super) report: &'a Report,
    pub(super) trial: &'a TrialReport,
    pub(super) cell: Option<&'a CellReport>,
    pub(super) why: &'a str,
    pub(super) net: &'a SavedNet,
    pub(super) small: &'a NetFile,
    pub(super) inputs: &'a [u32],
    pub(super) raw: &'a [RawInput],
    pub(super) code: &'a str,
    pub(super) vector: &'a TestVector,
    pub(super) recipe: Option<&'a str>,
    pub(super) files: &'a [(String, Vec<u8>)],
}

impl Card<'_> {
    /// The card as Markdown.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = self.write(&mut text);
        text
    }

    fn write(&self, text: &mut String) -> std::fmt::Result {
        let Self { report, trial, .. } = self;
        let target = &self.net.preparation.target;
        writeln!(text, "# Model card: {} {}\n", report.sweep.name, trial.id)?;
        let label = self.cell.map_or_else(String::new, |cell| report.cell_labels().of(cell));
        let what = match (target.classes.as_slice(), &target.column) {
            ([_, positive], Some(column)) => format!("the probability that {} is {}", code(column), code(positive)),
            ([_, positive], None) => format!("the probability of the label {}", code(positive)),
            (classes, _) => format!("the probabilities of {} classes", classes.len()),
        };
        writeln!(text, "A neural net that gives {what}. Cell: {label}. Seed: {}. {}\n", trial.seed, self.why)?;
        self.origin(text)?;
        self.metrics(text)?;
        self.inputs(text)?;
        self.serving(text)?;
        self.limits(text)?;
        if let Some(recipe) = self.recipe {
            writeln!(
                text,
                "## Recipe\n\nThis sweep file trains this net alone. Its paths are relative to the file, as those of the sweep's own file \
                 were.\n\n```yaml\n{}```\n",
                recipe
            )?;
        } else {
            writeln!(
                text,
                "## Recipe\n\nThe planner added this net as a control; the whole sweep's file trains it:\n"
            )?;
            writeln!(text, "```yaml\n{}\n```\n", report.sweep.file_text.trim_end())?;
        }
        Ok(())
    }

    fn origin(&self, text: &mut String) -> std::fmt::Result {
        let Self { report, trial, .. } = self;
        let data = &report.data;
        writeln!(text, "## Origin\n\n| | |\n|---|---|")?;
        writeln!(text, "| data | {}, BLAKE3 `{}` |", code(&data.path), data.hash)?;
        let [train, validation, test] = data.rows;
        writeln!(text, "| rows | {train} train, {validation} validation, {test} test |")?;
        if let Some(periods) = &data.periods {
            for (part, [first, last]) in periods.named() {
                writeln!(text, "| {part} | {} from {} to {} |", code(&periods.column), code(first), code(last))?;
            }
        }
        writeln!(
            text,
            "| sweep | {} `{}`, file BLAKE3 `{}` |",
            report.sweep.name, report.sweep.id, report.sweep.file_hash
        )?;
        if let Some(weights) = &report.sweep.weights {
            writeln!(text, "| weights it began with | {}, BLAKE3 `{}` |", code(&weights.path), weights.hash)?;
        }
        writeln!(text, "| trial | `{}`, a row of trials.csv |", trial.id)?;
        let stages: Vec<String> = trial.stages.iter().map(|key| format!("`{key}`")).collect();
        writeln!(text, "| stages | {} |", stages.join(", "))?;
        for (role, hash) in &trial.artifacts {
            writeln!(text, "| its {role:?} | `{hash}` |")?;
        }
        for (name, bytes) in self.files {
            writeln!(text, "| {} | {} bytes, BLAKE3 `{}` |", code(ending(name)), bytes.len(), ContentHash::of(bytes))?;
        }
        writeln!(text, "| program | secateur {} |\n", env!("CARGO_PKG_VERSION"))
    }

    fn metrics(&self, text: &mut String) -> std::fmt::Result {
        let trial = self.trial;
        let seeds = self.report.trials.iter().filter(|other| other.cell == trial.cell && other.outcome == "completed");
        writeln!(
            text,
            "## Metrics\n\nThe means and 95 % intervals are over the {} completed seeds of the cell.\n\n\
             | metric | this net | mean of the cell | 95 % interval |\n|---|---:|---:|---:|",
            seeds.count()
        )?;
        let whole = trial.metrics.iter().map(|(quantity, _)| quantity);
        for quantity in whole.chain(trial.quantities.keys()) {
            let value = trial.value(quantity).map_or_else(|| self.reason(quantity), |value| number(quantity, value));
            let summary = self.cell.and_then(|cell| cell.summary(quantity));
            let mean = summary.as_ref().map_or_else(String::new, |summary| number(quantity, summary.mean));
            let interval = summary.and_then(|summary| summary.ci95);
            let interval = interval.map_or_else(String::new, |[low, high]| {
                format!("{} to {}", number(quantity, low), number(quantity, high))
            });
            writeln!(text, "| `{}` | {value} | {mean} | {interval} |", escape(&quantity.to_string()))?;
        }
        writeln!(text)
    }

    fn reason(&self, quantity: &Quantity) -> String {
        let found = self.trial.quantities.get(quantity).and_then(|value| value.reason);
        found.map_or_else(String::new, |reason| reason.to_string())
    }

    fn inputs(&self, text: &mut String) -> std::fmt::Result {
        writeln!(
            text,
            "## Inputs\n\nOf the ONNX file, each `[rows, 1]` unless it says otherwise. Output: `probability`.\n"
        )?;
        writeln!(text, "| input | type | what it holds |\n|---|---|---|")?;
        for RawInput { name, element, about } in self.raw {
            writeln!(text, "| {} | {element} | {} |", code(name), escape(about))?;
        }
        let is_read = |name: &str| self.raw.iter().any(|input| input.name == name);
        let columns = self.net.preparation.columns.iter().map(|column| column.name.as_str());
        let unread: Vec<String> = columns.filter(|name| !is_read(name)).map(code).collect();
        if !unread.is_empty() && self.net.preparation.image.is_none() {
            writeln!(text, "\nThe net does not read these columns of the sweep's table: {}.", unread.join(", "))?;
        }
        writeln!(text)
    }

    fn serving(&self, text: &mut String) -> std::fmt::Result {
        let preparation = &self.net.preparation;
        writeln!(text, "## Serving\n")?;
        writeln!(
            text,
            "`*.rows.csv` has ten made rows and their probabilities (no row of the data). The ONNX file gives them to within {}.\n",
            if self.small.quantized.is_some() { "1e-3" } else { "1e-5" }
        )?;
        let before = self.net.file.model.parameters();
        let after = self.small.model.parameters();
        if before == after {
            writeln!(text, "The net has the shape that it was trained in; removed weights are zeros.\n")?;
        } else {
            writeln!(
                text,
                "Units and inputs that pruning left without effect are taken out: {after} parameters in place of {before}. On the ten rows \
                 its probabilities differ from those of the net as it was trained by at most {:.0e}.\n",
                self.vector.difference
            )?;
        }
        writeln!(text, "PyTorch, from prepared rows or images to logits:\n\n```python\n{}\n", self.code.trim_end())?;
        writeln!(
            text,
            "from safetensors.torch import load_file\nnet.load_state_dict(load_file(\"….safetensors\"), strict=True)\nnet.eval()\n```\n"
        )?;
        if preparation.image.is_none() {
            let features: Vec<&str> = preparation.features().collect();
            let features: Vec<String> = self.inputs.iter().map(|input| code(features[*input as usize])).collect();
            writeln!(
                text,
                "Its inputs are these features of a prepared row (worker/MODELS.md): {}.\n",
                features.join(", ")
            )?;
        }
        if self.small.quantized.is_some() {
            writeln!(
                text,
                "This net is quantized. The metrics are those of the quantized net, which the ONNX file computes. The safetensors file has \
                 what its whole numbers stand for; a module without rounded inputs gives slightly other scores.\n"
            )?;
        }
        Ok(())
    }

    fn limits(&self, text: &mut String) -> std::fmt::Result {
        writeln!(text, "## Limits\n")?;
        for limit in limits(self.report, self.trial).iter().chain(&self.report.data.notes) {
            writeln!(text, "- {}", escape(limit))?;
        }
        writeln!(text)
    }
}

/// A value with the decimals of its metric.
fn number(quantity: &Quantity, value: f64) -> String {
    format!("{value:.*}", quantity.metric().decimals())
}

/// Text of a user's within code marks of a table.
fn code(text: &str) -> String {
    format!("`{}`", escape(&text.replace('`', "'")))
}

/// Text of a user's within a table.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace(['\n', '\r'], " ")
}
