//! Trials per second if a trial needs next to no computing, with real processes: `run`, and `serve` with workers. It
//! also shows how the time of a slot is spent, from the logs of coordinator and workers.
//!
//! `cargo bench --profile dev -p secateur --bench small_stages [TRIALS [SLOTS]]` trains perceptrons with two neurons
//! for one epoch on a hundred rows, one lane at a time. The first table has wall times without logs. The second is from
//! another run with logs at `debug`, which cost a few percent: use its shares, not its totals.
#![expect(clippy::print_stdout, reason = "printing numbers is what it is for")]

use std::{
    collections::HashMap,
    env,
    error::Error,
    fmt::Write as _,
    fs::{self, File},
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

type Failure = Box<dyn Error>;

/// A sweep of two cells and their dense controls, with a number of seeds.
fn sweep(trials: u64) -> String {
    format!(
        "version: 1
name: small-stages
data:
  path: table.csv
  target: y
  task: binary
  split: {{kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 1}}
model: {{kind: mlp, hidden: [2]}}
training: {{optimizer: {{kind: sgd, lr: 0.1}}, batch_size: 64, epochs: 1}}
pruning: {{strategy: magnitude, sparsity: [0.25, 0.5], retrain: {{epochs: 1}}}}
seeds: {}
controls: [dense]
",
        trials.div_ceil(3)
    )
}

fn table() -> String {
    let mut text = "a,b,y\n".to_owned();
    for row in 0..100_u32 {
        let (a, b) = (f64::from(row * 37 % 100) / 100.0, f64::from(row * 61 % 100) / 100.0);
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{a},{b},{}", u8::from(a + b > 1.0));
    }
    text
}

/// A process that is killed when its handle is dropped.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `secateur` in a folder of its own.
struct Lab {
    folder: tempfile::TempDir,
    /// The log filter.
    filter: &'static str,
}

impl Lab {
    fn new(trials: u64, filter: &'static str) -> Result<Self, Failure> {
        let lab = Self { folder: tempfile::tempdir()?, filter };
        fs::write(lab.folder.path().join("sweep.yaml"), sweep(trials))?;
        fs::write(lab.folder.path().join("table.csv"), table())?;
        Ok(lab)
    }

    fn log(&self, name: &str) -> std::path::PathBuf {
        self.folder.path().join(format!("{name}.log"))
    }

    fn command(&self, name: &str, arguments: &[&str]) -> Result<Command, Failure> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_secateur"));
        command.current_dir(self.folder.path()).arg("--log-json").args(arguments).env("SECATEUR_LOG", self.filter);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(self.log(name))?);
        Ok(command)
    }

    /// Measures the time of a command.
    fn time(&self, name: &str, arguments: &[&str]) -> Result<Duration, Failure> {
        let begun = Instant::now();
        let status = self.command(name, arguments)?.status()?;
        let elapsed = begun.elapsed();
        if status.success() { Ok(elapsed) } else { Err(fs::read_to_string(self.log(name))?.into()) }
    }

    /// Starts a coordinator and `slots` workers of one slot.
    fn cluster(&self, slots: u32) -> Result<(Vec<Running>, String), Failure> {
        let serve = ["serve", "--listen", "127.0.0.1:0", "--data-dir", "data"];
        let mut running = vec![Running(self.command("serve", &serve)?.spawn()?)];
        let listening = || {
            let log = fs::read_to_string(self.log("serve")).ok()?;
            let line = log.lines().find(|line| line.contains("\"listening\""))?;
            serde_json::from_str::<Value>(line).ok()?.get("address")?.as_str().map(str::to_owned)
        };
        let begun = Instant::now();
        let address = loop {
            match listening() {
                Some(address) => break address,
                None if begun.elapsed() > Duration::from_secs(60) => return Err("serve does not listen".into()),
                // A spurious wake-up only makes it check earlier.
                None => std::thread::park_timeout(Duration::from_millis(5)),
            }
        };
        for slot in 0..slots {
            let name = format!("worker-{slot}");
            let worker = ["worker", "--coordinator", &address, "--name", &name, "--cache-dir", &name, "--slots", "1"];
            let worker = self.command(&name, &[&worker[..], &["--lanes", "1"]].concat())?.spawn()?;
            running.push(Running(worker));
        }
        Ok((running, address))
    }
}

