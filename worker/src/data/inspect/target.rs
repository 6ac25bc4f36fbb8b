//! What is to be predicted, or may be.

use secateur_proto::spec::Task;

use super::{
    super::{
        MAX_CLASSES,
        classes::distinct,
        error::{shown, some_of},
        infer::Sight,
        spelling::plain,
    },
    ColumnInspection, Level, Role, TargetInspection,
};

/// More different numbers than that are amounts and no classes.
const MOST_NUMBERS: usize = 20;

/// The classes of rows: how many there are, and that of each row.
pub(super) struct ClassOfRows {
    pub(super) count: usize,
    pub(super) of_rows: Vec<Option<u32>>,
}

/// A target, and its classes if it has as many as a target may have.
pub(super) fn target(sight: &Sight<'_>) -> (TargetInspection, Option<ClassOfRows>) {
    let (names, indices) = distinct(&sight.levels);
    let of_rows: Vec<Option<u32>> =
        sight.levels.of_rows.iter().map(|level| level.map(|level| indices[level as usize])).collect();
    let mut rows = vec![0; names.len()];
    for class in of_rows.iter().flatten() {
        rows[*class as usize] += 1;
    }
    let are_numbers = names.iter().all(|name| plain(name).is_some());
    let count = names.len();
    let problem = match count {
        0 => Some("is missing in every row".to_owned()),
        1 => Some(format!("is {} in every row; there has to be another class to tell it from", shown(names[0]))),
        _ if are_numbers && count > MOST_NUMBERS => Some(format!(
            "has {count} different numbers and looks like an amount; nets here tell classes apart (`binary`, `multiclass`) and predict no \
             amounts, so name a column of classes, or add one such as \"above 1000\""
        )),
        _ if count > MAX_CLASSES => Some(format!(
            "has {count} different values, and at most {MAX_CLASSES} classes are supported: {}",
            some_of(names.iter().copied())
        )),
        _ => None,
    };
    let task = problem.is_none().then_some(if count == 2 { Task::Binary } else { Task::Multiclass });
    let classes = names.iter().zip(rows).take(MAX_CLASSES);
    let inspection = TargetInspection {
        name: sight.column.name().to_owned(),
        task,
        classes: classes.map(|(name, rows)| Level { value: (*name).to_owned(), rows }).collect(),
        missing: of_rows.iter().filter(|class| class.is_none()).count(),
        problem,
    };
    (inspection, task.map(|_| ClassOfRows { count, of_rows }))
}

/// Words in the names of columns that are often a target.
const TARGET_WORDS: &[&str] = &[
    "target",
    "label",
    "class",
    "outcome",
    "y",
    "default",
    "defaulted",
    "status",
    "response",
    "churn",
    "churned",
    "fraud",
    "bad",
    "good",
    "approved",
    "charged",
    "survived",
    "dlq",
    "dlqin2yrs",
    "delinquent",
    "event",
    "flag",
    "result",
    "risk",
    "riskperformance",
];

/// Columns that may be the target: of few values, by their names, or at an end of the table.
pub(super) fn likely_targets(columns: &[ColumnInspection]) -> Vec<String> {
    const SHOWN: usize = 5;
    let score = |at: usize, column: &ColumnInspection| {
        let lower = column.name.to_lowercase();
        let is_named = lower.split(|letter: char| !letter.is_alphanumeric()).any(|word| TARGET_WORDS.contains(&word));
        let is_at_end = at == 0 || at + 1 == columns.len();
        (is_named as usize) * 4 + usize::from(column.distinct == 2) * 2 + usize::from(is_at_end)
    };
    let can_be =
        |column: &ColumnInspection| column.role == Role::Input && (2..=MOST_NUMBERS).contains(&column.distinct);
    let mut likely: Vec<(usize, &ColumnInspection)> = columns
        .iter()
        .enumerate()
        .filter(|(_, column)| can_be(column))
        .map(|(at, column)| (score(at, column), column))
        .collect();
    likely.retain(|(score, _)| *score >= 3);
    likely.sort_by_key(|(score, _)| std::cmp::Reverse(*score));
    likely.into_iter().take(SHOWN).map(|(_, column)| column.name.clone()).collect()
}
