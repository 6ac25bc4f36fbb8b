//! Which rows are train, validation and test. Knows the classes of rows and nothing of the inputs.

use std::cmp::Ordering;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use secateur_proto::spec::{ColumnReading, DataSettings, SplitSpec};

use super::{
    Periods,
    classes::Classes,
    error::{DataError, shown},
    spelling::plain,
    table::{Column, Table},
    values::{Levels, Values, missing},
};

/// The names of the parts, in their order everywhere.
pub(super) const PARTS: [&str; 3] = ["train", "validation", "test"];

/// Row numbers, ascending, of train, validation and test.
pub(super) type Rows = [Vec<u32>; 3];

/// Divides the rows of a table. `column` is the split's own, if it has one.
pub(super) fn split(
    spec: &SplitSpec,
    table: &Table,
    column: Option<(&Column, &ColumnReading)>,
    classes: &Classes,
) -> Result<Rows, DataError> {
    let rows = match (spec, column) {
        (SplitSpec::Stratified { train, validation, test, seed }, _) => {
            stratified(checked([*train, *validation, *test])?, *seed, 0..classes.of_rows.len() as u32, classes)
        }
        (SplitSpec::Time { train, validation, test, .. }, Some((column, reading))) => {
            by_time(checked([*train, *validation, *test])?, table, column, reading)?
        }
        (SplitSpec::Column { .. }, Some((column, reading))) => by_column(table, column, reading)?,
        (SplitSpec::Time { column, .. } | SplitSpec::Column { column }, None) => {
            return Err(DataError::Columns(vec![table.unknown("the split's column", column)]));
        }
        (SplitSpec::Files { .. }, _) => {
            return Err(DataError::Split("goes by files, and a table is one file".to_owned()));
        }
    };
    classes.refuse_absent(&rows)?;
    Ok(rows)
}

/// Divides rows of which the first `not_test` are train and validation, and the others test.
pub(super) fn files(validation: f64, seed: u64, not_test: usize, classes: &Classes) -> Result<Rows, DataError> {
    if !(0.0 < validation && validation < 1.0) {
        let problem = format!("has the validation share {validation}; it has to be above 0 and below 1");
        return Err(DataError::Split(problem));
    }
    let (not_test, all) = (not_test as u32, classes.of_rows.len() as u32);
    let mut rows = stratified([1.0 - validation, validation, 0.0], seed, 0..not_test, classes);
    rows[2] = (not_test..all).collect();
    classes.refuse_absent(&rows)?;
    Ok(rows)
}

