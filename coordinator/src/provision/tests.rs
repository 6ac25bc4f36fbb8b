use std::{collections::BTreeMap, time::Duration};

use rand::RngExt as _;
use rand_chacha::ChaCha8Rng;
use secateur_worker::random::generator;

use super::{
    policy::{Action, Attached, Bounds, Decision, Job, JobState, Moment, Policy, Work},
    settings::{Settings, SettingsError},
    slurm::Slurm,
};

const ROUND: Duration = Duration::from_secs(15);
const WITHIN: Duration = Duration::from_mins(15);

fn bounds(name: &str, minimum: u32, maximum: u32, slots: u32) -> Bounds {
    let (idle, grace) = (Duration::from_mins(5), Duration::from_mins(2));
    Bounds { name: name.to_owned(), minimum, maximum, slots, idle, grace }
}

fn job(id: &str, state: JobState, worker: Option<Attached>) -> Job {
    Job { id: id.to_owned(), state, worker }
}

const fn worker(slots: u32, busy: u32, rate: f64) -> Option<Attached> {
    Some(Attached { slots, busy, rate, leaving: false })
}

fn pool(jobs: &[Job]) -> BTreeMap<String, Vec<Job>> {
    BTreeMap::from([("cpu".to_owned(), jobs.to_vec())])
}

fn submit(jobs: u32) -> Action {
    Action::Submit { pool: "cpu".to_owned(), jobs }
}

#[test]
fn the_first_job_measures_and_the_others_follow() {
    let (mut policy, bounds) = (Policy::default(), [bounds("cpu", 0, 8, 4)]);
    let work = Work { ready: 100, lane_steps: 9_000_000 };
    let mut decide =
        |seconds, jobs: &[Job]| policy.decide(Duration::from_secs(seconds), WITHIN, &bounds, work, &pool(jobs)).actions;
    assert_eq!(decide(0, &[]), [submit(1)]);
    assert_eq!(decide(15, &[job("1", JobState::Waiting, None)]), []);
    assert_eq!(decide(30, &[job("1", JobState::Running, None)]), []);
    // 9,000,000 steps in 900 s are 10,000 a second: five jobs of four slots with 500 each.
    assert_eq!(decide(45, &[job("1", JobState::Running, worker(4, 4, 500.0))]), [submit(4)]);
}

#[test]
fn there_are_never_more_slots_than_stages_for_them() {
    let (mut policy, bounds) = (Policy::default(), [bounds("cpu", 0, 8, 4)]);
    let work = Work { ready: 3, lane_steps: 1_000_000_000 };
    let jobs = pool(&[job("1", JobState::Running, worker(4, 4, 1.0))]);
    // Four busy slots and three stages that wait: two jobs.
    assert_eq!(policy.decide(Duration::ZERO, WITHIN, &bounds, work, &jobs).actions, [submit(1)]);
}

#[test]
fn a_second_pool_gets_what_the_first_cannot_do() {
    let (mut policy, bounds) = (Policy::default(), [bounds("gpu", 0, 1, 1), bounds("cpu", 0, 9, 1)]);
    let work = Work { ready: 100, lane_steps: 900_000 };
    let mut decide = |gpu: &[Job], cpu: &[Job]| {
        let jobs = BTreeMap::from([("gpu".to_owned(), gpu.to_vec()), ("cpu".to_owned(), cpu.to_vec())]);
        policy
            .decide(Duration::ZERO, WITHIN, &bounds, work, &jobs)
            .standings
            .into_iter()
            .map(|pool| pool.wanted)
            .collect::<Vec<_>>()
    };
    // While the GPU's job waits, a processor begins.
    assert_eq!(decide(&[job("1", JobState::Waiting, None)], &[]), [1, 1]);
    // 1,000 steps a second are needed: the GPU does 400, each processor 100.
    let gpu = job("1", JobState::Running, worker(1, 1, 400.0));
    let cpu = job("2", JobState::Running, worker(1, 1, 100.0));
    assert_eq!(decide(std::slice::from_ref(&gpu), std::slice::from_ref(&cpu)), [1, 6]);
    // A GPU that does 2,000 leaves nothing.
    let gpu = job("1", JobState::Running, worker(1, 1, 2000.0));
    assert_eq!(decide(&[gpu], &[cpu]), [1, 0]);
}

