//! `secateur inspect`: what a table holds, and what is suspicious in it.

use std::{fmt::Write as _, path::PathBuf, process::ExitCode};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Row, Table, presets};
use secateur_proto::spec::Task;
use secateur_worker::data::{
    ColumnInspection, Inspection, Level, Range, Suspicion, SuspicionKind, TargetInspection, Type,
};

use super::{
    error::CliError,
    output::{Output, counted, thousands},
    progress::Screen,
    reading::{self, ReadingArguments},
};
use crate::experiment::draft;

/// The options of the verb.
#[derive(Debug, Args)]
pub(crate) struct InspectArguments {
    /// Table: text with separators, or Parquet; also gzip, zstd, or a zip of one file
    table: PathBuf,
    /// Column to predict; needed to detect columns that leak the target
    #[arg(long, value_name = "COLUMN")]
    target: Option<String>,
    /// Column that assigns rows to train, validation and test, by part name or in order of time [default: detected]
    #[arg(long, value_name = "COLUMN")]
    split: Option<String>,
    #[command(flatten)]
    reading: ReadingArguments,
}

pub(crate) async fn run(arguments: InspectArguments, output: Output, screen: &Screen) -> Result<ExitCode, CliError> {
    let reading = arguments.reading.reading()?;
    let (target, split) = (arguments.target.as_deref(), arguments.split.as_deref());
    let (_, inspection) = reading::read(&arguments.table, &reading, target, split, screen).await?;
    output.print(&inspection, || text(&inspection, Table::new().width()));
    Ok(ExitCode::SUCCESS)
}

/// All of it, in lines of up to `width` letters; as wide as it is where there is no terminal.
fn text(inspection: &Inspection, width: Option<u16>) -> String {
    let Inspection { rows, columns, duplicate_rows, .. } = inspection;
    let mut text = facts(inspection, width);
    text.push('\n');
    let header = ["column", "type", "missing", "values", "range, or most frequent", "becomes"];
    let rows_of = columns.iter().map(|column| row(column, *rows));
    text += &layout(width, Some(&header), &[2, 3], Some(2), rows_of);
    text.push('\n');
    let suspicious = columns.iter().flat_map(|column| {
        let of_column = move |Suspicion { text, say, .. }: &Suspicion| {
            let key = draft::text(&column.name);
            let say = say.as_ref().map(|say| format!(" → data.columns: {{{key}: {}}}", draft::value(say)));
            vec![shown(&column.name), format!("{text}{}", say.unwrap_or_default())]
        };
        column.suspicious.iter().map(of_column)
    });
    let of_rows = (*duplicate_rows > 0).then(|| {
        let verb = if *duplicate_rows == 1 { "repeats" } else { "repeat" };
        vec!["rows".to_owned(), format!("{} {verb} an earlier row", counted(*duplicate_rows as u64, "row"))]
    });
    let suspicious: Vec<_> = suspicious.chain(of_rows).collect();
    if suspicious.is_empty() {
        text += "\nnothing suspicious";
    } else {
        text += "\nsuspicious\n";
        text += &layout(width, None, &[], None, suspicious.into_iter());
    }
    text
}

/// What is known of the whole table.
fn facts(inspection: &Inspection, width: Option<u16>) -> String {
    let Inspection { rows, columns, target, likely_targets, split, notes, .. } = inspection;
    let inputs: usize = columns.iter().map(|column| column.inputs).sum();
    let mut facts = vec![(
        "table",
        format!(
            "{}, {}; {} of a net",
            counted(*rows as u64, "row"),
            counted(columns.len() as u64, "column"),
            counted(inputs as u64, "input")
        ),
    )];
    facts.extend(target.as_ref().map(|target| ("target", of_target(target))));
    facts.extend((!likely_targets.is_empty()).then(|| {
        let names: Vec<String> = likely_targets.iter().map(|name| shown(name)).collect();
        ("target", format!("not named (--target); these columns look like one: {}", names.join(", ")))
    }));
    facts.extend(split.as_ref().map(|split| {
        let [train, validation, test] = split.rows.map(|rows| thousands(rows as u64));
        let how = if split.names_parts { "column" } else { "order of" };
        (
            "split",
            format!("by the {how} {}: {train} train, {validation} validation, {test} test rows", shown(&split.name)),
        )
    }));
    let is_open = |column: &&ColumnInspection| column.suspicious.iter().all(|found| found.kind != SuspicionKind::Mixed);
    let of_columns = columns.iter().filter(is_open).filter_map(|column| column.note.as_ref());
    facts.extend(notes.iter().chain(of_columns).map(|note| ("note", note.clone())));
    layout(width, None, &[], None, facts.into_iter().map(|(what, fact)| vec![what.to_owned(), fact]))
}

fn of_target(target: &TargetInspection) -> String {
    let TargetInspection { name, task, problem, classes, missing } = target;
    let name = shown(name);
    let mut text = match (task, problem) {
        (Some(task), _) => {
            let all: usize = classes.iter().map(|class| class.rows).sum();
            let shares =
                classes.iter().take(10).map(|class| format!("{} {}", shown(&class.value), percent(class.rows, all)));
            let more = if classes.len() > 10 { format!(" and {} more", classes.len() - 10) } else { String::new() };
            let positive = match (task, classes.last()) {
                (Task::Binary, Some(class)) => format!("; positive: {}", shown(&class.value)),
                _ => String::new(),
            };
            format!("{name}, {task}: {}{more}{positive}", shares.collect::<Vec<_>>().join(", "))
        }
        (None, problem) => format!("{name} {}", problem.as_deref().unwrap_or_default()),
    };
    if *missing > 0 {
        let _ = write!(text, "; missing in {}", counted(*missing as u64, "row"));
    }
    text
}

