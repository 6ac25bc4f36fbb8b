//! The cache compared with a model, and with many concurrent leases.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::store::{Durability, Stored};

/// The content of a test file: one byte, repeated.
fn bytes(number: usize) -> Vec<u8> {
    vec![number as u8; [0, 7, 20, 30, 31, 40, 60, 90][number]]
}

fn artifact(number: usize) -> Artifact {
    let bytes = bytes(number);
    Artifact { hash: ContentHash::of(&bytes), size: bytes.len() as u64 }
}

fn open(folder: &Path, bound: Option<u64>) -> Arc<Cache> {
    let store = Store::open(folder, Durability::Cached).expect("opens");
    store.remove_drafts().expect("removes");
    Arc::new(Cache::open(Arc::new(store), bound).expect("opens"))
}

/// Uploads what is missing of a file, up to `until` bytes.
fn write(store: &Store, number: usize, until: usize) {
    let (artifact, bytes) = (artifact(number), bytes(number));
    let offset = store.partial_size(artifact.hash).expect("looks");
    let mut upload = store.upload(artifact, offset).expect("begins");
    upload.write(&bytes[(offset as usize).min(until)..until]).expect("writes");
    if until == bytes.len() {
        upload.finish().expect("finishes");
    }
}

fn whole(store: &Store, number: usize) -> bool {
    store.stat(artifact(number).hash).expect("looks").is_some()
}

#[derive(Debug, Clone)]
enum Action {
    Hold(Vec<usize>),
    /// A lease fetches one of its inputs, or a part of it.
    Fetch {
        lease: usize,
        input: usize,
        until: usize,
    },
    /// The executor of a lease makes a file, and reports it or not.
    Make {
        lease: usize,
        number: usize,
        reported: bool,
    },
    End {
        lease: usize,
    },
    /// The worker restarts, perhaps with another limit.
    Restart {
        bound: u64,
    },
}

fn action() -> impl Strategy<Value = Action> {
    let small = 0..16_usize;
    prop_oneof![
        4 => proptest::collection::vec(0..8_usize, 0..4).prop_map(Action::Hold),
        4 => (small.clone(), small.clone(), 0..100_usize)
            .prop_map(|(lease, input, until)| Action::Fetch { lease, input, until }),
        2 => (small.clone(), 0..8_usize, any::<bool>())
            .prop_map(|(lease, number, reported)| Action::Make { lease, number, reported }),
        3 => small.prop_map(|lease| Action::End { lease }),
        1 => (50..150_u64).prop_map(|bound| Action::Restart { bound }),
    ]
}

/// A lease: its executor's folder, its inputs, and the files it holds.
struct Lease {
    outputs: std::path::PathBuf,
    inputs: Vec<usize>,
    held: Held,
}

/// The expected content of the disk: by hash and whether it is complete, the size and the last use.
type Disk = BTreeMap<(ContentHash, bool), (u64, SystemTime)>;

fn disk(store: &Store) -> Disk {
    let row = |file: Stored| ((file.hash, file.whole), (file.size, file.modified));
    store.files().expect("lists").into_iter().map(row).collect()
}

/// What is removed if `held` must be kept: the least recently used first, one by one, until the rest fits.
fn evicted(mut disk: Disk, held: &BTreeMap<ContentHash, u64>, bound: u64) -> Disk {
    loop {
        let mut unheld: BTreeMap<ContentHash, (u64, SystemTime)> = BTreeMap::new();
        for ((hash, _), (size, used)) in disk.iter().filter(|((hash, _), _)| !held.contains_key(hash)) {
            // A file and a partial upload of it are removed together.
            let sum = unheld.entry(*hash).or_insert((0, *used));
            *sum = (sum.0 + size, sum.1.max(*used));
        }
        let total: u64 = held.values().sum::<u64>() + unheld.values().map(|(size, _)| size).sum::<u64>();
        let Some((&oldest, _)) = unheld.iter().min_by_key(|(hash, (_, used))| (*used, **hash)) else { return disk };
        if total <= bound {
            return disk;
        }
        disk.retain(|(hash, _), _| *hash != oldest);
    }
}

fn held_by(leases: &[Lease]) -> BTreeMap<ContentHash, u64> {
    leases.iter().flat_map(|lease| lease.held.files.iter().map(|file| (file.hash, file.size))).collect()
}

