//! Backups of a coordinator's folder, taken while it runs: its journal as of one moment, the files by hash that the
//! journal refers to, and the small files beside them. A backup is whole once its manifest exists, which is written last;
//! restoring one checks every byte of it.
//!
//! Files by hash are written before a record refers to them, and are never changed. So the journal is copied first, and
//! every file that it needs is there, unless `gc` removes it meanwhile.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use secateur_proto::ids::ContentHash;
use secateur_worker::{
    private,
    store::{Durability, Store, StoreError},
};
use serde::{Deserialize, Serialize};

use crate::{
    artifacts::{self, LocationError},
    journal::{Journal as _, JournalError, Sqlite},
    scheduler::Core,
    server::{DataDir, ServerError},
    upkeep,
};

/// The name of the manifest in a backup.
const MANIFEST: &str = "backup.json";

const VERSION: u32 = 1;

/// The files beside the journal that a backup has, if they exist.
const BESIDE: [&str; 5] = ["tokens.json", "revoked.json", "coordinator.id", "artifacts.location", "audit.jsonl"];

/// The size of a piece that is read at a time.
const PIECE: usize = 1 << 20;

/// The name of a journal that is not checked yet. No coordinator starts with it.
const JOURNAL_DRAFT: &str = "journal.db.restoring";

/// Missing files that an error names.
const SHOWN: usize = 5;

/// Why there is no backup, or none could be restored.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The folder has no journal.
    #[error(
        "{0} has no journal.db. If its journal is in PostgreSQL, back up the database (pg_dump --schema=secateur) first and then this folder; restore both together"
    )]
    NoJournal(PathBuf),
    /// Something is in the folder to write to.
    #[error("{0} is not empty: give a new folder")]
    NotEmpty(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot {operation} {path}")]
    File {
        /// What was tried.
        operation: &'static str,
        /// The file.
        path: PathBuf,
        /// The system's error.
        #[source]
        source: io::Error,
    },
    /// The folder is no backup, or one that was interrupted.
    #[error("{0} is not a complete backup: it has no backup.json, which is written last")]
    NoBackup(PathBuf),
    /// The manifest cannot be read.
    #[error("{path} is not the manifest of a backup")]
    Manifest {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        #[source]
        source: serde_json::Error,
    },
    /// The backup is from a later release.
    #[error("{path} has version {found}; this release supports {VERSION}")]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u32,
    },
    /// A file differs from what was backed up.
    #[error("{0} is damaged: its content is not what was backed up")]
    Damaged(PathBuf),
    /// The journal of the backup is damaged.
    #[error("the journal in the backup is damaged: {0}")]
    Journal(String),
    /// Files that the journal refers to are missing from the backup.
    #[error("files that the journal refers to are missing from the backup: {}", few(.0))]
    Missing(Vec<ContentHash>),
    /// The journal cannot be read.
    #[error(transparent)]
    Database(#[from] JournalError),
    /// The store cannot be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The location of the artifacts cannot be read.
    #[error(transparent)]
    Location(#[from] LocationError),
}

fn few(missing: &[ContentHash]) -> String {
    let shown: Vec<String> = missing.iter().take(SHOWN).map(|hash| hash.short(16)).collect();
    let more = missing.len().saturating_sub(SHOWN);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{more}", shown.join(", "))
}

/// What a backup contains.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    version: u32,
    /// Seconds since 1970.
    pub made_at: u64,
    /// The coordinator.
    pub coordinator: Option<String>,
    /// The number of entries of its journal.
    pub entries: u64,
    /// The number of its sweeps.
    pub sweeps: u64,
    /// The journal and the files beside it, with their hashes.
    pub files: BTreeMap<String, ContentHash>,
    /// The number of files by hash.
    pub artifacts: u64,
    /// Their size in bytes.
    pub bytes: u64,
    /// Where the artifacts are, if they are in a bucket and so not in the backup.
    pub bucket: Option<String>,
    /// Files that the journal refers to and the coordinator had lost.
    pub lost: Vec<ContentHash>,
}

/// How files by hash come into a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Files {
    /// As links to the same file where the file system allows it, which takes no room; as copies elsewhere.
    Linked,
    /// As copies.
    Copied,
}

