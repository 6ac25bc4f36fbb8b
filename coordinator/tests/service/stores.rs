//! What the services rely on of artifacts, in a folder and in a bucket: one suite for both, against a real server for S3's protocol.

use std::{
    fs::{self, File},
    path::PathBuf,
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::common::{
    self,
    s3::{self, S3},
};
use futures::TryStreamExt as _;
use secateur::artifacts::{ArtifactError, ArtifactStore, Bucket, Remote, Trouble};
use secateur_proto::{ids::ContentHash, outcome::Artifact};
use secateur_worker::{
    direct::{Direct, DirectError},
    store::{Durability, Store, StoreError, Stored},
};
use tempfile::TempDir;

const HOUR: Duration = Duration::from_secs(3600);

/// A store of either kind, and where its files are on the disk.
struct Lab {
    store: ArtifactStore,
    files: PathBuf,
    folder: TempDir,
    server: Option<S3>,
}

impl Lab {
    fn files() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Store::open(folder.path(), Durability::Cached).expect("opens");
        Self { store: ArtifactStore::Files(Arc::new(store)), files: folder.path().to_owned(), folder, server: None }
    }

    /// Nothing where there is no server.
    fn bucket() -> Option<Self> {
        let server = S3::start()?;
        let folder = tempfile::tempdir().expect("a folder");
        Some(Self { store: bucket(&server, &folder), files: server.place(), folder, server: Some(server) })
    }

    fn both() -> impl Iterator<Item = Self> {
        [Some(Self::files()), Self::bucket()].into_iter().flatten()
    }

    fn path(&self, hash: ContentHash) -> PathBuf {
        let name = hash.to_string();
        self.files.join(&name[..2]).join(name)
    }

    /// Uploads from `offset` on, up to `until`, and keeps it if that is all.
    async fn upload(&self, bytes: &[u8], offset: usize, until: usize) -> Result<(), ArtifactError> {
        let artifact = artifact(bytes);
        let mut upload = self.store.incoming().upload(artifact, offset as u64)?;
        upload.write(&bytes[offset..until])?;
        upload.finish()?;
        self.store.keep(artifact).await
    }

    async fn put(&self, bytes: &[u8]) -> Artifact {
        self.upload(bytes, 0, bytes.len()).await.expect("is kept");
        artifact(bytes)
    }

    async fn read(&self, hash: ContentHash, offset: u64) -> Result<Vec<u8>, ArtifactError> {
        let pieces: Vec<Vec<u8>> = self.store.read(hash, offset).await?.try_collect().await?;
        Ok(pieces.concat())
    }

    /// As a process that starts finds it.
    fn started_again(self) -> Self {
        let store = match (&self.store, &self.server) {
            (ArtifactStore::Bucket(_), Some(server)) => bucket(server, &self.folder),
            (store, _) => store.clone(),
        };
        Self { store, ..self }
    }

    fn age(&self, hash: ContentHash, hours: u32) {
        let file = File::open(self.path(hash)).expect("is there");
        file.set_modified(SystemTime::now() - HOUR * hours).expect("sets the time");
    }
}

fn bucket(server: &S3, folder: &TempDir) -> ArtifactStore {
    let url = server.url().parse().expect("a bucket");
    let remote = Remote::open(url, None, &server.environment()).expect("opens");
    let spool = Store::open(folder.path(), Durability::Cached).expect("opens");
    ArtifactStore::Bucket(Arc::new(Bucket::new(remote, spool)))
}

fn artifact(bytes: &[u8]) -> Artifact {
    Artifact { hash: ContentHash::of(bytes), size: bytes.len() as u64 }
}

