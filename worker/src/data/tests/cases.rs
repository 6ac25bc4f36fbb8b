//! Tables as people have them: each kind of file is read, or refused with what to say of it.

use super::*;

/// Settings of a table with the target `y`, split at random.
fn settings() -> DataSettings {
    DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, stratified(1))
}

fn with(reading: Reading) -> DataSettings {
    DataSettings { reading, ..settings() }
}

fn column(name: &str, reading: ColumnReading) -> Reading {
    Reading { columns: [(name.to_owned(), reading)].into(), ..Reading::default() }
}

fn kind(kind: ColumnKind) -> ColumnReading {
    ColumnReading { kind: Some(kind), ..ColumnReading::default() }
}

/// The prepared table and everything that is to be known of it.
fn read(settings: &DataSettings, bytes: impl AsRef<[u8]>) -> (Prepared, Vec<String>) {
    let resolved = resolve(settings, bytes.as_ref()).unwrap_or_else(|problem| panic!("{problem}"));
    let prepared = prepare(&resolved.settings, bytes.as_ref()).unwrap_or_else(|problem| panic!("{problem}"));
    let notes = [resolved.notes, prepared.notes.clone()].concat();
    (prepared, notes)
}

fn dataset(settings: &DataSettings, bytes: impl AsRef<[u8]>) -> Dataset {
    read(settings, bytes).0.dataset
}

fn refused(settings: &DataSettings, bytes: impl AsRef<[u8]>) -> DataError {
    let resolved = resolve(settings, bytes.as_ref());
    resolved.and_then(|resolved| prepare(&resolved.settings, bytes.as_ref())).expect_err("is refused")
}

/// 200 rows of income and age, an income written by `spell`, which is given the row and the number.
fn incomes(spell: impl Fn(usize, f64) -> String) -> String {
    let mut text = String::from("income,age,y\n");
    for row in 0..200 {
        let income = 1000.25 + (row * 7919 % 9001) as f64 / 2.0;
        let _ = writeln!(text, "{},{},{}", spell(row, income), 20 + row * 31 % 60, usize::from(row % 3 == 0));
    }
    text
}

fn plain(_: usize, income: f64) -> String {
    income.to_string()
}

/// The same with every tenth income replaced.
fn with_word(word: &str) -> String {
    incomes(|row, income| if row % 10 == 4 { word.to_owned() } else { income.to_string() })
}

#[test]
fn a_plain_table_has_an_empty_reading() {
    for text in [incomes(plain), with_word("")] {
        let resolved = resolve(&settings(), text.as_bytes()).expect("a good table");
        assert!(resolved.settings.reading.is_plain() && resolved.notes.is_empty(), "{resolved:?}");
    }
}

#[test]
fn an_index_without_a_name_is_ignored() {
    let text = incomes(plain);
    for empty in ["", "\"\""] {
        let lines = text.lines().enumerate();
        let indexed: String = lines
            .map(|(row, line)| if row == 0 { format!("{empty},{line}\n") } else { format!("{row},{line}\n") })
            .collect();
        let (prepared, notes) = read(&settings(), &indexed);
        assert_eq!(prepared.dataset, dataset(&settings(), &text));
        insta::allow_duplicates! { insta::assert_snapshot!(notes.join("\n"), @"column 1 has no name and is ignored, as an index is"); }
    }
    // Lines that end in a comma, the header's among them or not.
    let trailing: String = text.lines().map(|line| format!("{line},\n")).collect();
    for trailing in [trailing.replacen("y,\n", "y\n", 1), trailing] {
        let (prepared, notes) = read(&settings(), &trailing);
        assert_eq!(prepared.dataset, dataset(&settings(), &text));
        assert_eq!(notes, ["column 4 has neither a name nor a value and is ignored"]);
    }
}

#[test]
fn names_of_rows_as_r_writes_them_are_an_index() {
    let text = incomes(plain);
    for between in [",", " "] {
        let lines = text.lines().enumerate();
        let lines = lines.map(|(row, line)| if row == 0 { format!("{line}\n") } else { format!("\"{row}\",{line}\n") });
        let named = lines.collect::<String>().replace(',', between);
        assert_eq!(dataset(&settings(), named), dataset(&settings(), &text), "{between:?}");
    }
}

#[test]
fn a_number_of_nines_far_from_the_others_is_noted() {
    for (code, is_noted) in [("-999", true), ("999999", true), ("-99", true), ("1500", false), ("-3", false)] {
        let (_, notes) = read(&settings(), with_word(code));
        assert_eq!(notes.iter().any(|note| note.contains("far from")), is_noted, "{code}: {notes:?}");
    }
}