/// Backs up the coordinator in `folder`, which may be running, to the new folder `into`.
///
/// # Errors
/// If the folder has no journal of its own, `into` is not empty, or something cannot be read or written.
pub async fn make(folder: &Path, into: &Path, how: Files) -> Result<Manifest, BackupError> {
    let journal = DataDir::journal_in(folder);
    if !Sqlite::is_there(&journal) {
        return Err(BackupError::NoJournal(folder.to_owned()));
    }
    empty(into)?;
    let copy = DataDir::journal_in(into);
    Sqlite::copy_while_used(&journal, &copy).await?;
    let core = replayed(&copy).await?;
    let mut files = BTreeMap::new();
    files.insert("journal.db".to_owned(), hash(&copy)?);
    for name in BESIDE {
        let (from, to) = (folder.join(name), into.join(name));
        if from.exists() {
            files.insert(name.to_owned(), copied(&from, &to)?);
        }
    }
    let bucket = artifacts::settled(folder)?.map(|bucket| bucket.to_string());
    let (mut count, mut bytes, mut lost) = (0, 0, Vec::new());
    if bucket.is_none() {
        let from = Store::open(folder.join("artifacts"), Durability::Synced)?;
        let to = Store::open(into.join("artifacts"), Durability::Synced)?;
        for artifact in referred(&core.1) {
            match take(&from.path(artifact), &to.path(artifact), artifact, how)? {
                Some(size) => (count, bytes) = (count + 1, bytes + size),
                None => lost.push(artifact),
            }
        }
    }
    let manifest = Manifest {
        version: VERSION,
        made_at: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        coordinator: fs::read_to_string(into.join("coordinator.id")).ok().map(|id| id.trim().to_owned()),
        entries: core.0,
        sweeps: core.1.sweeps().count() as u64,
        files,
        artifacts: count,
        bytes,
        bucket,
        lost,
    };
    write_manifest(into, &manifest)?;
    Ok(manifest)
}

/// Restores the backup in `from` to the new folder `folder`. Every file is checked against its hash, the journal is
/// replayed, and every file that it refers to must be there. The journal gets its name last: until then the folder is
/// locked, and a restoration that fails leaves no coordinator that would start with less than it had.
///
/// # Errors
/// If something of the backup is missing or damaged, `folder` is not empty, or something cannot be written.
pub async fn restore(from: &Path, folder: &Path) -> Result<Manifest, BackupError> {
    let manifest = read_manifest(from)?;
    empty(folder)?;
    let _lock = lock(folder)?;
    let (draft, journal) = (folder.join(JOURNAL_DRAFT), DataDir::journal_in(folder));
    for (name, expected) in &manifest.files {
        // A name of a file beside the manifest, and nothing else.
        let is_journal = name == "journal.db";
        let is_known = is_journal || BESIDE.contains(&name.as_str());
        let path = from.join(name);
        let to = if is_journal { draft.clone() } else { folder.join(name) };
        if !is_known || copied(&path, &to)? != *expected {
            return Err(BackupError::Damaged(path));
        }
    }
    let (entries, core) = replayed(&draft).await?;
    if entries != manifest.entries {
        return Err(BackupError::Damaged(DataDir::journal_in(from)));
    }
    if manifest.bucket.is_none() {
        let source = from.join("artifacts");
        let to = Store::open(folder.join("artifacts"), Durability::Synced)?;
        let lost: BTreeSet<ContentHash> = manifest.lost.iter().copied().collect();
        let mut missing = Vec::new();
        for artifact in referred(&core).into_iter().filter(|artifact| !lost.contains(artifact)) {
            let name = artifact.to_string();
            let path = source.join(name.get(..2).unwrap_or_default()).join(&name);
            if take(&path, &to.path(artifact), artifact, Files::Copied)?.is_none() {
                missing.push(artifact);
            }
        }
        if !missing.is_empty() {
            return Err(BackupError::Missing(missing));
        }
    }
    // First the names of the files that it refers to, then its own.
    sync_folder(folder)?;
    fs::rename(&draft, &journal).map_err(failed("write", &journal))?;
    sync_folder(folder)?;
    Ok(manifest)
}

/// Reads the manifest of a backup.
///
/// # Errors
/// If the folder is not a complete backup.
pub fn read_manifest(from: &Path) -> Result<Manifest, BackupError> {
    let path = from.join(MANIFEST);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(BackupError::NoBackup(from.to_owned())),
        Err(source) => return Err(failed("read", &path)(source)),
    };
    let manifest: Manifest =
        serde_json::from_slice(&bytes).map_err(|source| BackupError::Manifest { path: path.clone(), source })?;
    if manifest.version != VERSION {
        return Err(BackupError::Version { path, found: manifest.version });
    }
    Ok(manifest)
}

