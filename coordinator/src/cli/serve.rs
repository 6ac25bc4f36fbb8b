//! `secateur serve`: a coordinator for others.

use std::{
    convert::Infallible,
    ffi::OsString,
    net::{SocketAddr, ToSocketAddrs as _},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
    time::{Duration, SystemTime},
};

use bytesize::ByteSize;
use clap::Args;
use secateur_worker::{
    arguments,
    causes::with_causes,
    private,
    signals::{Hangups, interrupted, interrupted_again},
};
use tokio::{net::TcpListener, time::MissedTickBehavior};
use tracing::{error, info, warn};

use super::{
    data_dir::DataDirArguments,
    error::{CliError, INTERRUPTED},
    provision,
};
use crate::{
    admission::{LARGEST_PLAN, Limits},
    artifacts::{self, BucketUrl, Remote},
    journal::{Journal, Postgres, PostgresUrl},
    monitoring::{self, Monitor},
    provision::rounds::Provisioner,
    queries::Queries,
    scheduler::Policy,
    security::{
        certificates::{CertificateError, TlsFiles},
        expiry,
        tls::Tls,
        tokens::Tokens,
    },
    server::{Coordinator, DataDir, Reach, ServerError},
    sweep_end,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on. An address other than loopback requires TLS and tokens, or --insecure
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS:PORT", value_parser = place)]
    listen: SocketAddr,
    #[command(flatten)]
    folder: DataDirArguments,
    /// Keep the journal in a PostgreSQL database, for example postgres://secateur@db.example/secateur. Further coordinators with the
    /// same journal stand by and take over
    #[arg(long, value_name = "URL", env = "SECATEUR_JOURNAL", hide_env_values = true)]
    journal: Option<String>,
    /// Keep the artifacts in S3 or a compatible store, for example s3://bucket/prefix. Set AWS_ENDPOINT_URL, AWS_REGION,
    /// AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY for endpoint, region and credentials
    #[arg(long, value_name = "URL", env = "SECATEUR_ARTIFACTS")]
    artifacts: Option<BucketUrl>,
    /// Address of the --artifacts store as workers see it, if it differs. Workers that cannot reach the store transfer files through
    /// the coordinator
    #[arg(long, value_name = "URL", env = "SECATEUR_ARTIFACTS_FOR_WORKERS", requires = "artifacts")]
    artifacts_for_workers: Option<String>,
    /// Certificate of the coordinator (PEM). `secateur cert init` creates one. Certificates are read again on SIGHUP and when they change
    #[arg(long, value_name = "FILE", requires = "tls_key", value_parser = arguments::path())]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_parser = arguments::path())]
    tls_key: Option<PathBuf>,
    /// Accept worker certificates of this authority (PEM) instead of tokens
    #[arg(long, value_name = "FILE", requires = "tls_cert", value_parser = arguments::path())]
    client_ca: Option<PathBuf>,
    /// Declare a worker dead after SECONDS of silence
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    worker_timeout: u64,
    /// Keep the leases of a disconnected worker for SECONDS. After a restart, wait as long for workers to report their leases
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    reattach_within: u64,
    /// Take a stage back from its worker after SECONDS without a result or progress
    #[arg(long, default_value = "3600", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=8_640_000))]
    stuck_after: u64,
    /// Run at most N sweeps at the same time and refuse more
    #[arg(long, default_value = "1000", value_name = "N")]
    max_sweeps: NonZeroU32,
    /// Largest file to accept: a table, a net or an output of a stage, for example 500MB or 2TiB
    #[arg(long, default_value = "64GiB", value_name = "SIZE", value_parser = size)]
    max_artifact_size: ByteSize,
    /// Largest table (uncompressed) or net to plan a sweep from. The coordinator loads it into memory
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = size)]
    max_input_size: ByteSize,
    /// Accept no file that would leave less free space on the disk of --data-dir. The journal needs this space; workers keep their
    /// results until there is more
    #[arg(long, default_value = "64MiB", value_name = "SIZE", value_parser = room)]
    keep_free: ByteSize,
    /// Largest total size of attempt logs (`secateur logs`). The least recently written are removed first
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = size)]
    max_logs_size: ByteSize,
    /// Accept at most N connections from one address and refuse more. A worker uses one per device, a command uses one
    #[arg(long, default_value = "1024", value_name = "N")]
    max_connections_per_address: NonZeroU32,
    /// Quarantine a worker after N consecutive failed bundles without a common stage, or when its disk is full. 0 = never; then a
    /// full disk stops the sweep
    #[arg(long, default_value = "3", value_name = "N")]
    quarantine_after: u32,
    /// End the quarantine of a worker after SECONDS
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=8_640_000))]
    quarantine_for: u64,
    /// Submit workers as Slurm jobs while work waits, and end them when there is none. The file names the pools of jobs (TOML), for
    /// example deploy/slurm/pools.toml
    #[arg(long, value_name = "FILE", value_parser = arguments::path())]
    provision: Option<PathBuf>,
    /// Allow an address other than loopback without TLS or tokens
    #[arg(long)]
    insecure: bool,
    /// Serve metrics for Prometheus at http://ADDRESS:PORT/metrics. Everybody who can connect can read them; an address other than
    /// loopback requires --metrics-insecure
    #[arg(long, value_name = "ADDRESS:PORT", value_parser = place)]
    metrics_listen: Option<SocketAddr>,
    /// Allow an address other than loopback for --metrics-listen
    #[arg(long, requires = "metrics_listen")]
    metrics_insecure: bool,
    /// Run COMMAND with /bin/sh whenever a sweep ends. The variables SECATEUR_SWEEP_ID, _NAME, _STATE, _REASON, _USER, _TRIALS,
    /// _TRIALS_COMPLETED, _TRIALS_FAILED and _STAGES_COMPUTED describe it
    #[arg(long, value_name = "COMMAND")]
    on_sweep_end: Option<OsString>,
}

