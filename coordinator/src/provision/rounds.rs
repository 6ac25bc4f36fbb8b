//! Looks at work and jobs again and again, and does what the policy decides.

use std::{collections::BTreeMap, future::Future, time::Instant};

use tracing::{info, warn};

use super::{
    policy::{Action, Attached, Decision, Job, JobState, Policy, Work},
    slurm::{Jobs, Slurm, SlurmError},
};

/// What a coordinator has to do, and who does it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Load {
    /// The work of all running sweeps.
    pub work: Work,
    /// The attached workers by name. A worker with several devices is there several times.
    pub workers: Vec<(String, Attached)>,
}

/// A coordinator, however it is asked.
pub trait Head {
    /// Why it cannot be asked.
    type Error: std::fmt::Display;

    /// Its present load.
    fn load(&self) -> impl Future<Output = Result<Load, Self::Error>> + Send;
}

/// What is known and decided at one moment.
#[derive(Debug)]
pub struct Round {
    /// The jobs, ended ones included.
    pub jobs: Jobs,
    /// What to do.
    pub decision: Decision,
}

/// Provides the workers of one coordinator.
#[derive(Debug)]
pub struct Provisioner {
    slurm: Slurm,
    policy: Policy,
    begun: Instant,
}

impl Provisioner {
    /// Provides workers as jobs of `slurm`.
    #[must_use]
    pub fn new(slurm: Slurm) -> Self {
        Self { slurm, policy: Policy::default(), begun: Instant::now() }
    }

    /// Decides, and does nothing.
    ///
    /// # Errors
    /// If Slurm does not say which jobs there are.
    pub async fn look(&mut self, load: &Load) -> Result<Round, SlurmError> {
        let jobs = self.slurm.jobs().await?;
        let settings = self.slurm.settings();
        let with_workers = jobs.iter().map(|(pool, jobs)| {
            let job = |(id, state): &(String, JobState)| Job {
                id: id.clone(),
                state: *state,
                worker: worker_of(id, &load.workers),
            };
            (pool.clone(), jobs.iter().map(job).collect())
        });
        let with_workers: BTreeMap<String, Vec<Job>> = with_workers.collect();
        let now = self.begun.elapsed();
        let decision = self.policy.decide(now, settings.within, &settings.bounds(), load.work, &with_workers);
        Ok(Round { jobs, decision })
    }

    /// Repeats decisions and their execution. An error is logged, and the next round tries again.
    pub async fn run<H: Head>(mut self, head: H) -> std::convert::Infallible {
        let every = self.slurm.settings().every;
        let mut rounds = tokio::time::interval(every);
        rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut problem = None;
        loop {
            rounds.tick().await;
            let ended = match head.load().await {
                Ok(load) => self.round(&load).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            // The same problem is reported once.
            match ended {
                Ok(()) if problem.take().is_some() => info!("provisioning works again"),
                Ok(()) => {}
                Err(error) => {
                    if problem.as_ref() != Some(&error) {
                        warn!(error, "cannot provide workers now; the next round tries again");
                    }
                    problem = Some(error);
                }
            }
        }
    }

    async fn round(&mut self, load: &Load) -> Result<(), SlurmError> {
        let Round { decision, .. } = self.look(load).await?;
        for (pool, job) in &decision.failed {
            if let Some(words) = self.slurm.last_words(job).await {
                self.policy.explain(pool, &words);
            }
            warn!(pool, job, reason = self.policy.reason(pool), "no worker came of this job; the pool pauses");
        }
        // One command that fails keeps no other from being tried.
        let mut first = Ok(());
        for action in &decision.actions {
            if let Err(error) = self.act(action).await {
                if let Action::Drain { pool, job } | Action::Cancel { pool, job } = action {
                    self.policy.not_ended(pool, job);
                }
                first = first.and(Err(error));
            }
        }
        first
    }

    async fn act(&mut self, action: &Action) -> Result<(), SlurmError> {
        match action {
            Action::Submit { pool, jobs } => {
                let Some(settings) = self.slurm.settings().pools.iter().find(|known| known.name == *pool) else {
                    return Ok(());
                };
                match self.slurm.submit(settings, *jobs).await {
                    Ok(array) => info!(pool, jobs, array, "submitted"),
                    Err(error) => {
                        self.policy.failed(self.begun.elapsed(), pool, error.to_string());
                        return Err(error);
                    }
                }
            }
            Action::Drain { pool, job } => {
                info!(pool, job, "its worker is idle: drained");
                self.slurm.drain(job).await?;
            }
            Action::Cancel { pool, job } => {
                info!(pool, job, "cancelled");
                self.slurm.cancel(job).await?;
            }
        }
        Ok(())
    }
}

/// The worker of a job: `worker.sbatch` names it by its node and the job. Its devices count together.
fn worker_of(job: &str, workers: &[(String, Attached)]) -> Option<Attached> {
    let is_its = |name: &str| name.strip_suffix(job).is_some_and(|node| node.ends_with('-'));
    let its = workers.iter().filter(|(name, _)| is_its(name)).map(|(_, worker)| *worker);
    its.reduce(|all, next| {
        let slots = all.slots + next.slots;
        let rates = all.rate * f64::from(all.slots) + next.rate * f64::from(next.slots);
        Attached {
            slots,
            busy: all.busy + next.busy,
            rate: if slots == 0 { 0.0 } else { rates / f64::from(slots) },
            leaving: all.leaving && next.leaving,
        }
    })
}
