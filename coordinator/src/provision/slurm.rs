//! Jobs at Slurm, through its own commands: `sbatch`, `squeue`, `scancel` and `scontrol`.
//!
//! Their text formats have been the same for many releases, while the documents of `squeue --json` change with each one.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use tokio::{io::AsyncWriteExt as _, process::Command, time::timeout};

use super::{
    policy::JobState,
    settings::{PoolSettings, Settings},
};
use crate::environment;

/// What a job runs, unless the settings name another script.
const SCRIPT: &str = include_str!("../../../deploy/slurm/worker.sbatch");

/// Slurm answers within seconds, also if it is busy. Some of its commands wait for ever if it is down.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);

/// The lines of a failed job's output that are shown.
const SHOWN_LINES: usize = 3;

/// The bytes at the end of a job's output that are read.
const SHOWN_BYTES: u64 = 4096;

/// Why a command of Slurm failed.
#[derive(Debug, thiserror::Error)]
pub enum SlurmError {
    /// It cannot be started.
    #[error("cannot run {command}: {error}; the commands of Slurm must be in PATH")]
    Missing {
        /// The command.
        command: String,
        /// The system's error.
        error: io::Error,
    },
    /// It does not answer.
    #[error("{command} did not answer within {} s", ANSWER_WITHIN.as_secs())]
    Silent {
        /// The command.
        command: String,
    },
    /// It failed.
    #[error("{command} failed: {message}")]
    Failed {
        /// The command.
        command: String,
        /// What it printed.
        message: String,
    },
    /// The script cannot be read.
    #[error("cannot read the script {path}: {error}")]
    Script {
        /// Its path.
        path: PathBuf,
        /// The system's error.
        error: io::Error,
    },
}

/// The jobs of some pools.
#[derive(Debug, Clone)]
pub struct Slurm {
    settings: Settings,
    /// The folder of the settings. Paths in them are relative to it.
    folder: PathBuf,
}

/// Jobs by pool, with their state.
pub type Jobs = BTreeMap<String, Vec<(String, JobState)>>;

impl Slurm {
    /// The jobs of the pools of `settings`, whose paths are relative to `folder`.
    #[must_use]
    pub const fn new(settings: Settings, folder: PathBuf) -> Self {
        Self { settings, folder }
    }

    /// Its settings.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// All jobs of the pools that Slurm still knows: those that wait and run, and for some minutes those that ended.
    ///
    /// # Errors
    /// If `squeue` fails.
    pub async fn jobs(&self) -> Result<Jobs, SlurmError> {
        let names: Vec<String> = self.settings.pools.iter().map(|pool| self.settings.job_name(&pool.name)).collect();
        let names = format!("--name={}", names.join(","));
        let options = ["--me", "--noheader", "--array", "--states=all", "--format=%i %j %T", &names];
        let text = self.run("squeue", options, None).await?;
        Ok(self.read_jobs(&text))
    }

    /// Reads lines of ids, names and states.
    fn read_jobs(&self, text: &str) -> Jobs {
        let mut jobs = Jobs::new();
        for line in text.lines() {
            let mut words = line.split_whitespace();
            let (Some(id), Some(name), Some(state)) = (words.next(), words.next(), words.next()) else { continue };
            let pool = name.strip_prefix(&self.settings.name).and_then(|rest| rest.strip_prefix('.'));
            if let Some(pool) = pool {
                jobs.entry(pool.to_owned()).or_default().push((id.to_owned(), read_state(state)));
            }
        }
        jobs
    }

    /// Submits `jobs` jobs to a pool. Returns the id of their array.
    ///
    /// # Errors
    /// If `sbatch` fails.
    pub async fn submit(&self, pool: &PoolSettings, jobs: u32) -> Result<String, SlurmError> {
        let script = match &self.settings.worker.script {
            None => SCRIPT.to_owned(),
            Some(path) => {
                let path = self.folder.join(path);
                tokio::fs::read_to_string(&path).await.map_err(|error| SlurmError::Script { path, error })?
            }
        };
        let text = self.run("sbatch", self.submission(pool, jobs), Some(&script)).await?;
        // `--parsable` prints the id, and on some sites the cluster behind a semicolon.
        Ok(text.trim().split(';').next().unwrap_or_default().to_owned())
    }

    /// The options of `sbatch` for `jobs` jobs of a pool.
    #[must_use]
    pub fn submission(&self, pool: &PoolSettings, jobs: u32) -> Vec<String> {
        let mut options = vec![
            "--parsable".to_owned(),
            "--export=ALL".to_owned(),
            format!("--job-name={}", self.settings.job_name(&pool.name)),
            format!("--array=1-{jobs}"),
        ];
        let mut add = |option: &str, value: Option<String>| {
            options.extend(value.map(|value| format!("--{option}={value}")));
        };
        let output = self.settings.worker.output.as_ref();
        add("output", output.map(|path| self.folder.join(path).to_string_lossy().into_owned()));
        add("partition", pool.partition.clone());
        add("account", pool.account.clone());
        add("qos", pool.qos.clone());
        add("gpus", pool.gpus.map(|gpus| gpus.to_string()));
        add("gres", pool.gres.clone());
        add("cpus-per-task", pool.cpus.map(|cpus| cpus.to_string()));
        add("mem", pool.memory.clone());
        add("time", pool.time.clone());
        add("constraint", pool.constraint.clone());
        // The script drains in this time; Slurm may be up to a minute early.
        add("signal", self.settings.worker.grace.map(|grace| format!("B:TERM@{}", grace.saturating_add(30))));
        options.extend(pool.options.iter().cloned());
        options
    }

