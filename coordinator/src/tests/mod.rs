//! Tests of coordinator, workers and clients together, which need to see more than a program shows.

mod network;
