//! Metrics of scores and nets.
