//! The `secateur` command: one file a verb. Results go to standard output, everything else to standard error.

mod cancel;
mod cert;
pub(crate) mod client;
pub(crate) mod error;
mod explain;
mod forget;
mod gc;
mod journal;
mod list;
mod logs;
mod output;
mod outputs;
mod plan;
mod progress;
mod report;
mod retry;
#[cfg(feature = "worker")]
mod run;
mod schema;
mod serve;
mod settings;
mod share;
mod show;
mod strategies;
mod submit;
mod token;
mod watch;
#[cfg(feature = "worker")]
mod worker;
mod workers;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};
use clap_complete::Shell;
use secateur_worker::{
    logging::{self, LogFormat},
    signals,
};

use self::{error::CliError, output::Output, progress::Screen};

/// Distributed pruning experiments: from one YAML file to a Pareto-frontier report.
///
/// A sweep file says which data, which net, which pruning strategies, sparsities, regularization strengths and seeds. `secateur run`
/// does all of it on this machine; `secateur serve`, `secateur worker` and `secateur submit` do the same on many.
#[derive(Debug, Parser)]
#[command(name = "secateur", version, propagate_version = true, after_help = AFTER_HELP)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// What standard output gets: text for people, or one JSON document
    #[arg(long, global = true, value_enum, default_value_t, value_name = "FORMAT")]
    output: Output,
    /// Log one JSON object a line, on standard error
    #[arg(long, global = true)]
    log_json: bool,
}

const AFTER_HELP: &str = "\
Examples:
  secateur plan configs/sba-loans.yaml            what it would compute, and how much is shared
  secateur run configs/sba-loans.yaml             compute it here; the report lands in runs/
  secateur serve --data-dir /var/lib/secateur     coordinate others' work
  secateur worker --coordinator head:7400         work for that coordinator
  secateur submit sweep.yaml --wait --out report  let it compute, and fetch the report

Exit codes: 0 done; 1 something ran and failed; 2 the input is wrong; 3 the coordinator can't be reached; 130 interrupted.
Logs: SECATEUR_LOG=info (or debug, or secateur=debug,warn) says how much is logged.";

#[derive(Debug, Subcommand)]
enum Verb {
    /// Compute a sweep on this machine and write its report; run again, it goes on where it stopped
    #[cfg(feature = "worker")]
    Run(run::RunArguments),
    /// Say what a sweep would compute: cells, trials, shared stages, estimated work
    Plan(plan::PlanArguments),
    /// Coordinate: take sweeps from `submit`, hand work to `worker`s
    Serve(serve::ServeArguments),
    /// Work for a coordinator
    #[cfg(feature = "worker")]
    Worker(secateur_worker::cli::WorkerArguments),
    /// Hand a sweep to a coordinator
    Submit(submit::SubmitArguments),
    /// List a coordinator's sweeps
    Ls(list::ListArguments),
    /// Show one sweep and its trials
    Show(show::ShowArguments),
    /// Follow a sweep until it ends
    Watch(watch::WatchArguments),
    /// Give a sweep up; what has finished is kept
    Cancel(cancel::CancelArguments),
    /// Give a sweep another priority, or another number of workers
    Share(share::SetShareArguments),
    /// Say why a sweep waits, how a trial came to its end, or what a worker does
    Explain(explain::ExplainArguments),
    /// Do again what failed in a sweep, once its cause is gone; one that was cancelled or stopped goes on with it
    Retry(retry::RetryArguments),
    /// Show what workers said of a trial's stages, attempt by attempt
    Logs(logs::LogsArguments),
    /// Forget a sweep that does not run, so that `gc` can remove what it left
    Forget(forget::ForgetArguments),
    /// Remove the files of a coordinator that no sweep refers to
    Gc(gc::GcArguments),
    /// Fetch a sweep's report, also while it runs
    Report(report::ReportArguments),
    /// List the workers that are attached
    Workers(workers::WorkersArguments),
    /// Check, repair and compact the journal of a coordinator that does not run
    Journal(journal::JournalArguments),
    /// Make, list and revoke the tokens of a coordinator
    Token(token::TokenArguments),
    /// Make certificates for a coordinator and its workers
    Cert(cert::CertArguments),
    /// List the pruning strategies that a sweep file can name, with their formulas, sources and parameters
    Strategies,
    /// List the keys of the sweep file: what each is, its values and its default
    Settings,
    /// Print the JSON Schema of the sweep file, with which editors complete and check it
    Schema,
    /// Print shell completions, for example: secateur completions bash > /etc/bash_completion.d/secateur
    Completions {
        /// For which shell
        shell: Shell,
    },
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
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
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
    logging::start_to(screen.log_writer(), default, format);
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
        Verb::Serve(arguments) => serve::run(arguments).await,
        #[cfg(feature = "worker")]
        Verb::Worker(arguments) => worker::run(arguments, output, screen).await,
        Verb::Submit(arguments) => submit::run(arguments, output, screen).await,
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
        Verb::Report(arguments) => report::run(arguments, output).await,
        Verb::Workers(arguments) => workers::run(arguments, output).await,
        Verb::Journal(arguments) => journal::run(arguments, output).await,
        Verb::Token(arguments) => token::run(arguments, output),
        Verb::Cert(arguments) => cert::run(arguments, output),
        Verb::Strategies => strategies::run(output),
        Verb::Settings => settings::run(output),
        Verb::Schema => schema::run(),
        Verb::Completions { shell } => {
            let mut script = vec![];
            clap_complete::generate(shell, &mut Arguments::command(), "secateur", &mut script);
            output::print(&String::from_utf8_lossy(&script));
            Ok(ExitCode::SUCCESS)
        }
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
        Arguments::command().debug_assert();
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
        let mut command = Arguments::command();
        command.build();
        let mut help = String::new();
        print(&mut command, &mut help);
        insta::assert_snapshot!(help);
    }
}
