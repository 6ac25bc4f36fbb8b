//! `secateur config`: what the options are, and where their values come from.

use std::{ffi::OsString, process::ExitCode};

use clap::{ArgMatches, Args, Command, Subcommand, parser::ValueSource};
use secateur_worker::{
    arguments,
    configuration::{self, Configuration, OF_CONTEXTS},
};
use serde::Serialize;
use serde_json::json;

use super::{
    error::CliError,
    output::{Output, table},
};

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct ConfigArguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Show each option of `serve`, `worker` and of the commands that call a coordinator, with its value and its source
    Show {
        /// Only what is not a default
        #[arg(long)]
        set: bool,
    },
    /// Print the path of the configuration file in use
    Path,
}

/// The value of an option.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Setting {
    section: String,
    key: String,
    value: Option<String>,
    /// Where it comes from: a variable, a place in the file, or `default`.
    from: String,
}

pub(crate) fn run(arguments: &ConfigArguments, output: Output) -> Result<ExitCode, CliError> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let (command, configuration) =
        arguments::configured(super::Arguments::plain(), &words).map_err(|error| CliError::Input(error.to_string()))?;
    let path = configuration.path().map(std::path::absolute).transpose().map_err(|error| CliError::failed(&error))?;
    match arguments.verb {
        Verb::Path => {
            let places = configuration::places();
            output.print(&json!({"path": path, "looked_for": places}), || match &path {
                Some(path) => path.display().to_string(),
                None => {
                    let places: Vec<String> = places.iter().map(|path| path.display().to_string()).collect();
                    format!("no configuration file; looked for {}", places.join(" and "))
                }
            });
        }
        Verb::Show { set } => {
            let mut settings = Vec::new();
            for (section, verb) in [("serve", "serve"), ("worker", "worker"), ("client", "ls")] {
                settings.extend(of_verb(&command, &configuration, section, verb)?);
            }
            settings.retain(|setting| !set || setting.from != DEFAULT);
            output.print(&json!({"path": path, "context": configuration.context(), "settings": settings}), || {
                text(&settings, &configuration)
            });
        }
    }
    Ok(ExitCode::SUCCESS)
}

const DEFAULT: &str = "default";

/// The options of a verb as it would have them.
fn of_verb(
    command: &Command,
    configuration: &Configuration,
    section: &str,
    verb: &str,
) -> Result<Vec<Setting>, CliError> {
    let Some(own) = command.find_subcommand(verb) else { return Ok(Vec::new()) };
    let wrong = |error: clap::Error| {
        CliError::Input(configuration.explain(&error).unwrap_or_else(|| error.to_string().trim_end().to_owned()))
    };
    let matches = command.clone().try_get_matches_from(["secateur", verb]).map_err(wrong)?;
    let Some((_, matches)) = matches.subcommand() else { return Ok(Vec::new()) };
    let keys = configuration::keys(command, if section == "client" { "contexts.any" } else { section });
    let setting = |option: &clap::Arg| {
        let key = option.get_long()?;
        let id = option.get_id().as_str();
        let value = if option.is_hide_env_values_set() && matches.value_source(id).is_some() {
            Some("(hidden)".to_owned())
        } else {
            value(matches, id)
        };
        let from = match matches.value_source(id) {
            Some(ValueSource::EnvVariable) => {
                // The command's own: with a context of the command line, variables do not count.
                let name = own.get_arguments().find(|other| other.get_id() == id).and_then(clap::Arg::get_env);
                name.map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            Some(_) => match configuration.entry(verb, key) {
                Some(entry) => {
                    format!("{}:{} [{}]", configuration::FILE, entry.line, entry.section)
                }
                None => DEFAULT.to_owned(),
            },
            None => DEFAULT.to_owned(),
        };
        Some(Setting { section: section.to_owned(), key: key.to_owned(), value, from })
    };
    // A worker has the options of a client too; they are shown once, unless its own section has them.
    let settings = keys.into_iter().filter_map(setting);
    Ok(settings
        .filter(|setting| {
            section != "worker" || !OF_CONTEXTS.contains(&setting.key.as_str()) || setting.from.contains("[worker]")
        })
        .collect())
}

/// The value of an option as it was written.
fn value(matches: &ArgMatches, id: &str) -> Option<String> {
    let values = matches.try_get_raw(id).ok().flatten()?;
    let values: Vec<String> = values.map(|value| value.to_string_lossy().into_owned()).collect();
    if values.is_empty() {
        // A flag has no text.
        return matches.try_get_one::<bool>(id).ok().flatten().map(bool::to_string);
    }
    Some(values.join(","))
}

fn text(settings: &[Setting], configuration: &Configuration) -> String {
    let row = |setting: &Setting| {
        let value = setting.value.clone().unwrap_or_else(|| "-".to_owned());
        vec![setting.section.clone(), setting.key.clone(), value, setting.from.clone()]
    };
    let file = match configuration.path() {
        Some(path) => format!("file: {}", path.display()),
        None => "file: none".to_owned(),
    };
    let context = configuration.context().map(|name| format!("\ncontext: {name}")).unwrap_or_default();
    format!("{file}{context}\n{}", table(&["section", "key", "value", "from"], 4, settings.iter().map(row)))
}

#[cfg(test)]
mod tests {
    use std::{env, fs};

    use super::*;

    const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../deploy/README.md");
    const BEGIN: &str = "<!-- keys: written by the test keys_of_the_guide -->\n";
    const END: &str = "<!-- end of keys -->";

    /// The keys of each section as a table.
    fn reference() -> String {
        let command = super::super::command();
        let mut text = String::from("| section | key | variable | what it is |\n|---|---|---|---|\n");
        for section in ["serve", "worker", "contexts.NAME"] {
            for option in configuration::keys(&command, section) {
                let key = option.get_long().unwrap_or_default();
                if section == "worker" && OF_CONTEXTS.contains(&key) {
                    continue;
                }
                let variable = option.get_env().map(|name| format!("`{}`", name.to_string_lossy())).unwrap_or_default();
                let help = option.get_help().map(ToString::to_string).unwrap_or_default();
                let about = help.lines().next().unwrap_or_default().split(". ").next().unwrap_or_default();
                let about = about.trim_end_matches('.').replace('|', "\\|").replace('<', "\\<");
                text += &format!("| `{section}` | `{key}` | {variable} | {about} |\n");
            }
        }
        text
    }

    #[test]
    #[cfg(feature = "worker")]
    fn keys_of_the_guide() {
        let guide = fs::read_to_string(GUIDE).expect("the guide");
        let (before, rest) = guide.split_once(BEGIN).expect("the beginning of the table");
        let (table, after) = rest.split_once(END).expect("the end of the table");
        if env::var_os("SECATEUR_UPDATE").is_some() {
            fs::write(GUIDE, format!("{before}{BEGIN}{}{END}{after}", reference())).expect("writes");
            return;
        }
        assert_eq!(table, reference(), "run the test with SECATEUR_UPDATE=1");
    }

    #[test]
    fn every_key_of_a_context_is_an_option() {
        let command = super::super::command();
        let keys: Vec<&str> =
            configuration::keys(&command, "contexts.x").into_iter().filter_map(clap::Arg::get_long).collect();
        assert_eq!(keys, ["coordinator", "ca", "token-file", "cert", "key"]);
        assert_eq!(keys, OF_CONTEXTS);
    }
}
