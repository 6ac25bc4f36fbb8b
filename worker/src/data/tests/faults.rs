//! Everything that can be wrong with a file or with what is said about it.

use std::io::Write as _;

use proptest::prelude::*;

use super::*;

const GOOD: &str = "part,y,x\ntrain,0,1\ntrain,1,2\nvalidation,0,1\nvalidation,1,2\ntest,0,3\ntest,1,4\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn gzip_problem(bytes: &[u8]) -> String {
    let spec = PrepareSpec { format: TableFormat::CsvGz, ..spec() };
    prepare(&spec, bytes).expect_err("a bad file").to_string()
}

#[test]
fn line_ends_marks_and_spaces_do_not_matter() {
    let expected = prepared(GOOD);
    for text in [
        GOOD.replace('\n', "\r\n"),
        format!("\u{feff}{GOOD}"),
        GOOD.trim_end().to_owned(),
        GOOD.replace(',', " ,\t "),
        GOOD.replace("part,y,x", "\"part\",\"y\",\"x\""),
        GOOD.replace("\ntest,0", "\n\n\ntest,0") + "\n\n",
    ] {
        assert_eq!(prepared(&text), expected, "{text:?}");
    }
    let zipped = PrepareSpec { format: TableFormat::CsvGz, ..spec() };
    assert_eq!(prepare(&zipped, &gzip(GOOD.as_bytes())), Ok(expected.clone()));
    // Two members one after the other are one text.
    let (head, tail) = GOOD.as_bytes().split_at(30);
    assert_eq!(prepare(&zipped, &[gzip(head), gzip(tail)].concat()), Ok(expected));
}

#[test]
fn bad_gzip() {
    let good = gzip(GOOD.as_bytes());
    assert!(gzip_problem(&good[..good.len() - 9]).contains("cut short"));
    assert!(gzip_problem(&good[..good.len() - 1]).contains("cut short"));
    let mut damaged = good.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    assert!(gzip_problem(&damaged).contains("damaged"));
    assert!(gzip_problem(GOOD.as_bytes()).contains("not gzip although its name ends in .gz"));
    assert!(gzip_problem(b"").contains("it is empty"));
    let found = prepare(&spec(), &good).expect_err("gzip").to_string();
    assert!(found.contains("add .gz to the name"), "{found}");
    assert!(gzip_problem(&gzip(b"")).contains("the table is empty"));
}

#[test]
fn a_file_that_swells_is_refused() {
    let bomb = gzip(&vec![b'a'; 1_000_000]);
    assert_eq!(table::decompress(&bomb, 999_999), Err(DataError::TooLarge { limit: 999_999 }));
    assert_eq!(table::decompress(&bomb, 1_000_000).map(|text| text.len()), Ok(1_000_000));
    let check = |format, bytes: &[u8], limit| Table::check_size(format, bytes, limit);
    assert_eq!(check(TableFormat::CsvGz, &bomb, 999_999), Err(DataError::TooLarge { limit: 999_999 }));
    assert_eq!(check(TableFormat::CsvGz, &bomb, 1_000_000), Ok(()));
    assert!(check(TableFormat::CsvGz, &bomb[..bomb.len() - 9], u64::MAX).is_err(), "cut short");
    assert_eq!(check(TableFormat::Csv, &bomb, 10), Err(DataError::TooLarge { limit: 10 }));
}

#[test]
fn no_table_at_all() {
    for text in ["", " \n\r\n ", "\u{feff}", "\n\n\n"] {
        assert_eq!(prepare(&spec(), text.as_bytes()), Err(DataError::Empty), "{text:?}");
    }
    for text in ["part,y,x", "part,y,x\n", "part,y,x\r\n\r\n"] {
        assert_eq!(prepare(&spec(), text.as_bytes()), Err(DataError::NoRows), "{text:?}");
    }
}

#[test]
fn bad_headers() {
    let found = problem(&spec(), "y,,x,y, \n1,2,3,4,5\n");
    assert!(found.contains("(line 1)"), "{found}");
    assert!(found.contains("column 2 has no name"), "{found}");
    assert!(found.contains("columns 1 and 4 are both named \"y\""), "{found}");
    assert!(found.contains("column 5 has no name"), "{found}");
    let found = problem(&spec(), &format!("{},y\n1,2\n", "n".repeat(MAX_NAME + 1)));
    assert!(found.contains("the name of column 1 is 1001 bytes long"), "{found}");
}

