//! `secateur export`: a net of a finished run for other programs.

mod card;
mod vector;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum};
use secateur_worker::export::{
    onnx::{self, OnnxFile},
    pytorch::{self, StateDict},
};
use serde_json::json;

use self::{card::Card, vector::TestVector};
use super::{
    chosen::Chosen,
    error::CliError,
    output::Output,
    outputs,
    saved::{SavedNet, SavedRun},
    source::RunSource,
};
use crate::{experiment::recipe::recipe, report::Report};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ExportArguments {
    /// Trials, such as 0f3a…-1, or cells. For a cell, the seed with the best validation result is exported
    #[arg(value_name = "TRIAL|CELL", required_unless_present = "front")]
    nets: Vec<String>,
    /// Export each cell of the front
    #[arg(long, conflicts_with = "nets")]
    front: bool,
    #[command(flatten)]
    source: RunSource,
    /// Folder for the files
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Formats of the net
    #[arg(long, value_enum, value_delimiter = ',', default_value = "onnx,safetensors")]
    format: Vec<Format>,
}

/// A format of a net.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Raw columns in, probabilities out; includes the preparation
    Onnx,
    /// Tensors for PyTorch: load_state_dict on the module in the model card
    Safetensors,
}

pub(crate) async fn run(arguments: ExportArguments, output: Output) -> Result<ExitCode, CliError> {
    let run = arguments.source.open(&arguments.nets).await?;
    let exporting = tokio::task::spawn_blocking(move || export(&arguments, &run));
    let exported = exporting.await.map_err(|error| CliError::failed(&error))??;
    output.print(&exported, || {
        let files = exported.values().flatten().map(|path| path.display().to_string());
        files.collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The files of each trial.
fn export(arguments: &ExportArguments, run: &SavedRun) -> Result<BTreeMap<String, Vec<PathBuf>>, CliError> {
    let chosen: Vec<Chosen<'_>> = if arguments.front {
        run.report.front.iter().map(|cell| Chosen::of_cell(&run.report, cell.as_str())).collect::<Result<_, _>>()?
    } else {
        arguments.nets.iter().map(|name| Chosen::named(run, name)).collect::<Result<_, _>>()?
    };
    if chosen.is_empty() {
        return Err(CliError::Input("no cell is on the front: name a trial or a cell".to_owned()));
    }
    let mut exported = BTreeMap::new();
    for chosen in chosen {
        let net = run.net(chosen.trial)?;
        let files = files(&run.report, &chosen, &net, &arguments.format)?;
        let mut paths = Vec::new();
        for (name, bytes) in files {
            let path = arguments.out.join(name);
            outputs::write_whole(&path, &bytes).map_err(|error| outputs::unwritable(&path, &error))?;
            paths.push(path);
        }
        exported.insert(chosen.trial.id.to_string(), paths);
    }
    Ok(exported)
}

/// The files of a trial by name.
fn files(
    report: &Report,
    chosen: &Chosen<'_>,
    net: &SavedNet,
    formats: &[Format],
) -> Result<Vec<(String, Vec<u8>)>, CliError> {
    let (trial, sweep) = (chosen.trial, &report.sweep);
    let name = chosen.stem(report);
    let unusable = |error: &dyn std::error::Error| CliError::Failed(format!("the net of {}: {error}", trial.id));
    let mut files: Vec<(String, Vec<u8>)> = Vec::new();
    let (small, inputs) = net.file.compacted(net.inputs.as_deref());
    let vector = TestVector::of(net, (&small, &inputs)).map_err(|error| unusable(&error))?;
    let about = [
        ("secateur.trial", trial.id.to_string()),
        ("secateur.sweep", sweep.id.to_string()),
        ("secateur.data", report.data.hash.to_string()),
        ("secateur.classes", json!(net.preparation.target.classes).to_string()),
    ];
    let onnx = onnx::write(&net.preparation, &small, Some(&inputs), &about).map_err(|error| unusable(&error))?;
    let state = pytorch::write(&small.model, &small.parameters).map_err(|error| unusable(&error))?;
    let (OnnxFile { bytes: onnx, inputs: raw }, StateDict { bytes: tensors, code, .. }) = (onnx, state);
    for format in formats {
        files.push(match format {
            Format::Onnx => (format!("{name}.onnx"), onnx.clone()),
            Format::Safetensors => (format!("{name}.safetensors"), tensors.clone()),
        });
    }
    files.extend(vector.files(&name).map_err(|error| unusable(&error))?);
    let cell = report.cell(&trial.cell);
    let recipe = match cell {
        Some(cell) => recipe("sweep.yaml", &sweep.file_text, &cell.settings, trial.seed)?,
        None => None,
    };
    if let Some(recipe) = &recipe {
        let about = format!("# One trial of the sweep {} ({}): {}.\n", sweep.name, sweep.id, trial.id);
        files.push((format!("{name}.sweep.yaml"), (about + recipe).into_bytes()));
    }
    let card = Card {
        report,
        trial,
        cell,
        why: &chosen.why,
        net,
        small: &small,
        inputs: &inputs,
        raw: &raw,
        code: &code,
        vector: &vector,
        recipe: recipe.as_deref(),
        files: &files,
    };
    let card = (format!("{name}.md"), card.text().into_bytes());
    files.push(card);
    Ok(files)
}

/// The name of a file without its folder.
fn ending(name: &str) -> &str {
    Path::new(name).file_name().and_then(|name| name.to_str()).unwrap_or(name)
}
