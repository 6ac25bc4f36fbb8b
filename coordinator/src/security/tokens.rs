//! Tokens: 256 random bits that authenticate a caller. The coordinator's file contains only their hashes, so reading it
//! reveals no token. Random bits need no slow hash.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use secateur_proto::ids::ContentHash;
use serde::{Deserialize, Serialize};

use super::{
    Role,
    file::{self, seconds},
};

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
    /// What it was before it was rotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<Before>,
}

/// The text that a rotated token had before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// BLAKE3 of that text.
    pub hash: ContentHash,
    /// Seconds since 1970 after which it is not accepted any more.
    pub expires_at: u64,
}

/// What is known of a text that somebody shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found<'a> {
    /// It is a valid token.
    Valid(&'a Token),
    /// It was a token, or was replaced by another text, until so many seconds since 1970.
    Expired(&'a Token, u64),
    /// It is no token of this coordinator.
    Unknown,
}

impl Token {
    /// What the text with that hash is, if it is or was this token.
    fn known(&self, hash: &ContentHash, now: SystemTime) -> Option<Found<'_>> {
        let end = if self.hash == *hash {
            self.expires_at
        } else {
            let before = self.before.as_ref().filter(|before| before.hash == *hash)?;
            Some(before.expires_at.min(self.expires_at.unwrap_or(u64::MAX)))
        };
        Some(match end.filter(|end| seconds(now) >= *end) {
            None => Found::Valid(self),
            Some(end) => Found::Expired(self, end),
        })
    }

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
    /// A token that has expired would have a new text that is never accepted.
    #[error("token {0} has expired: pass --expires to give the new one a time")]
    Expired(String),
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
        let _lock = file::lock(folder, "tokens.lock").map_err(failed)?;
        let mut tokens = Self::read(folder)?.unwrap_or(Self { version: VERSION, tokens: Vec::new() });
        let done = change(&mut tokens)?;
        file::replace(&path, &tokens).map_err(failed)?;
        Ok(done)
    }

    /// Creates a token and returns its text, which is stored nowhere. It names the coordinator, if that is known.
    ///
    /// # Errors
    /// If the name is invalid or taken.
    pub fn create(
        &mut self,
        name: &str,
        role: Role,
        now: SystemTime,
        lifetime: Option<Duration>,
        coordinator: Option<&str>,
    ) -> Result<String, TokenError> {
        let allowed = |letter: char| letter.is_ascii_alphanumeric() || "-_.".contains(letter);
        if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(allowed) {
            return Err(TokenError::Name(name.chars().take(80).collect()));
        }
        if self.tokens.iter().any(|token| token.name == name) {
            return Err(TokenError::Taken(name.to_owned()));
        }
        let secret = secret(role, coordinator)?;
        let created_at = seconds(now);
        let expires_at = lifetime.map(|lifetime| created_at.saturating_add(lifetime.as_secs()));
        let hash = ContentHash::of(secret.as_bytes());
        self.tokens.push(Token { name: name.to_owned(), role, hash, created_at, expires_at, before: None });
        Ok(secret)
    }

    /// Gives the token of that name another text and returns it. The text from before is accepted for `overlap` more.
    /// A `lifetime` begins anew; without one the token ends when it would have.
    ///
    /// # Errors
    /// If there is none, or it has expired and there is no `lifetime`.
    pub fn rotate(
        &mut self,
        name: &str,
        now: SystemTime,
        lifetime: Option<Duration>,
        overlap: Duration,
        coordinator: Option<&str>,
    ) -> Result<(String, Role), TokenError> {
        let token = self.tokens.iter_mut().find(|token| token.name == name);
        let token = token.ok_or_else(|| TokenError::Unknown(name.chars().take(80).collect()))?;
        if lifetime.is_none() && token.is_expired(now) {
            return Err(TokenError::Expired(token.name.clone()));
        }
        let secret = secret(token.role, coordinator)?;
        let until = seconds(now).saturating_add(overlap.as_secs()).min(token.expires_at.unwrap_or(u64::MAX));
        token.before = Some(Before { hash: token.hash, expires_at: until });
        token.hash = ContentHash::of(secret.as_bytes());
        if let Some(lifetime) = lifetime {
            token.expires_at = Some(seconds(now).saturating_add(lifetime.as_secs()));
        }
        Ok((secret, token.role))
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

    /// Finds the token with that text. Only hashes are compared, so timing reveals nothing about the token.
    #[must_use]
    pub fn find(&self, shown: &str, now: SystemTime) -> Found<'_> {
        self.find_hash(&ContentHash::of(shown.as_bytes()), now)
    }

    /// Finds the token whose text has that hash.
    #[must_use]
    pub fn find_hash(&self, hash: &ContentHash, now: SystemTime) -> Found<'_> {
        self.tokens.iter().find_map(|token| token.known(hash, now)).unwrap_or(Found::Unknown)
    }
}

/// A new token from the system's random numbers. Its prefix lets secret scanners find one that was committed by
/// mistake. It names the coordinator that it is for, if that is known.
///
/// # Errors
/// If the system has none.
pub fn secret(role: Role, coordinator: Option<&str>) -> Result<String, TokenError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    let bits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let coordinator = coordinator.map(|id| format!("{id}_")).unwrap_or_default();
    Ok(format!("secateur_{role}_{coordinator}{bits}"))
}

