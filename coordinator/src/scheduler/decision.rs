//! The result of an event.

use super::{journal::Record, message::Effect};

/// The result of an event.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "the records must be written and the effects carried out"]
pub struct Decision {
    /// Must be durable before any effect happens. Empty for most events.
    pub records: Vec<Record>,
    /// Must be carried out in order.
    pub effects: Vec<Effect>,
}
