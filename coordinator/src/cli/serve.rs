//! `secateur serve`: a coordinator for others.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
};

use bytesize::ByteSize;
use clap::Args;
use secateur_worker::{arguments, signals::interrupted};
use tracing::{info, warn};

use super::error::{CliError, INTERRUPTED};
use crate::{
    admission::{LARGEST_PLAN, Limits},
    artifacts::{self, BucketUrl, Remote},
    journal::{Journal, Postgres, PostgresUrl},
    scheduler::Policy,
    security::{certificates::TlsFiles, tokens::Tokens},
    server::{Coordinator, DataDir, Reach, ServerError},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Address and port to listen on. An address other than loopback requires TLS and tokens, or --insecure
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS:PORT", value_parser = place)]
    listen: SocketAddr,
    /// Folder for the journal, the artifacts and the tokens. Back it up
    #[arg(long, default_value = "secateur-data", value_name = "DIR", value_parser = arguments::path())]
    data_dir: PathBuf,
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
    /// Certificate of the coordinator (PEM). `secateur cert init` creates one
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
    /// Allow an address other than loopback without TLS or tokens
    #[arg(long)]
    insecure: bool,
}

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
    let ended = async {
        let asked = interrupted();
        tokio::pin!(asked);
        let coordinator = tokio::select! {
            started = start(arguments) => started?,
            () = &mut asked => return Ok(()),
        };
        coordinator.run_until(asked).await?;
        info!("stopped; the same command resumes");
        Ok::<(), CliError>(())
    };
    let asked_again = async {
        interrupted().await;
        interrupted().await;
    };
    tokio::select! {
        biased;
        ended = ended => ended?,
        () = asked_again => warn!("second signal: exiting without closing the journal"),
    }
    Ok(ExitCode::from(INTERRUPTED))
}

async fn start(arguments: ServeArguments) -> Result<Coordinator, CliError> {
    let address = arguments.listen;
    let tokens = Tokens::read(&arguments.data_dir).map_err(|error| CliError::input(&error))?;
    let tls = arguments.tls_cert.zip(arguments.tls_key).map(|(certificate, key)| TlsFiles {
        certificate,
        key,
        client_authority: arguments.client_ca,
    });
    if !address.ip().is_loopback() {
        let missing = match (&tls, &tokens) {
            (Some(_), Some(_)) => None,
            (None, Some(_)) => Some("TLS (--tls-cert and --tls-key; `secateur cert init` creates them)"),
            (Some(_), None) => Some("a token (`secateur token create` creates one)"),
            (None, None) => Some(
                "TLS (--tls-cert and --tls-key; `secateur cert init` creates them) and a token (`secateur token create` creates one)",
            ),
        };
        match missing {
            Some(missing) if !arguments.insecure => {
                return Err(CliError::Input(format!(
                    "{address} is reachable from other machines and requires {missing}; otherwise listen on 127.0.0.1 and use a tunnel, or pass --insecure on a trusted network"
                )));
            }
            Some(missing) => warn!(%address, "INSECURE: other machines can connect; missing: {missing}"),
            None => {}
        }
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
            let folder = DataDir::lock(&arguments.data_dir)?;
            let journal = folder.open_journal().await?;
            (folder, journal)
        }
        Some(url) => {
            // Not by clap, which would show what it refuses, and there may be a password in it.
            let url: PostgresUrl = url.parse().map_err(|error| CliError::input(&error))?;
            let other = DataDir::journal_in(&arguments.data_dir);
            if other.exists() {
                return Err(CliError::Input(format!(
                    "{} already holds a journal, which is not in {url}: start without --journal, or use another --data-dir",
                    other.display()
                )));
            }
            // The journal first: the folder may be one that the coordinators share, and who has the journal has the right to it.
            let journal = Postgres::open(&url).await?;
            let folder = if journal.is_from_one_that_hangs() {
                DataDir::take_over(arguments.data_dir)?
            } else {
                DataDir::wait(arguments.data_dir).await?
            };
            let journal: Box<dyn Journal> = Box::new(journal);
            (folder, journal)
        }
    };
    Ok(Coordinator::start(folder, journal, address, Reach::Others(tls), policy, limits, bucket).await?)
}
