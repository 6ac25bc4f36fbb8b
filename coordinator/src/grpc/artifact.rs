//! `ArtifactService` over a store: files in messages, or presigned URLs if the store has them.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, UNIX_EPOCH},
};

use futures::{Stream, StreamExt as _, TryStreamExt as _};
use secateur_proto::{
    convert::InvalidMessage,
    ids::ContentHash,
    outcome::Artifact,
    v1::{
        Chunk, CollectGarbageReply, CollectGarbageRequest, CommitReply, CommitRequest, Garbage, GetArtifactRequest,
        Kept, LocateReply, LocateRequest, PutReply, PutRequest, StatReply, StatRequest,
        artifact_service_server::ArtifactService, collect_garbage_reply::Event, put_request::Part,
    },
};
use secateur_worker::{
    causes::with_causes,
    store::{StoreError, Stored},
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming, async_trait, metadata::MetadataValue};
use tracing::{debug, info, warn};

use super::{invalid, on_a_thread};
use crate::{
    admission::Limits,
    artifacts::{ArtifactError, ArtifactStore, BucketError},
    driver::Driver,
    garbage::{self, Collection, Removal},
    monitoring::Direction,
    queries::QueryError,
    scheduler::Core,
    security::{Audit, Caller, Grants, Role},
};

/// The minimum grace period of a collection: far longer than a report takes from this service to the journal.
const SHORTEST_GRACE: Duration = Duration::from_secs(60);

/// The number of stages that are searched before the scheduler continues.
const LOOKED_THROUGH: usize = 4096;

/// The service.
#[derive(Debug, Clone)]
pub struct Artifacts {
    store: ArtifactStore,
    driver: Driver,
    grants: Grants,
    audit: Audit,
    limits: Limits,
    uploads: Uploads,
}

/// Current uploads, and the bytes that each may write. Two uploads of one hash would write to the same file, and all
/// uploads together must fit on the disk.
type Uploads = Arc<Mutex<HashMap<ContentHash, u64>>>;

impl Artifacts {
    /// Serves `store`, within `limits`. Workers may read what `grants` allows, and readers what reports publish.
    #[must_use]
    pub fn new(store: ArtifactStore, driver: Driver, grants: Grants, audit: Audit, limits: Limits) -> Self {
        Self { store, driver, grants, audit, limits, uploads: Arc::default() }
    }

    /// Whether `caller` may read that file.
    async fn may_read(&self, caller: &Caller, hash: ContentHash) -> Result<bool, Status> {
        Ok(match caller.role {
            Role::Admin | Role::Submit => true,
            Role::Worker => self.grants.holds(&caller.name, &hash),
            Role::Read => self.is_published(hash).await?,
        })
    }

    /// Whether reports publish this file. Stages are searched in batches, so that the scheduler continues in between.
    async fn is_published(&self, hash: ContentHash) -> Result<bool, Status> {
        let mut begin = 0;
        loop {
            match self.driver.read(move |core| core.is_published(hash, begin..begin + LOOKED_THROUGH)).await? {
                Some(false) => begin += LOOKED_THROUGH,
                found => return Ok(found.is_some()),
            }
        }
    }

    /// Every file that a sweep refers to. Files that become referenced during the search were touched, so the grace
    /// period keeps them.
    async fn referred(&self) -> Result<HashSet<ContentHash>, Status> {
        let plans: Vec<_> = self.driver.read(|core| core.plans().cloned().collect()).await?;
        let given = on_a_thread(move || plans.iter().flat_map(|plan| plan.files()).collect());
        let mut referred: HashSet<ContentHash> = given.await.map_err(QueryError::from)?;
        let mut begin = 0;
        while let Some(files) =
            self.driver.read(move |core| core.files_of_stages(begin..begin + LOOKED_THROUGH)).await?
        {
            referred.extend(files);
            begin += LOOKED_THROUGH;
        }
        Ok(referred)
    }

