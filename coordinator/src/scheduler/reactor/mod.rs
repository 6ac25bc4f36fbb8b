//! The reactors check events against the parts and write records. One file for each family of events.

pub(super) mod attempts;
pub(super) mod faults;
pub(super) mod reports;
pub(super) mod room;
pub(super) mod sweeps;
pub(super) mod time;
pub(super) mod workers;
