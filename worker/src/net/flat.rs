//! The layout of a bundle's parameters: one row `[P]` a lane, tensor after tensor, the weight of a linear layer as `[inputs, outputs]`
//! and all else as in files. One tensor `[K, P]` for everything means one optimiser step, one mask and one guard for the whole net.

use secateur_proto::spec::{LayerKind, ModelSpec, TensorKind};

use super::{Mask, Parameters};

/// Where each tensor's numbers lie in a lane's row.
#[derive(Debug, Clone)]
pub struct FlatLayout {
    tensors: Vec<FlatTensor>,
    length: usize,
}

/// One tensor's place in a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FlatTensor {
    /// Index of its layer.
    pub layer: usize,
    /// What it is for.
    pub kind: TensorKind,
    /// Its first number.
    pub offset: usize,
    /// Its numbers.
    pub length: usize,
    /// Its units, filters or features: the first dimension in files.
    units: usize,
    /// Rows and columns in files of a matrix that lies transposed in the row.
    transposed: Option<(usize, usize)>,
}

impl FlatTensor {
    /// The shape in which its second dimension is that of its units, filters or features.
    #[must_use]
    pub const fn by_unit(&self) -> [usize; 3] {
        let rest = self.length / self.units;
        if self.transposed.is_some() { [rest, self.units, 1] } else { [1, self.units, rest] }
    }

    /// From a tensor as in files to one as in a row.
    fn scatter<T: Copy>(&self, values: &[T], row: &mut [T]) {
        match self.transposed {
            Some((rows, columns)) => {
                for output in 0..rows {
                    for input in 0..columns {
                        row[input * rows + output] = values[output * columns + input];
                    }
                }
            }
            None => row[..values.len()].copy_from_slice(values),
        }
    }

    /// From a tensor as in a row to one as in files.
    fn gather<T: Copy>(&self, row: &[T]) -> Vec<T> {
        match self.transposed {
            Some((rows, columns)) => {
                (0..rows).flat_map(|output| (0..columns).map(move |input| row[input * rows + output])).collect()
            }
            None => row.to_vec(),
        }
    }
}

impl FlatLayout {
    /// The layout of `model`.
    #[must_use]
    pub fn of(model: &ModelSpec) -> Self {
        let layers = model.layers();
        let mut length = 0;
        let tensors = (model.tensors().iter())
            .map(|tensor| {
                let offset = length;
                length += tensor.numel();
                let transposed = match (tensor.kind, layers[tensor.layer].kind) {
                    (TensorKind::Weight, LayerKind::Linear { .. }) => Some((tensor.shape[0], tensor.shape[1])),
                    _ => None,
                };
                FlatTensor {
                    layer: tensor.layer,
                    kind: tensor.kind,
                    offset,
                    length: tensor.numel(),
                    units: tensor.shape[0],
                    transposed,
                }
            })
            .collect();
        Self { tensors, length }
    }

    /// P: numbers in a row.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The tensors, in the order of [`ModelSpec::tensors`].
    #[must_use]
    pub fn tensors(&self) -> &[FlatTensor] {
        &self.tensors
    }

    /// A net as a row.
    #[must_use]
    pub fn flatten(&self, parameters: &Parameters) -> Vec<f32> {
        self.flatten_values(&parameters.tensors)
    }

    /// Tensors of anything in files' order as a row.
    #[must_use]
    pub fn flatten_values<T: Copy + Default>(&self, tensors: &[Vec<T>]) -> Vec<T> {
        let mut row = vec![T::default(); self.length];
        for (tensor, values) in self.tensors.iter().zip(tensors) {
            tensor.scatter(values, &mut row[tensor.offset..]);
        }
        row
    }

    /// A row as a net.
    #[must_use]
    pub fn unflatten(&self, row: &[f32]) -> Parameters {
        Parameters { tensors: self.unflatten_values(row) }
    }

    /// A row of anything as tensors of files' order.
    #[must_use]
    pub fn unflatten_values<T: Copy>(&self, row: &[T]) -> Vec<Vec<T>> {
        debug_assert_eq!(row.len(), self.length);
        (self.tensors.iter()).map(|tensor| tensor.gather(&row[tensor.offset..tensor.offset + tensor.length])).collect()
    }

    /// A mask as a row: 0 where a number is removed, 1 elsewhere.
    #[must_use]
    pub fn flatten_mask(&self, mask: &Mask) -> Vec<f32> {
        let mut row = vec![1.0; self.length];
        for (tensor, kept) in self.tensors.iter().zip(&mask.kept) {
            if let Some(kept) = kept {
                let values: Vec<f32> = kept.iter().map(|kept| f32::from(u8::from(*kept))).collect();
                tensor.scatter(&values, &mut row[tensor.offset..]);
            }
        }
        row
    }

    /// `value` at the tensors of that kind, 0 at the others.
    #[must_use]
    pub fn at(&self, kind: TensorKind, value: f32) -> Vec<f32> {
        let mut row = vec![0.0; self.length];
        for tensor in self.tensors.iter().filter(|tensor| tensor.kind == kind) {
            row[tensor.offset..tensor.offset + tensor.length].fill(value);
        }
        row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_transposed_layer_by_layer_and_comes_back() {
        let model = ModelSpec::mlp(2, vec![3]);
        let layout = FlatLayout::of(&model);
        let parameters = Parameters {
            tensors: vec![vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], vec![7.0, 8.0, 9.0], vec![10.0, 11.0, 12.0], vec![13.0]],
        };
        let row = layout.flatten(&parameters);
        assert_eq!(row, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0]);
        assert_eq!(layout.unflatten(&row), parameters);
        assert_eq!(layout.at(TensorKind::Weight, 1.0).iter().sum::<f32>(), 9.0);
        let mut mask = Mask::full(&model, &model.prunable());
        mask.remove(0, 1, 6);
        let row = layout.flatten_mask(&mask);
        assert_eq!(row.iter().position(|value| *value == 0.0), Some(3));
        assert_eq!(row.iter().sum::<f32>(), 12.0);
    }

    #[test]
    fn filters_lie_as_in_files() {
        let model = ModelSpec::Lenet5 { image: [1, 16, 16], outputs: 2 };
        let layout = FlatLayout::of(&model);
        let parameters = Parameters::initial(&model, 1);
        let row = layout.flatten(&parameters);
        assert_eq!(row[..500], parameters.tensors[0]);
        assert_eq!(layout.unflatten(&row), parameters);
    }
}
