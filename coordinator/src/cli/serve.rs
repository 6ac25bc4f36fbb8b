//! `secateur serve`: a coordinator for others.

use std::{
    net::{SocketAddr, ToSocketAddrs as _},
    num::NonZeroU32,
    path::PathBuf,
    process::ExitCode,
};

use bytesize::ByteSize;
use clap::Args;
use secateur_worker::signals::interrupted;
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
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS:PORT", value_parser = place)]
    listen: SocketAddr,
    /// Folder for the journal, the artifacts and the tokens: all that must not be lost
    #[arg(long, default_value = "secateur-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Keep the journal in a PostgreSQL database instead, as in postgres://secateur@db.example/secateur. Of several coordinators with
    /// one journal one works, and the others wait to take over
    #[arg(long, value_name = "URL", env = "SECATEUR_JOURNAL", hide_env_values = true)]
    journal: Option<String>,
    /// Keep the artifacts in a bucket that speaks S3's protocol instead, as in s3://bucket/prefix. Endpoint, region and credentials
    /// come from AWS_ENDPOINT_URL, AWS_REGION, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and the like
    #[arg(long, value_name = "URL", env = "SECATEUR_ARTIFACTS")]
    artifacts: Option<BucketUrl>,
    /// Where workers reach the storage of --artifacts, if they know it by another name than the coordinator. Workers that cannot
    /// reach it get files through the coordinator
    #[arg(long, value_name = "URL", env = "SECATEUR_ARTIFACTS_FOR_WORKERS", requires = "artifacts")]
    artifacts_for_workers: Option<String>,
    /// The coordinator's certificate (PEM), with --tls-key; `secateur cert init` makes one
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The private key (PEM) of --tls-cert
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Let workers in that show a certificate of this authority (PEM) in place of a token
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    client_ca: Option<PathBuf>,
    /// Seconds that a worker may be silent before it is taken for dead
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(5..=86_400))]
    worker_timeout: u64,
    /// Seconds that the work of a worker whose connection broke is kept for it, and that a coordinator which starts again waits for
    /// workers before it hands out what they may hold
    #[arg(long, default_value = "15", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    reattach_within: u64,
    /// Seconds without a result or progress after which a stage is taken back from a worker
    #[arg(long, default_value = "3600", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(10..=8_640_000))]
    stuck_after: u64,
    /// How many sweeps may run at the same time; more are refused
    #[arg(long, default_value = "1000", value_name = "NUMBER")]
    max_sweeps: NonZeroU32,
    /// The largest file that is taken: a table, a net or what a stage leaves, as in 500MB or 2TiB
    #[arg(long, default_value = "64GiB", value_name = "SIZE", value_parser = size)]
    max_artifact_size: ByteSize,
    /// The largest table, unpacked, or net that a sweep may be planned from: the coordinator has it in memory then
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = size)]
    max_input_size: ByteSize,
    /// No file is taken that would leave less room on the disk of --data-dir: the journal needs some to go on, while workers keep their
    /// results until there is room
    #[arg(long, default_value = "64MiB", value_name = "SIZE", value_parser = room)]
    keep_free: ByteSize,
    /// Keep at most so much of the logs of attempts (`secateur logs`). The least recently written are removed first
    #[arg(long, default_value = "1GiB", value_name = "SIZE", value_parser = size)]
    max_logs_size: ByteSize,
    /// Accept at most N connections from one address at a time, and refuse more. A worker has one for each device, a command one
    #[arg(long, default_value = "1024", value_name = "N")]
    max_connections_per_address: NonZeroU32,
    /// A worker on which so many bundles in a row failed, no two with a stage in common, or whose disk is full, gets nothing for a while;
    /// 0: it always does, and sweeps that meet a full disk stop
    #[arg(long, default_value = "3", value_name = "NUMBER")]
    quarantine_after: u32,
    /// Seconds until such a worker may try again
    #[arg(long, default_value = "600", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=8_640_000))]
    quarantine_for: u64,
    /// Listen where other machines can connect, even without encryption or without asking who they are
    #[arg(long)]
    insecure: bool,
}

/// After a first failure, until what failed is tried again in the same place.
pub(super) const PAUSE_MS: u64 = 1000;

/// Where to listen: an address, or a name of this machine.
fn place(text: &str) -> Result<SocketAddr, String> {
    let found = text.to_socket_addrs().map(|mut found| found.next()).map_err(|error| error.to_string());
    let example = "give an address and a port, as in 127.0.0.1:7400, [::1]:7400 or 0.0.0.0:7400";
    found
        .and_then(|found| found.ok_or_else(|| "no such place".to_owned()))
        .map_err(|error| format!("{error}: {example}"))
}

/// A size that something fits into.
fn size(text: &str) -> Result<ByteSize, String> {
    match room(text)? {
        ByteSize(0) => Err("nothing would be taken; sizes are such as 500MB or 2TiB".to_owned()),
        size => Ok(size),
    }
}

/// A size that may be nothing.
fn room(text: &str) -> Result<ByteSize, String> {
    match text.parse::<ByteSize>() {
        Ok(ByteSize(u64::MAX)) | Err(_) => Err("it is no size such as 500MB or 2TiB".to_owned()),
        Ok(size) => Ok(size),
    }
}

/// Serves until it is asked to end, when it closes the journal; asked again it ends at once, which loses nothing either.
pub(crate) async fn run(arguments: ServeArguments) -> Result<ExitCode, CliError> {
    let ended = async {
        let asked = interrupted();
        tokio::pin!(asked);
        let coordinator = tokio::select! {
            started = start(arguments) => started?,
            () = &mut asked => return Ok(()),
        };
        coordinator.run_until(asked).await?;
        info!("stopped, as was asked; the same command goes on");
        Ok::<(), CliError>(())
    };
    let asked_again = async {
        interrupted().await;
        interrupted().await;
    };
    tokio::select! {
        biased;
        ended = ended => ended?,
        () = asked_again => warn!("ended without closing the journal, as was asked again"),
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
            (None, Some(_)) => Some("encryption: give --tls-cert and --tls-key, which `secateur cert init` makes"),
            (Some(_), None) => Some("tokens: make one with `secateur token create`"),
            (None, None) => Some(
                "encryption (--tls-cert and --tls-key; `secateur cert init` makes them) and tokens (`secateur token create` makes them)",
            ),
        };
        match missing {
            Some(missing) if !arguments.insecure => {
                return Err(CliError::Input(format!(
                    "{address} can be reached from other machines, and it has no {missing}; or listen on 127.0.0.1 and tunnel, or say --insecure if the network is yours"
                )));
            }
            Some(missing) => warn!(%address, "INSECURE: other machines can connect, and it has no {missing}"),
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
                    "there is a journal in {} already, which {url} knows nothing of: go on without --journal, or give another --data-dir",
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
