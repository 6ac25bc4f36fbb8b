//! What the tests of the whole program share: folders, sweep files, processes, and ways to wait for them.
//!
//! Every wait blocks on a pipe of the process waited for, or is [`until`], the one place that looks again and again. Both give up
//! after [`PATIENCE`] and show what the process had said.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod fake;
pub(crate) mod postgres;
pub(crate) mod s3;

use std::{
    collections::BTreeMap,
    env, fs,
    io::{BufRead as _, BufReader, Read},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        atomic::{AtomicU8, Ordering},
        mpsc::{self, Receiver, RecvTimeoutError},
    },
    thread,
    time::{Duration, Instant},
};

use secateur_proto::ids::ContentHash;
use serde_json::Value;
use tempfile::TempDir;

/// Guards against hanging, and nothing else: far longer than anything takes, even on a machine that is busy with other work.
pub(crate) const PATIENCE: Duration = Duration::from_secs(600);

/// How long nothing is said before what [`Process::wait_for_while`] looks after is looked after.
const MOMENT: Duration = Duration::from_millis(100);

/// A sweep of about a second: 4 cells and their controls, 2 seeds.
pub(crate) const SWEEP: &str = "\
version: 1
name: small
data:
  path: table.csv
  target: y
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}
model: {kind: mlp, hidden: [8, 4]}
training: {optimizer: {kind: adam, lr: 1.0e-2}, batch_size: 32, epochs: 4}
pruning:
  strategy: [magnitude, taylor]
  sparsity: [0.5, 0.8]
  retrain: {epochs: 2}
regularization: {kind: l2, strength: [0, 1.0e-3], phase: both}
seeds: 2
objectives: [{maximize: auc}, {minimize: nonzero_parameters}]
controls: [dense, random]
";

/// Long enough to be hit: 4 prunings and their controls over 5 seeds, 41 stages of some 100 ms, 2 lanes at a time.
pub(crate) const LONG_SWEEP: &str = "\
version: 1
name: long
data:
  path: table.csv
  target: y
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 1}
model: {kind: mlp, hidden: [16, 8]}
training: {optimizer: {kind: adam, lr: 1.0e-3}, batch_size: 16, epochs: 40}
pruning:
  strategy: [magnitude, taylor]
  sparsity: [0.5, 0.8]
  retrain: {epochs: 25}
seeds: 5
controls: [dense, random]
";

/// A folder with a sweep file and its table, which is also where commands run.
pub(crate) struct Lab {
    folder: TempDir,
}

impl Lab {
    /// With nothing in it.
    pub(crate) fn empty() -> Self {
        Self { folder: tempfile::tempdir().expect("a temporary folder") }
    }

    /// With `sweep` and a table of so many rows.
    pub(crate) fn new(sweep: &str, rows: u32) -> Self {
        let lab = Self::empty();
        lab.write("sweep.yaml", sweep);
        lab.write("table.csv", table(rows));
        lab
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(self.path(name), bytes).expect("writes a file of the test");
    }

    /// `secateur` with these arguments, in this folder, untouched by the environment that the tests run in.
    pub(crate) fn secateur(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        command.args(arguments).current_dir(self.folder.path());
        for (variable, _) in env::vars_os() {
            if ["SECATEUR_", "AWS_"].iter().any(|prefix| variable.to_string_lossy().starts_with(prefix)) {
                command.env_remove(variable);
            }
        }
        for variable in ["XDG_CONFIG_HOME", "XDG_STATE_HOME", "STATE_DIRECTORY"] {
            command.env_remove(variable);
        }
        command.env("SECATEUR_LOG", "warn,secateur=debug,secateur_worker=debug");
        command.env("HOME", self.folder.path()).env_remove("XDG_CACHE_HOME");
        command
    }

    /// Starts `secateur` with these arguments.
    pub(crate) fn start(&self, arguments: &[&str]) -> Process {
        Process::start(self.secateur(arguments))
    }

    /// Runs `secateur` with these arguments to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ended {
        self.start(arguments).end()
    }

    /// What [`files`] finds in the folder.
    pub(crate) fn files(&self) -> BTreeMap<PathBuf, Option<ContentHash>> {
        files(self.folder.path())
    }
}

