//! How the text of a table is read: the person's settings, and everything that was inferred.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::vocabulary;

/// How the text of a table is read.
///
/// A field without a value stands for the *plain form*: UTF-8 with a header and commas, in which empty cells are
/// missing, columns of finite numbers are numeric and all others are categorical. In a sweep file the fields are
/// settings of a person, and the rest is inferred from the table. In the spec of a stage nothing is inferred: it holds
/// everything that differs from the plain form. The spec of a table in the plain form has an empty reading.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Reading {
    /// How bytes become text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub encoding: Option<TextEncoding>,
    /// The separator between fields.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub separator: Option<Separator>,
    /// The decimal mark of all numbers. The spec of a stage has it for each column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<Decimal>,
    /// Whether the first line is a row.
    #[serde(skip_serializing_if = "is_false")]
    pub no_header: bool,
    /// Names of the columns of a table without a header; empty: `1`, `2` and so on.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub names: Vec<String>,
    /// Lines above the header.
    #[serde(skip_serializing_if = "is_zero")]
    pub skip_rows: u32,
    /// Lines below the last row.
    #[serde(skip_serializing_if = "is_zero")]
    pub skip_footer: u32,
    /// More words that mean a missing value in every column; an empty list means that there are none at all. The spec
    /// of a stage has them for each column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub missing: Option<Vec<String>>,
    /// How numbers become inputs. The spec of a stage has it column by column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
    /// Columns by name.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub columns: BTreeMap<String, ColumnReading>,
    /// The positive class of two, instead of the larger value.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub positive: Option<String>,
    /// Whether rows without a target are dropped. Otherwise they are an error.
    #[serde(skip_serializing_if = "is_false")]
    pub drop_unlabelled: bool,
}

impl Reading {
    /// Whether the table is in the plain form.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// How the cells of one column are read.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ColumnReading {
    /// What its cells are. Default: numbers if all are finite numbers, otherwise categories.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ColumnKind>,
    /// The decimal mark of its numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub decimal: Option<Decimal>,
    /// Words that mean a missing value, as an empty cell does.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// Words that mean a missing value of a kind of its own, which a numeric column encodes separately. In a sweep file
    /// an empty list means that only empty cells are missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub codes: Option<Vec<String>>,
    /// How its numbers become inputs; [`Scaling::Auto`] where nothing is said.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scaling: Option<Scaling>,
}

impl ColumnReading {
    /// Whether it is as in the plain form.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// What the cells of a column are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColumnKind {
    /// Numbers, with thousands separators, currencies, per cent signs and accounting parentheses.
    Number,
    /// Categories, even if all are digits.
    Categorical,
    /// Dates or times in this format, such as `%d/%m/%Y`. As an input: days since 1970.
    Date(String),
}

vocabulary! {
    /// How bytes become text.
    pub enum TextEncoding {
        /// With or without a byte order mark.
        Utf8 = "utf-8",
        /// With a byte order mark.
        Utf16 = "utf-16",
        /// For text, this includes Latin-1.
        Windows1252 = "windows-1252",
    }
}

vocabulary! {
    /// The separator between fields.
    pub enum Separator {
        /// A comma.
        Comma = ",",
        /// A semicolon.
        Semicolon = ";",
        /// A tab.
        Tab = "tab",
        /// A vertical bar.
        Pipe = "|",
        /// One or more spaces.
        Space = "space",
    }
}

vocabulary! {
    /// The decimal mark of a number. The other character may separate thousands.
    pub enum Decimal {
        /// A point.
        Point = ".",
        /// A comma.
        Comma = ",",
    }
}

vocabulary! {
    /// How a number becomes an input, before it is standardized by the train rows.
    pub enum Scaling {
        /// Logged where the train rows have a heavy tail, else as it is.
        Auto = "auto",
        /// As it is.
        Standard = "standard",
        /// As sign(x) · ln(1 + |x|).
        Log = "log",
        /// As the share of the train rows that are smaller.
        Quantile = "quantile",
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_false(value: &bool) -> bool {
    !*value
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
const fn is_zero(value: &u32) -> bool {
    *value == 0
}
