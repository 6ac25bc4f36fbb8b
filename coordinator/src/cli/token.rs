//! `secateur token`: who may call a coordinator. Works on its folder, and it notices at once.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, ValueEnum};
use serde_json::json;
use time::OffsetDateTime;
use tracing::warn;

use super::{
    error::CliError,
    output::{Output, table},
};
use crate::security::{
    Audit, Role,
    tokens::{Token, Tokens},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct TokenArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a token and print it: it is shown this once. From the first one on the coordinator wants one of everybody
    Create {
        /// Whose it is, or what for, such as gpu-nodes
        name: String,
        /// What it opens: admin everything; submit sweeps, reports and data; worker the work; read reports and their nets
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// Days until it opens nothing any more [default: never]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=36500))]
        days: Option<u64>,
        #[command(flatten)]
        folder: FolderArguments,
    },
    /// List the tokens, which nobody can print a second time
    List {
        #[command(flatten)]
        folder: FolderArguments,
    },
    /// Make a token open nothing any more; workers that came in with it are sent away within seconds
    Revoke {
        /// Its name
        name: String,
        #[command(flatten)]
        folder: FolderArguments,
    },
}

#[derive(Debug, Args)]
struct FolderArguments {
    /// The folder of the coordinator, as `secateur serve` has it
    #[arg(long, default_value = "secateur-data", value_name = "DIR")]
    data_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArgument {
    Admin,
    Submit,
    Worker,
    Read,
}

impl From<RoleArgument> for Role {
    fn from(role: RoleArgument) -> Self {
        match role {
            RoleArgument::Admin => Self::Admin,
            RoleArgument::Submit => Self::Submit,
            RoleArgument::Worker => Self::Worker,
            RoleArgument::Read => Self::Read,
        }
    }
}

pub(crate) fn run(arguments: TokenArguments, output: Output) -> Result<ExitCode, CliError> {
    let now = SystemTime::now();
    match arguments.verb {
        Verb::Create { name, role, days, folder } => {
            let lifetime = days.map(|days| Duration::from_secs(days * 24 * 3600));
            let is_new = !folder.data_dir.exists();
            let token = Tokens::change(&folder.data_dir, |tokens| tokens.create(&name, role.into(), now, lifetime));
            let token = token.map_err(|error| CliError::input(&error))?;
            if is_new {
                let folder = folder.data_dir.display();
                warn!(
                    "there was no folder {folder}, and it was made: the token is for the coordinator that is started with --data-dir {folder}"
                );
            }
            // It can be printed but now, whatever becomes of the log.
            output.print(&json!({"name": name, "role": Role::from(role), "token": token}), || token.clone());
            note(&folder.data_dir, "create-token", &name, role.into())?;
        }
        Verb::List { folder } => {
            folder.is_there()?;
            let tokens = Tokens::read(&folder.data_dir).map_err(|error| CliError::input(&error))?;
            let tokens = tokens.as_ref().map_or(&[][..], Tokens::list);
            let document = |token: &Token| {
                json!({
                    "name": token.name,
                    "role": token.role,
                    "created_at": token.created_at,
                    "expires_at": token.expires_at,
                    "expired": token.is_expired(now),
                })
            };
            output.print(&tokens.iter().map(document).collect::<Vec<_>>(), || text(tokens, now));
        }
        Verb::Revoke { name, folder } => {
            folder.is_there()?;
            let revoked = Tokens::change(&folder.data_dir, |tokens| {
                let revoked = tokens.revoke(&name)?;
                let good = |token: &&Token| !token.is_expired(now);
                let admins = tokens.list().iter().filter(good).filter(|token| token.role == Role::Admin).count();
                Ok((revoked, tokens.list().iter().filter(good).count(), admins))
            });
            let (revoked, left, admins) = revoked.map_err(|error| CliError::input(&error))?;
            let lost = match (left, revoked.role) {
                (0, _) => Some("no token is left that opens anything: nobody can call the coordinator"),
                (_, Role::Admin) if admins == 0 => {
                    Some("no token of an admin is left: nobody can do what only an admin may")
                }
                _ => None,
            };
            if let Some(lost) = lost {
                warn!("{lost}; `secateur token create NAME --role admin` makes one");
            }
            output.print(
                &json!({"name": revoked.name, "role": revoked.role, "revoked": true, "tokens_left": left}),
                || format!("revoked {}, which had the role {}", revoked.name, revoked.role),
            );
            note(&folder.data_dir, "revoke-token", &name, revoked.role)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

impl FolderArguments {
    fn is_there(&self) -> Result<(), CliError> {
        if self.data_dir.is_dir() {
            return Ok(());
        }
        let folder = self.data_dir.display();
        Err(CliError::Input(format!("there is no folder {folder}: name that of the coordinator with --data-dir")))
    }
}

/// Writes into the log of the coordinator what was done to its tokens.
fn note(folder: &Path, what: &str, name: &str, role: Role) -> Result<(), CliError> {
    let failed = |error| CliError::Failed(format!("it was done, and cannot be written into the audit log: {error}"));
    Audit::open(folder).map_err(failed)?.done_here(what, name, role);
    Ok(())
}

fn text(tokens: &[Token], now: SystemTime) -> String {
    if tokens.is_empty() {
        return "no tokens; make one with: secateur token create NAME --role ROLE".to_owned();
    }
    let row = |token: &Token| {
        let until = match token.expires_at {
            None => "no end".to_owned(),
            Some(end) if token.is_expired(now) => format!("{} (over)", day(end)),
            Some(end) => day(end),
        };
        vec![token.name.clone(), token.role.to_string(), day(token.created_at), until]
    };
    table(&["token", "role", "made on", "good until"], 4, tokens.iter().map(row))
}

/// The day, in UTC, of so many seconds since 1970.
fn day(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| "never".to_owned(), |moment| moment.date().to_string())
}