    /// Checks that `caller` may read this file.
    async fn check_reader(&self, caller: &Caller, what: &str, hash: ContentHash) -> Result<(), Status> {
        if self.may_read(caller, hash).await? {
            return Ok(());
        }
        let message = format!("{} may not read this artifact, even if it exists", caller.role);
        self.audit.refused(caller.peer.map(|peer| peer.ip()), Some(&caller.name), &format!("{what} {hash}"), &message);
        Err(Status::permission_denied(message))
    }

    /// Checks that the size is within the limit.
    fn check_size(&self, artifact: Artifact) -> Result<(), Status> {
        if artifact.size > self.limits.artifact {
            // Not the code of an interrupted upload, because a retry cannot help.
            return Err(Status::out_of_range(format!(
                "an artifact of {} bytes is too large for this coordinator, which takes {} (serve --max-artifact-size)",
                artifact.size, self.limits.artifact
            )));
        }
        Ok(())
    }

    /// Checks that the current uploads leave enough space on the disk. Bytes that they have already written count
    /// twice.
    fn check_room(&self) -> Result<(), Status> {
        let free = self.store.incoming().free().map_err(|error| store_status(&error))?;
        let uploads = self.uploads.lock().unwrap_or_else(PoisonError::into_inner);
        let coming = uploads.values().fold(0_u64, |sum, bytes| sum.saturating_add(*bytes));
        drop(uploads);
        if free < coming.saturating_add(self.limits.keep_free) {
            debug!(free, coming, keep_free = self.limits.keep_free, "no space left for a file");
            return Err(no_space());
        }
        Ok(())
    }

    /// Removes unreferenced files and reports each.
    async fn collect(
        self,
        collection: Collection,
        told: mpsc::Sender<Result<CollectGarbageReply, Status>>,
    ) -> Result<(), Status> {
        let listed = self.store.files().await.map_err(status)?;
        // Checked after the files were listed: newer files are not in the list.
        if !listed.is_empty() && !self.driver.read(Core::has_had_sweeps).await? {
            return Err(Status::failed_precondition(garbage::no_sweep_ever(listed.len())));
        }
        let referred = self.referred().await?;
        let tell = async |event| told.send(Ok(CollectGarbageReply { event: Some(event) })).await.is_ok();
        let turn = |hash| Turn::take(&self.uploads, hash, 0).ok();
        let mut removal = Removal::new(&self.store, listed, referred, collection);
        while let Some(file) = removal.next(turn).await.map_err(status)? {
            if !tell(Event::Garbage(garbage_message(&file))).await {
                return Ok(());
            }
            // Only the owner of the journal may remove files.
            self.driver.read(|_| ()).await?;
        }
        let kept = removal.kept();
        tell(Event::Kept(Kept {
            referred_files: kept.referred.files,
            referred_bytes: kept.referred.bytes,
            young_files: kept.young.files,
            young_bytes: kept.young.bytes,
        }))
        .await;
        Ok(())
    }

    async fn receive(
        &self,
        mut parts: impl Stream<Item = Result<PutRequest, Status>> + Unpin,
    ) -> Result<Artifact, Status> {
        let Some(Part::Start(start)) = next(&mut parts).await? else {
            return Err(Status::invalid_argument("an upload must begin with its header"));
        };
        let artifact: Artifact =
            start.artifact.ok_or_else(|| invalid(InvalidMessage::Missing("artifact")))?.try_into().map_err(invalid)?;
        self.check_size(artifact)?;
        let _turn = Turn::take(&self.uploads, artifact.hash, artifact.size.saturating_sub(start.offset))?;
        let incoming = self.store.incoming();
        let failed = |error: StoreError| status(error.into());
        // A whole upload that could not be moved to the store need not be sent again.
        if start.offset < artifact.size || incoming.stat(artifact.hash).map_err(failed)? != Some(artifact) {
            self.check_room()?;
            let mut upload = incoming.begin_upload(artifact, start.offset).await.map_err(failed)?;
            while let Some(part) = next(&mut parts).await? {
                match part {
                    Part::Data(data) => {
                        self.driver.counters().moved(Direction::Received, data.len());
                        upload = upload.append(data).await.map_err(failed)?;
                    }
                    Part::Start(_) => return Err(Status::invalid_argument("an upload has only one header")),
                }
            }
            upload.complete().await.map_err(failed)?;
        }
        self.store.keep(artifact).await.map_err(status)?;
        Ok(artifact)
    }
}