/// Between two looks at the files of certificates.
const LOOK_AT_CERTIFICATES: Duration = Duration::from_secs(60);

/// Between two warnings of what ends soon.
const DAY: Duration = Duration::from_secs(24 * 3600);

/// After a first failure, until what failed is tried again in the same place.
pub(super) const PAUSE_MS: u64 = 1000;

/// Where to listen: an address, or a name of this machine.
fn place(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map(|mut found| found.next()).map_err(|error| error.to_string());
    let example = "expected an address and a port such as 127.0.0.1:7400, [::1]:7400 or 0.0.0.0:7400";
    found
        .and_then(|found| found.ok_or_else(|| "no such host".to_owned()))
        .map_err(|error| format!("{error}: {example}"))
}

/// A size above 0.
fn size(text: &str) -> Result<ByteSize, String> {
    match room(text)? {
        ByteSize(0) => Err("must be greater than 0, for example 500MB or 2TiB".to_owned()),
        size => Ok(size),
    }
}

/// A size that may be 0.
fn room(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(u64::MAX)) | Err(_) => Err("not a size such as 500MB or 2TiB".to_owned()),
        Ok(size) => Ok(size),
    }
}

/// Serves until SIGTERM or Ctrl-C, then closes the journal. A second signal ends it at once, which loses nothing either.
pub(crate) async fn run(arguments: ServeArguments) -> Result<ExitCode, CliError> {
    let provisioner = arguments.provision.as_deref().map(provision::read).transpose()?.map(Provisioner::new);
    let ended = async {
        let asked = interrupted();
        tokio::pin!(asked);
        // From here on SIGHUP ends nothing.
        let hangups = Hangups::listen();
        let (coordinator, credentials) = tokio::select! {
            started = start(arguments) => started?,
            () = &mut asked => return Ok(()),
        };
        let queries = coordinator.queries().clone();
        let until = async {
            tokio::select! {
                biased;
                () = asked => {}
                never = credentials.look_after(hangups) => match never {},
                never = provide(provisioner, queries) => match never {},
            }
        };
        coordinator.run_until(until).await?;
        info!("stopped; the same command resumes");
        Ok::<(), CliError>(())
    };
    tokio::select! {
        biased;
        ended = ended => ended?,
        () = interrupted_again() => warn!("second signal: exiting without closing the journal"),
    }
    Ok(ExitCode::from(INTERRUPTED))
}

