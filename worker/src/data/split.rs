//! Which rows are train, validation and test. Knows the target's classes and nothing of the inputs.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_proto::spec::SplitSpec;

use super::{
    error::{DataError, PartCounts, shown},
    table::{Column, Table},
    values::{Levels, Values, missing, number},
};

/// The names of the parts, in their order everywhere.
pub(super) const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Row numbers, ascending, of train, validation and test.
pub(super) type Rows = [Vec<u32>; 3];

/// Divides the rows of a table. `positive` is the class of each row; `column` is the split's own, if it has one.
pub(super) fn split(
    spec: &SplitSpec,
    table: &Table,
    column: Option<&Column>,
    positive: &[bool],
) -> Result<Rows, DataError> {
    let rows = match (spec, column) {
        (SplitSpec::Stratified { train, validation, test, seed }, _) => {
            stratified(checked([*train, *validation, *test])?, *seed, positive)
        }
        (SplitSpec::Time { train, validation, test, .. }, Some(column)) => {
            by_time(checked([*train, *validation, *test])?, table, column)?
        }
        (SplitSpec::Column { .. }, Some(column)) => by_column(table, column)?,
        (SplitSpec::Time { column, .. } | SplitSpec::Column { column }, None) => {
            return Err(DataError::Columns(vec![table.unknown("the split's column", column)]));
        }
    };
    let counts = [0, 1, 2].map(|part| PartCounts {
        part: PARTS[part],
        rows: rows[part].len(),
        positives: rows[part].iter().filter(|&&row| positive[row as usize]).count(),
    });
    if counts.iter().any(|part| part.positives == 0 || part.positives == part.rows) {
        return Err(DataError::OneClass(counts));
    }
    Ok(rows)
}

fn checked(shares: [f64; 3]) -> Result<[f64; 3], DataError> {
    let sum: f64 = shares.iter().sum();
    // Not a number is neither above 0 nor close to anything.
    if shares.iter().all(|share| *share > 0.0) && (sum - 1.0).abs() < 1e-6 {
        Ok(shares)
    } else {
        let [train, validation, test] = shares;
        Err(DataError::Split(format!(
            "has the shares {train}, {validation} and {test}; each has to be above 0, and they have to sum to 1"
        )))
    }
}

/// Draws a key for every row and deals the rows of each class out in the order of their keys. This depends on nothing but
/// the definition of ChaCha8: not on the platform, and not on how a library draws from a range.
fn stratified(shares: [f64; 3], seed: u64, positive: &[bool]) -> Rows {
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(seed_bytes);
    let mut classes = [Vec::new(), Vec::new()];
    for (row, &positive) in (0_u32..).zip(positive) {
        classes[usize::from(positive)].push((random.next_u64(), row));
    }
    let mut rows = Rows::default();
    for mut class in classes {
        class.sort_unstable();
        let mut dealt = class.iter().map(|&(_, row)| row);
        for (part, count) in rows.iter_mut().zip(largest_remainder(shares, class.len())) {
            part.extend(dealt.by_ref().take(count));
        }
    }
    for part in &mut rows {
        part.sort_unstable();
    }
    rows
}

/// Whole numbers that sum to `total` and are nearest to its shares: each is rounded down, and what is left goes to the
/// largest remainders, the earlier part first.
fn largest_remainder(shares: [f64; 3], total: usize) -> [usize; 3] {
    let quotas = shares.map(|share| share * total as f64);
    let mut counts = quotas.map(|quota| quota.floor() as usize);
    let mut order = [0, 1, 2];
    let remainder = |part: usize| quotas[part] - quotas[part].floor();
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b)));
    let left = total.saturating_sub(counts.iter().sum());
    for part in order.into_iter().cycle().take(left) {
        counts[part] += 1;
    }
    counts
}

