//! The shape of a text: what separates its fields, and which lines at its ends are no part of the table.

use std::borrow::Cow;

use secateur_proto::spec::{Reading, Separator};

use super::text::newlines;

/// Records that are looked at for the separator, and bytes.
const SAMPLE: usize = 1000;
const SAMPLE_BYTES: usize = 4 << 20;

/// The byte between fields.
pub(super) const fn byte_of(separator: Separator) -> u8 {
    match separator {
        Separator::Comma => b',',
        Separator::Semicolon => b';',
        Separator::Tab => b'\t',
        Separator::Pipe => b'|',
        Separator::Space => b' ',
    }
}

/// A reader of records with this separator, of which each may have another number of fields.
pub(super) fn records(text: &str, separator: Separator) -> csv::Reader<&[u8]> {
    let mut builder = csv::ReaderBuilder::new();
    builder.has_headers(false).flexible(true).delimiter(byte_of(separator)).from_reader(text.as_bytes())
}

/// The part of a text that is the table, and the line, from 1, on which it begins.
pub(super) fn body<'a>(text: &'a str, reading: &Reading) -> (Cow<'a, str>, u64) {
    let (mut start, mut line) = (0, 1);
    for _ in 0..reading.skip_rows {
        let Some(end) = text[start..].find('\n') else { return (Cow::Borrowed(""), line) };
        start += end + 1;
        line += 1;
    }
    let mut body = &text[start..];
    if reading.skip_footer > 0 {
        body = body.trim_end();
        for _ in 0..reading.skip_footer {
            body = body.rfind('\n').map_or("", |end| &body[..end]);
        }
    }
    let separator = reading.separator.unwrap_or(Separator::Comma);
    (if separator == Separator::Space { Cow::Owned(single_spaced(body)) } else { Cow::Borrowed(body) }, line)
}

/// The text with one space for each run of them between fields, and none at the ends of lines.
pub(super) fn single_spaced(text: &str) -> String {
    let mut spaced = String::with_capacity(text.len());
    let mut is_quoted = false;
    for letter in text.chars() {
        is_quoted ^= letter == '"';
        let at_start = spaced.is_empty() || spaced.ends_with(['\n', ' ']);
        match letter {
            ' ' | '\t' if !is_quoted && at_start => {}
            ' ' | '\t' if !is_quoted => spaced.push(' '),
            '\r' if !is_quoted => {}
            '\n' if !is_quoted => {
                spaced.truncate(spaced.trim_end_matches(' ').len());
                spaced.push('\n');
            }
            letter => spaced.push(letter),
        }
    }
    spaced.truncate(spaced.trim_end_matches(' ').len());
    spaced
}

/// The separator that the first line names, as Excel has it: `sep=;`.
pub(super) fn named_separator(text: &str) -> Option<Separator> {
    let line = text.lines().next()?.trim_end_matches('\r');
    let named = line.strip_prefix("sep=").or_else(|| line.strip_prefix("\"sep=")?.strip_suffix('"'))?;
    Separator::ALL.iter().copied().find(|separator| named.as_bytes() == [byte_of(*separator)])
}

/// A field that every row of a text has more than its header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Surplus {
    /// The first is an index: R writes the names of rows without a name for them.
    First,
    /// The last is empty: the lines of rows end with a separator.
    Last,
}

/// The field that every row has more than the header.
pub(super) fn surplus(text: &str, separator: Separator) -> Option<Surplus> {
    let mut reader = records(text, separator);
    let mut record = csv::ByteRecord::new();
    let mut next = || {
        reader
            .read_byte_record(&mut record)
            .unwrap_or(false)
            .then(|| (record.len(), record.iter().next_back() == Some(b"")))
    };
    let (header, _) = next()?;
    let rows: Vec<(usize, bool)> = std::iter::from_fn(next).take(SAMPLE).collect();
    if rows.is_empty() || rows.iter().any(|(size, _)| *size != header + 1) {
        return None;
    }
    Some(if rows.iter().all(|(_, is_empty)| *is_empty) { Surplus::Last } else { Surplus::First })
}

