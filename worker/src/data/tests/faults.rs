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
    let spec = DataSettings { format: TableFormat::CsvGz, ..spec() };
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
    let zipped = DataSettings { format: TableFormat::CsvGz, ..spec() };
    assert_eq!(prepare(&zipped, &gzip(GOOD.as_bytes())), Ok(expected.clone()));
    // Two members one after the other are one text.
    let (head, tail) = GOOD.as_bytes().split_at(30);
    assert_eq!(prepare(&zipped, &[gzip(head), gzip(tail)].concat()), Ok(expected));
}

#[test]
fn bad_gzip() {
    let mut said = Said::default();
    let good = gzip(GOOD.as_bytes());
    said.push(gzip_problem(&good[..good.len() - 9]));
    said.push(gzip_problem(&good[..good.len() - 1]));
    let mut damaged = good.clone();
    let checksum = damaged.len() - 6;
    damaged[checksum] ^= 1;
    said.push(gzip_problem(&damaged));
    said.push(gzip_problem(b""));
    said.push(gzip_problem(&gzip(b"")));
    said.push(gzip_problem(&gzip(&good)));
    insta::assert_snapshot!(said.0);
}

#[test]
fn a_file_that_swells_is_refused() {
    let bomb = gzip(&vec![b'a'; 1_000_000]);
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
    let mut said = Said::default();
    let found = problem(&spec(), "y,,x,y, \n1,2,3,4,5\n");
    said.push(&found);
    let found = problem(&spec(), &format!("{},y\n1,2\n", "n".repeat(MAX_NAME + 1)));
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn ragged_rows_are_found_by_their_line() {
    let mut said = Said::default();
    for text in [
        "a,b,c\n1,2,3\n4,5\n6,7,8\n",
        "a,b,c\n1,2,3\n4,5,6,7\n6,7,8\n",
        "a,b,c\r\n1,2,3\r\n4,5\r\n6,7,8\r\n",
        "\n\na,b,c\n\n1,\"2\n2\",3\n\n4,5\n6,7,8\n",
        "a,b,c\n1,2,3\n4,5",
        "a,b,c\n1;2;3\n4;5;6\n",
        "a,b,c\n1,\"2,3\n4,5,6\n7,8,9\n",
    ] {
        let found = problem(&spec(), text);
        said.push(&found);
    }
    insta::assert_snapshot!(said.0);
}

/// Editors count a CR, a LF and both together as one line.
#[test]
fn lines_are_counted_whatever_ends_them() {
    let text = "a,b,c\n1,2,3\n\n4,\"5\n5\",6\n7,8\n";
    let expected = problem(&spec(), text);
    for end in ["\r\n", "\r"] {
        assert_eq!(problem(&spec(), &text.replace('\n', end)), expected, "{end:?}");
    }
}

#[test]
fn open_quotes_are_found_at_the_end() {
    for text in ["a,b\n1,2\n3,\"4\n5,6\n", "a,b\n1,2\n3,\"4", "a,b\n1,2\n3,\"", "a,b\n1,2\n3,\"4\n"] {
        assert_eq!(
            Table::read(TableFormat::Csv, &Reading::default(), text.as_bytes()).err(),
            Some(DataError::OpenQuote { line: 3 }),
            "{text:?}"
        );
    }
    for text in
        ["a,b\n1,2\n3,\"4\"", "a,b\n1,2\n3,\"\"\n", "a,b\n1,2\n3,\"4\n5\"\n", "a,b\n1,2\n3,\"4\"\"\"", "a,b\n3,"]
    {
        assert!(Table::read(TableFormat::Csv, &Reading::default(), text.as_bytes()).is_ok(), "{text:?}");
    }
}

#[test]
fn a_field_too_long_is_refused() {
    let mut said = Said::default();
    let text = GOOD.replace("test,0,3", &format!("test,0,{}", "9".repeat(MAX_FIELD + 1)));
    let found = problem(&spec(), &text);
    said.push(&found);
    insta::assert_snapshot!(said.0);
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
    let mut said = Said::default();
    let spec = DataSettings {
        target: Some("defualt".into()),
        split: SplitSpec::Time { column: "Year".into(), train: 0.6, validation: 0.2, test: 0.2 },
        inputs: Some(vec!["incmoe".into()]),
        drop: vec!["zzz".into()],
        groups: vec!["region".into(), "regoin".into()],
        ..spec()
    };
    let found = problem(&spec, "default,year,income,region\n0,1,1,1\n");
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn a_column_has_one_role() {
    let mut said = Said::default();
    let spec = DataSettings {
        inputs: Some(vec!["y".into(), "part".into(), "x".into(), "x".into()]),
        drop: vec!["x".into(), "y".into()],
        groups: vec!["y".into()],
        ..spec()
    };
    let found = problem(&spec, GOOD);
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn targets_need_two_classes() {
    let mut said = Said::default();
    let with =
        |values: [&str; 6]| {
            let parts = ["train", "train", "validation", "validation", "test", "test"];
            parts.iter().zip(values).enumerate().fold(String::from("part,y,x\n"), |text, (row, (part, value))| {
                text + &format!("{part},{value},{row}\n")
            })
        };
    let found = problem(&spec(), &with(["0", "1", "", "1", "", "0"]));
    said.push(&found);
    let found = problem(&spec(), &with(["0", "0", "0.0", "0", "0", "0"]));
    said.push(&found);
    let found = problem(&spec(), &with(["2", "10", "1", "1", "2", "2"]));
    said.push(&found);
    let found = problem(&spec(), &with(["no", "yes", "maybe", "1", "2", "2"]));
    said.push(&found);

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
    insta::assert_snapshot!(said.0);
}

#[test]
fn columns_without_values_are_refused() {
    let mut said = Said::default();
    let found =
        problem(&spec(), "part,y,x,z\ntrain,0,,\ntrain,1,,\nvalidation,0,1,\nvalidation,1,2,\ntest,0,3,\ntest,1,4,\n");
    said.push(&found);
    // The same with levels.
    let text = "part,y,x\ntrain,0,\ntrain,1,\nvalidation,0,a\nvalidation,1,b\ntest,0,a\ntest,1,b\n";
    said.push(problem(&spec(), text));
    let found = problem(&DataSettings { drop: vec!["x".into()], ..spec() }, GOOD);
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn groups_of_too_many_values_are_refused() {
    let mut said = Said::default();
    let text =
        (0..=MAX_GROUP_LEVELS).fold(String::from("y,g,x\n"), |text, row| text + &format!("{},{row},{row}\n", row % 2));
    let found = problem(&DataSettings { split: stratified(1), groups: vec!["g".into()], ..spec() }, &text);
    said.push(&found);
    insta::assert_snapshot!(said.0);
}

#[test]
fn prepared_files_are_checked() {
    let mut said = Said::default();
    let with_groups = DataSettings { groups: vec!["x".into()], inputs: Some(vec!["x".into()]), ..spec() };
    let good = prepare(&with_groups, GOOD.as_bytes()).expect("a good table").dataset;
    let refused = |change: fn(&mut Dataset)| {
        let mut dataset = good.clone();
        change(&mut dataset);
        let bytes = dataset.to_safetensors().expect("bytes");
        Dataset::from_safetensors(&bytes).expect_err("a bad file").to_string()
    };
    said.push(refused(|data| data.train.inputs[0] = f32::NAN));
    said.push(refused(|data| data.test.targets[0] = 0.5));
    said.push(refused(|data| data.test.targets[0] = 1.0));
    said.push(refused(|data| data.validation.rows[0] = 0));
    said.push(refused(|data| data.validation.rows.reverse()));
    said.push(refused(|data| data.test.groups[0][0] = 4));
    said.push(refused(|data| data.groups.clear()));
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
    said.push(replaced(b"\\\"format\\\":2", b"\\\"format\\\":1"));
    said.push(replaced(b"train.inputs", b"train.inputz"));
    said.push(replaced(b"\"secateur\"", b"\"sekateur\""));
    said.push(replaced(b"[2,1]", b"[1,2]"));
    for end in 0..bytes.len() {
        assert!(Dataset::from_safetensors(&bytes[..end]).is_err());
    }
    insta::assert_snapshot!(said.0);
}

#[test]
fn preparations_are_checked() {
    let mut said = Said::default();
    let mut text = GOOD.replace("train,0,1", "train,0,");
    text += "train,1,5\n";
    let prepared = prepared(&text);
    let json = String::from_utf8(prepared.preparation.to_json().expect("bytes")).expect("a text");
    for (from, to) in [
        ("\"format\": 3", "\"format\": 1"),
        ("\"sd\": ", "\"sd\": -"),
        ("x (missing)", "x"),
        ("\"missing_flag\": true", "\"missing_flag\": false"),
        ("\"median\"", "\"mode\""),
    ] {
        assert!(json.contains(from), "{json}");
        let found = Preparation::from_json(json.replace(from, to).as_bytes()).expect_err("changed").to_string();
        said.push(&found);
    }
    for end in 0..json.len() - 1 {
        assert!(Preparation::from_json(&json.as_bytes()[..end]).is_err());
    }
    insta::assert_snapshot!(said.0);
}

/// The last record is a blank line behind an empty one: there is no line to skip.
#[test]
fn a_table_that_ends_in_blank_lines_is_refused_like_any_other() {
    for text in ["part,y,x\n\n ", "part,y,x\n \n\n \n", "part,y,x\ntrain,0,1\n\n  \n "] {
        assert!(prepare(&spec(), text.as_bytes()).is_err(), "{text:?}");
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
    prepare(&DataSettings { format: TableFormat::CsvGz, ..spec() }, bytes)
}
