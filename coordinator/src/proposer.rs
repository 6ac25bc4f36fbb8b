//! Adds seeds to sweeps while results come in: decides, beside the driver, whenever all trials of such a sweep have ended.
//!
//! A decision depends on the results alone, and its part of the plan is journaled before anything of it runs. So it does not matter when a
//! coordinator is killed: before the record, the next life decides the same; after it, the part is there.

use std::{convert::Infallible, time::Duration};

use secateur_proto::ids::SweepId;
use tracing::{error, info, warn};

use crate::{
    driver::Driver,
    queries::{Decision, Queries, QueryError},
    scheduler::{Core, Event},
};

/// The number of times that a decision is tried.
const TRIES: u32 = 5;

/// The pause between two of them.
const PAUSE: Duration = Duration::from_secs(2);

/// Decides for as long as the coordinator runs.
pub(crate) async fn decide(driver: Driver, queries: Queries) -> Infallible {
    // The driver's error is reported elsewhere.
    while let Ok(waiting) = driver.read(waiting).await {
        for sweep in &waiting {
            decide_sweep(&driver, &queries, sweep).await;
        }
        driver.decision_due().await;
    }
    std::future::pending().await
}

fn waiting(core: &Core) -> Vec<SweepId> {
    core.running().filter(|sweep| core.awaits_decision(sweep)).collect()
}

async fn decide_sweep(driver: &Driver, queries: &Queries, sweep: &SweepId) {
    let Some(Decision { generation, part }) = decision(driver, queries, sweep).await else { return };
    match part.as_ref().and_then(|part| part.sweep.seeds_so_far()) {
        Some(round) => info!(%sweep, round, "adding seeds"),
        None => info!(%sweep, "no more seeds are needed"),
    }
    if let Err(rejection) = driver.apply(Event::SweepDecided { sweep: sweep.clone(), generation, part }).await {
        // Somebody has cancelled or retried it, and it is decided anew once its trials have ended.
        info!(%sweep, %rejection, "the decision came too late");
    }
}

/// The decision about a sweep, or `None` if nobody waits for it any more. It is tried again if it fails, because the
/// reason may pass: other queries take all the room.
async fn decision(driver: &Driver, queries: &Queries, sweep: &SweepId) -> Option<Decision> {
    let mut tries = 0;
    loop {
        // Before it is decided: a sweep that somebody retries meanwhile is not closed because of what was before.
        let wanted = sweep.clone();
        let generation = driver.read(move |core| core.generation(&wanted)).await.ok()??;
        tries += 1;
        match queries.decide_seeds(sweep).await {
            Ok(decision) => return Some(decision),
            Err(QueryError::UnknownSweep(_) | QueryError::Stopped) => return None,
            Err(error) if tries < TRIES => {
                warn!(%sweep, %error, "cannot decide whether the sweep needs more seeds; trying again");
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => {
                // It would wait for ever.
                error!(%sweep, %error, "cannot decide whether the sweep needs more seeds; it gets none");
                return Some(Decision { generation, part: None });
            }
        }
    }
}
