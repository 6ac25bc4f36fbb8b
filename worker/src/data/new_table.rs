//! A table of new rows, read row by row: memory does not grow with the table.
//!
//! Encoding and separator are found in the first megabyte. The header is the first line if it names every column that is needed.
//! Otherwise the table is read like the one of the sweep: the same number of lines above the header, or names in place of a header.

use std::{
    cell::Cell,
    io::{self, BufRead, BufReader, Cursor, Read},
    rc::Rc,
};

use secateur_proto::spec::{Reading, Separator, TextEncoding};

use super::{
    dialect::{self, Surplus},
    error::{DataError, nearest, shown, some_of},
    packed::{self, GZIP_MAGIC},
    table::MAX_FIELD,
    text,
};

/// What the form of the table is found in, in bytes.
const HEAD: usize = 1 << 20;

/// The most text of one row, in bytes.
const MAX_ROW: usize = 64 << 20;

/// The rows of a table, one after the other.
pub struct NewTable<'r> {
    reader: csv::Reader<Box<dyn Read + 'r>>,
    /// The bytes that were handed to the reader since the last row.
    since: Rc<Cell<usize>>,
    names: Vec<String>,
    record: csv::StringRecord,
    rows: u64,
}

/// Where the table begins in the text, and who names its columns.
struct Form {
    separator: Separator,
    skip: u32,
    has_header: bool,
    names: Vec<String>,
}

impl<'r> NewTable<'r> {
    /// Opens a table that has to have the columns `needed`. `said` is how the sweep's table was read.
    ///
    /// # Errors
    /// If it is no table, or a column is missing.
    pub fn open(input: impl Read + 'r, needed: &[&str], said: &Reading) -> Result<Self, DataError> {
        let (head, input) = unpacked(Box::new(input))?;
        let is_whole = head.len() < HEAD;
        let lines =
            if is_whole { head.len() } else { head.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1) };
        let lines = &head[..lines];
        let encoding = text::detect(lines).or(said.encoding).unwrap_or(TextEncoding::Utf8);
        // UTF-16 ends its lines with two bytes, of which the second may be beyond the last line end.
        let sample = if encoding == TextEncoding::Utf16 { &lines[..lines.len() & !1] } else { lines };
        let sample = text::decode(sample, &Reading { encoding: Some(encoding), ..Reading::default() })?;
        if sample.trim().is_empty() {
            return Err(DataError::Empty);
        }
        let form = Form::find(&sample, needed, said)?;
        let since = Rc::new(Cell::new(0));
        let bytes: Box<dyn Read> = Box::new(Cursor::new(head).chain(input));
        let text: Box<dyn Read> =
            if encoding == TextEncoding::Utf8 { bytes } else { Box::new(Decoded::new(bytes, encoding)) };
        let lines = Lines {
            input: BufReader::with_capacity(64 << 10, text),
            line: Vec::new(),
            at: 0,
            number: 0,
            skip: form.skip,
            collapses: form.separator == Separator::Space,
            since: Rc::clone(&since),
        };
        let mut builder = csv::ReaderBuilder::new();
        builder.has_headers(false).flexible(true).delimiter(dialect::byte_of(form.separator));
        let reader = builder.from_reader(Box::new(lines) as Box<dyn Read>);
        let mut table = Self { reader, since, names: form.names, record: csv::StringRecord::new(), rows: 0 };
        if form.has_header {
            table.read()?;
        }
        Ok(table)
    }

    /// The names of the columns.
    #[must_use]
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// Rows that were read.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// The next row. Returns `None` at the end.
    ///
    /// # Errors
    /// If it cannot be read, or has another number of fields than there are columns.
    pub fn next_row(&mut self) -> Result<Option<&csv::StringRecord>, DataError> {
        if !self.read()? {
            return Ok(None);
        }
        self.rows += 1;
        let (found, expected) = (self.record.len(), self.names.len());
        let line = self.record.position().map_or(0, csv::Position::line);
        if found != expected {
            return Err(DataError::Ragged { line, found, expected, hint: Some(format!("row {}", self.rows)) });
        }
        if let Some(at) = self.record.iter().position(|cell| cell.len() > MAX_FIELD) {
            let (column, bytes) = (self.names[at].clone(), self.record[at].len());
            return Err(DataError::HugeField { line, column, bytes, limit: MAX_FIELD });
        }
        Ok(Some(&self.record))
    }

    fn read(&mut self) -> Result<bool, DataError> {
        self.since.set(0);
        self.reader.read_record(&mut self.record).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => DataError::Csv(error.to_string()),
            csv::ErrorKind::Utf8 { pos, .. } => DataError::NotUtf8 { line: pos.map_or(0, |pos| pos.line()) },
            other => DataError::Csv(format!("{other:?}")),
        })
    }
}

