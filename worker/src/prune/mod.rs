//! Pruning: score the parameters, sort them, save the plan, execute the plan.
//!
//! Scores and plans are plain numbers over the weights in files' order; only the criteria that need gradients touch a device.

pub mod criterion;
pub mod plan;
