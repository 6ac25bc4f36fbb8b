//! What a person should look at in a column before a sweep uses it.

use std::collections::HashMap;

use secateur_proto::ids::ContentHash;
use serde::Serialize;

use super::{
    super::{
        error::shown,
        infer::Sight,
        notes,
        table::Table,
        values::{Numbers, Values},
    },
    ColumnInspection, Role, Type,
};

/// A column that alone reaches more is most likely known only after the outcome.
const LEAK: f64 = 0.99;

/// A column with fewer values may have none in some part.
const FEWEST_VALUES: usize = 10;

/// A column with at most this many different whole numbers may be categorical.
const MOST_CATEGORIES: usize = 12;

/// Something to look at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suspicion {
    /// What it is.
    pub kind: SuspicionKind,
    /// The same in words.
    pub text: String,
    /// What to say of the column under `data.columns` if that is so.
    pub say: Option<Say>,
}

/// What a sweep file can say of a column.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Say {
    /// It is no input.
    Ignore,
    /// It is of categories.
    Categorical,
    /// These words mean that the value is missing.
    Missing(Vec<String>),
}

/// What can be suspicious of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SuspicionKind {
    /// It cannot be read as one kind.
    Mixed,
    /// It tells the classes apart alone.
    Leak,
    /// It is different in every row.
    Identity,
    /// It has one value.
    Constant,
    /// It has few values or none.
    NearEmpty,
    /// Some numbers stand apart from the others, as codes do.
    Codes,
    /// Numbers that may be categories.
    FewNumbers,
    /// All of its levels are rare.
    RareLevels,
    /// It has the cells of another column.
    Copy,
    /// Its values differ from part to part.
    Drift,
}

/// All of one column. `stray` are the words of a column of numbers that are no numbers.
pub(super) fn of(
    sight: &Sight<'_>,
    column: &ColumnInspection,
    values: &Values<'_>,
    is_drift: bool,
    stray: Option<Vec<String>>,
) -> Vec<Suspicion> {
    use SuspicionKind as Kind;
    let mut found = Vec::new();
    let mut add = |kind, say, text: String| found.push(Suspicion { kind, text, say });
    let rows = sight.levels.of_rows.len();
    if let Some(psi) = column.psi.filter(|_| is_drift) {
        add(Kind::Drift, None, format!("differs between the parts (population stability index {psi:.2})"));
    }
    if column.role != Role::Input {
        return found;
    }
    if let Some(auc) = column.auc.filter(|auc| *auc > LEAK) {
        let text = format!("alone reaches AUC {auc:.4}; it may be known only after the outcome (leak)");
        add(Kind::Leak, Some(Say::Ignore), text);
    }
    if let Some(problem) = &column.problem {
        let name = format!("the column {} ", shown(&column.name));
        let problem = problem.strip_prefix(&name).unwrap_or(problem);
        // What a sweep file can say stands beside it.
        let problem = problem.split_once("; ").map_or(problem, |(problem, _)| problem);
        add(Kind::Mixed, stray.map(Say::Missing), problem.to_owned());
    }
    // Texts of which some are numbers or dates.
    if let (Type::Categorical, None, Some(note)) = (column.kind, &column.reading.kind, &column.note) {
        let note = note.split_once(": ").map_or(note.as_str(), |(_, note)| note);
        add(Kind::Mixed, None, note.to_owned());
    }
    if column.kind == Type::Empty {
        add(Kind::NearEmpty, Some(Say::Ignore), "has no value".to_owned());
    } else if column.filled < FEWEST_VALUES || column.missing * 20 >= rows * 19 {
        add(Kind::NearEmpty, Some(Say::Ignore), format!("has a value in {} of {rows} rows", column.filled));
    }
    if let ([only], 0) = (column.frequent.as_slice(), column.missing) {
        add(Kind::Constant, Some(Say::Ignore), format!("holds {} in every row", shown(&only.value)));
    }
    if notes::is_identity(values) {
        let text = if column.kind == Type::Number {
            "has a different whole number in every row: is it an identity?"
        } else {
            "is different in every row, as an identity is"
        };
        add(Kind::Identity, Some(Say::Ignore), text.to_owned());
    } else if column.inputs == 0 && column.kind == Type::Categorical && column.distinct > 1 && column.problem.is_none()
    {
        let text = format!("gives no input: each of its {} levels is rare", column.distinct);
        add(Kind::RareLevels, Some(Say::Ignore), text);
    }
    if let (Type::Number, Values::Numbers(numbers)) = (column.kind, values) {
        let runs = runs(numbers);
        let codes = codes(numbers, &runs);
        if !codes.is_empty() {
            let count: usize = runs.iter().filter(|(value, _)| codes.contains(value)).map(|(_, rows)| rows).sum();
            let words: Vec<String> = codes.iter().map(f64::to_string).collect();
            let verb = if words.len() == 1 { "stands" } else { "stand" };
            let list = words.join(", ");
            let text = format!("{list} {verb} apart from the other values, in {count} rows: does it mean missing?");
            add(Kind::Codes, Some(Say::Missing(words)), text);
        }
        let left = runs.len() - codes.len();
        if (3..=MOST_CATEGORIES).contains(&left) && runs.iter().all(|(value, _)| value.fract() == 0.0) {
            let text = format!("has {left} different whole numbers: do they stand for categories?");
            add(Kind::FewNumbers, Some(Say::Categorical), text);
        }
    }
    found
}

