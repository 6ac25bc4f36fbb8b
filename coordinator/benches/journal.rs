//! Stages per second through the driver into a journal on a disk, with workers that do not train.
//!
//! `cargo bench --profile dev -p secateur --bench journal [FOLDER]` runs a sweep of dense stages with a handful of
//! workers and with a cluster, in bundles of 1 and of 16. Each result is on the disk before the worker gets its next
//! stages; a second journal in memory shows the cost of the disk. It also prints the time that a caller waits for a
//! single record, the time of a replay, and the memory of the process at the end (plan, core, driver, and the workers'
//! ends of the channels) and at its peak, including planning and a snapshot. `MIMALLOC_PURGE_DELAY=0` gives the memory
//! of the service in deploy/. Each line is measured in a process of its own.
//!
//! Before the table, it prints the cost of a start: from the whole history of such a sweep, whose stages failed some
//! times before they completed, and from a snapshot of it. For each it prints the seconds and the peak memory of a
//! process, and how long the snapshot takes.
//!
//! FOLDER is the folder of the journal. The default is the system's temporary folder, which may be in memory and then
//! faster than any disk.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

mod common;

use std::{
    error::Error,
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use secateur::{
    driver::Driver,
    journal::{Journal, JournalError, Line, Place, Sqlite},
    scheduler::{AttemptId, Entry, Event, Policy, Record, ShareChange, SweepState, Timestamp},
    upkeep,
};
use secateur_proto::{
    ids::WorkerId,
    outcome::{Failure, FailureClass},
    v1::{CoordinatorMessage, coordinator_message::Message},
};

const STAGES: u64 = 200_000;
/// The journal on a disk.
const SQLITE: &str = "sqlite";
/// The argument by which it runs itself to start on a journal.
const START: &str = "--start";
/// The argument by which it runs itself to print one line: on a disk or in memory, lanes, workers, slots, and the
/// folder.
const LINE: &str = "--line";
/// Records that a single caller writes one after the other.
const ALONE: u32 = 500;

/// A journal in memory.
#[derive(Debug)]
struct InMemory(Place, Vec<String>);

#[async_trait]
impl Journal for InMemory {
    fn place(&self) -> &Place {
        &self.0
    }

    async fn read(&mut self, _: &mut (dyn FnMut(Line) + Send)) -> Result<Option<String>, JournalError> {
        Ok(None)
    }

    async fn append(&mut self, entries: Vec<String>) -> Result<(), JournalError> {
        self.1.extend(entries);
        Ok(())
    }

    async fn identity(&mut self, fresh: &str) -> Result<String, JournalError> {
        Ok(fresh.to_owned())
    }

    fn next(&self) -> i64 {
        self.1.len() as i64
    }

    async fn begin_at(&mut self, first: i64) -> Result<(), JournalError> {
        drop(self.1.drain(..usize::try_from(first).unwrap_or(0)));
        Ok(())
    }

    async fn confirm(&mut self) -> Result<(), JournalError> {
        Ok(())
    }

    async fn copy_aside(&mut self) -> Result<String, JournalError> {
        Ok(String::new())
    }

    async fn replace(self: Box<Self>, _: Vec<String>) -> Result<(), JournalError> {
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<(), JournalError> {
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [START, file, ..] => return start(Path::new(file)).await,
        [LINE, name, lanes, workers, slots, parent, ..] => {
            return line(name, lanes.parse()?, (workers.parse()?, slots.parse()?), Path::new(parent)).await;
        }
        _ => {}
    }
    let parent = words.iter().find(|word| !word.starts_with("--")).map_or_else(std::env::temp_dir, PathBuf::from);
    for failures in [0, 1, 5] {
        starts(&parent, failures).await?;
    }
    println!();
    println!(
        "{:>9} {:>9} {:>6} {:>8} {:>6} {:>12} {:>17} {:>10} {:>8} {:>9}",
        "journal",
        "stages",
        "lanes",
        "workers",
        "slots",
        "stages/s",
        "us/record alone",
        "MB in all",
        "MB peak",
        "replay/s"
    );
    for name in ["memory", SQLITE] {
        for (workers, slots) in common::FLEETS {
            for lanes in [1, 16] {
                let numbers = [lanes, workers, slots].map(|number| number.to_string());
                let mut command = Command::new(std::env::current_exe()?);
                let status = command.args([LINE, name]).args(numbers).arg(&parent).status()?;
                if !status.success() {
                    return Err(format!("{status}").into());
                }
            }
        }
    }
    Ok(())
}

/// Prints one line of the table.
async fn line(name: &str, lanes: u32, fleet: (u32, u32), parent: &Path) -> Result<(), Box<dyn Error>> {
    let on_disk = name == SQLITE;
    let folder = tempfile::tempdir_in(parent)?;
    let file = folder.path().join("journal.db");
    let journal: Box<dyn Journal> = if on_disk {
        Box::new(Sqlite::open(&file).await?)
    } else {
        Box::new(InMemory(Place::File(folder.path().to_owned()), vec![]))
    };
    let (together, alone, memory) = run(journal, lanes, fleet).await?;
    let peak = megabytes(common::memory("VmHWM:"));
    let replay = if on_disk { format!("{:.2}", replay(&file).await?.as_secs_f64()) } else { String::new() };
    let (workers, slots) = fleet;
    let (alone, memory) = (alone.as_secs_f64() * 1e6 / f64::from(ALONE), megabytes(memory));
    println!(
        "{name:>9} {STAGES:>9} {lanes:>6} {workers:>8} {slots:>6} {:>12.0} {alone:>17.0} {memory:>10} {peak:>8} {replay:>9}",
        STAGES as f64 / together.as_secs_f64()
    );
    Ok(())
}

fn megabytes(bytes: Option<u64>) -> String {
    bytes.map_or_else(|| "unknown".to_owned(), |bytes| (bytes / 1_000_000).to_string())
}

/// Measures the cost of a start from a history and from a snapshot of it.
async fn starts(parent: &Path, failures: u32) -> Result<(), Box<dyn Error>> {
    let folder = tempfile::tempdir_in(parent)?;
    let file = folder.path().join("journal.db");
    write_history(&file, failures).await?;
    println!("each of {STAGES} stages has failed {failures} times and completed");
    let mut seconds = vec![];
    // The first run writes a snapshot for the second.
    for begins_with in ["history", "snapshot"] {
        let output = Command::new(std::env::current_exe()?).arg(START).arg(&file).output()?;
        let words = String::from_utf8(output.stdout)?;
        print!("  {begins_with:>8}: {words}");
        seconds.push(words.split_whitespace().next().ok_or("no answer")?.parse::<f64>()?);
    }
    println!("  a start costs {:.1} times less", seconds[0] / seconds[1]);
    Ok(())
}

/// Writes the journal of a sweep whose stages failed some times before they completed, with results of usual size.
async fn write_history(file: &Path, failures: u32) -> Result<(), Box<dyn Error>> {
    let plan = Arc::new(common::plan(STAGES)?);
    let mut journal = Sqlite::open(file).await?;
    journal.read(&mut |_| {}).await?;
    let lines = |record| Entry::new(Timestamp(1), record).into_lines();
    journal
        .append(
            lines(Record::Started)
                .chain(lines(Record::SweepSubmitted { plan: Arc::clone(&plan), open: false, by: None }))
                .collect(),
        )
        .await?;
    let mut lease = 0_u64;
    for stages in plan.keys().collect::<Vec<_>>().chunks(1_000) {
        let mut entries = vec![];
        for stage in stages {
            for number in 1..=failures {
                let failure = Failure::new(FailureClass::Executor, "signal: 9 (killed): it said nothing more");
                lease += 1;
                let attempt = Some(AttemptId { lease: format!("1-{lease}").parse()?, number });
                let worker = Some("gpu-07.example".to_owned());
                entries.extend(lines(Record::AttemptFailed { stage: *stage, lanes: 1, failure, worker, attempt }));
            }
            let outcome = common::completed();
            entries.extend(lines(Record::StageEnded { stage: *stage, outcome }));
        }
        journal.append(entries).await?;
    }
    Ok(Box::new(journal).close().await?)
}

/// Starts on a journal, prints the cost, and writes a snapshot.
async fn start(file: &Path) -> Result<(), Box<dyn Error>> {
    let begun = Instant::now();
    let mut journal = Sqlite::open(file).await?;
    let core = upkeep::restore(&mut journal, &Policy::default()).await?;
    let restored = begun.elapsed().as_secs_f64();
    let peak = megabytes(common::memory("VmHWM:"));
    let (records, size) = (core.since_snapshot(), std::fs::metadata(file)?.len() / 1_000_000);
    assert_eq!(core.stages_ended(), STAGES, "the journal holds every result");
    let begun = Instant::now();
    let lines = core.snapshot().lines(Timestamp(2));
    let encoded = begun.elapsed().as_secs_f64();
    let bytes = lines.iter().map(String::len).sum::<usize>() / 1_000_000;
    journal.begin_with(lines).await?;
    let written = begun.elapsed().as_secs_f64();
    println!(
        "{restored:.2} s, {peak} MB at most, {records} records, file of {size} MB; a snapshot: encoded after {encoded:.2} s, \
         written after {written:.2} s, {bytes} MB"
    );
    Ok(())
}

/// The time of a replay.
async fn replay(file: &Path) -> Result<Duration, Box<dyn Error>> {
    let begun = Instant::now();
    let mut journal = Sqlite::open(file).await?;
    let core = upkeep::restore(&mut journal, &Policy::default()).await?;
    assert_eq!(core.stages_ended(), STAGES, "the journal holds every result");
    Ok(begun.elapsed())
}

/// Measures all stages of a plan, then `ALONE` single records, then the memory.
async fn run(
    mut journal: Box<dyn Journal>,
    lanes: u32,
    (workers, slots): (u32, u32),
) -> Result<(Duration, Duration, Option<u64>), Box<dyn Error>> {
    let core = upkeep::restore(&mut *journal, &Policy::default()).await?;
    let (driver, driving) = Driver::start(core, journal, SystemTime::now);
    let plan = Arc::new(common::plan(STAGES)?);
    let sweep = plan.sweep.id.clone();
    driver
        .apply(Event::SweepSubmitted { plan: Arc::clone(&plan), share: ShareChange::default(), open: false, by: None })
        .await?;
    let begun = Instant::now();
    let mut at_work = vec![];
    for number in 0..workers {
        let worker: WorkerId = format!("w{number}").parse()?;
        at_work.push(tokio::spawn(work(driver.clone(), worker, (lanes, slots))));
    }
    loop {
        let id = sweep.clone();
        let status = driver.read(move |core| core.sweep(&id)).await?.ok_or("the sweep is gone")?;
        if status.state == SweepState::Completed {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let together = begun.elapsed();
    let memory = common::memory("VmRSS:");
    for worker in at_work {
        worker.abort();
    }
    let begun = Instant::now();
    for _ in 0..ALONE {
        driver.apply(Event::Started).await?;
    }
    let alone = begun.elapsed();
    driver.close().await;
    driving.await??;
    Ok((together, alone, memory))
}

/// A worker whose stages complete at once.
async fn work(driver: Driver, worker: WorkerId, (lanes, slots): (u32, u32)) -> Result<(), String> {
    let told = |error: &dyn Error| error.to_string();
    let slots = NonZeroU32::new(slots).ok_or("no slots")?;
    let lanes = NonZeroU32::new(lanes).ok_or("no lanes")?;
    let (name, device, instance) = (String::new(), String::new(), "bench".parse().map_err(|error| told(&error))?);
    let joined =
        Event::WorkerJoined { worker: worker.clone(), instance, name, device, slots, held: vec![], cordoned_by: None };
    let attached = driver.attach(joined, CoordinatorMessage::default()).await;
    let mut messages = attached.map_err(|error| told(&error))?.orders;
    while let Some(Ok(message)) = messages.recv().await {
        match message.message {
            Some(Message::Calibrate(asked)) => {
                let class = asked.bundle_class.parse().map_err(|error| told(&error))?;
                let answer = Event::Calibrated { worker: worker.clone(), class, lanes, lane_steps_per_second: 1.0 };
                driver.notify(answer).await.map_err(|error| told(&error))?;
            }
            Some(Message::Lease(given)) => {
                let lease: secateur_proto::ids::LeaseId = given.lease_id.parse().map_err(|error| told(&error))?;
                for leased in given.stages {
                    let stage = leased.stage.ok_or("no stage")?.key.parse().map_err(|error| told(&error))?;
                    let outcome = common::completed();
                    let (worker, lease, attempt) = (worker.clone(), lease.clone(), leased.attempt);
                    let event = Event::StageReported { worker, lease, stage, attempt, outcome };
                    driver.notify(event).await.map_err(|error| told(&error))?;
                }
                let ended = Event::LeaseEnded { worker: worker.clone(), lease, failure: None };
                driver.notify(ended).await.map_err(|error| told(&error))?;
            }
            _ => {}
        }
    }
    Ok(())
}