impl Form {
    fn find(sample: &str, needed: &[&str], said: &Reading) -> Result<Self, DataError> {
        let plain = Reading { separator: None, skip_rows: 0, skip_footer: 0, ..said.clone() };
        let mut skip = 0;
        let separator = if let Some(named) = dialect::named_separator(sample) {
            skip = 1;
            named
        } else {
            let skipped = Reading { skip_rows: said.skip_rows, ..plain.clone() };
            let found = dialect::separators(sample, &skipped);
            let by_sweep = said.separator.unwrap_or(Separator::Comma);
            match found.as_slice() {
                [] => by_sweep,
                found if found.contains(&by_sweep) => by_sweep,
                [only] => *only,
                several => {
                    let names: Vec<String> = several.iter().map(|separator| format!("`{separator}`")).collect();
                    return Err(DataError::Separator(format!(
                        "fields may be separated by {}; write the table with commas",
                        names.join(" or ")
                    )));
                }
            }
        };
        let first = |skip: u32| {
            let reading = Reading { separator: Some(separator), skip_rows: skip, ..plain.clone() };
            let (body, _) = dialect::body(sample, &reading);
            let mut record = csv::StringRecord::new();
            let is_read = dialect::records(&body, separator).read_record(&mut record).unwrap_or(false);
            let mut names: Vec<String> = record.iter().map(|name| name.trim().to_owned()).collect();
            let fields = names.len();
            match dialect::surplus(&body, separator) {
                Some(Surplus::First) => names.insert(0, String::new()),
                Some(Surplus::Last) => names.push(String::new()),
                None => {}
            }
            (names, if is_read { fields } else { 0 })
        };
        let absent = |names: &[String]| needed.iter().filter(|name| !names.iter().any(|other| other == *name)).count();
        let (header, _) = first(skip);
        let form = |skip, has_header, names| Self { separator, skip, has_header, names };
        let mut found = None;
        if absent(&header) == 0 {
            found = Some(form(skip, true, header.clone()));
        } else if said.skip_rows > 0 && !said.no_header {
            let (below, _) = first(said.skip_rows);
            skip = said.skip_rows;
            found = (absent(&below) == 0).then(|| form(skip, true, below));
        } else if said.no_header {
            let (_, fields) = first(said.skip_rows);
            let names: Vec<String> = if said.names.is_empty() {
                (1..=fields).map(|number| number.to_string()).collect()
            } else {
                said.names.iter().map(|name| name.trim().to_owned()).collect()
            };
            let fits = names.len() == fields && absent(&names) == 0;
            found = fits.then(|| form(said.skip_rows, false, names));
        }
        let Some(form) = found else { return Err(absence(&header, needed)) };
        let twice = needed.iter().find(|name| form.names.iter().filter(|other| other == *name).count() > 1);
        match twice {
            None => Ok(form),
            Some(name) => Err(DataError::Columns(vec![format!("the table has two columns {}", shown(name))])),
        }
    }
}

/// Which of the needed columns a header does not have.
fn absence(header: &[String], needed: &[&str]) -> DataError {
    let names = || header.iter().map(String::as_str);
    let absent = needed.iter().filter(|name| !names().any(|other| other == **name));
    let problem = |name: &&str| match nearest(name, names()) {
        Some(nearest) => format!("the table has no column {}; it has {nearest:?}", shown(name)),
        None => format!("the table has no column {}", shown(name)),
    };
    let mut problems: Vec<String> = absent.map(problem).collect();
    let others = problems.len().saturating_sub(20);
    problems.truncate(20);
    if others > 0 {
        problems.push(format!("and {others} more"));
    }
    problems.push(format!("its columns are {}", some_of(header.iter().map(String::as_str))));
    DataError::Columns(problems)
}

