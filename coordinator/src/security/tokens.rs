//! Tokens: 256 random bits that authenticate a caller. The coordinator's file contains only their hashes, so reading it
//! reveals no token. Random bits need no slow hash.

use std::{
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use secateur_proto::ids::ContentHash;
use serde::{Deserialize, Serialize};

use super::Role;

/// The name of the file in a coordinator's folder.
pub const FILE: &str = "tokens.json";

const VERSION: u32 = 1;

/// The maximum length of a name.
const LONGEST_NAME: usize = 64;

/// A token as the coordinator stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Token {
    /// The name of its owner or purpose. Unique.
    pub name: String,
    /// The role that it gives.
    pub role: Role,
    /// BLAKE3 of the token's text.
    pub hash: ContentHash,
    /// Seconds since 1970.
    pub created_at: u64,
    /// Seconds since 1970 after which it is not accepted any more.
    pub expires_at: Option<u64>,
}

impl Token {
    /// Whether it has expired.
    #[must_use]
    pub fn is_expired(&self, now: SystemTime) -> bool {
        self.expires_at.is_some_and(|end| seconds(now) >= end)
    }
}

/// The tokens of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tokens {
    version: u32,
    tokens: Vec<Token>,
}

/// An error about tokens or their file.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// The file cannot be read or written.
    #[error("cannot read or write the token file {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The file is not a token file.
    #[error("{path} is not a token file")]
    Content {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// The file is from a later release.
    #[error("{path} has version {found}; this release supports {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// The system has no random numbers.
    #[error("cannot get random numbers from the system")]
    Random(#[from] getrandom::Error),
    /// The name is invalid.
    #[error("invalid token name {0:?} (expected 1 to 64 letters, digits, '-', '_' and '.')")]
    Name(String),
    /// The name is taken.
    #[error("the token {0:?} already exists: revoke it first, or use another name")]
    Taken(String),
    /// There is no token of this name.
    #[error("no token {0:?}; `secateur token list` lists them")]
    Unknown(String),
}

impl Tokens {
    /// Reads the tokens in the folder of a coordinator. Returns `None` if none was ever created.
    ///
    /// # Errors
    /// If the file cannot be read or is not a token file.
    pub fn read(folder: &Path) -> Result<Option<Self>, TokenError> {
        let path = folder.join(FILE);
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(TokenError::File { path, source }),
        };
        let tokens: Self =
            serde_json::from_slice(&bytes).map_err(|source| TokenError::Content { path: path.clone(), source })?;
        if tokens.version != VERSION {
            return Err(TokenError::Version { path, found: tokens.version });
        }
        Ok(Some(tokens))
    }

    /// Reads the tokens of the folder, changes them, and replaces the file atomically. Concurrent changes wait for each
    /// other.
    ///
    /// # Errors
    /// If the file cannot be read or written, or `change` fails.
    pub fn change<T>(folder: &Path, change: impl FnOnce(&mut Self) -> Result<T, TokenError>) -> Result<T, TokenError> {
        let path = folder.join(FILE);
        let failed = |source| TokenError::File { path: path.clone(), source };
        fs::create_dir_all(folder).map_err(failed)?;
        let lock = fs::File::create(folder.join("tokens.lock")).map_err(failed)?;
        lock.lock().map_err(failed)?;
        let mut tokens = Self::read(folder)?.unwrap_or(Self { version: VERSION, tokens: Vec::new() });
        let done = change(&mut tokens)?;
        let mut draft = tempfile::Builder::new();
        // Hashes are not secret, and a service that runs as another user must read a file written by an administrator.
        #[cfg(unix)]
        draft.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644));
        let mut draft = draft.tempfile_in(folder).map_err(failed)?;
        let mut bytes = serde_json::to_vec_pretty(&tokens).map_err(|error| failed(error.into()))?;
        bytes.push(b'\n');
        draft.write_all(&bytes).and_then(|()| draft.as_file().sync_all()).map_err(failed)?;
        draft.persist(&path).map_err(|error| failed(error.error))?;
        Ok(done)
    }

    /// Creates a token and returns its text, which is stored nowhere.
    ///
    /// # Errors
    /// If the name is invalid or taken.
    pub fn create(
        &mut self,
        name: &str,
        role: Role,
        now: SystemTime,
        lifetime: Option<Duration>,
    ) -> Result<String, TokenError> {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(allowed) {
            return Err(TokenError::Name(name.chars().take(80).collect()));
        }
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        let secret = secret(role)?;
        let created_at = seconds(now);
        let expires_at = lifetime.map(|lifetime| created_at.saturating_add(lifetime.as_secs()));
        let hash = ContentHash::of(secret.as_bytes());
        self.tokens.push(Token { name: name.to_owned(), role, hash, created_at, expires_at });
        Ok(secret)
    }

    /// Revokes the token of that name.
    ///
    /// # Errors
    /// If there is none.
    pub fn revoke(&mut self, name: &str) -> Result<Token, TokenError> {
        let place = self.tokens.iter().position(|token| token.name == name);
        let place = place.ok_or_else(|| TokenError::Unknown(name.chars().take(80).collect()))?;
        Ok(self.tokens.remove(place))
    }

    /// All tokens, in the order of creation.
    #[must_use]
    pub fn list(&self) -> &[Token] {
        &self.tokens
    }

    /// Finds the token with that text, unless it has expired. Only hashes are compared, so timing reveals nothing about
    /// the token.
    #[must_use]
    pub fn find(&self, shown: &str, now: SystemTime) -> Option<&Token> {
        let hash = ContentHash::of(shown.as_bytes());
        self.tokens.iter().find(|token| token.hash == hash && !token.is_expired(now))
    }
}

