//! From the bytes of a file to columns of cells. Knows nothing of targets, splits or tensors.
//!
//! An empty cell is a missing value. White space around cells and names is no part of them, a byte order mark is skipped, and
//! lines may end in LF or CRLF. Everything else of RFC 4180 holds: quotes, doubled quotes and line breaks within quotes. Encoding,
//! separator and header are those of the [`Reading`]. A first column without a name is an index and is ignored, as is any column
//! without a name and without a value.

use std::collections::HashMap;

use secateur_proto::spec::{Reading, Separator, TableFormat};

use super::{
    dialect::{self, LineCounter, Surplus},
    error::{DataError, nearest, shown, some_of},
    packed,
    spelling::plain,
    text,
};

/// The most text that is read, in bytes: 8 GiB. A gzip of 8 MB can hold it.
pub const MAX_TEXT: u64 = 8 << 30;

/// The longest field that is read, in bytes.
pub const MAX_FIELD: usize = 64 << 10;

/// The longest column name that is read, in bytes.
pub const MAX_NAME: usize = 1000;

/// A table as it stands in the file: names and cells.
#[derive(Debug, Clone)]
pub struct Table {
    columns: Vec<Column>,
    /// The line of the file, from 1, on which each row begins.
    lines: Vec<u64>,
    /// The number of each row in the file, from 0; none where all are kept.
    numbers: Option<Vec<u32>>,
    /// The columns, from 1, that have no name and are ignored.
    unnamed: Vec<usize>,
}

/// One column of a [`Table`].
#[derive(Debug, Clone)]
pub struct Column {
    name: String,
    /// All cells one after the other, so that reading allocates per column and not per cell.
    text: String,
    /// Where each cell ends in `text`.
    ends: Vec<usize>,
}

impl Column {
    /// Its name in the header.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The cells from the first row on; nothing where the value is missing.
    pub fn cells(&self) -> impl ExactSizeIterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let cell = &self.text[start..end];
            start = end;
            (!cell.is_empty()).then_some(cell)
        })
    }

    fn push(&mut self, cell: &str) {
        self.text.push_str(cell.trim());
        self.ends.push(self.text.len());
    }
}

impl Table {
    /// Reads a table.
    ///
    /// # Errors
    /// If the bytes are not a rectangular table with a header of different names and at least one row.
    pub fn read(format: TableFormat, reading: &Reading, bytes: &[u8]) -> Result<Self, DataError> {
        if format == TableFormat::Idx {
            return Err(DataError::Csv("it is of packed images and not of columns".into()));
        }
        Self::parse(&text::decode(&packed::unpacked(reading, bytes)?, reading)?, reading)
    }

    /// That the text of a table has no more than `limit` bytes, without keeping it. Of images, the bytes themselves count.
    ///
    /// # Errors
    /// If it has more, or cannot be decompressed.
    pub fn check_size(format: TableFormat, bytes: &[u8], limit: u64) -> Result<(), DataError> {
        let size = match format {
            TableFormat::Csv | TableFormat::CsvGz => packed::size(bytes, limit)?,
            TableFormat::Idx => bytes.len() as u64,
        };
        if size > limit { Err(DataError::TooLarge { limit }) } else { Ok(()) }
    }

    /// Rows, without the header.
    #[must_use]
    pub fn rows(&self) -> usize {
        self.lines.len()
    }

