//! `ArtifactService` over a store.

use std::{
    collections::HashSet,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{Stream, StreamExt as _};
use secateur_proto::{
    convert::InvalidMessage,
    ids::ContentHash,
    outcome::Artifact,
    v1::{
        Chunk, GetArtifactRequest, PutReply, PutRequest, StatReply, StatRequest,
        artifact_service_server::ArtifactService, put_request::Part,
    },
};
use secateur_worker::{
    store::{Store, StoreError},
    transfer::chunks,
};
use tonic::{Request, Response, Status, Streaming, async_trait};
use tracing::warn;

use super::invalid;
use crate::{
    driver::Driver,
    security::{Audit, Caller, Grants, Role},
};

/// The service.
#[derive(Debug, Clone)]
pub struct Artifacts {
    store: Arc<Store>,
    driver: Driver,
    grants: Grants,
    audit: Audit,
    /// Uploads under way: two of one hash at a time would write into one file.
    uploads: Arc<Mutex<HashSet<ContentHash>>>,
}

impl Artifacts {
    /// Over `store`. Workers may read what `grants` says, and readers what reports refer to.
    #[must_use]
    pub fn new(store: Arc<Store>, driver: Driver, grants: Grants, audit: Audit) -> Self {
        Self { store, driver, grants, audit, uploads: Arc::default() }
    }

    /// Whether `caller` may read that file.
    async fn may_read(&self, caller: &Caller, hash: ContentHash) -> Result<bool, Status> {
        Ok(match caller.role {
            Role::Admin | Role::Submit => true,
            Role::Worker => self.grants.holds(&caller.name, &hash),
            Role::Read => self.driver.read(move |core| core.is_published(hash)).await?,
        })
    }

    async fn receive(
        &self,
        mut parts: impl Stream<Item = Result<PutRequest, Status>> + Unpin,
    ) -> Result<Artifact, Status> {
        let Some(Part::Start(start)) = next(&mut parts).await? else {
            return Err(Status::invalid_argument("an upload begins with its name"));
        };
        let artifact: Artifact =
            start.artifact.ok_or_else(|| invalid(InvalidMessage::Missing("artifact")))?.try_into().map_err(invalid)?;
        let _turn = Turn::take(&self.uploads, artifact.hash)?;
        // Writing a chunk takes as long as a disk does, which is what the other tasks of a coordinator can wait for.
        let mut upload = self.store.upload(artifact, start.offset).map_err(status)?;
        while let Some(part) = next(&mut parts).await? {
            match part {
                Part::Data(data) => upload.write(&data).map_err(status)?,
                Part::Start(_) => return Err(Status::invalid_argument("an upload has one name")),
            }
        }
        upload.finish().map_err(status)
    }
}

async fn next(parts: &mut (impl Stream<Item = Result<PutRequest, Status>> + Unpin)) -> Result<Option<Part>, Status> {
    match parts.next().await.transpose()? {
        Some(PutRequest { part: Some(part) }) => Ok(Some(part)),
        Some(PutRequest { part: None }) => Err(Status::invalid_argument("an empty part of an upload")),
        None => Ok(None),
    }
}

/// The right to upload one hash.
struct Turn {
    uploads: Arc<Mutex<HashSet<ContentHash>>>,
    hash: ContentHash,
}

impl Turn {
    fn take(uploads: &Arc<Mutex<HashSet<ContentHash>>>, hash: ContentHash) -> Result<Self, Status> {
        let fresh = uploads.lock().unwrap_or_else(PoisonError::into_inner).insert(hash);
        fresh
            .then(|| Self { uploads: Arc::clone(uploads), hash })
            .ok_or_else(|| Status::aborted("the same artifact is being uploaded by somebody else; try again"))
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.uploads.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.hash);
    }
}

/// A store's error as a status; full paths stay in the log.
fn status(error: StoreError) -> Status {
    match &error {
        StoreError::Missing(_) => Status::not_found(error.to_string()),
        StoreError::Full { .. } => {
            warn!(%error, "the disk is full");
            Status::resource_exhausted(
                "no space left on the coordinator's disk: free some, then run the same command again",
            )
        }
        StoreError::Io { .. } => {
            warn!(error = &error as &dyn std::error::Error, "the artifact store failed");
            Status::internal("the artifact store failed; the coordinator's log says more")
        }
        StoreError::Damaged { .. } => Status::data_loss(error.to_string()),
        StoreError::WrongSize { .. } | StoreError::WrongOffset { .. } => Status::invalid_argument(error.to_string()),
    }
}

#[async_trait]
impl ArtifactService for Artifacts {
    type GetStream = Pin<Box<dyn Stream<Item = Result<Chunk, Status>> + Send>>;

    async fn stat(&self, request: Request<StatRequest>) -> Result<Response<StatReply>, Status> {
        let hash: ContentHash = request.into_inner().hash.parse().map_err(invalid)?;
        let held = self.store.stat(hash).map_err(status)?.map(Into::into);
        let partial_size = self.store.partial_size(hash).map_err(status)?;
        Ok(Response::new(StatReply { held, partial_size }))
    }

    async fn put(&self, request: Request<Streaming<PutRequest>>) -> Result<Response<PutReply>, Status> {
        let artifact = self.receive(request.into_inner()).await?;
        Ok(Response::new(PutReply { artifact: Some(artifact.into()) }))
    }

    async fn get(&self, request: Request<GetArtifactRequest>) -> Result<Response<Self::GetStream>, Status> {
        let caller = Caller::of(&request);
        let GetArtifactRequest { hash, offset } = request.into_inner();
        let hash: ContentHash = hash.parse().map_err(invalid)?;
        if !self.may_read(&caller, hash).await? {
            let message = format!("{} may not read this artifact, whether it is there or not", caller.role);
            self.audit.refused(caller.peer.map(|peer| peer.ip()), Some(&caller.name), &format!("Get {hash}"), &message);
            return Err(Status::permission_denied(message));
        }
        let reader = self.store.reader(hash, offset).map_err(status)?;
        Ok(Response::new(chunks(reader).map(|data| Ok(Chunk { data })).boxed()))
    }
}
