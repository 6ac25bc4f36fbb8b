//! What was said of attempts at stages: a file of lines for each stage of which something was said, in a folder. Lines are of use to
//! people alone, so they may be lost: they are not flushed, a stage has room for so many, how its attempts ended apart, and what comes
//! faster than a disk takes it is left out, and counted. All files together have a bound, too: those that were written longest ago are
//! removed first. Knows files and keys of stages, and nothing of sweeps or the network.

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

/// Bytes that a stage has room for.
const ROOM: u64 = 1 << 20;

/// Bytes behind them that there are for how attempts ended: who looks for that must not find the epochs of another attempt alone.
const ROOM_FOR_ENDS: u64 = ROOM / 4;

/// Bytes of a line's text.
const LONGEST: usize = 2_000;

/// Lines that may wait for the disk.
const WAITING: usize = 8_192;

/// What a file takes on a disk is a multiple of this.
const BLOCK: u64 = 4_096;

/// Notices that a slow reader may be behind.
const BEHIND: usize = 1_024;

/// A line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// Unix time in milliseconds.
    pub at: u64,
    /// Of which attempt.
    pub attempt: u32,
    /// The name of the worker.
    pub worker: String,
    /// What was said.
    pub text: String,
}

/// How a line came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// It is worth a file.
    Telling,
    /// The same, and how an attempt ended without success.
    Ending,
    /// It is only kept behind others: that an attempt completed of which nothing was said is no news.
    Closing,
}

/// How much of a disk the files may take.
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

/// The lines of all stages. Copies are the same.
#[derive(Debug, Clone)]
pub struct Logs {
    folder: Arc<PathBuf>,
    commands: mpsc::Sender<Command>,
    changed: broadcast::Sender<StageKey>,
    left_out: Arc<AtomicU64>,
}

impl Logs {
    /// Opens the folder, and makes it if need be. Removes the lines of stages that `is_known` does not know, and what is beyond `bounds`.
    ///
    /// # Errors
    /// If it cannot be made or read, or the system gives no thread.
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
        // Not one of the runtime's: it lives as long as the logs do, and a simulated clock waits for the runtime's threads.
        thread::Builder::new().name("logs".to_owned()).spawn(move || writer.run(receiver))?;
        Ok(logs)
    }

    /// Adds a line, unless the disk is behind.
    pub fn say(&self, stage: StageKey, weight: Weight, line: Line) {
        if self.commands.try_send(Command::Say(stage, weight, line)).is_err() {
            self.left_out.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Removes the lines of these stages, soon.
    pub async fn remove(&self, stages: Vec<StageKey>) {
        // A writer that is gone removes nothing; the next one does.
        let _ = self.commands.send(Command::Remove(stages)).await;
    }

    /// Waits until what was said before can be read.
    pub async fn flush(&self) {
        let (done, waits) = oneshot::channel();
        if self.commands.send(Command::Flush(done)).await.is_ok() {
            // A writer that is gone has nothing more to write.
            let _ = waits.await;
        }
    }

    /// Tells of which stages there are new lines, from now on.
    #[must_use]
    pub fn watch(&self) -> broadcast::Receiver<StageKey> {
        self.changed.subscribe()
    }

    /// The lines of a stage behind `offset`, and where they end. Lines that cannot be read are passed over.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn read(&self, stage: &StageKey, offset: u64) -> io::Result<(Vec<Line>, u64)> {
        let mut file = match File::open(path(&self.folder, stage)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((vec![], offset)),
            Err(error) => return Err(error),
        };
        // What is shorter than it was has been removed, and begun anew.
        let offset = if offset > file.metadata()?.len() { 0 } else { offset };
        file.seek(SeekFrom::Start(offset))?;
        let mut bytes = Vec::new();
        file.take(2 * ROOM).read_to_end(&mut bytes)?;
        // The last line may still be on its way to the disk.
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        let lines = bytes[..whole].split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok());
        Ok((lines.collect(), offset + whole as u64))
    }
}

fn path(folder: &Path, stage: &StageKey) -> PathBuf {
    folder.join(format!("{stage}.jsonl"))
}

/// The files, by when they were written last.
struct Files {
    folder: Arc<PathBuf>,
    by_stage: HashMap<StageKey, LogFile>,
    /// From the one that was written longest ago on.
    by_turn: BTreeMap<u64, StageKey>,
    next_turn: u64,
    /// Bytes on the disk of all of them.
    total: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct LogFile {
    size: u64,
    turn: u64,
}

impl Files {
    /// Those in `folder`. Those of stages that `is_known` does not know are removed.
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

    /// Bytes were added to the file of a stage.
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

    /// Removes those that were written longest ago, but not the last, until all together have at most so many bytes.
    fn shrink(&mut self, total: u64) -> io::Result<()> {
        while self.total > total && self.by_turn.len() > 1 {
            let Some(stage) = self.by_turn.values().next().copied() else { break };
            self.remove(&stage)?;
        }
        Ok(())
    }
}

/// Bytes that a file of that size takes on a disk.
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
                    // Whoever waited may have gone.
                    let _ = done.send(());
                    Ok(())
                }
                Command::Remove(stages) => stages.iter().try_for_each(|stage| self.files.remove(stage)),
                Command::Say(stage, weight, line) => self.write(&stage, weight, line).map(|written| {
                    if written {
                        // Nobody may be watching.
                        let _ = self.changed.send(stage);
                    }
                }),
            };
            match done {
                Ok(()) => {}
                // Once is enough: what is said of an attempt is no reason to stop it.
                Err(error) if !complained => {
                    complained = true;
                    warn!(%error, folder = %self.files.folder.display(), "cannot write logs of workers");
                }
                Err(error) => debug!(%error, "a line is lost"),
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
                let text = format!(
                    "{lines} lines of this stage or others are missing: the disk was full, or too slow for them"
                );
                add(&Line { text, ..line.clone() })?;
            }
        }
        add(&line)?;
        if size < ROOM && size + text.len() as u64 >= ROOM {
            let end = "what follows is left out, but for how attempts end: that is 1 MiB of this stage".to_owned();
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
        // A line that is on its way is read when it is there.
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
        assert!(texts(&lines).last().is_some_and(|text| text.starts_with("what follows is left out")));
        // How the attempt ended is told nonetheless, and no more than there is room for.
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

    /// Which of the stages have lines.
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
        // A file alone may be larger than the bound, and a bound that became smaller holds from the start.
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