/// A new token from the system's random numbers. Its prefix lets secret scanners find one that was committed by
/// mistake.
///
/// # Errors
/// If the system has none.
pub fn secret(role: Role) -> Result<String, TokenError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let bits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!("secateur_{role}_{bits}"))
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_until_it_is_revoked_or_its_time_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert_eq!(Tokens::read(folder).expect("reads"), None);
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let alice = Tokens::change(folder, |tokens| tokens.create("alice", Role::Submit, now, None)).expect("creates");
        let hour = Some(Duration::from_secs(3600));
        let bob = Tokens::change(folder, |tokens| tokens.create("bob", Role::Read, now, hour)).expect("creates");
        let tokens = Tokens::read(folder).expect("reads").expect("two");
        let of =
            |tokens: &Tokens, shown: &str, at| tokens.find(shown, at).map(|token| (token.name.clone(), token.role));
        let later = now + Duration::from_secs(3600);
        assert_eq!(of(&tokens, &alice, later), Some(("alice".to_owned(), Role::Submit)));
        assert_eq!(of(&tokens, &bob, later - Duration::from_secs(1)), Some(("bob".to_owned(), Role::Read)));
        assert_eq!(of(&tokens, &bob, later), None);
        for wrong in ["", "secateur_submit_", &alice[..alice.len() - 1], &alice.to_uppercase(), &format!("{alice} ")] {
            assert_eq!(of(&tokens, wrong, now), None, "{wrong:?}");
        }
        Tokens::change(folder, |tokens| tokens.revoke("alice").map(drop)).expect("revokes");
        let tokens = Tokens::read(folder).expect("reads").expect("one");
        assert_eq!(of(&tokens, &alice, now), None);
        // The file reveals no token.
        let file = fs::read_to_string(folder.join(FILE)).expect("reads");
        assert!(!file.contains(&bob) && !file.contains(bob.rsplit('_').next().expect("the random part")), "{file}");
    }

    #[test]
    fn tokens_are_not_alike() {
        let all: std::collections::BTreeSet<String> =
            (0..100).map(|_| secret(Role::Worker).expect("random numbers")).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|token| token.len() == "secateur_worker_".len() + 64));
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let create = |name: &str| {
            Tokens::change(folder, |tokens| tokens.create(name, Role::Read, SystemTime::now(), None)).map(drop)
        };
        create("one").expect("creates");
        let before = fs::read(folder.join(FILE)).expect("reads");
        assert!(matches!(create("one"), Err(TokenError::Taken(_))));
        for name in ["", "two words", "../x", "naïve", &"x".repeat(65)] {
            assert!(matches!(create(name), Err(TokenError::Name(_))), "{name:?}");
        }
        assert!(matches!(Tokens::change(folder, |tokens| tokens.revoke("two").map(drop)), Err(TokenError::Unknown(_))));
        assert_eq!(fs::read(folder.join(FILE)).expect("reads"), before);
        for (content, version) in [("{}", false), ("", false), (r#"{"version": 2, "tokens": []}"#, true)] {
            fs::write(folder.join(FILE), content).expect("writes");
            let error = Tokens::read(folder).expect_err("is none");
            assert_eq!(matches!(error, TokenError::Version { found: 2, .. }), version, "{error}");
        }
    }
}
