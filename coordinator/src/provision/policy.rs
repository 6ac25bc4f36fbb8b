//! Decides how many jobs each pool should have. Pure: time and observations are arguments.

use std::{collections::BTreeMap, time::Duration};

/// A moment, as the time since an arbitrary beginning.
pub type Moment = Duration;

/// The time after which a job that runs without an attached worker has failed.
const ATTACH_WITHIN: Duration = Duration::from_mins(10);
/// A job that drains is ended by force after this time beyond its own time to drain.
const AFTER_GRACE: Duration = Duration::from_mins(1);
/// The pause after a first failure. It doubles with each further failure.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// What bounds one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bounds {
    /// Its name.
    pub name: String,
    /// Jobs to keep without any work.
    pub minimum: u32,
    /// The maximum number of jobs, waiting ones included.
    pub maximum: u32,
    /// Slots of a job, until a worker of the pool reports its own number.
    pub slots: u32,
    /// End a job whose worker has been idle for this time.
    pub idle: Duration,
    /// How long its workers drain.
    pub grace: Duration,
}

/// The work of the coordinator.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Work {
    /// Stages that wait for a slot.
    pub ready: u64,
    /// Lane-steps of all stages that have not ended.
    pub lane_steps: u64,
}

/// The state of a job at the scheduler of the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It waits to start.
    Waiting,
    /// It runs, or is about to.
    Running,
    /// It ended by itself or was ended.
    Ended,
    /// It failed.
    Failed,
}

/// A job of a pool.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id, as a person gives it to the scheduler.
    pub id: String,
    /// Its state.
    pub state: JobState,
    /// Its worker, if one is attached.
    pub worker: Option<Attached>,
}

/// The worker of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Attached {
    /// Bundles that it can run at the same time.
    pub slots: u32,
    /// Those that it runs.
    pub busy: u32,
    /// Lane-steps per second of a slot. 0 before it has measured one.
    pub rate: f64,
    /// It drains: it gets no more work.
    pub leaving: bool,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Submit jobs.
    Submit {
        /// The pool.
        pool: String,
        /// How many.
        jobs: u32,
    },
    /// Let the worker of a job finish or hand back what it does, and end.
    Drain {
        /// The pool.
        pool: String,
        /// The job.
        job: String,
    },
    /// End a job at once: it waits, its worker never came, or it does not end by itself.
    Cancel {
        /// The pool.
        pool: String,
        /// The job.
        job: String,
    },
}

/// What to do, and why.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// In this order.
    pub actions: Vec<Action>,
    /// One for each pool, in the order of their bounds.
    pub standings: Vec<Standing>,
    /// Pools with a job that ended, or that has run for minutes, without a worker, and the job.
    pub failed: Vec<(String, String)>,
}

/// What the policy remembers.
#[derive(Debug, Default)]
pub struct Policy {
    pools: BTreeMap<String, Pool>,
    /// Jobs that had ended before the first look are of an earlier life, and nobody knows whether they had workers.
    has_looked: bool,
}

#[derive(Debug, Default)]
struct Pool {
    jobs: BTreeMap<String, Seen>,
    /// Since when it has more waiting jobs than it needs.
    surplus_since: Option<Moment>,
    failures: u32,
    paused_until: Option<Moment>,
    reason: Option<String>,
    /// Of its last worker that had measured one: slots of a job, and lane-steps per second of a slot.
    measured: Option<(u32, f64)>,
}

/// What is remembered of a job.
#[derive(Debug, Default)]
struct Seen {
    running_since: Option<Moment>,
    idle_since: Option<Moment>,
    draining_since: Option<Moment>,
    has_attached: bool,
    /// Its end, or its failure to attach, is already counted.
    is_counted: bool,
}

/// Why a pool has the jobs that it has. For people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The pool.
    pub pool: String,
    /// Jobs that wait to start.
    pub waiting: u32,
    /// Jobs that run.
    pub running: u32,
    /// Jobs that the work asks for, within the bounds.
    pub wanted: u32,
    /// Until when it submits nothing, and why.
    pub paused: Option<(Moment, String)>,
}

