//! A row for each validation and test row and each trial: what the model gives for it. With more than two classes, a row for each class.
//! Trials are read one at a time.

use secateur_proto::{metrics::Split, outcome::Role};
use secateur_worker::{
    scores::{read_rows, read_scores},
    table_file::TableCell::{Integer, Number, Text},
};

use super::{FileTable, Kind, Rows, TablesError, columns, seed};
use crate::{
    cli::{error::CliError, saved::SavedRun},
    experiment::plan::ClassRows,
    report::TrialReport,
};

pub(super) const TABLE: FileTable = FileTable {
    name: "scores",
    columns: || {
        columns([
            ("sweep", Kind::Text),
            ("trial", Kind::Text),
            ("cell", Kind::Text),
            ("seed", Kind::Integer),
            ("split", Kind::Text),
            ("row", Kind::Integer),
            ("target", Kind::Text),
            ("class", Kind::Text),
            ("logit", Kind::Number),
            ("probability", Kind::Number),
        ])
    },
    write,
};

fn write(run: &SavedRun, put: &mut Rows<'_>) -> Result<(), TablesError> {
    for trial in &run.report.trials {
        let Some(hash) = trial.artifacts.get(&Role::Scores) else { continue };
        let bytes = run.stored(*hash)?.ok_or(TablesError::NoFiles)?;
        for split in Split::ALL {
            of_part(run, trial, split, &bytes, put)?;
        }
    }
    Ok(())
}

fn of_part(
    run: &SavedRun,
    trial: &TrialReport,
    split: Split,
    bytes: &[u8],
    put: &mut Rows<'_>,
) -> Result<(), TablesError> {
    let unusable = |problem: String| CliError::Failed(format!("the scores of {} on {split}: {problem}", trial.id));
    let rows = read_rows(bytes, split).map_err(|error| unusable(error.to_string()))?;
    let (logits, targets) = read_scores(bytes, split).map_err(|error| unusable(error.to_string()))?;
    let outputs = logits.len().checked_div(rows.len()).unwrap_or(1);
    let classes = &run.report.data.classes;
    let named = match (outputs, classes.as_slice()) {
        (1, [_, positive]) => std::slice::from_ref(positive),
        (_, classes) => classes,
    };
    if targets.len() != rows.len() || outputs * rows.len() != logits.len() || outputs != named.len() {
        return Err(unusable("its lists do not fit each other or the classes of the data".to_owned()).into());
    }
    for ((row, target), logits) in rows.iter().zip(&targets).zip(logits.chunks_exact(outputs.max(1))) {
        let target = class_at(classes, *target).ok_or_else(|| unusable(format!("row {row} has an unknown class")))?;
        for (index, (class, logit)) in named.iter().zip(logits).enumerate() {
            put(&[
                Text(run.report.sweep.id.as_str()),
                Text(trial.id.as_str()),
                Text(trial.cell.as_str()),
                seed(trial.seed),
                Text(split.name()),
                Integer((*row).into()),
                Text(&target.name),
                Text(&class.name),
                Number((*logit).into()),
                Number(probability(logits, index)),
            ])?;
        }
    }
    Ok(())
}

/// The class of an index.
fn class_at(classes: &[ClassRows], index: f32) -> Option<&ClassRows> {
    classes.iter().zip(0_u16..).find(|(_, number)| f32::from(*number) == index).map(|(class, _)| class)
}

/// Of one log-odds, or of a value for each class.
fn probability(logits: &[f32], index: usize) -> f64 {
    if let [logit] = logits {
        return 1.0 / (1.0 + (-f64::from(*logit)).exp());
    }
    let largest = logits.iter().fold(f64::NEG_INFINITY, |largest, logit| largest.max(f64::from(*logit)));
    let sum: f64 = logits.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
    logits.get(index).map_or(f64::NAN, |logit| (f64::from(*logit) - largest).exp() / sum)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn probabilities_are_those_of_scipy() {
        // scipy.special.expit(0.5), and scipy.special.softmax([1, 2, 1000]) and ([0.5, -1, 2]).
        let close = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} is not {expected}");
        close(probability(&[0.5], 0), 0.622_459_331_201_854_6);
        close(probability(&[1.0, 2.0, 1000.0], 2), 1.0);
        for (index, expected) in SOFTMAX.into_iter().enumerate() {
            close(probability(&[0.5, -1.0, 2.0], index), expected);
        }
    }

    const SOFTMAX: [f64; 3] = [0.175_290_392_140_036_7, 0.039_112_573_270_687_456, 0.785_597_034_589_275_9];
}
