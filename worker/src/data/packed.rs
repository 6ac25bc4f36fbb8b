//! From the bytes of a file to those of its text. What packs them is seen in their first bytes, whatever the file is called; a Parquet
//! file becomes the text that the same table would have as CSV.

use std::{
    borrow::Cow,
    io::{self, Read},
};

use ruzstd::decoding::{
    FrameDecoder, StreamingDecoder,
    errors::{FrameDecoderError, ReadFrameHeaderError},
};
use secateur_proto::spec::{Reading, Separator};

use super::{
    error::{DataError, some_of},
    parquet,
    table::MAX_TEXT,
    text,
};

pub(super) const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
const ZIP_MAGICS: [&[u8]; 2] = [b"PK\x03\x04", b"PK\x05\x06"];
const PARQUET_MAGIC: &[u8] = b"PAR1";

/// What a text can be packed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Packing {
    Gzip,
    Zstd,
    Zip,
    Parquet,
}

/// The bytes of a file's text.
pub(super) fn unpacked<'a>(reading: &Reading, bytes: &'a [u8]) -> Result<Cow<'a, [u8]>, DataError> {
    let Some(packing) = Packing::of(bytes) else { return Ok(Cow::Borrowed(bytes)) };
    if packing == Packing::Parquet {
        refuse_keys_of_text(reading)?;
    }
    unpack_all(packing, bytes, MAX_TEXT).map(Cow::Owned)
}

/// Whether a file that begins so may be packed, or be Parquet.
pub(super) fn may_be_packed(head: &[u8]) -> bool {
    Packing::of(head).is_some() || head.starts_with(PARQUET_MAGIC)
}

/// How many bytes the text has, or more than `limit`.
pub(super) fn size(bytes: &[u8], limit: u64) -> Result<u64, DataError> {
    match Packing::of(bytes) {
        None => Ok(bytes.len() as u64),
        Some(packing) => packing.unpack(bytes, limit, &mut io::sink()),
    }
}

fn unpack_all(packing: Packing, bytes: &[u8], limit: u64) -> Result<Vec<u8>, DataError> {
    let mut text = Vec::new();
    if packing.unpack(bytes, limit, &mut text)? > limit {
        return Err(DataError::TooLarge { limit });
    }
    if Packing::of(&text).is_some() {
        return Err(DataError::Packed("it holds another packed file; unpack it once".to_owned()));
    }
    Ok(text)
}

/// A Parquet file says all that the keys of `data.format` say of text.
fn refuse_keys_of_text(reading: &Reading) -> Result<(), DataError> {
    let said = [
        ("separator", reading.separator.is_some_and(|separator| separator != Separator::Comma)),
        ("header", reading.no_header),
        ("skip_rows", reading.skip_rows > 0),
        ("skip_footer", reading.skip_footer > 0),
        ("encoding", reading.encoding.is_some()),
    ];
    match said.iter().find(|(_, is_said)| *is_said) {
        None => Ok(()),
        Some((key, _)) => Err(DataError::Packed(format!(
            "it is a Parquet file, for which data.format.{key} means nothing; remove the key"
        ))),
    }
}

impl Packing {
    fn of(bytes: &[u8]) -> Option<Self> {
        if bytes.starts_with(&GZIP_MAGIC) {
            Some(Self::Gzip)
        } else if bytes.starts_with(&ZSTD_MAGIC) {
            Some(Self::Zstd)
        } else if ZIP_MAGICS.iter().any(|magic| bytes.starts_with(magic)) {
            Some(Self::Zip)
        } else {
            // Text may begin so, too.
            let is_parquet = bytes.starts_with(PARQUET_MAGIC) && bytes.ends_with(PARQUET_MAGIC);
            is_parquet.then_some(Self::Parquet)
        }
    }