/// Provides workers, if `--provision` names pools.
async fn provide(provisioner: Option<Provisioner>, queries: Queries) -> Infallible {
    match provisioner {
        Some(provisioner) => provisioner.run(provision::Here(queries)).await,
        None => std::future::pending().await,
    }
}

async fn start(arguments: ServeArguments) -> Result<(Coordinator, Credentials), CliError> {
    let address = arguments.listen;
    let data_dir = arguments.folder.path()?;
    let tokens = Tokens::read(&data_dir).map_err(|error| CliError::input(&error))?;
    let tls = arguments.tls_cert.zip(arguments.tls_key).map(|(certificate, key)| TlsFiles {
        certificate,
        key,
        client_authority: arguments.client_ca,
    });
    if let Some(tls) = &tls {
        private::warn_if_readable(&tls.key, "private key");
    }
    let tls = tls.map(Tls::open).transpose().map_err(|error| CliError::input(&error))?;
    // With certificates, a connection alone makes nobody an administrator, on loopback either.
    let open = tls.is_none() || arguments.insecure;
    if !address.ip().is_loopback() || tls.is_some() {
        let missing = match (&tls, &tokens) {
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some("TLS (--tls-cert and --tls-key; `secateur cert init` creates them)"),
            (Some(_), None) => Some("a token (`secateur token create` creates one)"),
            (None, None) => Some(
                "TLS (--tls-cert and --tls-key; `secateur cert init` creates them) and a token (`secateur token create` creates one)",
            ),
        };
        match missing {
            Some(_) if address.ip().is_loopback() && !arguments.insecure => {
                return Err(CliError::Input(
                    "with TLS a token is required: `secateur token create NAME --role admin` creates one; or pass --insecure to let everybody in who can connect".to_owned(),
                ));
            }
            Some(missing) if !arguments.insecure => {
                return Err(CliError::Input(format!(
                    "{address} is reachable from other machines and requires {missing}; otherwise listen on 127.0.0.1 and use a tunnel, or pass --insecure on a trusted network"
                )));
            }
            Some(missing) => warn!(%address, "INSECURE: other machines can connect; missing: {missing}"),
            None => {}
        }
    }
    if let Some(metrics) = arguments.metrics_listen.filter(|metrics| !metrics.ip().is_loopback()) {
        if !arguments.metrics_insecure {
            return Err(CliError::Input(format!(
                "--metrics-listen {metrics} is reachable from other machines, and metrics are served without TLS and tokens: listen on 127.0.0.1, or pass --metrics-insecure on a trusted network"
            )));
        }
        warn!(address = %metrics, "other machines can read the metrics");
    }
    let policy = Policy {
        worker_silence_ms: arguments.worker_timeout * 1000,
        reattach_ms: arguments.reattach_within * 1000,
        stuck_ms: Some(arguments.stuck_after * 1000),
        max_running_sweeps: arguments.max_sweeps,
        quarantine_after: NonZeroU32::new(arguments.quarantine_after),
        quarantine_ms: arguments.quarantine_for * 1000,
        pause_ms: PAUSE_MS,
        ..Policy::default()
    };
    // Before the journal, so that a coordinator that stands by is told too.
    let bucket = match arguments.artifacts {
        None => None,
        Some(url) => {
            let bucket = Remote::open(url, arguments.artifacts_for_workers.as_deref(), &artifacts::environment())
                .map_err(ServerError::from)?;
            bucket.probe().await.map_err(ServerError::from)?;
            Some(bucket)
        }
    };
    let limits = Limits {
        artifact: arguments.max_artifact_size.as_u64(),
        input: arguments.max_input_size.as_u64(),
        plan: LARGEST_PLAN,
        keep_free: arguments.keep_free.as_u64(),
        logs: arguments.max_logs_size.as_u64(),
        connections_per_address: arguments.max_connections_per_address.get() as usize,
    };
    let (folder, journal) = match arguments.journal {
        None => {
            let folder = DataDir::lock(&data_dir)?;
            let journal = folder.open_journal().await?;
            (folder, journal)
        }
        Some(url) => {
            // Not by clap, which would show what it refuses, and there may be a password in it.
            let url: PostgresUrl = url.parse().map_err(|error| CliError::input(&error))?;
            let other = DataDir::journal_in(&data_dir);
            if other.exists() {
                return Err(CliError::Input(format!(
                    "{} already holds a journal, which is not in {url}: start without --journal, or use another --data-dir",
                    other.display()
                )));
            }
            // The journal first: the folder may be one that the coordinators share, and who has the journal has the right to it.
            let journal = Postgres::open(&url).await?;
            let folder = if journal.is_from_one_that_hangs() {
                DataDir::take_over(data_dir.clone())?
            } else {
                DataDir::wait(data_dir.clone()).await?
            };
            let journal: Box<dyn Journal> = Box::new(journal);
            (folder, journal)
        }
    };
    // Before the coordinator, which would be started for nothing if the address cannot be used.
    let metrics = match arguments.metrics_listen {
        None => None,
        Some(address) => {
            Some(TcpListener::bind(address).await.map_err(|source| ServerError::Listen { address, source })?)
        }
    };
    let reach = Reach::Others { tls: tls.clone(), open };
    let coordinator = Coordinator::start(folder, journal, address, reach, policy, limits, bucket).await?;
    // Both end with the process.
    if let Some(listener) = metrics {
        let address = listener.local_addr().map_err(|error| CliError::failed(&error))?;
        info!(%address, "serving metrics at /metrics");
        let driver = coordinator.driver();
        tokio::spawn(monitoring::serve(
            listener,
            Monitor::new(coordinator.queries().clone(), driver.counters().clone()),
        ));
    }
    if let Some(command) = arguments.on_sweep_end {
        tokio::spawn(sweep_end::run(command, coordinator.driver().clone()));
    }
    Ok((coordinator, Credentials { tls, folder: data_dir }))
}