/// Every file below `folder` with the hash of its content, and every folder without one, by path.
pub(crate) fn files(folder: &Path) -> BTreeMap<PathBuf, Option<ContentHash>> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![folder.to_owned()];
    while let Some(parent) = waiting.pop() {
        for entry in fs::read_dir(&parent).expect("reads a folder") {
            let path = entry.expect("reads a folder").path();
            let name = path.strip_prefix(folder).expect("lies in it").to_owned();
            if path.is_dir() {
                waiting.push(path);
                found.insert(name, None);
            } else {
                found.insert(name, Some(ContentHash::of(&fs::read(&path).expect("reads a file"))));
            }
        }
    }
    found
}

/// A table with a target `y` that three numbers and a category decide, nearly.
pub(crate) fn table(rows: u32) -> String {
    let mut state = 1_u32;
    let mut random = || {
        // Numerical Recipes' linear congruential generator.
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        f64::from(state >> 8) / f64::from(1 << 24)
    };
    let mut text = String::from("a,b,c,place,y\n");
    for _ in 0..rows {
        let [a, b, c, noise] = [random(), random(), random(), random()];
        let place = ["north", "south", "west"][(random() * 3.0) as usize];
        let risk = a + 0.5 * b * c + if place == "south" { 0.3 } else { 0.0 } + 0.4 * noise;
        text += &format!("{a:.4},{b:.4},{c:.4},{place},{}\n", u8::from(risk > 0.95));
    }
    text
}

/// A line that a process wrote.
enum Line {
    Out(String),
    Error(String),
}

/// A running process of the program. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    lines: Receiver<Line>,
    stdout: String,
    stderr: String,
}

