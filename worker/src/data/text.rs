//! From the bytes of a file to its text, or to what the file is in place of a table.

use std::borrow::Cow;

use secateur_proto::spec::{Reading, TextEncoding};

use super::error::DataError;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();
const UTF16_LE: [u8; 2] = [0xff, 0xfe];
const UTF16_BE: [u8; 2] = [0xfe, 0xff];

/// What begins with these bytes is no text of a table: what it is, and what to do.
const FOREIGN: &[(&[u8], &str)] = &[
    (
        b"version https://git-lfs.github.com/spec/",
        "a Git LFS pointer and not the file that it stands for; run `git lfs pull`",
    ),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook (.xls); save the sheet as CSV"),
    (b"ARROW1\0\0", "an Arrow (Feather) file; write the table as CSV"),
    (b"Obj\x01", "an Avro file; write the table as CSV"),
    (b"SQLite format 3\0", "an SQLite database; write the table as CSV"),
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file; write the table as CSV"),
    (b"\x93NUMPY", "a NumPy array; write the table as CSV"),
    (b"BZh91AY&SY", "compressed by bzip2; decompress it (`bunzip2`)"),
    (b"\xfd7zXZ\0", "compressed by xz; decompress it (`unxz`)"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive; unpack it"),
    (b"Rar!\x1a\x07", "a RAR archive; unpack it"),
    (b"%PDF-", "a PDF document; write the table as CSV"),
    (b"$FL2@(#)", "an SPSS file; write the table as CSV"),
    (b"<stata_dta>", "a Stata file; write the table as CSV"),
    (b"RDX2\n", "an R workspace; write the table as CSV"),
    (b"RDX3\n", "an R workspace; write the table as CSV"),
    (b"\x80\x04\x95", "a Python pickle; write the table as CSV"),
    (b"\x80\x05\x95", "a Python pickle; write the table as CSV"),
];

/// What [`foreign`] says of JSON.
pub const JSON: &str = "JSON";

/// What a file is that is not text for people, such as a workbook. `None` for what may be.
#[must_use]
pub fn foreign(bytes: &[u8]) -> Option<&'static str> {
    let archive = bytes.starts_with(b"PK\x03\x04").then(|| workbook(bytes).unwrap_or("a zip archive"));
    let what = archive.or_else(|| not_a_table(bytes))?.split(';').next()?;
    // What the words say of tables alone.
    Some(what.split(" and not the file").next().unwrap_or(what))
}

/// What a file is that is no table, and what to do. `None` for what may be one.
fn not_a_table(bytes: &[u8]) -> Option<&'static str> {
    if let Some((_, what)) = FOREIGN.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return Some(what);
    }
    let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
    let start = bytes.trim_ascii_start();
    let begins = |tag: &str| start.len() >= tag.len() && start[..tag.len()].eq_ignore_ascii_case(tag.as_bytes());
    if ["<!doctype html", "<html", "<head", "<body", "<script"].iter().any(|tag| begins(tag)) {
        return Some("an HTML page, perhaps one that asks to sign in; download the table again");
    }
    if begins("<?xml") {
        return Some("an XML document; write the table as CSV");
    }
    if begins("@relation") {
        return Some("an ARFF file; write the table as CSV");
    }
    let second = start.get(1..).and_then(|rest| rest.trim_ascii_start().first());
    match (start.first(), second) {
        (Some(b'{'), Some(b'"' | b'}')) => Some("JSON; write the table as CSV"),
        (Some(b'['), Some(b'{' | b'[' | b']')) => Some("JSON; write the table as CSV"),
        _ => None,
    }
}

/// The workbook that a zip archive is. `None` for any other archive.
pub(super) fn workbook(bytes: &[u8]) -> Option<&'static str> {
    let names = |name: &[u8]| bytes.windows(name.len()).take(1 << 20).any(|window| window == name);
    if names(b"xl/workbook") || names(b"[Content_Types].xml") {
        Some("an Excel workbook (.xlsx); save the sheet as CSV")
    } else if names(b"content.xmlopendocument") || names(b"opendocument.spreadsheet") {
        Some("an OpenDocument workbook (.ods); save the sheet as CSV")
    } else {
        None
    }
}

/// The text of a table's bytes, in the encoding that is said or in UTF-8, without a byte order mark. Where lines end as on old Macs, they
/// end as everywhere else.
pub(super) fn decode<'a>(bytes: &'a [u8], reading: &Reading) -> Result<Cow<'a, str>, DataError> {
    let text = decode_as_it_is(bytes, reading)?;
    Ok(if text.contains('\r') && !text.contains('\n') { Cow::Owned(text.replace('\r', "\n")) } else { text })
}

