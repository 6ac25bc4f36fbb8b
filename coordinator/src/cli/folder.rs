//! The folder of a run: which one it is, and whose sweep is in it. A folder belongs to one sweep, and goes on with files that extend it.

use std::{
    fs,
    path::{Path, PathBuf},
};

use secateur_proto::ids::SweepId;

use super::{
    error::CliError,
    outputs::{self, STATE},
    progress::Screen,
};
use crate::{
    experiment::{
        extension::{NotAnExtension, extension},
        plan::{PackedPlan, Plan, SweepInfo},
    },
    journal::{Journal, Sqlite},
    server::DataDir,
    upkeep,
};

/// The file that says whose folder it is.
const SWEEP: &str = "sweep";

/// The folder of a run.
#[derive(Debug)]
pub(crate) struct RunFolder {
    /// Where it is.
    pub(crate) path: PathBuf,
    /// The sweep that the file resumes or extends. `None` if it begins one.
    pub(crate) sweep: Option<SweepId>,
}

/// What a folder has for a file.
enum Content {
    /// No sweep.
    Nothing,
    /// The sweep of the file, or one that the file extends.
    Sweep(SweepId),
    /// The sweep of the file under the id that it had while ids were made of files' bytes.
    Former,
    /// A sweep that the file does not extend.
    Other(SweepId, NotAnExtension),
}

impl RunFolder {
    /// The folder that the command line names. Otherwise the one called by the file's sweep; or, where there is none, the only one of a
    /// sweep of the same name that the file extends; or a new one.
    ///
    /// # Errors
    /// If the folder holds a sweep that the file does not extend, or cannot be looked into.
    pub(crate) async fn choose(out: Option<&Path>, plan: &PackedPlan, screen: &Screen) -> Result<Self, CliError> {
        let info = &plan.sweep;
        let path = match out.map(Path::to_owned).or_else(|| own_folder(info)) {
            Some(path) => path,
            None => match extended_folder(plan, screen).await? {
                Some(found) => return Ok(found),
                None => outputs::default_folder(&info.name, info.id.as_str()),
            },
        };
        outputs::check(&path)?;
        match look_into(&path, plan).await? {
            Content::Nothing | Content::Former => Ok(Self { path, sweep: None }),
            Content::Sweep(sweep) => Ok(Self { path, sweep: Some(sweep) }),
            Content::Other(sweep, reason) => Err(CliError::Input(format!(
                "{} holds another sweep ({sweep}), and the file does not extend it: {reason}; use another folder with --out",
                path.display(),
            ))),
        }
    }

    /// Where its state is.
    pub(crate) fn state(&self) -> PathBuf {
        self.path.join(STATE)
    }

    /// Notes whose folder it is.
    ///
    /// # Errors
    /// If that cannot be written.
    pub(crate) fn mark(&self, info: &SweepInfo) -> Result<(), CliError> {
        let marker = self.state().join(SWEEP);
        let id = self.sweep.as_ref().unwrap_or(&info.id).as_str();
        outputs::write_whole(&marker, id.as_bytes()).map_err(|error| outputs::unwritable(&marker, &error))
    }
}

/// The folder that is called by the sweep of the file; or by the id that the sweep had while ids were made of files' bytes.
fn own_folder(info: &SweepInfo) -> Option<PathBuf> {
    let folder = outputs::default_folder(&info.name, info.id.as_str());
    let former = outputs::default_folder(&info.name, info.former_id().as_str());
    if folder.exists() { Some(folder) } else { former.is_dir().then_some(former) }
}

/// The only folder of a sweep of that name which the file extends.
async fn extended_folder(plan: &PackedPlan, screen: &Screen) -> Result<Option<RunFolder>, CliError> {
    let name = &plan.sweep.name;
    let parent = outputs::default_folder(name, "").parent().map(Path::to_owned).unwrap_or_default();
    let Ok(entries) = fs::read_dir(&parent) else { return Ok(None) };
    let is_of_name = |path: &PathBuf| {
        let file = path.file_name().and_then(|file| file.to_str());
        file.and_then(|file| file.strip_prefix(name.as_str())).is_some_and(|rest| rest.starts_with('-'))
    };
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_of_name).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        match look_into(&path, plan).await {
            Ok(Content::Sweep(sweep)) => found.push(RunFolder { path, sweep: Some(sweep) }),
            Ok(_) => {}
            Err(error) => screen.say(&format!("skipped the folder {}: {}", path.display(), error.message())),
        }
    }
    let names: Vec<String> = found.iter().map(|folder| folder.path.display().to_string()).collect();
    match names.as_slice() {
        [] => Ok(None),
        [only] => {
            screen.say(&format!("the file extends the sweep in {only}; continuing there"));
            Ok(found.pop())
        }
        several => {
            let several = several.join(", ");
            screen.say(&format!(
                "the file extends several sweeps ({several}); starting a new one. Use --out to extend one of them"
            ));
            Ok(None)
        }
    }
}

async fn look_into(folder: &Path, plan: &PackedPlan) -> Result<Content, CliError> {
    let info = &plan.sweep;
    let state = folder.join(STATE);
    let Ok(marker) = fs::read_to_string(state.join(SWEEP)) else { return Ok(Content::Nothing) };
    let marker = marker.trim();
    if marker == info.former_id().as_str() {
        return Ok(Content::Former);
    }
    let id: SweepId = marker
        .parse()
        .map_err(|_| CliError::Input(format!("{}: {STATE}/{SWEEP} does not contain a sweep id", folder.display())))?;
    if id == info.id {
        return Ok(Content::Sweep(id));
    }
    let Some(parts) = parts_in(&state, &id).await? else { return Ok(Content::Nothing) };
    let compared = extension(&plan.unpack(), &parts.iter().collect::<Vec<_>>());
    Ok(match compared {
        Ok(_) => Content::Sweep(id),
        Err(reason) => Content::Other(id, reason),
    })
}

/// The parts of a sweep in a folder that nobody uses. `None` if it was killed before it had any.
async fn parts_in(state: &Path, id: &SweepId) -> Result<Option<Vec<Plan>>, CliError> {
    let path = DataDir::journal_in(state);
    if !Sqlite::is_there(&path) {
        return Ok(None);
    }
    let _lock = DataDir::lock(state)?;
    let mut journal: Box<dyn Journal> = Box::new(Sqlite::open_idle(&path).await?);
    let examined = upkeep::check(&mut *journal).await?;
    journal.close().await?;
    if let Some(damage) = examined.damages.first() {
        return Err(CliError::Failed(format!("the journal {} is damaged: {damage}", path.display())));
    }
    Ok(examined.core.plan_parts(id).map(|parts| parts.map(|part| part.unpack()).collect()))
}
