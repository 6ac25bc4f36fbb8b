//! From the values of each setting to the points of the grid. Knows nothing of what a point's work is.

use std::{collections::BTreeMap, ptr, sync::Arc};

use secateur_proto::spec::TrainingSpec;

use super::{
    domain::{Axis, Domain},
    plan::Settings,
    propose::{self, Points},
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

/// Which of so many equal parts a share from 0 up to but not including 1 is in.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a list has at most 1,000 values"
)]
fn part(share: f64, parts: usize) -> usize {
    ((share * parts as f64) as usize).min(parts - 1)
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

    /// The points in the order of the grid.
    pub(crate) fn points(&self) -> impl Iterator<Item = Point> + '_ {
        (0..self.len()).map(|position| self.point(position))
    }

    /// The point whose varying settings have the values at these shares of their ranges or lists. `share` is asked for the n-th of
    /// them, whose path it is.
    pub(crate) fn sample(&self, share: impl Fn(usize, &str) -> f64) -> Point {
        let mut dimension = 0;
        let mut next = |axis: &Axis| {
            dimension += 1;
            share(dimension - 1, axis.path())
        };
        let mut value = |axis: &Axis| match &axis.domain {
            Domain::Listed(values) => match values.as_slice() {
                [value] => value.clone(),
                values => values[part(next(axis), values.len())].clone(),
            },
            Domain::Range(range) => {
                axis.setting.at(range.at(next(axis))).expect("what is between allowed numbers is allowed")
            }
        };
        Point(self.axes.iter().map(|axis| axis.as_ref().map(&mut value)).collect::<Vec<_>>().into())
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
                Shown::UnlessNone => axis.listed().iter().any(|value| value.json() != "none"),
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
    /// The points that the file asks for: of the grid in its order, of a search as they are drawn; without those that `exclude` takes
    /// away.
    #[must_use]
    pub fn points(&self) -> Points<'_> {
        propose::proposer(self).propose(self, &[])
    }

    /// Whether `exclude` takes a point away.
    pub(crate) fn is_excluded(&self, point: &Point) -> bool {
        self.exclude.iter().any(|exclusion| point.is_in(exclusion))
    }
}
