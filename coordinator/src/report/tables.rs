//! The report as tables with stable names of columns, a row for each fact: what data frames and databases read.
//!
//! To add a table, write its file and its line in [`TABLES`].

mod cells;
mod differences;
mod front;
mod hypervolume;
mod importance;
mod metrics;
mod statistics;
mod trials;

use std::borrow::Cow;

use secateur_proto::metrics::{Over, Quantity};

use super::{model::Report, rows::Total, statistics::Summary};

/// Every table, in the order in which they are written.
pub const TABLES: [TableSpec; 8] = [
    trials::TABLE,
    metrics::TABLE,
    cells::TABLE,
    statistics::TABLE,
    differences::TABLE,
    front::TABLE,
    importance::TABLE,
    hypervolume::TABLE,
];

/// A table that a report has.
#[derive(Debug, Clone, Copy)]
pub struct TableSpec {
    /// The name of the table and of its file.
    pub name: &'static str,
    /// The table of a report.
    pub of: for<'a> fn(&'a Report) -> DataTable<'a>,
}

/// A table. Its first column is `sweep`, so that those of several sweeps can be put together.
pub struct DataTable<'a> {
    /// Names and what they hold.
    pub columns: Vec<(String, Kind)>,
    /// As many values as columns in each.
    pub rows: Box<dyn Iterator<Item = Vec<Value<'a>>> + 'a>,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A whole number.
    Integer,
    /// A number.
    Number,
    /// True or false.
    Flag,
}

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// There is none.
    Missing,
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// A number.
    Number(f64),
    /// True or false.
    Flag(bool),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(Cow::Owned(text))
    }
}

impl From<u64> for Value<'_> {
    /// Counts and seeds beyond 2^63 are missing: data frames have no such numbers.
    fn from(value: u64) -> Self {
        i64::try_from(value).map_or(Self::Missing, Self::Integer)
    }
}

impl From<f64> for Value<'_> {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Missing, Into::into)
    }
}

/// Columns from their names and kinds, behind `sweep`.
fn columns<'n>(rest: impl IntoIterator<Item = (&'n str, Kind)>) -> Vec<(String, Kind)> {
    let all = std::iter::once(("sweep", Kind::Text)).chain(rest);
    all.map(|(name, kind)| (name.to_owned(), kind)).collect()
}

/// What a quantity is, in columns: its text form, its metric, and what it is measured over.
const QUANTITY: [(&str, Kind); 5] = [
    ("quantity", Kind::Text),
    ("metric", Kind::Text),
    ("split", Kind::Text),
    ("group_column", Kind::Text),
    ("group_level", Kind::Text),
];

/// The values of [`QUANTITY`]. A gap has a column and no level.
fn quantity(quantity: &Quantity) -> [Value<'_>; 5] {
    let (column, level) = match quantity.over() {
        Over::Net | Over::Rows(_) => (None, None),
        Over::Slice(_, slice) => (Some(slice.column.as_str()), Some(slice.level.as_str())),
        Over::Gap(_, gap) => (Some(gap.column.as_str()), None),
    };
    [
        quantity.to_string().into(),
        quantity.metric().name().into(),
        quantity.split().map(|split| split.name()).into(),
        column.into(),
        level.into(),
    ]
}

/// A mean with its intervals, in columns.
const STATISTICS: [(&str, Kind); 9] = [
    ("mean", Kind::Number),
    ("sd", Kind::Number),
    ("n", Kind::Integer),
    ("ci95_seeds_low", Kind::Number),
    ("ci95_seeds_high", Kind::Number),
    ("se_rows", Kind::Number),
    ("degrees", Kind::Number),
    ("ci95_seeds_rows_low", Kind::Number),
    ("ci95_seeds_rows_high", Kind::Number),
];

/// The values of [`STATISTICS`]: of seeds, and of seeds and rows where those were read.
fn statistics(seeds: Option<Summary>, total: Option<Total>) -> [Value<'static>; 9] {
    let of_seeds = seeds.and_then(|summary| summary.ci95);
    let total = total.filter(|total| total.se_rows.is_some());
    let of_both = total.and_then(|total| total.ci95);
    [
        seeds.map(|summary| summary.mean).into(),
        seeds.and_then(|summary| summary.sd).into(),
        seeds.map(|summary| summary.n).into(),
        of_seeds.map(|[low, _]| low).into(),
        of_seeds.map(|[_, high]| high).into(),
        total.and_then(|total| total.se_rows).into(),
        total.and_then(|total| total.degrees).into(),
        of_both.map(|[low, _]| low).into(),
        of_both.map(|[_, high]| high).into(),
    ]
}

#[cfg(test)]
mod tests;
