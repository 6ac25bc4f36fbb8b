//! From a sweep file to a plan: parse, check, expand, plan. Knows nothing of tokio, tonic, SQL, files or clocks.

pub mod plan;
