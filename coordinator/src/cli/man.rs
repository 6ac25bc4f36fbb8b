//! `secateur man`: a manual page for each verb.

use std::{fs, path::PathBuf, process::ExitCode};

use clap::{Args, Command};
use secateur_worker::arguments;
use serde_json::json;

use super::{error::CliError, output::Output, outputs::unwritable};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Folder to write to, for example /usr/local/share/man/man1
    #[arg(value_parser = arguments::path())]
    dir: PathBuf,
}

/// Writes the pages of `command` and of its verbs.
pub(crate) fn run(arguments: &ManArguments, command: Command, output: Output) -> Result<ExitCode, CliError> {
    let dir = &arguments.dir;
    let written = fs::create_dir_all(dir).and_then(|()| clap_mangen::generate_to(command, dir));
    written.map_err(|error| unwritable(dir, &error))?;
    output.print(&json!({"folder": dir}), || dir.display().to_string());
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::{super::Arguments, *};

    /// The names of the pages of `command`, which is called `name`.
    fn pages(command: &Command, name: &str) -> Vec<String> {
        let verbs = command.get_subcommands().filter(|verb| !verb.is_hide_set());
        let below = verbs.flat_map(|verb| pages(verb, &format!("{name}-{}", verb.get_name())));
        std::iter::once(format!("{name}.1")).chain(below).collect()
    }

    #[test]
    fn each_verb_has_a_page() {
        let folder = tempfile::tempdir().expect("a folder");
        let arguments = ManArguments { dir: folder.path().join("man1") };
        run(&arguments, Arguments::command(), Output::Json).expect("writes");
        let mut written: Vec<String> = fs::read_dir(&arguments.dir)
            .expect("is there")
            .map(|file| file.expect("reads").file_name().into_string().expect("a plain name"))
            .collect();
        let mut expected = pages(&Arguments::command(), "secateur");
        written.sort();
        expected.sort();
        assert_eq!(written, expected);
        let page = fs::read_to_string(arguments.dir.join("secateur-serve.1")).expect("reads");
        assert!(page.contains(".SH OPTIONS") && page.contains("quarantine"), "{page}");
    }
}