/// The different numbers, sorted, and the rows of each.
fn runs(numbers: &Numbers) -> Vec<(f64, usize)> {
    let mut sorted: Vec<f64> = numbers.values.iter().flatten().copied().collect();
    sorted.sort_unstable_by(f64::total_cmp);
    sorted.chunk_by(|a, b| a == b).map(|run| (run[0], run.len())).collect()
}

/// Numbers that stand apart from the others, as codes for missing values do: a few below zero where all others are above, or far from all
/// others and in several rows each.
fn codes(numbers: &Numbers, runs: &[(f64, usize)]) -> Vec<f64> {
    /// Codes at one end of a column, and values that are none.
    const MOST: usize = 3;
    const FEWEST_OTHERS: usize = 3;
    const FEWEST_ROWS: usize = 3;
    let nines = notes::far_code(&Values::Numbers(numbers.clone())).map(|(code, _)| code);
    let is_small = |value: f64| value.fract() == 0.0 && (-9.0..0.0).contains(&value);
    let below = runs.iter().take_while(|(value, _)| *value < 0.0).count();
    let mut codes: Vec<f64> = nines.into_iter().collect();
    if (1..=MOST).contains(&below)
        && runs.len() >= below + FEWEST_OTHERS
        && runs[..below].iter().all(|(value, _)| is_small(*value) || Some(*value) == nines)
    {
        codes.extend(runs[..below].iter().map(|(value, _)| *value));
    }
    for taken in 1..=MOST.min(runs.len().saturating_sub(FEWEST_OTHERS)) {
        let (low, high) = (runs.split_at(taken), runs.split_at(runs.len() - taken));
        for (ends, others, gap) in [
            (low.0, low.1, low.1[0].0 - low.0[taken - 1].0),
            (high.1, high.0, high.1[0].0 - high.0[high.0.len() - 1].0),
        ] {
            let range = others[others.len() - 1].0 - others[0].0;
            let are_codes = |(value, rows): &(f64, usize)| value.fract() == 0.0 && *rows >= FEWEST_ROWS;
            if gap > 3.0 * range && ends.iter().all(are_codes) {
                codes.extend(ends.iter().map(|(value, _)| *value));
            }
        }
    }
    codes.sort_unstable_by(f64::total_cmp);
    codes.dedup();
    codes
}

/// Marks the columns that have the cells of an earlier one.
pub(super) fn mark_copies(table: &Table, columns: &mut [ColumnInspection]) {
    let mut by_hash: HashMap<ContentHash, usize> = HashMap::new();
    for (at, column) in table.columns().iter().enumerate() {
        if columns[at].kind == Type::Empty || columns[at].distinct < 2 {
            continue;
        }
        let mut text = String::new();
        for cell in column.cells() {
            text.push_str(cell.unwrap_or_default());
            text.push('\0');
        }
        let first = *by_hash.entry(ContentHash::of(text.as_bytes())).or_insert(at);
        if first < at {
            let text = format!("has the same cells as {}", shown(&columns[first].name));
            let copy = Suspicion { kind: SuspicionKind::Copy, text, say: Some(Say::Ignore) };
            columns[at].suspicious.push(copy);
        }
    }
}