/// Which separators a text can have: those by which nearly all records have the same number of fields, at least two. A comma by
/// which all have is the only one.
pub(super) fn separators(text: &str, reading: &Reading) -> Vec<Separator> {
    let sample = whole_lines(text);
    let of = |separator| {
        let (body, _) = body(sample, &Reading { separator: Some(separator), ..reading.clone() });
        let sizes = sizes(&body, separator, SAMPLE);
        let (size, records) = usual(&sizes);
        (size >= 2 && records * 10 >= sizes.len() * 9).then_some((separator, size, records == sizes.len()))
    };
    let mut found: Vec<_> = Separator::ALL.iter().filter_map(|separator| of(*separator)).collect();
    // Texts within fields have spaces and commas, and not the same number of them in every line.
    if found.iter().any(|(_, _, is_exact)| *is_exact) {
        found.retain(|(_, _, is_exact)| *is_exact);
    }
    if found.len() > 1 {
        found.retain(|(separator, ..)| *separator != Separator::Space);
    }
    if found.first().is_some_and(|(separator, ..)| *separator == Separator::Comma) {
        found.truncate(1);
    }
    found.into_iter().map(|(separator, ..)| separator).collect()
}

/// The beginning of a text, up to the end of a line.
fn whole_lines(text: &str) -> &str {
    let Some(head) = text.get(..text.floor_char_boundary(SAMPLE_BYTES)).filter(|head| head.len() < text.len()) else {
        return text;
    };
    head.rfind('\n').map_or(head, |end| &head[..=end])
}

/// Fields of the first records.
fn sizes(text: &str, separator: Separator, most: usize) -> Vec<usize> {
    let mut reader = records(text, separator);
    let mut record = csv::ByteRecord::new();
    let mut sizes = Vec::new();
    while sizes.len() < most && reader.read_byte_record(&mut record).unwrap_or(false) {
        sizes.push(record.len());
    }
    sizes
}

/// The most frequent number of fields, and how many records have it.
fn usual(sizes: &[usize]) -> (usize, usize) {
    let mut counts = std::collections::BTreeMap::new();
    for size in sizes {
        *counts.entry(*size).or_insert(0) += 1;
    }
    counts.into_iter().max_by_key(|(_, records)| *records).unwrap_or_default()
}

/// What to do about a record whose number of fields is not the header's, where lines at an end of the text are no part of the table.
/// `at` is its line, and `first` the first line of `text`.
pub(super) fn stray_lines(text: &str, separator: Separator, first: u64, skipped: u32, at: u64) -> Option<String> {
    let sizes = sizes(text, separator, usize::MAX);
    let (size, _) = usual(&sizes);
    let above = sizes.iter().position(|other| *other == size)?;
    let below = sizes.iter().rev().position(|other| *other == size)?;
    let lines: Vec<u64> = line_of_each(text, separator, first);
    let ends = first + newlines(text.trim_end().as_bytes());
    if above > 0 && above * 2 < sizes.len() {
        let skip = lines[above] - first + u64::from(skipped);
        return Some(format!(
            "most lines have {size} fields, and the first of them is line {}; if it is the header, skip what stands above: \
             data.format: {{skip_rows: {skip}}}",
            lines[above]
        ));
    }
    let begins = *lines.get(lines.len().checked_sub(below)?)?;
    if below > 0 && at >= begins {
        // Blank lines at the end are none that can be skipped.
        let skip = (ends + 1).checked_sub(begins).filter(|skip| *skip > 0)?;
        return Some(if below == 1 {
            format!(
                "it is the last line, so the table may be cut short; if it is no row, but a total or a remark, skip it: \
                 data.format: {{skip_footer: {skip}}}"
            )
        } else {
            format!(
                "the lines from {begins} on have other numbers of fields than most; if they are totals or remarks, skip them: \
                 data.format: {{skip_footer: {skip}}}"
            )
        });
    }
    None
}

fn line_of_each(text: &str, separator: Separator, first: u64) -> Vec<u64> {
    let mut reader = records(text, separator);
    let mut record = csv::ByteRecord::new();
    let mut counter = LineCounter::new(text, first);
    let mut lines = Vec::new();
    while reader.read_byte_record(&mut record).unwrap_or(false) {
        lines.push(counter.line_at(record.position()));
    }
    lines
}

/// Counts the lines up to a record. The reader's own count is one behind after a CRLF or an empty line.
pub(super) struct LineCounter<'a> {
    text: &'a str,
    line: u64,
    byte: usize,
}

impl<'a> LineCounter<'a> {
    /// A counter of a text whose first line is the line `first` of a file.
    pub(super) const fn new(text: &'a str, first: u64) -> Self {
        Self { text, line: first, byte: 0 }
    }

    /// The line on which the record at `position` begins. Records have to come in order.
    pub(super) fn line_at(&mut self, position: Option<&csv::Position>) -> u64 {
        let bytes = self.text.as_bytes();
        let recorded = position.map_or(0, csv::Position::byte);
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
