//! The settings of a sweep file, one row each: where a setting stands, which values it can have, its value where the file has none,
//! whether a cell's name shows it, and where it goes in a spec. The reader, the grid, the JSON Schema and the table of keys follow from
//! the rows.
//!
//! A new setting is one row in `model`, `training`, `pruning` or `regularization`, each of which lists its rows in the order of the
//! grid.

mod class_weight;
mod file;
mod form;
pub(crate) mod model;
pub(crate) mod pruning;
pub(crate) mod quantization;
pub(crate) mod regularization;
mod schedule;
mod strategy;
mod table;
pub(crate) mod training;
mod value;
mod values;

use secateur_proto::spec::{Task, TrainingSpec};
use serde_json::{Value as Json, json};

pub use self::{
    class_weight::ClassWeight,
    model::ModelKind,
    pruning::PruneFrom,
    regularization::PenaltyPhase,
    strategy::{REGULARIZED, Strategy},
    training::OptimizerKind,
    values::{AblationSetting, Grain, Ladder, Pace, Scope, Selection, Then, Timing},
};
pub(crate) use self::{
    file::{GROUPS, Group, Key},
    form::{Form, Names, Number},
    value::{SettingValue, Value, same},
};
use super::{
    diagnostic::Mark,
    domain::{Domain, Range},
    read::{Field, Fields, Reader},
};

/// Every key of the sweep file, in the order of the documentation. Of the settings among them the grid counts the first slowest.
pub(crate) fn rows() -> impl DoubleEndedIterator<Item = Row> {
    let parts = [
        file::BEFORE_SETTINGS,
        table::ROWS,
        model::ROWS,
        training::ROWS,
        pruning::ROWS,
        regularization::ROWS,
        quantization::ROWS,
        file::AFTER_SETTINGS,
    ];
    parts.into_iter().flatten().copied()
}

/// A key of the sweep file.
#[derive(Clone, Copy)]
pub(crate) enum Row {
    /// Part of a cell.
    Setting(&'static dyn AnySetting),
    /// Of the sweep as a whole.
    Key(&'static Key),
}

impl Row {
    /// The path in the sweep file.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Setting(setting) => setting.path(),
            Self::Key(key) => key.path,
        }
    }

    /// The path of the map that holds the key; empty for the file itself.
    pub(crate) fn parent(self) -> &'static str {
        Self::parent_of(self.path())
    }

    /// The path of the map that holds what is at `path`.
    pub(crate) fn parent_of(path: &str) -> &str {
        path.rsplit_once('.').map_or("", |(parent, _)| parent)
    }

    /// One line of documentation.
    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Setting(setting) => setting.about(),
            Self::Key(key) => key.about,
        }
    }

    /// The kinds of its map that have the key; empty for all.
    pub(crate) fn only(self) -> &'static [&'static str] {
        match self {
            Self::Setting(setting) => setting.only(),
            Self::Key(key) => key.only,
        }
    }

    /// Whether a list of values is an axis.
    pub(crate) fn is_axis(self) -> bool {
        matches!(self, Self::Setting(setting) if setting.is_axis())
    }

    /// The values, in words.
    pub(crate) fn allowed(self) -> String {
        match self {
            Self::Setting(setting) => setting.allowed(),
            Self::Key(key) => key.allowed.to_owned(),
        }
    }

    /// Its value where the file has none, in words.
    pub(crate) fn unset(self) -> String {
        match self {
            Self::Setting(setting) => setting.unset(),
            Self::Key(key) => key.unset.to_owned(),
        }
    }

    /// Whether its map has to have it, if it is of that kind; of any kind if that is not known.
    pub(crate) fn is_required(self, kind: Option<&str>) -> bool {
        match self {
            Self::Setting(setting) => setting.is_required(&Around { is_present: true, kind, task: None }),
            Self::Key(key) => key.unset == REQUIRED && kind.is_none_or(|kind| is_of(key.only, Some(kind))),
        }
    }

    /// The JSON Schema of what may stand there.
    pub(crate) fn schema(self) -> Json {
        match self {
            Self::Setting(setting) => setting.schema(),
            Self::Key(key) => (key.schema)(),
        }
    }
}

/// What the documentation says of a key without a default.
pub(crate) const REQUIRED: &str = "required";

/// Every setting, in the order of the grid.
pub(crate) fn settings() -> impl DoubleEndedIterator<Item = &'static dyn AnySetting> {
    rows().filter_map(|row| match row {
        Row::Setting(setting) => Some(setting),
        Row::Key(_) => None,
    })
}

