//! Training of bundles: K nets of one architecture in lockstep, as stacked tensors `[K, …]`. K = 1 is a single net.
//!
//! Lanes never mix: no operation reduces over K, and the results of a lane do not depend on other lanes.

pub mod batches;
pub mod bundle;
pub mod chain;
pub mod data;
pub mod evaluate;
pub mod forward;
pub mod measure;
mod numbers;
pub mod optimizer;
pub mod penalty;
pub mod probe;
pub mod quantization;
pub mod run;
pub mod state;
#[cfg(test)]
pub(crate) mod tests;
mod vectors;
