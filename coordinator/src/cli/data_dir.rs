//! The folder of a coordinator on this machine: of `serve`, and of the commands that change what is in it.

use std::{env, path::PathBuf};

use clap::Args;
use secateur_worker::arguments;

use super::error::CliError;

/// The option that names the folder.
#[derive(Debug, Args)]
pub(super) struct DataDirArguments {
    /// Folder of the coordinator: journal, artifacts and tokens
    /// [default: $STATE_DIRECTORY (systemd), or secateur in $XDG_STATE_HOME, or ~/.local/state/secateur]
    #[arg(long, env = "SECATEUR_DATA_DIR", value_name = "DIR", value_parser = arguments::path())]
    data_dir: Option<PathBuf>,
}

impl DataDirArguments {
    /// The folder, absolute.
    pub(super) fn path(&self) -> Result<PathBuf, CliError> {
        let set = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
        let by_default = || by_convention(&set, env::home_dir());
        let path = self.data_dir.clone().or_else(by_default);
        let path = path.ok_or_else(|| CliError::Input("this user has no home folder: pass --data-dir".to_owned()))?;
        std::path::absolute(&path).map_err(|error| CliError::Input(format!("cannot use {}: {error}", path.display())))
    }

    /// The folder, which must exist.
    pub(super) fn existing(&self) -> Result<PathBuf, CliError> {
        let path = self.path()?;
        if path.is_dir() {
            return Ok(path);
        }
        let folder = path.display();
        Err(CliError::Input(format!("no such folder: {folder}; pass the folder of the coordinator with --data-dir")))
    }
}

/// The default folder of a coordinator: that of the systemd unit, or one in the user's state folder.
fn by_convention(set: &dyn Fn(&str) -> Option<PathBuf>, home: Option<PathBuf>) -> Option<PathBuf> {
    // systemd separates several by colons.
    let of_service = set("STATE_DIRECTORY").and_then(|folders| env::split_paths(&folders).next());
    // The convention says that relative paths are to be ignored.
    let of_person = || set("XDG_STATE_HOME").filter(|folder| folder.is_absolute());
    let state = || of_person().or_else(|| Some(home?.join(".local/state")));
    of_service.or_else(|| Some(state()?.join("secateur")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_is_where_the_convention_says() {
        let of = |variables: &'static [(&str, &str)], home: Option<&str>| {
            let set = |name: &str| {
                variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| PathBuf::from(value))
            };
            by_convention(&set, home.map(PathBuf::from))
        };
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(of(&[], Some("/home/me")), path("/home/me/.local/state/secateur"));
        assert_eq!(of(&[("XDG_STATE_HOME", "/state")], Some("/home/me")), path("/state/secateur"));
        assert_eq!(of(&[("XDG_STATE_HOME", "state")], Some("/home/me")), path("/home/me/.local/state/secateur"));
        let service = &[("STATE_DIRECTORY", "/var/lib/secateur:/var/lib/x"), ("XDG_STATE_HOME", "/state")];
        assert_eq!(of(service, Some("/home/me")), path("/var/lib/secateur"));
        assert_eq!(of(&[], None), None);
    }
}
