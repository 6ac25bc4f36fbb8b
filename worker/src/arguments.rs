//! What the command lines of both binaries have in common: variables of the environment, and paths.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
};

use clap::{
    ArgMatches, Command, Parser,
    builder::{PathBufValueParser, TypedValueParser},
    error::ErrorKind,
    parser::ValueSource,
};

use crate::configuration::{self, Configuration};

/// A command line as it was understood.
#[derive(Debug)]
pub struct Parsed<P> {
    /// The options.
    pub arguments: P,
    /// What was ignored, and why, to be logged.
    pub ignored: Vec<String>,
}

/// Reads the command line of this process. Options that it lacks come from variables of the environment, then from
/// `secateur.toml`. An empty variable counts as one that is not set.
///
/// # Errors
/// What clap says of it, or what is wrong in the configuration.
pub fn parse<P: Parser>() -> Result<Parsed<P>, clap::Error> {
    let words: Vec<OsString> = env::args_os().collect();
    let (mut command, configuration) = match configured(P::command(), &words) {
        Ok(configured) => configured,
        Err(error) => {
            // Help, and what is wrong with the command line itself, do not depend on the configuration.
            let mut command = P::command();
            command.try_get_matches_from_mut(&words)?;
            return Err(clap::Error::raw(ErrorKind::InvalidValue, format!("{error}\n")));
        }
    };
    let understood = |command: &mut Command| {
        command.try_get_matches_from_mut(&words).map_err(|error| match configuration.explain(&error) {
            Some(explained) => clap::Error::raw(ErrorKind::InvalidValue, format!("{explained}\n")),
            None => error,
        })
    };
    let mut matches = understood(&mut command)?;
    let unfit = unfit(&matches);
    let mut ignored = Vec::new();
    if !unfit.is_empty() {
        let is_unfit = |argument: &clap::Arg| unfit.iter().any(|(id, ..)| argument.get_id() == id);
        command = without(configured(P::command(), &words).map_or(command, |(command, _)| command), &is_unfit);
        matches = understood(&mut command)?;
        ignored.extend(unfit.into_iter().map(|(_, said)| said));
    }
    let arguments = P::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))?;
    Ok(Parsed { arguments, ignored })
}

/// The command with the variables and the configuration that apply to these words.
///
/// # Errors
/// If the configuration is wrong.
pub fn configured(
    command: Command,
    words: &[OsString],
) -> Result<(Command, Configuration), configuration::ConfigurationError> {
    let command = configuration::with_variables(command);
    let configuration = Configuration::load(&command, words)?;
    Ok((without_empty_variables(configuration.apply(command), &|name| env::var_os(name)), configuration))
}

/// The options of TLS that do not fit an address without it, unless the command line has them: `SECATEUR_CA` may be
/// meant for another coordinator. With the reason.
fn unfit(matches: &ArgMatches) -> Vec<(&'static str, String)> {
    let matches = matches.subcommand().map_or(matches, |(_, matches)| matches);
    let Ok(Some(address)) = matches.try_get_one::<String>("coordinator") else { return Vec::new() };
    if !address.starts_with("http://") {
        return Vec::new();
    }
    let elsewhere = |id: &'static str| match matches.value_source(id)? {
        ValueSource::EnvVariable => Some((id, format!("SECATEUR_{}", id.to_uppercase()))),
        ValueSource::DefaultValue => Some((id, format!("{id} of secateur.toml"))),
        _ => None,
    };
    let is_there = |id: &&'static str| matches.try_contains_id(id).unwrap_or(false);
    let found = ["ca", "cert", "key"].into_iter().filter(|id| is_there(id)).filter_map(elsewhere);
    found.map(|(id, name)| (id, format!("ignoring {name}: {address} does not use TLS"))).collect()
}

/// The command whose options get no values but from the command line.
fn without(command: Command, is_meant: &dyn Fn(&clap::Arg) -> bool) -> Command {
    let command = command.mut_args(|argument| {
        if is_meant(&argument) { argument.env(None::<&str>).default_value(None::<&str>) } else { argument }
    });
    command.mut_subcommands(|command| without(command, is_meant))
}

fn without_empty_variables(command: Command, variable: &dyn Fn(&str) -> Option<OsString>) -> Command {
    let is_empty = |argument: &clap::Arg| {
        let value = argument.get_env().and_then(|name| variable(name.to_str()?));
        value.is_some_and(|value| value.to_string_lossy().trim().is_empty())
    };
    let command = command.mut_args(|argument| if is_empty(&argument) { argument.env(None::<&str>) } else { argument });
    command.mut_subcommands(|command| without_empty_variables(command, variable))
}

/// Returns the value of a variable of the environment; `None` if it is empty, too.
#[must_use]
pub fn variable(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.trim().is_empty())
}

/// The name of this machine, if it has one.
#[must_use]
pub fn host_name() -> Option<String> {
    let read = |path| std::fs::read_to_string(path).ok().map(|name| name.trim().to_owned());
    read("/proc/sys/kernel/hostname").filter(|name| !name.is_empty()).or_else(|| variable("HOSTNAME"))
}

