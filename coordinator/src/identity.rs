//! Who a coordinator is: a random name that its journal holds. A copy in its folder is for tokens and for people.

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

use secateur_worker::private;
use tracing::{info, warn};

use crate::journal::{Journal, JournalError};

/// The name of the copy in a coordinator's folder.
const FILE: &str = "coordinator.id";

/// The length of an identity in hexadecimal digits.
const LEN: usize = 12;

/// The identity of a coordinator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CoordinatorId(String);

/// Why a coordinator has no identity.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// The journal cannot be read or written.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The system has no random numbers.
    #[error("cannot get random numbers from the system")]
    Random(#[source] getrandom::Error),
    /// The copy cannot be read or written.
    #[error("cannot read or write {path}")]
    File {
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
}

impl fmt::Display for CoordinatorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl CoordinatorId {
    /// A new one.
    ///
    /// # Errors
    /// If the system has no random numbers.
    pub fn fresh() -> Result<Self, IdentityError> {
        let mut bytes = [0; LEN / 2];
        getrandom::fill(&mut bytes).map_err(IdentityError::Random)?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Reads its text. Returns `None` for any other text.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_one = text.len() == LEN && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        is_one.then(|| Self(text.to_owned()))
    }

    /// Its text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The identity of the coordinator that last ran in a folder, if one has.
    ///
    /// # Errors
    /// If the copy cannot be read.
    pub fn of_folder(folder: &Path) -> Result<Option<Self>, IdentityError> {
        let path = folder.join(FILE);
        match fs::read_to_string(&path) {
            Ok(text) => Ok(Self::parse(text.trim())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(IdentityError::File { path, source }),
        }
    }

    /// The identity of the coordinator in `folder` whose journal was just read. A journal without one gets a new one; or
    /// that of the folder, if the journal already held something and is only older than identities. Says which coordinator
    /// it is and where, and warns if the folder was another one's.
    ///
    /// # Errors
    /// If journal or folder cannot be read or written.
    pub async fn settle(folder: &Path, journal: &mut dyn Journal) -> Result<Self, IdentityError> {
        let before = Self::of_folder(folder)?;
        let is_new = journal.next() == 1;
        let fresh = match &before {
            Some(before) if !is_new => before.clone(),
            _ => Self::fresh()?,
        };
        let held = journal.identity(fresh.as_str()).await?;
        let own = Self::parse(&held).unwrap_or(fresh);
        let place = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        match &before {
            Some(other) if *other != own => warn!(
                coordinator = %own,
                "the folder {} was that of coordinator {other}, and the journal {} is that of {own}: if {other} is meant, stop and start it with its own journal",
                place.display(),
                journal.place()
            ),
            _ if is_new => info!(
                coordinator = %own,
                folder = %place.display(),
                "new coordinator: there was none in this folder. To continue an earlier one, pass its folder with --data-dir"
            ),
            _ => info!(coordinator = %own, folder = %place.display(), "continuing the coordinator of this folder"),
        }
        if before.as_ref() != Some(&own) {
            let path = folder.join(FILE);
            let written = write(folder, &path, &own);
            written.map_err(|source| IdentityError::File { path, source })?;
        }
        Ok(own)
    }
}

fn write(folder: &Path, path: &Path, id: &CoordinatorId) -> io::Result<()> {
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    io::Write::write_all(&mut draft, format!("{id}\n").as_bytes())?;
    private::give_to_owner_of_folder(draft.path())?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Sqlite;

    async fn settled(folder: &Path, journal: &Path, entries: &[&str]) -> CoordinatorId {
        let mut journal = Sqlite::open(journal).await.expect("opens");
        journal.read(&mut |_| {}).await.expect("reads");
        let own = CoordinatorId::settle(folder, &mut journal).await.expect("has one");
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        journal.append(entries).await.expect("writes");
        Box::new(journal).close().await.expect("closes");
        own
    }

    #[tokio::test]
    async fn a_coordinator_is_who_its_journal_says() {
        let folder = tempfile::tempdir().expect("a folder");
        let folder = folder.path();
        let (one, two) = (folder.join("one.db"), folder.join("two.db"));
        let first = settled(folder, &one, &["x"]).await;
        assert_eq!(settled(folder, &one, &[]).await, first);
        assert_eq!(CoordinatorId::of_folder(folder).expect("reads"), Some(first.clone()));
        // The copy is lost, or altered: the journal knows better.
        fs::remove_file(folder.join(FILE)).expect("removes");
        assert_eq!(settled(folder, &one, &[]).await, first);
        fs::write(folder.join(FILE), "0123456789ab").expect("writes");
        assert_eq!(settled(folder, &one, &[]).await, first);
        // A new journal is another coordinator, whoever was in the folder.
        let second = settled(folder, &two, &["x"]).await;
        assert_ne!(second, first);
        assert_eq!(CoordinatorId::of_folder(folder).expect("reads"), Some(second));
        // What compacts a journal keeps who it is.
        let journal = Sqlite::open(&one).await.expect("opens");
        Box::new(journal).replace(vec!["y".to_owned()]).await.expect("replaces");
        assert_eq!(settled(folder, &one, &[]).await, first);
    }

    #[test]
    fn an_identity_is_twelve_digits() {
        let fresh = CoordinatorId::fresh().expect("random numbers");
        assert_eq!(CoordinatorId::parse(fresh.as_str()), Some(fresh));
        for other in ["", "0123456789a", "0123456789abc", "0123456789AB", "0123456789a_"] {
            assert_eq!(CoordinatorId::parse(other), None, "{other}");
        }
    }
}
