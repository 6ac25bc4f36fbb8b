//! A first sweep file for a table, from what was found in the table. Comments say what a person should decide.

use std::fmt::Write as _;

use secateur_proto::spec::{ColumnKind, Decimal, Reading, ReferenceModel, Task};
use secateur_worker::data::{ColumnInspection, Inspection, Range, Role, Say, SuspicionKind, TargetInspection, Type};

/// The column in which the comments of the file begin.
const COMMENTS: usize = 41;

/// The most columns that have a comment and nothing else.
const MOST_COMMENTS: usize = 100;

/// What a draft is made from besides the table's content.
#[derive(Debug, Clone, Copy)]
pub struct Wishes<'a> {
    /// The path of the table as the sweep file is to have it.
    pub path: &'a str,
    /// The positive one of two classes.
    pub positive: Option<&'a str>,
    /// What is said of the table's text.
    pub reading: &'a Reading,
    /// Whether a column that names the parts decides the split.
    pub use_parts: bool,
}

/// Writes the sweep file.
///
/// # Errors
/// If the table has no target that nets can be trained for, with the reason.
pub fn draft(table: &Inspection, wishes: Wishes<'_>) -> Result<String, String> {
    let target = table.target.as_ref().ok_or_else(|| "has no target".to_owned())?;
    let name = text(&target.name);
    let Some(task) = target.task else {
        return Err(format!("the target {name} {}", target.problem.as_deref().unwrap_or_default()));
    };
    let positive = positive(target, task, wishes.positive)?;
    let mut file = String::from(HEAD);
    let mut line = |text: &str, comment: &str| push(&mut file, text, comment);
    line("version: 1", "");
    line(&format!("name: {}", sweep_name(wishes.path)), "");
    line("data:", "");
    line(&format!("  path: {}", text(wishes.path)), &format!("{} rows, {} columns", table.rows, table.columns.len()));
    line(&format!("  target: {name}"), &shares(target));
    line(&format!("  task: {}", task.name()), "");
    if let Some(positive) = positive {
        line(&format!("  positive: {}", text(positive)), "the class whose probability a net gives");
    }
    if target.missing > 0 {
        line("  rows_without_target: drop", &format!("rows without a target: {}", target.missing));
    }
    if let Some(missing) = &wishes.reading.missing {
        line(&format!("  missing: [{}]", words(missing)), "besides empty cells and the usual words");
    }
    let format = format_keys(wishes.reading);
    if !format.is_empty() {
        line(&format!("  format: {{{}}}", format.join(", ")), "");
    }
    split(table, wishes.use_parts, &mut line);
    let unused = table.split.as_ref().filter(|split| !uses(table, wishes.use_parts) && split.names_parts);
    columns(table, unused.map(|split| split.name.as_str()), &mut line);
    rest(table, &mut line);
    Ok(file)
}

const HEAD: &str = "\
# yaml-language-server: $schema=sweep.schema.json
# A first sweep, written by `secateur init`. `secateur plan` shows what it comes to, and `secateur run` computes it. A list where one value
# is expected is an axis; the sweep is the grid of all axes. `secateur settings` lists all keys; for completion in an editor run
# `secateur schema > sweep.schema.json` in this folder.
";

/// A line, and a comment behind it. A comment is one line, whatever the table holds.
fn push(file: &mut String, text: &str, comment: &str) {
    let comment: String = comment.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let written = match (text, comment.as_str()) {
        (text, "") => writeln!(file, "{text}"),
        (text, comment) => writeln!(file, "{text:<COMMENTS$} # {comment}"),
    };
    debug_assert!(written.is_ok(), "writing to memory does not fail");
}

