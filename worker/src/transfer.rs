//! Transfers artifacts between a local store and an artifact service. Nothing is sent that the other side already has,
//! and interrupted transfers resume. If the service returns presigned URLs and this side can reach the storage, the
//! bytes are transferred directly; otherwise through the service. Either way they are verified here.

use std::{
    error::Error as _,
    io::{Cursor, Read},
    sync::Arc,
};

use futures::{StreamExt as _, stream};
use secateur_proto::{
    MAX_MESSAGE_LEN,
    convert::InvalidMessage,
    ids::ContentHash,
    outcome::Artifact,
    v1::{
        ArtifactRef, CommitRequest, GetArtifactRequest, LocateRequest, PutRequest, PutStart, SignedUrl, StatRequest,
        artifact_service_client::ArtifactServiceClient, put_request::Part,
    },
};
use tonic::{Code, Status};

use crate::{
    connection::AuthorizedChannel,
    direct::{Address, Direct, DirectError},
    store::{Store, StoreError},
    threads::on_a_thread,
};

/// Bytes in one message: well below gRPC's usual limit of 4 MiB.
pub const CHUNK: usize = 1 << 20;

/// The number of attempts of a transfer.
const TRIES: usize = 3;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    /// A local error.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An error of the service.
    #[error("artifact {hash}: {}", status.message())]
    Remote {
        /// The artifact.
        hash: ContentHash,
        /// The status from the service.
        status: Box<Status>,
    },
    /// The service sent an invalid message.
    #[error(transparent)]
    Message(#[from] InvalidMessage),
    /// An error of a direct transfer. Callers never see it, because the service transfers the file then.
    #[error(transparent)]
    Direct(#[from] DirectError),
}

impl TransferError {
    /// Whether the service does not accept files of that size.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        matches!(self, Self::Remote { status, .. } if status.code() == Code::OutOfRange)
    }

    /// Whether the local disk is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_full())
    }

    /// Whether the service has no space.
    #[must_use]
    pub fn is_full_there(&self) -> bool {
        matches!(self, Self::Remote { status, .. } if status.code() == Code::ResourceExhausted)
    }

    /// Whether a retry may help: the connection broke or the token was replaced during the transfer, or another stage
    /// is uploading the same file.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        match self {
            // A status that the service sends has no source.
            Self::Remote { status, .. } => {
                matches!(status.code(), Code::Unavailable | Code::Cancelled | Code::Unauthenticated | Code::Aborted)
                    || status.source().is_some()
            }
            // An interrupted transfer of the same file may still be writing.
            Self::Store(error) => matches!(error, StoreError::Busy(_)),
            Self::Message(_) | Self::Direct(_) => false,
        }
    }

    fn is_transient(&self) -> bool {
        match self {
            Self::Remote { status, .. } => matches!(status.code(), Code::Unavailable | Code::Unknown | Code::Aborted),
            Self::Store(error) => matches!(error, StoreError::Damaged { .. } | StoreError::WrongSize { .. }),
            Self::Message(_) | Self::Direct(_) => false,
        }
    }
}

fn remote(hash: ContentHash) -> impl FnOnce(Status) -> TransferError {
    move |status| TransferError::Remote { hash, status: Box::new(status) }
}

/// A client of an artifact service.
#[derive(Debug, Clone)]
pub struct ArtifactClient {
    service: ArtifactServiceClient<AuthorizedChannel>,
    /// Direct transfers, if the storage supports them.
    direct: Option<Arc<Direct>>,
}

