//! The range that loses the least information: Migacz, "8-bit inference with TensorRT" (GTC 2017). Values are counted by their size in
//! 2,048 bins. For each number of bins that may be kept, what is beyond counts in the last of them, and is compared with what 128 levels
//! make of it.

use super::Range;

const BINS: usize = 2048;
const LEVELS: usize = 128;
/// Stands for a bin to which levels give nothing, in the logarithm.
const NOTHING: f64 = 1e-12;

/// Of values in ascending order.
pub(super) fn range(sorted: &[f32]) -> Range {
    let whole = Range::of(sorted);
    let largest = whole.high.max(-whole.low);
    let width = largest / BINS as f64;
    if !width.is_normal() {
        return whole;
    }
    let mut counts = vec![0.0_f64; BINS];
    for value in sorted {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "cut to a bin on purpose")]
        let bin = ((f64::from(value.abs()) / width) as usize).min(BINS - 1);
        counts[bin] += 1.0;
    }
    // The zeros of a ReLU say nothing of the range.
    counts[0] = counts[1];
    let kept = (LEVELS..=BINS)
        .map(|kept| (kept, divergence(&counts, kept)))
        .fold(
            (BINS, f64::INFINITY),
            |best, (kept, divergence)| if divergence < best.1 { (kept, divergence) } else { best },
        )
        .0;
    let limit = width * kept as f64;
    Range { low: whole.low.max(-limit), high: whole.high.min(limit) }
}

/// What is lost if the first `kept` bins are covered by the levels, in nats.
fn divergence(counts: &[f64], kept: usize) -> f64 {
    let (inside, outside) = counts.split_at(kept);
    let total: f64 = counts.iter().sum();
    let covered: f64 = inside.iter().sum();
    if covered == 0.0 {
        return f64::INFINITY;
    }
    let beyond: f64 = outside.iter().sum();
    let mut sum = 0.0;
    for level in 0..LEVELS {
        let bins = &inside[level * kept / LEVELS..(level + 1) * kept / LEVELS];
        let filled = bins.iter().filter(|count| **count > 0.0).count();
        let mean = bins.iter().sum::<f64>() / filled.max(1) as f64 / covered;
        let is_last = level == LEVELS - 1;
        for (place, count) in bins.iter().enumerate() {
            let own = *count + if is_last && place == bins.len() - 1 { beyond } else { 0.0 };
            if own > 0.0 {
                let given = if *count > 0.0 { mean } else { 0.0 };
                sum += own / total * (own / total / given.max(NOTHING)).ln();
            }
        }
    }
    sum
}