impl Policy {
    /// Decides for all pools. `jobs` has the jobs of each pool, ended ones included as long as the cluster's scheduler shows them. `within`
    /// is the time in which the present work should end.
    ///
    /// The first job of a pool measures how fast it is. From then on a pool gets as many jobs as end the work in time, but never more slots
    /// than stages that run or wait. Pools that come first in `bounds` get work first. Those after them get what is left: all of it, as
    /// long as the first ones have no worker.
    pub fn decide(
        &mut self,
        now: Moment,
        within: Duration,
        bounds: &[Bounds],
        work: Work,
        jobs: &BTreeMap<String, Vec<Job>>,
    ) -> Decision {
        let busy: u64 = jobs.values().flatten().filter_map(|job| job.worker).map(|worker| u64::from(worker.busy)).sum();
        let mut slots_left = work.ready.saturating_add(busy);
        let mut rate_left = work.lane_steps as f64 / within.as_secs_f64().max(1.0);
        let mut decision = Decision::default();
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        for bound in bounds {
            let pool = self.pools.entry(bound.name.clone()).or_default();
            let jobs = jobs.get(&bound.name).map_or(&[][..], Vec::as_slice);
            decision.failed.extend(pool.observe(now, jobs, is_first).map(|job| (bound.name.clone(), job)));
            let (slots, rate) = pool.measured.unwrap_or((bound.slots.max(1), 0.0));
            let useful = u32::try_from(slots_left.div_ceil(u64::from(slots.max(1)))).unwrap_or(u32::MAX);
            let per_job = rate * f64::from(slots);
            let wanted = if slots_left == 0 {
                0
            } else if per_job > 0.0 {
                // A cast saturates.
                ((rate_left / per_job).ceil() as u32).clamp(1, useful)
            } else {
                1
            };
            let wanted = wanted.clamp(bound.minimum.min(bound.maximum), bound.maximum);
            let standing = pool.change(now, bound, wanted, jobs, &mut decision.actions);
            // Jobs that still wait promise nothing yet.
            let at_work = u64::from(standing.running.min(wanted));
            slots_left = slots_left.saturating_sub(at_work * u64::from(slots));
            rate_left = (rate_left - at_work as f64 * per_job).max(0.0);
            if per_job > 0.0 && rate_left == 0.0 {
                slots_left = 0;
            }
            decision.standings.push(standing);
        }
        decision
    }

    /// Notes that a pool's jobs could not be submitted.
    pub fn failed(&mut self, now: Moment, pool: &str, reason: String) {
        self.pools.entry(pool.to_owned()).or_default().fail(now, reason);
    }

    /// Notes that a job could not be asked to end: it is asked again.
    pub fn not_ended(&mut self, pool: &str, job: &str) {
        if let Some(seen) = self.pools.get_mut(pool).and_then(|pool| pool.jobs.get_mut(job)) {
            seen.draining_since = None;
        }
    }

    /// Adds what is known of why the jobs of a pool end early, such as the end of a job's output.
    pub fn explain(&mut self, pool: &str, reason: &str) {
        if let Some(known) = self.pools.get_mut(pool).and_then(|pool| pool.reason.as_mut()) {
            known.push_str(": ");
            known.push_str(reason);
        }
    }

    /// Why a pool's last jobs failed. Empty if they did not.
    #[must_use]
    pub fn reason(&self, pool: &str) -> &str {
        self.pools.get(pool).and_then(|pool| pool.reason.as_deref()).unwrap_or_default()
    }
}

impl Pool {
    /// Brings what is remembered up to date, and counts failures. Returns a job that has failed since the last call.
    fn observe(&mut self, now: Moment, jobs: &[Job], is_first: bool) -> Option<String> {
        self.jobs.retain(|id, _| jobs.iter().any(|job| job.id == *id));
        let mut failed = None;
        for job in jobs {
            let is_over = matches!(job.state, JobState::Ended | JobState::Failed);
            let new = || Seen { is_counted: is_first && is_over, ..Seen::default() };
            let seen = self.jobs.entry(job.id.clone()).or_insert_with(new);
            if job.state == JobState::Running {
                seen.running_since.get_or_insert(now);
            }
            if let Some(worker) = job.worker {
                seen.has_attached = true;
                self.failures = 0;
                self.paused_until = None;
                self.reason = None;
                if worker.rate > 0.0 {
                    self.measured = Some((worker.slots.max(1), worker.rate));
                }
            }
            let is_idle = job.worker.is_some_and(|worker| worker.busy == 0);
            seen.idle_since = is_idle.then(|| seen.idle_since.unwrap_or(now));
            let never_came = seen.running_since.is_some_and(|since| now.saturating_sub(since) >= ATTACH_WITHIN);
            let has_failed = !seen.has_attached
                && seen.draining_since.is_none()
                && (is_over || (job.state == JobState::Running && never_came));
            if has_failed && !seen.is_counted {
                seen.is_counted = true;
                failed = Some(job);
            }
        }
        // Jobs that fail together, for one reason, are one failure.
        let failed = failed?;
        let reason = if failed.state == JobState::Running {
            format!("the worker of job {} has not attached", failed.id)
        } else {
            format!("job {} ended before its worker attached", failed.id)
        };
        self.fail(now, reason);
        Some(failed.id.clone())
    }

