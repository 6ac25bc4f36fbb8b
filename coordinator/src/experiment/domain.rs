//! What a sweep file says about a setting: the values, or the range of values, that cells can have.

use std::fmt;

use super::{
    diagnostic::Mark,
    read::{Field, Reader},
    setting::{AnySetting, Value},
    yaml,
};

/// The values of one setting in a sweep.
#[derive(Debug, Clone, PartialEq)]
pub enum Domain {
    /// At least one value, all different, in the order of the file.
    Listed(Vec<Value>),
    /// Every number between two.
    Range(Range),
}

/// Every number from one to another, as `{low: 1.0e-4, high: 1.0e-1, log: true}`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Range {
    /// The lowest number.
    pub low: f64,
    /// The highest number.
    pub high: f64,
    /// Whether equal ratios are equally likely, in place of equal differences.
    pub log: bool,
    /// Whether only integers are meant.
    pub integer: bool,
}

const RANGE: &str = "a range such as {low: 0.5, high: 0.95}";

impl Range {
    /// Whether a value of the file is a range rather than a number or a list.
    pub(crate) fn is_meant(field: &Field<'_>) -> bool {
        let yaml::Value::Map(entries) = &field.node.value else { return false };
        entries.iter().any(|entry| matches!(entry.key.as_str(), "low" | "high"))
    }

    /// Reads a range whose ends are both `allowed`.
    pub(crate) fn read(reader: &mut Reader, field: &Field<'_>, allowed: impl Fn(f64) -> bool) -> Option<Self> {
        let fields = reader.fields(field, &["low", "high", "log", "integer"])?;
        let mut end = |key| {
            let end = reader.required(&fields, key, RANGE)?;
            reader.number(&end, "a number in the range of this key", &allowed)
        };
        let (low, high) = (end("low"), end("high"));
        let mut flag = |key| fields.get(key).map_or(Some(false), |field| reader.boolean(&field));
        let (log, integer) = (flag("log"), flag("integer"));
        let range = Self { low: low?, high: high?, log: log?, integer: integer? };
        if range.low >= range.high {
            reader.report(field.mark(), &field.path, format!("low {} is not below high {}", range.low, range.high));
            return None;
        }
        if range.log && range.low <= 0.0 {
            reader.report(field.mark(), &field.path, "log: true needs low > 0");
            return None;
        }
        Some(range)
    }

    /// The number at a share of the range from 0 up to but not including 1, with six digits.
    #[must_use]
    pub fn at(&self, share: f64) -> f64 {
        // Of integers each gets an equal part, the two ends as well.
        let (low, high) =
            if self.integer { (self.low.ceil() - 0.5, self.high.floor() + 0.5) } else { (self.low, self.high) };
        let between = |low: f64, high: f64| low + share * (high - low);
        let number = if self.log { between(low.ln(), high.ln()).exp() } else { between(low, high) };
        let number = if self.integer { number.round() } else { rounded(number) };
        number.clamp(self.low, self.high)
    }
}

/// The number with six digits: names of cells can be read, and typed again.
fn rounded(number: f64) -> f64 {
    format!("{number:.5e}").parse().unwrap_or(number)
}

/// A setting and its values in a sweep.
#[derive(Clone)]
pub struct Axis {
    pub(crate) setting: &'static dyn AnySetting,
    /// Where its value begins; for a default, the map that lacks the key.
    pub mark: Mark,
    /// Whether the file gives a list or a range.
    pub varies: bool,
    /// The values.
    pub domain: Domain,
}

impl Axis {
    /// The path in the sweep file.
    #[must_use]
    pub fn path(&self) -> &'static str {
        self.setting.path()
    }

    /// The values that are listed; none of a range.
    #[must_use]
    pub fn listed(&self) -> &[Value] {
        match &self.domain {
            Domain::Listed(values) => values,
            Domain::Range(_) => &[],
        }
    }
}

impl fmt::Debug for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {:?}", self.path(), self.domain)
    }
}

impl PartialEq for Axis {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path()
            && self.mark == other.mark
            && self.varies == other.varies
            && self.domain == other.domain
    }
}
