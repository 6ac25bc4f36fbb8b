//! The `secateur` command: one file a verb. Results go to standard output, everything else to standard error.

mod backup;
mod cancel;
mod cert;
mod chosen;
pub(crate) mod client;
mod config;
mod data_dir;
mod diff;
mod dossier;
pub(crate) mod error;
mod explain;
mod export;
mod extend;
#[cfg(feature = "worker")]
mod folder;
mod forget;
mod gc;
mod init;
mod inputs;
mod inspect;
mod journal;
mod list;
mod logs;
mod man;
mod manifest;
mod output;
mod outputs;
mod plan;
mod progress;
mod provision;
mod reading;
mod report;
mod retry;
#[cfg(feature = "worker")]
mod run;
mod saved;
mod schema;
mod score;
mod serve;
mod settings;
mod share;
mod show;
mod source;
mod strategies;
mod submit;
mod tables;
mod token;
mod verify;
mod watch;
#[cfg(feature = "worker")]
mod worker;
mod workers;

use std::process::ExitCode;

use clap::{ArgAction, Command, CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use secateur_worker::{
    arguments::{self, Parsed},
    configuration::{self, ConfigurationArguments},
    logging::{self, LogFormat},
    signals,
};

use self::{error::CliError, output::Output, progress::Screen};

/// Run pruning experiments: from one YAML file to a Pareto-front report, on one machine or a cluster.
///
/// A sweep file names the data, the net, the pruning strategies, the sparsities, the regularization and the seeds. `secateur run`
/// computes it on this machine. `secateur serve`, `secateur worker` and `secateur submit` compute it on a cluster.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, propagate_version = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Format of standard output. Logs and progress go to standard error
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    /// Log one JSON object per line
    #[arg(long, global = true, env = "SECATEUR_LOG_JSON")]
    log_json: bool,
    /// Log more: info, with -vv debug. SECATEUR_LOG overrides this
    #[arg(short, long, global = true, action = ArgAction::Count, conflicts_with = "quiet")]
    verbose: u8,
    /// Log errors only
    #[arg(short, long, global = true)]
    quiet: bool,
    #[command(flatten)]
    _configuration: ConfigurationArguments,
}

impl Arguments {
    /// The command line without variables and configuration.
    fn plain() -> Command {
        Self::command()
    }
}

