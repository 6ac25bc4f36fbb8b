//! Tables for other programs, as CSV or Parquet. Rows are written as they come: of Parquet, one group of rows is in memory.
//!
//! Parquet needs the feature `parquet`.

#[cfg(feature = "parquet")]
mod parquet;
#[cfg(test)]
mod tests;

use std::io::{self, Write};

/// The format of the file of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TableFormat {
    /// Delimited text with a header. A missing value is an empty field. A text that a spreadsheet would run as a formula has an apostrophe
    /// before it.
    Csv,
    /// Apache Parquet, compressed with zstd. A missing value is a null.
    Parquet,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnKind {
    /// UTF-8.
    Text,
    /// 64 bits with a sign.
    Integer,
    /// 64-bit floating point. What is not finite is missing.
    Number,
    /// True or false.
    Flag,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableColumn {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub kind: ColumnKind,
}

/// One value.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum TableCell<'a> {
    /// None.
    Missing,
    /// Of a text column.
    Text(&'a str),
    /// Of an integer column.
    Integer(i64),
    /// Of a number column.
    Number(f64),
    /// Of a flag column.
    Flag(bool),
}

/// Why a table cannot be written.
#[derive(Debug, thiserror::Error)]
pub enum TableFileError {
    /// The program was built without Parquet.
    #[error(
        "this program was built without Parquet; build it with `cargo install --path coordinator --locked --features parquet`, \
         or write CSV"
    )]
    NoParquet,
    /// A row does not have the columns of its table.
    #[error("a row does not fit the columns of its table")]
    Row,
    /// The file cannot be written.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The library of Parquet failed.
    #[error("cannot write Parquet: {0}")]
    Parquet(String),
}

/// Writes one table.
pub struct TableWriter<W: Write + Send>(Inner<W>);

#[cfg_attr(feature = "parquet", expect(clippy::large_enum_variant, reason = "there is one of them"))]
enum Inner<W: Write + Send> {
    Csv {
        out: csv::Writer<W>,
        kinds: Vec<ColumnKind>,
    },
    #[cfg(feature = "parquet")]
    Parquet(parquet::Writer<W>),
}

impl<W: Write + Send> TableWriter<W> {
    /// Begins a table.
    ///
    /// # Errors
    /// If the file cannot be written, or the program was built without its format.
    pub fn new(format: TableFormat, columns: &[TableColumn], out: W) -> Result<Self, TableFileError> {
        match format {
            TableFormat::Csv => {
                let mut out = csv::Writer::from_writer(out);
                out.write_record(columns.iter().map(|column| harmless(&column.name).into_owned()))
                    .map_err(io::Error::from)?;
                Ok(Self(Inner::Csv { out, kinds: columns.iter().map(|column| column.kind).collect() }))
            }
            #[cfg(feature = "parquet")]
            TableFormat::Parquet => Ok(Self(Inner::Parquet(parquet::Writer::new(columns, out)?))),
            #[cfg(not(feature = "parquet"))]
            TableFormat::Parquet => Err(TableFileError::NoParquet),
        }
    }

    /// Writes a row: a cell for each column.
    ///
    /// # Errors
    /// If the file cannot be written, or the cells are not those of the columns.
    pub fn row(&mut self, cells: &[TableCell<'_>]) -> Result<(), TableFileError> {
        match &mut self.0 {
            Inner::Csv { out, kinds } => {
                if cells.len() != kinds.len() || !cells.iter().zip(kinds.iter()).all(|(cell, kind)| cell.is_of(*kind)) {
                    return Err(TableFileError::Row);
                }
                for cell in cells {
                    match cell.finite() {
                        TableCell::Missing => out.write_field(""),
                        TableCell::Text(text) => out.write_field(harmless(text).as_bytes()),
                        TableCell::Integer(value) => out.write_field(value.to_string()),
                        TableCell::Number(value) => out.write_field(value.to_string()),
                        TableCell::Flag(value) => out.write_field(value.to_string()),
                    }
                    .map_err(io::Error::from)?;
                }
                out.write_record(None::<&[u8]>).map_err(io::Error::from)?;
                Ok(())
            }
            #[cfg(feature = "parquet")]
            Inner::Parquet(writer) => writer.row(cells),
        }
    }

    /// Completes the file and gives it back.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn finish(self) -> Result<W, TableFileError> {
        match self.0 {
            Inner::Csv { out, .. } => out.into_inner().map_err(|error| TableFileError::Io(error.into_error())),
            #[cfg(feature = "parquet")]
            Inner::Parquet(writer) => writer.finish(),
        }
    }
}

impl TableCell<'_> {
    const fn is_of(self, kind: ColumnKind) -> bool {
        matches!(
            (self, kind),
            (Self::Missing, _)
                | (Self::Text(_), ColumnKind::Text)
                | (Self::Integer(_), ColumnKind::Integer)
                | (Self::Number(_), ColumnKind::Number)
                | (Self::Flag(_), ColumnKind::Flag)
        )
    }

    fn finite(self) -> Self {
        match self {
            Self::Number(value) if !value.is_finite() => Self::Missing,
            cell => cell,
        }
    }
}

/// A text that no spreadsheet runs as a formula.
fn harmless(text: &str) -> std::borrow::Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) { format!("'{text}").into() } else { text.into() }
}
