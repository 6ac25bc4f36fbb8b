//! Which files a worker may read: those that its leases need, for as long as it is attached.

use std::{
    collections::{HashMap, HashSet},
    sync::{Arc, Mutex, PoisonError},
};

use secateur_proto::ids::ContentHash;

/// What the workers that are attached may read, by the name that they attached under.
#[derive(Debug, Clone, Default)]
pub struct Grants(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    next: u64,
    sessions: HashMap<String, HashMap<u64, HashSet<ContentHash>>>,
}

impl Grants {
    /// Begins a session of a worker that came in as `name`. What it is granted ends with it.
    #[must_use]
    pub fn session(&self, name: &str) -> Session {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.next += 1;
        let number = inner.next;
        inner.sessions.entry(name.to_owned()).or_default().insert(number, HashSet::new());
        Session { grants: self.clone(), name: name.to_owned(), number }
    }

    /// Whether some worker that came in as `name` needs that file.
    #[must_use]
    pub fn holds(&self, name: &str, hash: &ContentHash) -> bool {
        let inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.sessions.get(name).is_some_and(|sessions| sessions.values().any(|granted| granted.contains(hash)))
    }
}

/// One worker, while it is attached.
#[derive(Debug)]
pub struct Session {
    grants: Grants,
    name: String,
    number: u64,
}

impl Session {
    /// Lets it read these files.
    pub fn grant(&self, hashes: impl IntoIterator<Item = ContentHash>) {
        let mut inner = self.grants.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(granted) = inner.sessions.get_mut(&self.name).and_then(|sessions| sessions.get_mut(&self.number)) {
            granted.extend(hashes);
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let mut inner = self.grants.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sessions) = inner.sessions.get_mut(&self.name) {
            sessions.remove(&self.number);
            if sessions.is_empty() {
                inner.sessions.remove(&self.name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_granted_ends_with_the_session() {
        let grants = Grants::default();
        let [table, net] = [b"table", b"net__"].map(|bytes| ContentHash::of(bytes));
        let (one, two) = (grants.session("gpu"), grants.session("gpu"));
        let other = grants.session("other");
        one.grant([table]);
        two.grant([table, net]);
        assert!(grants.holds("gpu", &table) && grants.holds("gpu", &net));
        assert!(!grants.holds("other", &table) && !grants.holds("nobody", &table));
        drop(two);
        assert!(grants.holds("gpu", &table) && !grants.holds("gpu", &net));
        drop((one, other));
        assert!(!grants.holds("gpu", &table));
        assert!(grants.0.lock().expect("nobody panicked").sessions.is_empty());
    }
}