#[test]
fn jobs_without_work_end_after_a_while_but_not_below_the_minimum() {
    let (mut policy, bounds) = (Policy::default(), [bounds("cpu", 1, 8, 1)]);
    let jobs = pool(&[
        job("1", JobState::Running, worker(1, 0, 9.0)),
        job("2", JobState::Running, worker(1, 0, 9.0)),
        job("3", JobState::Waiting, None),
    ]);
    let mut decide =
        |minutes| policy.decide(Duration::from_mins(minutes), WITHIN, &bounds, Work::default(), &jobs).actions;
    assert_eq!(decide(0), []);
    assert_eq!(decide(4), []);
    let cancel = Action::Cancel { pool: "cpu".to_owned(), job: "3".to_owned() };
    let drain = Action::Drain { pool: "cpu".to_owned(), job: "1".to_owned() };
    assert_eq!(decide(5), [cancel, drain]);
    assert_eq!(decide(6), []);
    // Two minutes to drain, and one more.
    assert_eq!(decide(8), [Action::Cancel { pool: "cpu".to_owned(), job: "1".to_owned() }]);
}

#[test]
fn jobs_that_die_at_once_are_submitted_ever_more_rarely_and_the_reason_is_kept() {
    let (mut policy, bounds) = (Policy::default(), [bounds("cpu", 0, 8, 1)]);
    let work = Work { ready: 100, lane_steps: 1_000_000 };
    let (mut jobs, mut submitted) = (vec![], 0);
    for round in 0..(24 * 240) {
        let now = ROUND * round;
        let decision = policy.decide(now, WITHIN, &bounds, work, &pool(&jobs));
        if let Some((_, failed)) = decision.failed.first() {
            assert_eq!(failed, "1");
            policy.explain("cpu", "no such token");
            assert_eq!(policy.reason("cpu"), "job 1 ended before its worker attached: no such token");
        }
        jobs = vec![];
        for action in decision.actions {
            assert_eq!(action, submit(1));
            submitted += 1;
            jobs = vec![job(&submitted.to_string(), JobState::Failed, None)];
        }
        if submitted > 1 {
            // One explanation is enough for this test.
            jobs.iter_mut().for_each(|job| job.id = "1".to_owned());
        }
    }
    // Eight pauses until an hour, and then one an hour.
    assert!((20..=32).contains(&submitted), "{submitted}");
}

#[test]
fn what_had_ended_before_the_first_look_is_no_failure() {
    let (mut policy, bounds) = (Policy::default(), [bounds("cpu", 0, 8, 1)]);
    let work = Work { ready: 1, lane_steps: 1 };
    let jobs = pool(&[job("1", JobState::Ended, None), job("2", JobState::Failed, None)]);
    let Decision { actions, failed, .. } = policy.decide(Duration::ZERO, WITHIN, &bounds, work, &jobs);
    assert_eq!((actions, failed), (vec![submit(1)], vec![]));
}

#[test]
fn a_worker_that_never_comes_is_cancelled() {
    let (mut policy, bounds) = (Policy::default(), [bounds("cpu", 0, 1, 1)]);
    let work = Work { ready: 1, lane_steps: 1 };
    let jobs = pool(&[job("7", JobState::Running, None)]);
    let mut decide = |minutes| policy.decide(Duration::from_mins(minutes), WITHIN, &bounds, work, &jobs);
    assert_eq!(decide(0).actions, []);
    let decision = decide(10);
    assert_eq!(decision.actions, [Action::Cancel { pool: "cpu".to_owned(), job: "7".to_owned() }]);
    assert_eq!(decision.failed, [("cpu".to_owned(), "7".to_owned())]);
    assert_eq!(decide(11).actions, []);
}

/// A cluster whose jobs wait, start, die and are preempted, and a coordinator with bursts of work.
struct World {
    random: ChaCha8Rng,
    now: Moment,
    next: u64,
    /// Id, pool, state, when it changes, when its worker attaches.
    jobs: Vec<(u64, usize, JobState, Moment, Moment)>,
    ready: u64,
    lane_steps: f64,
    /// When the last work ended.
    without_work_since: Option<Moment>,
}

/// Lane-steps per second of a slot, by pool.
const RATES: [f64; 2] = [4000.0, 100.0];
const SLOTS: [u32; 2] = [2, 4];
/// Lane-steps of a stage.
const STAGE: f64 = 20_000.0;

impl World {
    fn seconds(&mut self, below: u64) -> Moment {
        self.now + Duration::from_secs(self.random.random_range(0..below))
    }

    /// Slots with work, of the workers that are attached, in the order of jobs.
    fn busy(&self) -> BTreeMap<u64, u32> {
        let mut left = (self.lane_steps / STAGE).ceil() as u64;
        let mut busy = BTreeMap::new();
        for (id, pool, state, _, attaches) in &self.jobs {
            if *state == JobState::Running && *attaches <= self.now {
                let its = left.min(u64::from(SLOTS[*pool]));
                left -= its;
                busy.insert(*id, its as u32);
            }
        }
        busy
    }

