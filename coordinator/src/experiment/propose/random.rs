//! Independent draws. Each number depends on seed, draw and setting alone, so another setting that varies changes none of them.

use super::{bits, unit};

/// The share of its range that a setting has in a draw.
pub(super) fn share(seed: u64, draw: u64, path: &str) -> f64 {
    unit(bits("random search", seed, draw, path))
}
