//! From the files of a net to scores of new rows: plain code on the host, without Burn, a device or a batch.

mod files;
mod forward;

use secateur_proto::spec::{LayerKind, Step};

pub use self::{files::NetFile, forward::HostNet};
use crate::data::{DataError, NewRows, Preparation, Unusual};

/// A net and how rows are prepared for it.
#[derive(Debug, Clone)]
pub struct Scorer<'p> {
    preparation: &'p Preparation,
    net: HostNet,
    /// The features that the net takes, by their places in a prepared row; all where there is nothing.
    inputs: Option<Vec<u32>>,
    /// By column of the table, whether the net depends on it.
    reads: Vec<bool>,
    /// Of a table.
    rows: Option<NewRows<'p>>,
}

impl<'p> Scorer<'p> {
    /// Puts a net and its preparation together. `inputs` are the features that a smaller net takes.
    ///
    /// # Errors
    /// If they do not belong together.
    pub fn new(preparation: &'p Preparation, file: &NetFile, inputs: Option<Vec<u32>>) -> Result<Self, DataError> {
        let (width, classes) = (preparation.width(), preparation.target.classes.len());
        let taken = inputs.as_ref().map_or(width, Vec::len);
        if file.model.inputs() != taken as u64 || inputs.iter().flatten().any(|input| *input as usize >= width) {
            let message = format!("the net takes {} inputs, and its preparation makes {taken}", file.model.inputs());
            return Err(DataError::Prepared(message));
        }
        if file.model.outputs() as usize != if classes == 2 { 1 } else { classes } {
            let message = format!("the net has {} logits for {classes} classes", file.model.outputs());
            return Err(DataError::Prepared(message));
        }
        let reads = columns_read(preparation, file, inputs.as_deref());
        let rows = match preparation.image {
            Some(_) => None,
            None => Some(NewRows::of(preparation)?.ignoring(|column| !reads[column])),
        };
        Ok(Self { preparation, net: HostNet::of(file), inputs, reads, rows })
    }

    /// How rows are prepared.
    #[must_use]
    pub const fn preparation(&self) -> &'p Preparation {
        self.preparation
    }

    /// By column of the preparation, whether the net depends on it.
    #[must_use]
    pub fn reads(&self) -> &[bool] {
        &self.reads
    }

    /// The probabilities of a row: of the second of two classes, or of each. `cell` gives the cell of a column by its index.
    ///
    /// # Errors
    /// If a cell cannot be prepared.
    pub fn score<'a>(
        &self,
        cell: impl Fn(usize) -> Option<&'a str>,
        unusual: &mut Vec<Unusual<'a>>,
    ) -> Result<Vec<f64>, DataError> {
        let rows = self.rows.as_ref();
        let rows = rows.ok_or_else(|| DataError::NewRow("the net is one of images and not of a table".to_owned()))?;
        let mut features = Vec::with_capacity(self.preparation.width());
        rows.prepare(cell, &mut features, unusual)?;
        Ok(self.probabilities(features))
    }

    /// The probabilities of an image: bytes in the order channels, rows, columns.
    ///
    /// # Errors
    /// If it is of another size, or the net is not one of images.
    pub fn score_image(&self, image: &[u8]) -> Result<Vec<f64>, DataError> {
        let mut features = Vec::with_capacity(image.len());
        self.preparation.apply_image(image, &mut features)?;
        Ok(self.probabilities(features))
    }

    fn probabilities(&self, features: Vec<f32>) -> Vec<f64> {
        let features = match &self.inputs {
            Some(inputs) => inputs.iter().map(|input| features[*input as usize]).collect(),
            None => features,
        };
        probabilities(&self.net.logits(&features))
    }
}

/// The probability of the second of two classes from one logit, or of each class from as many.
#[must_use]
pub fn probabilities(logits: &[f32]) -> Vec<f64> {
    if let [logit] = logits {
        return vec![1.0 / (1.0 + (-f64::from(*logit)).exp())];
    }
    let highest = logits.iter().fold(f32::MIN, |highest, logit| highest.max(*logit));
    let powers: Vec<f64> = logits.iter().map(|logit| (f64::from(*logit) - f64::from(highest)).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / sum).collect()
}

/// By column of the preparation, whether a net depends on it, as far as zeros in its first layer tell.
fn columns_read(preparation: &Preparation, file: &NetFile, inputs: Option<&[u32]>) -> Vec<bool> {
    let taken = inputs.map_or_else(|| (0..).take(preparation.width()).collect(), <[u32]>::to_vec);
    let architecture = file.model.architecture();
    let first = match (architecture.steps.first(), file.parameters.tensors.first()) {
        (Some(Step::Layer(0)), Some(weights)) => match architecture.layers[0].kind {
            LayerKind::Linear { inputs, .. } => Some((inputs as usize, weights)),
            _ => None,
        },
        _ => None,
    };
    let mut is_read = vec![false; preparation.width()];
    for (place, feature) in taken.iter().enumerate() {
        is_read[*feature as usize] =
            first.is_none_or(|(width, weights)| weights.iter().skip(place).step_by(width).any(|weight| *weight != 0.0));
    }
    // The answer of a net that reads nothing is a constant, and a row still has a column.
    if let (false, Some(first)) = (is_read.contains(&true), taken.first()) {
        is_read[*first as usize] = true;
    }
    let mut rest = is_read.as_slice();
    let columns = preparation.columns.iter().map(|column| {
        let (own, others) = rest.split_at(column.features.len());
        rest = others;
        own.contains(&true)
    });
    columns.collect()
}

#[cfg(test)]
pub(crate) mod tests;
