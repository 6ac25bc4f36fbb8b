//! From a sweep file to a plan: parse, check, expand, plan. Knows nothing of tokio, tonic, SQL, files or clocks.
//!
//! ```text
//! text ──yaml──▶ Node ──read──▶ SweepSpec ──expand──▶ Points ──planner──▶ Plan ──summary──▶ PlanSummary
//! ```

pub mod adaptive;
mod chain;
pub mod counts;
pub mod diagnostic;
pub mod difference;
pub mod domain;
pub mod draft;
pub mod expand;
pub mod extension;
mod facts;
mod parts;
pub mod plan;
mod planner;
pub mod propose;
mod purpose;
mod read;
pub mod recipe;
pub(crate) mod remarks;
pub mod schema;
mod scratch;
pub mod setting;
pub mod spec;
pub mod summary;
#[cfg(test)]
mod tests;
mod weights;
mod work;
mod yaml;

pub(crate) use self::read::is_table_path;
pub use self::{
    diagnostic::{Diagnostic, Diagnostics, Mark},
    facts::{InputFacts, WeightsFacts},
    plan::ClassRows,
    planner::{PlanBuilder, plan},
    purpose::purpose,
    spec::SweepSpec,
    summary::PlanSummary,
    weights::wanted,
};
