//! Tables to tensors.
