//! `secateur cert`: certificates for a start without an authority of one's own.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use serde_json::json;

use super::{error::CliError, output::Output};
use crate::security::certificates;

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct CertArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a private authority, a certificate for the coordinator and one for its workers, good for 825 days
    Init {
        /// Folder to write to; nothing in it is overwritten
        #[arg(long, default_value = "certs", value_name = "DIR")]
        dir: PathBuf,
        /// How callers reach the coordinator: a name or an address; several with commas or with --host again
        #[arg(long = "host", value_name = "NAME", value_delimiter = ',', default_value = "localhost,127.0.0.1", value_parser = host)]
        hosts: Vec<String>,
    },
}

/// A name or an address, without a port.
fn host(text: &str) -> Result<String, String> {
    let is_name = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._*".contains(letter));
    if text.parse::<IpAddr>().is_ok() || is_name && !text.is_empty() {
        return Ok(text.to_owned());
    }
    Err("it is no name or address of a machine, such as head.example or 10.0.0.5".to_owned())
}

pub(crate) fn run(arguments: CertArguments, output: Output) -> Result<ExitCode, CliError> {
    let Verb::Init { dir, hosts } = arguments.verb;
    certificates::init(&dir, &hosts).map_err(|error| CliError::input(&error))?;
    let file = |name: &str| dir.join(name).display().to_string();
    let files: Vec<String> = certificates::FILES.iter().map(|name| file(name)).collect();
    output.print(&json!({"files": files, "hosts": hosts}), || {
        format!(
            "\
the coordinator:  secateur serve --listen ADDRESS:7400 --tls-cert {} --tls-key {}
  and, for workers that show a certificate in place of a token: --client-ca {}
everybody else:   --ca {} (a copy of this file alone), or SECATEUR_CA
such workers too: --cert {} --key {}
keep {} where nobody can reach it: who has it can pass for the coordinator",
            file("server.pem"),
            file("server.key"),
            file("ca.pem"),
            file("ca.pem"),
            file("worker.pem"),
            file("worker.key"),
            file("ca.key"),
        )
    });
    Ok(ExitCode::SUCCESS)
}
