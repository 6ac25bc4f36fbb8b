//! The file of an SQLite database: its expected length, and how it is copied and replaced together with its log.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Bytes of the header (<https://www.sqlite.org/fileformat2.html>).
const HEADER: usize = 100;

/// Returns the size of its log if the database is empty or missing, else 0. SQLite would remove such a log.
pub(super) fn log_alone(path: &Path) -> u64 {
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    if length(path) == 0 { length(&beside(path, "-wal")) } else { 0 }
}

/// Whether the file or its log exists.
pub(super) fn exists(path: &Path) -> bool {
    path.exists() || log_alone(path) > 0
}

/// Returns the number of bytes that are missing at its end, by its own header; 0 if it is not a database.
pub(super) fn missing(path: &Path) -> io::Result<u64> {
    let mut file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        file => file?,
    };
    let length = file.metadata()?.len();
    let mut header = [0; HEADER];
    match file.read_exact(&mut header) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(0),
        read => read?,
    }
    Ok(said(&header).saturating_sub(length))
}

/// Returns the length of the file according to its header.
fn said(header: &[u8; HEADER]) -> u64 {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        page => u64::from(page),
    };
    // The count of pages is valid if the last change wrote it.
    let holds = header.starts_with(b"SQLite format 3\0") && page.is_power_of_two() && number(24) == number(92);
    if holds { page * u64::from(number(28)) } else { 0 }
}

/// Appends `by` zeros.
pub(super) fn lengthen(path: &Path, by: u64) -> io::Result<()> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.set_len(file.metadata()?.len().saturating_add(by))?;
    file.sync_all()
}

/// Copies it to a new name, and its log to the name that belongs to the copy.
pub(super) fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    let is_free = |path: &PathBuf| !path.exists() && !beside(path, "-wal").exists();
    let aside = (1..).map(|number| beside(path, &format!(".aside-{number}"))).find(is_free);
    let aside = aside.expect("there are more numbers than files");
    for (from, to) in [(beside(path, "-wal"), beside(&aside, "-wal")), (path.to_owned(), aside.clone())] {
        // An empty log contains nothing.
        if from.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let copied = fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all());
            copied.inspect_err(|_| discard(&to))?;
        }
    }
    flush_folder(path)?;
    Ok(aside)
}

/// Replaces the old file by a new one, and removes the old log.
pub(super) fn put_in_its_place(new: &Path, old: &Path) -> io::Result<()> {
    // Root may maintain the journal of a service that does not run as root.
    keep_owner(old, new)?;
    ["-wal", "-shm"].iter().try_for_each(|suffix| remove(&beside(old, suffix)))?;
    fs::rename(new, old)?;
    flush_folder(old)
}

/// The path with a suffix.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.to_owned().into_os_string();
    name.push(suffix);
    name.into()
}

/// Gives a file the owner and the permissions of another.
fn keep_owner(of: &Path, to: &Path) -> io::Result<()> {
    let metadata = fs::metadata(of)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, chown};
        chown(to, Some(metadata.uid()), Some(metadata.gid()))?;
    }
    fs::set_permissions(to, metadata.permissions())
}

/// Removes what a failed write has left, which may be what fills the disk. Errors are ignored: the first failure is
/// reported.
pub(super) fn discard(path: &Path) {
    let _ = remove(path);
}

/// Removes a file if it exists.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes renamed or new files in the folder of a file durable.
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}
