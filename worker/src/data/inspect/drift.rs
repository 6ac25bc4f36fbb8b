//! Whether a column is distributed in validation and test as it is in train: the population stability index.

use super::super::{
    encoding::ROWS_PER_LEVEL,
    split::Rows,
    values::{Levels, Numbers, Values},
};

/// Numbers are counted in the tenths of train.
const BINS: usize = 10;

/// From here on people who keep scorecards speak of a shift.
const SHIFT: f64 = 0.25;

/// The largest index between train and another part that has rows, and whether that is a shift: beyond what parts of their sizes have by
/// chance, too.
pub(super) fn psi(values: &Values<'_>, parts: &Rows) -> Option<(f64, bool)> {
    let bins = bins(values, &parts[0])?;
    let count = bins.iter().max()? + 1;
    let train = counts(&bins, count, &parts[0]);
    let of_part = |part: &Vec<u32>| {
        let index = index(&train, &counts(&bins, count, part));
        let by_chance = (count - 1) as f64 * (1.0 / parts[0].len() as f64 + 1.0 / part.len() as f64);
        (index, index > SHIFT && index > 3.0 * by_chance)
    };
    let others = parts[1..].iter().filter(|part| !part.is_empty() && !parts[0].is_empty());
    others.map(of_part).max_by(|a, b| (a.1, a.0).partial_cmp(&(b.1, b.0)).unwrap_or(std::cmp::Ordering::Equal))
}

/// The bin of each row: one for missing values, then tenths or levels.
fn bins(values: &Values<'_>, train: &[u32]) -> Option<Vec<usize>> {
    match values {
        Values::Numbers(Numbers { values, .. }) => {
            let mut sorted: Vec<f64> = train.iter().filter_map(|row| values[*row as usize]).collect();
            sorted.sort_unstable_by(f64::total_cmp);
            if sorted.is_empty() {
                return None;
            }
            let mut cuts: Vec<f64> = (1..BINS).map(|cut| sorted[cut * sorted.len() / BINS]).collect();
            cuts.dedup();
            let bin = |value: &Option<f64>| value.map_or(0, |value| 1 + cuts.partition_point(|cut| *cut <= value));
            Some(values.iter().map(bin).collect())
        }
        Values::Levels(Levels { names, of_rows }) => {
            let mut rows = vec![0_usize; names.len()];
            train.iter().filter_map(|row| of_rows[*row as usize]).for_each(|level| rows[level as usize] += 1);
            // Rare and new levels share a bin.
            let mut bins = vec![1; names.len()];
            let own = bins.iter_mut().zip(&rows).filter(|(_, rows)| **rows * ROWS_PER_LEVEL >= train.len().max(1));
            for (next, (bin, _)) in own.enumerate() {
                *bin = next + 2;
            }
            Some(of_rows.iter().map(|level| level.map_or(0, |level| bins[level as usize])).collect())
        }
    }
}

fn counts(bins: &[usize], count: usize, rows: &[u32]) -> Vec<usize> {
    let mut counts = vec![0; count];
    rows.iter().for_each(|row| counts[bins[*row as usize]] += 1);
    counts
}

/// Σ (p − q) ln(p / q), with half a row more in each bin so that empty ones have a share.
fn index(train: &[usize], part: &[usize]) -> f64 {
    let share = |counts: &[usize], bin: usize| {
        let all = counts.iter().sum::<usize>() as f64 + 0.5 * counts.len() as f64;
        (counts[bin] as f64 + 0.5) / all
    };
    let used = (0..train.len()).filter(|bin| train[*bin] + part[*bin] > 0);
    used.map(|bin| (share(train, bin), share(part, bin))).map(|(p, q)| (p - q) * (p / q).ln()).sum()
}