/// The positive class of two.
fn positive<'a>(target: &'a TargetInspection, task: Task, wished: Option<&str>) -> Result<Option<&'a str>, String> {
    let (name, classes) = (text(&target.name), &target.classes);
    let names = || classes.iter().map(|class| text(&class.value)).collect::<Vec<_>>().join(", ");
    match (task, wished) {
        (Task::Multiclass, None) => Ok(None),
        (Task::Multiclass, Some(_)) => Err(format!(
            "a positive class is for a target of two classes, and {name} has {}: {}; for two of them, list the others under `missing` of \
             {name} in data.columns and say data.rows_without_target: drop",
            classes.len(),
            names()
        )),
        (Task::Binary, None) => Ok(classes.last().map(|class| class.value.as_str())),
        (Task::Binary, Some(wished)) => {
            let number = |text: &str| text.parse::<f64>().ok();
            let same =
                |class: &str| class == wished || number(class).is_some_and(|value| Some(value) == number(wished));
            let found = classes.iter().map(|class| class.value.as_str()).find(|class| same(class));
            found.map(Some).ok_or_else(|| {
                format!("the positive class {} is no value of the target {name}, which has {}", text(wished), names())
            })
        }
    }
}

/// How many rows are of each class.
fn shares(target: &TargetInspection) -> String {
    const SHOWN: usize = 5;
    let all: usize = target.classes.iter().map(|class| class.rows).sum();
    let share = |rows: usize| format!("{:.1} %", 100.0 * rows as f64 / all.max(1) as f64);
    let mut shares: Vec<String> = target
        .classes
        .iter()
        .take(SHOWN)
        .map(|class| format!("{} {}", text(&class.value), share(class.rows)))
        .collect();
    if target.classes.len() > SHOWN {
        shares.push(format!("and {} more", target.classes.len() - SHOWN));
    }
    shares.join(", ")
}

/// The keys of `data.format` that are said.
fn format_keys(reading: &Reading) -> Vec<String> {
    let mut keys = Vec::new();
    let mut add = |key: &str, value: Option<String>| keys.extend(value.map(|value| format!("{key}: {value}")));
    add("separator", reading.separator.map(|separator| quoted(separator.name())));
    add("decimal", reading.decimal.map(|decimal: Decimal| quoted(decimal.name())));
    add("header", reading.no_header.then(|| "none".to_owned()));
    add(
        "names",
        (!reading.names.is_empty()).then(|| {
            let names: Vec<String> = reading.names.iter().map(|name| quoted(name)).collect();
            format!("[{}]", names.join(", "))
        }),
    );
    add("skip_rows", (reading.skip_rows > 0).then(|| reading.skip_rows.to_string()));
    add("skip_footer", (reading.skip_footer > 0).then(|| reading.skip_footer.to_string()));
    add("encoding", reading.encoding.map(|encoding| encoding.name().to_owned()));
    keys
}

/// Whether the split is by a column that names the parts.
fn uses(table: &Inspection, use_parts: bool) -> bool {
    use_parts && table.split.as_ref().is_some_and(|split| split.names_parts && !split.rows.contains(&0))
}

fn split(table: &Inspection, use_parts: bool, line: &mut impl FnMut(&str, &str)) {
    const SHARES: &str = "train: 0.6, validation: 0.2, test: 0.2";
    if let Some(split) = table.split.as_ref().filter(|_| uses(table, use_parts)) {
        let [train, validation, test] = split.rows;
        let comment = format!("{train} train, {validation} validation, {test} test rows");
        return line(&format!("  split: {{kind: column, column: {}}}", text(&split.name)), &comment);
    }
    line(&format!("  split: {{kind: stratified, {SHARES}, seed: 1}}"), "at random");
    let is_time =
        |column: &&ColumnInspection| column.kind == Type::Date && column.role == Role::Input && column.missing == 0;
    for column in table.columns.iter().filter(is_time).take(3) {
        line("", "");
        line("  # For a model that is to hold in the future, test on the newest rows:", "");
        line(&format!("  # split: {{kind: time, column: {}, {SHARES}}}", text(&column.name)), "");
    }
}

