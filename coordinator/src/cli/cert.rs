//! `secateur cert`: certificates of a private authority, from the first day to their revocation.

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::SystemTime,
};

use clap::{Args, Subcommand};
use secateur_worker::{arguments, private};
use serde_json::json;
use time::OffsetDateTime;
use tracing::warn;

use super::{
    data_dir::DataDirArguments,
    error::CliError,
    output::{Output, table},
};
use crate::security::{
    Audit,
    authority::{self, Authority, Subject},
    certificates::{CertificateError, Described, PREFIX, time_left},
    revoked::Revoked,
    tls::WARN_DAYS,
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct CertArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Create a private authority, a certificate for the coordinator and one for its workers
    Init {
        #[command(flatten)]
        folder: FolderArguments,
        /// Name or address by which clients reach the coordinator. Separate several with commas, or repeat --host
        /// [default: the name of this machine]. localhost, 127.0.0.1 and ::1 are always added
        #[arg(long = "host", value_name = "NAME", value_delimiter = ',', value_parser = host)]
        hosts: Vec<String>,
        #[command(flatten)]
        validity: ValidityArguments,
    },
    /// Issue a further certificate: for a coordinator (--host) or for a client (--client)
    Issue {
        #[command(flatten)]
        folder: FolderArguments,
        /// Name or address of a coordinator. Separate several with commas, or repeat --host. localhost, 127.0.0.1 and ::1 are added
        #[arg(long = "host", value_name = "NAME", value_delimiter = ',', value_parser = host, required_unless_present = "client")]
        hosts: Vec<String>,
        /// Name of a client, which uses the certificate instead of a token, for example gpu-1
        #[arg(long, value_name = "NAME", value_parser = name, conflicts_with = "hosts")]
        client: Option<String>,
        /// Name of the files, without .pem and .key [default: the name of the client or of the first host]
        #[arg(long, value_name = "NAME", value_parser = name)]
        name: Option<String>,
        #[command(flatten)]
        validity: ValidityArguments,
    },
    /// Renew certificates. Keys and names stay, so only the .pem files have to be copied
    Renew {
        #[command(flatten)]
        folder: FolderArguments,
        /// Certificates to renew, by their file names without .pem [default: all of the folder, and the authority if it ends sooner]
        #[arg(value_name = "NAME", value_parser = name)]
        names: Vec<String>,
        /// Further name or address of the coordinator. Needs NAME
        #[arg(long = "host", value_name = "NAME", value_delimiter = ',', value_parser = host, requires = "names")]
        hosts: Vec<String>,
        #[command(flatten)]
        validity: ValidityArguments,
    },
    /// List the certificates of a folder with their names and the time left
    List {
        #[command(flatten)]
        folder: FolderArguments,
    },
    /// Revoke the certificate of a client. Its connections end within seconds
    Revoke {
        /// PEM file of the certificate, or its name in audit.jsonl, for example certificate-0123456789ab
        #[arg(value_name = "FILE|NAME")]
        certificate: String,
        #[command(flatten)]
        folder: DataDirArguments,
    },
}

#[derive(Debug, Args)]
struct FolderArguments {
    /// Folder of the authority and its certificates
    #[arg(long, default_value = "certs", value_name = "DIR", value_parser = arguments::path())]
    dir: PathBuf,
}

#[derive(Debug, Args)]
struct ValidityArguments {
    /// Let certificates expire after N days. The authority is valid for 3650 days
    #[arg(long, value_name = "N", default_value_t = authority::DAYS, value_parser = clap::value_parser!(u32).range(1..=3650))]
    days: u32,
}

/// A name or an address, without a port.
fn host(text: &str) -> Result<String, String> {
    let is_name = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._*".contains(letter));
    if text.parse::<IpAddr>().is_ok() || is_name && !text.is_empty() {
        return Ok(text.to_owned());
    }
    Err("not a host name or address such as head.example or 10.0.0.5".to_owned())
}

/// A name that is also the name of a file.
fn name(text: &str) -> Result<String, String> {
    let is_name = text.chars().all(|letter| letter.is_ascii_alphanumeric() || "-._".contains(letter));
    if is_name && text.len() <= 64 && text.starts_with(|letter: char| letter.is_ascii_alphanumeric()) {
        return Ok(text.to_owned());
    }
    Err("expected 1 to 64 letters, digits, '-', '_' and '.', the first a letter or a digit".to_owned())
}