    /// The columns in the order of the header.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The column called `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&Column> {
        self.columns.iter().find(|column| column.name == name)
    }

    /// The line of the file, from 1, on which a row, from 0, begins.
    ///
    /// # Panics
    /// If there is no such row.
    #[must_use]
    pub fn line(&self, row: usize) -> u64 {
        self.lines[row]
    }

    /// Says that there is no column called `name`, and which one may have been meant. `what` says where the name is from.
    #[must_use]
    pub fn unknown(&self, what: &str, name: &str) -> String {
        let names = || self.columns.iter().map(Column::name);
        if let Some(number) = names()
            .find(|name| plain(name).is_some_and(|number| number.fract() != 0.0 || !(0.0..=99.0).contains(&number)))
        {
            return format!(
                "{what} {} is no column of the table, whose first line has {}; if that line is a row, say \
                 data.format: {{header: none, names: [...]}}",
                shown(name),
                shown(number)
            );
        }
        match nearest(name, names()) {
            Some(nearest) => format!("{what} {} is no column of the table; did you mean {nearest:?}?", shown(name)),
            None => format!("{what} {} is no column of the table, which has {}", shown(name), some_of(names())),
        }
    }

    /// The number in the file, from 0, of a row.
    #[must_use]
    pub(super) fn number(&self, row: u32) -> u32 {
        self.numbers.as_ref().map_or(row, |numbers| numbers[row as usize])
    }

    /// The columns, from 1, that have no name and are ignored.
    pub(super) fn unnamed(&self) -> &[usize] {
        &self.unnamed
    }

    /// Keeps the rows for which `keeps` is true.
    pub(super) fn retain(&mut self, keeps: &[bool]) {
        let kept = |row: &u32| keeps[*row as usize];
        let numbers: Vec<u32> = (0..self.rows() as u32).filter(kept).collect();
        self.lines = numbers.iter().map(|row| self.lines[*row as usize]).collect();
        for column in &mut self.columns {
            let mut left = Column { name: column.name.clone(), text: String::new(), ends: Vec::new() };
            for (cell, _) in column.cells().zip(keeps).filter(|(_, keeps)| **keeps) {
                left.push(cell.unwrap_or_default());
            }
            *column = left;
        }
        self.numbers = Some(numbers);
    }

    pub(super) fn parse(text: &str, reading: &Reading) -> Result<Self, DataError> {
        let separator = reading.separator.unwrap_or(Separator::Comma);
        let (body, first) = dialect::body(text, reading);
        let text = body.as_ref();
        let mut reader = dialect::records(text, separator);
        let mut lines = LineCounter::new(text, first);
        let mut record = csv::StringRecord::new();
        let unreadable = |error: csv::Error| DataError::Csv(error.to_string());

        if text.trim().is_empty() || !reader.read_record(&mut record).map_err(unreadable)? {
            return Err(DataError::Empty);
        }
        let header_line = lines.line_at(record.position());
        match dialect::surplus(text, separator).filter(|_| !reading.no_header) {
            Some(Surplus::First) => record = std::iter::once("").chain(&record).collect(),
            Some(Surplus::Last) => record.push_field(""),
            None => {}
        }
        let (mut columns, problems) = header(&record, header_line, reading)?;
        let mut row_lines = Vec::new();
        let mut is_read = reading.no_header;
        while is_read || reader.read_record(&mut record).map_err(unreadable)? {
            is_read = false;
            let line = lines.line_at(record.position());
            if record.len() != columns.len() {
                let stray = || dialect::stray_lines(text, separator, first, reading.skip_rows, line);
                return Err(DataError::Ragged {
                    line,
                    found: record.len(),
                    expected: columns.len(),
                    hint: hint(&record, separator).map(str::to_owned).or_else(stray),
                });
            }
            let at_end = reader.position().byte() >= text.len() as u64;
            if at_end && record.iter().next_back().is_some_and(|cell| ends_open(text, cell, separator)) {
                return Err(DataError::OpenQuote { line });
            }
            for (column, cell) in columns.iter_mut().zip(&record) {
                if cell.len() > MAX_FIELD {
                    return Err(DataError::HugeField {
                        line,
                        column: column.name.clone(),
                        bytes: cell.len(),
                        limit: MAX_FIELD,
                    });
                }
                column.push(cell);
            }
            row_lines.push(line);
            if row_lines.len() > u32::MAX as usize {
                return Err(DataError::TooManyRows);
            }
        }
        let unnamed = without_name(&mut columns, problems, header_line)?;
        if row_lines.is_empty() {
            return Err(DataError::NoRows);
        }
        Ok(Self { columns, lines: row_lines, numbers: None, unnamed })
    }
}