impl ArtifactClient {
    /// A client on `channel`.
    #[must_use]
    pub fn new(channel: AuthorizedChannel) -> Self {
        Self { service: ArtifactServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_LEN), direct: None }
    }

    /// The same client, but it transfers files directly where `direct` can reach the storage.
    #[must_use]
    pub fn past_the_service(self, direct: Arc<Direct>) -> Self {
        Self { direct: Some(direct), ..self }
    }

    /// Uploads an artifact of `store`, unless the service already holds it.
    ///
    /// # Errors
    /// If it cannot be read here or stored there.
    pub async fn upload(&mut self, store: &Arc<Store>, artifact: Artifact) -> Result<(), TransferError> {
        let open = |offset| Ok(store.reader(artifact.hash, offset)?);
        self.upload_from(artifact, open).await
    }

    /// Uploads `bytes`, unless the service already holds them.
    ///
    /// # Errors
    /// If they cannot be stored there.
    pub async fn upload_bytes(&mut self, bytes: &Arc<[u8]>) -> Result<Artifact, TransferError> {
        let hashed = Arc::clone(bytes);
        let hash = on_a_thread(move || ContentHash::of(&hashed)).await.map_err(StoreError::from)?;
        let artifact = Artifact { hash, size: bytes.len() as u64 };
        let open = |offset| {
            let mut reader = Cursor::new(Arc::clone(bytes));
            reader.set_position(offset);
            Ok(reader)
        };
        self.upload_from(artifact, open).await?;
        Ok(artifact)
    }

    /// Downloads an artifact and verifies it.
    ///
    /// # Errors
    /// If it cannot be read there, or arrives damaged.
    pub async fn fetch(&mut self, hash: ContentHash) -> Result<Vec<u8>, TransferError> {
        let request = GetArtifactRequest { hash: hash.to_string(), offset: 0 };
        let mut chunks = self.service.get(request).await.map_err(remote(hash))?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await.map_err(remote(hash))? {
            bytes.extend(chunk.data);
        }
        let hashed = on_a_thread(move || (ContentHash::of(&bytes), bytes)).await.map_err(StoreError::from)?;
        let (found, bytes) = hashed;
        if found != hash {
            return Err(StoreError::Damaged { expected: hash, found }.into());
        }
        Ok(bytes)
    }

    async fn upload_from<R: Read + Send + 'static>(
        &mut self,
        artifact: Artifact,
        open: impl Fn(u64) -> Result<R, TransferError>,
    ) -> Result<(), TransferError> {
        let mut tries = 1;
        loop {
            match self.try_upload(artifact, &open).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    /// Downloads an artifact to `store`, unless it is already there.
    ///
    /// # Errors
    /// If it cannot be read there or stored here.
    pub async fn download(&mut self, store: &Arc<Store>, artifact: Artifact) -> Result<(), TransferError> {
        if store.stat(artifact.hash)?.is_some() {
            return Ok(());
        }
        let mut tries = 1;
        loop {
            match self.try_download(store, artifact).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                result => return result,
            }
        }
    }

    async fn try_upload<R: Read + Send + 'static>(
        &mut self,
        artifact: Artifact,
        open: impl Fn(u64) -> Result<R, TransferError>,
    ) -> Result<(), TransferError> {
        let hash = artifact.hash;
        let direct = self.direct.clone().filter(|direct| direct.is_open());
        let direct_size = direct.is_some().then_some(artifact.size);
        let request = StatRequest { hash: hash.to_string(), direct_size };
        let there = self.service.stat(request).await.map_err(remote(hash))?.into_inner();
        if there.held.is_some() {
            return Ok(());
        }
        // A partial upload to the service is resumed through the service.
        let address = there.direct.filter(|_| there.partial_size == 0);
        if let (Some(direct), Some(address)) = (direct, address) {
            match self.put_directly(&direct, address, artifact, open(0)?).await {
                Err(TransferError::Direct(error)) => direct.failed(&error),
                result => return result,
            }
        }
        let offset = there.partial_size.min(artifact.size);
        let start = PutRequest { part: Some(Part::Start(PutStart { artifact: Some(artifact.into()), offset })) };
        let reader = open(offset)?;
        let parts =
            stream::once(async { start }).chain(chunks(reader).map(|data| PutRequest { part: Some(Part::Data(data)) }));
        let reply = self.service.put(parts).await.map_err(remote(hash))?.into_inner();
        same(artifact, reply.artifact)
    }

    async fn put_directly<R: Read + Send + 'static>(
        &mut self,
        direct: &Direct,
        address: SignedUrl,
        artifact: Artifact,
        reader: R,
    ) -> Result<(), TransferError> {
        direct.put(address.try_into()?, artifact.size, reader).await?;
        let request = CommitRequest { artifact: Some(artifact.into()) };
        let reply = self.service.commit(request).await.map_err(|status| match status.code() {
            Code::DataLoss | Code::NotFound | Code::InvalidArgument => {
                TransferError::from(DirectError::NotTaken(status.message().to_owned()))
            }
            _ => remote(artifact.hash)(status),
        });
        let reply = reply?.into_inner();
        same(artifact, reply.artifact)?;
        direct.worked();
        Ok(())
    }

    async fn try_download(&mut self, store: &Arc<Store>, artifact: Artifact) -> Result<(), TransferError> {
        if let Some(direct) = self.direct.clone().filter(|direct| direct.is_open()) {
            match self.get_directly(&direct, store, artifact).await {
                Ok(true) => return Ok(()),
                Ok(false) => {}
                Err(TransferError::Direct(error)) => direct.failed(&error),
                // The storage returned something else than the artifact.
                Err(TransferError::Store(error @ (StoreError::Damaged { .. } | StoreError::WrongSize { .. }))) => {
                    direct.failed(&error)
                }
                Err(error) => return Err(error),
            }
        }
        let hash = artifact.hash;
        let offset = store.partial_size(hash)?.min(artifact.size);
        let request = GetArtifactRequest { hash: hash.to_string(), offset };
        let mut chunks = self.service.get(request).await.map_err(remote(hash))?.into_inner();
        let mut upload = store.begin_upload(artifact, offset).await?;
        while let Some(chunk) = chunks.message().await.map_err(remote(hash))? {
            upload = upload.append(chunk.data).await?;
        }
        upload.complete().await?;
        Ok(())
    }

    /// Downloads an artifact directly. Returns whether the service returned a URL.
    async fn get_directly(
        &mut self,
        direct: &Direct,
        store: &Arc<Store>,
        artifact: Artifact,
    ) -> Result<bool, TransferError> {
        let hash = artifact.hash;
        let offset = store.partial_size(hash)?.min(artifact.size);
        // An empty range is not valid.
        if offset < artifact.size {
            let request = LocateRequest { hash: hash.to_string() };
            let reply = self.service.locate(request).await.map_err(remote(hash))?.into_inner();
            let Some(address) = reply.direct else { return Ok(false) };
            let mut pieces = direct.get(Address::try_from(address)?, offset).await?;
            let mut upload = store.begin_upload(artifact, offset).await?;
            while let Some(data) = pieces.next().await? {
                upload = upload.append(data).await?;
            }
            upload.complete().await?;
            direct.worked();
            return Ok(true);
        }
        store.begin_upload(artifact, offset).await?.complete().await?;
        Ok(true)
    }
}

