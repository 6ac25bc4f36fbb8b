//! How a trained net is measured: by which engine, and on how many rows at a time.

use serde::{Deserialize, Serialize};

use crate::vocabulary;

vocabulary! {
    /// What computes the answers of a net while it is timed.
    pub enum Engine {
        /// RTen: runs the ONNX file with vector instructions. Only in programs that are built with the feature `engine`.
        Rten = "rten",
        /// The code of `secateur score`: one row after the other, in double precision.
        Score = "score",
    }
}

/// How a net is timed, beside a dense net.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeasureSettings {
    /// What computes.
    pub engine: Engine,
    /// Rows of a call, ascending. Latency is that of the first, throughput that of the last.
    pub batch: Vec<u32>,
}

impl MeasureSettings {
    /// The most rows of a call.
    pub const MAX_BATCH: u32 = 4096;

    /// The most sizes of a call.
    pub const MAX_BATCHES: usize = 8;

    /// Checks the sizes.
    ///
    /// # Errors
    /// If there is none, there are too many, or they do not ascend.
    pub fn check(&self) -> Result<(), &'static str> {
        let fits = |rows: &u32| (1..=Self::MAX_BATCH).contains(rows);
        let ascends = self.batch.is_sorted_by(|one, two| one < two);
        if self.batch.is_empty() || self.batch.len() > Self::MAX_BATCHES || !ascends || !self.batch.iter().all(fits) {
            return Err("a net is measured with 1 to 8 batch sizes from 1 to 4096, ascending");
        }
        Ok(())
    }
}

impl Default for MeasureSettings {
    fn default() -> Self {
        Self { engine: Engine::Rten, batch: vec![1, 256] }
    }
}
