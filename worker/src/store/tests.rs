//! Files are complete or do not exist, uploads resume, and files in use are not removed.

use super::*;

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(folder.path(), Durability::Synced).expect("opens");
    (folder, store)
}

#[test]
fn what_is_put_is_got_and_a_damaged_file_is_found_out() {
    let (_folder, store) = store();
    let artifact = store.put(b"some bytes").expect("puts");
    assert_eq!(store.get(artifact.hash).expect("gets"), b"some bytes");
    assert_eq!(store.stat(artifact.hash).expect("stats"), Some(artifact));
    fs::write(store.path(artifact.hash), b"other bytes").expect("writes");
    assert!(matches!(store.get(artifact.hash), Err(StoreError::Damaged { .. })));
    assert!(matches!(store.get(artifact.hash), Err(StoreError::Missing(_))));
}

#[test]
fn an_upload_that_was_cut_off_goes_on_where_it_stopped() {
    let (_folder, store) = store();
    let bytes = vec![7; 1000];
    let artifact = Artifact { hash: ContentHash::of(&bytes), size: 1000 };
    let mut upload = store.upload(artifact, 0).expect("begins");
    upload.write(&bytes[..600]).expect("writes");
    drop(upload);
    assert_eq!(store.partial_size(artifact.hash).expect("stats"), 600);
    assert!(matches!(store.upload(artifact, 601), Err(StoreError::WrongOffset { held: 600, .. })));
    let mut upload = store.upload(artifact, 600).expect("goes on");
    upload.write(&bytes[600..]).expect("writes");
    assert_eq!(upload.finish().expect("finishes"), artifact);
    assert_eq!(store.get(artifact.hash).expect("gets"), bytes);
}

#[test]
fn drafts_go_and_uploads_stay() {
    let (_folder, store) = store();
    let artifact = Artifact { hash: ContentHash::of(b"whole"), size: 5 };
    store.upload(artifact, 0).and_then(|mut upload| upload.write(b"who")).expect("writes");
    let draft = store.root().join("incoming").join(format!("{}.17.0", artifact.hash));
    fs::write(&draft, "wh").expect("writes");
    store.remove_drafts().expect("removes");
    assert!(!draft.try_exists().expect("can be looked for"));
    assert_eq!(store.partial_size(artifact.hash).expect("stats"), 3);
}

#[test]
fn an_upload_of_other_bytes_than_announced_leaves_nothing() {
    let (_folder, store) = store();
    let artifact = Artifact { hash: ContentHash::of(b"right"), size: 5 };
    let mut upload = store.upload(artifact, 0).expect("begins");
    upload.write(b"wrong").expect("writes");
    assert!(matches!(upload.finish(), Err(StoreError::Damaged { .. })));
    let mut upload = store.upload(artifact, 0).expect("begins");
    assert!(matches!(upload.write(b"too long"), Err(StoreError::WrongSize { .. })));
    assert_eq!(store.stat(artifact.hash).expect("stats"), None);
    assert_eq!(store.partial_size(artifact.hash).expect("stats"), 0);
}

#[test]
fn what_a_process_puts_apart_is_adopted_or_goes() {
    let (folder, store) = store();
    let outputs = Store::make_outputs(folder.path()).expect("makes a folder");
    assert_ne!(Store::make_outputs(folder.path()).expect("makes another"), outputs);
    let apart = Store::open(folder.path(), Durability::Cached).expect("opens").with_outputs(outputs.clone());
    let [input, made, unreported] = [b"input".as_slice(), b"made", b"unreported"]
        .map(|bytes| Artifact { hash: ContentHash::of(bytes), size: bytes.len() as u64 });
    store.put(b"input").expect("puts");
    assert_eq!(apart.get(input.hash).expect("reads what the store has"), b"input");
    assert_eq!(apart.put(b"made").expect("puts"), made);
    assert_eq!(apart.put(b"made").expect("puts again"), made);
    apart.put(b"unreported").expect("puts");
    assert_eq!(apart.get(made.hash).expect("reads it back"), b"made");
    assert_eq!(store.stat(made.hash).expect("stats"), None);
    store.adopt(&outputs, made.hash).expect("adopts");
    store.adopt(&outputs, made.hash).expect("has adopted it already");
    assert_eq!(store.stat(made.hash).expect("stats"), Some(made));
    assert_eq!(apart.get(made.hash).expect("reads it still"), b"made");
    assert!(matches!(store.adopt(&outputs, ContentHash::of(b"never")), Err(StoreError::Missing(_))));
    // An existing file is put again, because it may be about to be removed.
    apart.put(b"input").expect("puts");
    store.remove(input.hash).expect("removes");
    store.adopt(&outputs, input.hash).expect("adopts");
    assert_eq!(store.get(input.hash).expect("gets"), b"input");
    store.remove_drafts().expect("removes");
    assert!(!outputs.exists());
    assert!(matches!(apart.get(unreported.hash), Err(StoreError::Missing(_))));
}

