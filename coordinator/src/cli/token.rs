//! `secateur token`: who may call a coordinator. Works on its folder, and it notices at once.

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use clap::{Args, Subcommand, ValueEnum};
use secateur_worker::{arguments, private};
use serde_json::json;
use time::{Date, OffsetDateTime, macros::format_description};
use tracing::warn;

use super::{
    data_dir::DataDirArguments,
    error::CliError,
    output::{Output, table},
};
use crate::{
    identity::CoordinatorId,
    security::{
        Audit, Role,
        tokens::{Token, Tokens},
    },
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
        #[command(flatten)]
        text: TextArguments,
        #[command(flatten)]
        folder: DataDirArguments,
    },
    /// Replace a token by another one of the same name and role, and print it once
    Rotate {
        /// Name of the token
        name: String,
        #[command(flatten)]
        text: TextArguments,
        /// Accept the old token for TIME more, for example 30min or 2days; 0s = it ends now
        #[arg(long, value_name = "TIME", default_value = "1h", value_parser = humantime::parse_duration)]
        overlap: Duration,
        #[command(flatten)]
        folder: DataDirArguments,
    },
    /// List the tokens by name, role and expiry
    List {
        #[command(flatten)]
        folder: DataDirArguments,
    },
    /// Revoke a token. Its workers are disconnected within seconds
    Revoke {
        /// Name of the token
        name: String,
        #[command(flatten)]
        folder: DataDirArguments,
    },
}

/// What becomes of a token's text.
#[derive(Debug, Args)]
struct TextArguments {
    /// Let the token expire after TIME, for example 90days, or at a day, for example 2027-06-30 [default: never; `rotate` keeps the expiry of the old token]
    #[arg(long, value_name = "TIME|DAY", value_parser = expiry)]
    expires: Option<Expiry>,
    /// Write the token to FILE, which only you can read, instead of printing it
    #[arg(long, value_name = "FILE", value_parser = arguments::path())]
    out: Option<PathBuf>,
}

/// When a token ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expiry {
    After(Duration),
    /// At the end of that day, in UTC.
    On(Date),
}

/// The longest life of a token that ends.
const LONGEST: Duration = Duration::from_secs(36_500 * 24 * 3600);

fn expiry(text: &str) -> Result<Expiry, String> {
    let expected = "expected a time such as 90days or 12h, or a day such as 2027-06-30";
    if let Ok(date) = Date::parse(text, format_description!("[year]-[month]-[day]")) {
        return Ok(Expiry::On(date));
    }
    match humantime::parse_duration(text) {
        Ok(time) if !time.is_zero() && time <= LONGEST => Ok(Expiry::After(time)),
        Ok(_) => Err("must be greater than 0 and at most 100 years".to_owned()),
        Err(error) => Err(format!("{error}: {expected}")),
    }
}

impl TextArguments {
    /// The time that the token lives, from now on.
    fn lifetime(&self, now: SystemTime) -> Result<Option<Duration>, CliError> {
        match self.expires {
            None => Ok(None),
            Some(Expiry::After(time)) => Ok(Some(time)),
            Some(Expiry::On(date)) => {
                let end = SystemTime::from(date.midnight().assume_utc() + time::Duration::DAY);
                let left = end.duration_since(now).ok().filter(|left| *left <= LONGEST);
                let past = || CliError::Input(format!("--expires: {date} is in the past, or too far away"));
                left.map(Some).ok_or_else(past)
            }
        }
    }

    /// Refuses to replace a file, before the token exists.
    fn check(&self) -> Result<(), CliError> {
        match self.out.as_ref().filter(|path| path.exists()) {
            Some(path) => Err(CliError::Input(format!(
                "{} already exists: give --out another name, or move it away",
                path.display()
            ))),
            None => Ok(()),
        }
    }

