//! The layout of a bundle's parameters: one row `[P]` a lane, layer after layer, each weight as `[inputs, outputs]` and then its
//! bias. One tensor `[K, P]` for everything means one optimiser step, one mask and one guard for the whole net.

use secateur_proto::spec::{Layer, ModelSpec};

use super::{LayerParameters, Mask, Parameters, weights_of};

/// Where each layer's numbers lie in a lane's row.
#[derive(Debug, Clone)]
pub struct FlatLayout {
    layers: Vec<Layer>,
    offsets: Vec<usize>,
    length: usize,
}

impl FlatLayout {
    /// The layout of `model`.
    #[must_use]
    pub fn of(model: &ModelSpec) -> Self {
        let layers = model.layers();
        let mut length = 0;
        let offsets = (layers.iter())
            .map(|layer| {
                let offset = length;
                length += weights_of(layer) + layer.outputs as usize;
                offset
            })
            .collect();
        Self { layers, offsets, length }
    }

    /// P: numbers in a row.
    #[must_use]
    pub const fn length(&self) -> usize {
        self.length
    }

    /// The layers and where their weights begin; the bias follows the weights.
    pub fn layers(&self) -> impl ExactSizeIterator<Item = (&Layer, usize)> {
        self.layers.iter().zip(self.offsets.iter().copied())
    }

    /// A net as a row.
    #[must_use]
    pub fn flatten(&self, parameters: &Parameters) -> Vec<f32> {
        let mut row = vec![0.0; self.length];
        for ((layer, offset), values) in self.layers().zip(&parameters.layers) {
            scatter(layer, &values.weight, &mut row[offset..]);
            let bias = offset + weights_of(layer);
            row[bias..bias + values.bias.len()].copy_from_slice(&values.bias);
        }
        row
    }

    /// A row as a net.
    #[must_use]
    pub fn unflatten(&self, row: &[f32]) -> Parameters {
        debug_assert_eq!(row.len(), self.length);
        let layers = self.layers().map(|(layer, offset)| {
            let bias = offset + weights_of(layer);
            LayerParameters {
                weight: self.gather(layer, &row[offset..bias]),
                bias: row[bias..bias + layer.outputs as usize].to_vec(),
            }
        });
        Parameters { layers: layers.collect() }
    }

    /// A mask as a row: 0 where a weight is removed, 1 elsewhere.
    #[must_use]
    pub fn flatten_mask(&self, mask: &Mask) -> Vec<f32> {
        let mut row = vec![1.0; self.length];
        for ((layer, offset), kept) in self.layers().zip(&mask.kept) {
            let values: Vec<f32> = kept.iter().map(|kept| f32::from(u8::from(*kept))).collect();
            scatter(layer, &values, &mut row[offset..]);
        }
        row
    }

    /// `value` at weights, 0 at biases.
    #[must_use]
    pub fn at_weights(&self, value: f32) -> Vec<f32> {
        let mut row = vec![0.0; self.length];
        for (layer, offset) in self.layers() {
            row[offset..offset + weights_of(layer)].fill(value);
        }
        row
    }

    /// From `[inputs, outputs]` in a row to `[outputs, inputs]` in a file.
    fn gather(&self, layer: &Layer, weights: &[f32]) -> Vec<f32> {
        let (inputs, outputs) = (layer.inputs as usize, layer.outputs as usize);
        (0..outputs).flat_map(|output| (0..inputs).map(move |input| weights[input * outputs + output])).collect()
    }
}

/// From `[outputs, inputs]` in a file to `[inputs, outputs]` in a row.
fn scatter(layer: &Layer, weights: &[f32], row: &mut [f32]) {
    let (inputs, outputs) = (layer.inputs as usize, layer.outputs as usize);
    for output in 0..outputs {
        for input in 0..inputs {
            row[input * outputs + output] = weights[output * inputs + input];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_transposed_layer_by_layer_and_comes_back() {
        let model = ModelSpec::Mlp { inputs: 2, hidden: vec![3] };
        let layout = FlatLayout::of(&model);
        let parameters = Parameters {
            layers: vec![
                LayerParameters { weight: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0], bias: vec![7.0, 8.0, 9.0] },
                LayerParameters { weight: vec![10.0, 11.0, 12.0], bias: vec![13.0] },
            ],
        };
        let row = layout.flatten(&parameters);
        assert_eq!(row, [1.0, 3.0, 5.0, 2.0, 4.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0]);
        assert_eq!(layout.unflatten(&row), parameters);
        assert_eq!(layout.at_weights(1.0).iter().sum::<f32>(), 9.0);
        let mut mask = Mask::full(&model);
        mask.kept[0][1] = false;
        let row = layout.flatten_mask(&mask);
        assert_eq!(row.iter().position(|value| *value == 0.0), Some(3));
        assert_eq!(row.iter().sum::<f32>(), 12.0);
    }
}
