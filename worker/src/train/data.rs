//! Prepared data on a device.

use burn::tensor::{Device, Tensor, TensorData};

use crate::data::{Dataset, Group, Part};

/// The rows of all three splits. Train rows are on the device, and targets for evaluation on the host.
#[derive(Debug)]
pub struct DeviceData {
    /// `[n, width]`.
    pub train_inputs: Tensor<2>,
    /// The number of classes.
    pub classes: u32,
    /// The columns that metrics are reported by.
    pub groups: Vec<Group>,
    /// `[n]`, the class of each row.
    pub train_targets: Tensor<1>,
    /// Used to choose epochs.
    pub validation: EvaluationRows,
    /// Not used for any choice.
    pub test: EvaluationRows,
}

/// Rows to evaluate.
#[derive(Debug)]
pub struct EvaluationRows {
    /// `[n, width]`.
    pub inputs: Tensor<2>,
    /// The class of each row.
    pub targets: Vec<f32>,
    /// Row numbers in the table.
    pub rows: Vec<u32>,
    /// For each group column the index of each row's level.
    pub groups: Vec<Vec<u32>>,
}

impl DeviceData {
    /// Moves a dataset to `device`.
    #[must_use]
    pub fn load(dataset: Dataset, device: &Device) -> Self {
        let width = dataset.width();
        let inputs = |values: Vec<f32>| {
            let rows = values.len() / width.max(1);
            Tensor::<2>::from_data(TensorData::new(values, [rows, width]), device)
        };
        let evaluation = |part: Part| EvaluationRows {
            inputs: inputs(part.inputs),
            targets: part.targets,
            rows: part.rows,
            groups: part.groups,
        };
        let rows = dataset.train.targets.len();
        Self {
            classes: dataset.classes,
            groups: dataset.groups,
            train_inputs: inputs(dataset.train.inputs),
            train_targets: Tensor::from_data(TensorData::new(dataset.train.targets, [rows]), device),
            validation: evaluation(dataset.validation),
            test: evaluation(dataset.test),
        }
    }

    /// The number of train rows.
    #[must_use]
    pub fn train_rows(&self) -> usize {
        self.train_targets.dims()[0]
    }

    /// Width of a prepared row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.train_inputs.dims()[1]
    }
}
