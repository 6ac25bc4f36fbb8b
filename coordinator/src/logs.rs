//! Logs of attempts at stages: one file of lines for each stage, in a folder. Lines are for people only, so they may be
//! lost: they are not flushed, and a stage has limited space, with extra space for how its attempts ended. Lines that
//! arrive faster than the disk writes are dropped and counted. All files together are limited too: the least recently
//! written files are removed first. It knows files and keys of stages, but no sweeps and no network.

use std::{
    collections::{BTreeMap, HashMap},
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};

use secateur_proto::ids::StageKey;
use serde::{Deserialize, Serialize};
use tokio::sync::{broadcast, mpsc, oneshot};
use tracing::{debug, warn};

/// The maximum size in bytes of a stage's file.
const ROOM: u64 = 1 << 20;

/// Extra bytes for lines about how attempts ended, so that these are not crowded out by the epochs of another attempt.
const ROOM_FOR_ENDS: u64 = ROOM / 4;

/// The maximum length in bytes of a line's text.
const LONGEST: usize = 2_000;

/// Lines that may wait for the disk.
const WAITING: usize = 8_192;

/// The size of a file on a disk is a multiple of this.
const BLOCK: u64 = 4_096;

/// The number of notices that a slow reader may fall behind.
const BEHIND: usize = 1_024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Unix time in milliseconds.
    pub at: u64,
    /// The number of the attempt.
    pub attempt: u32,
    /// The name of the worker.
    pub worker: String,
    /// The text.
    pub text: String,
}

/// The importance of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It starts a file if there is none.
    Telling,
    /// The same, and it reports an attempt that ended without success.
    Ending,
    /// It does not start a file: a completed attempt without other lines needs no log.
    Closing,
}

/// Limits of disk usage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Bytes of all files together.
    pub total: u64,
    /// Nothing is written while fewer bytes are free.
    pub keep_free: u64,
}

enum Command {
    Say(StageKey, Weight, Line),
    Remove(Vec<StageKey>),
    Flush(oneshot::Sender<()>),
}

/// The logs of all stages. Clones share them.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: Arc<PathBuf>,
    commands: mpsc::Sender<Command>,
    changed: broadcast::Sender<StageKey>,
    left_out: Arc<AtomicU64>,
}

impl Logs {
    /// Opens the folder, and creates it if it does not exist. Removes logs of stages that `is_known` does not know, and
    /// those over the limits in `bounds`.
    ///
    /// # Errors
    /// If it cannot be created or read, or a thread cannot be started.
    pub fn open(folder: PathBuf, bounds: Bounds, is_known: impl Fn(&StageKey) -> bool) -> io::Result<Self> {
        fs::create_dir_all(&folder)?;
        let folder = Arc::new(folder);
        let (commands, receiver) = mpsc::channel(WAITING);
        let (changed, _) = broadcast::channel(BEHIND);
        let left_out = Arc::new(AtomicU64::new(0));
        let logs = Self { folder, commands, changed, left_out };
        let (folder, changed, left_out) = (Arc::clone(&logs.folder), logs.changed.clone(), Arc::clone(&logs.left_out));
        let files = Files::find(folder, is_known)?;
        let mut writer = Writer { bounds, files, changed, left_out };
        writer.files.shrink(bounds.total)?;
        // Not a thread of the runtime: it lives as long as the logs do, and a simulated clock waits for the runtime's
        // threads.
        thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run(receiver))?;
        Ok(logs)
    }

    /// Adds a line, unless too many wait for the disk.
    pub fn say(&self, stage: StageKey, weight: Weight, line: Line) {
        if self.commands.try_send(Command::Say(stage, weight, line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the logs of these stages, in the background.
    pub async fn remove(&self, stages: Vec<StageKey>) {
        // If the writer is gone, the next one removes them.
        let _ = self.commands.send(Command::Remove(stages)).await;
    }

    /// Waits until all earlier lines can be read.
    pub async fn flush(&self) {
        let (done, waits) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() {
            // A writer that is gone has nothing left to write.
            let _ = waits.await;
        }
    }

    /// Subscribes to the stages that get new lines.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<StageKey> {
        self.changed.subscribe()
    }

    /// Returns the lines of a stage after `offset`, and the offset of their end. Invalid lines are skipped.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, stage: &StageKey, offset: u64) -> io::Result<(Vec<Line>, u64)> {
        let mut file = match File::open(path(&self.folder, stage)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((vec![], offset)),
            Err(error) => return Err(error),
        };
        // A file that is shorter than before was removed and started again.
        let offset = if offset > file.metadata()?.len() { 0 } else { offset };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(2 * ROOM).read_to_end(&mut bytes)?;
        // The last line may not be written completely yet.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = bytes[..whole].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        Ok((lines.collect(), offset + whole as u64))
    }
}