/// What is said of columns, and what a person may say. `unused` names the parts and does not decide them.
fn columns(table: &Inspection, unused: Option<&str>, line: &mut impl FnMut(&str, &str)) {
    let (mut said, mut open) = (Vec::new(), Vec::new());
    for column in &table.columns {
        if unused == Some(column.name.as_str()) {
            said.push((
                format!("{}: ignore", text(&column.name)),
                "names the parts, but one of them has no rows or lacks a class".to_owned(),
            ));
            continue;
        }
        let (value, comments) = of_column(column);
        let key = text(&column.name);
        match value {
            Some((value, true)) => said.push((format!("{key}: {value}"), comments)),
            Some((value, false)) => open.push((format!("{key}: {value}"), comments)),
            None if !comments.is_empty() => open.push((key, comments)),
            None => {}
        }
    }
    let inputs: usize = table.columns.iter().map(|column| column.inputs).sum();
    line(&format!("  # About {inputs} inputs; `secateur inspect` shows how each column becomes some of them."), "");
    if said.is_empty() && open.is_empty() {
        return;
    }
    line(if said.is_empty() { "  # columns:" } else { "  columns:" }, "");
    for (entry, comment) in said {
        line(&format!("    {entry}"), &comment);
    }
    let more = open.len().saturating_sub(MOST_COMMENTS);
    for (entry, comment) in open.into_iter().take(MOST_COMMENTS) {
        line(&format!("    # {entry}"), &comment);
    }
    if more > 0 {
        line(&format!("    # … and {more} more columns: `secateur inspect`"), "");
    }
}

/// The value of a column's entry, whether it holds without a decision, and what is to be known of the column.
fn of_column(column: &ColumnInspection) -> (Option<(String, bool)>, String) {
    let comments = || column.suspicious.iter().map(|found| found.text.as_str()).collect::<Vec<_>>().join("; ");
    if column.role != Role::Input {
        return (None, String::new());
    }
    // A column that cannot be read, or of no use, would end the plan or say nothing. Others are a person's to decide.
    let holds = |kind| match kind {
        SuspicionKind::Mixed | SuspicionKind::Copy => true,
        SuspicionKind::Identity => column.kind != Type::Number || is_numbering(column),
        SuspicionKind::NearEmpty => column.kind == Type::Empty || column.filled < MIN_FILLED,
        _ => false,
    };
    let first = |is_sure: bool| {
        let found = column.suspicious.iter().filter(|found| holds(found.kind) == is_sure);
        let mut says: Vec<&Say> = found.filter_map(|found| found.say.as_ref()).collect();
        says.sort_by_key(|say| **say != Say::Ignore);
        says.first().map(|say| value(say))
    };
    if let Some(value) = first(true) {
        return (Some((value, true)), comments());
    }
    if column.problem.is_some() {
        return (Some(("ignore".to_owned(), true)), comments());
    }
    if let Some(ColumnKind::Date(format)) = &column.reading.kind {
        return (Some((format!("{{date: {}}}", quoted(format)), true)), comments());
    }
    (first(false).map(|value| (value, false)), comments())
}

/// Whether whole numbers that are different in every row are numbers of rows or of people, and not amounts that happen to differ.
fn is_numbering(column: &ColumnInspection) -> bool {
    let lower = column.name.to_lowercase();
    let mut words = lower.split(|letter: char| !letter.is_alphanumeric());
    let is_named =
        words.any(|word| word.ends_with("id") || ["no", "nr", "number", "key", "index", "account"].contains(&word));
    let is_dense =
        matches!(column.range, Some(Range::Numbers { min, max, .. }) if max - min < 2.0 * column.filled as f64);
    is_named || is_dense
}

/// With fewer values a part may have none.
const MIN_FILLED: usize = 10;

/// What a sweep file says of a column, as the value of its name under `data.columns`.
#[must_use]
pub fn value(say: &Say) -> String {
    match say {
        Say::Ignore => "ignore".to_owned(),
        Say::Categorical => "categorical".to_owned(),
        Say::Missing(missing) => format!("{{missing: [{}]}}", words(missing)),
    }
}