    fn fail(&mut self, now: Moment, reason: String) {
        let pause = FIRST_PAUSE.saturating_mul(1 << self.failures.min(10)).min(LONGEST_PAUSE);
        self.failures = self.failures.saturating_add(1);
        self.paused_until = Some(now.saturating_add(pause));
        self.reason = Some(reason);
    }

    /// Adds the actions that lead to `wanted` jobs.
    fn change(
        &mut self,
        now: Moment,
        bound: &Bounds,
        wanted: u32,
        jobs: &[Job],
        actions: &mut Vec<Action>,
    ) -> Standing {
        let pool = || bound.name.clone();
        let (mut waiting, mut running, mut idle, mut ending) = (vec![], 0_u32, vec![], 0_u32);
        for job in jobs {
            let Some(seen) = self.jobs.get_mut(&job.id) else { continue };
            match job.state {
                JobState::Waiting if seen.draining_since.is_none() => waiting.push(job.id.clone()),
                JobState::Running => {
                    let is_ending = seen.draining_since.is_some() || seen.is_counted;
                    if is_ending || job.worker.is_some_and(|worker| worker.leaving) {
                        ending += 1;
                    }
                    if let Some(since) = seen.draining_since {
                        if now.saturating_sub(since) >= bound.grace + AFTER_GRACE {
                            seen.draining_since = Some(now);
                            actions.push(Action::Cancel { pool: pool(), job: job.id.clone() });
                        }
                    } else if seen.is_counted {
                        // It runs and its worker never came.
                        seen.draining_since = Some(now);
                        actions.push(Action::Cancel { pool: pool(), job: job.id.clone() });
                    } else if !job.worker.is_some_and(|worker| worker.leaving) {
                        running += 1;
                        if let Some(since) = seen.idle_since.filter(|since| now.saturating_sub(*since) >= bound.idle) {
                            idle.push((since, job.id.clone()));
                        }
                    }
                }
                JobState::Waiting | JobState::Ended | JobState::Failed => {}
            }
        }
        let has = running + waiting.len() as u32;
        let standing = Standing {
            pool: pool(),
            waiting: waiting.len() as u32,
            running,
            wanted,
            paused: self.paused_until.filter(|until| *until > now).zip(self.reason.clone()),
        };
        if has < wanted {
            self.surplus_since = None;
            let room = bound.maximum.saturating_sub(has + ending).min(wanted - has);
            // After a failure one job tries, and the next ones wait until its worker is attached.
            let jobs = match self.failures {
                0 => room,
                _ => room.min(1_u32.saturating_sub(waiting.len() as u32 + self.unproven(jobs))),
            };
            if standing.paused.is_none() && jobs > 0 {
                actions.push(Action::Submit { pool: pool(), jobs });
            }
            return standing;
        }
        let mut surplus = (has - wanted) as usize;
        self.surplus_since = (surplus > 0).then(|| self.surplus_since.unwrap_or(now));
        let is_lasting = self.surplus_since.is_some_and(|since| now.saturating_sub(since) >= bound.idle);
        if is_lasting {
            // The last ones first: they would start last.
            while surplus > 0
                && let Some(job) = waiting.pop()
            {
                surplus -= 1;
                self.mark_ending(now, &job);
                actions.push(Action::Cancel { pool: pool(), job });
            }
        }
        // Those that have been idle for the longest time first.
        idle.sort();
        for (_, job) in idle.into_iter().take(surplus) {
            self.mark_ending(now, &job);
            actions.push(Action::Drain { pool: pool(), job });
        }
        standing
    }

    /// Running jobs that may still get a worker.
    fn unproven(&self, jobs: &[Job]) -> u32 {
        let is = |job: &&Job| {
            let seen = self.jobs.get(&job.id);
            job.state == JobState::Running && seen.is_some_and(|seen| !seen.has_attached && !seen.is_counted)
        };
        jobs.iter().filter(is).count() as u32
    }

    fn mark_ending(&mut self, now: Moment, job: &str) {
        if let Some(seen) = self.jobs.get_mut(job) {
            seen.draining_since = Some(now);
        }
    }
}