#[test]
fn words_for_nothing_are_missing() {
    let empty = dataset(&settings(), with_word(""));
    assert!(empty.features.contains(&"income (missing)".to_owned()));
    for word in ["NA", "n/a", "N/A", "NaN", "nan", "NULL", "null", "None", "#N/A", "<NA>", " ", "\"\"", " NA "] {
        let (prepared, notes) = read(&settings(), with_word(word));
        assert_eq!(prepared.dataset, empty, "{word:?}");
        let is_said = notes.iter().any(|note| note.ends_with("is read as a missing value in 20 cells of \"income\""));
        assert_eq!(is_said, !word.trim_matches([' ', '"']).is_empty(), "{notes:?}");
    }
    for word in ["-", "?", ".", "\\N", "#DIV/0!", "Unknown", "inf", "missing"] {
        let found = refused(&settings(), with_word(word));
        let message = found.to_string();
        assert!(matches!(&found, DataError::Column { column, .. } if column == "income"), "{found:?}");
        assert!(message.contains("(line 6)") && message.contains("income: {missing: ["), "{message}");
        let missing = Reading { missing: Some(vec![word.to_owned()]), ..Reading::default() };
        assert_eq!(dataset(&with(missing), with_word(word)), empty, "{word:?}");
        let codes = ColumnReading { codes: Some(vec![word.to_owned()]), ..ColumnReading::default() };
        let prepared = dataset(&with(column("income", codes)), with_word(word));
        assert_eq!(prepared.features, ["income".to_owned(), format!("income ({word})"), "age".to_owned()]);
        assert_eq!(prepared.train.inputs, empty.train.inputs);
    }
    insta::assert_snapshot!(refused(&settings(), with_word("-")), @r#"the column "income" holds numbers, except for 1 of its 181 different values: "-" (line 6); if such cells mean that the value is missing, say data.columns: {income: {missing: ["-"]}}, or data.missing: ["-"] for every column; if the column is of categories, {income: categorical}; else correct the cells"#);
}

#[test]
fn a_list_without_words_leaves_empty_cells_alone_missing() {
    let none = Reading { missing: Some(vec![]), ..Reading::default() };
    assert!(matches!(refused(&with(none), with_word("NA")), DataError::Column { .. }));
    let codes = ColumnReading { codes: Some(vec![]), ..ColumnReading::default() };
    assert!(matches!(refused(&with(column("income", codes)), with_word("NA")), DataError::Column { .. }));
}

#[test]
fn each_code_for_a_missing_value_has_an_input_of_its_own() {
    let text = incomes(|row, income| match row % 10 {
        2 => "-9".to_owned(),
        4 => "-8.0".to_owned(),
        6 => String::new(),
        _ => income.to_string(),
    });
    let codes = ColumnReading { codes: Some(vec!["-9".into(), "-8".into(), "-7".into()]), ..ColumnReading::default() };
    let (prepared, _) = read(&with(column("income", codes)), &text);
    assert_eq!(prepared.dataset.features, ["income", "income (-9)", "income (-8)", "income (missing)", "age"]);
    let train = &prepared.dataset.train;
    for (inputs, row) in train.inputs.chunks(5).zip(&train.rows) {
        let flags = [2, 4, 6].map(|rest| f32::from(row % 10 == rest));
        assert_eq!(inputs[1..4], flags, "row {row}");
    }
    // A new row is prepared as the train row of the same cells was.
    let json = prepared.preparation.to_json().expect("bytes");
    let preparation = Preparation::from_json(&json).expect("reads its own");
    let mut out = Vec::new();
    preparation.apply(|name| Some(if name == "income" { "-8" } else { "33" }), &mut out).expect("a good row");
    assert_eq!(out[1..4], [0.0, 1.0, 0.0]);
}

#[test]
fn numbers_in_the_spellings_of_people() {
    let expected = dataset(&settings(), incomes(plain));
    let grouped = |income: f64, group: &str, decimal: &str| {
        let (whole, cents) = (income.trunc(), (income.fract() * 100.0).round());
        format!("{}{group}{:03}{decimal}{cents:02}", (whole / 1000.0).trunc(), whole % 1000.0)
    };
    let spellings: [(&str, &dyn Fn(f64) -> String); 8] = [
        ("money", &|income| format!("\"${} \"", grouped(income, ",", "."))),
        ("euro", &|income| format!("\"{} €\"", grouped(income, ".", ","))),
        ("code", &|income| format!("\"USD {}\"", grouped(income, ",", "."))),
        ("swiss", &|income| format!("CHF {}", grouped(income, "'", "."))),
        ("spaces", &|income| grouped(income, "\u{a0}", ".")),
        ("per cent", &|income| format!("{income}%")),
        ("decimal comma", &|income| format!("\"{}\"", income.to_string().replace('.', ","))),
        ("plus", &|income| format!("+{income}")),
    ];
    for (name, spell) in spellings {
        let (prepared, notes) = read(&settings(), incomes(|_, income| spell(income)));
        assert_eq!(prepared.dataset, expected, "{name}");
        assert_eq!(notes.len(), usize::from(name != "plus"), "{name}: {notes:?}");
    }
    let negative = dataset(&settings(), incomes(|_, income| format!("-{income}")));
    assert_eq!(dataset(&settings(), incomes(|_, income| format!("({income})"))), negative);
}

#[test]
fn numbers_of_two_units_are_not_of_one_column() {
    let text = incomes(|row, income| if row % 30 == 7 { format!("€{income}") } else { format!("${income}") });
    assert!(matches!(refused(&settings(), text), DataError::Column { .. }));
    let text = incomes(|row, income| if row % 30 == 7 { income.to_string() } else { format!("{income}%") });
    assert!(matches!(refused(&settings(), text), DataError::Column { .. }));
}

#[test]
fn thousands_or_decimals_that_nothing_tells_are_refused() {
    let text = incomes(|row, _| format!("{},{:03}", 1 + row % 9, 100 + row)).replace(",y", ";y");
    let text: String = text
        .lines()
        .map(|line| {
            let cells: Vec<&str> = line.rsplitn(3, [',', ';']).collect();
            format!("{};{};{}\n", cells[2], cells[1], cells[0])
        })
        .collect();
    let found = refused(&settings(), &text);
    insta::assert_snapshot!(found, @r#"the column "income" holds "1,100" (line 2), which may have thousands or decimals; say which by data.format: {decimal: "."} or {decimal: ","}"#);
    let said = |decimal| with(Reading { decimal: Some(decimal), ..Reading::default() });
    let thousands = dataset(&said(Decimal::Point), &text);
    let decimals = dataset(&said(Decimal::Comma), &text);
    assert_eq!(thousands, dataset(&settings(), incomes(|row, _| format!("{}{:03}", 1 + row % 9, 100 + row))));
    assert_eq!(decimals, dataset(&settings(), incomes(|row, _| format!("{}.{:03}", 1 + row % 9, 100 + row))));
}

#[test]
fn nine_in_ten_different_values_decide() {
    let of = |texts: usize| {
        incomes(|row, _| if row % 20 < texts { format!("t{}", row % 20) } else { (row % 20).to_string() })
    };
    assert_eq!(dataset(&settings(), of(0)).features, ["income", "age"]);
    for texts in [1, 2] {
        assert!(matches!(refused(&settings(), of(texts)), DataError::Column { .. }), "{texts}");
    }
    let (prepared, notes) = read(&settings(), of(3));
    assert_eq!(prepared.dataset.features.len(), 21);
    assert!(notes[0].contains("17 of its 20 different values are numbers, and \"t0\" (line 2) is not"), "{notes:?}");
    let categorical = dataset(&with(column("income", kind(ColumnKind::Categorical))), of(1));
    assert_eq!(categorical.features.len(), 21);
    assert!(matches!(refused(&with(column("income", kind(ColumnKind::Number))), of(3)), DataError::Column { .. }));
}

#[test]
fn a_decimal_comma_that_is_said_leaves_whole_numbers_as_they_are() {
    let comma = with(Reading { decimal: Some(Decimal::Comma), ..Reading::default() });
    let whole = incomes(|row, _| (row * 37 % 1000).to_string());
    assert!(resolve(&comma, whole.as_bytes()).expect("a good table").settings.reading.is_plain());
    // With commas between fields nobody doubts a point; between semicolons it may stand between thousands.
    let points = incomes(|row, _| format!("{}.{:03}", 1 + row % 9, 100 + row));
    assert!(resolve(&settings(), points.as_bytes()).expect("a good table").settings.reading.is_plain());
    assert!(matches!(refused(&settings(), points.replace(',', ";")), DataError::Column { .. }));
}

#[test]
fn separators_are_found_or_said() {
    let text = incomes(plain).replace("income", "\"the income\"");
    let expected = dataset(&settings(), &text);
    for (separator, between) in
        [(Separator::Semicolon, ";"), (Separator::Tab, "\t"), (Separator::Pipe, "|"), (Separator::Space, "  ")]
    {
        let written = text.replace(',', between);
        let (prepared, notes) = read(&settings(), &written);
        assert_eq!(prepared.dataset, expected, "{separator}");
        assert_eq!(notes.len(), 1, "{notes:?}");
        let said = with(Reading { separator: Some(separator), ..Reading::default() });
        assert_eq!(read(&said, &written), (prepared, vec![]), "{separator}");
    }
    for first in ["sep=;\n", "\"sep=;\"\r\n"] {
        assert_eq!(dataset(&settings(), format!("{first}{}", text.replace(',', ";"))), expected);
    }
    let two: String = text.lines().map(|line| format!("{};1|2\n", line.replace(',', ";"))).collect();
    let two = two.replace(';', "|;|");
    assert!(matches!(refused(&settings(), two), DataError::Separator(_)));
}

#[test]
fn a_table_without_a_header_has_names_of_its_own() {
    let text = incomes(plain);
    let body = text.split_once('\n').expect("has lines").1;
    let names = ["income", "age", "y"].map(str::to_owned).to_vec();
    let said = with(Reading { no_header: true, names, ..Reading::default() });
    assert_eq!(dataset(&said, body), dataset(&settings(), &text));
    let numbered = Reading { no_header: true, ..Reading::default() };
    let numbered = DataSettings { target: Some("3".into()), ..with(numbered) };
    assert_eq!(dataset(&numbered, body).train, dataset(&settings(), &text).train);
    insta::assert_snapshot!(refused(&settings(), body), @r#"the target "y" is no column of the table, whose first line has "1000.25"; if that line is a row, say data.format: {header: none, names: [...]}"#);
    let few = with(Reading { no_header: true, names: vec!["a".into()], ..Reading::default() });
    insta::assert_snapshot!(refused(&few, body), @"the header (line 1) cannot be used: data.format.names has 1 names for 3 columns");
}

#[test]
fn lines_above_and_below_the_table_are_skipped_when_it_is_said() {
    let text = incomes(plain);
    let expected = dataset(&settings(), &text);
    let above = format!("Loans of a made-up bank\n\n{text}");
    insta::assert_snapshot!(refused(&settings(), &above), @"line 3 has 3 fields and the header has 1: most lines have 3 fields, and the first of them is line 3; if it is the header, skip what stands above: data.format: {skip_rows: 2}");
    assert_eq!(dataset(&with(Reading { skip_rows: 2, ..Reading::default() }), &above), expected);
    for below in ["Total: 1\n", "\nTotal: 1\nRows: 200\n", "Total: 1"] {
        let written = format!("{text}{below}");
        let message = refused(&settings(), &written).to_string();
        let lines = below.trim().lines().count();
        assert!(message.contains(&format!("data.format: {{skip_footer: {lines}}}")), "{message}");
        let said = with(Reading { skip_footer: lines as u32, ..Reading::default() });
        assert_eq!(dataset(&said, &written), expected, "{below:?}");
    }
}

#[test]
fn leading_zeros_are_of_codes() {
    let text = incomes(|row, _| format!("{:05}", [501, 1234, 94105, 10001][row % 4]));
    let (prepared, notes) = read(&settings(), &text);
    assert_eq!(prepared.dataset.features, ["income=00501", "income=01234", "income=10001", "income=94105", "age"]);
    insta::assert_snapshot!(notes[0], @r#"the column "income" is read as categories because of the leading zero of "00501" (line 2); if it is a number, say data.columns: {income: number}"#);
    let numbers = dataset(&with(column("income", kind(ColumnKind::Number))), &text);
    assert_eq!(numbers.features, ["income", "age"]);
    let digits = incomes(|row, _| (row % 4).to_string());
    let categories = dataset(&with(column("income", kind(ColumnKind::Categorical))), &digits);
    assert_eq!(categories.features, ["income=0", "income=1", "income=2", "income=3", "age"]);
}

#[test]
fn some_numbers_among_texts_are_noted() {
    let text = incomes(|row, _| ["1", "2", "3+", "unknown"][row % 4].to_owned());
    let (prepared, notes) = read(&settings(), &text);
    assert_eq!(prepared.dataset.features.len(), 5);
    insta::assert_snapshot!(notes[0], @r#"the column "income" is read as categories: 2 of its 4 different values are numbers, and "3+" (line 4) is not"#);
}

#[test]
fn identities_pooled_levels_and_rows_in_two_parts_are_noted() {
    let text = incomes(|row, _| format!("{}", 9_007_199_254_740_993_u64 + row as u64));
    let (_, notes) = read(&settings(), &text);
    assert!(notes[0].contains("\"income\" is different in every row"), "{notes:?}");
    let text = incomes(|row, _| if row < 190 { "common".to_owned() } else { format!("rare {row}") });
    let (_, notes) = read(&settings(), &text);
    assert!(notes[0].contains("\"income\" pools"), "{notes:?}");
    let twice = incomes(|row, _| (row % 2).to_string());
    let (_, notes) = read(&settings(), &twice);
    // A row of test may be both in train and in validation.
    for said in ["validation rows are in train, too", "test rows are in train, too", "test rows are in validation, too"]
    {
        assert!(notes.iter().any(|note| note.contains(said)), "{notes:?}");
    }
}

#[test]
fn the_positive_class_is_the_one_that_is_said() {
    let text = incomes(plain);
    let worded = |negative: &str, positive: &str| -> String {
        let word = |line: &str| match line.rsplit_once(',') {
            Some((row, "1")) => format!("{row},{positive}\n"),
            Some((row, "0")) => format!("{row},{negative}\n"),
            _ => format!("{line}\n"),
        };
        text.lines().map(word).collect()
    };
    let expected = dataset(&settings(), &text);
    let said = |positive: &str| with(Reading { positive: Some(positive.into()), ..Reading::default() });
    for (negative, positive) in [("Fully Paid", "Charged Off"), ("Good", "Bad"), ("1", "0"), ("-1", "-2"), ("N", "Y")] {
        let prepared = read(&said(positive), worded(negative, positive)).0;
        assert_eq!(prepared.dataset.train.targets, expected.train.targets, "{positive}");
        assert_eq!(prepared.preparation.target.classes, [negative, positive]);
    }
    // The larger value is positive anyway, so its key stays.
    assert!(resolve(&said("1.0"), text.as_bytes()).expect("a good table").settings.reading.is_plain());
    insta::assert_snapshot!(refused(&said("2"), &text), @r#"the positive class "2" is no value of the target, which has "0", "1""#);
    insta::assert_snapshot!(refused(&settings(), worded("no", "Yes").replacen(",Yes", ",YES", 9)), @r#"the target "y" has 3 values where `binary` needs two: "YES", "Yes", "no"; they differ in upper and lower case, so write each class in one way"#);
}

#[test]
fn rows_whose_outcome_is_open_are_left_out() {
    let text = incomes(plain);
    let open = text.lines().map(|line| format!("{line}\n1,2,Current\n")).collect::<String>();
    assert!(matches!(refused(&settings(), &open), DataError::Target { .. }));
    let codes = ColumnReading { codes: Some(vec!["Current".to_owned()]), ..ColumnReading::default() };
    let drop = with(Reading { drop_unlabelled: true, positive: Some("0".into()), ..column("y", codes) });
    let (prepared, _) = read(&drop, &open);
    assert_eq!(prepared.preparation.target.classes, ["1", "0"]);
    assert_eq!(prepared.dataset.train.inputs, dataset(&settings(), &text).train.inputs);
}

#[test]
fn rows_without_a_target_are_left_out_when_it_is_said() {
    let text = incomes(plain);
    let unlabelled: String = text
        .lines()
        .enumerate()
        .map(|(row, line)| format!("{line}\n{}", if row % 20 == 3 { "1,2,\n1,2,NA\n" } else { "" }))
        .collect();
    insta::assert_snapshot!(refused(&settings(), &unlabelled), @r#"the target "y" is missing in 20 of 220 rows, first on line 5; leave them out by data.rows_without_target: drop"#);
    let drop = with(Reading { drop_unlabelled: true, ..Reading::default() });
    let (prepared, notes) = read(&drop, &unlabelled);
    let expected = dataset(&settings(), &text);
    assert_eq!(prepared.dataset.train.inputs, expected.train.inputs);
    insta::assert_snapshot!(notes.join("\n"), @r#"20 of 220 rows have no target "y" and are left out"#);
    // Rows keep the numbers that they have in the file.
    let rows = |dataset: &Dataset| dataset.parts().iter().flat_map(|(_, part)| part.rows.clone()).max();
    assert_eq!((rows(&prepared.dataset), rows(&expected)), (Some(219), Some(199)));
    assert!(resolve(&drop, text.as_bytes()).expect("a good table").settings.reading.is_plain());
}
