//! `secateur share`: what part of the workers a sweep may have.

use std::process::ExitCode;

use clap::Args;
use secateur_proto::v1::{SetShareRequest, Share, SweepStatus};

use super::{
    client::{Client, ClientArguments},
    error::CliError,
    output::{Output, counted},
    show,
};

/// What part of the workers a sweep is to have; `submit` takes it, too.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct ShareArguments {
    /// Priority from -1000 to 1000. Sweeps with a higher priority go first; equal ones share the workers [default for a new sweep: 0]
    #[arg(long, value_name = "N", allow_negative_numbers = true, value_parser = clap::value_parser!(i32).range(-1000..=1000))]
    priority: Option<i32>,
    /// Use at most N workers at the same time; 0 = all [default for a new sweep: all]
    #[arg(long, value_name = "N")]
    max_workers: Option<u32>,
}

impl ShareArguments {
    pub(crate) const fn message(self) -> Share {
        Share { priority: self.priority, max_workers: self.max_workers }
    }
}

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct SetShareArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    #[command(flatten)]
    share: ShareArguments,
    #[command(flatten)]
    coordinator: ClientArguments,
}

pub(crate) async fn run(arguments: SetShareArguments, output: Output) -> Result<ExitCode, CliError> {
    let mut client = Client::connect(&arguments.coordinator).await?;
    let request = SetShareRequest { sweep_id: arguments.sweep_id, share: Some(arguments.share.message()) };
    let status = client.sweeps.set_share(request).await?.into_inner();
    output.print(&show::document(&status), || {
        format!("sweep {} ({}) is {}: {}", status.name, status.sweep_id, show::standing(&status), said(&status))
    });
    Ok(ExitCode::SUCCESS)
}

/// A sweep's part of the workers, for a person.
pub(crate) fn said(status: &SweepStatus) -> String {
    let limit = match status.max_workers {
        0 => "all workers".to_owned(),
        limit => format!("at most {}", counted(u64::from(limit), "worker")),
    };
    format!("priority {}, {limit}, {} in use", status.priority, status.workers)
}
