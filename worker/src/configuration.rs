//! `secateur.toml`: the options of `serve` and `worker`, and named coordinators. Its keys are the long options of the
//! command line, so a new option needs nothing here. A file gives defaults: variables of the environment override it,
//! and options override both.

mod file;

use std::{
    env,
    ffi::{OsStr, OsString},
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction, Args, Command};

pub use self::file::{ConfigurationError, Entry};

/// The name of the file.
pub const FILE: &str = "secateur.toml";

/// The commands whose options are keys of a section of that name.
pub const SECTIONS: [&str; 2] = ["serve", "worker"];

/// The options that a named coordinator has: those of every command that calls one.
pub const OF_CONTEXTS: [&str; 5] = ["coordinator", "ca", "token-file", "cert", "key"];

/// Options that only ask for something once.
const NOT_KEPT: [&str; 3] = ["help", "version", "list-devices"];

/// The options that select the configuration.
#[derive(Debug, Clone, Args)]
pub struct ConfigurationArguments {
    /// Configuration file [default: secateur.toml in ~/.config/secateur or /etc/secateur]
    #[arg(long, global = true, env = "SECATEUR_CONFIG", value_name = "FILE", value_parser = crate::arguments::path())]
    pub config: Option<PathBuf>,
    /// Call the coordinator of that name in the configuration file
    #[arg(long, global = true, env = "SECATEUR_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
}

/// A configuration file, or none.
#[derive(Debug, Clone, Default)]
pub struct Configuration {
    /// Where it is.
    path: Option<PathBuf>,
    entries: Vec<Entry>,
    /// The section of the coordinator to call, such as `contexts.head`.
    context: Option<String>,
    /// Whether the command line selects the context, which then overrides the environment too.
    is_context_given: bool,
    /// Whether the command line or the environment gives the address of a coordinator.
    is_elsewhere: bool,
}

impl Configuration {
    /// Reads the file that the words of a command line and the environment select. `command` says which keys there
    /// are.
    ///
    /// # Errors
    /// If the file that is named does not exist, or a file is wrong, with the place.
    pub fn load(command: &Command, words: &[OsString]) -> Result<Self, ConfigurationError> {
        // What a program starts itself depends on its words alone, whatever becomes of the file meanwhile.
        let verb = words.get(1).and_then(|word| command.find_subcommand(word));
        if verb.is_some_and(Command::is_hide_set) {
            return Ok(Self::default());
        }
        let variable = crate::arguments::variable;
        let given = |option: &str| {
            option_in(words, option)
                .or_else(|| variable(&format!("SECATEUR_{}", option.to_uppercase())).map(OsString::from))
        };
        let path = match given("config") {
            Some(path) => Some(crate::arguments::at_home(Path::new(&path))),
            None => places().into_iter().find(|path| path.is_file()),
        };
        let context = given("context").map(|name| name.to_string_lossy().into_owned());
        let is_context_given = option_in(words, "context").is_some();
        if is_context_given && option_in(words, "coordinator").is_some() {
            return Err(ConfigurationError::Both);
        }
        let Some(path) = path else {
            return match context {
                Some(name) => Err(ConfigurationError::NoFile { name, places: places() }),
                None => Ok(Self::default()),
            };
        };
        let read = file::read(&path, &|section| keys(command, section))?;
        // An address from elsewhere is another coordinator's: it must not get this one's token.
        let is_elsewhere = option_in(words, "coordinator").is_some() || variable("SECATEUR_COORDINATOR").is_some();
        let context = context.or_else(|| read.context.clone()).filter(|_| is_context_given || !is_elsewhere);
        let context = match context {
            None => None,
            Some(name) if read.contexts.contains(&name) => Some(format!("contexts.{name}")),
            Some(name) => return Err(ConfigurationError::Context { path, name, known: read.contexts }),
        };
        Ok(Self { path: Some(path), entries: read.entries, context, is_context_given, is_elsewhere })
    }

    /// The file, if there is one.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// The name of the coordinator that commands call.
    #[must_use]
    pub fn context(&self) -> Option<&str> {
        self.context.as_deref().and_then(|section| section.strip_prefix("contexts."))
    }

    /// The place in the file that gives an option of a command its default, if there is one.
    #[must_use]
    pub fn entry(&self, command: &str, option: &str) -> Option<&Entry> {
        let find = |section: &str| self.entries.iter().find(|entry| entry.section == section && entry.key == option);
        let section = section_of(command).and_then(find);
        let is_token = option == "token-file" && !self.is_context_given;
        // The environment has a token already, which overrides a file.
        let is_overridden = is_token && crate::arguments::variable(crate::connection::TOKEN).is_some();
        let of_coordinator = OF_CONTEXTS.contains(&option);
        // A section that names a coordinator of its own means no other one's token, and no other one gets its token.
        let has_own =
            |section: &str| self.entries.iter().any(|entry| entry.section == section && entry.key == "coordinator");
        let has_own = section_of(command).is_some_and(has_own);
        let is_of_another = of_coordinator && has_own && (self.is_context_given || self.is_elsewhere);
        let section = section.filter(|_| !is_of_another);
        let is_meant = of_coordinator && (!has_own || self.is_context_given);
        let of_context = || self.context.as_deref().filter(|_| is_meant).and_then(find);
        section.or_else(of_context).filter(|_| !is_overridden)
    }

