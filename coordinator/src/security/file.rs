//! Small files in a coordinator's folder that people change while it runs: each is replaced at once, belongs to the
//! owner of the folder, and can be read by a service that runs as another user than who wrote it.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use secateur_worker::private;
use serde::Serialize;

/// Waits until nobody else changes files under that lock, and creates the folder if it does not exist.
pub(super) fn lock(folder: &Path, name: &str) -> io::Result<File> {
    private::create_folder(folder)?;
    let path = folder.join(name);
    let lock = private::open_within(&path, OpenOptions::new().create(true).write(true).truncate(false))?;
    private::give_open_to_owner_of_folder(&lock, &path)?;
    lock.lock()?;
    Ok(lock)
}

/// Replaces a file of such a folder by a document.
pub(super) fn replace(path: &Path, document: &impl Serialize) -> io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| Path::new("."));
    let mut draft = tempfile::NamedTempFile::new_in(folder)?;
    let mut bytes = serde_json::to_vec_pretty(document)?;
    bytes.push(b'\n');
    draft.write_all(&bytes)?;
    // Nothing in it is secret, and the process's umask is not to decide who can read it.
    #[cfg(unix)]
    draft.as_file().set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    private::give_open_to_owner_of_folder(draft.as_file(), draft.path())?;
    draft.as_file().sync_all()?;
    draft.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Seconds since 1970.
pub(super) fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
