//! Files that a person names: from the disk, or from standard input where the name is `-`.

use std::{
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use secateur_worker::{arguments::decoded, data};

/// The name of standard input.
const STANDARD: &str = "-";

/// Whether a path means standard input.
pub(super) fn is_standard(path: &Path) -> bool {
    path.as_os_str() == STANDARD
}

/// The name of a file for messages.
pub(super) fn shown(path: &Path) -> String {
    if is_standard(path) { "<stdin>".to_owned() } else { path.display().to_string() }
}

/// A file that cannot be read.
#[derive(Debug, thiserror::Error)]
pub(super) enum InputError {
    #[error("cannot read {path}: {source}", path = shown(.path))]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("the file is too large")]
    TooLarge,
    /// There is one standard input.
    #[error("only one file can be read from standard input (-)")]
    ReadTwice,
}

/// Reads a file of at most that many bytes.
pub(super) fn read(path: &Path, most: u64) -> Result<Vec<u8>, InputError> {
    static IS_TAKEN: AtomicBool = AtomicBool::new(false);
    let unreadable = |source| InputError::Unreadable { path: path.to_owned(), source };
    // A pipe or a device has no size, and may have no end.
    let (input, size): (Box<dyn Read>, u64) = if is_standard(path) {
        if IS_TAKEN.swap(true, Ordering::Relaxed) {
            return Err(InputError::ReadTwice);
        }
        (Box::new(io::stdin()), 0)
    } else {
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        (Box::new(file), size)
    };
    if size > most {
        return Err(InputError::TooLarge);
    }
    let mut bytes = Vec::new();
    input.take(most.saturating_add(1)).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most { Err(InputError::TooLarge) } else { Ok(bytes) }
}

/// The text of a sweep file; or what the bytes are, and what to do.
pub(super) fn sweep_text(bytes: Vec<u8>) -> Result<String, String> {
    if bytes.starts_with(&[0x1f, 0x8b]) {
        return Err("compressed by gzip; decompress it (`gunzip`)".to_owned());
    }
    // JSON is YAML.
    if let Some(what) = data::foreign(&bytes).filter(|what| *what != data::JSON) {
        return Err(format!("{what} and not a sweep file, which is YAML text"));
    }
    decoded(bytes).ok_or_else(|| "not UTF-8 text; save it as UTF-8".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_sweep_file_is_called_what_it_is() {
        let told: Vec<String> = [
            &b"\x1f\x8b\x08\0"[..],
            b"PK\x03\x04....xl/workbook.xml",
            b"version https://git-lfs.github.com/spec/v1\n",
            b"<!DOCTYPE html>",
            b"\x80\x04\x95",
            b"na\xefve: 1\n",
        ]
        .map(|bytes| sweep_text(bytes.to_vec()).expect_err("is none"))
        .into();
        insta::assert_snapshot!(told.join("\n"));
        for text in ["{\"version\": 1}", "version: 1\n"] {
            assert_eq!(sweep_text(text.into()), Ok(text.to_owned()));
            let utf_16: Vec<u8> = [0xfeff].into_iter().chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect();
            assert_eq!(sweep_text(utf_16), Ok(text.to_owned()));
        }
    }

    #[test]
    fn a_file_has_at_most_so_many_bytes() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "12345").expect("writes");
        assert_eq!(read(file.path(), 5).expect("fits"), b"12345");
        assert!(matches!(read(file.path(), 4), Err(InputError::TooLarge)));
        assert!(matches!(read(Path::new("/dev/zero"), 4), Err(InputError::TooLarge)));
        assert!(matches!(read(Path::new("missing"), 4), Err(InputError::Unreadable { .. })));
    }
}
