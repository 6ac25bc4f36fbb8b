//! The machine that times are taken on, and what else it did meanwhile.

use std::{fs, num::NonZeroUsize, thread, time::Instant};

use serde::Serialize;

/// Where times were taken.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Machine {
    /// The name of the processor, or of its instruction set.
    processor: String,
    /// Processors that the process may use.
    cores: usize,
    /// Whether the thread stayed on one of them.
    pinned: bool,
    /// Processors that were busy on average beside the thread, with work of this or other programs. `None` where the system does not say.
    /// The worker runs no other stage meanwhile; it cannot stop other programs.
    busy_beside: Option<f64>,
}

/// The load of the machine since a moment.
pub(super) struct Load {
    begun: Instant,
    busy: Option<f64>,
    cores: usize,
    pinned: bool,
}

impl Load {
    /// Keeps this thread on one processor, and notes what the machine has done by now.
    pub(super) fn begin() -> Self {
        // A pinned thread may use one.
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self { cores, pinned: pin(), begun: Instant::now(), busy: busy_seconds() }
    }
}

impl Machine {
    /// This machine, and its load since then.
    pub(super) fn here(load: &Load) -> Self {
        let elapsed = load.begun.elapsed().as_secs_f64();
        let busy = load.busy.zip(busy_seconds()).map(|(before, now)| (now - before) / elapsed.max(1e-3));
        Self {
            processor: processor(),
            cores: load.cores,
            pinned: load.pinned,
            // The thread itself was always busy. Counted in hundredths of a second.
            busy_beside: busy.map(|busy| ((busy - 1.0).max(0.0) * 100.0).round() / 100.0),
        }
    }
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    processor_in(&text).unwrap_or(std::env::consts::ARCH).to_owned()
}

/// The first name of a processor in the text of `/proc/cpuinfo`.
fn processor_in(text: &str) -> Option<&str> {
    let named = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(':'));
    named.map(|(_, name)| name.trim()).filter(|name| !name.is_empty())
}

/// Seconds that the processors of the machine have been busy in total.
fn busy_seconds() -> Option<f64> {
    busy_in(&fs::read_to_string("/proc/stat").ok()?)
}

/// The same from the text of `/proc/stat`: user, nice, system, irq, softirq and steal, in hundredths of a second.
fn busy_in(text: &str) -> Option<f64> {
    let counts = text.lines().next()?.strip_prefix("cpu ")?;
    let counts: Vec<f64> = counts.split_ascii_whitespace().map(|count| count.parse().ok()).collect::<Option<_>>()?;
    let [user, nice, system, _idle, _iowait, irq, softirq, steal, ..] = counts[..] else { return None };
    Some((user + nice + system + irq + softirq + steal) / 100.0)
}

/// Keeps this thread on the last processor that it may use: the first ones serve interrupts more often.
#[cfg(target_os = "linux")]
fn pin() -> bool {
    use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

    let Ok(allowed) = sched_getaffinity(None) else { return false };
    let Some(last) = (0..CpuSet::MAX_CPU).rev().find(|cpu| allowed.is_set(*cpu)) else { return false };
    let mut one = CpuSet::new();
    one.set(last);
    sched_setaffinity(None, &one).is_ok()
}

#[cfg(not(target_os = "linux"))]
const fn pin() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_linux_says_is_read() {
        let text = "processor\t: 0\nvendor_id\t: GenuineIntel\nmodel name\t: Intel(R) Xeon(R) CPU @ 2.20GHz\n";
        assert_eq!(processor_in(text), Some("Intel(R) Xeon(R) CPU @ 2.20GHz"));
        assert_eq!(processor_in("Processor: something else\nmodel name :\n"), None);
        let text = "cpu  100 20 30 4000 500 6 7 8 0 0\ncpu0 1 2 3 4 5 6 7 8 0 0\n";
        assert_eq!(busy_in(text), Some(1.71));
        for text in ["", "cpu  1 2\n", "cpu  a b c d e f g h\n", "intr 1 2 3 4 5 6 7 8\n"] {
            assert_eq!(busy_in(text), None, "{text:?}");
        }
    }
}