/// What a coordinator and its callers show each other.
struct Credentials {
    tls: Option<Tls>,
    folder: PathBuf,
}

impl Credentials {
    /// Reads the certificates again on SIGHUP and when they have changed, and warns of what ends soon, once a day.
    async fn look_after(self, mut hangups: Hangups) -> Infallible {
        let mut looks = tokio::time::interval(LOOK_AT_CERTIFICATES);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut days = tokio::time::interval(DAY);
        loop {
            tokio::select! {
                biased;
                () = hangups.next() => self.reload(),
                _ = days.tick() => self.warn(),
                _ = looks.tick() => match self.tls.as_ref().map(Tls::reload_changed) {
                    None | Some(Ok(false)) => {}
                    Some(Ok(true)) => {
                        info!("the certificates have changed and were read again");
                        self.warn();
                    }
                    Some(Err(error)) => not_reloaded(&error),
                },
            }
        }
    }

    fn reload(&self) {
        match self.tls.as_ref().map(Tls::reload) {
            None => info!("SIGHUP: there are no certificates to read again; tokens are read whenever they change"),
            Some(Ok(())) => {
                info!("SIGHUP: the certificates were read again; connections that are up stay up");
                self.warn();
            }
            Some(Err(error)) => not_reloaded(&error),
        }
    }

    fn warn(&self) {
        for warning in expiry::warnings(self.tls.as_ref().map(Tls::files), &self.folder, SystemTime::now()) {
            warn!("{warning}");
        }
    }
}

fn not_reloaded(error: &CertificateError) {
    error!("cannot read the certificates again: {}; those from before stay in use", with_causes(error));
}
