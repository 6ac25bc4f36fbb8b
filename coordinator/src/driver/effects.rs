//! Carries out what the core decided, once its records are durable.

use std::{collections::BTreeSet, sync::Arc};

use secateur_proto::{
    ids::SweepId,
    v1::{self, coordinator_message::Message},
};
use tonic::Status;
use tracing::{debug, info, warn};

use super::{Notice, Shell, attachment};
use crate::scheduler::{Effect, Event, SweepState};

impl Shell {
    pub(super) fn carry_out(&mut self, effect: Effect, changed: &mut BTreeSet<SweepId>) {
        match effect {
            Effect::Calibrate { worker, class, stage } => {
                let stage = self.core.stage_with_inputs(&stage);
                let bundle_class = class.to_string();
                let stage = stage.as_ref().map(Into::into);
                self.send(&worker, Message::Calibrate(v1::Calibrate { bundle_class, stage }));
            }
            Effect::Lease { worker, lease, stages } => {
                let leased = stages.iter().filter_map(|(key, attempt)| {
                    changed.extend(self.core.sweeps_of(key));
                    let stage = self.core.stage_with_inputs(key)?;
                    let checkpoint = self.core.checkpoint(key).map(Into::into);
                    Some(v1::LeasedStage { stage: Some((&stage).into()), attempt: *attempt, checkpoint })
                });
                let stages: Vec<_> = leased.collect();
                let message = v1::Lease { lease_id: lease.to_string(), stages };
                if let Some(failure) = attachment::too_long(&message) {
                    warn!(%worker, %lease, reason = failure.message, "cannot send a lease");
                    self.own_events.push(Event::LeaseEnded { worker, lease, failure: Some(failure) });
                } else {
                    debug!(%worker, %lease, stages = message.stages.len(), "leased");
                    self.counters.leased(message.stages.iter().map(|stage| stage.attempt));
                    self.send(&worker, Message::Lease(message));
                }
            }
            Effect::Revoke { worker, lease } => {
                info!(%worker, %lease, "revoking a lease");
                self.send(&worker, Message::Revoke(v1::Revoke { lease_id: lease.to_string() }));
            }
            Effect::Detach { worker, reason } => {
                warn!(%worker, reason, "a worker is gone");
                if let Some(channel) = self.workers.remove(&worker) {
                    // If this does not fit into the channel either, the stream ends with the channel.
                    let _ = channel.send(Err(Status::deadline_exceeded(reason)));
                }
            }
            Effect::Cordon { worker, by } => {
                match &by {
                    Some(by) => info!(%worker, by, "a worker is cordoned"),
                    None => info!(%worker, "a worker is uncordoned"),
                }
                self.send(&worker, Message::Cordon(v1::Cordon { by: by.unwrap_or_default() }));
                changed.extend(self.core.running());
            }
            Effect::Drain { worker } => {
                info!(%worker, "asking a worker to drain");
                self.send(&worker, Message::Drain(v1::Drain {}));
            }
            Effect::Quarantined { worker, reason } => {
                warn!(%worker, reason, "a worker is quarantined");
                changed.extend(self.core.running());
            }
            Effect::Full(full) => {
                if full {
                    warn!("no disk space for results; workers keep them, and work is held");
                } else {
                    info!("there is disk space for results again; work resumes");
                }
                changed.extend(self.core.running());
            }
            Effect::TrialEnded { sweep, trial, outcome } => {
                info!(%sweep, %trial, outcome = outcome.name(), "a trial ended");
                // It may be its last and may have ended without a report, and then the sweep may wait for a decision.
                changed.insert(sweep.clone());
                // Without a watcher there is no message to build.
                if self.notices.receiver_count() > 0 {
                    // A trial's id is its cell's id and its seed.
                    let (cell, seed) = trial.as_str().rsplit_once('-').unwrap_or_default();
                    let ended = v1::TrialEnded {
                        trial_id: trial.to_string(),
                        cell_id: cell.to_owned(),
                        seed: seed.parse().unwrap_or_default(),
                        outcome: Some((&outcome.unpack()).into()),
                    };
                    self.tell(Notice::Trial(sweep, Arc::new(ended)));
                }
            }
            Effect::SweepEnded { sweep, state } => {
                let reason = if let SweepState::Stopped { reason } = &state { reason.as_str() } else { "" };
                info!(%sweep, state = state.name(), reason, "a sweep ended");
                self.sweep_ends.retain(|ends| ends.send((sweep.clone(), state.clone())).is_ok());
                changed.insert(sweep);
            }
        }
    }
}