const AFTER_HELP: &str = "\
Examples:
  secateur inspect loans.csv                      show what a table holds
  secateur init loans.csv --target y > s.yaml     write a first sweep file for it
  secateur plan configs/sba-loans.yaml            show what the sweep would compute
  secateur run configs/sba-loans.yaml             compute it on this machine; the report is in runs/
  secateur serve --data-dir /var/lib/secateur     run a coordinator
  secateur worker --coordinator head:7400         run a worker for it
  secateur score MODEL new.csv --out scores.csv   score new rows with a net of runs/*/models/
  secateur submit sweep.yaml --wait --out report  send it a sweep, wait, and fetch the report

Exit codes: 0 success; 1 something ran and failed; 2 wrong input; 3 coordinator unreachable; 130 interrupted.
Environment: SECATEUR_LOG sets the log level: warn, info, debug, or per module, as in secateur=debug,warn.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compute a sweep on this machine and write its report. Run it again to resume
    #[cfg(feature = "worker")]
    Run(run::RunArguments),
    /// Show what a sweep would compute: cells, trials, shared stages, estimated work
    Plan(plan::PlanArguments),
    /// Show what a table holds: types, missing values, ranges, and what is suspicious
    Inspect(inspect::InspectArguments),
    /// Write a first sweep file for a table
    Init(init::InitArguments),
    /// Run a coordinator: accept sweeps from `submit` and hand work to `worker`s
    Serve(serve::ServeArguments),
    /// Run a worker for a coordinator
    #[cfg(feature = "worker")]
    Worker(secateur_worker::cli::WorkerArguments),
    /// Send a sweep to a coordinator
    Submit(submit::SubmitArguments),
    /// Add the new trials of a grown sweep file to a sweep. Existing trials are not recomputed
    Extend(extend::ExtendArguments),
    /// List the sweeps of a coordinator
    Ls(list::ListArguments),
    /// Show one sweep and its trials
    Show(show::ShowArguments),
    /// Follow a sweep until it ends
    Watch(watch::WatchArguments),
    /// Cancel a sweep and keep its results
    Cancel(cancel::CancelArguments),
    /// Change the priority or the number of workers of a sweep
    Share(share::SetShareArguments),
    /// Explain why a sweep waits, how a trial ended, or what a worker does
    Explain(explain::ExplainArguments),
    /// Re-run the failed stages of a sweep. A cancelled or stopped sweep resumes
    Retry(retry::RetryArguments),
    /// Show the logs of a trial's stages, attempt by attempt
    Logs(logs::LogsArguments),
    /// Delete a sweep that is not running, so that `gc` can remove its files
    Forget(forget::ForgetArguments),
    /// Remove the files of a coordinator that no sweep refers to
    Gc(gc::GcArguments),
    /// Fetch the report of a sweep, also while it runs
    Report(report::ReportArguments),
    /// Show what differs between two sweeps: settings, work, results, conclusions
    Diff(diff::DiffArguments),
    /// Export a trained net as ONNX and safetensors, with a model card and ten test rows
    Export(export::ExportArguments),
    /// Write the model-change dossier of a net: HTML that prints, and Markdown
    Dossier(dossier::DossierArguments),
    /// Write everything that a sweep measured as tables: CSV or Parquet, down to the score of each row
    Tables(tables::TablesArguments),
    /// Score the rows of a table with a net of a finished run
    Score(score::ScoreArguments),
    /// Submit workers as jobs of a cluster while work waits, and end them when there is none
    Provision(provision::ProvisionArguments),
    /// Check that a folder of a run is as it was written, and that its report follows from its data
    Verify(verify::VerifyArguments),
    /// List the attached workers, or cordon, uncordon or drain one
    Workers(workers::WorkersArguments),
    /// Check, repair or compact the journal of a stopped coordinator
    Journal(journal::JournalArguments),
    /// Back up a coordinator of this machine while it runs
    Backup(backup::BackupArguments),
    /// Restore a backup to a new folder, and check every file and the journal
    Restore(backup::RestoreArguments),
    /// Create, rotate, list and revoke access tokens of a coordinator
    Token(token::TokenArguments),
    /// Create, renew, list and revoke TLS certificates
    Cert(cert::CertArguments),
    /// Show the configuration: each option's value and where it comes from
    Config(config::ConfigArguments),
    /// List the pruning strategies with their formulas, parameters and sources
    Strategies,
    /// List the keys of the sweep file with their values and defaults
    Settings,
    /// Print the JSON Schema of the sweep file, for editors
    Schema,
    /// Print shell completions, for example: secateur completions bash > /etc/bash_completion.d/secateur
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Write manual pages, one for each command
    Man(man::ManArguments),
    #[cfg(feature = "worker")]
    #[command(hide = true)]
    Executor(secateur_worker::executor::ExecutorArguments),
    #[cfg(feature = "worker")]
    #[command(hide = true)]
    Probe(secateur_worker::device_probe::ProbeArguments),
}

/// Runs the command that the process was started with.
#[must_use]
pub fn main() -> ExitCode {
    let Parsed::<Arguments> { arguments, ignored } = match arguments::parse() {
        Ok(parsed) => parsed,
        Err(error) => return refuse(&error),
    };
    let screen = Screen::new();
    let format = if arguments.log_json { LogFormat::Json } else { LogFormat::Text };
    let default = match &arguments.verb {
        Verb::Serve(_) => "info",
        #[cfg(feature = "worker")]
        Verb::Worker(_) => "info",
        _ => "warn",
    };
    let default = match (arguments.quiet, arguments.verbose, default) {
        (true, ..) => "error",
        (false, 0, default) => default,
        (false, 1, "warn") => "info",
        // Of this program alone: the logs of its libraries do not help its users.
        (false, ..) => "info,secateur=debug,secateur_worker=debug",
    };
    logging::start_to(screen.log_writer(), default, format);
    ignored.iter().for_each(|ignored| tracing::warn!("{ignored}"));
    #[cfg(feature = "worker")]
    match &arguments.verb {
        Verb::Executor(arguments) => {
            return secateur_worker::executor::main(arguments).unwrap_or_else(|error| {
                tracing::error!("{}", secateur_worker::causes::with_causes(&error));
                ExitCode::FAILURE
            });
        }
        Verb::Probe(arguments) => return secateur_worker::device_probe::main(arguments),
        _ => {}
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return CliError::failed(&error).report(arguments.output, &screen),
    };
    let output = arguments.output;
    let ended = runtime.block_on(async {
        // Coordinators and workers have an end of their own to an interruption.
        let has_its_own = match &arguments.verb {
            Verb::Serve(_) => true,
            #[cfg(feature = "worker")]
            Verb::Worker(worker) => !worker.list_devices,
            _ => false,
        };
        if has_its_own {
            return dispatch(arguments.verb, output, &screen).await;
        }
        tokio::select! {
            ended = dispatch(arguments.verb, output, &screen) => ended,
            () = signals::interrupted() => Err(CliError::Interrupted),
        }
    });
    // Blocking tasks, such as a plan that is being made, are not waited for.
    runtime.shutdown_background();
    let code = ended.unwrap_or_else(|error| error.report(output, &screen));
    if code == ExitCode::SUCCESS && !output::is_complete() { ExitCode::FAILURE } else { code }
}

/// The command line with the variables of its options.
fn command() -> Command {
    configuration::with_variables(Arguments::command())
}

/// Ends a command line that cannot be understood, or that asks for help.
fn refuse(error: &clap::Error) -> ExitCode {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let json =
        words.iter().any(|word| word == "--output=json") || words.windows(2).any(|pair| pair == ["--output", "json"]);
    if error.use_stderr() && json {
        return CliError::Input(error.render().to_string().trim_end().to_owned()).report(Output::Json, &Screen::new());
    }
    error.exit()
}

async fn dispatch(verb: Verb, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    match verb {
        #[cfg(feature = "worker")]
        Verb::Run(arguments) => run::run(arguments, output, screen).await,
        Verb::Plan(arguments) => plan::run(arguments, output, screen).await,
        Verb::Inspect(arguments) => inspect::run(arguments, output, screen).await,
        Verb::Init(arguments) => init::run(arguments, output, screen).await,
        Verb::Serve(arguments) => serve::run(arguments).await,
        #[cfg(feature = "worker")]
        Verb::Worker(arguments) => worker::run(arguments, output, screen).await,
        Verb::Submit(arguments) => submit::run(arguments, output, screen).await,
        Verb::Extend(arguments) => extend::run(arguments, output, screen).await,
        Verb::Ls(arguments) => list::run(arguments, output).await,
        Verb::Show(arguments) => show::run(arguments, output).await,
        Verb::Watch(arguments) => watch::run(arguments, output, screen).await,
        Verb::Cancel(arguments) => cancel::run(arguments, output).await,
        Verb::Explain(arguments) => explain::run(arguments, output).await,
        Verb::Logs(arguments) => logs::run(arguments, output, screen).await,
        Verb::Share(arguments) => share::run(arguments, output).await,
        Verb::Retry(arguments) => retry::run(arguments, output).await,
        Verb::Forget(arguments) => forget::run(arguments, output).await,
        Verb::Gc(arguments) => gc::run(arguments, output).await,
        Verb::Report(arguments) => report::run(arguments, output, screen).await,
        Verb::Diff(arguments) => diff::run(arguments, output, screen).await,
        Verb::Export(arguments) => export::run(arguments, output).await,
        Verb::Dossier(arguments) => dossier::run(arguments, output).await,
        Verb::Tables(arguments) => tables::run(arguments, output, screen).await,
        Verb::Score(arguments) => score::run(arguments, output, screen).await,
        Verb::Provision(arguments) => provision::run(arguments, output).await,
        Verb::Verify(arguments) => verify::run(arguments, output, screen).await,
        Verb::Workers(arguments) => workers::run(arguments, output).await,
        Verb::Journal(arguments) => journal::run(arguments, output).await,
        Verb::Backup(arguments) => backup::make(arguments, output).await,
        Verb::Restore(arguments) => backup::restore(arguments, output).await,
        Verb::Token(arguments) => token::run(arguments, output),
        Verb::Cert(arguments) => cert::run(arguments, output),
        Verb::Config(arguments) => config::run(&arguments, output),
        Verb::Strategies => strategies::run(output),
        Verb::Settings => settings::run(output),
        Verb::Schema => schema::run(),
        Verb::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut command(), "secateur", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
        Verb::Man(arguments) => man::run(&arguments, command(), output),
        // Handled before there is a runtime: they have none.
        #[cfg(feature = "worker")]
        Verb::Executor(_) | Verb::Probe(_) => Ok(ExitCode::FAILURE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        command().debug_assert();
    }

    #[test]
    #[cfg(feature = "worker")]
    fn the_help_of_every_verb() {
        fn print(command: &mut clap::Command, help: &mut String) {
            // Whatever the environment of the test has is nobody's default.
            let quiet = std::mem::take(command).mut_args(|argument| argument.hide_env_values(true));
            *command = quiet;
            *help += &format!("{}\n\n", command.render_long_help());
            for verb in command.get_subcommands_mut().filter(|verb| !verb.is_hide_set() && verb.get_name() != "help") {
                *help += &format!("{:=<100}\n", "");
                print(verb, help);
            }
        }
        let mut command = command();
        command.build();
        let mut help = String::new();
        print(&mut command, &mut help);
        insta::assert_snapshot!(help);
    }
}