async fn next(parts: &mut (impl Stream<Item = Result<PutRequest, Status>> + Unpin)) -> Result<Option<Part>, Status> {
    match parts.next().await.transpose()? {
        Some(PutRequest { part: Some(part) }) => Ok(Some(part)),
        Some(PutRequest { part: None }) => Err(Status::invalid_argument("a message of the upload is empty")),
        None => Ok(None),
    }
}

/// The exclusive right to upload one hash.
struct Turn {
    uploads: Uploads,
    hash: ContentHash,
}

impl Turn {
    /// Reserves the hash and up to `bytes` bytes.
    fn take(uploads: &Uploads, hash: ContentHash, bytes: u64) -> Result<Self, Status> {
        match uploads.lock().unwrap_or_else(PoisonError::into_inner).entry(hash) {
            Entry::Vacant(free) => _ = free.insert(bytes),
            Entry::Occupied(_) => {
                return Err(Status::aborted("another client is uploading the same artifact; try again"));
            }
        }
        Ok(Self { uploads: Arc::clone(uploads), hash })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hash);
    }
}

fn garbage_message(file: &Stored) -> Garbage {
    let modified = file.modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    Garbage {
        artifact: Some(Artifact { hash: file.hash, size: file.size }.into()),
        partial: !file.whole,
        modified_at_ms: u64::try_from(modified.as_millis()).unwrap_or(u64::MAX),
    }
}

/// Converts a store's error to a status. Full paths are only logged.
fn status(error: ArtifactError) -> Status {
    match error {
        ArtifactError::Store(error) => store_status(&error),
        ArtifactError::Bucket(error) => bucket_status(&error),
        ArtifactError::Task(_) => Status::internal(error.to_string()),
    }
}

/// The metadata key of a status that says that the coordinator's storage is not available.
const STORAGE_FAILED: &str = "secateur-storage-failed";

/// Unavailable, so that clients retry: errors of a bucket are temporary or can be fixed, and no data is lost until
/// then.
pub(crate) fn bucket_status(error: &BucketError) -> Status {
    warn!(reason = with_causes(error), "the bucket failed");
    let mut status = Status::unavailable(format!("the coordinator {error}"));
    status.metadata_mut().insert(STORAGE_FAILED, MetadataValue::from_static("true"));
    status
}

/// Whether the status comes from a coordinator whose storage is not available.
#[must_use]
pub fn is_storage_failure(status: &Status) -> bool {
    status.metadata().contains_key(STORAGE_FAILED)
}

fn no_space() -> Status {
    Status::resource_exhausted(
        "no space left on the coordinator's disk: free some space, then run the same command again",
    )
}

fn store_status(error: &StoreError) -> Status {
    match error {
        StoreError::Missing(_) => Status::not_found(error.to_string()),
        StoreError::Full { .. } => {
            warn!(%error, "the disk is full");
            no_space()
        }
        StoreError::Io { .. } | StoreError::Unreadable { .. } => {
            warn!(error = error as &dyn std::error::Error, "the artifact store failed");
            Status::internal("the artifact store failed; the coordinator's log says more")
        }
        StoreError::Damaged { .. } => Status::data_loss(error.to_string()),
        StoreError::WrongSize { .. } => Status::invalid_argument(error.to_string()),
        // Another client has completed or changed the upload meanwhile. A retry finds the new state.
        StoreError::WrongOffset { .. } | StoreError::Busy(_) => Status::aborted(error.to_string()),
        StoreError::Task(_) => Status::internal(error.to_string()),
    }
}

