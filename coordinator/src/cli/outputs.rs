//! What a finished sweep leaves in a folder: the reports, and the nets of the front.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::{Path, PathBuf},
};

use secateur_proto::{outcome::Role, spec::ModelSpec, v1::ReportFormat};
use secateur_worker::{net::checkpoint, prune::shrink::shrink, tensors::InvalidTensors};
use serde_json::json;

use super::{client::Client, error::CliError};
use crate::{
    experiment::plan::Plan,
    report::{self, Report},
};

/// Writes `report.html`, `report.md` with its plots, `report.json`, `trials.csv`, `front.csv`, `plan.json` and `models/`, and gives
/// the report. Each file is there whole or not at all.
pub(crate) async fn write(client: &mut Client, sweep_id: &str, folder: &Path) -> Result<Report, CliError> {
    let json = client.report(sweep_id, ReportFormat::Json).await?;
    let plan = client.report(sweep_id, ReportFormat::PlanJson).await?;
    let report: Report = serde_json::from_slice(&json)
        .map_err(|error| CliError::Failed(format!("cannot read the coordinator's report: {error}")))?;
    let planned: Plan = serde_json::from_slice(&plan)
        .map_err(|error| CliError::Failed(format!("cannot read the coordinator's plan: {error}")))?;
    let models: BTreeMap<_, _> =
        planned.stages.iter().filter_map(|stage| Some((stage.key, stage.spec.model()?))).collect();
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
    let front: BTreeSet<_> = report.front.iter().collect();
    let mut preparations = BTreeSet::new();
    for trial in report.trials.iter().filter(|trial| front.contains(&trial.cell)) {
        let kept = [
            (Role::Checkpoint, "safetensors"),
            (Role::Quantized, "quantized.safetensors"),
            (Role::Plan, "plan.safetensors"),
        ];
        for (role, ending) in kept {
            if let Some(hash) = trial.artifacts.get(&role) {
                let bytes = client.artifacts.fetch(*hash).await?;
                if let (Role::Checkpoint, Some(model)) = (role, trial.stages.last().and_then(|key| models.get(key))) {
                    let small = small(model, &bytes).map_err(|error| CliError::failed(&error))?;
                    files.extend(
                        small.into_iter().map(|(ending, bytes)| (format!("models/{}.{ending}", trial.id), bytes)),
                    );
                }
                files.insert(format!("models/{}.{ending}", trial.id), bytes);
            }
        }
        preparations.extend(trial.artifacts.get(&Role::Preparation).copied());
    }
    for hash in preparations {
        // A sweep has one preparation of its data.
        files.insert("models/preparation.json".into(), client.artifacts.fetch(hash).await?);
    }
    let models = folder.join("models");
    // Nets of an earlier front are not nets of this one.
    match fs::remove_dir_all(&models) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unwritable(&models, &error)),
        _ => {}
    }
    for (name, bytes) in &files {
        let path = folder.join(name);
        write_whole(&path, bytes).map_err(|error| unwritable(&path, &error))?;
    }
    Ok(report)
}

/// The smaller net that computes what `net` does, and which inputs it takes, by their places in a prepared row; nothing if no unit and
/// no input can go.
fn small(model: &ModelSpec, net: &[u8]) -> Result<Vec<(&'static str, Vec<u8>)>, InvalidTensors> {
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
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    fs::create_dir_all(folder)?;
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut draft, bytes)?;
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
