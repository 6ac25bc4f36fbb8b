//! Reads PEM files. A TLS library finds nothing in a file of another form, and says nothing of it.

use std::{fs, io, path::Path};

use crate::arguments::decoded;

/// What a file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// One certificate or several.
    Certificate,
    /// A private key.
    Key,
}

impl Wanted {
    const fn word(self) -> &'static str {
        match self {
            Self::Certificate => "CERTIFICATE",
            Self::Key => "PRIVATE KEY",
        }
    }
}

/// A file that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PemError {
    /// It cannot be read.
    #[error("cannot read the file")]
    Unreadable(#[from] io::Error),
    /// It holds something else.
    #[error("no {} in PEM format in it{found}", wanted.word())]
    Other {
        /// What it should hold.
        wanted: Wanted,
        /// What it holds, as far as that is known, and what to do.
        found: String,
    },
}

/// The text of a file that holds what is wanted.
///
/// # Errors
/// If it does not.
pub fn read(path: &Path, wanted: Wanted) -> Result<String, PemError> {
    let bytes = fs::read(path)?;
    let other = |found: String| PemError::Other { wanted, found };
    // The beginning of an ASN.1 sequence of more than 127 bytes.
    if let [0x30, 0x81..=0x84, ..] = bytes.as_slice() {
        let tool = if wanted == Wanted::Certificate { "x509" } else { "pkey" };
        let path = path.display();
        return Err(other(format!(": it is in DER format; convert it with `openssl {tool} -inform der -in {path}`")));
    }
    let text = decoded(bytes).ok_or_else(|| other(": it is not text".to_owned()))?;
    let begins = |line: &str| Some(line.trim().strip_prefix("-----BEGIN ")?.strip_suffix("-----")?.to_owned());
    let found: Vec<String> = text.lines().filter_map(begins).collect();
    if !found.iter().any(|found| found.ends_with(wanted.word())) {
        let said = if found.is_empty() { String::new() } else { format!(": it holds {}", found.join(", ")) };
        return Err(other(said));
    }
    if wanted == Wanted::Key && text.contains("ENCRYPTED") {
        let path = path.display();
        return Err(other(format!(": the key is encrypted; decrypt it with `openssl pkey -in {path}`")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_pem_is_called_what_it_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let of = |bytes: &[u8], wanted| {
            let path = folder.path().join("file");
            fs::write(&path, bytes).expect("writes");
            match read(&path, wanted) {
                Err(PemError::Other { found, .. }) => found.replace(&path.display().to_string(), "PATH"),
                read => panic!("{read:?}"),
            }
        };
        let key = b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n";
        let encrypted = b"-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n";
        let told = [
            of(b"\n", Wanted::Certificate),
            of(b"\x30\x82\x01\x0a\x02", Wanted::Certificate),
            of(b"\x30\x82\x01\x0a\x02", Wanted::Key),
            of(b"PK\x03\x04\xff", Wanted::Key),
            of(key, Wanted::Certificate),
            of(encrypted, Wanted::Key),
        ];
        insta::assert_snapshot!(told.join("\n"));
        fs::write(folder.path().join("key"), [&b"\xef\xbb\xbf"[..], key].concat()).expect("writes");
        assert!(read(&folder.path().join("key"), Wanted::Key).is_ok());
        assert!(matches!(read(&folder.path().join("missing"), Wanted::Key), Err(PemError::Unreadable(_))));
    }
}
