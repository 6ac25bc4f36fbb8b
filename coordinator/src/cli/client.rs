//! The client's side of a coordinator: connect, submit, follow.

use std::{
    error::Error as _,
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use secateur_proto::{
    MAX_MESSAGE_LEN,
    ids::SweepId,
    spec::TableFormat,
    v1::{
        ExtendReply, ExtendRequest, GetReportRequest, GetSweepRequest, ReportFormat, Share, SubmitReply, SubmitRequest,
        SweepFile, SweepState, SweepStatus, WatchRequest, artifact_service_client::ArtifactServiceClient,
        sweep_service_client::SweepServiceClient, watch_reply::Event, worker_service_client::WorkerServiceClient,
    },
};
use secateur_worker::{
    causes::with_causes,
    connection::{
        AuthorizedChannel, ConnectError, CoordinatorArguments, Remote, is_about_certificates, is_about_encryption,
    },
    data::{DataError, idx},
    import,
    store::StoreError,
    transfer::{ArtifactClient, TransferError},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

use super::{
    error::CliError,
    progress::{Screen, SweepProgress},
};
use crate::{
    admission::{self, Input, LARGEST_SWEEP_FILE, Limits},
    experiment::{Diagnostics, SweepSpec, plan::PackedPlan, spec::WeightsSpec},
};

/// Between two tries to reach a coordinator that went away.
pub(super) const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// A sweep file and its data, read and checked.
pub(crate) struct LocalSweep {
    pub(crate) file_name: String,
    pub(crate) text: String,
    pub(crate) table: Arc<[u8]>,
    pub(crate) weights: Option<Arc<[u8]>>,
    pub(crate) plan: Arc<PackedPlan>,
}

impl LocalSweep {
    /// Reads, checks and plans what is in `file`, and writes nothing.
    pub(crate) async fn read(file: &Path, screen: &Screen) -> Result<Self, CliError> {
        let _spinner = screen.spinner("reading the data and planning");
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || Self::read_blocking(&file));
        let (sweep, notes) = read.await.map_err(|error| CliError::failed(&error))??;
        for note in notes {
            screen.say(&format!("note: {note}"));
        }
        Ok(sweep)
    }

    /// Says what a person should know of the data before anything is computed.
    pub(crate) fn say_notes(&self, screen: &Screen) {
        for note in &self.plan.sweep.data.notes {
            screen.say(&format!("note: {note}"));
        }
        for caution in self.plan.sweep.data.cautions() {
            screen.say(&format!("caution: {caution}"));
        }
    }

    fn read_blocking(file: &Path) -> Result<(Self, Vec<String>), CliError> {
        let unreadable_sweep = |error: io::Error| CliError::Input(unreadable(file, &error));
        let too_long = || {
            let file = file.display();
            CliError::Input(format!("{file} is too large for a sweep file (at most {LARGEST_SWEEP_FILE} bytes)"))
        };
        let most = LARGEST_SWEEP_FILE as u64;
        let opened = File::open(file).map_err(unreadable_sweep)?;
        if opened.metadata().map_err(unreadable_sweep)?.len() > most {
            return Err(too_long());
        }
        // A pipe or a device has no size, and may have no end.
        let mut bytes = Vec::new();
        opened.take(most + 1).read_to_end(&mut bytes).map_err(unreadable_sweep)?;
        if bytes.len() as u64 > most {
            return Err(too_long());
        }
        let file_name = file.display().to_string();
        let text = String::from_utf8(bytes).map_err(|_| CliError::Input(format!("{file_name} is not UTF-8 text")))?;
        let spec = SweepSpec::parse(&file_name, &text)?;
        let path = data_path(file, &spec.data.path);
        let read = match spec.data.settings.format {
            TableFormat::Csv | TableFormat::CsvGz => fs::read(&path).map_err(|error| unreadable(&path, &error)),
            TableFormat::Idx => read_images(&path),
        };
        let table: Arc<[u8]> =
            read.map_err(|message| Diagnostics::one(&file_name, spec.data.path_mark, "data.path", message))?.into();
        let mut left_out = Vec::new();
        let weights: Option<Arc<[u8]>> = match &spec.weights {
            None => None,
            Some(named) => {
                let (bytes, notes) = read_weights(file, named)
                    .map_err(|message| Diagnostics::one(&file_name, named.mark, "model.weights", message))?;
                left_out.extend(notes);
                Some(bytes.into())
            }
        };
        let plan =
            admission::admit_spec(&spec, &text, Input::of(&table), weights.as_deref().map(Input::of), Limits::NONE)?;
        let plan = Arc::new(plan);
        Ok((Self { file_name, text, table, weights, plan }, left_out))
    }
}

fn unreadable(path: &Path, error: &io::Error) -> String {
    format!("cannot read {}: {error}", path.display())
}

/// Packs the idx files of a folder into one file, or says what is wrong with them.
fn read_images(folder: &Path) -> Result<Vec<u8>, String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|error| unreadable(folder, &error))? {
        let entry = entry.map_err(|error| unreadable(folder, &error))?;
        // A name that is no text is not one of those that are looked for.
        names.extend(entry.file_name().into_string().ok());
    }
    names.sort_unstable();
    let wrong = |error: DataError| format!("{}: {error}", folder.display());
    let mut files = Vec::new();
    let found = idx::find(&names).map_err(wrong)?;
    for name in found {
        let path = folder.join(name);
        files.push(fs::read(&path).map_err(|error| unreadable(&path, &error))?);
    }
    idx::pack([0, 1, 2, 3].map(|index| (found[index], files[index].as_slice()))).map_err(wrong)
}

