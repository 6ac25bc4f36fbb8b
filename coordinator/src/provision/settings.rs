//! The file that names the pools of jobs, `slurm.toml`.

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use serde::Deserialize;

use super::policy::Bounds;

/// The file.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Distinguishes the jobs of several coordinators of one user. Part of the name of each job.
    #[serde(default = "default_name")]
    pub name: String,
    /// The time in which the present work should end. A shorter time means more jobs.
    #[serde(default = "default_within", deserialize_with = "duration")]
    pub within: Duration,
    /// The time between two looks at work and jobs.
    #[serde(default = "default_every", deserialize_with = "duration")]
    pub every: Duration,
    /// What the jobs run.
    #[serde(default)]
    pub worker: WorkerSettings,
    /// The pools. Those that come first get work first.
    #[serde(rename = "pool")]
    pub pools: Vec<PoolSettings>,
}

/// What the jobs run. Each key becomes a variable of `deploy/slurm/worker.sbatch`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WorkerSettings {
    /// Another script in place of the built-in `worker.sbatch`.
    pub script: Option<PathBuf>,
    /// A file of variables for the script. Default: `~/.config/secateur/worker.env`, unless `coordinator` is given.
    pub settings: Option<PathBuf>,
    /// The address of the coordinator, as the nodes call it.
    pub coordinator: Option<String>,
    /// The authority of the coordinator's certificate (PEM).
    pub ca: Option<PathBuf>,
    /// A file with a worker token.
    pub token_file: Option<PathBuf>,
    /// The program and its verb, such as `secateur worker`.
    pub program: Option<String>,
    /// The cache folder on the node.
    pub cache: Option<PathBuf>,
    /// Seconds to drain.
    pub grace: Option<u32>,
    /// Further options of the worker.
    pub options: Option<String>,
    /// Where the output of jobs goes. `%j` is the number of the job.
    pub output: Option<PathBuf>,
}

/// One pool: jobs with equal options.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PoolSettings {
    /// Its name: letters, digits, `-` and `_`.
    pub name: String,
    /// The maximum number of jobs.
    pub maximum: u32,
    /// Jobs to keep without any work.
    #[serde(default)]
    pub minimum: u32,
    /// End a job whose worker has been idle for this time.
    #[serde(default = "default_idle", deserialize_with = "duration")]
    pub idle: Duration,
    /// The devices of a worker, as in `secateur worker --device`. Default: each GPU of the job, else each of its processors.
    pub device: Option<String>,
    /// Slots of a job, until a worker of the pool reports its own number. Default: GPUs, else processors.
    pub slots: Option<u32>,
    /// `sbatch --partition`.
    pub partition: Option<String>,
    /// `sbatch --account`.
    pub account: Option<String>,
    /// `sbatch --qos`.
    pub qos: Option<String>,
    /// `sbatch --gpus`: GPUs of a job.
    pub gpus: Option<u32>,
    /// `sbatch --gres`, such as `gpu:a100:2`.
    pub gres: Option<String>,
    /// `sbatch --cpus-per-task`.
    pub cpus: Option<u32>,
    /// `sbatch --mem`, such as `16G`.
    pub memory: Option<String>,
    /// `sbatch --time`, such as `04:00:00`.
    pub time: Option<String>,
    /// `sbatch --constraint`.
    pub constraint: Option<String>,
    /// Further options of `sbatch`, one a string.
    #[serde(default)]
    pub options: Vec<String>,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// It is not TOML, or a key is unknown, missing or of the wrong type.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// It has no pool.
    #[error("no pool: write a table [[pool]] with name and maximum")]
    NoPool,
    /// The name of a job would be ambiguous.
    #[error("{key}: {name:?} is not a name (expected letters, digits, - and _)")]
    Name {
        /// The key.
        key: &'static str,
        /// The name.
        name: String,
    },
    /// Two pools have one name.
    #[error("two pools have the name {0:?}")]
    Twice(String),
    /// More jobs would be kept than there may be.
    #[error("pool {pool}: minimum {minimum} is greater than maximum {maximum}")]
    Minimum {
        /// The pool.
        pool: String,
        /// Its minimum.
        minimum: u32,
        /// Its maximum.
        maximum: u32,
    },
    /// A time is 0.
    #[error("{0} must be longer than 0, for example 30s")]
    NoTime(&'static str),
}

/// Seconds that a worker drains unless the file says otherwise, as in `worker.sbatch`.
const GRACE: u32 = 120;

/// Processors of a job unless the file says otherwise, as in `worker.sbatch`.
const PROCESSORS: u32 = 4;

impl Settings {
    /// Reads and checks the text of the file.
    ///
    /// # Errors
    /// With the place of the mistake.
    pub fn read(text: &str) -> Result<Self, SettingsError> {
        let settings: Self = toml::from_str(text)?;
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
        };
        let named = |key, name: &str| {
            is_name(name).then_some(()).ok_or_else(|| SettingsError::Name { key, name: name.to_owned() })
        };
        named("name", &settings.name)?;
        if settings.pools.is_empty() {
            return Err(SettingsError::NoPool);
        }
        let mut names = BTreeSet::new();
        for pool in &settings.pools {
            named("pool.name", &pool.name)?;
            if !names.insert(&pool.name) {
                return Err(SettingsError::Twice(pool.name.clone()));
            }
            let (minimum, maximum) = (pool.minimum, pool.maximum);
            if minimum > maximum {
                return Err(SettingsError::Minimum { pool: pool.name.clone(), minimum, maximum });
            }
        }
        for (key, time) in [("within", settings.within), ("every", settings.every)] {
            if time.is_zero() {
                return Err(SettingsError::NoTime(key));
            }
        }
        Ok(settings)
    }

    /// The bounds of all pools, in their order.
    #[must_use]
    pub fn bounds(&self) -> Vec<Bounds> {
        let grace = Duration::from_secs(u64::from(self.worker.grace.unwrap_or(GRACE)));
        let bounds = |pool: &PoolSettings| Bounds {
            name: pool.name.clone(),
            minimum: pool.minimum,
            maximum: pool.maximum,
            slots: pool.slots.or(pool.gpus).or(pool.cpus).unwrap_or(PROCESSORS).max(1),
            idle: pool.idle,
            grace,
        };
        self.pools.iter().map(bounds).collect()
    }

    /// The name of the jobs of a pool.
    #[must_use]
    pub fn job_name(&self, pool: &str) -> String {
        format!("{}.{pool}", self.name)
    }
}

fn default_name() -> String {
    "secateur".to_owned()
}

const fn default_within() -> Duration {
    Duration::from_mins(15)
}

const fn default_every() -> Duration {
    Duration::from_secs(15)
}

const fn default_idle() -> Duration {
    Duration::from_mins(5)
}

/// Reads `90s`, `15m` or `1h 30m`.
fn duration<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    let error = |error| serde::de::Error::custom(format!("{text:?} is not a time such as 90s, 15m or 2h: {error}"));
    humantime::parse_duration(&text).map_err(error)
}
