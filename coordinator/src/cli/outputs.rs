//! What a finished sweep leaves in a folder: the reports, and the nets of the front.

use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

use secateur_proto::{ids::CellId, outcome::Role, spec::ModelSpec, v1::ReportFormat};
use secateur_worker::{net::checkpoint, prune::shrink::shrink, tensors::InvalidTensors};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::{client::Client, error::CliError, output::counted, progress::Screen};
use crate::{
    experiment::plan::Plan,
    report::{self, CellReport, Report, TrialReport},
};

/// Where a run keeps its journal, its artifacts and its lock, in the folder of its report.
pub(crate) const STATE: &str = ".secateur";
/// The files that every report has.
const REPORT: [&str; 7] =
    ["report.json", "plan.json", "report.html", "report.md", "trials.csv", "front.csv", super::manifest::MANIFEST];
/// The folder of nets.
const MODELS: &str = "models";
/// The maximum number of trials whose nets `models/` holds. `export` writes the others on demand.
pub(crate) const MOST_MODELS: usize = 1_000;

/// Refuses a folder with files of others under the names of a report's. A folder with a report of this program, or with the state of a
/// run, is its own.
///
/// # Errors
/// If it is not a folder, or holds such files.
pub(crate) fn check(folder: &Path) -> Result<(), CliError> {
    if folder.as_os_str() == "-" {
        return Err(CliError::Input(
            "--out is a folder; for standard output use `secateur report --format`".to_owned(),
        ));
    }
    if folder.try_exists().unwrap_or(false) && !folder.is_dir() {
        let message = format!("{} is a file: pass a folder for the report with --out", folder.display());
        return Err(CliError::Input(message));
    }
    // Of any version of the program.
    let is_report = |bytes: Vec<u8>| {
        let report: Option<Value> = serde_json::from_slice(&bytes).ok();
        report.is_some_and(|report| report["schema"].is_u64() && report["sweep"]["id"].is_string())
    };
    if folder.join(STATE).is_dir() || fs::read(folder.join("report.json")).is_ok_and(is_report) {
        return Ok(());
    }
    let names: Vec<&str> = (REPORT.into_iter().chain([MODELS])).filter(|name| folder.join(name).exists()).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(CliError::Input(format!(
        "{} holds {} of something else than a report of secateur: use another folder with --out, or move the files away",
        folder.display(),
        names.join(", ")
    )))
}

/// Whether a file of `models/` is one that a report has: named by a trial, or by what it is for.
fn is_model(name: &str) -> bool {
    let of_trial = |name: &str| {
        let (cell, seed) = name.split_once('.')?.0.rsplit_once('-')?;
        let is_hash = !cell.is_empty() && cell.bytes().all(|digit| digit.is_ascii_hexdigit());
        Some(is_hash && seed.parse::<u64>().is_ok())
    };
    name == "preparation.json" || of_trial(name).unwrap_or(false)
}

