//! From the bytes of a file to columns of cells. Knows nothing of targets, splits or tensors.
//!
//! An empty cell is a missing value. White space around cells and names is no part of them, a byte order mark is skipped, and
//! lines may end in LF or CRLF. Everything else of RFC 4180 holds: quotes, doubled quotes and line breaks within quotes.

use std::{
    collections::HashMap,
    io::{self, Read as _},
};

use secateur_proto::spec::TableFormat;

use super::error::{DataError, nearest, shown, some_of};

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
    pub fn read(format: TableFormat, bytes: &[u8]) -> Result<Self, DataError> {
        match format {
            TableFormat::Csv if bytes.starts_with(&GZIP_MAGIC) => {
                Err(DataError::Gzip("it is gzipped although its name does not end in .gz; add .gz to the name".into()))
            }
            TableFormat::Csv => Self::parse(bytes),
            TableFormat::CsvGz => Self::parse(&decompress(bytes, MAX_TEXT)?),
            TableFormat::Idx => Err(DataError::Csv("it is of packed images and not of columns".into())),
        }
    }

    /// That the text of a table has no more than `limit` bytes, without keeping it. Of images, the bytes themselves count.
    ///
    /// # Errors
    /// If it has more, or cannot be decompressed.
    pub fn check_size(format: TableFormat, bytes: &[u8], limit: u64) -> Result<(), DataError> {
        let size = match format {
            TableFormat::CsvGz => unpack(bytes, limit, &mut io::sink())?,
            TableFormat::Csv | TableFormat::Idx => bytes.len() as u64,
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
        match nearest(name, names()) {
            Some(nearest) => format!("{what} {} is no column of the table; did you mean {nearest:?}?", shown(name)),
            None => format!("{what} {} is no column of the table, which has {}", shown(name), some_of(names())),
        }
    }

    fn parse(bytes: &[u8]) -> Result<Self, DataError> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        let text = std::str::from_utf8(bytes)
            .map_err(|error| DataError::NotUtf8 { line: 1 + newlines(&bytes[..error.valid_up_to()]) })?;
        let mut reader = csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
        let mut lines = LineCounter { text, line: 1, byte: 0 };
        let mut record = csv::StringRecord::new();
        let unreadable = |error: csv::Error| DataError::Csv(error.to_string());

        if text.trim().is_empty() || !reader.read_record(&mut record).map_err(unreadable)? {
            return Err(DataError::Empty);
        }
        let mut columns = header(&record, lines.line_of(&record))?;
        let mut row_lines = Vec::new();
        while reader.read_record(&mut record).map_err(unreadable)? {
            let line = lines.line_of(&record);
            if record.len() != columns.len() {
                return Err(DataError::Ragged {
                    line,
                    found: record.len(),
                    expected: columns.len(),
                    hint: hint(&record, reader.position().byte(), text),
                });
            }
            let at_end = reader.position().byte() >= text.len() as u64;
            if at_end && record.iter().next_back().is_some_and(|cell| ends_open(text, cell)) {
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
        if row_lines.is_empty() {
            return Err(DataError::NoRows);
        }
        Ok(Self { columns, lines: row_lines })
    }
}

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

pub(super) fn decompress(bytes: &[u8], limit: u64) -> Result<Vec<u8>, DataError> {
    let mut text = Vec::new();
    if unpack(bytes, limit, &mut text)? > limit { Err(DataError::TooLarge { limit }) } else { Ok(text) }
}

/// Writes what `bytes` come to when decompressed into `text`, and says how much it was: one byte more than `limit` where there would be
/// still more.
fn unpack(bytes: &[u8], limit: u64, text: &mut impl io::Write) -> Result<u64, DataError> {
    if !bytes.starts_with(&GZIP_MAGIC) {
        let found = if bytes.is_empty() { "it is empty" } else { "it is not gzip although its name ends in .gz" };
        return Err(DataError::Gzip(found.into()));
    }
    let mut unpacked = flate2::read::MultiGzDecoder::new(bytes).take(limit.saturating_add(1));
    let size = io::copy(&mut unpacked, text);
    size.map_err(|error| {
        DataError::Gzip(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let there = limit.saturating_add(1) - unpacked.limit();
                format!("it is cut short, after {there} bytes of text; copy the file again")
            }
            _ => format!("it is damaged ({error}); copy the file again"),
        })
    })
}

fn header(record: &csv::StringRecord, line: u64) -> Result<Vec<Column>, DataError> {
    let mut problems = Vec::new();
    let mut first_with = HashMap::new();
    for (index, name) in record.iter().map(str::trim).enumerate() {
        let number = index + 1;
        if name.is_empty() {
            problems.push(format!("column {number} has no name"));
        } else if name.len() > MAX_NAME {
            problems.push(format!("the name of column {number} is {} bytes long", name.len()));
        } else if let Some(first) = first_with.insert(name, number) {
            problems.push(format!("columns {first} and {number} are both named {}", shown(name)));
        }
        if problems.len() == MAX_PROBLEMS {
            break;
        }
    }
    if !problems.is_empty() {
        return Err(DataError::Header { line, problems });
    }
    let column = |name: &str| Column { name: name.trim().to_owned(), text: String::new(), ends: Vec::new() };
    Ok(record.iter().map(column).collect())
}

/// Enough to mend a header; a hostile one has millions.
const MAX_PROBLEMS: usize = 20;

fn hint(record: &csv::StringRecord, end: u64, text: &str) -> Option<&'static str> {
    if record.iter().any(|cell| cell.contains('\n')) {
        Some("a quote may have been opened and never closed")
    } else if end >= text.len() as u64 {
        Some("it is the last line, so the table may be cut short")
    } else if record.len() == 1 && record.iter().any(|cell| cell.contains([';', '\t'])) {
        Some("fields have to be separated by commas")
    } else {
        None
    }
}

/// Whether the text ends within the quoted field `cell`: right before it stands a quote that begins a field, and nothing,
/// not even a line end, stands behind it.
fn ends_open(text: &str, cell: &str) -> bool {
    let before = text.strip_suffix(cell).and_then(|before| before.strip_suffix('"'));
    before.is_some_and(|before| before.is_empty() || before.ends_with([',', '\n', '\r']))
}

/// Counts the lines up to a record. The reader's own count is one behind after a CRLF or an empty line.
struct LineCounter<'a> {
    text: &'a str,
    line: u64,
    byte: usize,
}

impl LineCounter<'_> {
    /// The line on which `record` begins. Records have to come in order.
    fn line_of(&mut self, record: &csv::StringRecord) -> u64 {
        let bytes = self.text.as_bytes();
        let recorded = record.position().map_or(0, csv::Position::byte);
        let mut start = usize::try_from(recorded).map_or(bytes.len(), |start| start.min(bytes.len()));
        // The line end before the record, and empty lines, have not been read yet where the reader says that it begins.
        start += bytes[start..].iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
        if start > self.byte {
            self.line += newlines(&bytes[self.byte..start]);
            self.byte = start;
        }
        self.line
    }
}

fn newlines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|&&byte| byte == b'\n').count() as u64
}