/// Problems of a header by the number of the column.
type Problems = Vec<(usize, String)>;

/// The columns of a header, or those that are named in its place, and what is wrong with their names.
fn header(record: &csv::StringRecord, line: u64, reading: &Reading) -> Result<(Vec<Column>, Problems), DataError> {
    let numbers: Vec<String> = (1..=record.len()).map(|number| number.to_string()).collect();
    let names: Vec<&str> = match (reading.no_header, reading.names.is_empty()) {
        (false, _) => record.iter().map(str::trim).collect(),
        (true, true) => numbers.iter().map(String::as_str).collect(),
        (true, false) => reading.names.iter().map(|name| name.trim()).collect(),
    };
    if names.len() != record.len() {
        let (named, found) = (names.len(), record.len());
        let problems = vec![format!("data.format.names has {named} names for {found} columns")];
        return Err(DataError::Header { line, problems });
    }
    let mut problems = Vec::new();
    let mut first_with = HashMap::new();
    for (index, name) in names.iter().enumerate() {
        let number = index + 1;
        if name.len() > MAX_NAME {
            problems.push((number, format!("the name of column {number} is {} bytes long", name.len())));
        } else if !name.is_empty()
            && let Some(first) = first_with.insert(*name, number)
        {
            problems.push((number, format!("columns {first} and {number} are both named {}", shown(name))));
        }
        if problems.len() == MAX_PROBLEMS {
            break;
        }
    }
    let column = |name: &&str| Column { name: (*name).to_owned(), text: String::new(), ends: Vec::new() };
    Ok((names.iter().map(column).collect(), problems))
}

/// Takes the columns without a name out and gives their numbers. Only an index, or one without a value, may have none.
fn without_name(columns: &mut Vec<Column>, mut problems: Problems, line: u64) -> Result<Vec<usize>, DataError> {
    let unnamed = || columns.iter().enumerate().filter(|(_, column)| column.name.is_empty());
    let has_value = |at: usize, column: &Column| at > 0 && !column.text.is_empty();
    let with_value = unnamed().filter(|(at, column)| has_value(*at, column)).take(MAX_PROBLEMS);
    problems.extend(with_value.map(|(at, _)| (at + 1, format!("column {} has no name", at + 1))));
    if !problems.is_empty() {
        problems.sort_unstable();
        let mut problems: Vec<String> = problems.into_iter().map(|(_, problem)| problem).collect();
        if problems.iter().filter(|problem| problem.ends_with("has no name")).count() > 1 {
            problems.push("if the header is a lower line, skip those above it: data.format: {skip_rows: 1}".to_owned());
        }
        return Err(DataError::Header { line, problems });
    }
    let numbers = unnamed().map(|(at, _)| at + 1).collect();
    columns.retain(|column| !column.name.is_empty());
    Ok(numbers)
}

/// Enough to mend a header; a hostile one has millions.
const MAX_PROBLEMS: usize = 20;

fn hint(record: &csv::StringRecord, separator: Separator) -> Option<&'static str> {
    if record.iter().any(|cell| cell.contains('\n')) {
        Some("a quote may have been opened and never closed")
    } else if separator == Separator::Comma && record.len() == 1 && record.iter().any(|cell| cell.contains([';', '\t']))
    {
        Some("fields have to be separated by commas, or data.format.separator has to say by what")
    } else {
        None
    }
}

/// Whether the text ends within the quoted field `cell`: right before it stands a quote that begins a field, and nothing,
/// not even a line end, stands behind it.
fn ends_open(text: &str, cell: &str, separator: Separator) -> bool {
    let before = text.strip_suffix(cell).and_then(|before| before.strip_suffix('"'));
    let begins = [char::from(dialect::byte_of(separator)), '\n', '\r'];
    before.is_some_and(|before| before.is_empty() || before.ends_with(begins))
}
