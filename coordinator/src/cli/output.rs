//! Standard output: text for people, or one JSON document.

use std::{
    io::{self, Write},
    sync::atomic::{AtomicBool, Ordering},
};

use clap::ValueEnum;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use serde::Serialize;

/// The format of standard output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Output {
    /// Text for people
    #[default]
    Text,
    /// One JSON document for programs
    Json,
}

impl Output {
    /// Prints either the document or the text.
    pub(crate) fn print(self, document: &impl Serialize, text: impl FnOnce() -> String) {
        match self {
            Self::Json => self.print_json(document),
            Self::Text => print(&text()),
        }
    }

    /// Prints the document.
    pub(crate) fn print_json(self, document: &impl Serialize) {
        match serde_json::to_string_pretty(document) {
            Ok(document) => print(&document),
            Err(error) => tracing::error!(%error, "cannot write the result as JSON"),
        }
    }
}

/// Prints a line or several.
pub(crate) fn print(text: &str) {
    let mut stdout = io::stdout().lock();
    let written = writeln!(stdout, "{}", text.trim_end()).and_then(|()| stdout.flush());
    drop(stdout);
    note(written);
}

/// Whether a result could not be written. There is one standard output, and one such flag.
static IS_INCOMPLETE: AtomicBool = AtomicBool::new(false);

/// Notes how writing to standard output went. A reader that has closed it, such as `head`, has what it wanted.
pub(crate) fn note(written: io::Result<()>) {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            tracing::error!(%error, "cannot write to standard output");
            IS_INCOMPLETE.store(true, Ordering::Relaxed);
        }
        _ => {}
    }
}

/// Returns whether everything that was printed could be written.
pub(crate) fn is_complete() -> bool {
    !IS_INCOMPLETE.load(Ordering::Relaxed)
}

/// A table with these headers; columns from `numbers` on are aligned to the right.
pub(crate) fn table(headers: &[&str], numbers: usize, rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled).set_header(headers);
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    for index in numbers..headers.len() {
        if let Some(column) = table.column_mut(index) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.to_string()
}

/// `12,345`.
pub(crate) fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> = (0..digits.len().div_ceil(3))
        .rev()
        .map(|group| {
            let end = digits.len() - group * 3;
            &digits[end.saturating_sub(3)..end]
        })
        .collect();
    groups.join(",")
}

/// `1 stage`, `1,200 stages`.
pub(crate) fn counted(number: u64, what: &str) -> String {
    format!("{} {what}{}", thousands(number), if number == 1 { "" } else { "s" })
}

/// `1 h 02 min`, `3 min 05 s`, `7 s`.
pub(crate) fn duration(seconds: u64) -> String {
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, 0, seconds) => format!("{seconds} s"),
        (0, minutes, seconds) => format!("{minutes} min {seconds:02} s"),
        (hours, minutes, _) => format!("{hours} h {minutes:02} min"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_for_people() {
        let written: Vec<String> = [0, 12, 123, 1234, 123_456, 1_234_567].map(thousands).into();
        assert_eq!(written, ["0", "12", "123", "1,234", "123,456", "1,234,567"]);
        assert_eq!([7, 185, 3720].map(duration), ["7 s", "3 min 05 s", "1 h 02 min"]);
    }
}