/// The first bytes of a file, unpacked, and the rest of it.
fn unpacked<'r>(mut input: Box<dyn Read + 'r>) -> Result<(Vec<u8>, Box<dyn Read + 'r>), DataError> {
    let unreadable = |error: io::Error| DataError::Csv(error.to_string());
    let mut head = Vec::new();
    input.by_ref().take(HEAD as u64).read_to_end(&mut head).map_err(unreadable)?;
    if !head.starts_with(&GZIP_MAGIC) {
        if !packed::may_be_packed(&head) {
            return Ok((head, input));
        }
        // Archives and Parquet files have their tables of contents at the end, so these are read whole.
        input.read_to_end(&mut head).map_err(unreadable)?;
        let text = packed::unpacked(&Reading::default(), &head)?.into_owned();
        let rest = text.get(HEAD..).map(<[u8]>::to_vec).unwrap_or_default();
        return Ok((text.into_iter().take(HEAD).collect(), Box::new(Cursor::new(rest))));
    }
    let mut input = flate2::read::MultiGzDecoder::new(Cursor::new(head).chain(input));
    let mut head = Vec::new();
    let read = input.by_ref().take(HEAD as u64).read_to_end(&mut head);
    read.map_err(|error| DataError::Packed(format!("it is damaged ({error}); copy the file again")))?;
    Ok((head, Box::new(input)))
}

/// Lines of UTF-8 as the reader of records wants them: without those above the table, and with single spaces between fields.
struct Lines<R> {
    input: BufReader<R>,
    line: Vec<u8>,
    at: usize,
    number: u64,
    skip: u32,
    collapses: bool,
    since: Rc<Cell<usize>>,
}

impl<R: Read> Lines<R> {
    fn next_line(&mut self) -> io::Result<bool> {
        let invalid = |problem: &str| io::Error::new(io::ErrorKind::InvalidData, problem.to_owned());
        loop {
            self.line.clear();
            self.at = 0;
            let limit = MAX_ROW as u64 + 1;
            if self.input.by_ref().take(limit).read_until(b'\n', &mut self.line)? == 0 {
                return Ok(false);
            }
            if self.line.len() > MAX_ROW {
                return Err(invalid("a line is longer than 64 MiB"));
            }
            self.number += 1;
            if self.number == 1 && self.line.starts_with("\u{feff}".as_bytes()) {
                self.line.drain(..3);
            }
            if self.skip > 0 {
                self.skip -= 1;
                continue;
            }
            if self.collapses {
                let line = String::from_utf8_lossy(&self.line);
                self.line = dialect::single_spaced(&line).into_bytes();
                if !self.line.ends_with(b"\n") {
                    self.line.push(b'\n');
                }
            }
            self.since.set(self.since.get() + self.line.len());
            if self.since.get() > MAX_ROW {
                return Err(invalid("a row is longer than 64 MiB; a quote may have been opened and never closed"));
            }
            return Ok(true);
        }
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.line.len() && !self.next_line()? {
            return Ok(0);
        }
        let rest = &self.line[self.at..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.at += count;
        Ok(count)
    }
}

/// UTF-8 of a text in another encoding.
struct Decoded<R> {
    input: R,
    encoding: TextEncoding,
    /// Of UTF-16: whether the first byte of a unit is its high one. `None` before the byte order mark.
    is_big: Option<bool>,
    /// Bytes of a letter whose end has not been read.
    rest: Vec<u8>,
    text: Cursor<Vec<u8>>,
}

impl<R: Read> Decoded<R> {
    fn new(input: R, encoding: TextEncoding) -> Self {
        Self { input, encoding, is_big: None, rest: Vec::new(), text: Cursor::default() }
    }

