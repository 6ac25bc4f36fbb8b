//! The range without the values that are furthest out.

use super::Range;

/// The share of the values that the range may leave out, half of it at each end.
const LEFT_OUT: f64 = 1e-4;

/// Of values in ascending order.
pub(super) fn range(sorted: &[f32]) -> Range {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a length")]
    let each = (sorted.len() as f64 * LEFT_OUT / 2.0).floor() as usize;
    Range::of(sorted.get(each..sorted.len() - each).unwrap_or(sorted))
}
