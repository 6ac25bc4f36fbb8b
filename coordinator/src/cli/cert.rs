//! `secateur cert`: certificates for a start without an authority of one's own.

use std::{net::IpAddr, path::PathBuf, process::ExitCode};

use clap::{Args, Subcommand};
use secateur_worker::arguments;
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
    /// Create a private authority, a certificate for the coordinator and one for its workers, valid for 825 days
    Init {
        /// Folder to write to. Existing files are not overwritten
        #[arg(long, default_value = "certs", value_name = "DIR", value_parser = arguments::path())]
        dir: PathBuf,
        /// Name or address by which clients reach the coordinator. Separate several with commas, or repeat --host
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
    Err("not a host name or address such as head.example or 10.0.0.5".to_owned())
}

pub(crate) fn run(arguments: CertArguments, output: Output) -> Result<ExitCode, CliError> {
    let Verb::Init { dir, hosts } = arguments.verb;
    certificates::init(&dir, &hosts).map_err(|error| CliError::input(&error))?;
    let file = |name: &str| dir.join(name).display().to_string();
    let files: Vec<String> = certificates::FILES.iter().map(|name| file(name)).collect();
    output.print(&json!({"files": files, "hosts": hosts}), || {
        format!(
            "\
coordinator:  secateur serve --listen ADDRESS:7400 --tls-cert {} --tls-key {}
              add --client-ca {} to accept worker certificates instead of tokens
clients:      --ca {} or SECATEUR_CA; copy this file to each machine
workers:      --cert {} --key {} instead of a token
Keep {} secret: whoever has it can impersonate the coordinator.",
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