    fn decode(&mut self, mut bytes: Vec<u8>, is_last: bool) -> Result<String, DataError> {
        if self.encoding == TextEncoding::Windows1252 {
            return text::windows_1252(&bytes);
        }
        let is_big = *self.is_big.get_or_insert_with(|| {
            let is_big = bytes.starts_with(&[0xfe, 0xff]);
            bytes.drain(..2.min(bytes.len()));
            is_big
        });
        let unit = |pair: &[u8; 2]| if is_big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
        let mut whole = bytes.len() & !1;
        // The first half of a pair waits for the second.
        let ends_in_half = bytes[..whole].last_chunk().is_some_and(|last| (0xd800..0xdc00).contains(&unit(last)));
        if !is_last && ends_in_half {
            whole -= 2;
        }
        self.rest = if is_last { Vec::new() } else { bytes.split_off(whole) };
        let units = bytes.as_chunks::<2>().0.iter().map(unit);
        let broken = || DataError::Encoding("it is not UTF-16 throughout; the file may be cut short".to_owned());
        char::decode_utf16(units).collect::<Result<_, _>>().map_err(|_| broken())
    }
}

impl<R: Read> Read for Decoded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.text.read(buffer)?;
            if count > 0 || buffer.is_empty() {
                return Ok(count);
            }
            let mut bytes = std::mem::take(&mut self.rest);
            let added = self.input.by_ref().take(64 << 10).read_to_end(&mut bytes)?;
            if bytes.is_empty() {
                return Ok(0);
            }
            let decoded = self.decode(bytes, added == 0);
            let invalid = |error: DataError| io::Error::new(io::ErrorKind::InvalidData, error.to_string());
            self.text = Cursor::new(decoded.map_err(invalid)?.into_bytes());
            if added == 0 && self.text.get_ref().is_empty() {
                return Ok(0);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The cells `a` of a table.
    fn cells(bytes: &[u8], said: &Reading) -> Result<Vec<String>, DataError> {
        let mut table = NewTable::open(bytes, &["a"], said)?;
        let at = table.names().iter().position(|name| name == "a").expect("it is needed");
        let mut cells = Vec::new();
        while let Some(row) = table.next_row()? {
            cells.push(row[at].trim().to_owned());
        }
        Ok(cells)
    }

    fn utf16(text: &str) -> Vec<u8> {
        [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect()
    }

    #[test]
    fn forms_of_tables() {
        let plain = Reading::default();
        let long = format!("b,a\n{}", "x,\u{1f600}é\n".repeat(40_000));
        for (text, said) in [
            (b"b,a\n1,x\n2,\"y\nz\"\n".to_vec(), plain.clone()),
            (b"\xef\xbb\xbfb;a\r\n1;x\r\n2;\"y\nz\"".to_vec(), plain.clone()),
            (b"sep=;\nb;a\n1;x\n2;\"y\nz\"\n".to_vec(), plain.clone()),
            (b"b    a\n1  x\n2  \"y\nz\"\n".to_vec(), plain.clone()),
            (utf16("b\ta\n1\tx\n2\t\"y\nz\"\n"), plain.clone()),
            (b"of 2024\nb,a\n1,x\n2,\"y\nz\"\n".to_vec(), Reading { skip_rows: 1, ..plain.clone() }),
            // The sweep's table has no header, and this one may have.
            (
                b"1,x\n2,\"y\nz\"\n".to_vec(),
                Reading { no_header: true, names: vec!["b".into(), "a".into()], ..plain.clone() },
            ),
            (
                b"a,b\nx,1\n\"y\nz\",2\n".to_vec(),
                Reading { no_header: true, names: vec!["b".into(), "a".into()], ..plain.clone() },
            ),
        ] {
            let shown = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(
                cells(&text, &said).unwrap_or_else(|error| panic!("{shown}: {error}")),
                ["x", "y\nz"],
                "{shown}"
            );
        }
        assert_eq!(cells(b"b;a\n1;\xe9\n", &plain).expect("Windows-1252"), ["é"]);
        assert_eq!(cells(&utf16(&long), &plain).expect("UTF-16").len(), 40_000);
    }

    #[test]
    fn wrong_tables() {
        let kind = |text: &[u8]| cells(text, &Reading::default()).expect_err("it is wrong");
        assert!(matches!(kind(b""), DataError::Empty));
        assert!(matches!(kind(b"b,A\n1,2\n"), DataError::Columns(_)));
        assert!(matches!(kind(b"a,a\n1,2\n"), DataError::Columns(_)));
        assert!(matches!(kind(b"a,b\n1,2\n1\n"), DataError::Ragged { found: 1, expected: 2, .. }));
        let huge = format!("a,b\n{},1\n", "x".repeat(MAX_FIELD + 1));
        assert!(matches!(kind(huge.as_bytes()), DataError::HugeField { .. }));
        assert!(matches!(kind(b"PK\x03\x04"), DataError::Packed(_)));
        // A quote that is never closed ends before the memory does.
        let endless = io::Cursor::new(b"a,b\n\"".to_vec()).chain(io::repeat(b'x'));
        let mut table = NewTable::open(endless, &["a"], &Reading::default()).expect("a header");
        assert!(matches!(table.next_row(), Err(DataError::Csv(_))));
    }
}