    /// Writes the text of `bytes`, and says how much it was: more than `limit` where there would be still more.
    fn unpack(self, bytes: &[u8], limit: u64, text: &mut impl io::Write) -> Result<u64, DataError> {
        match self {
            Self::Gzip => copy(flate2::read::MultiGzDecoder::new(bytes), limit, text),
            Self::Zstd => zstd(bytes, limit, text),
            Self::Zip => zip(bytes, limit, text),
            Self::Parquet => parquet::write_csv(bytes, limit, text),
        }
    }
}

/// Writes at most one byte more than `limit`.
fn copy(packed: impl Read, limit: u64, text: &mut impl io::Write) -> Result<u64, DataError> {
    let mut unpacked = packed.take(limit.saturating_add(1));
    io::copy(&mut unpacked, text).map_err(|error| {
        DataError::Packed(match error.kind() {
            io::ErrorKind::UnexpectedEof => {
                let there = limit.saturating_add(1) - unpacked.limit();
                format!("it is cut short, after {there} bytes of text; copy the file again")
            }
            _ => damaged(&error),
        })
    })
}

fn damaged(error: &dyn std::error::Error) -> String {
    format!("it is damaged ({error}); copy the file again")
}

/// Frames one after the other are one text; some may hold no text and are skipped.
fn zstd(bytes: &[u8], limit: u64, text: &mut impl io::Write) -> Result<u64, DataError> {
    let wrong = |error: &dyn std::error::Error| DataError::Packed(damaged(error));
    let (mut rest, mut size) = (bytes, 0);
    while !rest.is_empty() && size <= limit {
        let mut decoder = match StreamingDecoder::new(rest) {
            Ok(decoder) => decoder,
            Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame { length, .. })) => {
                const HEADER: usize = 8;
                let skipped = usize::try_from(length).ok().and_then(|length| rest.get(HEADER.checked_add(length)?..));
                rest = skipped.ok_or_else(|| DataError::Packed("it is cut short; copy the file again".to_owned()))?;
                continue;
            }
            Err(error) => return Err(wrong(&error)),
        };
        size += copy(&mut decoder, limit - size, text)?;
        let (left, frame): (&[u8], FrameDecoder) = decoder.into_parts();
        if size <= limit
            && frame.get_checksum_from_data().is_some_and(|sum| Some(sum) != frame.get_calculated_checksum())
        {
            return Err(DataError::Packed("it is damaged (its checksum is another); copy the file again".to_owned()));
        }
        rest = left;
    }
    Ok(size)
}

/// Of an archive of one file.
fn zip(bytes: &[u8], limit: u64, text: &mut impl io::Write) -> Result<u64, DataError> {
    if let Some(what) = text::workbook(bytes) {
        return Err(DataError::Foreign(what));
    }
    let wrong = |error: zip::result::ZipError| {
        DataError::Packed(match error {
            zip::result::ZipError::UnsupportedArchive(what) => {
                format!("it is a zip archive that cannot be read here ({what}); unpack it")
            }
            error => damaged(&error),
        })
    };
    let mut archive = zip::ZipArchive::new(io::Cursor::new(bytes)).map_err(wrong)?;
    let mut files = Vec::new();
    for at in 0..archive.len() {
        let file = archive.by_index_raw(at).map_err(wrong)?;
        let name = String::from_utf8_lossy(file.name_raw()).into_owned();
        // What the archiver of a Mac adds is no file of the person.
        if !file.is_dir() && !name.starts_with("__MACOSX/") && !name.ends_with(".DS_Store") {
            files.push((at, name));
        }
    }
    match files.as_slice() {
        [] => Err(DataError::Packed("it is a zip archive without a file".to_owned())),
        [(at, _)] => copy(archive.by_index(*at).map_err(wrong)?, limit, text),
        several => Err(DataError::Packed(format!(
            "it is a zip archive of {} files ({}); unpack it, and name the table in it",
            several.len(),
            some_of(several.iter().map(|(_, name)| name.as_str()))
        ))),
    }
}