/// Reads paths. `~` at the beginning is the home folder: shells leave it alone in `--out=~/x`, in files and in variables.
pub fn path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().map(|path| at_home(&path))
}

/// The path with the home folder in place of a `~` at its beginning, if there is a home.
#[must_use]
pub fn at_home(path: &Path) -> PathBuf {
    let rest = path.strip_prefix("~").ok();
    let home = env::home_dir().filter(|home| !home.as_os_str().is_empty());
    match (rest, home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => path.to_owned(),
    }
}

/// The text of a file that a person wrote, without a byte order mark: UTF-8, or UTF-16 with its mark as some editors and shells of
/// Windows write it. `None` for other bytes.
#[must_use]
pub fn decoded(bytes: Vec<u8>) -> Option<String> {
    let units = |bytes: &[u8], unit: fn([u8; 2]) -> u16| {
        let (pairs, rest) = bytes.as_chunks::<2>();
        let units: Vec<u16> = pairs.iter().map(|pair| unit(*pair)).collect();
        String::from_utf16(&units).ok().filter(|_| rest.is_empty())
    };
    match bytes.as_slice() {
        [0xff, 0xfe, rest @ ..] => units(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => units(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => String::from_utf8(rest.to_vec()).ok(),
        _ => String::from_utf8(bytes).ok(),
    }
}

/// Returns the access token in the text of a file or a variable, whatever stands around it: quotes, `NAME=`, the JSON of `secateur token
/// create`. `None` if there is none, or several.
#[must_use]
pub fn token_in(text: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let mut tokens = (text.split(|c| !is_part(c)))
        .filter(|word| word.strip_prefix("secateur_").is_some_and(|rest| rest.contains('_')));
    match (tokens.next(), tokens.next()) {
        (Some(only), None) => Some(only),
        (Some(_), Some(_)) => None,
        // One that somebody else made is refused by the coordinator.
        (None, _) => Some(text.trim()).filter(|word| !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(subcommand)]
        verb: Verb,
    }

    #[derive(Debug, clap::Subcommand)]
    enum Verb {
        Go {
            #[arg(long, env = "TEST_PLACE", default_value = "here")]
            place: String,
            #[arg(long, env = "TEST_FILE", value_parser = path())]
            file: Option<PathBuf>,
        },
    }

    #[test]
    fn an_empty_variable_is_not_set() {
        use clap::CommandFactory as _;
        let names = |value: &'static str| move |_: &str| Some(OsString::from(value));
        let environment = |command: &Command| {
            let verb = command.find_subcommand("go").expect("is there");
            verb.get_arguments().filter_map(|argument| argument.get_env().map(|name| name.to_owned())).count()
        };
        assert_eq!(environment(&without_empty_variables(Program::command(), &names("x"))), 2);
        for empty in ["", "  "] {
            assert_eq!(environment(&without_empty_variables(Program::command(), &names(empty))), 0);
        }
    }

    #[test]
    fn a_path_may_begin_at_home() {
        let home = env::home_dir().expect("a home");
        let file = |path: &str| {
            let Program { verb: Verb::Go { file, .. } } = Program::parse_from(["x", "go", "--file", path]);
            file.expect("is given")
        };
        assert_eq!(file("~/x/y"), home.join("x/y"));
        assert_eq!(file("~"), home);
        for other in ["x/~/y", "~x", "./~"] {
            assert_eq!(file(other), Path::new(other));
        }
    }

    #[test]
    fn a_token_is_found_whatever_stands_around_it() {
        let token = "secateur_worker_0123abc";
        for text in [
            format!("{token}\n"),
            format!("\r\n  {token}  \r\n"),
            format!("\"{token}\""),
            format!("'{token}'\n"),
            format!("SECATEUR_TOKEN={token}\n"),
            format!("export SECATEUR_TOKEN=\"{token}\"\n"),
            format!("# of the GPU nodes\nsecateur_token: {token}\n"),
            format!("Authorization: Bearer {token}\n"),
            format!("{{\"name\": \"nodes\", \"role\": \"worker\", \"token\": \"{token}\"}}"),
        ] {
            assert_eq!(token_in(&text), Some(token), "{text}");
        }
        for none in ["", " \n", "two words", &format!("{token}\n{token}1\n"), "-----BEGIN CERTIFICATE-----\nMIIB\n"] {
            assert_eq!(token_in(none), None, "{none}");
        }
        assert_eq!(token_in("another"), Some("another"));
    }

    #[test]
    fn text_of_windows_is_read() {
        let text = "name: ä\n";
        let units = |bytes: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(bytes).collect::<Vec<u8>>();
        let little = [&[0xff, 0xfe][..], &units(u16::to_le_bytes)].concat();
        let big = [&[0xfe, 0xff][..], &units(u16::to_be_bytes)].concat();
        for bytes in [little, big, text.into(), [&[0xef, 0xbb, 0xbf][..], text.as_bytes()].concat()] {
            assert_eq!(decoded(bytes).as_deref(), Some(text));
        }
        for other in [&[0xff, 0xfe, 0x20][..], &[0xff], b"PK\x03\x04\xff"] {
            assert_eq!(decoded(other.to_vec()), None);
        }
    }
}