fn path(folder: &Path, stage: &StageKey) -> PathBuf {
    folder.join(format!("{stage}.jsonl"))
}

/// The files, by the time of the last write.
struct Files {
    folder: Arc<PathBuf>,
    by_stage: HashMap<StageKey, LogFile>,
    /// The least recently written first.
    by_turn: BTreeMap<u64, StageKey>,
    next_turn: u64,
    /// Bytes on the disk of all files.
    total: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct LogFile {
    size: u64,
    turn: u64,
}

impl Files {
    /// Finds the files in `folder`. Removes those of stages that `is_known` does not know.
    fn find(folder: Arc<PathBuf>, is_known: impl Fn(&StageKey) -> bool) -> io::Result<Self> {
        let mut found = Vec::new();
        for entry in fs::read_dir(&*folder)? {
            let path = entry?.path();
            let key = path.file_stem().and_then(|name| name.to_str()?.parse::<StageKey>().ok());
            match key {
                None => {}
                Some(key) if is_known(&key) => {
                    let metadata = fs::metadata(&path)?;
                    found.push((metadata.modified()?, key, metadata.len()));
                }
                Some(_) => fs::remove_file(&path)?,
            }
        }
        found.sort_unstable();
        let mut files = Self { folder, by_stage: HashMap::new(), by_turn: BTreeMap::new(), next_turn: 0, total: 0 };
        for (_, stage, size) in found {
            files.grow(stage, size);
        }
        Ok(files)
    }

    fn size(&self, stage: &StageKey) -> u64 {
        self.by_stage.get(stage).map_or(0, |file| file.size)
    }

    /// Notes that bytes were added to a stage's file.
    fn grow(&mut self, stage: StageKey, bytes: u64) {
        let file = self.by_stage.entry(stage).or_default();
        self.by_turn.remove(&file.turn);
        self.next_turn += 1;
        let before = on_disk(file.size);
        (file.size, file.turn) = (file.size + bytes, self.next_turn);
        self.total = self.total - before + on_disk(file.size);
        self.by_turn.insert(file.turn, stage);
    }

