//! Collections compared with a model, and with concurrent touches.

use std::{
    fs::File,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use proptest::prelude::*;
use secateur_proto::outcome::Artifact;
use secateur_worker::store::{Durability, Store};

use super::*;

const HOUR: Duration = Duration::from_secs(3600);

fn store() -> (tempfile::TempDir, Arc<Store>) {
    let folder = tempfile::tempdir().expect("a folder");
    let store = Store::open(folder.path(), Durability::Cached).expect("opens");
    (folder, Arc::new(store))
}

/// All removed files, and counts of those that are kept.
fn collect<T>(
    store: &Arc<Store>,
    listed: &[Stored],
    referred: &HashSet<ContentHash>,
    collection: Collection,
    turn: impl Fn(ContentHash) -> Option<T>,
) -> (Vec<Stored>, KeptFiles) {
    let store = ArtifactStore::Files(Arc::clone(store));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(async {
        let mut removal = Removal::new(&store, listed.to_vec(), referred.clone(), collection);
        let mut gone = Vec::new();
        while let Some(file) = removal.next(&turn).await.expect("collects") {
            gone.push(file);
        }
        (gone, removal.kept())
    })
}

/// A file of the tests, as it is before a collection.
#[derive(Debug, Clone, Copy)]
struct Given {
    whole: bool,
    hours: u32,
    referred: bool,
    uploading: bool,
}

fn given() -> impl Strategy<Value = Given> {
    (any::<bool>(), 0..6_u32, any::<bool>(), any::<bool>()).prop_map(|(whole, hours, referred, uploading)| Given {
        whole,
        hours,
        referred,
        uploading,
    })
}

fn age(store: &Store, hash: ContentHash, whole: bool, hours: u32) {
    let path = if whole { store.path(hash) } else { store.root().join("incoming").join(hash.to_string()) };
    let modified = SystemTime::now() - HOUR * hours;
    File::open(path).and_then(|file| file.set_modified(modified)).expect("sets the time");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn exactly_the_old_files_go_that_nobody_needs(files in proptest::collection::vec(given(), 0..12), grace in 0..6_u32) {
        let (_folder, store) = store();
        let mut referred = HashSet::new();
        let mut uploading = HashSet::new();
        let mut expected = HashSet::new();
        let mut kept = KeptFiles::default();
        for (number, given) in files.iter().enumerate() {
            let bytes = vec![number as u8; number + 1];
            let artifact = Artifact { hash: ContentHash::of(&bytes), size: bytes.len() as u64 };
            if given.whole {
                store.put(&bytes).expect("puts");
            } else {
                store.upload(artifact, 0).and_then(|mut upload| upload.write(&bytes[..number])).expect("writes");
            }
            age(&store, artifact.hash, given.whole, given.hours);
            if given.referred {
                referred.insert(artifact.hash);
            }
            if given.uploading {
                uploading.insert(artifact.hash);
            }
            let size = if given.whole { artifact.size } else { number as u64 };
            let needed = if given.whole { given.referred } else { given.uploading };
            // Half an hour more, so that no age is at the limit.
            if !needed && given.hours > grace {
                expected.insert((artifact.hash, size));
                continue;
            }
            let count = if given.whole && given.referred { &mut kept.referred } else { &mut kept.young };
            count.files += 1;
            count.bytes += size;
        }
        let listed = store.files().expect("lists");
        prop_assert_eq!(listed.len(), files.len());
        let turn = |hash: ContentHash| (!uploading.contains(&hash)).then_some(());
        for dry_run in [true, true, false] {
            let collection = Collection::after(HOUR * grace + HOUR / 2, dry_run).expect("a time");
            let (gone, found) = collect(&store, &listed, &referred, collection, turn);
            let told: HashSet<_> = gone.iter().map(|file| (file.hash, file.size)).collect();
            prop_assert_eq!((gone.len(), &told), (expected.len(), &expected));
            prop_assert_eq!(found, kept);
            let left = store.files().expect("lists").len();
            prop_assert_eq!(left, if dry_run { files.len() } else { files.len() - expected.len() });
        }
        // The list is old now: files that are gone are not listed again.
        let collection = Collection::after(HOUR * grace + HOUR / 2, false).expect("a time");
        let (twice, _) = collect(&store, &listed, &referred, collection, turn);
        prop_assert_eq!(twice, []);
    }
}

#[test]
fn what_is_touched_after_it_was_listed_stays() {
    let (_folder, store) = store();
    let [asked_for, put_again, forgotten] = [b"asked", b"again", b"never"].map(|bytes| store.put(bytes).expect("puts"));
    for artifact in [asked_for, put_again, forgotten] {
        age(&store, artifact.hash, true, 48);
    }
    let listed = store.files().expect("lists");
    store.touch(asked_for.hash, SystemTime::now()).expect("touches");
    store.put(b"again").expect("puts");
    let collection = Collection::after(HOUR * 24, false).expect("a time");
    let (gone, _) = collect(&store, &listed, &HashSet::new(), collection, |_| Some(()));
    assert_eq!(gone.iter().map(|file| file.hash).collect::<Vec<_>>(), [forgotten.hash]);
    assert_eq!(store.get(asked_for.hash).expect("is there"), b"asked");
    assert_eq!(store.get(put_again.hash).expect("is there"), b"again");
}

/// A file that is found by a touch exists afterwards, however collection and touch interleave.
#[test]
fn a_file_is_not_found_and_then_gone() {
    let (_folder, store) = store();
    let done = AtomicBool::new(false);
    let collection = Collection::after(HOUR, false).expect("a time");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                let listed = store.files().expect("lists");
                collect(&store, &listed, &HashSet::new(), collection, |_| Some(()));
            }
        });
        let (mut found, mut gone) = (0, 0);
        for round in 0.. {
            let artifact = store.put(b"wanted").expect("puts");
            age(&store, artifact.hash, true, 2);
            if store.touch(artifact.hash, SystemTime::now()).expect("asks").is_some() {
                assert_eq!(store.get(artifact.hash).expect("it was said to be there"), b"wanted");
                found += 1;
            } else {
                gone += 1;
            }
            if (found > 500 && gone > 5) || round > 100_000 {
                break;
            }
        }
        done.store(true, Ordering::Relaxed);
        assert!(found > 0 && gone > 0, "found {found} times, gone {gone} times: the two never met");
    });
}

#[test]
fn a_grace_longer_than_time_is_refused() {
    assert!(Collection::after(Duration::MAX, false).is_none());
}
