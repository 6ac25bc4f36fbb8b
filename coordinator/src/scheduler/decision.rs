//! What an event comes to.

use super::{journal::Record, message::Effect};

/// What an event comes to.
#[derive(Debug, Clone, Default, PartialEq)]
#[must_use = "the records must be written and the effects carried out"]
pub struct Decision {
    /// To be made durable before any effect happens. Empty for most events.
    pub records: Vec<Record>,
    /// To be carried out in order.
    pub effects: Vec<Effect>,
}
