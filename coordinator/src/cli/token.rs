//! `secateur token`: who may call a coordinator. Works on its folder, and it notices at once.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, ValueEnum};
use secateur_worker::arguments;
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
    /// Create a token and print it once. Once a token exists, every client needs one
    Create {
        /// Name of the token: its owner or purpose, for example gpu-nodes
        name: String,
        /// What the token allows
        #[arg(long, value_enum)]
        role: RoleArgument,
        /// Let the token expire after N days [default: never]
        #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=36500))]
        days: Option<u64>,
        #[command(flatten)]
        folder: FolderArguments,
    },
    /// List the tokens by name, role and expiry
    List {
        #[command(flatten)]
        folder: FolderArguments,
    },
    /// Revoke a token. Its workers are disconnected within seconds
    Revoke {
        /// Name of the token
        name: String,
        #[command(flatten)]
        folder: FolderArguments,
    },
}

#[derive(Debug, Args)]
struct FolderArguments {
    /// Folder of the coordinator (`serve --data-dir`)
    #[arg(long, default_value = "secateur-data", value_name = "DIR", value_parser = arguments::path())]
    data_dir: PathBuf,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum RoleArgument {
    /// Everything
    Admin,
    /// Submit and cancel sweeps, upload and fetch data, and everything that read allows
    Submit,
    /// Receive work and the files that it needs
    Worker,
    /// View sweeps, workers and reports, and fetch the nets of reports
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
                warn!("created the folder {folder}; start the coordinator with --data-dir {folder} to use this token");
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
                (0, _) => Some("no valid token is left: no client can use the coordinator"),
                (_, Role::Admin) if admins == 0 => Some("no admin token is left: nobody can use admin commands"),
                _ => None,
            };
            if let Some(lost) = lost {
                warn!("{lost}; `secateur token create NAME --role admin` creates one");
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
        Err(CliError::Input(format!("no such folder: {folder}; pass the folder of the coordinator with --data-dir")))
    }
}

/// Writes into the log of the coordinator what was done to its tokens.
fn note(folder: &Path, what: &str, name: &str, role: Role) -> Result<(), CliError> {
    let failed = |error| CliError::Failed(format!("the change was made, but cannot write the audit log: {error}"));
    Audit::open(folder).map_err(failed)?.done_here(what, name, role);
    Ok(())
}

fn text(tokens: &[Token], now: SystemTime) -> String {
    if tokens.is_empty() {
        return "no tokens; create one with: secateur token create NAME --role ROLE".to_owned();
    }
    let row = |token: &Token| {
        let until = match token.expires_at {
            None => "never".to_owned(),
            Some(end) if token.is_expired(now) => format!("{} (expired)", day(end)),
            Some(end) => day(end),
        };
        vec![token.name.clone(), token.role.to_string(), day(token.created_at), until]
    };
    table(&["token", "role", "created", "expires"], 4, tokens.iter().map(row))
}

/// Returns the UTC day at `seconds` since 1970.
fn day(seconds: u64) -> String {
    let moment = i64::try_from(seconds).ok().and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok());
    moment.map_or_else(|| "unknown".to_owned(), |moment| moment.date().to_string())
}