/// The keys of the map at `path`, if it is of that kind; of any kind if that is not known.
pub(crate) fn keys_of(path: &str, kind: Option<&str>) -> Vec<&'static str> {
    let mut keys = Vec::new();
    for row in rows() {
        let rest = if path.is_empty() {
            row.path()
        } else {
            let Some(rest) = row.path().strip_prefix(path).and_then(|rest| rest.strip_prefix('.')) else { continue };
            rest
        };
        let (key, is_leaf) = rest.split_once('.').map_or((rest, true), |(key, _)| (key, false));
        let is_known = !is_leaf || is_of(row.only(), kind);
        if is_known && !keys.contains(&key) {
            keys.push(key);
        }
    }
    keys
}

/// Whether a key that only some kinds of its map have belongs to a map of that kind.
fn is_of(only: &[&str], kind: Option<&str>) -> bool {
    only.is_empty() || kind.is_none_or(|kind| only.contains(&kind))
}

/// A setting whose values are of type `T`.
pub(crate) struct Setting<T: 'static> {
    /// The path in the sweep file.
    pub(crate) path: &'static str,
    /// One line of documentation.
    pub(crate) about: &'static str,
    /// Which values there are.
    pub(crate) form: &'static dyn Form<T>,
    /// Its value where the file has none.
    pub(crate) unset: Unset<T>,
    /// The kinds of its map that have the key; empty for all.
    pub(crate) only: &'static [&'static str],
    /// Whether a list of values is an axis.
    pub(crate) axis: bool,
    /// When a cell's name has it.
    pub(crate) shown: Shown,
    /// Where it goes.
    pub(crate) sets: Sets<T>,
}

/// The value of a setting that the file does not have.
pub(crate) enum Unset<T> {
    /// A mistake.
    Required,
    /// Nets, or trainings, of this kind have no such setting.
    Inapplicable,
    /// The default.
    Is(fn() -> T),
    /// It depends on what stands around it; in words, on what.
    Depends(&'static str, fn(&Around<'_>) -> Self),
}

/// What stands around a setting in the file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Around<'a> {
    /// Whether the file has its map.
    pub(crate) is_present: bool,
    /// The `kind` of its map, where it is known.
    pub(crate) kind: Option<&'a str>,
    /// What is predicted, where it is known.
    pub(crate) task: Option<Task>,
}

/// When a cell's name has a setting. One that varies is always in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Only if it varies.
    Varying,
    /// Always.
    Always,
    /// If any cell has a penalty.
    Penalised,
    /// If any cell has another value than `none`.
    UnlessNone,
}

/// Where a setting goes in a spec.
pub(crate) enum Sets<T> {
    /// Into the training of the dense net, and of what is left unless a key of `pruning.retrain` says otherwise.
    Training(fn(&mut TrainingSpec, &T)),
    /// Into the training of what is left alone.
    Retraining(fn(&mut TrainingSpec, &T)),
    /// Where the planner combines it with other settings and with the data.
    Planned,
}

/// A setting, whatever the type of its values.
pub(crate) trait AnySetting: Sync {
    fn path(&self) -> &'static str;
    fn about(&self) -> &'static str;
    fn only(&self) -> &'static [&'static str];
    fn is_axis(&self) -> bool;
    fn shown(&self) -> Shown;
    /// Values as the documentation has them.
    fn allowed(&self) -> String;
    /// The default as the documentation has it.
    fn unset(&self) -> String;
    /// Whether a file without it is a mistake.
    fn is_required(&self, around: &Around<'_>) -> bool;
    /// The JSON Schema of a value or an axis.
    fn schema(&self) -> Json;
    /// Reads it out of its map; `Some(None)` for a setting that does not apply.
    fn read(&self, reader: &mut Reader, map: Option<&Fields<'_>>, around: &Around<'_>) -> Option<Option<ReadDomain>>;
    /// The value at a number of a range.
    fn at(&self, number: f64) -> Option<Value>;
    /// Puts a value where it goes in the training of the dense net.
    fn set_training(&self, training: &mut TrainingSpec, value: &Value);
    /// Puts a value where it goes in the training of what is left.
    fn set_retraining(&self, training: &mut TrainingSpec, value: &Value);
}

/// What the file says about one setting.
pub(crate) struct ReadDomain {
    /// Where its value begins; for a default, the map that lacks the key.
    pub(crate) mark: Option<Mark>,
    /// Whether the file gives a list or a range.
    pub(crate) varies: bool,
    pub(crate) domain: Domain,
}

