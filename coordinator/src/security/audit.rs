//! The audit log: one JSON object per line, append-only. It contains no tokens and no data.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use secateur_worker::private;
use serde_json::{Value, json};
use tracing::error;

use super::{Caller, Role};

/// The name of the file in a coordinator's folder.
const FILE: &str = "audit.jsonl";

/// The first interval between two logged refusals of one unknown caller, or of one known caller and method. Refusals in
/// between are counted, so that a stranger cannot fill the disk.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// For a caller that continues to be refused, the interval doubles each time, up to this limit.
const BETWEEN_LAST_REFUSALS: Duration = Duration::from_secs(640);

/// The number of callers whose refusals are counted separately.
const MOST_CALLERS: usize = 1024;

/// Appends to the log.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    /// `None` if actions are not logged.
    file: Option<File>,
    /// The callers whose refusals were logged.
    refusals: HashMap<Refused, Written>,
}

/// A refused caller: the address and, if it is known, its name and the method.
type Refused = (Option<IpAddr>, Option<(String, String)>);

/// The last logged refusal.
#[derive(Debug)]
struct Written {
    at: Instant,
    /// The interval until the next refusal is logged.
    pause: Duration,
    /// The number of refusals since then that were not logged.
    unwritten: u64,
}

impl Audit {
    /// Opens the log in the folder of a coordinator.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let path = folder.join(FILE);
        let file = private::open_within(&path, OpenOptions::new().create(true).append(true))?;
        private::give_open_to_owner_of_folder(&file, &path)?;
        Ok(Self::over(Some(file)))
    }

    /// Logs nothing, for a coordinator that serves only its own process.
    #[must_use]
    pub fn none() -> Self {
        Self::over(None)
    }

    fn over(file: Option<File>) -> Self {
        Self(Arc::new(Mutex::new(Log { file, refusals: HashMap::new() })))
    }

    /// Logs that `caller` did `what` to `subject`.
    pub fn done(&self, caller: &Caller, what: &str, subject: &str) {
        let entry = json!({
            "at": now(),
            "who": caller.name,
            "role": caller.role,
            "from": caller.peer.map(|peer| peer.to_string()),
            "did": what,
            "to": subject,
        });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&entry);
    }

    /// Logs that a person on the coordinator's machine did `what` to `subject` directly in the folder.
    /// `role` is that of a token.
    pub fn done_here(&self, what: &str, subject: &str, role: Option<Role>) {
        let from = "the coordinator's folder";
        let entry = json!({"at": now(), "who": null, "from": from, "did": what, "to": subject, "of_role": role});
        self.0.lock().unwrap_or_else(PoisonError::into_inner).append(&entry);
    }

    /// Logs that somebody at `peer` was refused `method`, for `reason`. `who` is the name, if it is known.
    pub fn refused(&self, peer: Option<IpAddr>, who: Option<&str>, method: &str, reason: &str) {
        let caller = (peer, who.map(|who| (who.to_owned(), method.to_owned())));
        let moment = Instant::now();
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.write_counts(|other, last| *other != caller && moment.duration_since(last.at) >= last.pause);
        let Some(unwritten) = log.due(caller, moment) else { return };
        log.append(&json!({
            "at": now(),
            "who": who,
            "from": peer.map(|peer| peer.to_string()),
            "refused": method,
            "because": reason,
            "before_unwritten": unwritten,
        }));
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.write_counts(|_, _| true);
    }
}

impl Log {
    /// If a refusal of this caller is to be logged now, returns how many were not logged before it.
    fn due(&mut self, caller: Refused, now: Instant) -> Option<u64> {
        if self.refusals.len() >= MOST_CALLERS {
            self.refusals.retain(|_, last| now.duration_since(last.at) < last.pause);
        }
        // Further callers are counted together.
        let fits = self.refusals.len() < MOST_CALLERS || self.refusals.contains_key(&caller);
        let caller = if fits { caller } else { (None, None) };
        let mut written = Written { at: now, pause: BETWEEN_REFUSALS, unwritten: 0 };
        let mut unwritten = 0;
        if let Some(last) = self.refusals.get_mut(&caller) {
            let since = now.duration_since(last.at);
            if since < last.pause {
                last.unwritten += 1;
                return None;
            }
            unwritten = last.unwritten;
            if since < 2 * last.pause {
                written.pause = (2 * last.pause).min(BETWEEN_LAST_REFUSALS);
            }
        }
        self.refusals.insert(caller, written);
        Some(unwritten)
    }

