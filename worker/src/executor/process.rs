//! The worker's end of an executor: starts the child process, talks to it, and kills it.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use secateur_proto::{
    outcome::FailureClass,
    v1::{ExecutorReply, ExecutorRequest, Hurry, executor_reply::Reply, executor_request::Request},
};
use tokio::{
    io::{BufReader, BufWriter},
    process::{Child, ChildStdin, ChildStdout, Command},
    sync::watch,
    task::JoinHandle,
};
use tracing::{debug, warn};

use super::{
    frame::{self, FrameError},
    words::{self, Fresh, Words},
};
use crate::{
    device::DeviceName,
    store::{Store, StoreError},
};

/// How long the end of an executor that has nothing more to say is waited for, and its last words.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What an executor is started for.
#[derive(Debug, Clone)]
pub struct ExecutorOptions {
    /// Folder of files by hash.
    pub store: PathBuf,
    /// Whether its files are flushed to the disk.
    pub synced: bool,
    /// Whether it leaves what it makes in a folder of its own, for its worker to take over.
    pub apart: bool,
    /// Where it computes.
    pub device: DeviceName,
    /// How long after the last one it takes checkpoints of what it trains; nothing: never.
    pub checkpoint_every: Option<Duration>,
    /// Whenever it changes, checkpoints are wanted as soon as an epoch ends.
    pub hurry: watch::Receiver<()>,
}

/// A running executor. Dropping it kills it.
#[derive(Debug)]
pub struct ExecutorProcess {
    child: Child,
    input: BufWriter<ChildStdin>,
    output: BufReader<ChildStdout>,
    /// What it says on standard error.
    words: JoinHandle<Words>,
    /// That of it which nobody has asked for yet.
    fresh: Fresh,
    /// How many processes the system had killed for want of memory when it started.
    kills_for_memory: u64,
    /// Where it leaves what it makes, if not in the store itself.
    outputs: Option<PathBuf>,
    hurry: watch::Receiver<()>,
}

/// What a conversation with an executor ends with when it is not an answer.
#[derive(Debug, thiserror::Error)]
pub enum ProcessError {
    /// It cannot be started.
    #[error("cannot start an executor ({program})")]
    Start {
        /// The program.
        program: PathBuf,
        /// The system's error.
        #[source]
        source: std::io::Error,
    },
    /// It died.
    #[error("the executor process died ({status}){}{words}", if words.is_empty() { "" } else { ": " })]
    Died {
        /// How.
        status: String,
        /// What it said last.
        words: String,
        /// Whether memory was not enough for it.
        out_of_memory: bool,
    },
    /// It speaks nonsense.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// The folder for what it makes.
    #[error(transparent)]
    Outputs(#[from] StoreError),
}

impl ProcessError {
    /// What the coordinator is told.
    #[must_use]
    pub const fn class(&self) -> FailureClass {
        match self {
            Self::Died { out_of_memory: true, .. } => FailureClass::OutOfMemory,
            Self::Died { .. } | Self::Start { .. } | Self::Frame(_) | Self::Outputs(_) => FailureClass::Executor,
        }
    }
}

/// Variables in whose presence executors run, and whatever is to be timed as they are.
pub const SURROUNDINGS: [(&str, &str); 9] = [
    // A slot is one thread: several slots use a processor better than one slot with many threads.
    ("RAYON_NUM_THREADS", "1"),
    // libtorch reads these before it can be told.
    ("OMP_NUM_THREADS", "1"),
    ("MKL_NUM_THREADS", "1"),
    // The numbers of GPUs that nvidia-smi shows, not those of CUDA's guess at which is fastest.
    ("CUDA_DEVICE_ORDER", "PCI_BUS_ID"),
    // Convolutions of NVIDIA's libraries would round their inputs to 10 bits; what is computed is to be the same on every device.
    ("NVIDIA_TF32_OVERRIDE", "0"),
    // Steps free and allocate the same tensors over and over: the memory is to be kept, not mapped anew each time. By mimalloc, which
    // `secateur` allocates with, and by glibc, which libtorch and `secateur-worker` do.
    ("MIMALLOC_PURGE_DELAY", "-1"),
    ("MALLOC_MMAP_THRESHOLD_", "4294967296"),
    ("MALLOC_TRIM_THRESHOLD_", "4294967296"),
    ("MALLOC_TOP_PAD_", "67108864"),
];

/// A child process in which a device is opened, with the surroundings of an executor; it dies with its handle.
pub(crate) fn child(program: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .envs(SURROUNDINGS)
        // It talks to nobody, and what it never had it cannot leak.
        .env_remove(crate::connection::TOKEN)
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    // Ctrl-C is for the worker, which drains, and not for what it is draining.
    #[cfg(unix)]
    command.process_group(0);
    command
}

impl ExecutorProcess {
    /// Starts one, which is a `program` with the `executor` verb.
    ///
    /// # Errors
    /// If the program cannot be started, or a folder for what it makes not be made.
    pub fn start(program: &Path, options: &ExecutorOptions) -> Result<Self, ProcessError> {
        let outputs = options.apart.then(|| Store::make_outputs(&options.store)).transpose()?;
        let mut arguments: Vec<OsString> = vec!["executor".into(), "--store".into(), options.store.clone().into()];
        arguments.extend(["--device".into(), options.device.to_string().into()]);
        if options.synced {
            arguments.push("--synced".into());
        }
        if let Some(every) = options.checkpoint_every {
            arguments.extend(["--checkpoint-every".into(), humantime::format_duration(every).to_string().into()]);
        }
        if let Some(outputs) = &outputs {
            arguments.extend(["--outputs".into(), outputs.clone().into()]);
        }
        let kills_for_memory = words::kills_for_memory();
        let failed = |source| ProcessError::Start { program: program.to_owned(), source };
        let mut child =
            child(program).args(arguments).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(failed)?;
        let pipe_missing = || failed(std::io::Error::other("no pipe to it"));
        let input = BufWriter::new(child.stdin.take().ok_or_else(pipe_missing)?);
        let output = BufReader::new(child.stdout.take().ok_or_else(pipe_missing)?);
        let fresh = Fresh::default();
        let words = tokio::spawn(words::pass_on(child.stderr.take().ok_or_else(pipe_missing)?, fresh.clone()));
        debug!(process = child.id(), "started an executor");
        let hurry = options.hurry.clone();
        Ok(Self { child, input, output, words, fresh, kills_for_memory, outputs, hurry })
    }