fn write_manifest(into: &Path, manifest: &Manifest) -> Result<(), BackupError> {
    let path = into.join(MANIFEST);
    let mut bytes = serde_json::to_vec_pretty(manifest).map_err(|error| failed("write", &path)(error.into()))?;
    bytes.push(b'\n');
    private::write_new(&path, &bytes).map_err(failed("write", &path))?;
    sync_folder(into)
}

fn sync_folder(folder: &Path) -> Result<(), BackupError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed("flush", folder))
}

/// Makes an empty folder for its owner alone, or takes an existing one.
fn empty(folder: &Path) -> Result<(), BackupError> {
    private::create_folder(folder).map_err(failed("create", folder))?;
    if fs::read_dir(folder).map_err(failed("read", folder))?.next().is_some() {
        return Err(BackupError::NotEmpty(folder.to_owned()));
    }
    #[cfg(unix)]
    match fs::set_permissions(folder, std::os::unix::fs::PermissionsExt::from_mode(0o700)) {
        // It belongs to somebody else, who has decided who can enter it.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
        set => set.map_err(failed("restrict", folder))?,
    }
    Ok(())
}

/// Locks a folder that was empty just now, as a coordinator does. Nobody starts one in it from here on.
fn lock(folder: &Path) -> Result<DataDir, BackupError> {
    let not_empty = || BackupError::NotEmpty(folder.to_owned());
    let lock = DataDir::lock(folder).map_err(|error| match error {
        ServerError::Folder { path, source } => BackupError::File { operation: "lock", path, source },
        // Somebody else was faster.
        _ => not_empty(),
    })?;
    // Or was, and has ended.
    for entry in fs::read_dir(folder).map_err(failed("read", folder))? {
        if entry.map_err(failed("read", folder))?.file_name() != "lock" {
            return Err(not_empty());
        }
    }
    Ok(lock)
}

/// The number of entries of a healthy journal, and its state.
async fn replayed(journal: &Path) -> Result<(u64, Core), BackupError> {
    let mut journal = Box::new(Sqlite::open_idle(journal).await?);
    let examined = upkeep::check(&mut *journal).await?;
    journal.close().await?;
    match examined.damages.first() {
        Some(damage) => Err(BackupError::Journal(damage.to_string())),
        None => Ok((examined.entries, examined.core)),
    }
}

/// The files by hash that a journal refers to, in their order.
fn referred(core: &Core) -> BTreeSet<ContentHash> {
    let of_stages = core.files_of_stages(0..usize::MAX).unwrap_or_default();
    core.plans().flat_map(|plan| plan.files()).chain(of_stages).collect()
}

/// Brings a file by hash to its place and returns its size, or `None` if it does not exist. A copy is checked.
fn take(from: &Path, to: &Path, artifact: ContentHash, how: Files) -> Result<Option<u64>, BackupError> {
    let size = match fs::metadata(from) {
        Ok(metadata) => metadata.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(failed("read", from)(source)),
    };
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(failed("create", folder))?;
    }
    // Another file system, or one without links: a copy serves as well.
    if how == Files::Linked && fs::hard_link(from, to).is_ok() {
        return Ok(Some(size));
    }
    if copied(from, to)? != artifact {
        return Err(BackupError::Damaged(from.to_owned()));
    }
    Ok(Some(size))
}

/// Copies a file, flushes it, and returns the hash of what was read.
fn copied(from: &Path, to: &Path) -> Result<ContentHash, BackupError> {
    let mut source = File::open(from).map_err(failed("read", from))?;
    let mut copy = File::create_new(to).map_err(failed("write", to))?;
    let hash = hashed(&mut source, from, |piece| copy.write_all(piece).map_err(failed("write", to)))?;
    copy.sync_all().map_err(failed("flush", to))?;
    Ok(hash)
}

fn hash(path: &Path) -> Result<ContentHash, BackupError> {
    hashed(&mut File::open(path).map_err(failed("read", path))?, path, |_| Ok(()))
}

fn hashed(
    source: &mut File,
    path: &Path,
    mut with: impl FnMut(&[u8]) -> Result<(), BackupError>,
) -> Result<ContentHash, BackupError> {
    let (mut hasher, mut piece) = (blake3::Hasher::new(), vec![0; PIECE]);
    loop {
        let count = source.read(&mut piece).map_err(failed("read", path))?;
        let Some(read) = piece.get(..count).filter(|read| !read.is_empty()) else { break };
        hasher.update(read);
        with(read)?;
    }
    Ok(hasher.finalize().into())
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |source| BackupError::File { operation, path, source }
}