    fn remove(&mut self, stage: &StageKey) -> io::Result<()> {
        let Some(file) = self.by_stage.remove(stage) else { return Ok(()) };
        self.by_turn.remove(&file.turn);
        self.total -= on_disk(file.size);
        match fs::remove_file(path(&self.folder, stage)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes the least recently written files, except the last, until all together have at most `total` bytes.
    fn shrink(&mut self, total: u64) -> io::Result<()> {
        while self.total > total && self.by_turn.len() > 1 {
            let Some(stage) = self.by_turn.values().next().copied() else { break };
            self.remove(&stage)?;
        }
        Ok(())
    }
}

/// The size on a disk of a file of `size` bytes.
const fn on_disk(size: u64) -> u64 {
    size.next_multiple_of(BLOCK)
}

struct Writer {
    bounds: Bounds,
    files: Files,
    changed: broadcast::Sender<StageKey>,
    left_out: Arc<AtomicU64>,
}

impl Writer {
    fn run(mut self, mut commands: mpsc::Receiver<Command>) {
        let mut complained = false;
        while let Some(command) = commands.blocking_recv() {
            let done = match command {
                Command::Flush(done) => {
                    // The caller may be gone.
                    let _ = done.send(());
                    Ok(())
                }
                Command::Remove(stages) => stages.iter().try_for_each(|stage| self.files.remove(stage)),
                Command::Say(stage, weight, line) => self.write(&stage, weight, line).map(|written| {
                    if written {
                        // There may be no watchers.
                        let _ = self.changed.send(stage);
                    }
                }),
            };
            match done {
                Ok(()) => {}
                // Warned once only: logs are not a reason to stop an attempt.
                Err(error) if !complained => {
                    complained = true;
                    warn!(%error, folder = %self.files.folder.display(), "cannot write logs of workers");
                }
                Err(error) => debug!(%error, "cannot write a log line"),
            }
        }
    }

    fn write(&mut self, stage: &StageKey, weight: Weight, mut line: Line) -> io::Result<bool> {
        let size = self.files.size(stage);
        if size == 0 && weight == Weight::Closing {
            return Ok(false);
        }
        let room = if weight == Weight::Telling { ROOM } else { ROOM + ROOM_FOR_ENDS };
        if size >= room {
            return Ok(false);
        }
        if self.bounds.keep_free > 0 && fs4::available_space(&*self.files.folder)? < self.bounds.keep_free {
            self.left_out.fetch_add(1, Ordering::Relaxed);
            return Ok(false);
        }
        if line.text.len() > LONGEST {
            let cut = (0..=LONGEST).rev().find(|place| line.text.is_char_boundary(*place)).unwrap_or(0);
            line.text.truncate(cut);
        }
        let mut text = String::new();
        let mut add = |line: &Line| -> io::Result<()> {
            text += &serde_json::to_string(line)?;
            text.push('\n');
            Ok(())
        };
        match self.left_out.swap(0, Ordering::Relaxed) {
            0 => {}
            lines => {
                let text = format!("{lines} lines of this or other stages are missing: the disk was full or too slow");
                add(&Line { text, ..line.clone() })?;
            }
        }
        add(&line)?;
        if size < ROOM && size + text.len() as u64 >= ROOM {
            let end =
                "log limit of the stage reached (1 MiB): from here on only the ends of attempts are logged".to_owned();
            text += &serde_json::to_string(&Line { text: end, ..line })?;
            text.push('\n');
        }
        let mut file = OpenOptions::new().create(true).append(true).open(path(&self.files.folder, stage))?;
        file.write_all(text.as_bytes())?;
        self.files.grow(*stage, text.len() as u64);
        self.files.shrink(self.bounds.total)?;
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use secateur_proto::ids::ContentHash;

    use super::*;

    const BOUNDS: Bounds = Bounds { total: 1 << 30, keep_free: 0 };

    fn key(name: &str) -> StageKey {
        StageKey(ContentHash::of(name.as_bytes()))
    }

    fn line(text: &str) -> Line {
        Line { at: 1, attempt: 2, worker: "w".to_owned(), text: text.to_owned() }
    }

    fn texts(lines: &[Line]) -> Vec<&str> {
        lines.iter().map(|line| line.text.as_str()).collect()
    }

    #[tokio::test]
    async fn lines_are_read_from_where_one_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = Logs::open(folder.path().join("logs"), BOUNDS, |_| true).expect("opens");
        let (a, b) = (key("a"), key("b"));
        let mut changed = logs.watch();
        logs.say(a, Weight::Telling, line("one\ntwo"));
        logs.say(b, Weight::Closing, line("alone"));
        logs.flush().await;
        assert_eq!(changed.try_recv().ok(), Some(a));
        let (lines, end) = logs.read(&a, 0).expect("reads");
        assert_eq!(lines, [line("one\ntwo")]);
        assert_eq!(logs.read(&b, 0).expect("reads"), (vec![], 0), "nothing was said that is worth a file");
        logs.say(a, Weight::Closing, line("the end"));
        logs.flush().await;
        assert_eq!(logs.read(&a, end).expect("reads").0, [line("the end")]);
        // A line that is not complete yet is read later.
        let path = path(&folder.path().join("logs"), &a);
        let whole = fs::read(&path).expect("reads");
        fs::write(&path, &whole[..whole.len() - 3]).expect("writes");
        assert_eq!(logs.read(&a, end).expect("reads"), (vec![], end));
    }

    #[tokio::test]
    async fn a_stage_has_so_much_room_and_a_line_so_much_of_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = Logs::open(folder.path().to_owned(), BOUNDS, |_| true).expect("opens");
        let long = "ä".repeat(LONGEST);
        for _ in 0..2 * ROOM as usize / LONGEST {
            logs.say(key("a"), Weight::Telling, line(&long));
            logs.flush().await;
        }
        let (lines, end) = logs.read(&key("a"), 0).expect("reads");
        assert!(end < ROOM + 2 * LONGEST as u64, "{end}");
        assert!(lines.iter().all(|line| line.text.len() <= LONGEST));
        assert!(texts(&lines).last().is_some_and(|text| text.starts_with("log limit of the stage reached")));
        // The end of the attempt is still logged, within its own limit.
        logs.say(key("a"), Weight::Telling, line("one more"));
        logs.say(key("a"), Weight::Ending, line("failed"));
        logs.flush().await;
        assert_eq!(texts(&logs.read(&key("a"), end).expect("reads").0), ["failed"]);
        for _ in 0..2 * ROOM_FOR_ENDS as usize / LONGEST {
            logs.say(key("a"), Weight::Ending, line(&long));
            logs.flush().await;
        }
        let end = logs.read(&key("a"), 0).expect("reads").1;
        assert!((ROOM + ROOM_FOR_ENDS..ROOM + ROOM_FOR_ENDS + 2 * LONGEST as u64).contains(&end), "{end}");
        logs.say(key("b"), Weight::Telling, line("others have their own"));
        logs.flush().await;
        assert_eq!(logs.read(&key("b"), 0).expect("reads").0.len(), 1);
    }

    #[tokio::test]
    async fn lines_outlive_the_process_unless_nobody_knows_their_stage() {
        let folder = tempfile::tempdir().expect("a folder");
        let open = |known: &'static str| {
            Logs::open(folder.path().to_owned(), BOUNDS, move |stage| *stage == key(known)).expect("opens")
        };
        let logs = open("a");
        for name in ["a", "b"] {
            logs.say(key(name), Weight::Telling, line(name));
        }
        logs.flush().await;
        fs::write(folder.path().join("a note of the operator's.txt"), "stays").expect("writes");
        let logs = open("a");
        logs.say(key("a"), Weight::Telling, line("again"));
        logs.flush().await;
        assert_eq!(texts(&logs.read(&key("a"), 0).expect("reads").0), ["a", "again"]);
        assert_eq!(logs.read(&key("b"), 0).expect("reads").0, []);
        assert_eq!(fs::read_dir(folder.path()).expect("reads").count(), 2);
    }

