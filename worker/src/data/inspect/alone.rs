//! How well a column alone tells the classes apart.

use super::{
    super::{
        infer::Sight,
        values::{Numbers, Values},
    },
    ClassOfRows,
};

/// The fewest rows of a class, and of a level with a rate of its own.
const FEWEST: usize = 10;

/// More classes than that are not looked at.
const MOST_CLASSES: usize = 20;

/// The area under the ROC curve that a column reaches alone for the class that it tells worst from the others. `None` if there are too few
/// rows to say.
pub(super) fn auc(sight: &Sight<'_>, values: &Values<'_>, classes: &ClassOfRows) -> Option<f64> {
    if classes.count > MOST_CLASSES {
        return None;
    }
    let of_levels = by_levels(sight, classes);
    let of_numbers = match values {
        Values::Numbers(numbers) => by_numbers(numbers, classes),
        Values::Levels(_) => None,
    };
    of_levels.into_iter().chain(of_numbers).reduce(f64::max)
}

/// By the order of the numbers, rows without one left aside.
fn by_numbers(numbers: &Numbers, classes: &ClassOfRows) -> Option<f64> {
    let rows = numbers.values.iter().zip(&classes.of_rows);
    let mut rows: Vec<(f64, u32)> = rows.filter_map(|(value, class)| Some(((*value)?, (*class)?))).collect();
    rows.sort_unstable_by(|a, b| a.0.total_cmp(&b.0));
    let groups = || rows.chunk_by(|a, b| a.0 == b.0);
    let of_class = |class: u32| {
        area(groups().map(|group| {
            let positives = group.iter().filter(|row| row.1 == class).count();
            (positives, group.len() - positives)
        }))
    };
    smallest(classes.count, of_class)
}

/// By the share of the class among the rows of each level. Rare levels are taken together: each has but few rows, and so a share by chance.
fn by_levels(sight: &Sight<'_>, classes: &ClassOfRows) -> Option<f64> {
    let levels = &sight.levels;
    let mut rows_of = vec![0_usize; levels.names.len()];
    levels.of_rows.iter().flatten().for_each(|level| rows_of[*level as usize] += 1);
    let least = (levels.of_rows.len() / 100).max(FEWEST);
    // The first group is that of the rare levels, the second of rows without a value.
    let mut group_of = vec![0; rows_of.len()];
    let mut groups = 2;
    for (group, _) in group_of.iter_mut().zip(&rows_of).filter(|(_, rows)| **rows >= least) {
        *group = groups;
        groups += 1;
    }
    let mut counts = vec![vec![0_usize; classes.count]; groups];
    for (level, class) in levels.of_rows.iter().zip(&classes.of_rows) {
        if let Some(class) = class {
            counts[level.map_or(1, |level| group_of[level as usize])][*class as usize] += 1;
        }
    }
    let of_class = |class: u32| {
        let of_group = |counts: &Vec<usize>| (counts[class as usize], counts.iter().sum::<usize>());
        let mut groups: Vec<(usize, usize)> = counts.iter().map(of_group).filter(|(_, all)| *all > 0).collect();
        // a/b < c/d without a division.
        groups.sort_by_key(|(positives, all)| (*positives as u128 * u128::from(u64::MAX)) / *all as u128);
        area(groups.into_iter().map(|(positives, all)| (positives, all - positives)))
    };
    smallest(classes.count, of_class)
}

/// The smallest area of all classes, or of two that of one.
fn smallest(classes: usize, of_class: impl Fn(u32) -> Option<f64>) -> Option<f64> {
    let asked = if classes == 2 { 1..2 } else { 0..classes as u32 };
    asked.map(of_class).try_fold(1.0, |least: f64, area| Some(least.min(area?)))
}

/// The area under the ROC curve, or above it, of positives and negatives in groups that are in order.
fn area(groups: impl Iterator<Item = (usize, usize)>) -> Option<f64> {
    let (mut positives, mut negatives, mut won) = (0_usize, 0_usize, 0.0);
    for (positive, negative) in groups {
        won += positive as f64 * (negatives as f64 + negative as f64 / 2.0);
        positives += positive;
        negatives += negative;
    }
    let is_enough = positives >= FEWEST && negatives >= FEWEST;
    let area = won / (positives as f64 * negatives as f64);
    is_enough.then(|| area.max(1.0 - area))
}
