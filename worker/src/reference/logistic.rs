//! Logistic regression by Newton's method (iteratively reweighted least squares), with a penalty on the squared coefficients.

use nalgebra::{DMatrix, DVector};
use secateur_proto::spec::LogisticSpec;
use serde::Serialize;

use super::{Diverged, Rows, log_loss, sigmoid};

/// The most iterations. Newton's method needs about ten.
const MAX_ITERATIONS: u64 = 100;
/// The fit ends with the step that lowers the penalised loss by less than this. Convergence is quadratic, so the step after it would
/// change no digit that counts.
const TOLERANCE: f64 = 1e-12;
/// The most halvings of a step.
const MAX_HALVINGS: u32 = 40;
/// A step that lowers the loss by less than this share is not checked: rounding may hide whether it does, and near the minimum Newton's
/// method needs no check.
const UNCHECKED: f64 = 1e-9;

/// A fitted logistic regression.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Logistic {
    /// The log-odds of a row of zeros.
    pub intercept: f64,
    /// What an input adds to the log-odds, by input.
    pub coefficients: Vec<f64>,
    /// Newton steps.
    pub iterations: u64,
}

/// The second derivatives of the loss, summed over rows: the lower triangle, row by row.
struct Hessian {
    size: usize,
    sums: Vec<f64>,
}

impl Hessian {
    fn zero(size: usize) -> Self {
        Self { size, sums: vec![0.0; size * size] }
    }

    /// Adds `curvature` times the products of all pairs of a row's inputs. Prepared rows have many zeros: levels of columns that a row
    /// does not have.
    fn add(&mut self, inputs: &[f64], curvature: f64) {
        for (place, input) in inputs.iter().enumerate().filter(|(_, input)| **input != 0.0) {
            let scaled = curvature * input;
            let sums = &mut self.sums[place * self.size..][..=place];
            sums.iter_mut().zip(inputs).for_each(|(sum, other)| *sum += scaled * other);
        }
    }
}

impl Logistic {
    /// The minimum of the weighted log loss of `rows` and the penalty.
    ///
    /// # Errors
    /// If Newton's method does not converge.
    pub fn fit(spec: LogisticSpec, rows: Rows<'_>, weights: [f64; 2]) -> Result<Self, Diverged> {
        let width = rows.width;
        // The intercept comes last: an input of 1 in every row.
        let mut point = vec![0.0; width + 1];
        let mut loss = penalised_loss(spec, rows, weights, &point);
        for iteration in 1..=MAX_ITERATIONS {
            let diverged = Diverged { step: iteration };
            let (gradient, hessian) = derivatives(spec, rows, weights, &point);
            let step = hessian.cholesky().ok_or(diverged)?.solve(&gradient);
            let decrement = gradient.dot(&step) / 2.0;
            if !decrement.is_finite() {
                return Err(diverged);
            }
            let moved = |share: f64| -> Vec<f64> {
                point.iter().zip(step.iter()).map(|(value, change)| value - share * change).collect()
            };
            let mut next = moved(1.0);
            if decrement > UNCHECKED * (1.0 + loss.abs()) {
                let mut share = 1.0;
                let mut next_loss = penalised_loss(spec, rows, weights, &next);
                // Without a check, Newton's method may leap away from the minimum.
                for _ in 0..MAX_HALVINGS {
                    if next_loss < loss {
                        break;
                    }
                    share /= 2.0;
                    next = moved(share);
                    next_loss = penalised_loss(spec, rows, weights, &next);
                }
                if next_loss >= loss || !next_loss.is_finite() {
                    return Err(diverged);
                }
                loss = next_loss;
            }
            point = next;
            if decrement <= TOLERANCE {
                let intercept = point.pop().unwrap_or_default();
                return Ok(Self { intercept, coefficients: point, iterations: iteration });
            }
        }
        Err(Diverged { step: MAX_ITERATIONS })
    }

    /// The log-odds of a row.
    #[must_use]
    pub fn logit(&self, inputs: &[f32]) -> f64 {
        logit(&self.coefficients, self.intercept, inputs)
    }
}

fn logit(coefficients: &[f64], intercept: f64, inputs: &[f32]) -> f64 {
    coefficients.iter().zip(inputs).fold(intercept, |sum, (coefficient, input)| sum + coefficient * f64::from(*input))
}

fn penalised_loss(spec: LogisticSpec, rows: Rows<'_>, weights: [f64; 2], point: &[f64]) -> f64 {
    let (coefficients, intercept) = (&point[..rows.width], point[rows.width]);
    let of_rows = rows
        .weighted(weights)
        .map(|(inputs, target, weight)| weight * log_loss(logit(coefficients, intercept, inputs), target));
    let squares: f64 = coefficients.iter().map(|coefficient| coefficient * coefficient).sum();
    of_rows.sum::<f64>() + spec.l2 / 2.0 * squares
}

/// The gradient and the Hessian of the penalised loss.
fn derivatives(spec: LogisticSpec, rows: Rows<'_>, weights: [f64; 2], point: &[f64]) -> (DVector<f64>, DMatrix<f64>) {
    let (width, size) = (rows.width, rows.width + 1);
    let (coefficients, intercept) = (&point[..width], point[width]);
    let mut gradient = vec![0.0; size];
    let mut hessian = Hessian::zero(size);
    let mut wide = vec![1.0; size];
    for (inputs, target, weight) in rows.weighted(weights) {
        wide.iter_mut().zip(inputs).for_each(|(wide, input)| *wide = f64::from(*input));
        let probability = sigmoid(logit(coefficients, intercept, inputs));
        let slope = weight * (probability - target);
        gradient.iter_mut().zip(&wide).for_each(|(sum, input)| *sum += slope * input);
        hessian.add(&wide, weight * probability * (1.0 - probability));
    }
    for (place, coefficient) in coefficients.iter().enumerate() {
        gradient[place] += spec.l2 * coefficient;
        hessian.sums[place * size + place] += spec.l2;
    }
    // The factorisation reads the lower triangle alone.
    (DVector::from_vec(gradient), DMatrix::from_row_slice(size, size, &hessian.sums))
}
