//! A row for each metric of each epoch of the last training of each trial.

use std::collections::BTreeMap;

use secateur_proto::outcome::Role;
use secateur_worker::table_file::TableCell::{Flag, Integer, Missing, Number, Text};
use serde::Deserialize;

use super::{FileTable, Kind, Rows, TablesError, columns, seed};
use crate::cli::{error::CliError, saved::SavedRun};

pub(super) const TABLE: FileTable = FileTable {
    name: "epochs",
    columns: || {
        columns([
            ("sweep", Kind::Text),
            ("trial", Kind::Text),
            ("cell", Kind::Text),
            ("seed", Kind::Integer),
            ("epoch", Kind::Integer),
            ("is_best", Kind::Flag),
            ("metric", Kind::Text),
            ("split", Kind::Text),
            ("value", Kind::Number),
        ])
    },
    write,
};

/// The file of a curve.
#[derive(Deserialize)]
struct Curve {
    best_epoch: u32,
    epochs: Vec<Epoch>,
}

#[derive(Deserialize)]
struct Epoch {
    epoch: u32,
    train_loss: Option<f64>,
    validation: BTreeMap<String, f64>,
}

fn write(run: &SavedRun, put: &mut Rows<'_>) -> Result<(), TablesError> {
    let sweep = run.report.sweep.id.as_str();
    for trial in &run.report.trials {
        let Some(hash) = trial.artifacts.get(&Role::Curve) else { continue };
        let bytes = run.stored(*hash)?.ok_or(TablesError::NoFiles)?;
        let curve: Curve = serde_json::from_slice(&bytes)
            .map_err(|error| CliError::Failed(format!("the curve of {}: {error}", trial.id)))?;
        for Epoch { epoch, train_loss, validation } in &curve.epochs {
            let loss = train_loss.map(|value| ("train_loss", "train", value));
            let measured = validation.iter().map(|(metric, value)| (metric.as_str(), "validation", *value));
            for (metric, split, value) in loss.into_iter().chain(measured) {
                put(&[
                    Text(sweep),
                    Text(trial.id.as_str()),
                    Text(trial.cell.as_str()),
                    seed(trial.seed),
                    Integer((*epoch).into()),
                    Flag(*epoch == curve.best_epoch),
                    Text(metric),
                    Text(split),
                    if value.is_finite() { Number(value) } else { Missing },
                ])?;
            }
        }
    }
    Ok(())
}
