//! `secateur tables`: everything that a sweep measured, as tables for data frames and databases.

mod epochs;
mod scores;

use std::{
    collections::BTreeMap,
    io::BufWriter,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Args, ValueEnum, builder::PossibleValuesParser};
use secateur_worker::{
    arguments,
    table_file::{ColumnKind, TableCell, TableColumn, TableFileError, TableFormat, TableWriter},
};
use serde::Serialize;
use tempfile::NamedTempFile;

use super::{
    error::CliError,
    output::{Output, thousands},
    outputs,
    progress::Screen,
    saved::SavedRun,
    source::RunSource,
};
use crate::report::{Kind, TABLES, TableSpec, Value};

/// The tables that are made of files of trials, one after another. To add one, write its file and its line.
const OF_FILES: [FileTable; 2] = [epochs::TABLE, scores::TABLE];

const AFTER_HELP: &str = "\
Tables: trials, metrics, cells, statistics, differences, front, importance, hypervolume, epochs, scores. coordinator/README.md describes
their columns. Each table begins with the column sweep, so tables of several sweeps can be put together.";

/// The options of the verb.
#[derive(Debug, Args)]
#[command(after_help = AFTER_HELP)]
pub(crate) struct TablesArguments {
    #[command(flatten)]
    source: RunSource,
    /// Folder for the files, one for each table
    #[arg(long, value_name = "DIR", value_parser = arguments::path())]
    out: PathBuf,
    /// Format of the files
    #[arg(long, value_enum, default_value_t)]
    format: Format,
    /// Write these tables alone. Separate several with commas
    #[arg(long, value_name = "TABLE", value_delimiter = ',', value_parser = PossibleValuesParser::new(names()), hide_possible_values = true)]
    only: Vec<String>,
}

/// A format of tables.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Delimited text with a header
    #[default]
    Csv,
    /// Apache Parquet; needs a build with --features parquet
    Parquet,
}

/// A table that is made of files of trials. It is written as the files are read.
#[derive(Clone, Copy)]
struct FileTable {
    name: &'static str,
    columns: fn() -> Vec<(String, Kind)>,
    write: fn(&SavedRun, &mut Rows<'_>) -> Result<(), TablesError>,
}

/// Where rows go.
type Rows<'a> = dyn FnMut(&[TableCell<'_>]) -> Result<(), TableFileError> + 'a;

/// Why a table cannot be written.
enum TablesError {
    /// This is the folder of a report, without the files of trials.
    NoFiles,
    Cli(CliError),
    Table(TableFileError),
}

impl From<CliError> for TablesError {
    fn from(error: CliError) -> Self {
        Self::Cli(error)
    }
}

impl From<TableFileError> for TablesError {
    fn from(error: TableFileError) -> Self {
        Self::Table(error)
    }
}

/// A table that was written.
#[derive(Debug, Serialize)]
struct Written {
    path: PathBuf,
    rows: u64,
}

fn names() -> impl Iterator<Item = &'static str> {
    TABLES.iter().map(|table| table.name).chain(OF_FILES.iter().map(|table| table.name))
}

pub(crate) async fn run(arguments: TablesArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let run = arguments.source.open(&[]).await?;
    let _spinner = screen.spinner("writing tables");
    let writing = tokio::task::spawn_blocking(move || write(&arguments, &run));
    let (written, left_out) = writing.await.map_err(|error| CliError::failed(&error))??;
    if !left_out.is_empty() {
        let left_out = left_out.join(", ");
        screen.say(&format!(
            "left out: {left_out}. A report does not have the files of trials; use the folder of the run, or --sweep"
        ));
    }
    output.print(&written, || {
        let line = |table: &Written| format!("{} ({} rows)", table.path.display(), thousands(table.rows));
        written.values().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(ExitCode::SUCCESS)
}

/// The tables by name, and the names of those whose files are not here.
fn write(
    arguments: &TablesArguments,
    run: &SavedRun,
) -> Result<(BTreeMap<&'static str, Written>, Vec<&'static str>), CliError> {
    let is_asked = |name: &str| arguments.only.is_empty() || arguments.only.iter().any(|only| only == name);
    let (mut written, mut left_out) = (BTreeMap::new(), Vec::new());
    for table in TABLES.iter().filter(|table| is_asked(table.name)) {
        let (columns, rows) = of_report(table, run);
        let file = TableFile::create(arguments, table.name, columns)?;
        let done = file.fill(|put| {
            for row in rows {
                put(&row.iter().map(cell).collect::<Vec<_>>())?;
            }
            Ok(())
        });
        written.insert(table.name, done.map_err(|(error, path)| explained(error, &path))?);
    }
    for table in OF_FILES.iter().filter(|table| is_asked(table.name)) {
        let file = TableFile::create(arguments, table.name, (table.columns)())?;
        match file.fill(|put| (table.write)(run, put)) {
            Ok(done) => _ = written.insert(table.name, done),
            Err((TablesError::NoFiles, _)) if arguments.only.is_empty() => left_out.push(table.name),
            Err((error, path)) => return Err(explained(error, &path)),
        }
    }
    Ok((written, left_out))
}

type OfReport<'a> = (Vec<(String, Kind)>, Box<dyn Iterator<Item = Vec<Value<'a>>> + 'a>);

fn of_report<'a>(table: &TableSpec, run: &'a SavedRun) -> OfReport<'a> {
    let table = (table.of)(&run.report);
    (table.columns, table.rows)
}

