//! `secateur serve`: a coordinator for others.

use std::{future, net::SocketAddr, path::PathBuf, process::ExitCode};

use clap::Args;
use tracing::warn;

use super::error::CliError;
use crate::server::{Coordinator, DataDir};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ServeArguments {
    /// Where to listen
    #[arg(long, default_value = "127.0.0.1:7400", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Folder for the journal and the artifacts: all that must not be lost
    #[arg(long, default_value = "secateur-data", value_name = "DIR")]
    data_dir: PathBuf,
    /// Listen where other machines can connect, without encryption and without asking who they are
    #[arg(long)]
    insecure: bool,
}

pub(crate) async fn run(arguments: ServeArguments) -> Result<ExitCode, CliError> {
    let address = arguments.listen;
    if !address.ip().is_loopback() {
        if !arguments.insecure {
            return Err(CliError::Input(format!(
                "{address} can be reached from other machines, and this version has neither encryption nor passwords: listen on 127.0.0.1 and tunnel, or say --insecure if the network is yours"
            )));
        }
        warn!(%address, "listening without encryption: whoever reaches this port can read all data and submit work");
    }
    let coordinator = Coordinator::start(DataDir::lock(&arguments.data_dir)?, address).await?;
    coordinator.run_until(future::pending::<()>()).await?;
    Ok(ExitCode::SUCCESS)
}