/// Removes the nets of an earlier front from `models/`: they are not nets of this one. Other files stay.
fn remove_models(models: &Path) -> io::Result<()> {
    let entries = match fs::read_dir(models) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(is_model) && entry.file_type()?.is_file() {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// What is kept of a trial, and how the names of its files end.
pub(crate) const KEPT: [(Role, &str); 4] = [
    (Role::Checkpoint, "safetensors"),
    (Role::Quantized, "quantized.safetensors"),
    (Role::Plan, "plan.safetensors"),
    (Role::Measurement, "measurement.json"),
];

/// Writes `report.html`, `report.md` with its plots, `report.json`, `trials.csv`, `front.csv`, `plan.json` and `models/`, and gives
/// the report. Each file is there whole or not at all.
pub(crate) async fn write(
    client: &mut Client,
    sweep_id: &str,
    folder: &Path,
    screen: &Screen,
) -> Result<Report, CliError> {
    check(folder)?;
    let json = client.report(sweep_id, ReportFormat::Json).await?;
    let plan = client.report(sweep_id, ReportFormat::PlanJson).await?;
    let report: Report = serde_json::from_slice(&json)
        .map_err(|error| CliError::Failed(format!("cannot read the coordinator's report: {error}")))?;
    let planned: Plan = serde_json::from_slice(&plan)
        .map_err(|error| CliError::Failed(format!("cannot read the coordinator's plan: {error}")))?;
    let markdown = report::markdown(&report);
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::from([
        ("report.json".into(), json),
        ("plan.json".into(), plan),
        ("report.html".into(), report::html(&report).into_bytes()),
        ("report.md".into(), markdown.text.into_bytes()),
        ("trials.csv".into(), report::trials_csv(&report).into_bytes()),
        ("front.csv".into(), report::front_csv(&report).into_bytes()),
    ]);
    files.extend(markdown.plots.into_iter().map(|(name, svg)| (name, svg.into_bytes())));
    for (name, bytes) in &files {
        let path = folder.join(name);
        write_whole(&path, bytes).map_err(|error| unwritable(&path, &error))?;
    }
    let (kept, left_out) = kept(&report, MOST_MODELS);
    write_models(client, &planned, &kept, &folder.join(MODELS)).await?;
    if left_out > 0 {
        screen.say(&format!(
            "{MODELS}/ has the nets of {} and leaves out {} of the front; write them with `secateur export CELL --sweep {sweep_id}`, or of a run \
             with --run DIR",
            counted(kept.len() as u64, "trial"),
            counted(left_out as u64, "cell"),
        ));
    }
    Ok(report)
}

/// The trials whose nets are kept: of the smallest cells that the findings name, then of the front, cell by cell up to `most` trials. And
/// the number of cells of the front that are left out.
pub(crate) fn kept(report: &Report, most: usize) -> (Vec<&TrialReport>, usize) {
    let unadjusted = report.baseline.as_ref().and_then(|baseline| baseline.smallest_unadjusted.as_ref());
    let named = report.headline().into_iter().chain(unadjusted.and_then(|id| report.cell(id)));
    let mut cells: Vec<&CellReport> = named.collect();
    let of_front = report.front_cells();
    cells.extend(of_front.iter().filter(|cell| !cells.iter().any(|kept| kept.id == cell.id)).collect::<Vec<_>>());
    let mut trials: HashMap<&CellId, Vec<&TrialReport>> = HashMap::new();
    for trial in &report.trials {
        trials.entry(&trial.cell).or_default().push(trial);
    }
    let (mut kept, mut left_out) = (Vec::new(), 0);
    for cell in cells {
        let own = trials.remove(&cell.id).unwrap_or_default();
        if kept.len() + own.len() > most && !kept.is_empty() {
            left_out += usize::from(cell.on_front);
        } else {
            kept.extend(own);
        }
    }
    (kept, left_out)
}

/// Writes the nets of `trials` into `folder`, one after another, in place of those of an earlier report.
async fn write_models(
    client: &mut Client,
    plan: &Plan,
    trials: &[&TrialReport],
    folder: &Path,
) -> Result<(), CliError> {
    let models: BTreeMap<_, _> =
        plan.stages.iter().filter_map(|stage| Some((stage.key, stage.spec.model()?))).collect();
    remove_models(folder).map_err(|error| unwritable(folder, &error))?;
    let put = |name: &str, bytes: &[u8]| {
        let path = folder.join(name);
        write_whole(&path, bytes).map_err(|error| unwritable(&path, &error))
    };
    for trial in trials {
        for (role, ending) in KEPT {
            let Some(hash) = trial.artifacts.get(&role) else { continue };
            let bytes = client.artifacts.fetch(*hash).await?;
            if let (Role::Checkpoint, Some(model)) = (role, trial.stages.last().and_then(|key| models.get(key))) {
                for (ending, bytes) in small(model, &bytes).map_err(|error| CliError::failed(&error))? {
                    put(&format!("{}.{ending}", trial.id), &bytes)?;
                }
            }
            put(&format!("{}.{ending}", trial.id), &bytes)?;
        }
    }
    // A sweep has one preparation of its data.
    if let Some(hash) = trials.iter().find_map(|trial| trial.artifacts.get(&Role::Preparation)) {
        put("preparation.json", &client.artifacts.fetch(*hash).await?)?;
    }
    Ok(())
}

/// The smaller net that computes what `net` does, and which inputs it takes, by their places in a prepared row; nothing if no unit and
/// no input can go.
pub(crate) fn small(model: &ModelSpec, net: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>, InvalidTensors> {
    let compact = shrink(model, &checkpoint::read_parameters(model, net)?);
    if compact.model == *model {
        return Ok(Vec::new());
    }
    let inputs = json!({"inputs": compact.inputs, "unused_inputs": compact.unused_inputs});
    Ok(vec![
        ("small.safetensors", checkpoint::write_parameters(&compact.model, &compact.parameters)?),
        ("small.inputs.json", inputs.to_string().into_bytes()),
    ])
}

/// Writes a file so that it is there whole or not at all.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut draft = draft(path)?;
    io::Write::write_all(&mut draft, bytes)?;
    publish(draft, path)
}

/// A file beside `path`, to be [published](publish) there.
pub(crate) fn draft(path: &Path) -> io::Result<NamedTempFile> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    NamedTempFile::new_in(folder)
}

/// Gives a draft its name.
pub(crate) fn publish(draft: NamedTempFile, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // A temporary file is its owner's alone; a report is for others too.
        draft.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
    }
    draft.persist(path)?;
    Ok(())
}