/// The tensors of a net that was trained elsewhere under the names that they are to have, and what a person should know of them; or
/// what is wrong with its file.
fn read_weights(file: &Path, named: &WeightsSpec) -> Result<(Vec<u8>, Option<String>), String> {
    let path = data_path(file, &named.path);
    let net = import::read(&path).and_then(|net| net.rename(&named.rename));
    let net = net.map_err(|error| format!("{}: {}", path.display(), with_causes(&error)))?;
    let note = (!net.left_out.is_empty()).then(|| {
        format!("{}: ignored tensors without floating-point numbers: {}", named.path, net.left_out.join(", "))
    });
    let bytes = net.to_safetensors().map_err(|error| format!("{}: {}", path.display(), with_causes(&error)))?;
    Ok((bytes, note))
}

/// Paths in a sweep file are relative to it.
fn data_path(file: &Path, path: &str) -> PathBuf {
    file.parent().unwrap_or_else(|| Path::new("")).join(path)
}

/// A connection to a coordinator.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    pub(crate) sweeps: SweepServiceClient<AuthorizedChannel>,
    pub(crate) workers: WorkerServiceClient<AuthorizedChannel>,
    pub(crate) artifacts: ArtifactClient,
    pub(crate) artifact_service: ArtifactServiceClient<AuthorizedChannel>,
}

impl Client {
    /// The coordinator that a command line names.
    pub(crate) async fn connect(arguments: &CoordinatorArguments) -> Result<Self, CliError> {
        Self::connect_to(&Remote::of(arguments).map_err(|error| CliError::input(&error))?).await
    }