fn is_missing<T>(result: &Result<T, ArtifactError>) -> bool {
    matches!(result, Err(ArtifactError::Store(StoreError::Missing(_))))
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_is_whole_and_what_is_read_is_checked() {
    // Put in one piece, in several parts, and with nothing in it.
    let large: Vec<u8> = (0..20_000_000_u32).map(|number| (number.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    for lab in Lab::both() {
        for bytes in [b"small".as_slice(), &large, b""] {
            let Artifact { hash, size } = artifact(bytes);
            assert_eq!(lab.store.touch(hash).await.expect("asks"), None);
            assert!(is_missing(&lab.store.get(hash).await) && is_missing(&lab.read(hash, 0).await));
            assert!(is_missing(&lab.read(hash, 3).await));
            let half = bytes.len() / 2;
            if half > 0 {
                let cut = lab.upload(bytes, 0, half).await;
                assert!(matches!(cut, Err(ArtifactError::Store(StoreError::WrongSize { .. }))), "{cut:?}");
                assert_eq!(lab.store.partial_size(hash).expect("looks"), half as u64);
                assert_eq!(lab.store.touch(hash).await.expect("asks"), None, "half of it is nothing");
            }
            lab.upload(bytes, half, bytes.len()).await.expect("goes on");
            assert_eq!(lab.store.touch(hash).await.expect("asks"), Some(Artifact { hash, size }));
            assert_eq!(lab.store.partial_size(hash).expect("looks"), 0);
            assert!(lab.store.get(hash).await.expect("reads") == bytes);
            for offset in [0, half, bytes.len().saturating_sub(1), bytes.len()] {
                let read = lab.read(hash, offset as u64).await.expect("reads");
                assert!(read == bytes[offset..], "from {offset}: {} bytes", read.len());
            }
            // Again, as if the answer had been lost.
            lab.upload(bytes, 0, bytes.len()).await.expect("is kept");
        }
        let listed = lab.store.files().await.expect("lists");
        let mut sizes: Vec<_> = listed.iter().map(|file| (file.whole, file.size)).collect();
        sizes.sort_unstable();
        assert_eq!(sizes, [(true, 0), (true, 5), (true, 20_000_000)]);
        assert!(listed.iter().all(|file| file.modified.elapsed().is_ok_and(|age| age < HOUR)));
        // Nothing is left where uploads arrive, and other things that lie there are not ours.
        if matches!(lab.store, ArtifactStore::Bucket(_)) {
            assert!(!common::files(lab.folder.path()).values().any(Option::is_some));
        }
        fs::write(lab.files.join("README"), "not a hash").expect("writes");
        assert_eq!(lab.store.files().await.expect("lists").len(), 3);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_what_its_name_says_is_not_held() {
    for lab in Lab::both() {
        let expected = artifact(b"expected");
        let mut upload = lab.store.incoming().upload(expected, 0).expect("begins");
        upload.write(b"anything").expect("writes");
        assert!(matches!(upload.finish(), Err(StoreError::Damaged { .. })));
        assert_eq!(lab.store.touch(expected.hash).await.expect("asks"), None);
        assert_eq!(lab.store.partial_size(expected.hash).expect("looks"), 0, "it starts anew");
        // Damaged where it lies: found by whoever reads all of it, at once or piece by piece, and gone then.
        for in_pieces in [false, true] {
            lab.put(b"expected").await;
            fs::write(lab.path(expected.hash), b"anything").expect("writes");
            let whole = async || lab.store.get(expected.hash).await;
            let damaged = if in_pieces { lab.read(expected.hash, 0).await } else { whole().await };
            assert!(matches!(damaged, Err(ArtifactError::Store(StoreError::Damaged { .. }))), "{damaged:?}");
            assert!(is_missing(&whole().await));
        }
        lab.put(b"expected").await;
        assert_eq!(lab.store.get(expected.hash).await.expect("is there again"), b"expected");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_goes_unless_it_was_touched_since() {
    for lab in Lab::both() {
        let [old, young, touched, gone] = [b"old--", b"young", b"touch", b"gone-"].map(|bytes| artifact(bytes));
        for bytes in [b"old--", b"young", b"touch", b"gone-"] {
            lab.put(bytes).await;
        }
        lab.upload(b"cut off", 0, 3).await.expect_err("bytes are missing");
        let before = SystemTime::now() - HOUR * 24;
        for artifact in [old, touched, gone] {
            lab.age(artifact.hash, 48);
        }
        // A coordinator that puts a file has touched it; one that started since has not.
        let lab = lab.started_again();
        let listed = lab.store.files().await.expect("lists");
        assert_eq!(listed.len(), 5);
        let listed = |artifact: Artifact| *listed.iter().find(|file| file.hash == artifact.hash).expect("is listed");
        assert!(listed(old).modified < before && listed(young).modified > before);
        assert!(!listed(self::artifact(b"cut off")).whole);
        assert_eq!(lab.store.touch(touched.hash).await.expect("asks"), Some(touched));
        fs::remove_file(lab.path(gone.hash)).expect("removes");
        for (file, removed) in [(old, true), (young, false), (touched, false), (gone, false), (old, false)] {
            let file = listed(file);
            assert_eq!(lab.store.remove_old(&file, before).await.expect("removes"), removed, "{file:?}");
        }
        let cut = listed(self::artifact(b"cut off"));
        assert!(!lab.store.remove_old(&cut, before).await.expect("is young"));
        assert!(lab.store.remove_old(&cut, SystemTime::now() + HOUR).await.expect("is old"));
        assert_eq!(lab.store.partial_size(cut.hash).expect("looks"), 0);
        assert_eq!(lab.store.touch(old.hash).await.expect("asks"), None);
        assert_eq!(lab.store.get(touched.hash).await.expect("stays"), b"touch");
        lab.put(b"old--").await;
        assert_eq!(lab.store.get(old.hash).await.expect("came again"), b"old--");
    }
}

/// Whoever is told that a file is there finds it there, however the removal and the question fall.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_file_is_not_found_and_then_gone() {
    for lab in Lab::both() {
        let (mut stayed, mut went) = (0, 0);
        for round in 0..2000 {
            let bytes = format!("wanted {round}").into_bytes();
            let Artifact { hash, size } = artifact(&bytes);
            // Past the store, which does not know that it is young.
            let path = lab.path(hash);
            fs::create_dir_all(path.parent().expect("a folder")).expect("makes it");
            fs::write(&path, &bytes).expect("writes");
            lab.age(hash, 2);
            let (remover, asker) = (lab.store.clone(), lab.store.clone());
            let file = Stored { hash, size, whole: true, modified: SystemTime::UNIX_EPOCH };
            let before = SystemTime::now() - HOUR;
            let remove = async move { remover.remove_old(&file, before).await.expect("removes") };
            let ask = async move { asker.touch(hash).await.expect("asks").is_some() };
            // Now one has the start, now the other: where it decides, both ends are seen all the same.
            let (removing, asking) = if round % 2 == 0 {
                let removing = tokio::spawn(remove);
                (removing, tokio::spawn(ask))
            } else {
                let asking = tokio::spawn(ask);
                (tokio::spawn(remove), asking)
            };
            let (removed, found) = (removing.await.expect("ends"), asking.await.expect("ends"));
            assert_ne!(removed, found, "round {round}");
            assert_eq!(lab.store.get(hash).await.is_ok(), found, "round {round}");
            stayed += u32::from(found);
            went += u32::from(removed);
            if stayed > 20 && went > 20 {
                break;
            }
        }
        assert!(stayed > 0 && went > 0, "{stayed} stayed, {went} went: the two never met");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_put_at_an_address_is_checked_before_it_counts() {
    let Some(lab) = Lab::bucket() else { return };
    let direct = Direct::new().expect("certificates");
    let put = async |bytes: &'static [u8], meant: Artifact| {
        let address = lab.store.address_to_put(meant).await.expect("signs").expect("has addresses");
        direct.put(address.try_into().expect("an address"), bytes.len() as u64, bytes).await
    };
    let get = async |hash: ContentHash, offset: u64, forge: &dyn Fn(String) -> String| {
        let mut address = lab.store.address_to_read(hash).await.expect("signs").expect("has addresses");
        address.url = forge(address.url);
        let mut pieces = direct.get(address.try_into().expect("an address"), offset).await?;
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await? {
            bytes.extend(piece);
        }
        Ok::<_, DirectError>(bytes)
    };
    let good = artifact(b"a good file");
    assert!(is_missing(&lab.store.take_over(good).await), "nothing was put there");
    put(b"a bad file!", good).await.expect("arrives");
    assert_eq!(lab.store.touch(good.hash).await.expect("asks"), None, "nobody has looked at it");
    let bad = lab.store.take_over(good).await;
    assert!(matches!(bad, Err(ArtifactError::Store(StoreError::Damaged { .. }))), "{bad:?}");
    put(b"a long bad file", good).await.expect("what was refused is gone");
    let bad = lab.store.take_over(good).await;
    assert!(matches!(bad, Err(ArtifactError::Store(StoreError::WrongSize { .. }))), "{bad:?}");
    assert_eq!(lab.store.touch(good.hash).await.expect("asks"), None);
    // What lies there stays as it is until it was looked at.
    put(b"a good file", good).await.expect("arrives");
    put(b"a bad file!", good).await.expect("counts as put, and is not");
    lab.store.take_over(good).await.expect("is what it should be");
    assert_eq!(lab.store.touch(good.hash).await.expect("asks"), Some(good));
    assert_eq!(lab.store.get(good.hash).await.expect("reads"), b"a good file");
    // Again, by another worker, or since the answer was lost.
    lab.store.take_over(good).await.expect("is held");
    put(b"a bad file!", good).await.expect("arrives");
    lab.store.take_over(good).await.expect("is held, and what arrived is dropped");
    let left: Vec<_> =
        lab.store.files().await.expect("lists").into_iter().map(|file| (file.hash, file.whole)).collect();
    assert_eq!(left, [(good.hash, true)]);

    // An address opens for one object, one method and as long as it says.
    assert_eq!(get(good.hash, 0, &|url| url).await.expect("reads"), b"a good file");
    assert_eq!(get(good.hash, 7, &|url| url).await.expect("reads"), b"file");
    let other = lab.put(b"another file").await;
    let (this, that) = (good.hash.to_string(), other.hash.to_string());
    let forgeries: [&dyn Fn(String) -> String; 3] = [
        &|url| url.replace(&format!("/{}/", &this[..2]), &format!("/{}/", &that[..2])).replace(&this, &that),
        &|url| url.replace("X-Amz-Expires=900", "X-Amz-Expires=90000"),
        &|url| url.split('?').next().expect("a path").to_owned(),
    ];
    for forge in forgeries {
        let refused = get(good.hash, 0, forge).await;
        assert!(matches!(refused, Err(DirectError::Refused(status)) if status == 403), "{refused:?}");
    }
    let mut address = lab.store.address_to_read(good.hash).await.expect("signs").expect("has addresses");
    address.headers.clear();
    let bytes = b"a bad file!".as_slice();
    let refused = direct.put(address.try_into().expect("an address"), 11, bytes).await;
    assert!(matches!(refused, Err(DirectError::Refused(status)) if status == 403), "{refused:?}");
    assert_eq!(lab.store.get(good.hash).await.expect("reads"), b"a good file");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_that_cannot_be_used_says_why() {
    let Some(mut server) = S3::start() else { return };
    let environment = server.environment();
    let probe = async |url: &str, changes: &[(&str, &str)]| {
        let mut environment = environment.clone();
        environment.extend(changes.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let remote = Remote::open(url.parse().expect("a bucket"), None, &environment);
        let probed = match remote {
            Ok(remote) => remote.probe().await,
            Err(error) => Err(error),
        };
        probed.map_err(|error| {
            let said = secateur_worker::causes::with_causes(&error);
            assert!(!said.contains(s3::SECRET), "{said}");
            error.trouble
        })
    };
    let url = server.url();
    assert_eq!(probe(&url, &[]).await, Ok(()));
    assert_eq!(common::files(&server.place()).values().flatten().count(), 0, "a probe leaves nothing");
    assert_eq!(probe(&url, &[("AWS_SECRET_ACCESS_KEY", "wrong")]).await, Err(Trouble::Denied));
    assert_eq!(probe(&url, &[("AWS_ENDPOINT_URL", "http://127.0.0.1:1")]).await, Err(Trouble::Unreachable));
    assert_eq!(probe(&url, &[("AWS_ENDPOINT_URL", "http://storage.example")]).await, Err(Trouble::Clear));
    for address in ["127.0.0.1:9000", "localhost:9000", "minio", "http://", "ftp://minio", "https://a b"] {
        assert_eq!(probe(&url, &[("AWS_ENDPOINT_URL", address)]).await, Err(Trouble::Address), "{address}");
        let asked = Remote::open(url.parse().expect("a bucket"), Some(address), &environment);
        assert_eq!(asked.expect_err("is no address").trouble, Trouble::Address, "{address}");
    }
    assert_eq!(probe(&url, &[("AWS_PROFILE", "")]).await, Ok(()), "an empty variable says nothing");
    server.kill();
    assert_eq!(probe(&url, &[]).await, Err(Trouble::Unreachable), "closes every connection");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_credentials_says_which_variables_are_wanted() {
    // No storage, and no machine of Amazon's, is there.
    let nowhere = [("AWS_ENDPOINT_URL", "http://127.0.0.1:1"), ("AWS_METADATA_ENDPOINT", "http://127.0.0.1:1")];
    let open = |further: &[(&str, &str)]| {
        let environment: Vec<_> =
            nowhere.iter().chain(further).map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect();
        Remote::open("s3://bucket".parse().expect("a bucket"), None, &environment)
    };
    let half = open(&[("AWS_ACCESS_KEY_ID", s3::KEY)]).expect_err("has no secret");
    let none = open(&[]).expect("may be a machine of Amazon's").probe().await.expect_err("is none");
    for error in [half, none] {
        assert_eq!(error.trouble, Trouble::NoCredentials);
        let message = error.to_string();
        assert!(["AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"].iter().all(|name| message.contains(name)), "{message}");
    }
    let both = open(&[("AWS_ACCESS_KEY_ID", s3::KEY), ("AWS_SECRET_ACCESS_KEY", s3::SECRET)]).expect("has both");
    assert_eq!(both.probe().await.expect_err("nobody is there").trouble, Trouble::Unreachable);
}