impl<T: SettingValue> Setting<T> {
    fn default(&self, around: &Around<'_>) -> Unset<T> {
        let is_own = is_of(self.only, around.kind);
        match &self.unset {
            Unset::Depends(_, of) => of(around),
            _ if !is_own => Unset::Inapplicable,
            // Of a map whose kind is not known nothing is missed.
            Unset::Required if !self.only.is_empty() && around.kind.is_none() => Unset::Inapplicable,
            Unset::Required => Unset::Required,
            Unset::Inapplicable => Unset::Inapplicable,
            Unset::Is(value) => Unset::Is(*value),
        }
    }

    fn domain(&self, reader: &mut Reader, field: &Field<'_>) -> Option<(bool, Domain)> {
        if self.axis && self.form.is_number() && Range::is_meant(field) {
            let range = Range::read(reader, field, |number| self.form.at(number).is_some())?;
            return Some((true, Domain::Range(Range { integer: range.integer || self.form.is_integer(), ..range })));
        }
        let items = if self.axis { self.form.items(field) } else { None };
        let varies = items.is_some();
        let items = items.unwrap_or_else(|| vec![field.clone()]);
        let values = reader.values(field, items, PartialEq::eq, |reader, field| self.form.read(reader, field))?;
        Some((varies, Domain::Listed(values.into_iter().map(Value::new).collect())))
    }
}

impl<T: SettingValue> AnySetting for Setting<T> {
    fn path(&self) -> &'static str {
        self.path
    }

    fn about(&self) -> &'static str {
        self.about
    }

    fn only(&self) -> &'static [&'static str] {
        self.only
    }

    fn is_axis(&self) -> bool {
        self.axis
    }

    fn shown(&self) -> Shown {
        self.shown
    }

    fn allowed(&self) -> String {
        self.form.allowed()
    }

    fn unset(&self) -> String {
        match &self.unset {
            Unset::Required => REQUIRED.to_owned(),
            Unset::Inapplicable => String::new(),
            Unset::Is(value) => match value().json() {
                Json::String(text) => text,
                Json::Number(number) => number.to_string().trim_end_matches(".0").to_owned(),
                other => other.to_string(),
            },
            Unset::Depends(words, _) => (*words).to_owned(),
        }
    }

    fn is_required(&self, around: &Around<'_>) -> bool {
        matches!(self.default(around), Unset::Required)
    }

    fn schema(&self) -> Json {
        let value = self.form.schema();
        if !self.axis {
            return value;
        }
        let list = json!({"type": "array", "items": value, "minItems": 1, "uniqueItems": true});
        if self.form.is_number() {
            json!({"anyOf": [value, list, {"$ref": "#/$defs/range"}]})
        } else {
            json!({"anyOf": [value, list]})
        }
    }

    fn read(&self, reader: &mut Reader, map: Option<&Fields<'_>>, around: &Around<'_>) -> Option<Option<ReadDomain>> {
        let key = self.path.rsplit_once('.').map_or(self.path, |(_, key)| key);
        let is_known = is_of(self.only, around.kind);
        if let Some(field) = map.and_then(|map| map.get(key)).filter(|_| is_known) {
            let (varies, domain) = self.domain(reader, &field)?;
            return Some(Some(ReadDomain { mark: Some(field.mark()), varies, domain }));
        }
        match self.default(around) {
            Unset::Is(value) => {
                let domain = Domain::Listed(vec![Value::new(value())]);
                Some(Some(ReadDomain { mark: map.map(|map| map.mark), varies: false, domain }))
            }
            Unset::Required => {
                let several = if self.axis { ", or a list of them" } else { "" };
                if let Some(map) = map {
                    reader.required(map, key, &format!("{}{several}", self.form.allowed()));
                }
                None
            }
            Unset::Inapplicable | Unset::Depends(..) => Some(None),
        }
    }

    fn at(&self, number: f64) -> Option<Value> {
        self.form.at(number).map(Value::new)
    }

    fn set_training(&self, training: &mut TrainingSpec, value: &Value) {
        if let (Sets::Training(set), Some(value)) = (&self.sets, value.get()) {
            set(training, value);
        }
    }

    fn set_retraining(&self, training: &mut TrainingSpec, value: &Value) {
        if let (Sets::Retraining(set), Some(value)) = (&self.sets, value.get()) {
            set(training, value);
        }
    }
}
