//! Reads everything and writes it in Prometheus's text format.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use prometheus_client::{
    encoding::prometheus_text,
    metrics::{
        counter::ConstCounter,
        family::Family,
        gauge::{ConstGauge, Gauge},
    },
    registry::Registry,
};
use secateur_proto::{PROTOCOL_VERSION, SEMANTICS_VERSION};

use super::{
    counters::{Counters, Label},
    process::ProcessNumbers,
};
use crate::{
    queries::{Queries, QueryError, Readings},
    scheduler::Timestamp,
};

/// The value of the header `Content-Type`.
pub(super) const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// A gauge for counts.
type Count = Gauge<u64, std::sync::atomic::AtomicU64>;

/// Reads and writes the metrics of a coordinator.
#[derive(Debug, Clone)]
pub struct Monitor {
    queries: Queries,
    counters: Counters,
    started: SystemTime,
}

impl Monitor {
    /// Reads with `queries`, and what is counted from `counters`. The process started about now.
    #[must_use]
    pub fn new(queries: Queries, counters: Counters) -> Self {
        Self { queries, counters, started: SystemTime::now() }
    }

    /// Returns all metrics as text.
    ///
    /// # Errors
    /// If the coordinator is stopping.
    pub async fn text(&self) -> Result<String, QueryError> {
        let readings = self.queries.readings().await?;
        let moment = Moment { now: SystemTime::now(), started: self.started, process: ProcessNumbers::read() };
        text(&self.counters, &readings, &moment).map_err(|error| QueryError::Failed(error.to_string()))
    }
}

/// What does not come from the coordinator.
#[derive(Debug, Clone, Copy)]
struct Moment {
    now: SystemTime,
    started: SystemTime,
    process: Option<ProcessNumbers>,
}

fn text(counters: &Counters, readings: &Readings, moment: &Moment) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    let own = registry.sub_registry_with_prefix("secateur");
    own.register("build_info", "Always 1; the labels say which release runs", build_info());
    counters.register(own);
    gauges(own, readings, moment.now);
    register_process(&mut registry, moment);
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry)?;
    Ok(text)
}

fn build_info() -> Family<[(&'static str, String); 3], Count> {
    let family = Family::<[(&'static str, String); 3], Count>::default();
    family
        .get_or_create(&[
            ("version", env!("CARGO_PKG_VERSION").to_owned()),
            ("protocol", PROTOCOL_VERSION.to_string()),
            ("semantics", SEMANTICS_VERSION.to_string()),
        ])
        .set(1);
    family
}

/// A family with one value for each value of a label.
fn by(label: &'static str, counts: &[(&'static str, u64)]) -> Family<Label, Count> {
    let family = Family::<Label, Count>::default();
    for (value, count) in counts {
        family.get_or_create(&[(label, *value)]).set(*count);
    }
    family
}

fn gauges(registry: &mut Registry, readings: &Readings, now: SystemTime) {
    let Readings { overview, free_bytes } = readings;
    let sweeps = &overview.sweeps;
    registry.register(
        "sweeps",
        "Sweeps by state; completed ones with failed trials have a state of their own",
        by(
            "state",
            &[
                ("running", sweeps.running),
                ("draining", sweeps.draining),
                ("completed", sweeps.completed),
                ("completed_with_failures", sweeps.completed_with_failures),
                ("cancelled", sweeps.cancelled),
                ("stopped", sweeps.stopped),
            ],
        ),
    );
    let progress = Family::<[(&'static str, String); 2], Count>::default();
    for sweep in &overview.running {
        let open = sweep.trials.saturating_sub(sweep.completed).saturating_sub(sweep.failed);
        for (state, count) in [("completed", sweep.completed), ("failed", sweep.failed), ("open", open)] {
            progress.get_or_create(&[("sweep", sweep.id.to_string()), ("state", state.to_owned())]).set(count);
        }
    }
    registry.register("sweep_trials", "Trials of the 100 oldest running sweeps by state", progress);
    let workers = &overview.workers;
    registry.register(
        "workers",
        "Workers by state; away ones are disconnected and their leases are kept",
        by(
            "state",
            &[
                ("attached", workers.attached),
                ("away", workers.away),
                ("leaving", workers.leaving),
                ("cordoned", workers.cordoned),
                ("quarantined", workers.quarantined),
            ],
        ),
    );
    let gauge = ConstGauge::<u64>::new;
    registry.register("slots", "Slots of connected workers", gauge(overview.slots));
    registry.register("slots_busy", "Slots of connected workers in use", gauge(overview.busy_slots));
    registry.register(
        "stages_ready",
        "Stages that wait for a slot; bundled ones train together, and others run alone",
        by("kind", &[("bundled", overview.ready_bundled), ("alone", overview.ready_alone)]),
    );
    registry.register("stages_leased", "Stages that workers hold", gauge(overview.leased_stages));
    registry.register("leases", "Leases that workers hold", gauge(overview.leases));
    let age = |since: Option<Timestamp>| ConstGauge::<f64>::new(since.map_or(0.0, |since| seconds_since(since, now)));
    registry.register(
        "oldest_lease_age_seconds",
        "Age of the oldest lease; 0 without leases",
        age(overview.oldest_lease),
    );
    registry.register(
        "longest_silence_seconds",
        "Longest time in which a lease made no progress; 0 without leases",
        age(overview.oldest_progress),
    );
    registry.register(
        "work_is_held",
        "1 while nothing is leased because there is no disk space for results",
        gauge(u64::from(overview.is_full)),
    );
    if let Some(free) = free_bytes {
        registry.register("disk_free_bytes", "Free space on the disk of --data-dir", gauge(*free));
    }
}

fn register_process(registry: &mut Registry, moment: &Moment) {
    let started = moment.started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    registry.register(
        "process_start_time_seconds",
        "When the coordinator started, as Unix time",
        ConstGauge::<f64>::new(started),
    );
    let Some(ProcessNumbers { cpu_seconds, resident_bytes, open_files }) = moment.process else { return };
    registry.register(
        "process_cpu_seconds",
        "Processor time of the coordinator",
        ConstCounter::<f64>::new(cpu_seconds),
    );
    registry.register(
        "process_resident_memory_bytes",
        "Memory of the coordinator that is present",
        ConstGauge::<u64>::new(resident_bytes),
    );
    registry.register(
        "process_open_fds",
        "Open files and connections of the coordinator",
        ConstGauge::<u64>::new(open_files),
    );
}

/// Seconds from a time of the core until now. 0 if the clock was set back.
fn seconds_since(since: Timestamp, now: SystemTime) -> f64 {
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    now.saturating_sub(std::time::Duration::from_millis(since.0)).as_secs_f64()
}

#[cfg(test)]
mod tests;
