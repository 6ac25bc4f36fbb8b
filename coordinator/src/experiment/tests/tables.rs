//! What a sweep file says of a table's text.

use insta::assert_snapshot;
use secateur_proto::spec::{ColumnKind, ColumnReading, Decimal, Reading, Scaling, Separator, StageSpec, TextEncoding};

use super::*;

/// [`SMALL`] with these lines under `data`.
fn with_data(lines: &str) -> String {
    SMALL.replace("  task: binary\n", &format!("  task: binary\n  {}\n", lines.trim().replace('\n', "\n  ")))
}

fn parsed(text: &str) -> SweepSpec {
    SweepSpec::parse("sweep.yaml", text).unwrap_or_else(|problems| panic!("{problems}"))
}

#[test]
fn columns_words_and_format_are_read() {
    let text = with_data(
        "columns:
  zip: categorical
  amount: number
  customer_id: ignore
  income: {missing: [-9, -8.5, none]}
  issued: {date: \"%b-%Y\"}
  price: {kind: number, decimal: \",\", missing: [], scaling: auto}
missing: [\"-\", -999]
positive: Charged Off
rows_without_target: drop
scaling: log
format: {separator: tab, decimal: \".\", header: none, names: [a, b, y], skip_rows: 2, skip_footer: 1, encoding: latin-1}",
    );
    let spec = parsed(&text);
    let words = |words: &[&str]| Some(words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
    let of = |kind: Option<ColumnKind>, codes| ColumnReading { kind, codes, ..ColumnReading::default() };
    let columns = [
        ("zip", of(Some(ColumnKind::Categorical), None)),
        ("amount", of(Some(ColumnKind::Number), None)),
        ("income", of(None, words(&["-9", "-8.5", "none"]))),
        ("issued", of(Some(ColumnKind::Date("%b-%Y".to_owned())), None)),
        (
            "price",
            ColumnReading {
                decimal: Some(Decimal::Comma),
                scaling: Some(Scaling::Auto),
                ..of(Some(ColumnKind::Number), words(&[]))
            },
        ),
    ];
    let expected = Reading {
        scaling: Some(Scaling::Log),
        encoding: Some(TextEncoding::Windows1252),
        separator: Some(Separator::Tab),
        decimal: Some(Decimal::Point),
        no_header: true,
        names: ["a", "b", "y"].map(str::to_owned).to_vec(),
        skip_rows: 2,
        skip_footer: 1,
        missing: words(&["-", "-999"]),
        columns: columns.map(|(name, column)| (name.to_owned(), column)).into(),
        positive: Some("Charged Off".to_owned()),
        drop_unlabelled: true,
    };
    assert_eq!(spec.data.settings.reading, expected);
    assert_eq!(spec.data.settings.drop, ["customer_id"]);
    assert!(spec.data.named.iter().any(|named| named.path == "data.columns.issued" && named.name == "issued"));
}

#[test]
fn mistakes_in_what_is_said_of_a_table() {
    let mut told = String::new();
    for lines in [
        "columns: [zip]",
        "columns: {zip: category}",
        "columns: {zip: {}}\nmissing: NA",
        "columns: {issued: {date: \"%d/%m\"}}",
        "columns: {issued: {date: \"%Y\", kind: number}}",
        "columns: {issued: {dates: \"%Y\"}}",
        "columns: {y: ignore}",
        "missing: [yes, true]",
        "positive: true",
        "rows_without_target: keep",
        "format: {separator: \"::\"}",
        "format: {seperator: tab}",
        "format: {names: [a, b]}",
        "format: {skip_rows: -1}",
        "format: {encoding: utf-7}",
    ] {
        let problems = SweepSpec::parse("sweep.yaml", &with_data(lines)).map(|_| String::new());
        let problems = problems.unwrap_or_else(|problems| problems.to_string());
        told += &format!("{lines}\n{problems}\n");
    }
    assert_snapshot!(told);
}

#[test]
fn a_reading_is_part_of_the_key_and_the_plain_form_is_none() {
    let key = |reading| StageSpec::Prepare(parsed(SMALL).data.prepare(ContentHash::of(b"table"), reading)).key();
    let plain = key(Reading::default());
    let text =
        StageSpec::Prepare(parsed(SMALL).data.prepare(ContentHash::of(b"table"), Reading::default())).canonical();
    assert!(!text.contains("reading"), "{text}");
    assert_ne!(key(Reading { separator: Some(Separator::Tab), ..Reading::default() }), plain);
    let spec = StageSpec::Prepare(
        parsed(SMALL).data.prepare(ContentHash::of(b"table"), Reading { skip_rows: 1, ..Reading::default() }),
    );
    assert_eq!(StageSpec::parse(&spec.canonical(), spec.key()).expect("is its own"), spec);
    let unknown = text.replacen("\"groups\":[]", "\"groups\":[],\"colour\":1", 1);
    assert!(serde_json::from_str::<StageSpec>(&unknown).is_err(), "a field that is not known decides nothing");
}