/// Keeps at most `most` train rows, a sample with the classes' shares by the split's seed (0 where it has none); the other parts stay as they are.
pub(super) fn keep(rows: &mut Rows, spec: &DataSettings, classes: &Classes) -> Result<(), DataError> {
    let Some(most) = spec.rows.map(|most| most as usize).filter(|most| *most < rows[0].len()) else { return Ok(()) };
    let counts = classes.counts(&rows[0]);
    let quotas: Vec<f64> = counts.iter().map(|count| *count as f64 * most as f64 / rows[0].len() as f64).collect();
    let kept = largest_remainder(&quotas, most);
    if let Some(class) = kept.iter().position(|count| *count == 0) {
        return Err(DataError::Rows(format!(
            "{most} rows leave no train row of the class {}, which has {} of {}; keep more",
            shown(&classes.names[class]),
            counts[class],
            rows[0].len()
        )));
    }
    let seed = match spec.split {
        SplitSpec::Stratified { seed, .. } | SplitSpec::Files { seed, .. } => seed,
        SplitSpec::Time { .. } | SplitSpec::Column { .. } => 0,
    };
    // Another stream than that of the split, so that the sample does not depend on who was dealt first.
    let shuffled = shuffled(seed, SAMPLE_STREAM, rows[0].iter().copied(), classes);
    rows[0] = shuffled.into_iter().zip(kept).flat_map(|(class, kept)| class.into_iter().take(kept)).collect();
    rows[0].sort_unstable();
    Ok(())
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

/// Streams of ChaCha8 under the split's seed.
const SPLIT_STREAM: u64 = 0;
const SAMPLE_STREAM: u64 = 1;

/// The rows of each class in an order by chance: that of a key drawn for every row. This depends on nothing but the definition
/// of ChaCha8: not on the platform, and not on how a library draws from a range.
fn shuffled(seed: u64, stream: u64, rows: impl Iterator<Item = u32>, classes: &Classes) -> Vec<Vec<u32>> {
    let mut seed_bytes = [0; 32];
    seed_bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut random = ChaCha8Rng::from_seed(seed_bytes);
    random.set_stream(stream);
    let mut of_class = vec![Vec::new(); classes.names.len()];
    for row in rows {
        of_class[classes.of_rows[row as usize] as usize].push((random.next_u64(), row));
    }
    let in_order = |mut class: Vec<(u64, u32)>| {
        class.sort_unstable();
        class.into_iter().map(|(_, row)| row).collect()
    };
    of_class.into_iter().map(in_order).collect()
}

/// Deals the shuffled rows of each class out by the shares.
fn stratified(shares: [f64; 3], seed: u64, all: std::ops::Range<u32>, classes: &Classes) -> Rows {
    let mut rows = Rows::default();
    for class in shuffled(seed, SPLIT_STREAM, all, classes) {
        let total = class.len();
        let mut dealt = class.into_iter();
        let counts = largest_remainder(&shares.map(|share| share * total as f64), total);
        for (part, count) in rows.iter_mut().zip(counts) {
            part.extend(dealt.by_ref().take(count));
        }
    }
    for part in &mut rows {
        part.sort_unstable();
    }
    rows
}

/// Whole numbers that sum to `total` and are nearest to the quotas, which do: each is rounded down, and what is left goes to the
/// largest remainders, the earlier one first.
fn largest_remainder(quotas: &[f64], total: usize) -> Vec<usize> {
    let mut counts: Vec<usize> = quotas.iter().map(|quota| quota.floor() as usize).collect();
    let mut order: Vec<usize> = (0..quotas.len()).collect();
    let remainder = |index: usize| quotas[index] - quotas[index].floor();
    order.sort_by(|&a, &b| remainder(b).total_cmp(&remainder(a)).then(a.cmp(&b)));
    let left = total.saturating_sub(counts.iter().sum());
    for index in order.into_iter().cycle().take(left) {
        counts[index] += 1;
    }
    counts
}

/// Cuts where the count of rows is nearest to what the shares ask for, between two different times.
pub(super) fn by_time(
    shares: [f64; 3],
    table: &Table,
    column: &Column,
    reading: &ColumnReading,
) -> Result<Rows, DataError> {
    let name = shown(column.name());
    let wrong = |problem| DataError::Split(format!("goes by {name}, which {problem}"));
    // Rows in the order of time, with the ordinal of their time.
    let (mut order, texts): (Vec<(f64, u32)>, _) = match Values::of(column, reading, table).map_err(wrong)? {
        Values::Numbers(numbers) => {
            refuse_missing(table, column, &numbers.values)?;
            ((numbers.values.into_iter().flatten()).zip(0..).collect(), None)
        }
        Values::Levels(levels) => {
            refuse_missing(table, column, &levels.of_rows)?;
            if let Some(number) = levels.names.iter().find(|name| plain(name).is_some()) {
                let text = levels.names.iter().find(|name| plain(name).is_none()).copied().unwrap_or_default();
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

pub(super) fn by_column(table: &Table, column: &Column, reading: &ColumnReading) -> Result<Rows, DataError> {
    let name = shown(column.name());
    let wrong = |problem| DataError::Split(format!("goes by {name}, which {problem}"));
    let levels = Levels::of(column, reading).map_err(wrong)?;
    refuse_missing(table, column, &levels.of_rows)?;
    let mut parts = Vec::with_capacity(levels.names.len());
    for (index, level) in (0_u32..).zip(&levels.names) {
        let Some(part) = part_of(level) else {
            let row = levels.of_rows.iter().position(|&of_row| of_row == Some(index)).unwrap_or_default();
            return Err(DataError::Split(format!(
                "goes by {name}, which holds {} on line {}; allowed are train, validation (val, valid, dev) and test (oot)",
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

/// The first and the last time of each part.
pub(super) fn periods(
    table: &Table,
    column: &Column,
    reading: &ColumnReading,
    rows: &Rows,
) -> Result<Periods, DataError> {
    let wrong = |problem| DataError::Split(format!("goes by {}, which {problem}", shown(column.name())));
    let cells: Vec<&str> = column.cells().map(Option::unwrap_or_default).collect();
    let numbers = match Values::of(column, reading, table).map_err(wrong)? {
        Values::Numbers(numbers) => Some(numbers.values),
        Values::Levels(_) => None,
    };
    let order = |a: &&u32, b: &&u32| match &numbers {
        Some(numbers) => numbers[**a as usize].partial_cmp(&numbers[**b as usize]).unwrap_or(Ordering::Equal),
        None => cells[**a as usize].cmp(cells[**b as usize]),
    };
    let cell = |row: Option<&u32>| row.map_or_else(String::new, |row| cells[*row as usize].to_owned());
    let parts = [0, 1, 2].map(|part| [cell(rows[part].iter().min_by(order)), cell(rows[part].iter().max_by(order))]);
    Ok(Periods { column: column.name().to_owned(), parts })
}

/// The part that a cell names, in any case.
pub(super) fn part_of(cell: &str) -> Option<usize> {
    match cell.to_lowercase().as_str() {
        "train" | "training" => Some(0),
        "validation" | "valid" | "val" | "dev" => Some(1),
        "test" | "testing" | "oot" => Some(2),
        _ => None,
    }
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