    pub(crate) async fn connect_to(remote: &Remote) -> Result<Self, CliError> {
        let channel = remote.connect().await.map_err(|error| match error {
            ConnectError::Here(error) => CliError::input(&error),
            ConnectError::There(error) if is_about_certificates(&error) => CliError::Unreachable(format!(
                "certificate error at {} ({}): --ca must be the authority of the coordinator's certificate, which must name the host in --coordinator; --cert and --key must come from its --client-ca",
                remote.url(),
                with_causes(&error),
            )),
            ConnectError::There(error) if is_about_encryption(&error) => CliError::Unreachable(format!(
                "{} does not use TLS ({}): remove https://, --ca, --cert and --key",
                remote.url(),
                with_causes(&error),
            )),
            ConnectError::There(error) => CliError::Unreachable(format!(
                "no coordinator at {} ({}): start one with `secateur serve`, or set its address with --coordinator or SECATEUR_COORDINATOR; with TLS, start the address with https:// and pass --ca for a private authority",
                remote.url(),
                with_causes(&error),
            )),
        })?;
        // A server that wants TLS takes a connection in the clear, and answers nothing on it.
        let asked = HealthClient::new(channel.clone()).check(HealthCheckRequest::default()).await;
        if let Some(cause) = asked.as_ref().err().and_then(|status| status.source()) {
            return Err(CliError::Unreachable(format!(
                "{} does not answer like a coordinator ({}): if it uses TLS, start the address with https:// or pass --ca",
                remote.url(),
                with_causes(cause),
            )));
        }
        Ok(Self {
            sweeps: SweepServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN),
            workers: WorkerServiceClient::new(channel.clone()).max_decoding_message_size(MAX_MESSAGE_LEN),
            artifacts: ArtifactClient::new(channel.clone()),
            artifact_service: ArtifactServiceClient::new(channel).max_decoding_message_size(MAX_MESSAGE_LEN),
        })
    }

    /// Uploads the data and submits the file.
    pub(crate) async fn submit(&mut self, sweep: &LocalSweep, share: Share) -> Result<SubmitReply, CliError> {
        let file = Some(self.upload(sweep).await?);
        Ok(self.sweeps.submit(SubmitRequest { file, share: Some(share) }).await?.into_inner())
    }

    /// Uploads the data and extends the sweep by what the file adds.
    pub(crate) async fn extend(
        &mut self,
        sweep_id: &str,
        sweep: &LocalSweep,
        share: Share,
    ) -> Result<ExtendReply, CliError> {
        let file = Some(self.upload(sweep).await?);
        let request = ExtendRequest { sweep_id: sweep_id.to_owned(), file, share: Some(share) };
        Ok(self.sweeps.extend(request).await?.into_inner())
    }

    /// Whether the coordinator knows a sweep.
    pub(crate) async fn has(&mut self, id: &SweepId) -> Result<bool, CliError> {
        match self.sweeps.get(GetSweepRequest { sweep_id: id.to_string() }).await {
            Err(status) if status.code() == Code::NotFound => Ok(false),
            found => Ok(found.map(|_| true)?),
        }
    }

    async fn upload(&mut self, sweep: &LocalSweep) -> Result<SweepFile, CliError> {
        let table = self.artifacts.upload_bytes(&sweep.table).await?;
        let weights = match &sweep.weights {
            Some(weights) => Some(self.artifacts.upload_bytes(weights).await?.into()),
            None => None,
        };
        let (name, text) = (sweep.file_name.clone(), sweep.text.clone());
        Ok(SweepFile { name, text, data: Some(table.into()), weights })
    }

    /// Follows a sweep until it ends and shows its progress. Whenever the coordinator is lost, waits for it up to `patience`.
    pub(crate) async fn follow(
        &mut self,
        sweep_id: &str,
        screen: &Screen,
        patience: Duration,
    ) -> Result<SweepStatus, CliError> {
        let mut progress = SweepProgress::new(screen);
        let mut heard = Instant::now();
        let mut waits = false;
        loop {
            let back = || {
                if std::mem::take(&mut waits) {
                    screen.say("reconnected to the coordinator");
                }
            };
            match self.follow_once(sweep_id, &mut progress, &mut heard, back).await {
                Err(CliError::Unreachable(message)) if heard.elapsed() < patience => {
                    if !waits {
                        let seconds = patience.as_secs();
                        screen.say(&format!("{message}; waiting up to {seconds} seconds"));
                        waits = true;
                    }
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
                ended => {
                    if let Ok(status) = &ended {
                        progress.finish(status);
                    }
                    return ended;
                }
            }
        }
    }

    /// Follows a sweep while the connection lasts, and notes when something was `heard`.
    async fn follow_once(
        &mut self,
        sweep_id: &str,
        progress: &mut SweepProgress,
        heard: &mut Instant,
        mut back: impl FnMut(),
    ) -> Result<SweepStatus, CliError> {
        let request = WatchRequest { sweep_id: sweep_id.to_owned() };
        let mut events = self.sweeps.watch(request).await?.into_inner();
        progress.connected();
        while let Some(reply) = events.message().await? {
            *heard = Instant::now();
            back();
            match reply.event {
                Some(Event::Status(status)) => {
                    progress.status(&status);
                    if status.state() != SweepState::Running {
                        return Ok(status);
                    }
                }
                Some(Event::Progress(told)) => progress.epoch(&told),
                Some(Event::Trial(ended)) => progress.trial(&ended),
                None => {}
            }
        }
        Err(CliError::Unreachable("the coordinator stopped before the sweep ended".to_owned()))
    }

    /// One format of a sweep's report.
    pub(crate) async fn report(&mut self, sweep_id: &str, format: ReportFormat) -> Result<Vec<u8>, CliError> {
        let request = GetReportRequest { sweep_id: sweep_id.to_owned(), format: format.into() };
        let mut chunks = self.sweeps.get_report(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(chunk) = chunks.message().await? {
            bytes.extend(chunk.data);
        }
        Ok(bytes)
    }
}

impl From<TransferError> for CliError {
    fn from(error: TransferError) -> Self {
        match error {
            TransferError::Remote { status, .. } => (*status).into(),
            TransferError::Store(error) => error.into(),
            TransferError::Message(error) => Self::failed(&error),
            TransferError::Direct(error) => Self::failed(&error),
        }
    }
}

impl From<StoreError> for CliError {
    fn from(error: StoreError) -> Self {
        Self::failed(&error)
    }
}