/// How a process ended, and what it had said.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Nothing if a signal ended it.
    pub(crate) code: Option<i32>,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Process {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("starts the program");
        let (sender, lines) = mpsc::channel();
        forward(child.stdout.take().expect("a pipe"), sender.clone(), Line::Out);
        forward(child.stderr.take().expect("a pipe"), sender, Line::Error);
        Self { child, lines, stdout: String::new(), stderr: String::new() }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// The next line on standard error with all of `words`, from where the last wait ended.
    pub(crate) fn wait_for(&mut self, words: &[&str]) -> String {
        self.wait_for_while(words, || {})
    }

    /// The next line on standard error with all of `words`, from where the last wait ended. Whatever it waits for may want something
    /// done meanwhile: that is looked after as often as nothing is said for a moment.
    pub(crate) fn wait_for_while(&mut self, words: &[&str], mut meanwhile: impl FnMut()) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let moment = Instant::now() + MOMENT;
            match self.next_before(moment.min(deadline)) {
                Ok(Some(Line::Error(line))) if words.iter().all(|word| line.contains(word)) => return line,
                Ok(Some(_)) => {}
                Ok(None) => panic!("the process ended without a line with {words:?}:\n{}{}", self.stdout, self.stderr),
                Err(Silence) if moment < deadline => meanwhile(),
                Err(Silence) => self.give_up(),
            }
        }
    }

    /// The next line on standard output with all of `words`, from where the last wait ended.
    pub(crate) fn wait_for_output(&mut self, words: &[&str]) -> String {
        loop {
            match self.next(Instant::now() + PATIENCE) {
                Some(Line::Out(line)) if words.iter().all(|word| line.contains(word)) => return line,
                Some(_) => {}
                None => panic!("the process ended without a line with {words:?}:\n{}{}", self.stdout, self.stderr),
            }
        }
    }

    /// All that it has said on standard error so far; the next wait begins after it.
    pub(crate) fn said(&mut self) -> &str {
        while let Ok(line) = self.lines.try_recv() {
            match line {
                Line::Out(text) => self.stdout.push_str(&text),
                Line::Error(text) => self.stderr.push_str(&text),
            }
        }
        &self.stderr
    }

    /// Blocks until it has ended, and everybody else who holds its standard output or error: its executors do. It may take its time as
    /// long as it says something.
    pub(crate) fn end(mut self) -> Ended {
        while self.next(Instant::now() + PATIENCE).is_some() {}
        let code = self.child.wait().expect("waits").code();
        Ended { code, stdout: std::mem::take(&mut self.stdout), stderr: std::mem::take(&mut self.stderr) }
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().expect("waits").is_some()
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(mut self) -> Ended {
        self.child.kill().expect("kills");
        self.end()
    }

    /// Ends a worker that has nothing to do, with all that it has to say.
    pub(crate) fn dismiss(self) -> Ended {
        self.interrupt();
        self.end().expect(130)
    }

    /// Sends it SIGINT, as Ctrl-C does.
    pub(crate) fn interrupt(&self) {
        signal(self.id(), "INT");
    }

    /// Its children that are executors.
    pub(crate) fn executors(&self) -> Vec<u32> {
        let processes = fs::read_dir("/proc").expect("lists the processes");
        let ids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        ids.filter(|id: &u32| {
            let command = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
            parent(*id) == Some(self.id()) && command.split(|byte| *byte == 0).nth(1) == Some(b"executor")
        })
        .collect()
    }

    /// Kills the executor of a process that has one, in the middle of a bundle: one that was killed too late is idle, costs nothing, and is
    /// followed by another one.
    pub(crate) fn kill_executor_at_work(&mut self) {
        self.wait_for(&["training a bundle"]);
        loop {
            let executors = self.executors();
            assert!(executors.len() <= 1, "{executors:?}");
            // It may have ended with its process meanwhile.
            executors.iter().for_each(|executor| signal(*executor, "KILL"));
            if self.wait_for_any(&["a lease failed", "training a bundle"]).contains("a lease failed") {
                return;
            }
        }
    }

    /// The next line on standard error with one of `words`, from where the last wait ended.
    fn wait_for_any(&mut self, words: &[&str]) -> String {
        loop {
            match self.next(Instant::now() + PATIENCE) {
                Some(Line::Error(line)) if words.iter().any(|word| line.contains(word)) => return line,
                Some(_) => {}
                None => {
                    panic!("the process ended without a line with any of {words:?}:\n{}{}", self.stdout, self.stderr)
                }
            }
        }
    }

    fn next(&mut self, deadline: Instant) -> Option<Line> {
        self.next_before(deadline).unwrap_or_else(|Silence| self.give_up())
    }

    fn next_before(&mut self, deadline: Instant) -> Result<Option<Line>, Silence> {
        match self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                let (text, log) = match &line {
                    Line::Out(text) => (text, &mut self.stdout),
                    Line::Error(text) => (text, &mut self.stderr),
                };
                log.push_str(text);
                Ok(Some(line))
            }
            Err(RecvTimeoutError::Disconnected) => Ok(None),
            Err(RecvTimeoutError::Timeout) => Err(Silence),
        }
    }

    fn give_up(&self) -> ! {
        panic!("nothing happened for {PATIENCE:?} after:\n{}{}", self.stdout, self.stderr)
    }
}

/// Nothing was said in the time given.
struct Silence;

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended, and been waited for, already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The stages that a worker completed, as its log says.
    pub(crate) fn completed(&self) -> u64 {
        let completes = |line: &&str| line.contains("a stage ended") && line.contains(r#"outcome="completed""#);
        self.stderr.lines().filter(completes).count() as u64
    }

    /// Asserts the exit code, and shows what was said when it is another one.
    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{}{}", self.stdout, self.stderr);
        self
    }

    /// Standard output as the one JSON document that it must be.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {:?}\n{}", self.stdout, self.stderr))
    }
}

fn forward(pipe: impl Read + Send + 'static, lines: mpsc::Sender<Line>, line: fn(String) -> Line) {
    thread::spawn(move || {
        let mut pipe = BufReader::new(pipe);
        let mut bytes = vec![];
        while pipe.read_until(b'\n', &mut bytes).is_ok_and(|count| count > 0) {
            // The test may have ended.
            let _ = lines.send(line(String::from_utf8_lossy(&bytes).into_owned()));
            bytes.clear();
        }
    });
}

