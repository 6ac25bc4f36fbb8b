//! What is found in a table column by column.

use super::*;

fn looked(text: &str, target: Option<&str>) -> Inspection {
    inspect(&Reading::default(), text.as_bytes(), Asked { target, split: None })
        .unwrap_or_else(|problem| panic!("{problem}"))
}

fn column<'a>(inspection: &'a Inspection, name: &str) -> &'a ColumnInspection {
    inspection.columns.iter().find(|column| column.name == name).expect("is there")
}

fn kinds(inspection: &Inspection, name: &str) -> Vec<SuspicionKind> {
    column(inspection, name).suspicious.iter().map(|found| found.kind).collect()
}

/// A number by chance, the same in each run.
fn random(row: usize, stream: usize) -> usize {
    let mixed = (row * 2_654_435_761 + stream * 40_503).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 33) % 1000
}

/// A table of columns, each a function of the row.
fn table(columns: &[(&str, &dyn Fn(usize) -> String)]) -> String {
    let mut text = columns.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(",") + "\n";
    for row in 0..1000 {
        text += &(columns.iter().map(|(_, cell)| cell(row)).collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

fn outcome(row: usize) -> usize {
    usize::from(random(row, 1) < 200)
}

#[test]
fn each_kind_of_suspicious_column_is_found_and_no_other_is() {
    use SuspicionKind as Kind;
    let text = table(&[
        ("id", &|row| format!("L{row}")),
        ("number", &|row| (row * 7 + 3).to_string()),
        ("one", &|_| "x".to_owned()),
        ("rarely", &|row| if row % 40 == 0 { random(row, 2).to_string() } else { String::new() }),
        ("codes", &|row| if row % 20 == 0 { "-9".to_owned() } else { (random(row, 3) as f64 / 8.0).to_string() }),
        ("late", &|row| if row % 25 == 0 { "98".to_owned() } else { (random(row, 4) % 14).to_string() }),
        ("grade", &|row| (1 + random(row, 5) % 5).to_string()),
        ("town", &|row| format!("t{}", random(row, 6))),
        ("paid", &|row| {
            if outcome(row) == 1 { random(row, 7).to_string() } else { (2000 + random(row, 7)).to_string() }
        }),
        ("state", &|row| if outcome(row) == 1 { "lost".to_owned() } else { ["open", "done"][row % 2].to_owned() }),
        ("closed", &|row| if outcome(row) == 1 { format!("{}.5", random(row, 8)) } else { String::new() }),
        ("mixed", &|row| if row % 100 == 7 { "?".to_owned() } else { format!("{}.5", random(row, 9)) }),
        ("words", &|row| ["1", "2", "x"][random(row, 13) % 3].to_owned()),
        ("income", &|row| format!("{}.25", random(row, 10))),
        ("again", &|row| format!("{}.25", random(row, 10))),
        ("score", &|row| format!("{}.5", random(row, 11) + 100 * outcome(row))),
        ("since", &|row| format!("{:02}/{:02}/20{:02}", 13 + row % 15, 1 + row % 12, 10 + random(row, 12) % 10)),
        ("y", &|row| outcome(row).to_string()),
    ]);
    let inspection = looked(&text, Some("y"));
    for (name, expected) in [
        ("id", vec![Kind::Identity]),
        ("number", vec![Kind::Identity]),
        ("one", vec![Kind::Constant]),
        ("rarely", vec![Kind::NearEmpty]),
        ("codes", vec![Kind::Codes]),
        ("late", vec![Kind::Codes]),
        ("grade", vec![Kind::FewNumbers]),
        ("town", vec![Kind::RareLevels]),
        ("paid", vec![Kind::Leak]),
        ("state", vec![Kind::Leak]),
        ("closed", vec![Kind::Leak]),
        ("mixed", vec![Kind::Mixed]),
        ("words", vec![Kind::Mixed]),
        ("income", vec![]),
        ("again", vec![Kind::Copy]),
        ("score", vec![]),
        ("since", vec![]),
        ("y", vec![]),
    ] {
        assert_eq!(kinds(&inspection, name), expected, "{name}: {:?}", column(&inspection, name));
    }
    let says = |name: &str| column(&inspection, name).suspicious[0].say.clone();
    assert_eq!(says("codes"), Some(Say::Missing(vec!["-9".to_owned()])));
    assert_eq!(says("late"), Some(Say::Missing(vec!["98".to_owned()])));
    assert_eq!(says("mixed"), Some(Say::Missing(vec!["?".to_owned()])));
    assert_eq!(column(&inspection, "since").kind, Type::Date);
    assert!(column(&inspection, "score").auc.is_some_and(|auc| (0.5..0.7).contains(&auc)));
    assert_eq!(inspection.duplicate_rows, 0);
    assert_eq!(looked(&(text.clone() + text.lines().last().expect("a row") + "\n"), None).duplicate_rows, 1);
}

/// What a column becomes is what preparing the table makes of it.
#[test]
fn inputs_are_those_of_the_prepared_table() {
    let text = table(&[
        ("part", &|row| ["train", "TRAIN", "val", "oot"][row % 4].to_owned()),
        ("money", &|row| format!("\"${},{:03}\"", 1 + row % 9, random(row, 2))),
        ("job", &|row| if row % 9 == 0 { String::new() } else { format!("j{}", random(row, 3) % 7) }),
        ("tail", &|row| (1.1_f64.powi((random(row, 4) % 200) as i32)).to_string()),
        ("one", &|_| "1".to_owned()),
        ("y", &|row| outcome(row).to_string()),
    ]);
    let inspection = looked(&text, Some("y"));
    let settings =
        DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, SplitSpec::Column { column: "part".into() });
    let settings = resolve(&settings, text.as_bytes()).expect("a good table").settings;
    let prepared = prepare(&settings, text.as_bytes()).expect("a good table");
    for prepared in &prepared.preparation.columns {
        let column = column(&inspection, &prepared.name);
        assert_eq!(column.inputs, prepared.features.len(), "{column:?}");
        assert_eq!(column.reading, prepared.reading);
    }
    let split = inspection.split.expect("is found");
    assert_eq!((split.spec(), split.rows), (settings.split, [500, 250, 250]));
}

#[test]
fn what_differs_between_the_parts_is_found() {
    let text = table(&[
        ("part", &|row| ["train", "train", "validation", "test"][row % 4].to_owned()),
        ("same", &|row| format!("{}.5", random(row, 2))),
        ("moved", &|row| format!("{}.5", random(row, 3) + if row % 4 == 3 { 600 } else { 0 })),
        ("new", &|row| {
            if row % 4 == 3 && row % 3 > 0 { "z".to_owned() } else { ["a", "b"][random(row, 4) % 2].to_owned() }
        }),
        ("month", &|row| format!("20{:02}-{:02}-01", 10 + row / 120, 1 + row / 10 % 12)),
        ("grows", &|row| format!("{row}.5")),
    ]);
    let inspection = looked(&text, None);
    for (name, is_drift) in [("same", false), ("moved", true), ("new", true), ("grows", false)] {
        assert_eq!(
            kinds(&inspection, name).contains(&SuspicionKind::Drift),
            is_drift,
            "{name}: {:?}",
            column(&inspection, name)
        );
    }
    // In the order of time what grows with time differs.
    let asked = Asked { target: None, split: Some("month") };
    let inspection = inspect(&Reading::default(), text.as_bytes(), asked).expect("a good table");
    assert!(
        kinds(&inspection, "grows").contains(&SuspicionKind::Drift)
            && !kinds(&inspection, "same").contains(&SuspicionKind::Drift)
    );
    let asked = Asked { target: None, split: Some("same") };
    assert!(inspect(&Reading::default(), text.as_bytes(), asked).is_ok(), "numbers have an order");
    let asked = Asked { target: Some("yy"), split: Some("partt") };
    let found = inspect(&Reading::default(), text.as_bytes(), asked).expect_err("they are no columns");
    assert!(matches!(found, DataError::Columns(problems) if problems.len() == 2));
}

#[test]
fn targets_are_of_a_task_or_told_why_not() {
    let text = table(&[
        ("two", &|row| ["good", "bad"][row % 2].to_owned()),
        ("numbers", &|row| ["0", "1", "1.0"][row % 3].to_owned()),
        ("three", &|row| ["a", "b", "c"][row % 3].to_owned()),
        ("amount", &|row| format!("{}.5", random(row, 1))),
        ("one", &|_| "1".to_owned()),
        ("text", &|row| format!("t{row}")),
        ("gaps", &|row| ["", "0", "1"][row % 3].to_owned()),
    ]);
    for (name, task) in [
        ("two", Some(Task::Binary)),
        ("numbers", Some(Task::Binary)),
        ("three", Some(Task::Multiclass)),
        ("gaps", Some(Task::Binary)),
        ("amount", None),
        ("one", None),
        ("text", None),
    ] {
        let target = looked(&text, Some(name)).target.expect("is named");
        assert_eq!((target.task, target.problem.is_some()), (task, task.is_none()), "{target:?}");
    }
    assert_eq!(looked(&text, Some("gaps")).target.expect("is named").missing, 334);
    assert_eq!(looked(&text, None).likely_targets, ["two", "gaps"]);
}
