//! `secateur dossier`: the document with which people decide whether a net may replace a model.

use std::{collections::BTreeMap, path::PathBuf, process::ExitCode};

use clap::Args;
use secateur_worker::data::{Encoding, InputColumn, Preparation};
use serde_json::json;

use super::{
    chosen::Chosen,
    error::CliError,
    output::Output,
    outputs,
    saved::SavedRun,
    source::RunSource,
    strategies::{formula, source},
};
use crate::{
    experiment::{recipe::recipe, setting::Strategy},
    report::{ColumnUse, Dossier, DossierSource, MarkdownDossier, StrategyUse},
};

const AFTER_HELP: &str = "\
The dossier is one HTML file, which prints, and the same as Markdown. It has the headings that guidance on model risk management (SR 26-2;
legacy SR 11-7) asks documentation for, filled from the records of the sweep. What only people know is left blank, and so is the sign-off.";

/// The options of the verb.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DossierArguments {
    /// Trial, such as 0f3a…-1, or cell. For a cell, the seed with the best validation result [default: the cell that the findings recommend]
    #[arg(value_name = "TRIAL|CELL")]
    net: Option<String>,
    #[command(flatten)]
    source: RunSource,
    /// Folder for the files
    #[arg(long, value_name = "DIR", value_parser = secateur_worker::arguments::path())]
    out: PathBuf,
}

pub(crate) async fn run(arguments: DossierArguments, output: Output) -> Result<ExitCode, CliError> {
    let run = arguments.source.open(arguments.net.as_slice()).await?;
    let writing = tokio::task::spawn_blocking(move || write(&arguments, &run));
    let (trial, files) = writing.await.map_err(|error| CliError::failed(&error))??;
    let shown = || files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join("\n");
    output.print(&json!({"trial": trial, "files": files}), shown);
    Ok(ExitCode::SUCCESS)
}

/// The trial and the files.
fn write(arguments: &DossierArguments, run: &SavedRun) -> Result<(String, Vec<PathBuf>), CliError> {
    let report = &run.report;
    let chosen = match &arguments.net {
        Some(name) => Chosen::named(run, name)?,
        None => Chosen::headline(report)?,
    };
    let trial = chosen.trial;
    let cell = report
        .cell(&trial.cell)
        .ok_or_else(|| CliError::Failed(format!("the report has no cell {} of its trial {}", trial.cell, trial.id)))?;
    let columns = columns(run, &chosen);
    let strategy = cell.settings.get("pruning.strategy").and_then(|name| Strategy::named(name.as_str()?));
    let strategy = strategy
        .filter(|_| cell.removed_weights != Some(0))
        .map(|strategy| StrategyUse { formula: formula(&strategy), source: source(&strategy) });
    let recipe = recipe("sweep.yaml", &report.sweep.file_text, &cell.settings, trial.seed)?;
    let dossier = Dossier::of(&DossierSource {
        report,
        plan: &run.plan,
        trial,
        cell,
        why: &chosen.why,
        columns: &columns,
        strategy: strategy.as_ref(),
        recipe: recipe.as_deref(),
        program: env!("CARGO_PKG_VERSION"),
    });
    let stem = chosen.stem(report);
    let MarkdownDossier { text, plots } = dossier.markdown(&stem);
    let mut files =
        BTreeMap::from([(format!("{stem}.dossier.html"), dossier.html()), (format!("{stem}.dossier.md"), text)]);
    files.extend(plots);
    let mut paths = Vec::new();
    for (name, text) in files {
        let path = arguments.out.join(name);
        outputs::write_whole(&path, text.as_bytes()).map_err(|error| outputs::unwritable(&path, &error))?;
        paths.push(path);
    }
    Ok((trial.id.to_string(), paths))
}

/// What becomes of the input columns, as far as the files of the trial are here.
fn columns(run: &SavedRun, chosen: &Chosen<'_>) -> Vec<ColumnUse> {
    let net = run.net(chosen.trial).ok();
    let preparation = match &net {
        Some(net) => Some(net.preparation.clone()),
        None => run.preparation(),
    };
    let read = net.map(|net| net.file.compacted(net.inputs.as_deref()).1);
    preparation.map_or_else(Vec::new, |preparation| uses(&preparation, read.as_deref()))
}

/// `read` are the inputs that the net reads.
fn uses(preparation: &Preparation, read: Option<&[u32]>) -> Vec<ColumnUse> {
    let mut next = 0;
    let of_column = |column: &InputColumn| {
        let own = next..next + column.features.len();
        next = own.end;
        let is_own = |input: &&u32| own.contains(&(**input as usize));
        ColumnUse {
            name: column.name.clone(),
            becomes: becomes(&column.encoding),
            inputs: column.features.len(),
            read: read.map(|read| read.iter().filter(is_own).count()),
        }
    };
    preparation.columns.iter().map(of_column).collect()
}

fn becomes(encoding: &Encoding) -> String {
    match encoding {
        Encoding::Constant { value } => format!("one value in all train rows ({value}): no input"),
        Encoding::Numeric(numeric) => {
            let mut steps = Vec::new();
            if numeric.missing_flag || !numeric.codes.is_empty() {
                steps.push(format!("missing becomes the train median {} and a flag", numeric.median));
            }
            if numeric.signed_log1p {
                steps.push("sign(x) · ln(1 + |x|)".to_owned());
            }
            if !numeric.quantiles.is_empty() {
                steps.push("share of smaller train values".to_owned());
            }
            if numeric.scale.is_some() {
                steps.push("standardised".to_owned());
            }
            format!("number: {}", steps.join(", then "))
        }
        Encoding::Categorical(categorical) => {
            let mut parts = vec![match categorical.levels.len() {
                1 => "one level with an input of its own".to_owned(),
                many => format!("{many} levels with an input each"),
            }];
            if categorical.pooled > 0 {
                parts.push(format!("{} rarer levels together", categorical.pooled));
            }
            if categorical.missing {
                parts.push("an input for missing".to_owned());
            }
            format!("category: {}", parts.join(", "))
        }
    }
}
