//! The cost of reports of a large sweep for a coordinator, with one reader and with ten at once.
//!
//! `cargo bench --profile dev -p secateur --bench queries [TRIALS]` runs a coordinator whose journal has a sweep of
//! 200,000 (or TRIALS) completed trials. All readers ask for `report.json` over gRPC at the same time and discard the
//! chunks. It prints how long the last reader waits, how long a query of the sweep's status takes at most meanwhile,
//! and the memory of the process before the first query and at its peak. Each line is measured in a process of its own.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

mod common;

use std::{
    error::Error,
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use common::{completed, memory, plan_in_cells};
use futures::future::try_join_all;
use secateur::{
    admission::Limits,
    scheduler::{Entry, Policy, Record, Timestamp},
    server::{Coordinator, DataDir, Reach},
};
use secateur_proto::{
    ids::ContentHash,
    v1::{GetReportRequest, GetSweepRequest, ReportFormat, sweep_service_client::SweepServiceClient},
};
use secateur_worker::connection::{AuthorizedChannel, Remote};

const TRIALS: u64 = 200_000;
/// Trials in each cell.
const SEEDS: u64 = 5;
/// The argument by which it runs itself to print one line: readers, trials, and the folder.
const LINE: &str = "--line";
/// The token of the coordinator.
const TOKEN: &str = "a token of a benchmark's";
/// The interval of queries of the status meanwhile.
const BETWEEN_LOOKS: Duration = Duration::from_millis(5);

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [word, readers, folder] = arguments.as_slice()
        && word == LINE
    {
        let runtime = tokio::runtime::Runtime::new()?;
        return runtime.block_on(measure(readers.parse()?, Path::new(folder)));
    }
    let trials = arguments.first().map_or(Ok(TRIALS), |trials| trials.parse())?;
    let folder = tempfile::tempdir()?;
    tokio::runtime::Runtime::new()?.block_on(write_journal(trials, folder.path()))?;
    println!(
        "{:>9} {:>8} {:>10} {:>9} {:>14} {:>10} {:>9}",
        "trials", "readers", "report MB", "seconds", "status ms", "before MB", "peak MB"
    );
    for readers in [1, 10] {
        print!("{trials:>9} {readers:>8} ");
        std::io::Write::flush(&mut std::io::stdout())?;
        let line =
            Command::new(std::env::current_exe()?).args([LINE, &readers.to_string()]).arg(folder.path()).status()?;
        if !line.success() {
            return Err("a line failed".into());
        }
    }
    Ok(())
}

/// Writes the journal of a completed sweep.
async fn write_journal(trials: u64, folder: &Path) -> Result<(), Box<dyn Error>> {
    let data_dir = DataDir::lock(folder)?;
    let mut journal = data_dir.open_journal().await?;
    let plan = Arc::new(plan_in_cells(trials + 1, SEEDS)?);
    let ended = plan.keys().map(|stage| Record::StageEnded { stage, outcome: completed() });
    let records = [Record::Started, Record::SweepSubmitted { plan: Arc::clone(&plan), open: false, by: None }]
        .into_iter()
        .chain(ended);
    let lines: Vec<String> = records.flat_map(|record| Entry::new(Timestamp(1), record).into_lines()).collect();
    for lines in lines.chunks(10_000) {
        journal.append(lines.to_vec()).await?;
    }
    Ok(journal.close().await?)
}

async fn measure(readers: usize, folder: &Path) -> Result<(), Box<dyn Error>> {
    let data_dir = DataDir::lock(folder)?;
    let journal = data_dir.open_journal().await?;
    let (address, reach) =
        (SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Reach::Itself { token: ContentHash::of(TOKEN.as_bytes()) });
    let coordinator =
        Coordinator::start(data_dir, journal, address, reach, Policy::default(), Limits::NONE, None).await?;
    let remote = Remote::local(&coordinator.address.to_string(), TOKEN.to_owned())?;
    let asked = async {
        let before = memory("VmRSS:");
        let begun = Instant::now();
        let mut reading = Vec::new();
        for _ in 0..readers {
            reading.push(read(SweepServiceClient::new(remote.connect().await?)));
        }
        let reading = try_join_all(reading);
        let looking = look(SweepServiceClient::new(remote.connect().await?));
        tokio::pin!(looking, reading);
        let mut slowest = Duration::ZERO;
        let sizes = loop {
            tokio::select! {
                sizes = &mut reading => break sizes?,
                waited = &mut looking => {
                    slowest = slowest.max(waited?);
                    looking.set(look(SweepServiceClient::new(remote.connect().await?)));
                }
            }
        };
        Ok::<_, Box<dyn Error>>((sizes, begun.elapsed(), slowest, before))
    };
    let (sizes, elapsed, slowest, before) = coordinator.run_until(asked).await??;
    if sizes.iter().any(|size| *size != sizes[0]) {
        return Err("readers got different reports".into());
    }
    let megabytes = |bytes: Option<u64>| bytes.map_or_else(|| "unknown".to_owned(), |bytes| (bytes >> 20).to_string());
    println!(
        "{:>10} {:>9.1} {:>14.1} {:>10} {:>9}",
        sizes[0] >> 20,
        elapsed.as_secs_f64(),
        slowest.as_secs_f64() * 1e3,
        megabytes(before),
        megabytes(memory("VmHWM:"))
    );
    Ok(())
}

/// The size of the report in bytes.
async fn read(mut sweeps: SweepServiceClient<AuthorizedChannel>) -> Result<usize, Box<dyn Error>> {
    let request = GetReportRequest { sweep_id: "benchmark".to_owned(), format: ReportFormat::Json.into() };
    let mut chunks = sweeps.get_report(request).await?.into_inner();
    let mut size = 0;
    while let Some(chunk) = chunks.message().await? {
        size += chunk.data.len();
    }
    Ok(size)
}

/// The time of a query of the sweep's status.
async fn look(mut sweeps: SweepServiceClient<AuthorizedChannel>) -> Result<Duration, Box<dyn Error>> {
    tokio::time::sleep(BETWEEN_LOOKS).await;
    let begun = Instant::now();
    sweeps.get(GetSweepRequest { sweep_id: "benchmark".to_owned() }).await?;
    Ok(begun.elapsed())
}