/// Sends a signal by its name.
pub(crate) fn signal(process: u32, name: &str) {
    let sent = Command::new("sh").args(["-c", &format!("kill -{name} {process}")]).status();
    assert!(sent.is_ok_and(|status| status.success()), "the signal {name} cannot be sent to {process}");
}

/// Whether the process runs; one that has ended and that nobody has asked about does not.
pub(crate) fn is_alive(process: u32) -> bool {
    let Some(state) = fields(process) else { return false };
    !matches!(state.first().map(String::as_str), Some("Z" | "X"))
}

fn parent(process: u32) -> Option<u32> {
    fields(process)?.get(1)?.parse().ok()
}

/// The fields of `/proc/<id>/stat` after the program's name: state, parent, …
fn fields(process: u32) -> Option<Vec<String>> {
    let text = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    let (_, fields) = text.rsplit_once(')')?;
    Some(fields.split_whitespace().map(str::to_owned).collect())
}

/// Looks again and again until there is something. For what cannot be blocked on: files, and other processes' children.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{what}: not within {PATIENCE:?}");
        // Between two looks; there is no event to wait for.
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// A coordinator of its own process.
pub(crate) struct Server {
    pub(crate) process: Process,
    /// Where it listens.
    pub(crate) address: String,
}

impl Server {
    /// Starts one over `data` in the lab's folder, on a free port.
    pub(crate) fn start(lab: &Lab) -> Self {
        Self::start_on(lab, &free_port())
    }

    /// Starts one where another one was.
    pub(crate) fn start_on(lab: &Lab, address: &str) -> Self {
        // Workers are back long before that, however busy the machine is.
        Self::waiting_for_workers(lab, address, 30)
    }

    /// Starts one that keeps a lost worker's leases for it for `seconds`, and waits that long for workers if it finds unfinished work.
    pub(crate) fn waiting_for_workers(lab: &Lab, address: &str, seconds: u32) -> Self {
        let own = ["serve", "--listen", address, "--data-dir", "data", "--reattach-within", &seconds.to_string()];
        Self::of(lab.start(&[&own[..], &PATIENT].concat()))
    }

    /// The one that a process begins to be.
    pub(crate) fn of(mut process: Process) -> Self {
        let line = process.wait_for(&["listening", "address="]);
        let address = line.split("address=").nth(1).and_then(|rest| rest.split_whitespace().next());
        Self { process, address: address.expect("an address").to_owned() }
    }

    /// A worker for it with one slot, attached.
    pub(crate) fn worker(&self, lab: &Lab, name: &str) -> Process {
        self.worker_with(lab, name, &[])
    }

    /// The same with further options.
    pub(crate) fn worker_with(&self, lab: &Lab, name: &str, options: &[&str]) -> Process {
        let coordinator = ["--coordinator", self.address.as_str()];
        let own = ["--name", name, "--cache-dir", name, "--slots", "1", "--lanes", "2"];
        let mut worker = lab.start(&[&["worker"], &coordinator[..], &own[..], options].concat());
        worker.wait_for(&["attached", "worker="]);
        worker
    }
}

/// Options of `serve` for tests: no worker is taken for dead because the machine is busy.
pub(crate) const PATIENT: [&str; 2] = ["--worker-timeout", "3600"];

/// Where a server can listen, and another one after it: no other server of these tests, and no connection of any program, takes the port
/// meanwhile. All of 127.0.0.0/8 is this machine, and connections come from 127.0.0.1.
pub(crate) fn loopback() -> Ipv4Addr {
    static SERVERS: AtomicU8 = AtomicU8::new(0);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, 1 + SERVERS.fetch_add(1, Ordering::Relaxed) % 250, high, low)
}

/// A free port of [`loopback`], for `serve --listen`.
pub(crate) fn free_port() -> String {
    SocketAddr::from((loopback(), 0)).to_string()
}

/// `report.json` in a folder, as bytes.
pub(crate) fn report(folder: &Path) -> Vec<u8> {
    fs::read(folder.join("report.json")).expect("there is a report")
}