/// The net, its training and its pruning, by the size of the table.
fn rest(table: &Inspection, line: &mut impl FnMut(&str, &str)) {
    let inputs: usize = table.columns.iter().map(|column| column.inputs).sum();
    let hidden = if inputs > 100 { "[64, 32]" } else { "[32, 16]" };
    let (batch, epochs) = match table.rows {
        ..500 => (16, 40),
        500..5000 => (64, 20),
        5000..50_000 => (128, 20),
        50_000.. => (256, 10),
    };
    line(&format!("model: {{kind: mlp, hidden: {hidden}}}"), "");
    line(&format!("training: {{optimizer: {{kind: adam, lr: 1.0e-3}}, batch_size: {batch}, epochs: {epochs}}}"), "");
    line("pruning:", "");
    line("  strategy: [random, magnitude, taylor]", "`secateur strategies` lists them all");
    line("  sparsity: [0.5, 0.8, 0.9]", "the share of the weights that is removed");
    line(&format!("  retrain: {{epochs: {}}}", epochs / 2), "");
    line(
        "seeds: 3",
        "of each cell; more give narrower intervals. {min: 3, max: 20} adds them where results do not decide",
    );
    let is_binary = table.target.as_ref().and_then(|target| target.task) == Some(Task::Binary);
    if is_binary && inputs <= ReferenceModel::MAX_INPUTS as usize {
        line("references: [logistic, boosting]", "logistic regression and gradient boosting on the same rows");
    }
}

/// A name of letters and digits, from the name of the table's file.
fn sweep_name(path: &str) -> String {
    let file = path.rsplit(['/', '\\']).next().unwrap_or_default();
    let stem = file.split_once('.').map_or(file, |(stem, _)| stem);
    let name: String =
        stem.chars().map(|letter| if letter.is_ascii_alphanumeric() || letter == '_' { letter } else { '-' }).collect();
    let name: String = name.trim_matches(['-', '_']).chars().take(40).collect();
    if name.starts_with(|letter: char| letter.is_ascii_alphanumeric()) && !is_other_than_text(&name) {
        name
    } else {
        format!("sweep-{name}").trim_end_matches('-').to_owned()
    }
}

/// A text as YAML: as it stands where nothing in it means more, else in quotes.
#[must_use]
pub fn text(text: &str) -> String {
    let begins = text.starts_with(|letter: char| letter.is_ascii_alphabetic() || letter == '_');
    let is_plain = |letter: char| letter.is_ascii_alphanumeric() || matches!(letter, '_' | '-' | '.' | '/');
    if begins && text.chars().all(is_plain) && !is_other_than_text(text) { text.to_owned() } else { quoted(text) }
}

/// Whether YAML, of this or an earlier version, takes a plain word for something else.
fn is_other_than_text(word: &str) -> bool {
    const WORDS: &[&str] = &["true", "false", "yes", "no", "on", "off", "null", "y", "n", "nan", "inf", "infinity"];
    WORDS.contains(&word.to_ascii_lowercase().as_str()) || word.parse::<f64>().is_ok()
}

/// A text in the quotes in which YAML knows escapes.
fn quoted(text: &str) -> String {
    let mut quoted = String::from("\"");
    for letter in text.chars() {
        match letter {
            '"' | '\\' => quoted.extend(['\\', letter]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            '\r' => quoted += "\\r",
            // Not printable, or a line end to some readers.
            letter
                if letter.is_control()
                    || matches!(letter, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}') =>
            {
                let _ = write!(quoted, "\\u{:04x}", u32::from(letter));
            }
            letter => quoted.push(letter),
        }
    }
    quoted + "\""
}

/// Words for a missing value, numbers as they are.
fn words(words: &[String]) -> String {
    let is_number = |word: &str| word.parse::<f64>().is_ok_and(|value| value.is_finite() && value.to_string() == word);
    let word = |word: &String| if is_number(word) { word.clone() } else { quoted(word) };
    words.iter().map(word).collect::<Vec<_>>().join(", ")
}
