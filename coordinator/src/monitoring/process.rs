//! Numbers about this process, from Linux's `/proc`. Elsewhere there are none.

use std::fs;

/// Ticks of the processor times in `/proc`, in each second: fixed in Linux's interface to programs.
const TICKS: f64 = 100.0;

/// Numbers about this process.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct ProcessNumbers {
    /// Processor time in user and kernel mode.
    pub(super) cpu_seconds: f64,
    /// Memory that is present.
    pub(super) resident_bytes: u64,
    /// Open files and connections.
    pub(super) open_files: u64,
}

impl ProcessNumbers {
    /// Reads them, or returns `None` if the system does not say.
    pub(super) fn read() -> Option<Self> {
        let cpu_seconds = cpu_seconds(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let resident_bytes = resident_bytes(&fs::read_to_string("/proc/self/status").ok()?)?;
        let open_files = fs::read_dir("/proc/self/fd").ok()?.count() as u64;
        Some(Self { cpu_seconds, resident_bytes, open_files })
    }
}

/// The fields 14 and 15 of proc_pid_stat(5). The second field is a name that may contain spaces and parentheses.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut times = after_name.split_ascii_whitespace().skip(11).map(str::parse::<f64>);
    let (user, system) = (times.next()?.ok()?, times.next()?.ok()?);
    Some((user + system) / TICKS)
}

/// The line `VmRSS:  1234 kB` of proc_pid_status(5).
fn resident_bytes(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_parentheses_do_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 900 0 0 0 250 50 0 0 20 0 9 0 100 1000 10";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(cpu_seconds("7 (a) S 1"), None);
    }

    #[test]
    fn memory_is_in_kibibytes() {
        assert_eq!(resident_bytes("Name:\tx\nVmRSS:\t    2048 kB\nThreads:\t1\n"), Some(2 << 20));
        assert_eq!(resident_bytes("Name:\tx\n"), None);
    }
}