#[test]
fn files_are_listed_and_what_else_lies_there_is_not() {
    let (folder, store) = store();
    let whole = store.put(b"whole").expect("puts");
    let partial = Artifact { hash: ContentHash::of(b"partial"), size: 7 };
    store.upload(partial, 0).and_then(|mut upload| upload.write(b"part")).expect("writes");
    let begun_again = Artifact { hash: whole.hash, size: 5 };
    store.upload(begun_again, 0).and_then(|mut upload| upload.write(b"wh")).expect("writes");
    for name in ["lock", "ab", "incoming/note", "incoming/x.1.2"] {
        fs::write(folder.path().join(name), "a person's").expect("writes");
    }
    fs::create_dir(folder.path().join("cd")).expect("makes a folder");
    fs::write(folder.path().join("cd").join(whole.hash.to_string()), "in the wrong place").expect("writes");
    let listed = |files: Vec<Stored>| {
        let mut files: Vec<_> = files.into_iter().map(|file| (file.whole, file.hash, file.size)).collect();
        files.sort_unstable();
        files
    };
    let mut all = vec![(true, whole.hash, 5), (false, partial.hash, 4), (false, whole.hash, 2)];
    all.sort_unstable();
    assert_eq!(listed(store.files().expect("lists")), all);
    assert_eq!(listed(store.kept(whole.hash).expect("looks")), [(false, whole.hash, 2), (true, whole.hash, 5)]);
    store.remove(whole.hash).expect("removes both");
    store.remove(whole.hash).expect("nothing is there to remove");
    assert_eq!(listed(store.files().expect("lists")), [(false, partial.hash, 4)]);
}

#[test]
fn what_is_put_or_touched_is_young() {
    let (_folder, store) = store();
    let age = |hash| store.kept(hash).expect("looks")[0].modified;
    let long_ago = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    let before = SystemTime::now();
    let artifact = store.put(b"bytes").expect("puts");
    assert_eq!(store.touch(artifact.hash, long_ago).expect("touches"), Some(artifact));
    assert_eq!(age(artifact.hash), long_ago);
    store.put(b"bytes").expect("puts what is there");
    assert!(age(artifact.hash) >= before);
    // All bytes arrived long ago, but only now it is complete.
    store.remove(artifact.hash).expect("removes");
    store.upload(artifact, 0).and_then(|mut upload| upload.write(b"bytes")).expect("writes");
    let partial = File::open(store.place.partial_path(artifact.hash)).expect("is there");
    partial.set_modified(long_ago).expect("sets the time");
    store.upload(artifact, 5).and_then(Upload::finish).expect("is whole");
    assert!(age(artifact.hash) >= before);
    assert_eq!(store.touch(ContentHash::of(b"never"), before).expect("looks"), None);
}

#[test]
fn an_upload_has_its_hash_to_itself() {
    let (_folder, store) = store();
    let artifact = Artifact { hash: ContentHash::of(b"bytes"), size: 5 };
    let other = Artifact { hash: ContentHash::of(b"other"), size: 5 };
    let upload = store.upload(artifact, 0).expect("begins");
    assert!(matches!(store.upload(artifact, 0), Err(StoreError::Busy(busy)) if busy == artifact.hash));
    let _other = store.upload(other, 0).expect("is another file");
    drop(upload);
    let mut upload = store.upload(artifact, 0).expect("begins anew");
    upload.write(b"bytes").expect("writes");
    upload.finish().expect("is whole");
    store.upload(artifact, 0).expect("may come again");
}

/// Verifying a file of many gigabytes takes minutes. Here it takes until another task has run, which shares the
/// runtime's only thread.
#[cfg(unix)]
#[tokio::test(flavor = "multi_thread", worker_threads = 1)]
async fn a_file_that_is_checked_keeps_no_other_task_waiting() {
    let (folder, store) = store();
    let artifact = Artifact { hash: ContentHash::of(b"bytes"), size: 5 };
    let mut upload = store.upload(artifact, 0).expect("begins");
    upload.write(b"bytes").expect("writes");
    // Reading a pipe blocks until somebody has written to it. A file replaces it once it is read.
    let (pipe, path) = (folder.path().join("pipe"), store.place.partial_path(artifact.hash));
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().expect("runs");
    assert!(made.success());
    fs::rename(&pipe, &path).expect("takes its place");
    let (begins, has_begun) = tokio::sync::oneshot::channel();
    let checked = tokio::spawn(async move {
        begins.send(()).expect("is waited for");
        upload.complete().await
    });
    has_begun.await.expect("begins");
    let other = tokio::spawn(async {});
    let ran = tokio::time::timeout(std::time::Duration::from_secs(60), other).await.is_ok();
    let mut writes = fs::OpenOptions::new().write(true).open(&path).expect("somebody reads it");
    fs::write(folder.path().join("file"), b"bytes").expect("writes");
    fs::rename(folder.path().join("file"), &path).expect("takes its place");
    writes.write_all(b"bytes").expect("writes");
    drop(writes);
    assert!(ran, "the other task waited for the file");
    checked.await.expect("ends").expect("is whole");
}