    fn step(&mut self) {
        self.now += ROUND;
        if self.random.random_ratio(1, 1500) {
            let stages = self.random.random_range(1..2000_u32);
            self.lane_steps += f64::from(stages) * STAGE;
        }
        for (id, busy) in self.busy() {
            let pool = self.jobs.iter().find(|job| job.0 == id).expect("is there").1;
            self.lane_steps -= f64::from(busy) * RATES[pool] * ROUND.as_secs_f64();
        }
        self.lane_steps = self.lane_steps.max(0.0);
        let busy: u64 = self.busy().values().map(|busy| u64::from(*busy)).sum();
        self.ready = ((self.lane_steps / STAGE).ceil() as u64).saturating_sub(busy);
        self.without_work_since =
            if self.lane_steps > 0.0 { None } else { Some(self.without_work_since.unwrap_or(self.now)) };
        for index in 0..self.jobs.len() {
            let (_, _, state, changes, _) = self.jobs[index];
            if changes > self.now {
                continue;
            }
            match state {
                JobState::Waiting if self.random.random_ratio(1, 10) => self.jobs[index].2 = JobState::Failed,
                JobState::Waiting => {
                    self.jobs[index].2 = JobState::Running;
                    // Preempted, or at the end of its time.
                    self.jobs[index].3 = self.seconds(4 * 3600);
                    self.jobs[index].4 = self.seconds(60);
                }
                JobState::Running => self.jobs[index].2 = JobState::Ended,
                JobState::Ended | JobState::Failed => {}
            }
        }
        // Slurm forgets.
        let now = self.now;
        self.jobs.retain(|(_, _, state, changes, _)| {
            !matches!(state, JobState::Ended | JobState::Failed) || now < *changes + Duration::from_mins(5)
        });
    }

    fn observe(&self, names: &[Bounds]) -> BTreeMap<String, Vec<Job>> {
        let (mut jobs, busy) = (BTreeMap::<String, Vec<Job>>::new(), self.busy());
        for (id, pool, state, _, _) in &self.jobs {
            let worker = busy.get(id).and_then(|busy| worker(SLOTS[*pool], *busy, RATES[*pool]));
            jobs.entry(names[*pool].name.clone()).or_default().push(job(&id.to_string(), *state, worker));
        }
        jobs
    }
}

#[test]
fn a_week_of_bursts_failures_and_preemptions() {
    for seed in 0..8 {
        let bounds = [bounds("gpu", 0, 3, 2), bounds("cpu", 1, 10, 4)];
        let mut world = World {
            random: generator("provision", &[seed]),
            now: Duration::ZERO,
            next: 0,
            jobs: vec![],
            ready: 0,
            lane_steps: 0.0,
            without_work_since: None,
        };
        let mut policy = Policy::default();
        let (mut submissions, mut bursts_without_end) = (0_u32, Duration::ZERO);
        for round in 0..(7 * 24 * 240) {
            world.step();
            if round == 20_000 {
                // A new life remembers nothing, and the jobs are still there.
                policy = Policy::default();
            }
            let work = Work { ready: world.ready, lane_steps: world.lane_steps as u64 };
            let jobs = world.observe(&bounds);
            for action in policy.decide(world.now, WITHIN, &bounds, work, &jobs).actions {
                if world.random.random_ratio(1, 20) {
                    // The command fails.
                    match action {
                        Action::Submit { pool, .. } => policy.failed(world.now, &pool, "busy".to_owned()),
                        Action::Drain { pool, job } | Action::Cancel { pool, job } => policy.not_ended(&pool, &job),
                    }
                    continue;
                }
                match action {
                    Action::Submit { pool, jobs } => {
                        submissions += jobs;
                        let pool = bounds.iter().position(|bound| bound.name == pool).expect("a pool");
                        for _ in 0..jobs {
                            world.next += 1;
                            let starts = world.seconds(600);
                            world.jobs.push((world.next, pool, JobState::Waiting, starts, Duration::MAX));
                        }
                    }
                    Action::Drain { job, .. } | Action::Cancel { job, .. } => {
                        let found = world.jobs.iter_mut().find(|known| known.0.to_string() == job).expect("a job");
                        let had_worker = found.4 <= world.now;
                        assert!(
                            !had_worker || found.4 + bounds[found.1].idle <= world.now,
                            "a job that had just come was ended"
                        );
                        (found.2, found.3) = (JobState::Ended, world.now);
                    }
                }
            }
            let alive = |pool: usize| {
                let is_alive = |state| matches!(state, JobState::Waiting | JobState::Running);
                world.jobs.iter().filter(|job| job.1 == pool && is_alive(job.2)).count()
            };
            for (pool, bound) in bounds.iter().enumerate() {
                assert!(alive(pool) <= bound.maximum as usize, "seed {seed}: above the maximum");
            }
            if world.without_work_since.is_some_and(|since| world.now >= since + Duration::from_mins(7)) {
                // Jobs that were about to start when the work ended, and came later, have their own five minutes.
                let settled = world.now >= world.without_work_since.unwrap_or_default() + Duration::from_mins(20);
                assert!(!settled || (alive(0), alive(1)) <= (0, 1), "seed {seed}: idle above the minimum");
            }
            bursts_without_end = if world.lane_steps > 0.0 { bursts_without_end + ROUND } else { Duration::ZERO };
            assert!(bursts_without_end < Duration::from_hours(12), "seed {seed}: work does not end");
        }
        // About 27 bursts, each with at most 13 jobs, some of which die; one job is always there and lives for two hours on average.
        assert!(submissions < 1000, "seed {seed}: {submissions} submissions in a week");
    }
}

