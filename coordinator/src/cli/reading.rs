//! The options that say how a table is read, with the names and meanings of the sweep file's keys.

use std::{
    fs,
    path::{Path, PathBuf},
};

use clap::Args;
use secateur_proto::spec::{Decimal, Reading, Separator, TextEncoding, Vocabulary};
use secateur_worker::data::{Asked, Inspection, inspect};

use super::{error::CliError, progress::Screen};

/// The options of the verbs that read a table.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Reading the table")]
pub(crate) struct ReadingArguments {
    /// Field separator: a comma, `;`, `|`, tab or space [default: detected]
    #[arg(long, value_name = "SEPARATOR", value_parser = separator)]
    separator: Option<Separator>,
    /// Decimal separator: `.` or a comma [default: detected where certain]
    #[arg(long, value_name = "DECIMAL", value_parser = named::<Decimal>)]
    decimal: Option<Decimal>,
    /// Whether the first line names the columns: first_line or none
    #[arg(long, value_name = "HEADER", value_parser = ["first_line", "none"], default_value = "first_line", hide_possible_values = true)]
    header: String,
    /// Column names of a table with `--header none`, separated by commas [default: 1,2,3,…]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    names: Vec<String>,
    /// Treat this word as a missing value, too; may be repeated
    #[arg(long, value_name = "WORD", allow_hyphen_values = true)]
    missing: Vec<String>,
    /// Skip this many lines above the header
    #[arg(long, value_name = "LINES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    skip_rows: u32,
    /// Skip this many lines below the last row
    #[arg(long, value_name = "LINES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=1_000_000))]
    skip_footer: u32,
    /// Text encoding: utf-8, utf-16 or windows-1252 [default: detected where certain]
    #[arg(long, value_name = "ENCODING", value_parser = named::<TextEncoding>)]
    encoding: Option<TextEncoding>,
}

impl ReadingArguments {
    /// What they say of the table.
    pub(crate) fn reading(&self) -> Result<Reading, CliError> {
        let no_header = self.header == "none";
        if !no_header && !self.names.is_empty() {
            return Err(CliError::Input("--names is for tables with --header none".to_owned()));
        }
        let words: Vec<String> = self.missing.iter().map(|word| word.trim().to_owned()).collect();
        if words.iter().any(String::is_empty) {
            return Err(CliError::Input("--missing needs a word; an empty cell is always missing".to_owned()));
        }
        Ok(Reading {
            encoding: self.encoding,
            separator: self.separator,
            decimal: self.decimal,
            no_header,
            names: self.names.clone(),
            skip_rows: self.skip_rows,
            skip_footer: self.skip_footer,
            missing: (!words.is_empty()).then_some(words),
            ..Reading::default()
        })
    }
}

fn separator(text: &str) -> Result<Separator, String> {
    match text {
        "\t" | "\\t" => Ok(Separator::Tab),
        " " => Ok(Separator::Space),
        text => named(text),
    }
}

fn named<E: Vocabulary>(text: &str) -> Result<E, String> {
    E::named(text).ok_or_else(|| {
        let names: Vec<String> = E::ALL.iter().map(|one| format!("`{}`", one.name())).collect();
        format!("expected one of {}", names.join(" "))
    })
}

/// The bytes of a table, and what is in it.
pub(crate) async fn read(
    path: &Path,
    reading: &Reading,
    target: Option<&str>,
    split: Option<&str>,
    screen: &Screen,
) -> Result<(Vec<u8>, Inspection), CliError> {
    let _spinner = screen.spinner("reading the table");
    let (path, reading): (PathBuf, Reading) = (path.to_owned(), reading.clone());
    let (target, split) = (target.map(str::to_owned), split.map(str::to_owned));
    let read = tokio::task::spawn_blocking(move || {
        let at = |problem: String| CliError::Input(format!("{}: {problem}", path.display()));
        if path.is_dir() {
            return Err(at("is a folder; pass the file of a table".to_owned()));
        }
        let bytes =
            fs::read(&path).map_err(|error| CliError::Input(format!("cannot read {}: {error}", path.display())))?;
        let asked = Asked { target: target.as_deref(), split: split.as_deref() };
        let inspection = inspect(&reading, &bytes, asked).map_err(|error| at(error.to_string()))?;
        Ok((bytes, inspection))
    });
    read.await.map_err(|error| CliError::failed(&error))?
}