    /// Writes or prints the token.
    fn give(&self, name: &str, role: Role, token: &str, output: Output) -> Result<(), CliError> {
        let Some(path) = &self.out else {
            output.print(&json!({"name": name, "role": role, "token": token}), || token.to_owned());
            return Ok(());
        };
        private::write_new(path, format!("{token}\n").as_bytes()).map_err(|error| {
            CliError::Failed(format!(
                "cannot write {}: {error}. The token is made but lost: `secateur token rotate {name}` makes another one",
                path.display()
            ))
        })?;
        output.print(&json!({"name": name, "role": role, "file": path}), || {
            format!("the token {name} ({role}) is in {}", path.display())
        });
        Ok(())
    }
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
        Verb::Create { name, role, text, folder } => {
            let folder = folder.path()?;
            let lifetime = text.lifetime(now)?;
            text.check()?;
            let is_new = !folder.exists();
            let of = coordinator(&folder)?;
            let token =
                Tokens::change(&folder, |tokens| tokens.create(&name, role.into(), now, lifetime, of.as_deref()));
            let token = token.map_err(|error| CliError::input(&error))?;
            if is_new {
                let folder = folder.display();
                warn!("created the folder {folder}; start the coordinator with --data-dir {folder} to use this token");
            }
            // It can be printed but now, whatever becomes of the log.
            text.give(&name, role.into(), &token, output)?;
            note(&folder, "create-token", &name, role.into())?;
        }
        Verb::Rotate { name, text, overlap, folder } => {
            let folder = folder.existing()?;
            let lifetime = text.lifetime(now)?;
            text.check()?;
            let of = coordinator(&folder)?;
            let rotated = Tokens::change(&folder, |tokens| tokens.rotate(&name, now, lifetime, overlap, of.as_deref()));
            let (token, role) = rotated.map_err(|error| CliError::input(&error))?;
            text.give(&name, role, &token, output)?;
            note(&folder, "rotate-token", &name, role)?;
        }
        Verb::List { folder } => {
            let folder = folder.existing()?;
            let tokens = Tokens::read(&folder).map_err(|error| CliError::input(&error))?;
            let tokens = tokens.as_ref().map_or(&[][..], Tokens::list);
            let document = |token: &Token| {
                json!({
                    "name": token.name,
                    "role": token.role,
                    "created_at": token.created_at,
                    "expires_at": token.expires_at,
                    "expired": token.is_expired(now),
                    "previous_until": token.before.as_ref().map(|before| before.expires_at),
                })
            };
            output.print(&tokens.iter().map(document).collect::<Vec<_>>(), || text(tokens, now));
        }
        Verb::Revoke { name, folder } => {
            let folder = folder.existing()?;
            let revoked = Tokens::change(&folder, |tokens| {
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
            note(&folder, "revoke-token", &name, revoked.role)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The coordinator of a folder, which its tokens name. `None` before its first start.
fn coordinator(folder: &Path) -> Result<Option<String>, CliError> {
    let found = CoordinatorId::of_folder(folder).map_err(|error| CliError::input(&error))?;
    Ok(found.map(|id| id.to_string()))
}

/// Writes into the log of the coordinator what was done to its tokens.
fn note(folder: &Path, what: &str, name: &str, role: Role) -> Result<(), CliError> {
    let failed = |error| CliError::Failed(format!("the change was made, but cannot write the audit log: {error}"));
    Audit::open(folder).map_err(failed)?.done_here(what, name, Some(role));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_is_a_time_or_a_day() {
        let day = Duration::from_secs(24 * 3600);
        let now = SystemTime::UNIX_EPOCH + day * 365;
        let lifetime = |text: &str| {
            let expires = Some(expiry(text).expect(text));
            TextArguments { expires, out: None }.lifetime(now).ok().flatten()
        };
        assert_eq!(lifetime("90days"), Some(day * 90));
        // 1971-01-01 is 365 days after the beginning, and a token is valid to the end of its day.
        assert_eq!(lifetime("1971-01-01"), Some(day));
        assert_eq!(lifetime("1971-03-01"), Some(day * 60));
        assert_eq!(lifetime("1970-12-30"), None);
        for wrong in ["", "0s", "soon", "2027-13-01", "200years"] {
            assert!(expiry(wrong).is_err(), "{wrong:?}");
        }
    }
}