const FILE: &str = r#"
name = "risk"
within = "10m"

[worker]
coordinator = "https://head.example:7400"
token_file = "worker.token"
grace = 60

[[pool]]
name = "gpu"
maximum = 4
partition = "gpu"
gpus = 2
time = "04:00:00"

[[pool]]
name = "cpu"
minimum = 1
maximum = 16
idle = "90s"
cpus = 16
options = ["--exclusive"]
"#;

#[test]
fn settings_become_options_of_sbatch() {
    let settings = Settings::read(FILE).expect("a file of pools");
    assert_eq!(
        settings.bounds().iter().map(|pool| (pool.slots, pool.idle.as_secs())).collect::<Vec<_>>(),
        [(2, 300), (16, 90)]
    );
    let slurm = Slurm::new(settings.clone(), "/srv/secateur".into());
    let options: Vec<String> = settings.pools.iter().map(|pool| slurm.submission(pool, 3).join(" ")).collect();
    insta::assert_snapshot!(options.join("\n"), @"
    --parsable --export=ALL --job-name=risk.gpu --array=1-3 --partition=gpu --gpus=2 --time=04:00:00 --signal=B:TERM@90
    --parsable --export=ALL --job-name=risk.cpu --array=1-3 --cpus-per-task=16 --signal=B:TERM@90 --exclusive
    ");
}

#[test]
fn mistakes_in_the_file_of_pools() {
    let pool = "[[pool]]\nname = \"cpu\"\nmaximum = 2\n";
    let message = |text: &str| Settings::read(text).expect_err("a mistake").to_string();
    assert!(matches!(Settings::read("pool = []"), Err(SettingsError::NoPool)));
    assert!(matches!(Settings::read(&format!("{pool}{pool}")), Err(SettingsError::Twice(_))));
    assert!(matches!(Settings::read(&pool.replace("cpu", "a.b")), Err(SettingsError::Name { .. })));
    assert!(matches!(Settings::read(&format!("{pool}minimum = 3\n")), Err(SettingsError::Minimum { .. })));
    assert!(matches!(Settings::read(&format!("every = \"0s\"\n{pool}")), Err(SettingsError::NoTime("every"))));
    let unknown =
        [format!("{pool}partitoin = \"x\"\n"), format!("within = \"soon\"\n{pool}"), pool.replace("maximum", "max")];
    insta::assert_snapshot!(unknown.map(|text| message(&text)).join("\n"), @r#"
    TOML parse error at line 4, column 1
      |
    4 | partitoin = "x"
      | ^^^^^^^^^
    unknown field `partitoin`, expected one of `name`, `maximum`, `minimum`, `idle`, `device`, `slots`, `partition`, `account`, `qos`, `gpus`, `gres`, `cpus`, `memory`, `time`, `constraint`, `options`

    TOML parse error at line 1, column 10
      |
    1 | within = "soon"
      |          ^^^^^^
    "soon" is not a time such as 90s, 15m or 2h: expected number at 0

    TOML parse error at line 3, column 1
      |
    3 | max = 2
      | ^^^
    unknown field `max`, expected one of `name`, `maximum`, `minimum`, `idle`, `device`, `slots`, `partition`, `account`, `qos`, `gpus`, `gres`, `cpus`, `memory`, `time`, `constraint`, `options`
    "#);
}