/// Names and sizes; times differ for files that were used meanwhile.
fn names(disk: &Disk) -> BTreeSet<(ContentHash, bool, u64)> {
    disk.iter().map(|((hash, whole), (size, _))| (*hash, *whole, *size)).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_held_stays_and_the_longest_unused_goes(actions in proptest::collection::vec(action(), 0..60)) {
        let folder = tempfile::tempdir().expect("a folder");
        let mut bound = 100;
        let mut cache = open(folder.path(), Some(bound));
        let mut leases: Vec<Lease> = Vec::new();
        for action in actions {
            let before = disk(cache.store());
            let mut expected = before.clone();
            match action {
                Action::Hold(numbers) => {
                    let wanted: BTreeMap<_, _> = numbers.iter().map(|number| (artifact(*number).hash, artifact(*number).size)).collect();
                    let mut held = held_by(&leases);
                    held.extend(&wanted);
                    let fits = held.values().sum::<u64>() <= bound;
                    let got = cache.try_hold(&wanted).expect("no file system fails");
                    prop_assert_eq!(got.is_some(), fits, "{:?} {:?}", wanted, held);
                    if let Some(got) = got {
                        expected = evicted(expected, &held, bound);
                        let outputs = Store::make_outputs(folder.path()).expect("makes a folder");
                        leases.push(Lease { outputs, inputs: numbers, held: got });
                        // Complete files among them count as just used.
                        let now = disk(cache.store());
                        let last_other = now.iter().filter(|((hash, _), _)| !wanted.contains_key(hash)).map(|(_, (_, used))| *used).max();
                        let used = now.iter().filter(|((hash, whole), _)| *whole && wanted.contains_key(hash)).map(|(_, (_, used))| *used);
                        for used in used {
                            prop_assert!(last_other.is_none_or(|other| used > other));
                        }
                    }
                }
                Action::Fetch { lease, input, until } if !leases.is_empty() => {
                    let at = lease % leases.len();
                    let inputs = &leases[at].inputs;
                    if let Some(number) = (!inputs.is_empty()).then(|| inputs[input % inputs.len()])
                        && !whole(cache.store(), number)
                    {
                        let hash = artifact(number).hash;
                        let size = artifact(number).size as usize;
                        let begun = cache.store().partial_size(hash).expect("looks") as usize;
                        let until = until.clamp(begun, size);
                        write(cache.store(), number, until);
                        expected.remove(&(hash, false));
                        expected.insert((hash, until == size), (until as u64, SystemTime::now()));
                    }
                }
                Action::Make { lease, number, reported } if !leases.is_empty() => {
                    let at = lease % leases.len();
                    let outputs = leases[at].outputs.clone();
                    let executor = Store::open(folder.path(), Durability::Cached).expect("opens").with_outputs(outputs.clone());
                    let made = executor.put(&bytes(number)).expect("puts");
                    if reported {
                        leases[at].held.adopt(Some(&outputs), made).expect("adopts");
                        expected.insert((made.hash, true), (made.size, SystemTime::now()));
                        expected = evicted(expected, &held_by(&leases), bound);
                    }
                    prop_assert_eq!(executor.get(made.hash).expect("reads it back"), bytes(number));
                }
                Action::End { lease } if !leases.is_empty() => {
                    let ended = leases.swap_remove(lease % leases.len());
                    drop(ended);
                    expected = evicted(expected, &held_by(&leases), bound);
                }
                Action::Restart { bound: other } => {
                    for lease in std::mem::take(&mut leases) {
                        drop(lease);
                        expected = evicted(expected, &held_by(&leases), bound);
                    }
                    expected = evicted(disk(cache.store()), &BTreeMap::new(), other);
                    bound = other;
                    drop(cache);
                    cache = open(folder.path(), Some(bound));
                }
                Action::Fetch { .. } | Action::Make { .. } | Action::End { .. } => {}
            }
            let now = disk(cache.store());
            prop_assert_eq!(names(&now), names(&expected));
            // The cache's count equals that of the disk, with held files at their complete size.
            let held = held_by(&leases);
            let unheld: u64 = now.iter().filter(|((hash, _), _)| !held.contains_key(hash)).map(|(_, (size, _))| size).sum();
            let index = cache.lock();
            prop_assert_eq!(index.held, u128::from(held.values().sum::<u64>()));
            prop_assert_eq!(index.total, index.held + u128::from(unheld));
            prop_assert!(index.total <= u128::from(bound) || unheld == 0);
        }
    }
}

#[test]
fn what_was_used_last_is_known_after_a_restart_even_if_the_clock_went_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = open(folder.path(), Some(200));
    for number in 1..6 {
        cache.store().put(&bytes(number)).expect("puts");
    }
    // The fifth was used at a time in the future.
    let later = SystemTime::now() + Duration::from_secs(3600);
    cache.store().touch(artifact(5).hash, later).expect("touches");
    drop(cache);
    let cache = open(folder.path(), Some(200));
    let use_it = |number| {
        let file = artifact(number);
        drop(cache.try_hold(&BTreeMap::from([(file.hash, file.size)])).expect("holds"));
    };
    use_it(2);
    use_it(1);
    drop(cache);
    // 7, 20 and 40 bytes fit into 70.
    let cache = open(folder.path(), Some(70));
    let left: Vec<usize> = (1..6).filter(|number| whole(cache.store(), *number)).collect();
    assert_eq!(left, [1, 2, 5]);
    drop(cache);
    let cache = open(folder.path(), Some(10));
    let left: Vec<usize> = (1..6).filter(|number| whole(cache.store(), *number)).collect();
    assert_eq!(left, [1]);
}