    /// Logs the number of unlogged refusals, for callers that `is_meant` selects.
    fn write_counts(&mut self, is_meant: impl Fn(&Refused, &Written) -> bool) {
        let meant = self.refusals.iter_mut().filter(|(caller, last)| last.unwritten > 0 && is_meant(caller, last));
        let entries: Vec<Value> = meant
            .map(|((peer, known), last)| {
                json!({
                    "at": now(),
                    "who": known.as_ref().map(|(who, _)| who),
                    "from": peer.map(|peer| peer.to_string()),
                    "refused": known.as_ref().map(|(_, method)| method),
                    "because": "several times, not written one by one",
                    "before_unwritten": std::mem::take(&mut last.unwritten),
                })
            })
            .collect();
        entries.iter().for_each(|entry| self.append(entry));
    }

    fn append(&mut self, entry: &Value) {
        let Some(file) = &mut self.file else { return };
        // A single write, so that lines of one process do not mix.
        if let Err(error) = file.write_all(format!("{entry}\n").as_bytes()) {
            error!(%error, "cannot write the audit log");
        }
    }
}

/// Seconds since 1970.
fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[test]
    fn a_stranger_cannot_fill_the_disk() {
        let mut log = Log { file: None, refusals: HashMap::new() };
        let start = Instant::now();
        let peer = |number: u32| (Some(IpAddr::from(Ipv4Addr::from_bits(number))), None);
        assert_eq!(log.due(peer(1), start), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.due(peer(1), start + Duration::from_secs(1)), None);
        }
        assert_eq!(log.due(peer(2), start + Duration::from_secs(1)), Some(0), "others are written all the same");
        for method in ["Cancel", "Forget"] {
            let known = (peer(1).0, Some(("bob".to_owned(), method.to_owned())));
            assert_eq!(
                log.due(known, start + Duration::from_secs(1)),
                Some(0),
                "and so is what somebody known wanted at the same address"
            );
        }
        assert_eq!(log.due(peer(1), start + BETWEEN_REFUSALS), Some(1000));
        // For very many addresses, few lines are written and little is kept in memory.
        let written = (10..100_000).filter(|number| log.due(peer(*number), start + BETWEEN_REFUSALS).is_some()).count();
        assert!(written <= MOST_CALLERS && log.refusals.len() <= MOST_CALLERS + 1, "{written}");
    }

    #[test]
    fn each_method_that_somebody_known_is_refused_is_a_line() {
        let folder = tempfile::tempdir().expect("a folder");
        let audit = Audit::open(folder.path()).expect("opens");
        for (who, method) in [
            (Some("bob"), "Cancel"),
            (Some("bob"), "Cancel"),
            (Some("bob"), "Forget"),
            (None, "Cancel"),
            (None, "Forget"),
        ] {
            audit.refused(None, who, method, "no");
        }
        let written = || -> Vec<Value> {
            let text = std::fs::read_to_string(folder.path().join(FILE)).expect("reads");
            text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
        };
        let lines = written();
        let refused: Vec<_> = lines.iter().map(|line| (line["who"].as_str(), line["refused"].as_str())).collect();
        assert_eq!(refused, [(Some("bob"), Some("Cancel")), (Some("bob"), Some("Forget")), (None, Some("Cancel"))]);
        // At the end, the counts of the others are written.
        drop(audit);
        let mut rest: Vec<String> = written()[3..]
            .iter()
            .map(|line| format!("{} {} {}", line["who"], line["refused"], line["before_unwritten"]))
            .collect();
        rest.sort();
        assert_eq!(rest, [r#""bob" "Cancel" 1"#, "null null 1"]);
    }

    #[test]
    fn who_keeps_on_being_refused_is_written_down_less_and_less_often() {
        let mut log = Log { file: None, refusals: HashMap::new() };
        let start = Instant::now();
        let caller = || (None, Some(("gpus".to_owned(), "Attach".to_owned())));
        // A worker retries every five seconds, for a day.
        let tries = (0..24 * 720).map(|number| start + Duration::from_secs(5 * number));
        let written: Vec<u64> = tries.filter_map(|at| log.due(caller(), at)).collect();
        assert_eq!(written[..4], [0, 1, 3, 7]);
        assert_eq!(written.len(), 141, "7 lines in the first 630 seconds, and then one every 640");
        let later = start + Duration::from_secs(2 * 24 * 3600);
        assert_eq!(log.due(caller(), later).map(|_| ()), Some(()));
        assert_eq!(log.due(caller(), later + BETWEEN_REFUSALS), Some(0), "after a rest it is as at first");
    }
}
