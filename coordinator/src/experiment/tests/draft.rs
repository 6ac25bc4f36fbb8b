//! Sweep files that are drafted for a table.

use secateur_proto::spec::{Reading, Separator, SplitSpec, Task};
use secateur_worker::data::{Asked, inspect};

use crate::experiment::{
    SweepSpec,
    draft::{Wishes, draft},
};

/// The draft for a table, and what it means.
fn drafted(text: &str, target: &str, wishes: Wishes<'_>) -> Result<(String, SweepSpec), String> {
    let asked = Asked { target: Some(target), split: None };
    let table = inspect(wishes.reading, text.as_bytes(), asked).map_err(|problem| problem.to_string())?;
    let text = draft(&table, wishes)?;
    let spec = SweepSpec::parse("sweep.yaml", &text).unwrap_or_else(|problems| panic!("{problems}\n{text}"));
    Ok((text, spec))
}

const PLAIN: Reading = Reading {
    encoding: None,
    separator: None,
    decimal: None,
    no_header: false,
    names: Vec::new(),
    skip_rows: 0,
    skip_footer: 0,
    missing: None,
    scaling: None,
    columns: std::collections::BTreeMap::new(),
    positive: None,
    drop_unlabelled: false,
};

const WISHES: Wishes<'_> = Wishes { path: "loans 2024.csv", positive: None, reading: &PLAIN, use_parts: true };

/// Loans with a finding in most columns.
fn loans() -> String {
    let mut text = String::from("id,issued,income,income2,grade,state,part,y\n");
    for row in 0..400 {
        let bad = row * 7919 % 10 < 3;
        let income = if row % 50 == 3 { "?".to_owned() } else { format!("{}.5", 900 + row * 31 % 700) };
        let later = if row % 20 == 1 { "-999".to_owned() } else { format!("{}", row * 37 % 500) };
        text += &format!(
            "L{row},{}/{:02}/2020,{income},{later},{},{},{},{}\n",
            13 + row % 12,
            1 + row % 12,
            row % 4,
            if bad { "lost" } else { "paid" },
            ["train", "Train", "val", "test"][row % 4],
            if row == 17 {
                ""
            } else if bad {
                "Default"
            } else {
                "Paid"
            },
        );
    }
    text
}

#[test]
fn a_draft_says_what_was_found() {
    let wishes = Wishes { positive: Some("Default"), ..WISHES };
    let (text, spec) = drafted(&loans(), "y", wishes).expect("a good table");
    let settings = &spec.data.settings;
    assert_eq!(settings.split, SplitSpec::Column { column: "part".to_owned() });
    assert_eq!(settings.drop, ["id"]);
    assert_eq!(settings.reading.positive.as_deref(), Some("Default"));
    assert!(settings.reading.drop_unlabelled);
    assert_eq!(settings.reading.columns["income"].codes.as_deref(), Some(&["?".to_owned()][..]));
    insta::assert_snapshot!(text);
    let (text, spec) = drafted(&loans(), "y", Wishes { use_parts: false, ..wishes }).expect("a good table");
    assert!(matches!(spec.data.settings.split, SplitSpec::Stratified { .. }));
    assert_eq!(spec.data.settings.drop, ["id", "part"]);
    assert!(text.contains("column: issued"));
}

#[test]
fn what_is_said_of_the_text_is_in_the_draft() {
    let reading = Reading {
        separator: Some(Separator::Tab),
        no_header: true,
        names: vec!["a b".to_owned(), "yes".to_owned()],
        missing: Some(vec!["-999".to_owned(), "no\tdata".to_owned()]),
        skip_footer: 1,
        ..PLAIN
    };
    let rows: String = (0..100).map(|row| format!("{}.5\t{}\n", row * 37 % 91, row % 2)).collect();
    let (text, spec) =
        drafted(&(rows + "total\n"), "yes", Wishes { reading: &reading, ..WISHES }).expect("a good table");
    let read = &spec.data.settings.reading;
    assert_eq!((read.separator, read.no_header, &read.names), (reading.separator, true, &reading.names), "{text}");
    assert_eq!((&read.missing, read.skip_footer), (&reading.missing, 1), "{text}");
}

#[test]
fn targets_that_are_unsuited_are_refused() {
    let rows: String = (0..300).map(|row| format!("{}.5,{},{}\n", row * 37 % 91, row % 3, row % 2)).collect();
    let table = format!("amount,kind,y\n{rows}");
    let mut said = String::new();
    for (target, positive) in [("amount", None), ("kind", Some("1")), ("y", Some("2")), ("why", None)] {
        said += &drafted(&table, target, Wishes { positive, ..WISHES }).expect_err("is refused");
        said.push('\n');
    }
    insta::assert_snapshot!(said);
    let (_, spec) = drafted(&table, "kind", WISHES).expect("several classes are supported");
    assert_eq!(spec.data.settings.task, Task::Multiclass);
    // 1.0 is 1.
    let (_, spec) = drafted(&table, "y", Wishes { positive: Some("0.0"), ..WISHES }).expect("is a class");
    assert_eq!(spec.data.settings.reading.positive.as_deref(), Some("0"));
}
