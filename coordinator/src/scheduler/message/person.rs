//! Who asked for something.

use serde::{Deserialize, Serialize};

use super::share::is_false;

/// A person or a program that makes requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Person {
    /// The name of the token or certificate, or what the caller said.
    pub name: String,
    /// Whether it is only what the caller said: the coordinator did not authenticate callers.
    #[serde(default, skip_serializing_if = "is_false")]
    pub is_claimed: bool,
}
