//! Files that are no tables, and encodings.

use super::*;

fn settings() -> DataSettings {
    DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, stratified(1))
}

fn refused(bytes: &[u8]) -> String {
    let found = resolve(&settings(), bytes).expect_err("is no table");
    assert_eq!(prepare(&settings(), bytes).expect_err("is no table"), found);
    found.to_string()
}

#[test]
fn what_is_no_table_is_named() {
    let mut said = Said::default();
    for bytes in [
        &b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 7\n"[..],
        b"PK\x03\x04\x14\0\0\0[Content_Types].xml xl/workbook.xml",
        b"PK\x03\x04\x14\0\0\0loans.csv income,y\n1,0\n",
        b"PK\x03\x04\x14\0\0\0mimetypeapplication/vnd.oasis.opendocument.spreadsheet",
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0\0\0",
        b"\x1f\x8b\x08\0\0\0",
        b"\x28\xb5\x2f\xfd\x04\0",
        b"  <!doctype html>\n<html><title>Sign in</title></html>",
        b"\xef\xbb\xbf<HTML><body>Please sign in</body></HTML>",
        b"<?xml version=\"1.0\"?><rows/>",
        b"[{\"income\": 1, \"y\": 0},\n {\"income\": 2, \"y\": 1}]",
        b"{\"income\": 1, \"y\": 0}\n{\"income\": 2, \"y\": 1}\n",
        b"@RELATION loans\n@ATTRIBUTE y {0,1}\n",
        b"SQLite format 3\0\x10\0",
        b"%PDF-1.7\n",
        b"\x80\x04\x95\x10\0\0",
    ] {
        said.push(refused(bytes));
    }
    insta::assert_snapshot!(said.0);
}

/// A table with letters beyond ASCII in names and cells.
fn table() -> String {
    let mut text = String::from("Einkünfte,job,y\n");
    for row in 0..100 {
        let _ = writeln!(text, "{}.5,{},{}", row * 7 % 41, ["Bürokaufmann", "Maler", "Ärztin"][row % 3], row % 2);
    }
    text
}

fn read(settings: &DataSettings, bytes: &[u8]) -> (Dataset, Vec<String>) {
    let Resolved { settings, notes } = resolve(settings, bytes).unwrap_or_else(|problem| panic!("{problem}"));
    (prepare(&settings, bytes).unwrap_or_else(|problem| panic!("{problem}")).dataset, notes)
}

#[test]
fn encodings_are_found_and_said() {
    let text = table();
    let (expected, notes) = read(&settings(), text.as_bytes());
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(expected.features[0], "Einkünfte");
    let latin: Vec<u8> = text.chars().map(|letter| u8::try_from(u32::from(letter)).expect("is in Latin-1")).collect();
    let utf16 = |to_bytes: fn(u16) -> [u8; 2]| -> Vec<u8> {
        std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(to_bytes).collect()
    };
    for (name, bytes) in
        [("windows-1252", latin.clone()), ("utf-16", utf16(u16::to_le_bytes)), ("utf-16", utf16(u16::to_be_bytes))]
    {
        let (dataset, notes) = read(&settings(), &bytes);
        assert_eq!(dataset, expected);
        assert_eq!(
            notes,
            [format!(
                "the encoding of the table is {name}, as far as its bytes tell; if it is another, say it: data.format.encoding"
            )]
        );
    }
    let said =
        |encoding| DataSettings { reading: Reading { encoding: Some(encoding), ..Reading::default() }, ..settings() };
    assert_eq!(read(&said(TextEncoding::Windows1252), &latin), (expected, vec![]));
    assert!(matches!(resolve(&said(TextEncoding::Utf8), &latin), Err(DataError::NotUtf8 { line: 1 })));
    assert!(matches!(resolve(&said(TextEncoding::Utf16), &latin), Err(DataError::Encoding(_))));
    // Of these bytes nothing is certain: text of another script, and no text.
    let cyrillic: Vec<u8> = [&b"x,y\n"[..], &[0xc4, 0xee, 0xf5, 0xee, 0xe4, b',', b'1', b'\n'].repeat(9)].concat();
    assert!(matches!(resolve(&settings(), &cyrillic), Err(DataError::NotUtf8 { line: 2 })));
    assert!(matches!(resolve(&settings(), b"x,y\n\xff\0\x01,1\n"), Err(DataError::NotUtf8 { line: 2 })));
}
