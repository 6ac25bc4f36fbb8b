//! Loops over numbers on the processor, with the widest vector instructions that it has. Knows no tensors or nets.

use pulp::Arch;

/// Runs `work`, which is compiled for every kind of vector instructions; the processor decides which version runs. The
/// results are equal bit for bit: each number is computed as written, sums are in order, and no product and sum are
/// fused. Only code that is inlined into `work` benefits.
pub(super) fn widest<T>(work: impl FnOnce() -> T) -> T {
    Arch::new().dispatch(work)
}