fn explained(error: TablesError, path: &Path) -> CliError {
    match error {
        TablesError::Cli(error) => error,
        TablesError::NoFiles => CliError::Input(
            "a report does not have the files of trials that this table is made of; use the folder of the run, or --sweep".to_owned(),
        ),
        TablesError::Table(TableFileError::NoParquet) => CliError::Input(TableFileError::NoParquet.to_string()),
        TablesError::Table(TableFileError::Io(error)) => outputs::unwritable(path, &error),
        TablesError::Table(error) => CliError::Failed(format!("cannot write {}: {error}", path.display())),
    }
}

/// A file of a table that is being written. It has its name once it is whole.
struct TableFile {
    path: PathBuf,
    writer: TableWriter<BufWriter<NamedTempFile>>,
}

impl TableFile {
    fn create(arguments: &TablesArguments, name: &str, columns: Vec<(String, Kind)>) -> Result<Self, CliError> {
        let (format, ending) = match arguments.format {
            Format::Csv => (TableFormat::Csv, "csv"),
            Format::Parquet => (TableFormat::Parquet, "parquet"),
        };
        let path = arguments.out.join(format!("{name}.{ending}"));
        let draft = outputs::draft(&path).map_err(|error| outputs::unwritable(&path, &error))?;
        let columns: Vec<TableColumn> =
            columns.into_iter().map(|(name, kind)| TableColumn { name, kind: column_kind(kind) }).collect();
        let writer = TableWriter::new(format, &columns, BufWriter::new(draft));
        let writer = writer.map_err(|error| explained(error.into(), &path))?;
        Ok(Self { path, writer })
    }

    fn fill(
        mut self,
        write: impl FnOnce(&mut Rows<'_>) -> Result<(), TablesError>,
    ) -> Result<Written, (TablesError, PathBuf)> {
        let mut rows = 0;
        let mut put = |cells: &[TableCell<'_>]| {
            rows += 1;
            self.writer.row(cells)
        };
        let filled = write(&mut put);
        let finished = filled.and_then(|()| {
            let draft = self.writer.finish()?.into_inner().map_err(|error| TableFileError::Io(error.into_error()))?;
            Ok(outputs::publish(draft, &self.path).map_err(TableFileError::Io)?)
        });
        match finished {
            Ok(()) => Ok(Written { path: self.path, rows }),
            Err(error) => Err((error, self.path)),
        }
    }
}

const fn column_kind(kind: Kind) -> ColumnKind {
    match kind {
        Kind::Text => ColumnKind::Text,
        Kind::Integer => ColumnKind::Integer,
        Kind::Number => ColumnKind::Number,
        Kind::Flag => ColumnKind::Flag,
    }
}

fn cell<'a>(value: &'a Value<'_>) -> TableCell<'a> {
    match value {
        Value::Missing => TableCell::Missing,
        Value::Text(text) => TableCell::Text(text),
        Value::Integer(value) => TableCell::Integer(*value),
        Value::Number(value) => TableCell::Number(*value),
        Value::Flag(value) => TableCell::Flag(*value),
    }
}

/// Columns from their names and kinds.
fn columns<const N: usize>(columns: [(&str, Kind); N]) -> Vec<(String, Kind)> {
    columns.map(|(name, kind)| (name.to_owned(), kind)).to_vec()
}

/// A seed as data frames have numbers.
fn seed(seed: u64) -> TableCell<'static> {
    i64::try_from(seed).map_or(TableCell::Missing, TableCell::Integer)
}

#[cfg(test)]
mod tests;