    /// The stages that have logs.
    async fn kept(logs: &Logs, names: &str) -> String {
        logs.flush().await;
        let has_lines = |name: &char| !logs.read(&key(&name.to_string()), 0).expect("reads").0.is_empty();
        names.chars().filter(has_lines).collect()
    }

    #[tokio::test]
    async fn all_files_have_a_bound_and_the_one_written_longest_ago_goes_first() {
        let folder = tempfile::tempdir().expect("a folder");
        let bounds = Bounds { total: 3 * BLOCK, keep_free: 0 };
        let open = |bounds| Logs::open(folder.path().to_owned(), bounds, |_| true).expect("opens");
        let logs = open(bounds);
        let say = |name: &str| logs.say(key(name), Weight::Telling, line(name));
        ["a", "b", "c", "b"].into_iter().for_each(say);
        assert_eq!(kept(&logs, "abc").await, "abc");
        say("d");
        assert_eq!(kept(&logs, "abcd").await, "bcd");
        say("e");
        assert_eq!(kept(&logs, "abcde").await, "bde");
        // A single file may exceed the limit, and a smaller limit applies from the start.
        let logs = open(Bounds { total: 1, ..bounds });
        assert_eq!(kept(&logs, "abcde").await.len(), 1);
    }

    #[tokio::test]
    async fn nothing_is_written_where_the_disk_has_no_room_left_and_it_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let open =
            |keep_free| Logs::open(folder.path().to_owned(), Bounds { keep_free, ..BOUNDS }, |_| true).expect("opens");
        let logs = open(u64::MAX);
        logs.say(key("a"), Weight::Ending, line("failed"));
        assert_eq!(kept(&logs, "a").await, "");
        assert_eq!(logs.left_out.load(Ordering::Relaxed), 1);
        let logs = open(1);
        logs.say(key("a"), Weight::Ending, line("failed"));
        assert_eq!(kept(&logs, "a").await, "a");
    }

    #[tokio::test]
    async fn what_is_removed_can_begin_anew_and_a_reader_that_was_further_reads_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let logs = Logs::open(folder.path().to_owned(), BOUNDS, |_| true).expect("opens");
        ["a", "b"].into_iter().for_each(|name| logs.say(key(name), Weight::Telling, line("a long beginning")));
        logs.flush().await;
        let (_, end) = logs.read(&key("a"), 0).expect("reads");
        logs.remove(vec![key("a"), key("unknown")]).await;
        assert_eq!(kept(&logs, "ab").await, "b");
        logs.say(key("a"), Weight::Telling, line("anew"));
        logs.flush().await;
        assert_eq!(texts(&logs.read(&key("a"), end).expect("reads").0), ["anew"]);
    }
}