fn row(column: &ColumnInspection, rows: usize) -> Vec<String> {
    let kind = match column.kind {
        Type::Number => "number",
        Type::Date => "date",
        Type::Categorical if column.problem.is_some() => "mixed",
        Type::Categorical => "category",
        Type::Empty => "empty",
    };
    let missing = match column.missing {
        0 => String::new(),
        missing => percent(missing, rows),
    };
    let range = match &column.range {
        Some(Range::Numbers { min, median, max }) => {
            format!("{} to {}, median {}", number(*min), number(*max), number(*median))
        }
        Some(Range::Dates { first, last }) => format!("{first} to {last}"),
        None => {
            let level = |level: &Level| format!("{} {}", shown(&level.value), percent(level.rows, rows));
            column.frequent.iter().take(3).map(level).collect::<Vec<_>>().join(", ")
        }
    };
    vec![
        shown(&column.name),
        kind.to_owned(),
        missing,
        thousands(column.distinct as u64),
        range,
        column.becomes.clone(),
    ]
}

/// Rows without borders, within a width if there is one; cells wrap, over up to `most` lines. Columns in `numbers` are aligned to the right.
fn layout(
    width: Option<u16>,
    header: Option<&[&str]>,
    numbers: &[usize],
    most: Option<usize>,
    rows: impl Iterator<Item = Vec<String>>,
) -> String {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_truncation_indicator("…");
    if let Some(header) = header {
        table.set_header(header);
    }
    for cells in rows {
        let mut row = Row::from(cells);
        if let Some(most) = most {
            row.max_height(most);
        }
        table.add_row(row);
    }
    let columns = table.column_count();
    for (at, column) in table.column_iter_mut().enumerate() {
        column.set_padding((0, if at + 1 == columns { 0 } else { 2 }));
        if numbers.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    if let Some(width) = width {
        table.set_content_arrangement(ContentArrangement::Dynamic).set_width(width);
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    lines.join("\n")
}

/// Text from the table, on one line, cut where it is long.
fn shown(text: &str) -> String {
    const LONGEST: usize = 40;
    let plain = text.chars().all(|letter| !letter.is_control()) && !text.is_empty();
    let text = if plain { text.to_owned() } else { format!("{text:?}") };
    if text.chars().count() <= LONGEST {
        return text;
    }
    text.chars().take(LONGEST - 1).chain(['…']).collect()
}

fn percent(part: usize, all: usize) -> String {
    let share = 100.0 * part as f64 / all.max(1) as f64;
    if share > 0.0 && share < 0.1 { "<0.1 %".to_owned() } else { format!("{share:.1} %") }
}

/// A number with up to six digits that count.
fn number(number: f64) -> String {
    let size = number.abs();
    if number == number.trunc() && size < 1e15 {
        return format!("{number}");
    }
    if !(1e-4..1e9).contains(&size) {
        return format!("{number:.4e}");
    }
    let decimals = (5 - size.log10().floor() as i64).clamp(0, 9) as usize;
    let text = format!("{number:.decimals$}");
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use secateur_proto::spec::Reading;
    use secateur_worker::data::{Asked, inspect};

    use super::*;

    #[test]
    fn a_table_looks_good_at_any_width() {
        let mut table =
            String::from("id,a column with a name that is longer than usual,grade,issued,money,Größe,empty,part,y\n");
        for row in 0..200 {
            table += &format!(
                "L{row},{},{},{}/{:02}/2020,\"${},{:03}\",{},,{},{}\n",
                ["a first level of many letters that goes on and on", "b"][row % 2],
                row % 4,
                13 + row % 12,
                1 + row % 12,
                1 + row % 9,
                row * 37 % 1000,
                if row % 10 == 0 { String::new() } else { format!("0.{row:04}") },
                ["train", "train", "val", "test"][row % 4],
                usize::from(row * 7919 % 10 < 3),
            );
        }
        let asked = Asked { target: Some("y"), split: None };
        let inspection = inspect(&Reading::default(), table.as_bytes(), asked).expect("a good table");
        for width in [60, 80, 120] {
            let text = text(&inspection, Some(width));
            let widest = text.lines().map(|line| line.chars().count()).max();
            assert!(widest.is_some_and(|widest| widest <= usize::from(width)), "{width}: {widest:?}\n{text}");
        }
        insta::assert_snapshot!(text(&inspection, Some(80)));
        insta::assert_snapshot!(text(&inspection, None));
    }

    #[test]
    fn numbers_for_people() {
        let written: Vec<String> =
            [0.0, -9.0, 1_234_567.0, 0.000_012, 1_234.567_89, 0.5, 1e20, 99.999_99].map(number).into();
        assert_eq!(written, ["0", "-9", "1234567", "1.2000e-5", "1234.57", "0.5", "1.0000e20", "100"]);
    }
}
