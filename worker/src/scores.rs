//! The file of scores that a trial leaves: of each validation and test row its number in the table, what the net gives for it, and its
//! target. Paired statistics, swap sets and calibration need them.

use std::collections::HashMap;

use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use secateur_proto::metrics::Split;

use crate::tensors::{InvalidTensors, f32_bytes, f32_list, u32_bytes, u32_list};

/// The scores of the rows of one part of the data, to write them.
#[derive(Debug, Clone, Copy)]
pub struct SplitScores<'a> {
    /// The part.
    pub split: Split,
    /// Row numbers in the table.
    pub rows: &'a [u32],
    /// One log-odds for each row, or one value for each class of each row.
    pub logits: &'a [f32],
    /// Indices of classes.
    pub targets: &'a [f32],
}

/// Writes `validation.rows`, `validation.logits`, `validation.targets`, and the same of test, as safetensors.
///
/// # Errors
/// Never: the tensors are lists of the sizes that they say.
pub fn write_scores(scores: &[SplitScores<'_>]) -> Result<Vec<u8>, InvalidTensors> {
    let buffers: Vec<(String, Dtype, Vec<u8>)> = (scores.iter())
        .flat_map(|SplitScores { split, rows, logits, targets }| {
            [
                (format!("{split}.rows"), Dtype::U32, u32_bytes(rows)),
                (format!("{split}.logits"), Dtype::F32, f32_bytes(logits)),
                (format!("{split}.targets"), Dtype::F32, f32_bytes(targets)),
            ]
        })
        .collect();
    let views: HashMap<&str, TensorView<'_>> = (buffers.iter())
        .map(|(name, dtype, bytes)| Ok((name.as_str(), TensorView::new(*dtype, vec![bytes.len() / 4], bytes)?)))
        .collect::<Result<_, safetensors::SafeTensorError>>()?;
    Ok(safetensors::serialize(views, None)?)
}

/// Reads the logits and the targets of a part.
///
/// # Errors
/// If it is not a file of scores.
pub fn read_scores(bytes: &[u8], split: Split) -> Result<(Vec<f32>, Vec<f32>), InvalidTensors> {
    let file = SafeTensors::deserialize(bytes)?;
    let list = |name: &str| f32_list(&file, &format!("{split}.{name}"));
    Ok((list("logits")?, list("targets")?))
}

/// Reads the row numbers of a part.
///
/// # Errors
/// If it is not a file of scores.
pub fn read_rows(bytes: &[u8], split: Split) -> Result<Vec<u32>, InvalidTensors> {
    u32_list(&SafeTensors::deserialize(bytes)?, &format!("{split}.rows"))
}
