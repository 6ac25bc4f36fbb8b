//! `secateur diff`: what differs between two sweeps.

mod text;

use std::{
    collections::{BTreeMap, HashMap},
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Args;
use secateur_proto::{
    ids::CellId,
    v1::{GetSweepRequest, ReportFormat},
};
use secateur_worker::arguments;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::{
    client::{Client, ClientArguments, LocalSweep},
    error::CliError,
    inputs,
    output::Output,
    progress::Screen,
    saved::SavedRun,
};
use crate::{
    experiment::{
        difference::{InputDifference, SettingDifference, WorkDifference, input_differences, setting_differences},
        extension::extension,
        plan::Plan,
    },
    report::{
        self, CellReport, Report,
        difference::{Conclusions, Results, conclusions, results},
    },
};

const AFTER_HELP: &str = "\
Each sweep is a sweep file, the folder of a completed run, or the id of a sweep on the coordinator.

Exit codes: 0 whether or not the sweeps differ; with --exit-code 1 if they differ.";

/// The options of the verb.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct DiffArguments {
    /// First sweep: a sweep file, a run folder, or an id on the coordinator; - reads a sweep file from standard input
    #[arg(value_parser = arguments::path(), value_name = "A")]
    before: PathBuf,
    /// Second sweep, named in the same way
    #[arg(value_parser = arguments::path(), value_name = "B")]
    after: PathBuf,
    /// Exit with code 1 if the sweeps differ
    #[arg(long)]
    exit_code: bool,
    #[command(flatten)]
    coordinator: ClientArguments,
}

/// Where a sweep comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    File,
    Folder,
    Sweep,
}

/// One of the two sweeps.
struct Side {
    kind: Kind,
    /// As the person named it.
    source: String,
    plan: Plan,
    /// Without results, if the sweep is a file.
    report: Report,
}

/// Everything that differs.
struct Difference {
    settings: Vec<SettingDifference>,
    inputs: Vec<InputDifference>,
    work: WorkDifference,
    extension: Extension,
    results: Option<Results>,
    conclusions: Option<Conclusions>,
}

/// Whether the second sweep extends the first.
#[derive(Debug, Serialize)]
struct Extension {
    extends: bool,
    /// What `secateur extend` would compute.
    new_trials: u64,
    /// Why it does not extend the first.
    reason: Option<String>,
}

pub(crate) async fn run(arguments: DiffArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let mut client = None;
    let before = Side::read(&arguments.before, &arguments.coordinator, &mut client, screen).await?;
    let after = Side::read(&arguments.after, &arguments.coordinator, &mut client, screen).await?;
    let compared = tokio::task::spawn_blocking(move || {
        let difference = Difference::between(&before, &after)?;
        Ok::<_, CliError>((before, after, difference))
    });
    let (before, after, difference) = compared.await.map_err(|error| CliError::failed(&error))??;
    output.print(&difference.document(&before, &after), || text::text(&difference, &before, &after));
    let differs = !difference.is_none();
    Ok(if arguments.exit_code && differs { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

impl Side {
    async fn read(
        path: &Path,
        coordinator: &ClientArguments,
        client: &mut Option<Client>,
        screen: &Screen,
    ) -> Result<Self, CliError> {
        let source = inputs::shown(path);
        if path.is_dir() {
            let run = SavedRun::open(path)?;
            return Ok(Self { kind: Kind::Folder, source, plan: run.plan, report: run.report });
        }
        if inputs::is_standard(path) || path.exists() {
            let plan = LocalSweep::read(path, screen).await?.plan.unpack();
            let report = report::build(&plan, &BTreeMap::new());
            return Ok(Self { kind: Kind::File, source, plan, report });
        }
        if !is_id(&source) {
            return Err(CliError::Input(format!("{source} is neither a file, nor a folder, nor the id of a sweep")));
        }
        let client = match client {
            Some(client) => client,
            None => client.insert(Client::connect(coordinator).await.map_err(|error| not_found(&source, error))?),
        };
        let request = GetSweepRequest { sweep_id: source.clone() };
        let id = client.sweeps.get(request).await?.into_inner().sweep_id;
        let plan = read_json(&client.report(&id, ReportFormat::PlanJson).await?, "plan")?;
        let report = read_json(&client.report(&id, ReportFormat::Json).await?, "report")?;
        Ok(Self { kind: Kind::Sweep, source, plan, report })
    }

    fn cells(&self) -> HashMap<&CellId, &CellReport> {
        self.report.cells.iter().map(|cell| (&cell.id, cell)).collect()
    }

    fn completed(&self) -> u64 {
        self.report.totals.outcomes.get("completed").copied().unwrap_or(0)
    }

    fn document(&self) -> Value {
        json!({
            "kind": self.kind,
            "source": self.source,
            "name": self.plan.sweep.name,
            "sweep_id": self.plan.sweep.id,
            "trials": self.report.totals.trials,
            "trials_completed": self.completed(),
        })
    }
}

/// Whether a name can be the id of a sweep, or a prefix of one. Names of files have dots and slashes.
fn is_id(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// A name may be that of a file that is missing, and then a coordinator was not what the person had in mind.
fn not_found(source: &str, error: CliError) -> CliError {
    match error {
        CliError::Unreachable(message) => {
            CliError::Unreachable(format!("{source} is neither a file nor a folder here, and {message}"))
        }
        error => error,
    }
}

fn read_json<T: DeserializeOwned>(bytes: &[u8], what: &str) -> Result<T, CliError> {
    serde_json::from_slice(bytes)
        .map_err(|error| CliError::Failed(format!("cannot read the coordinator's {what}: {error}")))
}

impl Difference {
    fn between(before: &Side, after: &Side) -> Result<Self, CliError> {
        let work = WorkDifference::between(&before.plan, &after.plan);
        let extension = match extension(&after.plan, &[&before.plan]) {
            Ok(part) => {
                let new_trials = part.map_or(0, |part| part.trial_count() as u64);
                Extension { extends: true, new_trials, reason: None }
            }
            Err(reason) => Extension { extends: false, new_trials: 0, reason: Some(reason.to_string()) },
        };
        Ok(Self {
            settings: setting_differences(&before.plan.sweep.file_text, &after.plan.sweep.file_text)?,
            inputs: input_differences(&before.plan, &after.plan),
            extension,
            results: results(&before.report, &after.report, &work),
            conclusions: conclusions(&before.report, &after.report, &work),
            work,
        })
    }

    fn is_none(&self) -> bool {
        self.settings.is_empty()
            && self.inputs.is_empty()
            && self.work.is_same()
            && self.results.as_ref().is_none_or(|results| results.differing.is_empty())
            && self.conclusions.as_ref().is_none_or(Conclusions::is_same)
    }

    fn document(&self, before: &Side, after: &Side) -> Value {
        let named = |ids: &[CellId], side: &Side| -> Value {
            let (cells, labels) = (side.cells(), side.report.cell_labels());
            let cells = ids.iter().filter_map(|id| cells.get(id));
            cells.map(|cell| json!({"id": cell.id, "name": labels.of(cell), "settings": cell.settings})).collect()
        };
        let mut work = json!(self.work);
        work["gone"] = named(&self.work.gone, before);
        work["new"] = named(&self.work.new, after);
        json!({
            "differ": !self.is_none(),
            "a": before.document(),
            "b": after.document(),
            "settings": self.settings,
            "inputs": self.inputs,
            "work": work,
            "extension": self.extension,
            "results": self.results,
            "conclusions": self.conclusions,
        })
    }
}
