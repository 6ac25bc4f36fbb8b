//! From axes to the points of the grid. Knows nothing of what a point's work is.

use std::collections::BTreeMap;

use serde_json::json;

use super::{
    axis::{Axis, AxisKey},
    plan::Settings,
    spec::{Exclusion, Grid, SweepSpec},
};

/// A point of the grid: which value it has on each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Point([u16; AxisKey::ALL.len()]);

impl Point {
    /// The point's value on `axis`.
    #[must_use]
    pub fn of<T>(self, axis: &Axis<T>) -> &T {
        &axis.values[self.index(axis.key)]
    }

    /// The position of that value.
    #[must_use]
    pub const fn index(self, key: AxisKey) -> usize {
        self.0[key as usize] as usize
    }

    fn is_in(self, exclusion: &Exclusion) -> bool {
        exclusion.chosen.iter().all(|(key, values)| values[self.index(*key)])
    }
}

impl Grid {
    /// Points, those that `exclude` takes away among them.
    #[expect(clippy::len_without_is_empty, reason = "every axis has a value")]
    #[must_use]
    pub fn len(&self) -> u128 {
        self.axes().iter().fold(1, |product, axis| product.saturating_mul(axis.len() as u128))
    }

    /// The point at `position`; the last axis is the fastest.
    fn point(&self, position: u128) -> Point {
        let mut point = Point([0; AxisKey::ALL.len()]);
        let mut rest = position;
        for axis in self.axes().into_iter().rev() {
            let length = axis.len() as u128;
            point.0[axis.key() as usize] = u16::try_from(rest % length).expect("axes have at most 1,000 values");
            rest /= length;
        }
        point
    }

    /// What a cell is called by: the settings that can differ between cells.
    #[must_use]
    pub fn settings(&self, point: Point) -> Settings {
        let mut settings: Settings = BTreeMap::new();
        for axis in self.axes() {
            let key = axis.key();
            let penalty = matches!(key, AxisKey::RegularizationKind | AxisKey::Strength | AxisKey::Phase);
            // Nets that have no list of widths are of one kind in a file.
            let empty = key == AxisKey::Hidden && axis.json(point.index(key)) == json!([]);
            if axis.listed() || (key.always_named() && !empty && (!penalty || self.regularized())) {
                settings.insert(key.path().to_owned(), axis.json(point.index(key)));
            }
        }
        let strategy = point.of(&self.strategy);
        for (parameter, value) in &strategy.given {
            #[expect(clippy::cast_possible_truncation, reason = "a whole number is written as one")]
            let value = if value.fract() == 0.0 { json!(*value as i64) } else { json!(value) };
            settings.insert(format!("{}.{}.{parameter}", AxisKey::Strategy.path(), strategy.name), value);
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
