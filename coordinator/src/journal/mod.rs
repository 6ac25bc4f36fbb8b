//! The journal: what the scheduler core says must be durable, in order. It knows entries as text, and nothing of what they mean.

mod sqlite;

pub use self::sqlite::{Journal, JournalError};
