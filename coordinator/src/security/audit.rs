//! The log of who did what: one JSON object a line, only ever appended to. No token and no data is in it.

use std::{
    collections::HashMap,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    net::IpAddr,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tracing::error;

use super::Caller;

/// The name of the file in a coordinator's folder.
const FILE: &str = "audit.jsonl";

/// Of one address a refusal is written so often; what comes between is counted. A stranger must not be able to fill the disk.
const BETWEEN_REFUSALS: Duration = Duration::from_secs(10);

/// Addresses whose refusals are counted one by one.
const MOST_PEERS: usize = 1024;

/// Appends to the log.
#[derive(Debug, Clone)]
pub struct Audit(Arc<Mutex<Log>>);

#[derive(Debug)]
struct Log {
    /// Nothing where what is done is not logged.
    file: Option<File>,
    /// When a refusal of an address was last written, and how many were not since.
    refusals: HashMap<Option<IpAddr>, (Instant, u64)>,
}

impl Audit {
    /// Appends to the log in the folder of a coordinator.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub fn open(folder: &Path) -> io::Result<Self> {
        let file = OpenOptions::new().create(true).append(true).open(folder.join(FILE))?;
        Ok(Self::over(Some(file)))
    }

    /// Writes nothing, for a coordinator that serves itself.
    #[must_use]
    pub fn none() -> Self {
        Self::over(None)
    }

    fn over(file: Option<File>) -> Self {
        Self(Arc::new(Mutex::new(Log { file, refusals: HashMap::new() })))
    }

    /// `caller` did `what` to `subject`.
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

    /// Somebody at `peer` was refused `method`, for `reason`.
    pub fn refused(&self, peer: Option<IpAddr>, who: Option<&str>, method: &str, reason: &str) {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(unwritten) = log.due(peer, Instant::now()) else { return };
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

impl Log {
    /// How many refusals of `peer` were not written since one was, if one is to be written now.
    fn due(&mut self, peer: Option<IpAddr>, now: Instant) -> Option<u64> {
        if self.refusals.len() >= MOST_PEERS {
            self.refusals.retain(|_, (last, _)| now.duration_since(*last) < BETWEEN_REFUSALS);
        }
        // Many addresses at a time count as one.
        let peer = if self.refusals.len() < MOST_PEERS || self.refusals.contains_key(&peer) { peer } else { None };
        match self.refusals.get_mut(&peer) {
            Some((last, unwritten)) if now.duration_since(*last) < BETWEEN_REFUSALS => {
                *unwritten += 1;
                None
            }
            _ => Some(self.refusals.insert(peer, (now, 0)).map_or(0, |(_, unwritten)| unwritten)),
        }
    }

    fn append(&mut self, entry: &Value) {
        let Some(file) = &mut self.file else { return };
        // One write, so that lines of one process never mix.
        if let Err(error) = file.write_all(format!("{entry}\n").as_bytes()) {
            error!(%error, "the audit log cannot be written");
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
        let peer = |number: u32| Some(IpAddr::from(Ipv4Addr::from_bits(number)));
        assert_eq!(log.due(peer(1), start), Some(0));
        for _ in 0..1000 {
            assert_eq!(log.due(peer(1), start + Duration::from_secs(1)), None);
        }
        assert_eq!(log.due(peer(2), start + Duration::from_secs(1)), Some(0), "others are written all the same");
        assert_eq!(log.due(peer(1), start + BETWEEN_REFUSALS), Some(1000));
        // From very many addresses few are written, and little is remembered.
        let written = (10..100_000).filter(|number| log.due(peer(*number), start + BETWEEN_REFUSALS).is_some()).count();
        assert!(written <= MOST_PEERS && log.refusals.len() <= MOST_PEERS + 1, "{written}");
    }
}