pub(crate) fn unwritable(path: &Path, error: &io::Error) -> CliError {
    let what_to_do = match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            ": free some space, then run the same command again"
        }
        _ => "",
    };
    CliError::Failed(format!("cannot write {}: {error}{what_to_do}", path.display()))
}

/// Returns the default folder of a sweep's report.
pub(crate) fn default_folder(name: &str, sweep_id: &str) -> PathBuf {
    Path::new("runs").join(format!("{name}-{sweep_id}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::example;

    #[test]
    fn files_of_others_are_not_overwritten() {
        let refused = |files: &[(&str, &str)]| {
            let folder = tempfile::tempdir().expect("a folder");
            for (name, text) in files {
                let path = folder.path().join(name);
                fs::create_dir_all(path.parent().expect("is within")).expect("a folder");
                fs::write(path, text).expect("writes");
            }
            check(folder.path()).err().map(|error| error.message())
        };
        for fine in [
            &[][..],
            &[("notes.txt", "mine")],
            &[("report.json", r#"{"schema": 1, "sweep": {"id": "0f"}}"#), ("report.md", "")],
            &[(".secateur/sweep", "0f"), ("report.html", "")],
        ] {
            assert_eq!(refused(fine), None);
        }
        for (name, text) in [("report.html", "<p>mine"), ("report.json", r#"{"schema": 1}"#), ("models/net.pt", "")] {
            let message = refused(&[(name, text)]).expect("is refused");
            assert!(message.contains(name.split('/').next().expect("a name")), "{message}");
        }
        let file = tempfile::NamedTempFile::new().expect("a file");
        assert!(check(file.path()).is_err());
    }

    #[test]
    fn the_nets_of_the_headline_are_kept_first() {
        let (plan, outcomes) = example::realistic();
        let mut report = report::build(&plan, &outcomes);
        let headline = report.headline().expect("a good cell").id.clone();
        let seeds = report.trials.iter().filter(|trial| trial.cell == headline).count();
        let cells = |report: &Report, most| {
            let (trials, left_out) = kept(report, most);
            let mut cells: Vec<CellId> = trials.iter().map(|trial| trial.cell.clone()).collect();
            cells.dedup();
            (cells, left_out)
        };
        // Off the front it is kept all the same.
        report.front.retain(|id| *id != headline);
        let (all, left_out) = cells(&report, usize::MAX);
        assert_eq!((all.first(), left_out), (Some(&headline), 0));
        assert!(report.front.iter().all(|id| all.contains(id)));
        let (first, left_out) = cells(&report, seeds);
        assert_eq!(first, std::slice::from_ref(&headline));
        assert!(0 < left_out && left_out <= report.front.len());
    }

    #[test]
    fn only_nets_of_reports_are_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let others = ["net.safetensors", "my-net-2.pt", "0f3a-7"];
        let nets = ["0f3a-7.safetensors", "0f3a-7.plan.safetensors", "0f3a-7.small.inputs.json", "preparation.json"];
        for name in others.iter().chain(&nets) {
            fs::write(folder.path().join(name), "").expect("writes");
        }
        remove_models(folder.path()).expect("removes");
        assert!(others.iter().all(|name| folder.path().join(name).exists()));
        assert!(nets.iter().all(|name| !folder.path().join(name).exists()));
        remove_models(&folder.path().join("missing")).expect("there is nothing to remove");
    }
}