pub(crate) fn run(arguments: CertArguments, output: Output) -> Result<ExitCode, CliError> {
    let failed = |error: CertificateError| CliError::input(&error);
    match arguments.verb {
        Verb::Init { folder: FolderArguments { dir }, hosts, validity } => {
            let hosts =
                with_own_names(if hosts.is_empty() { arguments::host_name().into_iter().collect() } else { hosts });
            let files = authority::init(&dir, &hosts, validity.days).map_err(failed)?;
            output.print(&json!({"files": files, "hosts": hosts}), || first_steps(&dir, &hosts));
        }
        Verb::Issue { folder: FolderArguments { dir }, hosts, client, name, validity } => {
            let authority = Authority::open(&dir).map_err(failed)?;
            let (by_default, subject) = match client {
                Some(client) => (client.clone(), Subject::Client(client)),
                None => (file_name(hosts.first()), Subject::Coordinator(with_own_names(hosts))),
            };
            let issued = authority.issue(&name.unwrap_or(by_default), &subject, validity.days).map_err(failed)?;
            let described = Described::read(&issued.certificate).map_err(failed)?;
            output.print(
                &json!({"certificate": issued.certificate, "key": issued.key, "described": document(&described)}),
                || {
                    format!(
                        "{} and {} for {}, valid until {}",
                        issued.certificate.display(),
                        issued.key.display(),
                        names_of(&described),
                        described.ends.date()
                    )
                },
            );
        }
        Verb::Renew { folder: FolderArguments { dir }, names, hosts, validity } => {
            let authority = Authority::open(&dir).map_err(failed)?;
            let all = names.is_empty();
            let names = if all { authority::names(&dir).map_err(failed)? } else { names };
            let mut renewed = Vec::new();
            let mut authority = Some(authority);
            for name in names {
                let Some(opened) = &authority else { break };
                let is_authority = name == "ca";
                // A certificate without its key came from elsewhere, as the ca.pem of another coordinator may.
                if all && (is_authority && !opened.ends_before(validity.days) || !authority::key(&dir, &name).exists())
                {
                    continue;
                }
                renewed.push((name.clone(), opened.renew(&name, &hosts, validity.days).map_err(failed)?));
                if is_authority {
                    // What is signed from here on may last longer.
                    authority = Some(Authority::open(&dir).map_err(failed)?);
                }
            }
            let documents: Vec<_> =
                renewed.iter().map(|(name, own)| json!({"name": name, "described": document(own)})).collect();
            output.print(&documents, || {
                let said = renewed.iter().map(|(name, own)| {
                    format!("renewed {} until {} ({})", authority::cert(&dir, name).display(), own.ends.date(), names_of(own))
                });
                let next = "reload a running coordinator with SIGHUP (systemctl reload secateur-serve); workers read their files at the next connection";
                said.chain([next.to_owned()]).collect::<Vec<_>>().join("\n")
            });
        }
        Verb::List { folder: FolderArguments { dir } } => list(&dir, output)?,
        Verb::Revoke { certificate, folder } => revoke(&certificate, &folder.existing()?, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The hosts, and the names that a machine has for itself.
fn with_own_names(mut hosts: Vec<String>) -> Vec<String> {
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !hosts.iter().any(|host| host == own) {
            hosts.push(own.to_owned());
        }
    }
    hosts
}

/// The name of the files of a coordinator's certificate.
fn file_name(host: Option<&String>) -> String {
    let is_allowed = |letter: char| letter.is_ascii_alphanumeric() || "-._".contains(letter);
    let host = host.map(String::as_str).unwrap_or_default().trim_start_matches(|letter| !is_allowed(letter));
    host.trim_start_matches(['.', '-', '_'])
        .chars()
        .map(|letter| if is_allowed(letter) { letter } else { '-' })
        .collect()
}

fn first_steps(dir: &Path, hosts: &[String]) -> String {
    let file = |name: &str| dir.join(name).display().to_string();
    format!(
        "\
coordinator:  secateur serve --listen ADDRESS:7400 --tls-cert {} --tls-key {}
              add --client-ca {} to accept client certificates instead of tokens
names:        {}
clients:      --ca {} or SECATEUR_CA; copy this file to each machine
workers:      --cert {} --key {} instead of a token; `secateur cert issue --client NAME` makes one for each
Keep {} secret: whoever has it can impersonate the coordinator.",
        file("server.pem"),
        file("server.key"),
        file("ca.pem"),
        hosts.join(", "),
        file("ca.pem"),
        file("worker.pem"),
        file("worker.key"),
        file("ca.key"),
    )
}

fn document(described: &Described) -> serde_json::Value {
    json!({
        "certificate": described.name,
        "purpose": described.purpose,
        "subject": described.subject,
        "hosts": described.hosts,
        "expires_at": described.ends.unix_timestamp(),
        "days_left": described.days_left(OffsetDateTime::now_utc()),
    })
}

/// Whom a certificate is for.
fn names_of(described: &Described) -> String {
    if described.hosts.is_empty() { described.subject.clone() } else { described.hosts.join(", ") }
}

fn list(dir: &Path, output: Output) -> Result<(), CliError> {
    let failed = |error: CertificateError| CliError::input(&error);
    let mut found = Vec::new();
    for name in authority::names(dir).map_err(failed)? {
        let path = authority::cert(dir, &name);
        match Described::read(&path) {
            Ok(described) => found.push((path, described)),
            Err(error) => warn!("skipped: {error}"),
        }
        let key = authority::key(dir, &name);
        if key.exists() {
            private::warn_if_readable(&key, "private key");
        }
    }
    let now = OffsetDateTime::now_utc();
    let documents: Vec<_> = found
        .iter()
        .map(|(path, own)| {
            let mut document = document(own);
            document["file"] = json!(path);
            document
        })
        .collect();
    output.print(&documents, || {
        let row = |(path, own): &(PathBuf, Described)| {
            let days = own.days_left(now);
            let left = time_left(days);
            let left = match days {
                ..0 => format!("expired {left}"),
                0..WARN_DAYS => format!("{left}: renew it"),
                _ => left,
            };
            let file = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            vec![file, own.purpose.name().to_owned(), names_of(own), own.ends.date().to_string(), left]
        };
        table(&["file", "for", "names", "expires", "left"], 5, found.iter().map(row))
    });
    Ok(())
}

fn revoke(certificate: &str, folder: &Path, output: Output) -> Result<(), CliError> {
    let (name, subject) = if certificate.starts_with(PREFIX) {
        (certificate.to_owned(), None)
    } else {
        let described = Described::read(&arguments::at_home(Path::new(certificate)));
        let described = described.map_err(|error| CliError::input(&error))?;
        (described.name, Some(described.subject))
    };
    let added =
        Revoked::add(folder, &name, subject.clone(), SystemTime::now()).map_err(|error| CliError::input(&error))?;
    output.print(&json!({"certificate": name, "subject": subject, "revoked": true, "was_revoked": !added}), || {
        let subject = subject.map(|subject| format!(" ({subject})")).unwrap_or_default();
        if added {
            format!("revoked {name}{subject}: it is refused from now on, and its connections end within seconds")
        } else {
            format!("{name}{subject} was already revoked")
        }
    });
    if added {
        let failed = |error| CliError::Failed(format!("the change was made, but cannot write the audit log: {error}"));
        Audit::open(folder).map_err(failed)?.done_here("revoke-certificate", &name, None);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_become_names_of_files() {
        let of = |host: &str| file_name(Some(&host.to_owned()));
        assert_eq!(of("head.example"), "head.example");
        assert_eq!(of("*.example"), "example");
        assert_eq!(of("::1"), "1");
        assert_eq!(of("fe80::1"), "fe80--1");
        for right in ["gpu-1", "a", "1.x_y"] {
            assert_eq!(name(right).as_deref(), Ok(right));
        }
        for wrong in ["", ".x", "-x", "../x", "a b", &"x".repeat(65)] {
            assert!(name(wrong).is_err(), "{wrong:?}");
        }
    }
}