/// Cuts where the count of rows is nearest to what the shares ask for, between two different times.
fn by_time(shares: [f64; 3], table: &Table, column: &Column) -> Result<Rows, DataError> {
    let name = shown(column.name());
    // Rows in the order of time, with the ordinal of their time.
    let (mut order, texts): (Vec<(f64, u32)>, _) = match Values::of(column) {
        Values::Numbers(values) => {
            refuse_missing(table, column, &values)?;
            ((values.into_iter().flatten()).zip(0..).collect(), None)
        }
        Values::Levels(levels) => {
            refuse_missing(table, column, &levels.of_rows)?;
            if let Some(number) = levels.names.iter().find(|name| number(name).is_some()) {
                let text = levels.names.iter().find(|name| self::number(name).is_none()).copied().unwrap_or_default();
                return Err(DataError::Split(format!(
                    "goes by {name}, which holds both numbers ({}) and texts ({}) and so has no order",
                    shown(number),
                    shown(text)
                )));
            }
            let mut sorted: Vec<u32> = (0..levels.names.len() as u32).collect();
            sorted.sort_unstable_by_key(|&level| levels.names[level as usize]);
            let mut ranks = vec![0.0; sorted.len()];
            for (rank, level) in sorted.into_iter().enumerate() {
                ranks[level as usize] = rank as f64;
            }
            let times = levels.of_rows.iter().flatten().map(|&level| ranks[level as usize]);
            (times.zip(0..).collect(), Some(levels.names.len()))
        }
    };
    order.sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    let cuts: Vec<usize> = (1..order.len()).filter(|&at| order[at - 1].0 != order[at].0).collect();
    if cuts.len() < 2 {
        let times = texts.unwrap_or(cuts.len() + 1);
        return Err(DataError::Split(format!(
            "goes by {name}, which has {times} different values; rows of one value stay together, so three parts need three"
        )));
    }
    let total = order.len() as f64;
    let nearest = |cuts: &[usize], wanted: f64| {
        let distance = |at: usize| (at as f64 - wanted).abs();
        let nearest = (0..cuts.len()).min_by(|&a, &b| distance(cuts[a]).total_cmp(&distance(cuts[b])));
        nearest.unwrap_or_default()
    };
    // The first cut leaves at least one for the second.
    let first = nearest(&cuts[..cuts.len() - 1], shares[0] * total);
    let second = first + 1 + nearest(&cuts[first + 1..], (shares[0] + shares[1]) * total);
    let mut rows = Rows::default();
    for (at, (_, row)) in order.into_iter().enumerate() {
        let part = usize::from(at >= cuts[first]) + usize::from(at >= cuts[second]);
        rows[part].push(row);
    }
    for part in &mut rows {
        part.sort_unstable();
    }
    Ok(rows)
}

fn by_column(table: &Table, column: &Column) -> Result<Rows, DataError> {
    let name = shown(column.name());
    let levels = Levels::of(column);
    refuse_missing(table, column, &levels.of_rows)?;
    let mut parts = Vec::with_capacity(levels.names.len());
    for (index, level) in (0_u32..).zip(&levels.names) {
        let Some(part) = PARTS.iter().position(|part| part == level) else {
            let row = levels.of_rows.iter().position(|&of_row| of_row == Some(index)).unwrap_or_default();
            return Err(DataError::Split(format!(
                "goes by {name}, which holds {} on line {}; only train, validation and test are allowed",
                shown(level),
                table.line(row)
            )));
        };
        parts.push(part);
    }
    let mut rows = Rows::default();
    for (row, level) in (0_u32..).zip(levels.of_rows.iter().flatten()) {
        rows[parts[*level as usize]].push(row);
    }
    Ok(rows)
}

fn refuse_missing<T>(table: &Table, column: &Column, values: &[Option<T>]) -> Result<(), DataError> {
    match missing(values) {
        None => Ok(()),
        Some((row, count)) => Err(DataError::Split(format!(
            "goes by {}, which is missing in {count} rows, first on line {}; take these rows out of the table",
            shown(column.name()),
            table.line(row)
        ))),
    }
}
