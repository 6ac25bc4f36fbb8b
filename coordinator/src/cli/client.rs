//! The client's side of a coordinator: connect, submit, follow.

use std::{
    error::Error,
    fs, io,
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
    arguments,
    causes::with_causes,
    connection::{AuthorizedChannel, ConnectError, Remote, certificate_problem, is_about_encryption},
    data::{DataError, idx},
    import::{Checkpoint, Wanted},
    store::StoreError,
    transfer::{ArtifactClient, TransferError},
};
use tonic::Code;
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};

pub(crate) use self::limits::{ClientArguments, user};
use super::{
    error::CliError,
    inputs::{self, InputError},
    progress::{Screen, SweepProgress},
};
use crate::{
    admission::{self, GivenWeights, Input, LARGEST_SWEEP_FILE, Limits},
    experiment::{self, Diagnostics, InputFacts, SweepSpec, plan::PackedPlan, spec::WeightsSpec},
};

mod limits;

/// Between two tries to reach a coordinator that went away.
pub(super) const BETWEEN_TRIES: Duration = Duration::from_millis(500);

/// A sweep file and its data, read and checked.
pub(crate) struct LocalSweep {
    pub(crate) file_name: String,
    pub(crate) text: String,
    pub(crate) table: Arc<[u8]>,
    pub(crate) weights: Option<Weights>,
    pub(crate) plan: Arc<PackedPlan>,
}

/// A net that was trained elsewhere, found in its file.
pub(crate) struct Weights {
    /// As safetensors.
    bytes: Arc<[u8]>,
    notes: Vec<String>,
}

impl LocalSweep {
    /// Reads, checks and plans what is in `file`, and writes nothing.
    pub(crate) async fn read(file: &Path, screen: &Screen) -> Result<Self, CliError> {
        let _spinner = screen.spinner("reading the data and planning");
        let file = file.to_owned();
        let read = tokio::task::spawn_blocking(move || Self::read_blocking(&file));
        read.await.map_err(|error| CliError::failed(&error))?
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

    fn read_blocking(file: &Path) -> Result<Self, CliError> {
        let bytes = inputs::read(file, LARGEST_SWEEP_FILE as u64).map_err(|error| match error {
            InputError::TooLarge => CliError::Input(format!(
                "{} is too large for a sweep file (at most {LARGEST_SWEEP_FILE} bytes)",
                inputs::shown(file)
            )),
            error => CliError::Input(error.to_string()),
        })?;
        let file_name = inputs::shown(file);
        let text = inputs::sweep_text(bytes).map_err(|what| CliError::Input(format!("{file_name} is {what}")))?;
        let spec = SweepSpec::parse(&file_name, &text)?;
        let path = data_path(file, &spec.data.path);
        let read = match spec.data.settings.format {
            TableFormat::Csv | TableFormat::CsvGz => inputs::read(&path, u64::MAX).map_err(|error| error.to_string()),
            TableFormat::Idx => read_images(&path),
        };
        let table: Arc<[u8]> =
            read.map_err(|message| Diagnostics::one(&file_name, spec.data.path_mark, "data.path", message))?.into();
        let facts = admission::read_data(&spec, Input::of(&table), Limits::NONE)?;
        let weights = match &spec.weights {
            None => None,
            Some(named) => read_weights(file, named, &spec, &facts)
                .map_err(|message| Diagnostics::one(&file_name, named.mark, "model.weights", message))?,
        };
        let given = weights.as_ref().map(|Weights { bytes, notes }| GivenWeights { file: Input::of(bytes), notes });
        let plan = Arc::new(admission::plan(&spec, &text, facts, given, Limits::NONE)?);
        Ok(Self { file_name, text, table, weights, plan })
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

/// The net that was trained elsewhere, found in its file; or what is wrong with that. `None` if the sweep's own net cannot be, which is
/// said of its points.
fn read_weights(
    file: &Path,
    named: &WeightsSpec,
    spec: &SweepSpec,
    facts: &InputFacts,
) -> Result<Option<Weights>, String> {
    let path = data_path(file, &named.path);
    let wrong = |error: &dyn Error| format!("{}: {}", path.display(), with_causes(error));
    let opened = if inputs::is_standard(&path) {
        Checkpoint::from_bytes(inputs::read(&path, u64::MAX).map_err(|error| error.to_string())?)
    } else {
        Checkpoint::open(&path)
    };
    let mut checkpoint = opened.map_err(|error| wrong(&error))?;
    let Some(model) = experiment::wanted(spec, facts) else { return Ok(None) };
    let classes: Vec<String> = facts.classes.iter().map(|class| class.name.clone()).collect();
    let (key, rename) = (named.key.as_deref(), named.rename.as_slice());
    let wanted = Wanted { model: &model, classes: &classes, path: &named.path, key, rename };
    let net = checkpoint.fit(&wanted).map_err(|error| wrong(&error))?;
    let bytes = net.to_safetensors().map_err(|error| wrong(&error))?;
    Ok(Some(Weights { bytes: bytes.into(), notes: net.notes }))
}

/// Paths in a sweep file are relative to it, or to the current folder if it comes from standard input. `~` is the home folder.
fn data_path(file: &Path, path: &str) -> PathBuf {
    let path = arguments::at_home(Path::new(path));
    if inputs::is_standard(&path) { path } else { file.parent().unwrap_or_else(|| Path::new("")).join(path) }
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
    pub(crate) async fn connect(arguments: &ClientArguments) -> Result<Self, CliError> {
        Self::connect_to(&arguments.remote().map_err(|error| CliError::input(&error))?).await
    }

    pub(crate) async fn connect_to(remote: &Remote) -> Result<Self, CliError> {
        let of_certificates = |error: &(dyn Error + 'static)| {
            certificate_problem(error)
                .map(|problem| CliError::Unreachable(format!("cannot connect to {}: {problem}", remote.url())))
        };
        let channel = remote.connect().await.map_err(|error| match error {
            ConnectError::Here(error) => CliError::input(&error),
            error @ ConnectError::Silent { .. } => CliError::Unreachable(format!(
                "{error}: the port may belong to another program, or the coordinator is suspended. Set a longer time limit with --timeout or SECATEUR_TIMEOUT (0 = none)"
            )),
            ConnectError::There(error) if let Some(refused) = of_certificates(&error) => refused,
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
        if let Some(silent) = asked.as_ref().err().filter(|status| status.code() == Code::DeadlineExceeded) {
            return Err(silent.clone().into());
        }
        if let Some(cause) = asked.as_ref().err().and_then(|status| status.source()) {
            // A client's certificate is refused once the connection is made.
            if let Some(refused) = of_certificates(cause) {
                return Err(refused);
            }
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
            // A name counts, too.
            found => Ok(found?.into_inner().sweep_id == id.as_str()),
        }
    }

    async fn upload(&mut self, sweep: &LocalSweep) -> Result<SweepFile, CliError> {
        let table = self.artifacts.upload_bytes(&sweep.table).await?;
        let (weights, weights_notes) = match &sweep.weights {
            Some(Weights { bytes, notes }) => (Some(self.artifacts.upload_bytes(bytes).await?.into()), notes.clone()),
            None => (None, Vec::new()),
        };
        let (name, text) = (sweep.file_name.clone(), sweep.text.clone());
        Ok(SweepFile { name, text, data: Some(table.into()), weights, weights_notes })
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

#[cfg(test)]
mod tests;