    /// The variables of the script.
    fn variables(&self, pool: Option<&str>) -> Vec<(&'static str, OsString)> {
        let worker = &self.settings.worker;
        let path = |path: &PathBuf| self.folder.join(secateur_worker::arguments::at_home(path)).into_os_string();
        // Without a file of its own, the script would read that of the user, which takes precedence.
        let none = || worker.coordinator.as_ref().map(|_| OsString::from("/dev/null"));
        let device = self.settings.pools.iter().find(|known| Some(known.name.as_str()) == pool);
        let variables = [
            ("SECATEUR_SETTINGS", worker.settings.as_ref().map(path).or_else(none)),
            ("SECATEUR_COORDINATOR", worker.coordinator.as_ref().map(OsString::from)),
            ("SECATEUR_CA", worker.ca.as_ref().map(path)),
            ("SECATEUR_TOKEN_FILE", worker.token_file.as_ref().map(path)),
            ("SECATEUR_WORKER", worker.program.as_ref().map(OsString::from)),
            ("SECATEUR_CACHE", worker.cache.as_ref().map(|path| path.clone().into_os_string())),
            ("SECATEUR_GRACE", worker.grace.map(|grace| grace.to_string().into())),
            ("SECATEUR_WORKER_OPTIONS", worker.options.as_ref().map(OsString::from)),
            ("SECATEUR_DEVICE", device.and_then(|pool| pool.device.as_ref()).map(OsString::from)),
        ];
        variables.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
    }

    /// Lets the worker of a running job drain, as at the end of the job's time.
    ///
    /// # Errors
    /// If `scancel` fails.
    pub async fn drain(&self, job: &str) -> Result<(), SlurmError> {
        self.run("scancel", ["--signal=TERM", "--batch", job], None).await.map(drop)
    }

    /// Ends a job.
    ///
    /// # Errors
    /// If `scancel` fails.
    pub async fn cancel(&self, job: &str) -> Result<(), SlurmError> {
        self.run("scancel", [job], None).await.map(drop)
    }

    /// The last lines of a job's output, if they can be read here.
    pub async fn last_words(&self, job: &str) -> Option<String> {
        let text = self.run("scontrol", ["--oneliner", "show", "job", job], None).await.ok()?;
        // The value of a key goes until the next key; paths may have spaces.
        let value = text.split_once(" StdOut=")?.1;
        let path = value.split(" Power=").next()?.split_terminator('\n').next()?.trim();
        let path = path.to_owned();
        let end = tokio::task::spawn_blocking(move || end_of(Path::new(&path))).await.ok()?.ok()?;
        let lines: Vec<&str> = end.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let shown = lines[lines.len().saturating_sub(SHOWN_LINES)..].join(" / ");
        (!shown.is_empty()).then_some(shown)
    }

    async fn run<O: AsRef<OsStr>>(
        &self,
        program: &str,
        options: impl IntoIterator<Item = O>,
        input: Option<&str>,
    ) -> Result<String, SlurmError> {
        let options: Vec<OsString> = options.into_iter().map(|option| option.as_ref().to_owned()).collect();
        let pool = options.iter().filter_map(|option| option.to_str()?.strip_prefix("--job-name=")).next();
        let pool = pool.and_then(|name| name.rsplit('.').next()).map(str::to_owned);
        let missing = |error| SlurmError::Missing { command: program.to_owned(), error };
        let mut command = Command::new(program);
        command
            .args(&options)
            .current_dir(&self.folder)
            .stdin(if input.is_some() { Stdio::piped() } else { Stdio::null() })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .kill_on_drop(true);
        // Slurm passes its environment on to jobs. They need nothing of the coordinator's, least of all its passwords.
        for (name, _) in std::env::vars_os() {
            if environment::is_secret(&name) {
                command.env_remove(name);
            }
        }
        command.envs(self.variables(pool.as_deref()));
        let mut child = command.spawn().map_err(missing)?;
        let work = async {
            if let (Some(mut pipe), Some(input)) = (child.stdin.take(), input) {
                // It may end without having read everything, and then says why.
                _ = pipe.write_all(input.as_bytes()).await;
            }
            child.wait_with_output().await
        };
        let output = timeout(ANSWER_WITHIN, work)
            .await
            .map_err(|_| SlurmError::Silent { command: program.to_owned() })?
            .map_err(missing)?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let message = if message.is_empty() { output.status.to_string() } else { message };
        Err(SlurmError::Failed { command: program.to_owned(), message })
    }
}

/// The state of a job by Slurm's name for it.
fn read_state(name: &str) -> JobState {
    match name {
        "PENDING" | "REQUEUED" | "REQUEUE_HOLD" | "REQUEUE_FED" | "SPECIAL_EXIT" | "RESV_DEL_HOLD" | "SUSPENDED" => {
            JobState::Waiting
        }
        "RUNNING" | "CONFIGURING" | "SIGNALING" | "STOPPED" | "RESIZING" | "STAGE_OUT" => JobState::Running,
        "COMPLETED" | "COMPLETING" | "CANCELLED" => JobState::Ended,
        _ => JobState::Failed,
    }
}

fn end_of(path: &Path) -> io::Result<String> {
    use std::io::{Read as _, Seek as _, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(SHOWN_BYTES)))?;
    let mut bytes = vec![];
    file.take(SHOWN_BYTES).read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