#[async_trait]
impl ArtifactService for Artifacts {
    type GetStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;
    type CollectGarbageStream = ReceiverStream<Result<CollectGarbageReply, Status>>;

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        let StatRequest { hash, direct_size } = request.into_inner();
        let hash: ContentHash = hash.parse().map_err(invalid)?;
        // A client that is told the file is held will not send it, so it must be kept until its report has arrived.
        let held = self.store.touch(hash).await.map_err(status)?;
        let partial_size = self.store.partial_size(hash).map_err(status)?;
        let direct = match (held, direct_size) {
            // There is no URL for a file that is too large, so the client uploads it here and gets the error.
            (None, Some(size)) if size <= self.limits.artifact => {
                self.store.address_to_put(Artifact { hash, size }).await.map_err(status)?
            }
            _ => None,
        };
        Ok(Response::new(StatReply { held: held.map(Into::into), partial_size, direct }))
    }

    async fn put(&self, request: Request<Streaming<PutRequest>>) -> Result<Response<PutReply>, Status> {
        let artifact = self.receive(request.into_inner()).await?;
        Ok(Response::new(PutReply { artifact: Some(artifact.into()) }))
    }

    async fn get(&self, request: Request<GetArtifactRequest>) -> Result<Response<Self::GetStream>, Status> {
        let caller = Caller::of(&request);
        let GetArtifactRequest { hash, offset } = request.into_inner();
        let hash: ContentHash = hash.parse().map_err(invalid)?;
        self.check_reader(&caller, "Get", hash).await?;
        let pieces = self.store.read(hash, offset).await.map_err(|error| match error {
            ArtifactError::Store(StoreError::Missing(_)) => Status::not_found(
                "the coordinator does not hold this artifact; `secateur explain` of the sweep that needs it says how to fix that",
            ),
            error => status(error),
        })?;
        let counters = self.driver.counters().clone();
        let chunk = move |data: Vec<u8>| {
            counters.moved(Direction::Sent, data.len());
            Chunk { data }
        };
        Ok(Response::new(pieces.map_ok(chunk).map_err(status).boxed()))
    }

    async fn locate(&self, request: Request<LocateRequest>) -> Result<Response<LocateReply>, Status> {
        let caller = Caller::of(&request);
        let hash: ContentHash = request.into_inner().hash.parse().map_err(invalid)?;
        self.check_reader(&caller, "Locate", hash).await?;
        let direct = self.store.address_to_read(hash).await.map_err(status)?;
        Ok(Response::new(LocateReply { direct }))
    }

    async fn commit(&self, request: Request<CommitRequest>) -> Result<Response<CommitReply>, Status> {
        let artifact = request.into_inner().artifact.ok_or_else(|| invalid(InvalidMessage::Missing("artifact")))?;
        let artifact: Artifact = artifact.try_into().map_err(invalid)?;
        self.check_size(artifact)?;
        let _turn = Turn::take(&self.uploads, artifact.hash, 0)?;
        self.store.take_over(artifact).await.map_err(status)?;
        Ok(Response::new(CommitReply { artifact: Some(artifact.into()) }))
    }

    async fn collect_garbage(
        &self,
        request: Request<CollectGarbageRequest>,
    ) -> Result<Response<Self::CollectGarbageStream>, Status> {
        let caller = Caller::of(&request);
        let CollectGarbageRequest { dry_run, grace_seconds } = request.into_inner();
        let grace = Duration::from_secs(grace_seconds);
        if grace < SHORTEST_GRACE {
            return Err(Status::invalid_argument(format!(
                "a grace of {grace_seconds} s is too short while the coordinator runs: give at least {} s",
                SHORTEST_GRACE.as_secs()
            )));
        }
        let collection = Collection::after(grace, dry_run)
            .ok_or_else(|| Status::invalid_argument(format!("a grace of {grace_seconds} s is too long")))?;
        let (sender, receiver) = mpsc::channel(64);
        let service = self.clone();
        self.audit.done(&caller, if dry_run { "look for garbage" } else { "collect garbage" }, "artifacts");
        info!(by = caller.name, dry_run, ?grace, "collecting garbage");
        tokio::spawn(async move {
            if let Err(status) = service.collect(collection, sender.clone()).await {
                // The caller may be gone.
                let _ = sender.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}