    /// Makes what the file holds the defaults of the options.
    #[must_use]
    pub fn apply(&self, command: Command) -> Command {
        let name = command.get_name().to_owned();
        let command = command.mut_args(|argument| self.apply_to(&name, argument));
        command.mut_subcommands(|command| self.apply(command))
    }

    fn apply_to(&self, command: &str, argument: Arg) -> Arg {
        let Some(option) = argument.get_long().map(str::to_owned) else { return argument };
        let is_of_context = OF_CONTEXTS.contains(&option.as_str());
        let argument = if self.is_context_given && is_of_context { argument.env(None::<&str>) } else { argument };
        match self.entry(command, &option) {
            None => argument,
            // clap keeps texts for as long as the process lives.
            Some(entry) => argument.default_values(entry.values.iter().map(|value| &*value.clone().leak())),
        }
    }

    /// Says where in the file a value is that an option does not accept.
    #[must_use]
    pub fn explain(&self, error: &clap::Error) -> Option<String> {
        use clap::error::{ContextKind, ContextValue};
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            _ => None,
        };
        let option = text(ContextKind::InvalidArg)?.trim_start_matches('-').split([' ', '<', '[', '=']).next()?;
        let value = text(ContextKind::InvalidValue)?;
        let is_it = |entry: &&Entry| entry.key == option && entry.values.iter().any(|other| other == value);
        let entry = self.entries.iter().find(is_it)?;
        let why = std::error::Error::source(error).map(|source| format!(": {source}")).unwrap_or_default();
        let path = self.path.as_deref().unwrap_or(Path::new(FILE)).display();
        let Entry { line, column, section, key, .. } = entry;
        Some(format!("{path}:{line}:{column}: {section}.{key}: {value:?} is not valid{why}"))
    }
}

/// The places where a configuration is looked for, the first first.
#[must_use]
pub fn places() -> Vec<PathBuf> {
    let set = |variable: &str| env::var_os(variable).filter(|value| !value.is_empty()).map(PathBuf::from);
    let own = set("XDG_CONFIG_HOME").or_else(|| Some(env::home_dir()?.join(".config")));
    let folders = own.into_iter().map(|folder| folder.join("secateur")).chain([PathBuf::from("/etc/secateur")]);
    folders.map(|folder| folder.join(FILE)).collect()
}

/// Gives each option of the commands with a section a variable of the environment: `SECATEUR_DATA_DIR` is `--data-dir`.
#[must_use]
pub fn with_variables(command: Command) -> Command {
    let has_section = section_of(command.get_name()).is_some();
    let command = command.mut_args(|argument| {
        let is_kept = has_section && is_key(&argument) && argument.get_env().is_none();
        match argument.get_long().filter(|_| is_kept) {
            None => argument,
            Some(option) => {
                let variable = format!("SECATEUR_{}", option.to_uppercase().replace('-', "_"));
                argument.env(&*variable.leak())
            }
        }
    });
    command.mut_subcommands(with_variables)
}

/// The options that are keys of a section: `serve`, `worker` or `contexts.NAME`.
#[must_use]
pub fn keys<'a>(command: &'a Command, section: &str) -> Vec<&'a Arg> {
    if section.starts_with("contexts.") {
        // Every command that calls a coordinator has them.
        let callers = std::iter::once(command).chain(command.get_subcommands());
        let of = |command: &'a Command| command.get_arguments().filter(|argument| is_of_context(argument)).collect();
        return callers.map(of).find(|found: &Vec<&Arg>| !found.is_empty()).unwrap_or_default();
    }
    let owner = std::iter::once(command).chain(command.get_subcommands());
    let owner = owner.filter(|command| section_of(command.get_name()) == Some(section));
    owner.flat_map(Command::get_arguments).filter(|argument| is_key(argument)).collect()
}

fn is_of_context(argument: &Arg) -> bool {
    argument.get_long().is_some_and(|option| OF_CONTEXTS.contains(&option))
}

fn is_key(argument: &Arg) -> bool {
    let is_kept = argument.get_long().is_some_and(|option| !NOT_KEPT.contains(&option));
    is_kept && !argument.is_hide_set() && !argument.is_global_set()
}

/// The section of a command, which is a verb of `secateur` or the program `secateur-worker`.
fn section_of(command: &str) -> Option<&str> {
    let name = command.strip_prefix("secateur-").unwrap_or(command);
    SECTIONS.contains(&name).then_some(name)
}

/// Whether an option takes any number of values.
fn takes_several(argument: &Arg) -> bool {
    matches!(argument.get_action(), ArgAction::Append)
}

/// The value of an option among the words of a command line.
fn option_in(words: &[OsString], option: &str) -> Option<OsString> {
    let words = || words.iter().take_while(|word| *word != "--");
    let long = format!("--{option}");
    let mut found = None;
    for (word, next) in words().zip(words().skip(1).map(Some).chain([None])) {
        if *word == *long {
            found = next.cloned();
        } else if let Some(value) = word.to_str().and_then(|word| word.strip_prefix(&*long)?.strip_prefix('=')) {
            found = Some(OsStr::new(value).to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests;
