//! Symmetric matrices of second derivatives, and their factors.

use nalgebra::{Cholesky, DMatrix, Dyn};
use secateur_proto::outcome::{Failure, FailureClass};

/// Added to the diagonal of a zero matrix, so that it has an inverse. Far below any meaningful curvature.
const FLOOR: f64 = 1e-30;

/// Returns what to add to each number of `diagonal`: the share `damp` of their mean. It is relative, because the
/// curvature of trained nets differs by many powers of ten between layers and nets. A single absolute number would be
/// negligible in one and dominate another.
pub(super) fn damping(diagonal: impl Iterator<Item = f64>, damp: f64) -> f64 {
    let (sum, count) = diagonal.fold((0.0, 0_u32), |(sum, count), value| (sum + value, count + 1));
    (damp * sum / f64::from(count.max(1))).max(FLOOR)
}

/// The Cholesky factor of a matrix, from its lower triangle.
pub(super) fn cholesky(matrix: DMatrix<f64>) -> Result<Cholesky<f64, Dyn>, Failure> {
    Cholesky::new(matrix).ok_or_else(|| {
        Failure::new(
            FailureClass::Input,
            "the curvature is not positive definite: it is not finite, or needs a larger damp",
        )
    })
}

/// Adds v vᵀ to the lower triangle of `sums`.
pub(super) fn add_square(sums: &mut DMatrix<f64>, values: &[f64]) {
    let size = sums.nrows().max(1);
    let columns = sums.as_mut_slice().chunks_exact_mut(size).zip(values).enumerate();
    for (column, (sums, of_column)) in columns.filter(|(_, (_, value))| **value != 0.0) {
        let below = sums.iter_mut().zip(values).skip(column);
        below.for_each(|(sum, value)| *sum += of_column * value);
    }
}
