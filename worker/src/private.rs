//! Files and folders that are not for everybody on a machine: who may read them, and whose they are.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write as _},
    path::Path,
};

use tracing::warn;

/// Creates a folder that only its owner can enter, unless it exists. Folders above it are created as usual.
///
/// # Errors
/// If it cannot be created.
pub fn create_folder(path: &Path) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let mut builder = DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    match builder.create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
        created => created,
    }
}

/// Writes a new file that only its owner can read.
///
/// # Errors
/// If it exists or cannot be written.
pub fn write_new(path: &Path, content: &[u8]) -> io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(path)?;
    file.write_all(content)?;
    file.sync_all()
}

/// Opens a file that is in its folder and has no other name. Whoever may write into the folder could plant a link to
/// another file, which root would then change or give away.
///
/// # Errors
/// If it cannot be opened, or is not such a file.
pub fn open_within(path: &Path, options: &OpenOptions) -> io::Result<File> {
    let planted = || io::Error::other(format!("{} is a link or not a file: remove it", path.display()));
    // Opening another file could create or change it already, and a pipe would wait for its other end.
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Err(planted()),
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let file = options.open(path)?;
    // It may have been replaced by a link just before.
    if is_within(&file, path)? { Ok(file) } else { Err(planted()) }
}

/// Whether the open file is the one of that path, and has no other name.
fn is_within(file: &File, path: &Path) -> io::Result<bool> {
    let (open, named) = (file.metadata()?, fs::symlink_metadata(path)?);
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt as _;
        if open.nlink() != 1 || (open.dev(), open.ino()) != (named.dev(), named.ino()) {
            return Ok(false);
        }
    }
    Ok(open.is_file() && named.is_file())
}

/// Gives a file the owner and the group of its folder, so that a service can use what root wrote into its folder. Who
/// may not do that leaves the file as it is.
///
/// # Errors
/// If the owner cannot be found out, or the path is a link or the file has another name.
pub fn give_to_owner_of_folder(path: &Path) -> io::Result<()> {
    give_open_to_owner_of_folder(&open_within(path, OpenOptions::new().read(true))?, path)
}

/// The same for an open file of that path, whatever the path has become meanwhile.
///
/// # Errors
/// If the owner cannot be found out.
pub fn give_open_to_owner_of_folder(file: &File, path: &Path) -> io::Result<()> {
    #[cfg(unix)]
    {
        use std::os::unix::fs::{MetadataExt as _, fchown};
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
        let (of_folder, own) = (fs::metadata(folder)?, file.metadata()?);
        if (of_folder.uid(), of_folder.gid()) != (own.uid(), own.gid()) {
            match fchown(file, Some(of_folder.uid()), Some(of_folder.gid())) {
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                given => return given,
            }
        }
    }
    #[cfg(not(unix))]
    let _ = (file, path);
    Ok(())
}

/// Whether everybody on this machine can read the file.
#[must_use]
pub fn is_readable_by_everybody(path: &Path) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0)
    }
    #[cfg(not(unix))]
    {
        let _ = path;
        false
    }
}

/// Logs a warning if everybody on this machine can read a secret file. `what` it holds: "token", "private key".
pub fn warn_if_readable(path: &Path, what: &str) {
    if is_readable_by_everybody(path) {
        let file = path.display();
        warn!("everybody on this machine can read the {what} in {file}: run `chmod o-r {file}`");
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn what_is_private_is_its_owners() {
        let folder = tempfile::tempdir().expect("a folder");
        let mode = |path: &Path| fs::metadata(path).expect("is there").permissions().mode() & 0o777;
        let private = folder.path().join("above/private");
        create_folder(&private).expect("creates");
        create_folder(&private).expect("is there already");
        assert_eq!(mode(&private), 0o700);
        assert_ne!(mode(&folder.path().join("above")), 0o700);
        let file = private.join("file");
        write_new(&file, b"secret").expect("writes");
        assert_eq!(mode(&file), 0o600);
        assert!(write_new(&file, b"other").is_err());
        assert_eq!(fs::read(&file).expect("reads"), b"secret");
        assert!(create_folder(&file).is_err());
        give_to_owner_of_folder(&file).expect("is its own already");
        assert!(!is_readable_by_everybody(&file));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("changes");
        assert!(is_readable_by_everybody(&file));
    }
    #[test]
    fn a_planted_link_is_not_followed() {
        let folder = tempfile::tempdir().expect("a folder");
        let (elsewhere, link) = (folder.path().join("elsewhere"), folder.path().join("link"));
        let mut options = OpenOptions::new();
        options.create(true).append(true);
        std::os::unix::fs::symlink(&elsewhere, &link).expect("links");
        open_within(&link, &options).expect_err("is a link");
        assert!(!elsewhere.exists(), "nothing is created there");
        fs::write(&elsewhere, "other").expect("writes");
        open_within(&link, &options).expect_err("is a link");
        give_to_owner_of_folder(&link).expect_err("is a link");
        open_within(&elsewhere, &options).expect("is a file");
        fs::remove_file(&link).expect("removes");
        fs::hard_link(&elsewhere, &link).expect("links");
        open_within(&link, &options).expect_err("has two names");
        open_within(&folder.path().join("new"), &options).expect("creates");
    }
}
