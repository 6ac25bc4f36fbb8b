//! Grants: a worker may read the files that its leases need, until they end.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use secateur_proto::ids::{ContentHash, LeaseId};

/// The files that attached workers may read, by the name of the worker's token.
#[derive(Debug, Clone, Default)]
pub struct Grants(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    workers: HashMap<String, Granted>,
}

/// The files that all workers of one name may read.
#[derive(Debug, Default)]
struct Granted {
    /// The files of each lease in each session.
    sessions: HashMap<u64, HashMap<LeaseId, Vec<ContentHash>>>,
    /// The number of leases that need each file.
    files: HashMap<ContentHash, usize>,
}

impl Granted {
    fn release(&mut self, files: Vec<ContentHash>) {
        for file in files {
            if let Some(count) = self.files.get_mut(&file) {
                *count -= 1;
                if *count == 0 {
                    self.files.remove(&file);
                }
            }
        }
    }
}

impl Grants {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a session of a worker authenticated as `name`. Its grants end with the session at the latest.
    #[must_use]
    pub fn session(&self, name: &str) -> Session {
        let mut inner = self.inner();
        inner.next += 1;
        let number = inner.next;
        inner.workers.entry(name.to_owned()).or_default().sessions.insert(number, HashMap::new());
        Session { grants: self.clone(), name: name.to_owned(), number }
    }

    /// Whether a lease of a worker authenticated as `name` needs the file.
    #[must_use]
    pub fn holds(&self, name: &str, hash: &ContentHash) -> bool {
        self.inner().workers.get(name).is_some_and(|granted| granted.files.contains_key(hash))
    }
}

/// The session of one attached worker.
#[derive(Debug)]
pub struct Session {
    grants: Grants,
    name: String,
    number: u64,
}

impl Session {
    /// Allows it to read the files that a lease needs, until the lease ends.
    pub fn grant(&self, lease: LeaseId, files: Vec<ContentHash>) {
        let mut inner = self.grants.inner();
        let Some(granted) = inner.workers.get_mut(&self.name) else { return };
        for file in &files {
            *granted.files.entry(*file).or_default() += 1;
        }
        let leases = granted.sessions.entry(self.number).or_default();
        if let Some(before) = leases.insert(lease, files) {
            granted.release(before);
        }
    }

    /// Ends the grants of a lease.
    pub fn end(&self, lease: &LeaseId) {
        let mut inner = self.grants.inner();
        let Some(granted) = inner.workers.get_mut(&self.name) else { return };
        if let Some(files) = granted.sessions.get_mut(&self.number).and_then(|leases| leases.remove(lease)) {
            granted.release(files);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut inner = self.grants.inner();
        let Some(granted) = inner.workers.get_mut(&self.name) else { return };
        for files in granted.sessions.remove(&self.number).into_iter().flat_map(HashMap::into_values) {
            granted.release(files);
        }
        if granted.sessions.is_empty() {
            inner.workers.remove(&self.name);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lease(name: &str) -> LeaseId {
        name.parse().expect("an id")
    }

    #[test]
    fn what_is_granted_ends_with_the_session() {
        let grants = Grants::default();
        let [table, net] = [b"table", b"net__"].map(|bytes| ContentHash::of(bytes));
        let (one, two) = (grants.session("gpu"), grants.session("gpu"));
        let other = grants.session("other");
        one.grant(lease("1-1"), vec![table]);
        two.grant(lease("1-2"), vec![table, net]);
        assert!(grants.holds("gpu", &table) && grants.holds("gpu", &net));
        assert!(!grants.holds("other", &table) && !grants.holds("nobody", &table));
        drop(two);
        assert!(grants.holds("gpu", &table) && !grants.holds("gpu", &net));
        drop((one, other));
        assert!(!grants.holds("gpu", &table));
        assert!(grants.inner().workers.is_empty());
    }

    #[test]
    fn what_is_granted_for_a_lease_ends_with_it() {
        let grants = Grants::default();
        let [table, net] = [b"table", b"net__"].map(|bytes| ContentHash::of(bytes));
        let session = grants.session("gpu");
        session.grant(lease("1-1"), vec![table, table, net]);
        session.grant(lease("1-2"), vec![table]);
        session.end(&lease("1-1"));
        assert!(grants.holds("gpu", &table) && !grants.holds("gpu", &net));
        session.end(&lease("1-1"));
        session.end(&lease("1-3"));
        assert!(grants.holds("gpu", &table));
        session.end(&lease("1-2"));
        assert!(!grants.holds("gpu", &table));
        assert!(grants.inner().workers["gpu"].files.is_empty(), "nothing is left of what has ended");
    }
}
