//! The two tables that come with Secateur, against counts that were made with other tools.

use super::*;

const SBA: &[u8] = include_bytes!("../../../../configs/data/sba_loans.csv.gz");
const GERMAN: &[u8] = include_bytes!("../../../../configs/data/german_credit.csv");

fn sba() -> DataSettings {
    DataSettings {
        format: TableFormat::CsvGz,
        target: Some("default".into()),
        split: stratified(42),
        drop: vec!["ApprovalFY".into()],
        groups: vec!["UrbanRural".into()],
        ..spec()
    }
}

#[test]
fn sba_columns() {
    let table = Table::read(TableFormat::CsvGz, &Reading::default(), SBA).expect("a good table");
    assert_eq!((table.rows(), table.columns().len()), (100_000, 15));
    let counted = |name: &str| {
        let levels = Levels::of(table.column(name).expect("a column"), &ColumnReading::default()).expect("is plain");
        (levels.names.len(), levels.of_rows.iter().filter(|level| level.is_none()).count())
    };
    assert_eq!(counted("State"), (51, 2));
    assert_eq!(counted("naics_sector"), (24, 22_489));
    assert_eq!(counted("UrbanRural").1, 36_023);
    assert_eq!(counted("default"), (2, 0));
    assert_eq!(table.line(99_999), 100_001);
}

#[test]
fn sba_parts() {
    let prepared = prepare(&sba(), SBA).expect("a good table");
    let facts = prepared.facts();
    // 17,562 positives are 10,537.2 + 3,512.4 + 3,512.4, and 82,438 negatives are 49,462.8 + 16,487.6 + 16,487.6.
    assert_eq!(facts.train, PartFacts { rows: 60_000, of_classes: vec![49_463, 10_537] });
    assert_eq!(facts.validation, PartFacts { rows: 20_001, of_classes: vec![16_488, 3_513] });
    assert_eq!(facts.test, PartFacts { rows: 19_999, of_classes: vec![16_487, 3_512] });
    assert_eq!(facts.columns, 12);
    assert_eq!(facts.constant, Vec::<String>::new());
    // 32 of the 51 states hold 1 % of the rows.
    let features = &prepared.dataset.features;
    assert_eq!(features.iter().filter(|name| name.starts_with("State=")).count(), 32);
    let others: Vec<&str> = features[32..].iter().map(String::as_str).collect();
    let expected = [
        "State (rare)",
        "State (missing)",
        "naics_sector",
        "naics_sector (missing)",
        "NoEmp",
        "NewExist=existing",
        "NewExist=new",
        "NewExist (missing)",
        "CreateJob",
        "RetainedJob",
        "is_franchise",
        "RevLineCr=N",
        "RevLineCr=Y",
        "RevLineCr (missing)",
        "LowDoc=N",
        "LowDoc=Y",
        "LowDoc (missing)",
        "same_state_bank",
        "GrAppv",
        "SBA_Appv",
    ];
    assert_eq!(others, expected);
    assert_eq!((facts.width, prepared.preparation.width()), (52, 52));
    let heavy: Vec<&str> = (prepared.preparation.columns.iter())
        .filter(|column| matches!(&column.encoding, Encoding::Numeric(numeric) if numeric.signed_log1p))
        .map(|column| column.name.as_str())
        .collect();
    // Counts and amounts, and a share of 6 % whose two values stay two.
    assert_eq!(heavy, ["NoEmp", "CreateJob", "RetainedJob", "is_franchise", "GrAppv", "SBA_Appv"]);

    let target = &prepared.preparation.target;
    assert_eq!((target.column.as_deref(), target.classes.join(" ")), (Some("default"), "0 1".to_owned()));
    assert!(prepared.preparation.columns.iter().all(|column| column.name != "UrbanRural"));
    let group = &prepared.dataset.groups[0];
    let missing = group.levels.iter().position(|level| level == "(missing)").expect("missing values");
    let rows = prepared
        .dataset
        .parts()
        .map(|(_, part)| part.groups[0].iter().filter(|level| **level as usize == missing).count());
    assert_eq!(rows.iter().sum::<usize>(), 36_023);
}

#[test]
fn german_parts() {
    let spec = DataSettings { target: Some("default".into()), split: stratified(0), ..spec() };
    let prepared = prepare(&spec, GERMAN).expect("a good table");
    let facts = prepared.facts();
    assert_eq!(facts.train, PartFacts { rows: 600, of_classes: vec![420, 180] });
    assert_eq!(facts.validation, PartFacts { rows: 200, of_classes: vec![140, 60] });
    assert_eq!(facts.test, PartFacts { rows: 200, of_classes: vec![140, 60] });
    assert_eq!(facts.columns, 20);

    let column = |name: &str| {
        let columns = &prepared.preparation.columns;
        columns.iter().find(|column| column.name == name).expect("a column").encoding.clone()
    };
    // Amounts have a heavy tail; ages do not. Nothing is missing.
    let Encoding::Numeric(amount) = column("credit_amount") else { panic!("an amount is a number") };
    let Encoding::Numeric(age) = column("age") else { panic!("an age is a number") };
    assert!(amount.signed_log1p && !age.signed_log1p);
    assert!(!amount.missing_flag && !age.missing_flag);
    let Encoding::Categorical(status) = column("checking_status") else { panic!("a code is a level") };
    assert_eq!(status.levels, ["A11", "A12", "A13", "A14"]);
}

#[test]
fn preparing_twice_gives_the_same_bytes() {
    let spec =
        DataSettings { target: Some("default".into()), split: stratified(7), groups: vec!["housing".into()], ..spec() };
    let bytes = || {
        let prepared = prepare(&spec, GERMAN).expect("a good table");
        (prepared.dataset.to_safetensors().expect("bytes"), prepared.preparation.to_json().expect("bytes"))
    };
    let first = bytes();
    assert_eq!(first, bytes());
    let prepared = prepare(&spec, GERMAN).expect("a good table");
    assert_eq!(Dataset::from_safetensors(&first.0), Ok(prepared.dataset));
    assert_eq!(Preparation::from_json(&first.1), Ok(prepared.preparation));
}

#[test]
fn a_new_row_is_prepared_bit_for_bit_as_a_train_row() {
    let prepared = prepare(&sba(), SBA).expect("a good table");
    let read_back = Preparation::from_json(&prepared.preparation.to_json().expect("bytes")).expect("a preparation");
    let table = Table::read(TableFormat::CsvGz, &Reading::default(), SBA).expect("a good table");
    let cells: Vec<Vec<Option<&str>>> = table.columns().iter().map(|column| column.cells().collect()).collect();
    let index_of: std::collections::HashMap<&str, usize> = table.columns().iter().map(Column::name).zip(0..).collect();
    for (_, part) in prepared.dataset.parts() {
        for (&row, expected) in part.rows.iter().zip(part.inputs.chunks_exact(prepared.dataset.width())).take(2000) {
            let mut found = Vec::new();
            read_back.apply(|name| cells[index_of[name]][row as usize], &mut found).expect("a good row");
            assert!(found.iter().map(|value| value.to_bits()).eq(expected.iter().map(|value| value.to_bits())));
        }
    }
}
