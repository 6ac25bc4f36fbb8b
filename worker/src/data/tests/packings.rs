//! Tables in the packings that they come in, seen by their bytes and not by their names.

use std::io::{Cursor, Write as _};

use zip::{ZipWriter, write::SimpleFileOptions};

use super::*;

const GOOD: &str = "part,y,x\ntrain,0,1\ntrain,1,2\nvalidation,0,1\nvalidation,1,2\ntest,0,3\ntest,1,4\n";

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(text).expect("memory");
    encoder.finish().expect("memory")
}

fn zstd(text: &[u8]) -> Vec<u8> {
    ruzstd::encoding::compress_to_vec(text, ruzstd::encoding::CompressionLevel::Fastest)
}

fn zip(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, text) in files {
        archive.start_file(*name, SimpleFileOptions::default()).expect("memory");
        archive.write_all(text).expect("memory");
    }
    archive.finish().expect("memory").into_inner()
}

fn read(bytes: &[u8]) -> Result<Prepared, DataError> {
    prepare(&resolve(&spec(), bytes)?.settings, bytes)
}

/// A frame of zstd that holds no text.
const SKIPPED: &[u8] = b"\x50\x2a\x4d\x18\x03\0\0\0abc";

#[test]
fn packings_do_not_matter() {
    let expected = prepared(GOOD);
    let (head, tail) = GOOD.as_bytes().split_at(30);
    for (name, packed) in [
        ("gzip", gzip(GOOD.as_bytes())),
        ("zstd", zstd(GOOD.as_bytes())),
        ("two frames", [zstd(head), SKIPPED.to_vec(), zstd(tail), SKIPPED.to_vec()].concat()),
        ("zip", zip(&[("table.csv", GOOD.as_bytes())])),
        ("zip of a Mac", zip(&[("a/table.csv", GOOD.as_bytes()), ("__MACOSX/a/._table.csv", b"\0\x05")])),
    ] {
        for format in [TableFormat::Csv, TableFormat::CsvGz] {
            let settings = DataSettings { format, ..spec() };
            assert_eq!(prepare(&settings, &packed).as_ref(), Ok(&expected), "{name}");
            assert_eq!(Table::check_size(format, &packed, GOOD.len() as u64), Ok(()), "{name}");
        }
    }
    assert_eq!(prepare(&DataSettings { format: TableFormat::CsvGz, ..spec() }, GOOD.as_bytes()), Ok(expected));
}

#[test]
fn files_that_swell_are_refused() {
    let text = vec![b'a'; 1_000_000];
    for (name, bomb) in [
        ("gzip", gzip(&text)),
        ("zstd", zstd(&text)),
        ("frames", [zstd(&text[..500_000]), zstd(&text[..500_000])].concat()),
        ("zip", zip(&[("a.csv", &text)])),
    ] {
        let check = |limit| Table::check_size(TableFormat::Csv, &bomb, limit);
        assert_eq!(check(999_999), Err(DataError::TooLarge { limit: 999_999 }), "{name}");
        assert_eq!(check(1_000_000), Ok(()), "{name}");
    }
}

#[test]
fn what_is_cut_short_damaged_or_not_one_table_is_refused() {
    let text: String = (0..400).map(|row| format!("{row},{}\n", row * 7919 % 1013)).collect();
    for packed in [gzip(text.as_bytes()), zstd(text.as_bytes()), zip(&[("a.csv", text.as_bytes())])] {
        for cut in [5, packed.len() / 2, packed.len() - 1] {
            assert!(matches!(read(&packed[..cut]), Err(DataError::Packed(_))), "{cut} of {}", packed.len());
        }
        for at in 4..packed.len() {
            let mut damaged = packed.clone();
            damaged[at] ^= 0x10;
            // Whatever it is now, it is an error or a table, and no panic.
            _ = read(&damaged);
        }
    }
    let mut said = Said::default();
    for packed in [
        zip(&[]),
        zip(&[("loans.csv", b"a,y\n1,0\n"), ("notes/read me.txt", b"hello")]),
        zip(&[("loans.csv.gz", &gzip(GOOD.as_bytes()))]),
        zip(&[("[Content_Types].xml", b""), ("xl/workbook.xml", b"")]),
    ] {
        said.push(read(&packed).expect_err("is refused").to_string());
    }
    insta::assert_snapshot!(said.0);
}