/// The coordinator that a token names, if it names one.
#[must_use]
pub fn coordinator_of(token: &str) -> Option<&str> {
    let mut parts = token.split('_').skip(2);
    match (parts.next(), parts.next(), parts.next()) {
        (Some(coordinator), Some(_), None) => Some(coordinator),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use super::*;

    #[test]
    fn a_token_opens_until_it_is_revoked_or_its_time_is_over() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        assert_eq!(Tokens::read(folder).expect("reads"), None);
        let now = UNIX_EPOCH + Duration::from_secs(1_000);
        let alice =
            Tokens::change(folder, |tokens| tokens.create("alice", Role::Submit, now, None, None)).expect("creates");
        let hour = Some(Duration::from_secs(3600));
        let bob = Tokens::change(folder, |tokens| tokens.create("bob", Role::Read, now, hour, None)).expect("creates");
        let tokens = Tokens::read(folder).expect("reads").expect("two");
        let of = |tokens: &Tokens, shown: &str, at| match tokens.find(shown, at) {
            Found::Valid(token) => Some((token.name.clone(), token.role)),
            Found::Expired(..) | Found::Unknown => None,
        };
        let later = now + Duration::from_secs(3600);
        assert_eq!(of(&tokens, &alice, later), Some(("alice".to_owned(), Role::Submit)));
        assert_eq!(of(&tokens, &bob, later - Duration::from_secs(1)), Some(("bob".to_owned(), Role::Read)));
        assert_eq!(of(&tokens, &bob, later), None);
        assert!(matches!(tokens.find(&bob, later), Found::Expired(token, 4_600) if token.name == "bob"));
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
            (0..100).map(|_| secret(Role::Worker, None).expect("random numbers")).collect();
        assert_eq!(all.len(), 100);
        assert!(all.iter().all(|token| token.len() == "secateur_worker_".len() + 64));
        assert!(all.iter().all(|token| coordinator_of(token).is_none()));
        let of_one = secret(Role::Read, Some("0123456789ab")).expect("random numbers");
        assert_eq!(coordinator_of(&of_one), Some("0123456789ab"));
        for other in ["", "secateur", "secateur_read", "some_other_token_with_parts"] {
            assert_eq!(coordinator_of(other), None, "{other}");
        }
    }

    #[test]
    fn a_rotated_token_is_accepted_a_little_longer() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let at = |second| UNIX_EPOCH + Duration::from_secs(second);
        let create = |name: &str, lifetime| {
            let lifetime = Some(Duration::from_secs(lifetime));
            Tokens::change(folder, |tokens| tokens.create(name, Role::Worker, at(0), lifetime, None)).expect("creates")
        };
        let rotate = |name: &str, second, lifetime: Option<u64>, overlap| {
            let (lifetime, overlap) = (lifetime.map(Duration::from_secs), Duration::from_secs(overlap));
            Tokens::change(folder, |tokens| tokens.rotate(name, at(second), lifetime, overlap, None))
                .map(|(new, _)| new)
        };
        let is_valid = |shown: &str, second| {
            let tokens = Tokens::read(folder).expect("reads").expect("some");
            matches!(tokens.find(shown, at(second)), Found::Valid(_))
        };
        let first = create("gpus", 1_000);
        let second = rotate("gpus", 100, Some(5_000), 60).expect("is there");
        assert!(is_valid(&first, 159) && !is_valid(&first, 160));
        assert!(is_valid(&second, 5_099) && !is_valid(&second, 5_100));
        let third = rotate("gpus", 200, None, 0).expect("is there");
        assert!(!is_valid(&second, 200) && is_valid(&third, 5_099) && !is_valid(&third, 5_100));
        // What is left of its life is all that the text from before has.
        let old = create("short", 10);
        rotate("short", 5, Some(1_000), 60).expect("is there");
        assert!(is_valid(&old, 9) && !is_valid(&old, 10));
        assert!(matches!(rotate("none", 0, None, 0), Err(TokenError::Unknown(_))));
        create("over", 10);
        let refused = rotate("over", 10, None, 60).expect_err("has expired");
        assert_eq!(refused.to_string(), "token over has expired: pass --expires to give the new one a time");
        let new = rotate("over", 10, Some(10), 60).expect("has a time again");
        assert!(is_valid(&new, 19) && !is_valid(&new, 20));
    }

    /// Root may create a token with any umask, in the folder of a service that runs as somebody else.
    #[test]
    #[cfg(unix)]
    fn a_service_can_read_what_somebody_else_wrote() {
        use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown};
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path().join("data");
        let create = |name: &str| {
            Tokens::change(&folder, |tokens| tokens.create(name, Role::Read, SystemTime::now(), None, None)).map(drop)
        };
        create("one").expect("creates");
        assert_eq!(fs::metadata(&folder).expect("is there").permissions().mode() & 0o777, 0o700);
        // Only root can give files away.
        let is_root = chown(&folder, Some(12_345), Some(12_345)).is_ok();
        create("two").expect("creates");
        for name in [FILE, "tokens.lock"] {
            let file = fs::metadata(folder.join(name)).expect("is there");
            assert!(!is_root || (file.uid(), file.gid()) == (12_345, 12_345), "{name}");
        }
        assert_eq!(fs::metadata(folder.join(FILE)).expect("is there").permissions().mode() & 0o777, 0o644);
    }

    #[test]
    fn a_refused_change_changes_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let create = |name: &str| {
            Tokens::change(folder, |tokens| tokens.create(name, Role::Read, SystemTime::now(), None, None)).map(drop)
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