#[test]
fn ragged_rows_are_found_by_their_line() {
    for (text, expected) in [
        ("a,b,c\n1,2,3\n4,5\n6,7,8\n", "line 3 has 2 fields and the header has 3"),
        ("a,b,c\n1,2,3\n4,5,6,7\n6,7,8\n", "line 3 has 4 fields and the header has 3"),
        ("a,b,c\r\n1,2,3\r\n4,5\r\n6,7,8\r\n", "line 3 has 2 fields"),
        ("\n\na,b,c\n\n1,\"2\n2\",3\n\n4,5\n6,7,8\n", "line 8 has 2 fields"),
        ("a,b,c\n1,2,3\n4,5", "it is the last line, so the table may be cut short"),
        ("a,b,c\n1;2;3\n4;5;6\n", "fields have to be separated by commas"),
        ("a,b,c\n1,\"2,3\n4,5,6\n7,8,9\n", "line 2 has 2 fields and the header has 3: a quote may have been opened"),
    ] {
        let found = problem(&spec(), text);
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn open_quotes_are_found_at_the_end() {
    for text in ["a,b\n1,2\n3,\"4\n5,6\n", "a,b\n1,2\n3,\"4", "a,b\n1,2\n3,\"", "a,b\n1,2\n3,\"4\n"] {
        assert_eq!(
            Table::read(TableFormat::Csv, text.as_bytes()).err(),
            Some(DataError::OpenQuote { line: 3 }),
            "{text:?}"
        );
    }
    for text in
        ["a,b\n1,2\n3,\"4\"", "a,b\n1,2\n3,\"\"\n", "a,b\n1,2\n3,\"4\n5\"\n", "a,b\n1,2\n3,\"4\"\"\"", "a,b\n3,"]
    {
        assert!(Table::read(TableFormat::Csv, text.as_bytes()).is_ok(), "{text:?}");
    }
}

#[test]
fn a_field_too_long_is_refused() {
    let text = GOOD.replace("test,0,3", &format!("test,0,{}", "9".repeat(MAX_FIELD + 1)));
    let found = problem(&spec(), &text);
    assert!(found.contains("line 6, column \"x\": a field of 65537 bytes"), "{found}");
}

#[test]
fn other_encodings_are_refused() {
    let mut bytes = GOOD.as_bytes().to_vec();
    bytes.extend(b"test,1,\xe9\n");
    assert_eq!(prepare(&spec(), &bytes), Err(DataError::NotUtf8 { line: 8 }));
    assert_eq!(prepare(&spec(), b"\xff\xfey\0,\0"), Err(DataError::NotUtf8 { line: 1 }));
}

#[test]
fn unknown_columns_are_told_all_at_once() {
    let spec = PrepareSpec {
        target: Some("defualt".into()),
        split: SplitSpec::Time { column: "Year".into(), train: 0.6, validation: 0.2, test: 0.2 },
        inputs: Some(vec!["incmoe".into()]),
        drop: vec!["zzz".into()],
        groups: vec!["region".into(), "regoin".into()],
        ..spec()
    };
    let found = problem(&spec, "default,year,income,region\n0,1,1,1\n");
    for expected in [
        "the target \"defualt\" is no column of the table; did you mean \"default\"?",
        "the split's column \"Year\" is no column of the table; did you mean \"year\"?",
        "the input \"incmoe\" is no column of the table; did you mean \"income\"?",
        "the group \"regoin\" is no column of the table; did you mean \"region\"?",
        "the dropped column \"zzz\" is no column of the table, which has \"default\", \"year\", \"income\", \"region\"",
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn a_column_has_one_role() {
    let spec = PrepareSpec {
        inputs: Some(vec!["y".into(), "part".into(), "x".into(), "x".into()]),
        drop: vec!["x".into(), "y".into()],
        groups: vec!["y".into()],
        ..spec()
    };
    let found = problem(&spec, GOOD);
    for expected in [
        "the target \"y\" cannot be an input",
        "the target \"y\" cannot be dropped",
        "the target \"y\" cannot be a group",
        "the split's column \"part\" cannot be an input",
        "the column \"x\" is an input and dropped",
        "inputs name \"x\" twice",
    ] {
        assert!(found.contains(expected), "{found}");
    }
}

#[test]
fn targets_need_two_classes() {
    let with =
        |values: [&str; 6]| {
            let parts = ["train", "train", "validation", "validation", "test", "test"];
            parts.iter().zip(values).enumerate().fold(String::from("part,y,x\n"), |text, (row, (part, value))| {
                text + &format!("{part},{value},{row}\n")
            })
        };
    let found = problem(&spec(), &with(["0", "1", "", "1", "", "0"]));
    assert!(found.contains("the target \"y\" is missing in 2 of 6 rows, first on line 4"), "{found}");
    let found = problem(&spec(), &with(["0", "0", "0.0", "0", "0", "0"]));
    assert!(found.contains("is \"0\" in all 6 rows"), "{found}");
    let found = problem(&spec(), &with(["2", "10", "1", "1", "2", "2"]));
    assert!(found.contains("has 3 values where `binary` needs two: \"1\", \"2\", \"10\""), "{found}");
    let found = problem(&spec(), &with(["no", "yes", "maybe", "1", "2", "2"]));
    assert!(found.contains("has 5 values"), "{found}");

    let classes = |values| {
        let prepared = prepared(&with(values));
        assert_eq!(prepared.dataset.train.targets, [0.0, 1.0]);
        prepared.preparation.target.classes
    };
    // As texts 10 would come before 9.
    assert_eq!(classes(["9", "10", "9", "10", "9", "10"]), ["9", "10"]);
    assert_eq!(classes(["0", "1", "0.0", "1.0", "-0", "1e0"]), ["0", "1"]);
    assert_eq!(classes(["no", "yes", "no", "yes", "no", "yes"]), ["no", "yes"]);
    assert_eq!(classes(["10", "9a", "10", "9a", "10", "9a"]), ["10", "9a"]);
}

#[test]
fn columns_without_values_are_refused() {
    let found =
        problem(&spec(), "part,y,x,z\ntrain,0,,\ntrain,1,,\nvalidation,0,1,\nvalidation,1,2,\ntest,0,3,\ntest,1,4,\n");
    assert!(found.contains("the column \"x\" has no value in any train row"), "{found}");
    assert!(found.contains("the column \"z\" has no value in any row; name it under `drop`"), "{found}");
    // The same with levels.
    let text = "part,y,x\ntrain,0,\ntrain,1,\nvalidation,0,a\nvalidation,1,b\ntest,0,a\ntest,1,b\n";
    assert!(problem(&spec(), text).contains("has no value in any train row"));
    let found = problem(&PrepareSpec { drop: vec!["x".into()], ..spec() }, GOOD);
    assert!(found.contains("no input column is left"), "{found}");
}

#[test]
fn groups_of_too_many_values_are_refused() {
    let text =
        (0..=MAX_GROUP_LEVELS).fold(String::from("y,g,x\n"), |text, row| text + &format!("{},{row},{row}\n", row % 2));
    let found = problem(&PrepareSpec { split: stratified(1), groups: vec!["g".into()], ..spec() }, &text);
    assert!(found.contains("the group \"g\" has 1001 different values"), "{found}");
}

#[test]
fn prepared_files_are_checked() {
    let with_groups = PrepareSpec { groups: vec!["x".into()], inputs: Some(vec!["x".into()]), ..spec() };
    let good = prepare(&with_groups, GOOD.as_bytes()).expect("a good table").dataset;
    let refused = |change: fn(&mut Dataset)| {
        let mut dataset = good.clone();
        change(&mut dataset);
        let bytes = dataset.to_safetensors().expect("bytes");
        Dataset::from_safetensors(&bytes).expect_err("a bad file").to_string()
    };
    assert!(refused(|data| data.train.inputs[0] = f32::NAN).contains("train.inputs holds a value that is not finite"));
    assert!(
        refused(|data| data.test.targets[0] = 0.5).contains("test.targets holds a value that is none of 2 classes")
    );
    assert!(refused(|data| data.test.targets[0] = 1.0).contains("test does not have rows of every class"));
    assert!(refused(|data| data.validation.rows[0] = 0).contains("shares a row with another part"));
    assert!(refused(|data| data.validation.rows.reverse()).contains("not ascending"));
    assert!(refused(|data| data.test.groups[0][0] = 4).contains("holds a level that \"x\" does not have"));
    assert!(refused(|data| data.groups.clear()).contains("12 tensors instead of 9"));
    let empty = Part { groups: vec![vec![]], ..Part::default() };
    let bytes = Dataset { test: empty, ..good.clone() }.to_safetensors().expect("bytes");
    assert!(Dataset::from_safetensors(&bytes).is_err());

    let bytes = good.to_safetensors().expect("bytes");
    let text = String::from_utf8_lossy(&bytes).into_owned();
    assert!(text.contains("\"train.inputs\""));
    let replaced = |from: &[u8], to: &[u8]| {
        let at = bytes.windows(from.len()).position(|window| window == from).expect("in the header");
        let mut changed = bytes.clone();
        changed[at..at + from.len()].copy_from_slice(to);
        Dataset::from_safetensors(&changed).expect_err("a bad file").to_string()
    };
    assert!(replaced(b"\\\"format\\\":2", b"\\\"format\\\":1").contains("format 1 and this version reads 2"));
    assert!(replaced(b"train.inputs", b"train.inputz").contains("no tensor train.inputs"));
    assert!(replaced(b"\"secateur\"", b"\"sekateur\"").contains("no metadata"));
    assert!(replaced(b"[2,1]", b"[1,2]").contains("has shape [1, 2] instead of [2, 1]"));
    for end in 0..bytes.len() {
        assert!(Dataset::from_safetensors(&bytes[..end]).is_err());
    }
}

#[test]
fn preparations_are_checked() {
    let mut text = GOOD.replace("train,0,1", "train,0,");
    text += "train,1,5\n";
    let prepared = prepared(&text);
    let json = String::from_utf8(prepared.preparation.to_json().expect("bytes")).expect("a text");
    for (from, to, expected) in [
        ("\"format\": 2", "\"format\": 1", "format 1 instead of 2"),
        ("\"sd\": ", "\"sd\": -", "not a usable number"),
        ("x (missing)", "x", "features that do not belong"),
        ("\"missing_flag\": true", "\"missing_flag\": false", "features that do not belong"),
        ("\"median\"", "\"mode\"", "unknown field"),
    ] {
        assert!(json.contains(from), "{json}");
        let found = Preparation::from_json(json.replace(from, to).as_bytes()).expect_err("changed").to_string();
        assert!(found.contains(expected), "{found}");
    }
    for end in 0..json.len() - 1 {
        assert!(Preparation::from_json(&json.as_bytes()[..end]).is_err());
    }
}

proptest! {
    #[test]
    fn no_bytes_can_panic_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = prepare(&spec(), &bytes);
        let _ = gzip_or_not(&bytes);
        let _ = Dataset::from_safetensors(&bytes);
        let _ = Preparation::from_json(&bytes);
    }

    #[test]
    fn no_text_can_panic_the_reader(text in "[party,x01\n\r\" .e-]{0,120}") {
        let text = format!("part,y,x\n{text}");
        if let Ok(prepared) = prepare(&spec(), text.as_bytes()) {
            let bytes = prepared.dataset.to_safetensors().expect("bytes");
            prop_assert_eq!(Dataset::from_safetensors(&bytes), Ok(prepared.dataset));
        }
    }

    #[test]
    fn no_damage_can_panic_the_reader(at in any::<prop::sample::Index>(), value in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = prepared(GOOD).dataset.to_safetensors().expect("bytes");
        let at = at.index(bytes.len());
        bytes[at] = value;
        let _ = Dataset::from_safetensors(&bytes);
        let _ = Dataset::from_safetensors(&bytes[..cut.index(bytes.len())]);
        let mut zipped = gzip(GOOD.as_bytes());
        let at = at % zipped.len();
        zipped[at] = value;
        let _ = gzip_or_not(&zipped);
    }
}

fn gzip_or_not(bytes: &[u8]) -> Result<Prepared, DataError> {
    prepare(&PrepareSpec { format: TableFormat::CsvGz, ..spec() }, bytes)
}