/// Checks that the service stored the right artifact.
fn same(artifact: Artifact, kept: Option<ArtifactRef>) -> Result<(), TransferError> {
    let kept: Artifact = kept.ok_or(InvalidMessage::Missing("artifact"))?.try_into()?;
    if kept == artifact {
        Ok(())
    } else {
        Err(StoreError::Damaged { expected: artifact.hash, found: kept.hash }.into())
    }
}

/// The bytes of `reader` in pieces that fit into a message, read on threads of their own. A failed read ends the stream
/// early, which the receiver notices by the size.
pub fn chunks(reader: impl Read + Send + 'static) -> impl futures::Stream<Item = Vec<u8>> + Send {
    stream::unfold(reader, |mut reader| async move {
        let read = on_a_thread(move || {
            let mut data = Vec::with_capacity(CHUNK);
            let read = reader.by_ref().take(CHUNK as u64).read_to_end(&mut data);
            (read.is_ok() && !data.is_empty()).then_some((data, reader))
        });
        read.await.ok().flatten()
    })
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, time::Duration};

    use tokio::time::timeout;

    use super::*;

    /// A disk that returns a byte on demand.
    struct Slow(mpsc::Receiver<u8>);

    impl Read for Slow {
        fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
            let Ok(byte) = self.0.recv() else { return Ok(0) };
            into[0] = byte;
            Ok(1)
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 1)]
    async fn a_file_that_is_read_keeps_no_other_task_waiting() {
        let (disk, slow) = mpsc::channel();
        let (begins, has_begun) = tokio::sync::oneshot::channel();
        let read = tokio::spawn(async move {
            begins.send(()).expect("is waited for");
            chunks(Slow(slow)).collect::<Vec<_>>().await
        });
        has_begun.await.expect("begins");
        let other = tokio::spawn(async {});
        let ran = timeout(Duration::from_secs(60), other).await.is_ok();
        disk.send(7).expect("is read");
        drop(disk);
        assert!(ran, "the other task waited for the disk");
        assert_eq!(read.await.expect("ends"), [[7]]);
    }
}
