//! Loops over numbers on the processor, with the widest vectors that it has. Knows nothing of tensors or nets.

use pulp::Arch;

/// Does `work`, which the compiler makes once for every kind of vectors that processors have; the one at hand decides which of them runs.
/// What comes out is the same bit for bit: each number is computed as it is written, sums in the order in which they are, and no product
/// and sum become one. Only what is inlined into `work` gains from it.
pub(super) fn widest<T>(work: impl FnOnce() -> T) -> T {
    Arch::new().dispatch(work)
}
