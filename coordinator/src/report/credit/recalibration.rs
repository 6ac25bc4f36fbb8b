//! Fits from log-odds to probabilities: Platt's, which is logistic regression on one input, and isotonic regression. Knows no nets.

/// Newton steps at most. A dozen are enough for any data that has a finite answer.
const MOST_STEPS: usize = 100;

/// p = 1 / (1 + exp(−(intercept + slope · log-odds))).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Platt {
    pub(super) intercept: f64,
    pub(super) slope: f64,
}

impl Platt {
    /// The most likely fit. `None` without one: of classes that a cut-off parts, or equal log-odds.
    pub(super) fn fit(logits: &[f32], targets: &[f64]) -> Option<Self> {
        let mut fit = Self { intercept: 0.0, slope: 1.0 };
        let mut loss = fit.loss(logits, targets);
        for _ in 0..MOST_STEPS {
            let ([g0, g1], [h00, h01, h11]) = fit.derivatives(logits, targets);
            let determinant = h00 * h11 - h01 * h01;
            let [d0, d1] = [(h11 * g0 - h01 * g1) / determinant, (h00 * g1 - h01 * g0) / determinant];
            if !d0.is_finite() || !d1.is_finite() {
                return None;
            }
            // Half a step, and half of that, if a whole one goes too far.
            let mut size = 1.0;
            let (next, next_loss) = loop {
                let next = Self { intercept: fit.intercept + size * d0, slope: fit.slope + size * d1 };
                let next_loss = next.loss(logits, targets);
                if next_loss <= loss || size < 1e-9 {
                    break (next, next_loss);
                }
                size /= 2.0;
            };
            let change = (next.intercept - fit.intercept).abs() + (next.slope - fit.slope).abs();
            (fit, loss) = (next, next_loss);
            if change < 1e-12 * (1.0 + fit.intercept.abs() + fit.slope.abs()) {
                return Some(fit);
            }
            if fit.slope.abs() > 1e6 {
                return None;
            }
        }
        None
    }

    /// Targets that keep the fit finite (Platt 1999).
    pub(super) fn smoothed(targets: &[f32]) -> Vec<f64> {
        let positives = targets.iter().filter(|target| **target == 1.0).count() as f64;
        let negatives = targets.len() as f64 - positives;
        let [one, zero] = [(positives + 1.0) / (positives + 2.0), 1.0 / (negatives + 2.0)];
        targets.iter().map(|target| if *target == 1.0 { one } else { zero }).collect()
    }

    pub(super) fn probability(&self, logit: f32) -> f64 {
        1.0 / (1.0 + (-(self.intercept + self.slope * f64::from(logit))).exp())
    }

    fn loss(&self, logits: &[f32], targets: &[f64]) -> f64 {
        let of_row = |(logit, target): (&f32, &f64)| {
            let z = self.intercept + self.slope * f64::from(*logit);
            z.max(0.0) - target * z + (-z.abs()).exp().ln_1p()
        };
        logits.iter().zip(targets).map(of_row).sum()
    }

    /// Gradient of the log-likelihood, and the Hessian of its negative.
    fn derivatives(&self, logits: &[f32], targets: &[f64]) -> ([f64; 2], [f64; 3]) {
        let (mut gradient, mut hessian) = ([0.0; 2], [0.0; 3]);
        for (logit, target) in logits.iter().zip(targets) {
            let (x, p) = (f64::from(*logit), self.probability(*logit));
            let (error, weight) = (target - p, p * (1.0 - p));
            gradient = [gradient[0] + error, gradient[1] + error * x];
            hessian = [hessian[0] + weight, hessian[1] + weight * x, hessian[2] + weight * x * x];
        }
        (gradient, hessian)
    }

    /// Of each row the intercept and the slope plus n times its influence on them.
    pub(super) fn influences(&self, logits: &[f32], targets: &[f64]) -> Option<[Vec<f64>; 2]> {
        let (_, [h00, h01, h11]) = self.derivatives(logits, targets);
        let determinant = h00 * h11 - h01 * h01;
        if determinant <= 0.0 {
            return None;
        }
        let scale = logits.len() as f64 / determinant;
        let (mut intercepts, mut slopes) = (Vec::new(), Vec::new());
        for (logit, target) in logits.iter().zip(targets) {
            let (x, error) = (f64::from(*logit), target - self.probability(*logit));
            intercepts.push(self.intercept + scale * error * (h11 - h01 * x));
            slopes.push(self.slope + scale * error * (h00 * x - h01));
        }
        Some([intercepts, slopes])
    }
}

/// The increasing function that is nearest to the outcomes in squares, by pooling adjacent violators (Ayer et al. 1955). Between its points
/// it is a straight line, and beyond them constant, as in scikit-learn.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Isotonic {
    /// Log-odds, ascending, and probabilities.
    points: Vec<(f64, f64)>,
}

/// Rows that have one value.
struct Pool {
    low: f64,
    high: f64,
    sum: f64,
    count: f64,
}

impl Isotonic {
    /// `None` without rows.
    pub(super) fn fit(logits: &[f32], targets: &[f32]) -> Option<Self> {
        let mut rows: Vec<(f32, f32)> = logits.iter().copied().zip(targets.iter().copied()).collect();
        rows.sort_by(|one, two| one.0.total_cmp(&two.0));
        let mut pools: Vec<Pool> = Vec::new();
        for (logit, target) in rows {
            let (x, y) = (f64::from(logit), f64::from(target));
            match pools.last_mut().filter(|last| last.low == x && last.high == x) {
                Some(last) => (last.sum, last.count) = (last.sum + y, last.count + 1.0),
                None => pools.push(Pool { low: x, high: x, sum: y, count: 1.0 }),
            }
        }
        let mut merged: Vec<Pool> = Vec::new();
        for mut pool in pools {
            while let Some(last) = merged.pop_if(|last| last.sum * pool.count >= pool.sum * last.count) {
                pool =
                    Pool { low: last.low, high: pool.high, sum: last.sum + pool.sum, count: last.count + pool.count };
            }
            merged.push(pool);
        }
        let ends = |pool: &Pool| {
            let mean = pool.sum / pool.count;
            [(pool.low, mean), (pool.high, mean)]
        };
        let mut points: Vec<(f64, f64)> = merged.iter().flat_map(ends).collect();
        points.dedup();
        (!points.is_empty()).then_some(Self { points })
    }

    pub(super) fn probability(&self, logit: f32) -> f64 {
        let x = f64::from(logit);
        let after = self.points.partition_point(|(other, _)| *other < x);
        match (after.checked_sub(1).and_then(|before| self.points.get(before)), self.points.get(after)) {
            (Some((x0, y0)), Some((x1, y1))) => y0 + (y1 - y0) * (x - x0) / (x1 - x0),
            (Some((_, y)), None) | (None, Some((_, y))) => *y,
            (None, None) => f64::NAN,
        }
    }
}

#[cfg(test)]
mod tests;
