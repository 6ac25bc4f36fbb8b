//! The number of removed weights on the way to a sparsity.

use std::f64::consts::PI;

use secateur_proto::spec::Ramp;

/// Returns how many of `places` are removed at `progress` (0 to 1) on the way from `from` to `to`. Rounds halves away
/// from zero, and returns exactly `to` at the end. With s for sparsity, t for progress and d = 1 − s, s = s₀ + (s₁ −
/// s₀) · r(t), where r is 1 − (1 − t)³ (Zhu & Gupta 2017, arXiv 1710.01878), t, or (1 − cos(π · t)) / 2; or d = d₀ ·
/// (d₁ / d₀)^t.
#[must_use]
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between two counts")]
pub fn removed_at(ramp: Ramp, from: u64, to: u64, places: u64, progress: f64) -> u64 {
    if progress >= 1.0 || from >= to {
        return to;
    }
    let (begin, end, all) = (from as f64, to as f64, places as f64);
    let risen = |share: f64| begin + (end - begin) * share;
    let removed = match ramp {
        Ramp::Cubic => risen(1.0 - (1.0 - progress).powi(3)),
        Ramp::Linear => risen(progress),
        Ramp::Exponential => all - (all - begin) * ((all - end) / (all - begin)).powf(progress),
        Ramp::Cosine => risen((1.0 - (PI * progress).cos()) / 2.0),
    };
    (removed.round() as u64).clamp(from, to)
}