/// As few logs as possible for the first table.
const QUIET: &str = "warn,secateur::server=info";
const TOLD: &str = "warn,secateur=debug,secateur_worker::client=debug,secateur_worker::executor=debug";

fn main() -> Result<(), Failure> {
    let mut numbers = env::args().skip(1).filter_map(|argument| argument.parse().ok());
    let trials: u64 = numbers.next().unwrap_or(300);
    let slots = u32::try_from(numbers.next().unwrap_or(2))?;

    println!("{trials} trials of two stages, {slots} slots, one lane at a time");
    println!("{:>34} {:>9} {:>10}", "", "s", "trials/s");
    let row = |what: &str, elapsed: Duration| {
        let seconds = elapsed.as_secs_f64();
        println!("{what:>34} {seconds:>9.2} {:>10.0}", trials as f64 / seconds);
    };
    let lab = Lab::new(trials, QUIET)?;
    let workers = slots.to_string();
    row("run", lab.time("run", &["run", "sweep.yaml", "--out", "run", "--workers", &workers, "--lanes", "1"])?);
    row("run again: plan and report alone", lab.time("again", &["run", "sweep.yaml", "--out", "run"])?);
    let (cluster, address) = lab.cluster(slots)?;
    let at = ["--coordinator", &address];
    row("submit --wait to serve", lab.time("submit", &[&["submit", "sweep.yaml", "--wait"], &at[..]].concat())?);
    let id = id_of(&lab, &address)?;
    row("report", lab.time("report", &[&["report", &id, "--out", "report"], &at[..]].concat())?);
    row("ls", lab.time("ls", &[&["ls"], &at[..]].concat())?);
    drop(cluster);

    let lab = Lab::new(trials, TOLD)?;
    let (cluster, address) = lab.cluster(slots)?;
    lab.time("submit", &["submit", "sweep.yaml", "--wait", "--coordinator", &address])?;
    drop(cluster);
    shares(&lab, slots)
}

/// The id of the coordinator's only sweep.
fn id_of(lab: &Lab, address: &str) -> Result<String, Failure> {
    let listed =
        lab.command("ls", &["ls", "--output", "json", "--coordinator", address])?.stdout(Stdio::piped()).output()?;
    let sweeps: Value = serde_json::from_slice(&listed.stdout)?;
    Ok(sweeps[0]["sweep_id"].as_str().ok_or("no sweep")?.to_owned())
}

/// A line of a log: the time in microseconds since some moment, and its fields.
struct Line {
    at: i64,
    line: Value,
}

impl Line {
    fn is(&self, message: &str) -> bool {
        self.line["message"] == message
    }

    /// The lease in the line.
    fn lease(&self) -> Option<String> {
        let lease = self.line["lease"].as_str().or(self.line["span"]["lease"].as_str());
        lease.map(str::to_owned)
    }

    fn number(&self, field: &str) -> f64 {
        // 128-bit values are written as text.
        let value = &self.line[field];
        value.as_f64().or_else(|| value.as_str()?.parse().ok()).unwrap_or(0.0)
    }
}

fn lines(path: &Path) -> Result<Vec<Line>, Failure> {
    let mut lines = Vec::new();
    for text in BufReader::new(File::open(path)?).lines() {
        let text = text?;
        if let Some((_, elapsed)) =
            text.split_once("a bundle has ended").and_then(|(_, rest)| rest.split_once("elapsed_us="))
        {
            // Executors log as text; their times are not needed.
            let line = json!({"message": "a bundle has ended", "elapsed_us": elapsed.trim()});
            lines.push(Line { at: 0, line });
            continue;
        }
        let Ok(line) = serde_json::from_str::<Value>(&text) else { continue };
        let Some(at) = line["timestamp"].as_str().and_then(microseconds) else { continue };
        lines.push(Line { at, line });
    }
    Ok(lines)
}