#[tokio::test]
async fn inputs_that_can_never_fit_are_refused_with_what_to_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = open(folder.path(), Some(100));
    let kept = cache.store().put(&bytes(1)).expect("puts");
    let error = cache.hold([artifact(6), artifact(5), artifact(6), artifact(1)]).await.expect_err("107 bytes");
    let message = error.to_string();
    assert!(message.contains("107 B") && message.contains("100 B") && message.contains("--cache-size"), "{message}");
    assert!(whole(cache.store(), 1), "{kept:?} went for nothing");
    let lie = Artifact { size: u64::MAX, ..artifact(1) };
    cache.hold([lie, Artifact { size: u64::MAX, ..artifact(2) }]).await.expect_err("a peer's nonsense");
    // Without a limit nothing is refused, and nothing is counted wrongly.
    let unlimited = open(folder.path(), None);
    drop(unlimited.hold([lie, Artifact { size: u64::MAX, ..artifact(2) }]).await.expect("holds"));
    let index = unlimited.lock();
    assert_eq!((index.total, index.files.len()), (0, 0));
    drop(index);
    assert!(whole(unlimited.store(), 1));
}

#[tokio::test]
async fn a_lease_waits_for_room_and_is_not_passed_by_others() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = open(folder.path(), Some(100));
    let first = cache.hold([artifact(6)]).await.expect("holds 60");
    let second = cache.hold([artifact(3)]).await.expect("holds 30");
    let (order, mut came) = tokio::sync::mpsc::unbounded_channel();
    let mut waiting = Vec::new();
    for (name, number) in [("large", 7), ("small", 1)] {
        let (cache, order) = (Arc::clone(&cache), order.clone());
        waiting.push(tokio::spawn(async move {
            let held = cache.hold([artifact(number)]).await.expect("holds in the end");
            order.send(name).expect("somebody listens");
            held
        }));
        // It is in the queue before the next one.
        tokio::task::yield_now().await;
    }
    drop(first);
    tokio::task::yield_now().await;
    assert!(came.try_recv().is_err(), "90 bytes fit beside 30, and the small one has waited for its turn");
    drop(second);
    assert_eq!(came.recv().await, Some("large"));
    // 7 bytes fit beside 90.
    assert_eq!(came.recv().await, Some("small"));
    for task in waiting {
        drop(task.await.expect("ends"));
    }
    assert_eq!(cache.lock().held, 0);
}

/// Leases of all sizes on several threads: each can read what it holds, whatever the others make space for.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_goes_while_a_lease_reads_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let cache = open(folder.path(), Some(120));
    let tasks = (0..8_usize).map(|task| {
        let (cache, folder) = (Arc::clone(&cache), folder.path().to_owned());
        tokio::spawn(async move {
            for round in 0..100 {
                let numbers = [(task * 5 + round) % 7, (task + round * 3) % 7];
                let mut held = cache.hold(numbers.map(artifact)).await.expect("fits");
                for number in numbers {
                    let turn = Arc::clone(&cache.lock().files[&artifact(number).hash].turn);
                    let _turn = turn.lock().await;
                    if !whole(cache.store(), number) {
                        write(cache.store(), number, bytes(number).len());
                    }
                }
                let outputs = Store::make_outputs(&folder).expect("makes a folder");
                let executor = Store::open(&folder, Durability::Cached).expect("opens").with_outputs(outputs.clone());
                tokio::task::yield_now().await;
                for number in numbers {
                    assert_eq!(executor.get(artifact(number).hash).expect("is there"), bytes(number));
                }
                let output = (task + round) % 7;
                let made = executor.put(&bytes(output)).expect("puts");
                tokio::task::yield_now().await;
                held.adopt(Some(&outputs), made).expect("adopts");
                tokio::task::yield_now().await;
                assert_eq!(cache.store().get(made.hash).expect("is there to be uploaded"), bytes(output));
                assert_eq!(executor.get(made.hash).expect("is there for its executor"), bytes(output));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("every read is whole");
    }
    let index = cache.lock();
    let on_disk: u64 = disk(cache.store()).values().map(|(size, _)| size).sum();
    assert_eq!((index.held, index.total), (0, u128::from(on_disk)));
    assert!(on_disk <= 120);
}
