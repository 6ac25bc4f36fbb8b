//! What the cells of a column mean: numbers or levels.

use std::collections::HashMap;

use super::table::Column;

/// The values of a column, from the first row on; nothing where one is missing.
#[derive(Debug, Clone)]
pub(super) enum Values<'a> {
    /// Every cell that is not missing is a finite number.
    Numbers(Vec<Option<f64>>),
    /// Some cell is not.
    Levels(Levels<'a>),
}

/// Texts, each different one once.
#[derive(Debug, Clone)]
pub(super) struct Levels<'a> {
    /// The different texts, in the order of their first rows.
    pub names: Vec<&'a str>,
    /// An index into `names` for each row.
    pub of_rows: Vec<Option<u32>>,
}

/// A finite number. `nan`, `inf` and what overflows to infinity are texts.
pub(super) fn number(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|value: &f64| value.is_finite())
}

impl<'a> Values<'a> {
    /// Reads a column. It is numeric if all its values, those of validation and test too, are finite numbers: a rule that is
    /// simple to check by eye and does not change with the split.
    pub(super) fn of(column: &'a Column) -> Self {
        let mut numbers = Vec::with_capacity(column.cells().len());
        for cell in column.cells() {
            match cell.map(number) {
                None => numbers.push(None),
                Some(Some(value)) => numbers.push(Some(value)),
                Some(None) => return Self::Levels(Levels::of(column)),
            }
        }
        Self::Numbers(numbers)
    }
}

impl<'a> Levels<'a> {
    pub(super) fn of(column: &'a Column) -> Self {
        let mut names = Vec::new();
        let mut indices = HashMap::new();
        let mut index = |name: &'a str| {
            *indices.entry(name).or_insert_with(|| {
                names.push(name);
                // A table has no more rows, and so no more levels, than a u32 counts.
                (names.len() - 1) as u32
            })
        };
        let of_rows = column.cells().map(|cell| cell.map(&mut index)).collect();
        Self { names, of_rows }
    }
}

/// The row, from 0, of the first missing value, and how many there are.
pub(super) fn missing<T>(values: &[Option<T>]) -> Option<(usize, usize)> {
    let first = values.iter().position(Option::is_none)?;
    Some((first, values[first..].iter().filter(|value| value.is_none()).count()))
}