/// Microseconds of `2026-01-31T12:34:56.123456Z` since the beginning of its month.
fn microseconds(text: &str) -> Option<i64> {
    let (date, time) = text.strip_suffix('Z')?.split_once('T')?;
    let day: i64 = date.rsplit_once('-')?.1.parse().ok()?;
    let (minutes, seconds) = time.rsplit_once(':')?;
    let (hours, minutes) = minutes.split_once(':')?;
    let minutes = (day * 24 + hours.parse::<i64>().ok()?) * 60 + minutes.parse::<i64>().ok()?;
    let seconds: f64 = seconds.parse().ok()?;
    Some(minutes * 60_000_000 + (seconds * 1e6).round() as i64)
}

/// The times of a lease.
#[derive(Debug, Default, Clone, Copy)]
struct Lease {
    given: i64,
    came: i64,
    begun: i64,
    ended: i64,
    handed_in: i64,
    reported: i64,
    /// The time in the executor: files and training.
    computed: f64,
}

/// Prints how the time of the slots was spent, between the first lease and the last report.
fn shares(lab: &Lab, slots: u32) -> Result<(), Failure> {
    let mut leases: HashMap<String, Lease> = HashMap::new();
    let coordinator = lines(&lab.log("serve"))?;
    for line in &coordinator {
        let Some(lease) = line.lease() else { continue };
        if line.is("leased") {
            leases.entry(lease).or_default().given = line.at;
        } else if line.is("a stage was reported") {
            leases.entry(lease).or_default().reported = line.at;
        }
    }
    let mut of_slots: Vec<Vec<Lease>> = Vec::new();
    for slot in 0..slots {
        let mut of_slot = Vec::new();
        let mut last = String::new();
        for line in lines(&lab.log(&format!("worker-{slot}")))? {
            if line.is("a bundle has ended") {
                leases.entry(last.clone()).or_default().computed = line.number("elapsed_us");
                continue;
            }
            let Some(id) = line.lease() else { continue };
            let lease = leases.entry(id.clone()).or_default();
            if line.is("received a lease") {
                lease.came = line.at;
                of_slot.push(id.clone());
            } else if line.is("working on a lease") {
                lease.begun = line.at;
                last = id;
            } else if line.is("a stage ended") {
                lease.ended = line.at;
            } else if line.is("the files of a result are uploaded") {
                lease.handed_in = line.at;
            }
        }
        of_slots.push(of_slot.iter().map(|id| leases[id]).collect());
    }
    let all: Vec<&Lease> = of_slots.iter().flatten().collect();
    let count = all.len() as f64;
    let sum = |time: &dyn Fn(&Lease) -> f64| all.iter().map(|lease| time(lease).max(0.0)).sum::<f64>() / 1000.0;
    let between = |a: i64, b: i64| (b - a) as f64;
    let idle: f64 = (of_slots.iter())
        .flat_map(|slot| slot.windows(2).map(|pair| between(pair[0].reported, pair[1].given).max(0.0)))
        .sum::<f64>()
        / 1000.0;
    let executor = sum(&|lease| between(lease.begun, lease.ended) - lease.computed);
    let parts = [
        ("lease: coordinator to worker", sum(&|lease| between(lease.given, lease.came))),
        ("fetch: inputs into the cache", sum(&|lease| between(lease.came, lease.begun))),
        ("executor: pipe and process", executor),
        ("stage: files and training", sum(&|lease| lease.computed)),
        ("upload: results to the store", sum(&|lease| between(lease.ended, lease.handed_in))),
        ("report: worker to coordinator", sum(&|lease| between(lease.handed_in, lease.reported))),
        ("journal and scheduling, until the next lease", idle),
    ];
    let total: f64 = parts.iter().map(|(_, time)| time).sum();
    println!("\n{count:.0} leases; of a slot's time, per lease");
    println!("{:>46} {:>9} {:>7}", "", "ms", "%");
    for (what, time) in parts {
        println!("{what:>46} {:>9.2} {:>7.1}", time / count, 100.0 * time / total);
    }
    println!("{:>46} {:>9.2}", "in all", total / count);
    let journal: Vec<f64> = coordinator
        .iter()
        .filter(|line| line.is("appended to the journal"))
        .map(|line| line.number("elapsed_us"))
        .collect();
    let (appends, time) = (journal.len() as f64, journal.iter().sum::<f64>() / 1000.0);
    println!(
        "the journal was appended to {appends:.0} times, {:.2} ms each, {:.2} ms a lease",
        time / appends,
        time / count
    );
    Ok(())
}
