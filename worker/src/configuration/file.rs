//! Reads a configuration file and finds every mistake's place.

use std::{
    fs, io,
    ops::Range,
    path::{Path, PathBuf},
};

use clap::{Arg, ArgAction};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{SECTIONS, takes_several};

/// The similarity of two names above which one is suggested for the other.
const SIMILAR: f64 = 0.7;

/// A value that the file gives an option.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// `serve`, `worker` or `contexts.NAME`.
    pub section: String,
    /// The option, without dashes at its beginning.
    pub key: String,
    /// Its values as the command line would have them. Paths are relative to the folder of the file.
    pub values: Vec<String>,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1.
    pub column: usize,
}

/// The error for a configuration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigurationError {
    /// The file cannot be read.
    #[error("cannot read the configuration {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// Something in the file is wrong.
    #[error("{}:{line}:{column}: {message}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong.
        message: String,
    },
    /// A coordinator is named that the file does not have.
    #[error("no context {name:?} in {}{}", path.display(), listed(known))]
    Context {
        /// The file.
        path: PathBuf,
        /// The name.
        name: String,
        /// The names in the file.
        known: Vec<String>,
    },
    /// A coordinator is named, and there is no file.
    #[error("no context {name:?}: there is no configuration file (expected {})", either(places))]
    NoFile {
        /// The name.
        name: String,
        /// Where files are looked for.
        places: Vec<PathBuf>,
    },
    /// Two coordinators are named.
    #[error("--context and --coordinator name two coordinators: pass one of them")]
    Both,
}

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        return "; it has no [contexts.NAME]".to_owned();
    }
    format!("; it has {}", known.join(", "))
}

fn either(places: &[PathBuf]) -> String {
    places.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(" or ")
}

/// The content of a file.
#[derive(Debug, Default)]
pub(super) struct Content {
    pub(super) entries: Vec<Entry>,
    /// The coordinator that is called unless another one is named.
    pub(super) context: Option<String>,
    pub(super) contexts: Vec<String>,
}

/// The options that are keys of a section.
type Keys<'a> = &'a dyn Fn(&str) -> Vec<&'a Arg>;

/// A mistake in a text.
struct Mistake(Range<usize>, String);

/// Reads a file. `keys` gives the options of a section.
pub(super) fn read(path: &Path, keys: Keys<'_>) -> Result<Content, ConfigurationError> {
    let unreadable = |source| ConfigurationError::Unreadable { path: path.to_owned(), source };
    let bytes = fs::read(path).map_err(unreadable)?;
    let text = crate::arguments::decoded(bytes)
        .ok_or_else(|| unreadable(io::Error::new(io::ErrorKind::InvalidData, "it is not text")))?;
    parse(&text, path.parent().unwrap_or(Path::new("")), keys).map_err(|Mistake(span, message)| {
        let (line, column) = place(&text, span.start);
        ConfigurationError::Wrong { path: path.to_owned(), line, column, message }
    })
}

fn parse(text: &str, folder: &Path, keys: Keys<'_>) -> Result<Content, Mistake> {
    let document =
        DeTable::parse(text).map_err(|error| Mistake(error.span().unwrap_or_default(), error.message().to_owned()))?;
    let mut content = Content::default();
    for (name, value) in document.get_ref() {
        match name.get_ref().as_ref() {
            "context" => match value.get_ref() {
                DeValue::String(name) => content.context = Some(name.to_string()),
                _ => return Err(Mistake(value.span(), "context: expected the name of a context in quotes".to_owned())),
            },
            "contexts" => {
                for (name, context) in table(value, "contexts")? {
                    let section = format!("contexts.{}", name.get_ref());
                    content.contexts.push(name.get_ref().to_string());
                    read_section(&section, table(context, &section)?, folder, text, keys, &mut content.entries)?;
                }
            }
            section if SECTIONS.contains(&section) && !keys(section).is_empty() => {
                read_section(section, table(value, section)?, folder, text, keys, &mut content.entries)?;
            }
            // The other program's: one file may serve both.
            section if SECTIONS.contains(&section) => {}
            other => {
                let known = SECTIONS.iter().copied().chain(["context", "contexts"]);
                return Err(Mistake(name.span(), unknown(other, known)));
            }
        }
    }
    if let Some(name) = content.context.as_ref().filter(|name| !content.contexts.contains(name)) {
        let span = document.get_ref().get("context").map(Spanned::span).unwrap_or_default();
        return Err(Mistake(span, format!("context: there is no [contexts.{name}]{}", listed(&content.contexts))));
    }
    Ok(content)
}

fn read_section(
    section: &str,
    table: &DeTable<'_>,
    folder: &Path,
    text: &str,
    keys: Keys<'_>,
    entries: &mut Vec<Entry>,
) -> Result<(), Mistake> {
    let keys = keys(section);
    for (key, value) in table {
        let name = key.get_ref().as_ref();
        let Some(option) = keys.iter().find(|option| option.get_long() == Some(name)) else {
            return Err(Mistake(key.span(), unknown(name, keys.iter().filter_map(|option| option.get_long()))));
        };
        let values = values(option, value, folder)
            .map_err(|expected| Mistake(value.span(), format!("{section}.{name}: expected {expected}")))?;
        let (line, column) = place(text, key.span().start);
        entries.push(Entry { section: section.to_owned(), key: name.to_owned(), values, line, column });
    }
    Ok(())
}

fn table<'a, 'i>(value: &'a Spanned<DeValue<'i>>, name: &str) -> Result<&'a DeTable<'i>, Mistake> {
    match value.get_ref() {
        DeValue::Table(table) => Ok(table),
        _ => Err(Mistake(value.span(), format!("{name}: expected a table, as in [{name}]"))),
    }
}

/// The values of an option, or what is expected instead.
fn values(option: &Arg, value: &Spanned<DeValue<'_>>, folder: &Path) -> Result<Vec<String>, &'static str> {
    let is_flag = !option.get_action().takes_values();
    let is_path =
        option.get_value_names().is_some_and(|names| names.iter().any(|name| name == "DIR" || name == "FILE"));
    let scalar = |value: &DeValue<'_>| match value {
        DeValue::String(text) if is_path => {
            let path = crate::arguments::at_home(Path::new(text.as_ref()));
            Some(folder.join(path).to_string_lossy().into_owned())
        }
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        DeValue::Float(number) => Some(number.as_str().to_owned()),
        _ => None,
    };
    match (value.get_ref(), is_flag) {
        (DeValue::Boolean(flag), true) if matches!(option.get_action(), ArgAction::SetTrue) => {
            Ok(vec![flag.to_string()])
        }
        (_, true) => Err("true or false"),
        (DeValue::Array(list), false) if takes_several(option) => {
            list.iter().map(|value| scalar(value.get_ref())).collect::<Option<_>>().ok_or("a list of texts or numbers")
        }
        (value, false) => scalar(value).map(|value| vec![value]).ok_or("a text or a number"),
    }
}

fn unknown<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    let mut known: Vec<&str> = known.collect();
    known.sort_by(|a, b| strsim::jaro_winkler(b, name).total_cmp(&strsim::jaro_winkler(a, name)));
    let near = known.first().filter(|other| strsim::jaro_winkler(other, name) > SIMILAR);
    let near = near.map(|other| format!("; did you mean {other}?")).unwrap_or_default();
    format!("unknown key {name:?}{near}")
}

/// The line and the column of a byte of a text, from 1.
fn place(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line = before.rsplit('\n').next().unwrap_or_default();
    (before.matches('\n').count() + 1, line.chars().count() + 1)
}