    /// The lines that it said on standard error since this was asked last; of many only the last.
    #[must_use]
    pub fn said(&self) -> Vec<String> {
        self.fresh.take()
    }

    /// The folder in which it leaves what it makes, until its bundle has ended; nothing: in the store itself.
    #[must_use]
    pub fn outputs(&self) -> Option<&Path> {
        self.outputs.as_deref()
    }

    /// Removes what it made and did not report: a plan that a schedule replaced, or the files of a lane that failed.
    fn clear_outputs(&self) {
        let Some(outputs) = &self.outputs else { return };
        let left = std::fs::read_dir(outputs).into_iter().flatten().flatten();
        for entry in left {
            if let Err(error) = std::fs::remove_file(entry.path()) {
                warn!(%error, file = %entry.path().display(), "cannot remove leftover files of an executor");
            }
        }
    }

    /// Asks for something.
    ///
    /// # Errors
    /// If the process is gone.
    pub async fn send(&mut self, request: Request) -> Result<(), ProcessError> {
        let request = ExecutorRequest { request: Some(request) };
        match frame::write_async(&mut self.input, &request).await {
            Ok(()) => Ok(()),
            Err(_) => Err(self.died().await),
        }
    }

    /// The next reply.
    ///
    /// # Errors
    /// If the process is gone or speaks nonsense.
    pub async fn receive(&mut self) -> Result<Reply, ProcessError> {
        match self.read().await {
            Ok(Some(ExecutorReply { reply: Some(reply) })) => {
                if matches!(reply, Reply::BundleDone(_)) {
                    self.clear_outputs();
                }
                Ok(reply)
            }
            Ok(_) | Err(FrameError::Io(_)) => Err(self.died().await),
            Err(error) => Err(error.into()),
        }
    }

    /// The next message, and meanwhile it is told of a hurry.
    async fn read(&mut self) -> Result<Option<ExecutorReply>, FrameError> {
        let read = frame::read_async(&mut self.output);
        tokio::pin!(read);
        loop {
            tokio::select! {
                biased;
                message = &mut read => return message,
                Ok(()) = self.hurry.changed() => {
                    let request = ExecutorRequest { request: Some(Request::Hurry(Hurry {})) };
                    // If it is gone, reading says so.
                    let _ = frame::write_async(&mut self.input, &request).await;
                }
            }
        }
    }

    /// How it ended, if it has.
    pub async fn ended(&mut self) -> Option<ProcessError> {
        match self.child.try_wait() {
            Ok(None) => None,
            // Waiting for it says what is the matter.
            Ok(Some(_)) | Err(_) => Some(self.died().await),
        }
    }

    async fn died(&mut self) -> ProcessError {
        // It may only have closed its pipe: make sure that it is gone before saying so.
        let ended = tokio::time::timeout(LAST_WORDS, self.child.wait()).await;
        let by_itself = ended.is_ok();
        let status = match ended {
            Ok(status) => status,
            Err(_) => match self.child.start_kill() {
                Ok(()) => self.child.wait().await,
                Err(error) => Err(error),
            },
        };
        // A child of its own could hold the pipe open.
        let words = tokio::time::timeout(LAST_WORDS, &mut self.words).await;
        let words = words.ok().and_then(Result::ok).unwrap_or_default();
        let for_memory = || by_itself && words::killed(&status) && words::kills_for_memory() > self.kills_for_memory;
        let out_of_memory = words.out_of_memory() || for_memory();
        let status = status.map_or_else(|error| error.to_string(), |status| status.to_string());
        ProcessError::Died { status, words: words.last(), out_of_memory }
    }
}

impl Drop for ExecutorProcess {
    fn drop(&mut self) {
        // It dies with its handle, and its folder with it. Whatever it writes in its last moment goes when the worker starts again.
        let _ = self.child.start_kill();
        if let Some(outputs) = &self.outputs {
            let _ = std::fs::remove_dir_all(outputs);
        }
    }
}
