//! From the values of each setting to the points of the grid. Knows nothing of what a point's work is.

use std::{collections::BTreeMap, ptr, sync::Arc};

use secateur_proto::spec::TrainingSpec;

use super::{
    domain::{Axis, Domain},
    plan::Settings,
    setting::{self, AnySetting, Setting, SettingValue, Shown, Value, regularization},
    spec::{Exclusion, SweepSpec},
};

/// A cell before it is planned: a value for each setting that its net and its training have.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Point(Arc<[Option<Value>]>);

/// Where a setting's value is in a point.
fn place<T: SettingValue>(setting: &'static Setting<T>) -> usize {
    let setting: *const Setting<T> = setting;
    setting::settings()
        .position(|row| ptr::addr_eq(ptr::from_ref(row), setting))
        .expect("every setting has a row in the table")
}

impl Point {
    /// The value of a setting; `None` if nets or trainings of this kind do not have it.
    pub(crate) fn find<T: SettingValue>(&self, setting: &'static Setting<T>) -> Option<&T> {
        self.0[place(setting)].as_ref().map(|value| value.get().expect("a setting's values are of its type"))
    }

    /// The value of a setting that every point has, or that the kind of the net implies.
    pub(crate) fn get<T: SettingValue>(&self, setting: &'static Setting<T>) -> &T {
        self.find(setting).expect("the reader refuses files without it")
    }

    /// Whether two points have different values of a setting.
    pub(crate) fn differs<T: SettingValue>(&self, other: &Self, setting: &'static Setting<T>) -> bool {
        self.find(setting) != other.find(setting)
    }

    /// How the dense net is trained.
    pub(crate) fn training(&self) -> TrainingSpec {
        let mut training = TrainingSpec::default();
        self.values().for_each(|(setting, value)| setting.set_training(&mut training, value));
        training
    }

    /// How what is left is trained.
    pub(crate) fn retraining(&self) -> TrainingSpec {
        let mut training = self.training();
        self.values().for_each(|(setting, value)| setting.set_retraining(&mut training, value));
        training
    }

    fn values(&self) -> impl Iterator<Item = (&'static dyn AnySetting, &Value)> {
        setting::settings().zip(self.0.iter()).filter_map(|(setting, value)| Some((setting, value.as_ref()?)))
    }

    fn is_in(&self, exclusion: &Exclusion) -> bool {
        exclusion.chosen.iter().all(|(path, chosen)| {
            self.values().any(|(setting, value)| setting.path() == *path && chosen.contains(value))
        })
    }
}

/// What a sweep file says about every setting, in the order in which the grid counts them: the first is the slowest.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    axes: Vec<Option<Axis>>,
}

impl Grid {
    /// `axes` in the order of the settings; `None` for one that does not apply.
    pub(super) const fn new(axes: Vec<Option<Axis>>) -> Self {
        Self { axes }
    }

    /// The settings that apply.
    pub fn axes(&self) -> impl DoubleEndedIterator<Item = &Axis> {
        self.axes.iter().flatten()
    }

    /// What the file says about a setting that always applies.
    pub(crate) fn axis<T: SettingValue>(&self, setting: &'static Setting<T>) -> &Axis {
        self.axes[place(setting)].as_ref().expect("the setting always applies")
    }

    /// The values that the file lists for a setting.
    pub(crate) fn listed<T: SettingValue>(&self, setting: &'static Setting<T>) -> Vec<&T> {
        let axis = self.axes[place(setting)].iter();
        axis.flat_map(Axis::listed).filter_map(Value::get).collect()
    }

    /// Points, those that `exclude` takes away among them. A range counts as one value.
    #[expect(clippy::len_without_is_empty, reason = "every axis has a value")]
    #[must_use]
    pub fn len(&self) -> u128 {
        self.axes().fold(1, |product, axis| product.saturating_mul(axis.listed().len().max(1) as u128))
    }

    /// The point at `position`; the last axis is the fastest.
    fn point(&self, position: u128) -> Point {
        let mut rest = position;
        let mut values: Vec<Option<Value>> = (self.axes.iter().rev())
            .map(|axis| {
                let Domain::Listed(values) = &axis.as_ref()?.domain else { return None };
                let length = values.len() as u128;
                let index = usize::try_from(rest % length).expect("it is below the number of values");
                rest /= length;
                Some(values[index].clone())
            })
            .collect();
        values.reverse();
        Point(values.into())
    }

    /// Whether any point has a penalty to speak of.
    fn is_penalised(&self) -> bool {
        self.listed(&regularization::KIND).into_iter().any(Option::is_some)
    }

    /// What a cell is called by: the settings that can differ between cells.
    #[must_use]
    pub fn settings(&self, point: &Point) -> Settings {
        let mut settings: Settings = BTreeMap::new();
        for (axis, value) in self.axes.iter().zip(point.0.iter()) {
            let (Some(axis), Some(value)) = (axis, value) else { continue };
            let is_shown = match axis.setting.shown() {
                Shown::Always => true,
                Shown::Varying => false,
                Shown::Penalised => self.is_penalised(),
            };
            if axis.varies || is_shown {
                settings.insert(axis.path().to_owned(), value.json());
            }
            for (key, value) in value.details() {
                settings.insert(format!("{}.{key}", axis.path()), value);
            }
        }
        settings
    }
}

impl SweepSpec {
    /// The points of the grid in its order, without those that `exclude` takes away.
    pub fn points(&self) -> impl Iterator<Item = Point> + '_ {
        (0..self.grid.len())
            .map(|position| self.grid.point(position))
            .filter(|point| !self.exclude.iter().any(|exclusion| point.is_in(exclusion)))
    }
}
