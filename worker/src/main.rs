//! `secateur-worker`: the worker alone, for nodes that run nothing else.

use std::process::ExitCode;

use clap::{Parser, Subcommand};
use secateur_worker::{
    arguments::{self, Parsed},
    causes::with_causes,
    cli::{self, WorkerArguments},
    configuration::ConfigurationArguments,
    device_probe::{self, ProbeArguments},
    executor::{self, ExecutorArguments},
    logging::{self, LogFormat},
    signals,
};

/// Trains and prunes nets for a Secateur coordinator.
#[derive(Debug, Parser)]
#[command(name = "secateur-worker", version)]
struct Arguments {
    #[command(flatten)]
    worker: WorkerArguments,
    #[command(flatten)]
    _configuration: ConfigurationArguments,
    /// Log one JSON object per line
    #[arg(long)]
    log_json: bool,
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    #[command(hide = true)]
    Executor(ExecutorArguments),
    #[command(hide = true)]
    Probe(ProbeArguments),
}

#[tokio::main]
async fn main() -> ExitCode {
    let Parsed::<Arguments> { arguments, ignored } = arguments::parse().unwrap_or_else(|error| error.exit());
    let format = if arguments.log_json { LogFormat::Json } else { LogFormat::Text };
    let ended = match arguments.verb {
        Some(Verb::Executor(arguments)) => {
            logging::start("warn", format);
            executor::main(&arguments).map_err(|error| with_causes(&error))
        }
        Some(Verb::Probe(arguments)) => {
            logging::start("warn", format);
            Ok(device_probe::main(&arguments))
        }
        None => {
            logging::start("info", format);
            ignored.iter().for_each(|ignored| tracing::warn!("{ignored}"));
            let ended = if arguments.worker.list_devices {
                tokio::select! {
                    ended = cli::print_devices() => ended,
                    () = signals::interrupted() => Ok(ExitCode::from(cli::INTERRUPTED)),
                }
            } else {
                // It has an end of its own to an interruption.
                cli::work(arguments.worker).await
            };
            ended.map_err(|error| with_causes(&error))
        }
    };
    ended.unwrap_or_else(|message| {
        tracing::error!("{message}");
        ExitCode::from(2)
    })
}
