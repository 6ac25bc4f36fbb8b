//! The trial that a caller names: `TRIAL`, or `SWEEP/TRIAL` with enough of the sweep's id, since a trial is called after its settings and
//! its seed, and sweeps that differ in what all of their trials share have trials of the same name.

use secateur_proto::ids::{SweepId, TrialId};
use tonic::Status;

use crate::scheduler::Core;

/// Sweeps that are named where several are meant.
const SHOWN: usize = 4;

/// A trial, and the sweep that it is of; nothing: that is not the name of one.
///
/// # Errors
/// If several sweeps have one of that name.
pub(super) fn trial(core: &Core, subject: &str) -> Result<Option<(SweepId, TrialId)>, Status> {
    let (sweep, name) = subject.split_once('/').unwrap_or(("", subject));
    let Ok(trial) = name.parse::<TrialId>() else { return Ok(None) };
    let has_it = |id: &SweepId| core.plan(id).is_some_and(|plan| plan.find_trial(&trial).is_some());
    let ids = core.sweeps().map(|status| status.id);
    let mut found: Vec<SweepId> = ids.filter(|id| id.as_str().starts_with(sweep) && has_it(id)).collect();
    if found.len() > 1 {
        let names: Vec<String> = found.iter().take(SHOWN).map(|id| format!("{id}/{trial}")).collect();
        let more = if found.len() > SHOWN { ", and so on" } else { "" };
        let names = names.join(" or ");
        return Err(Status::invalid_argument(format!("{} sweeps have such a trial: say {names}{more}", found.len())));
    }
    Ok(found.pop().map(|sweep| (sweep, trial)))
}
