//! Workers on demand: submits jobs to the scheduler of a cluster while work waits, and ends them when there is none.
//!
//! `policy` decides from numbers, `slurm` carries decisions out, `rounds` repeats both. Jobs are found by their name at the cluster's
//! own scheduler, so nothing else has to be durable: a restart neither forgets nor repeats a job.
//!
//! It knows nothing of sweeps' contents, of plans, and of how the coordinator is asked.

pub mod policy;
pub mod rounds;
pub mod settings;
pub mod slurm;

#[cfg(test)]
mod tests;
