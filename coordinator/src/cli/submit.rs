//! `secateur submit`: send a sweep to a coordinator. `extend` sends a file in the same way.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use secateur_proto::v1::submit_reply::Was;
use secateur_worker::arguments;
use serde_json::{Value, json};

use super::{
    client::{Client, ClientArguments, LocalSweep},
    error::CliError,
    manifest,
    output::Output,
    outputs,
    progress::Screen,
    retry, share, watch,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct SubmitArguments {
    /// Sweep file; - reads standard input. Its data are uploaded with it
    #[arg(value_parser = arguments::path())]
    sweep: PathBuf,
    #[command(flatten)]
    handing: HandingArguments,
}

/// The options of `submit` and `extend`.
#[derive(Debug, Args)]
pub(crate) struct HandingArguments {
    #[command(flatten)]
    pub(crate) coordinator: ClientArguments,
    /// Re-run the stages that failed before
    #[arg(long)]
    retry_failed: bool,
    #[command(flatten)]
    pub(crate) share: share::ShareArguments,
    /// Wait until the sweep ends
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    follow: watch::FollowArguments,
    /// Folder for the report at the end
    #[arg(long, value_name = "DIR", requires = "wait", value_parser = arguments::path())]
    out: Option<PathBuf>,
}

/// A sweep whose file was handed over.
pub(crate) struct Handed<'a> {
    /// Its id.
    pub(crate) id: String,
    /// What it is called.
    pub(crate) name: &'a str,
    /// What it is now, in words.
    pub(crate) was: String,
    /// What programs learn beside that.
    pub(crate) numbers: Value,
}

pub(crate) async fn run(arguments: SubmitArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    arguments.handing.check()?;
    let sweep = LocalSweep::read(&arguments.sweep, screen).await?;
    sweep.say_notes(screen);
    let mut client = Client::connect(&arguments.handing.coordinator).await?;
    let reply = client.submit(&sweep, arguments.handing.share.message()).await?;
    let was = known(reply.was()).unwrap_or("submitted").to_owned();
    let handed = Handed { id: reply.sweep_id, name: &sweep.plan.sweep.name, was, numbers: json!({}) };
    arguments.handing.go_on(client, handed, output, screen).await
}

/// The state of a sweep that the coordinator knew before. Returns `None` for a new one.
pub(crate) const fn known(was: Was) -> Option<&'static str> {
    match was {
        Was::Known => Some("already known"),
        Was::Stopped | Was::Draining => Some("resumed"),
        Was::New | Was::Unspecified => None,
    }
}

impl HandingArguments {
    /// Refuses what would fail at the end.
    pub(crate) fn check(&self) -> Result<(), CliError> {
        self.out.as_deref().map_or(Ok(()), outputs::check)
    }

    /// Prints the state of the sweep; with `--wait` follows it, and writes its report with `--out`.
    pub(crate) async fn go_on(
        self,
        mut client: Client,
        handed: Handed<'_>,
        output: Output,
        screen: &Screen,
    ) -> Result<ExitCode, CliError> {
        let Handed { id, name, was, numbers } = handed;
        if self.retry_failed {
            screen.say(&retry::said(&client.retry(&id).await?));
        }
        if !self.wait {
            screen.say(&format!("sweep {name} is {was}; follow it with: secateur watch {id}"));
            let mut document = json!({"sweep_id": id, "was": was});
            merge(&mut document, numbers);
            output.print(&document, || id.clone());
            return Ok(ExitCode::SUCCESS);
        }
        screen.say(&format!("sweep {name} ({id}) is {was}"));
        let status = client.follow(&id, screen, self.follow.patience()).await?;
        if let Some(folder) = &self.out {
            outputs::write(&mut client, &id, folder, screen).await?;
            manifest::write(folder, &id).await?;
        }
        Ok(watch::conclude(&status, self.out.as_deref(), numbers, output, screen))
    }
}

/// Adds the entries of one document to another.
pub(crate) fn merge(document: &mut Value, more: Value) {
    if let (Value::Object(document), Value::Object(more)) = (document, more) {
        document.extend(more);
    }
}
