//! `secateur extend`: add the new trials of a grown sweep file to a sweep.

use std::{path::PathBuf, process::ExitCode};

use clap::Args;
use secateur_proto::v1::ExtendReply;
use secateur_worker::arguments;
use serde_json::json;

use super::{
    client::{Client, LocalSweep},
    error::CliError,
    output::{Output, counted},
    progress::Screen,
    submit::{Handed, HandingArguments, known},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ExtendArguments {
    /// Id or name of the sweep, or an unambiguous prefix
    sweep_id: String,
    /// Sweep file; - reads standard input. It must still contain every trial of the sweep
    #[arg(value_parser = arguments::path())]
    sweep: PathBuf,
    #[command(flatten)]
    handing: HandingArguments,
}

pub(crate) async fn run(arguments: ExtendArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    arguments.handing.check()?;
    let sweep = LocalSweep::read(&arguments.sweep, screen).await?;
    sweep.say_notes(screen);
    let mut client = Client::connect(&arguments.handing.coordinator).await?;
    let reply = client.extend(&arguments.sweep_id, &sweep, arguments.handing.share.message()).await?;
    let numbers = json!({"extended": reply.extended, "new_trials": reply.new_trials, "new_stages": reply.new_stages});
    let handed = Handed { name: &sweep.plan.sweep.name, was: said(&reply), id: reply.sweep_id, numbers };
    arguments.handing.go_on(client, handed, output, screen).await
}

/// The state of a sweep after an extension, in words.
pub(crate) fn said(reply: &ExtendReply) -> String {
    let was = known(reply.was()).unwrap_or("already known");
    match (reply.extended, reply.new_trials) {
        (false, _) => format!("{was}; the file adds no trials"),
        (true, 0) => "updated: the file adds no trials, and the report follows it".to_owned(),
        (true, trials) => {
            format!("extended by {} ({})", counted(trials, "trial"), counted(reply.new_stages, "new stage"))
        }
    }
}

#[cfg(test)]
mod tests {
    use secateur_proto::v1::submit_reply::Was;

    use super::*;

    #[test]
    fn what_is_said_of_extensions() {
        let reply = |extended, new_trials, new_stages, was: Was| ExtendReply {
            sweep_id: "s".to_owned(),
            new_trials,
            new_stages,
            extended,
            was: was.into(),
        };
        let replies = [
            reply(true, 12, 30, Was::Known),
            reply(true, 1, 1, Was::Stopped),
            reply(true, 0, 0, Was::Known),
            reply(false, 0, 0, Was::Known),
            reply(false, 0, 0, Was::Stopped),
        ];
        insta::assert_snapshot!(replies.each_ref().map(said).join("\n"));
    }
}
