//! What the cells of a column mean: numbers or levels.

use std::collections::HashMap;

use secateur_proto::spec::{ColumnKind, ColumnReading, Decimal};

use super::{
    dates::DateFormat,
    spelling,
    table::{Column, Table},
};

/// The values of a column, from the first row on.
#[derive(Debug, Clone)]
pub(super) enum Values<'a> {
    /// Every cell that is not missing is a finite number.
    Numbers(Numbers),
    /// Some cell is not, or the column is of categories.
    Levels(Levels<'a>),
}

/// Numbers; `None` where one is missing.
#[derive(Debug, Clone)]
pub(super) struct Numbers {
    pub values: Vec<Option<f64>>,
    /// For each row which of the codes of the reading stands there in place of a number. Empty where there are no codes.
    pub codes: Vec<Option<u8>>,
}

/// Texts, each different one once.
#[derive(Debug, Clone)]
pub(super) struct Levels<'a> {
    /// The different texts, in the order of their first rows.
    pub names: Vec<&'a str>,
    /// An index into `names` for each row.
    pub of_rows: Vec<Option<u32>>,
}

/// A cell as its column's reading has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cell<'a> {
    Missing,
    /// Missing for the reason that has this code.
    Code(u8),
    Text(&'a str),
}

/// The most codes that a column may have.
pub const MAX_CODES: usize = 100;

/// Reads cells as a [`ColumnReading`] says.
#[derive(Debug, Clone)]
pub(super) struct Cells<'r> {
    reading: &'r ColumnReading,
    codes: Vec<(&'r str, Option<f64>)>,
    date: Option<DateFormat>,
}

impl<'r> Cells<'r> {
    /// # Errors
    /// If the reading has a format of dates that is none.
    pub(super) fn new(reading: &'r ColumnReading) -> Result<Self, String> {
        let date = match &reading.kind {
            Some(ColumnKind::Date(format)) => {
                let wrong = |problem| format!("has the date format {format:?}, in which {problem}");
                Some(DateFormat::new(format).map_err(wrong)?)
            }
            _ => None,
        };
        let codes = reading.codes.iter().flatten().take(MAX_CODES);
        Ok(Self { reading, codes: codes.map(|code| (code.as_str(), spelling::plain(code))).collect(), date })
    }

    pub(super) fn read<'a>(&self, cell: Option<&'a str>) -> Cell<'a> {
        let Some(text) = cell else { return Cell::Missing };
        if self.reading.missing.iter().any(|word| word == text) {
            return Cell::Missing;
        }
        if self.codes.is_empty() {
            return Cell::Text(text);
        }
        // -9 and -9.0 are one code.
        let number = spelling::plain(text);
        let is_code = |(code, value): &(&str, Option<f64>)| *code == text || (value.is_some() && *value == number);
        self.codes.iter().position(is_code).map_or(Cell::Text(text), |code| Cell::Code(code as u8))
    }

    /// What a cell of numbers has to be, in words.
    pub(super) const fn what(&self) -> &'static str {
        if self.date.is_some() { "a date of its format" } else { "a number" }
    }

    /// The number that a text is; `None` if it is none.
    pub(super) fn number(&self, text: &str) -> Option<f64> {
        match (&self.date, &self.reading.kind) {
            (Some(date), _) => date.days(text),
            (None, Some(ColumnKind::Number)) => {
                spelling::number(text, self.reading.decimal.unwrap_or(Decimal::Point)).map(|spelled| spelled.value)
            }
            (None, _) => spelling::plain(text),
        }
    }
}

impl<'a> Values<'a> {
    /// Reads a column. Where its reading says no kind it is numeric if all its values, those of validation and test too, are finite
    /// numbers: a rule that is simple to check by eye and does not change with the split.
    ///
    /// # Errors
    /// If the reading says that it is of numbers or dates and a cell is none.
    pub(super) fn of(column: &'a Column, reading: &ColumnReading, table: &Table) -> Result<Self, String> {
        let cells = Cells::new(reading)?;
        if reading.kind == Some(ColumnKind::Categorical) {
            return Ok(Self::Levels(Levels::read(column, &cells)));
        }
        let mut numbers = Numbers { values: Vec::with_capacity(column.cells().len()), codes: Vec::new() };
        for (row, cell) in column.cells().enumerate() {
            let (value, code) = match cells.read(cell) {
                Cell::Missing => (None, None),
                Cell::Code(code) => (None, Some(code)),
                Cell::Text(text) => match (cells.number(text), &reading.kind) {
                    (Some(value), _) => (Some(value), None),
                    (None, None) => return Ok(Self::Levels(Levels::read(column, &cells))),
                    (None, Some(kind)) => {
                        let what = if *kind == ColumnKind::Number { "number" } else { "date of its format" };
                        let line = table.line(row);
                        return Err(format!("has to have a {what} in each cell, and line {line} has {text:?}"));
                    }
                },
            };
            numbers.values.push(value);
            if !cells.codes.is_empty() {
                numbers.codes.push(code);
            }
        }
        Ok(Self::Numbers(numbers))
    }
}

impl<'a> Levels<'a> {
    /// The texts of a column; what its reading calls missing is.
    ///
    /// # Errors
    /// If the reading has a format of dates that is none.
    pub(super) fn of(column: &'a Column, reading: &ColumnReading) -> Result<Self, String> {
        Ok(Self::read(column, &Cells::new(reading)?))
    }

    fn read(column: &'a Column, cells: &Cells<'_>) -> Self {
        let mut names = Vec::new();
        let mut indices = HashMap::new();
        let mut index = |name: &'a str| {
            *indices.entry(name).or_insert_with(|| {
                names.push(name);
                // A table has no more rows, and so no more levels, than a u32 counts.
                (names.len() - 1) as u32
            })
        };
        let of_rows = column.cells().map(|cell| match cells.read(cell) {
            Cell::Text(text) => Some(index(text)),
            Cell::Missing | Cell::Code(_) => None,
        });
        let of_rows = of_rows.collect();
        Self { names, of_rows }
    }
}

/// The row, from 0, of the first missing value, and how many there are.
pub(super) fn missing<T>(values: &[Option<T>]) -> Option<(usize, usize)> {
    let first = values.iter().position(Option::is_none)?;
    Some((first, values[first..].iter().filter(|value| value.is_none()).count()))
}
