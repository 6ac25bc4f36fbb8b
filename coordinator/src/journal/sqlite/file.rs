//! The file that an SQLite database is: how long it says that it is, and how it is copied and replaced together with its log.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

/// Bytes at the beginning that say what the file is (<https://www.sqlite.org/fileformat2.html>).
const HEADER: usize = 100;

/// The bytes of its log, where that is all there is: a database that is empty, or gone, has none, and SQLite would remove it.
pub(super) fn log_alone(path: &Path) -> u64 {
    let length = |path: &Path| path.metadata().map_or(0, |metadata| metadata.len());
    if length(path) == 0 { length(&beside(path, "-wal")) } else { 0 }
}

/// Whether there is something of it.
pub(super) fn exists(path: &Path) -> bool {
    path.exists() || log_alone(path) > 0
}

/// How many bytes are missing at its end of what it says it has; none of what is no database.
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

/// How long a header says that its file is.
fn said(header: &[u8; HEADER]) -> u64 {
    let number = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let page = match u16::from_be_bytes([header[16], header[17]]) {
        1 => 65_536,
        page => u64::from(page),
    };
    // The count of pages holds if it was written by the last change.
    let holds = header.starts_with(b"SQLite format 3\0") && page.is_power_of_two() && number(24) == number(92);
    if holds { page * u64::from(number(28)) } else { 0 }
}

/// Makes it longer by so many zeros.
pub(super) fn lengthen(path: &Path, by: u64) -> io::Result<()> {
    let file = File::options().create(true).truncate(false).write(true).open(path)?;
    file.set_len(file.metadata()?.len().saturating_add(by))?;
    file.sync_all()
}

/// Copies it to where no other file is, and with it what has not come from the log into it yet, under the name that belongs to the copy's.
pub(super) fn copy_aside(path: &Path) -> io::Result<PathBuf> {
    let is_free = |path: &PathBuf| !path.exists() && !beside(path, "-wal").exists();
    let aside = (1..).map(|number| beside(path, &format!(".aside-{number}"))).find(is_free);
    let aside = aside.expect("there are more numbers than files");
    for (from, to) in [(beside(path, "-wal"), beside(&aside, "-wal")), (path.to_owned(), aside.clone())] {
        // An empty log has nothing of it.
        if from.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            let copied = fs::copy(&from, &to).and_then(|_| File::open(&to)?.sync_all());
            copied.inspect_err(|_| discard(&to))?;
        }
    }
    flush_folder(path)?;
    Ok(aside)
}

/// Puts a new file in the place of the old one, whose log it must not find.
pub(super) fn put_in_its_place(new: &Path, old: &Path) -> io::Result<()> {
    // Root may look after the journal of a service that is not root.
    keep_owner(old, new)?;
    ["-wal", "-shm"].iter().try_for_each(|suffix| remove(&beside(old, suffix)))?;
    fs::rename(new, old)?;
    flush_folder(old)
}

/// The path with more at its end.
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

/// Removes what a write that failed has left, which may be what fills the disk. The failure is what is told.
pub(super) fn discard(path: &Path) {
    let _ = remove(path);
}

/// Removes a file if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes what was renamed or made in the folder of a file durable.
fn flush_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    File::open(folder)?.sync_all()
}