fn decode_as_it_is<'a>(bytes: &'a [u8], reading: &Reading) -> Result<Cow<'a, str>, DataError> {
    if let Some(what) = not_a_table(bytes) {
        return Err(DataError::Foreign(what));
    }
    match reading.encoding.unwrap_or(TextEncoding::Utf8) {
        TextEncoding::Utf8 => {
            let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
            let text = std::str::from_utf8(bytes).map_err(|error| {
                let line = 1 + newlines(&bytes[..error.valid_up_to()]);
                DataError::NotUtf8 { line }
            })?;
            if matches!(bytes, [0, _, ..] | [_, 0, ..]) {
                let what = "the text has zero bytes, as UTF-16 without a byte order mark has; save the table as UTF-8";
                return Err(DataError::Encoding(what.to_owned()));
            }
            Ok(Cow::Borrowed(text))
        }
        TextEncoding::Utf16 => utf16(bytes).map(Cow::Owned),
        TextEncoding::Windows1252 => windows_1252(bytes).map(Cow::Owned),
    }
}

/// The encoding of a table's bytes, where they leave no doubt. Text that is not UTF-8 and has letters of Western Europe among its ASCII
/// is Windows-1252.
pub(super) fn detect(bytes: &[u8]) -> Option<TextEncoding> {
    if bytes.starts_with(&UTF16_LE) || bytes.starts_with(&UTF16_BE) {
        return Some(TextEncoding::Utf16);
    }
    if std::str::from_utf8(bytes).is_ok() {
        return Some(TextEncoding::Utf8);
    }
    let is_control = |byte: &u8| *byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r');
    let high = bytes.iter().filter(|byte| !byte.is_ascii()).count();
    let letters = bytes.iter().filter(|byte| byte.is_ascii_alphabetic()).count();
    // Where most letters are beyond ASCII the text is of another script.
    let is_western = high <= letters && !bytes.iter().any(is_control) && windows_1252(bytes).is_ok();
    is_western.then_some(TextEncoding::Windows1252)
}

fn utf16(bytes: &[u8]) -> Result<String, DataError> {
    let (is_big, bytes) = match bytes {
        [0xfe, 0xff, rest @ ..] => (true, rest),
        [0xff, 0xfe, rest @ ..] => (false, rest),
        _ => return Err(DataError::Encoding("it has no byte order mark, which UTF-16 has to begin with".to_owned())),
    };
    let (units, rest) = bytes.as_chunks::<2>();
    let unit = |pair: &[u8; 2]| if is_big { u16::from_be_bytes(*pair) } else { u16::from_le_bytes(*pair) };
    let broken = || DataError::Encoding("it is not UTF-16 throughout; the file may be cut short".to_owned());
    if !rest.is_empty() {
        return Err(broken());
    }
    char::decode_utf16(units.iter().map(unit)).collect::<Result<_, _>>().map_err(|_| broken())
}

/// The letters of bytes 0x80 to 0x9f; a space where there is none. The others are those of Unicode.
const WINDOWS_1252: &str = "€ ‚ƒ„…†‡ˆ‰Š‹Œ Ž  ‘’“”•–—˜™š›œ žŸ";

pub(super) fn windows_1252(bytes: &[u8]) -> Result<String, DataError> {
    let special: Vec<char> = WINDOWS_1252.chars().collect();
    let letter = |(at, byte): (usize, &u8)| match byte {
        0x80..=0x9f => {
            let letter = special[usize::from(byte - 0x80)];
            let line = || 1 + newlines(&bytes[..at]);
            (letter != ' ').then_some(letter).ok_or_else(|| {
                DataError::Encoding(format!("line {} has the byte {byte:#04x}, which Windows-1252 has not", line()))
            })
        }
        _ => Ok(char::from(*byte)),
    };
    bytes.iter().enumerate().map(letter).collect()
}

/// Line ends in `bytes`, as editors count them: LF, CR, and both together.
pub(super) fn newlines(bytes: &[u8]) -> u64 {
    let ends = bytes.iter().enumerate().filter(|(place, byte)| match byte {
        b'\n' => true,
        b'\r' => bytes.get(place + 1) != Some(&b'\n'),
        _ => false,
    });
    ends.count() as u64
}
