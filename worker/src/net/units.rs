//! Which numbers of a net belong to a unit or filter: its own row, bias and normalisation, and the columns that read it. The
//! dependency groups of Fang et al. 2023, for the architectures there are.

use secateur_proto::spec::{ModelSpec, Step, TensorKind};

use super::{Mask, tensors_of};

/// The units of one layer and what hangs on them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Units {
    /// The layer whose outputs they are.
    pub layer: usize,
    /// How many.
    pub count: usize,
    /// Tensors with a number for each unit: bias, and scale and shift of the normalisation on it.
    pub vectors: Vec<usize>,
    /// The layer's weight, whose rows they are, and the length of a row.
    pub weight: (usize, usize),
    /// Weights that read them.
    pub readers: Vec<Reader>,
    /// The batch normalisation on them: index of its layer.
    pub norm: Option<usize>,
}

/// A weight tensor that reads units: unit u is columns u · `columns` and on of every row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reader {
    /// The tensor.
    pub tensor: usize,
    /// Rows of it.
    pub rows: usize,
    /// Length of a row.
    pub fan_in: usize,
    /// Columns a unit.
    pub columns: usize,
}

impl Units {
    /// Places of unit `unit`: tensor and index in files' order. Its own row first, then its vectors, then what reads it.
    pub fn places(&self, unit: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        let (weight, fan_in) = self.weight;
        let own = (unit * fan_in..(unit + 1) * fan_in).map(move |place| (weight, place));
        let vectors = self.vectors.iter().map(move |tensor| (*tensor, unit));
        own.chain(vectors).chain(self.reading(unit))
    }

    /// Places of the weights that read unit `unit`.
    pub fn reading(&self, unit: usize) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.readers.iter().flat_map(move |reader| {
            let columns = unit * reader.columns..(unit + 1) * reader.columns;
            (0..reader.rows)
                .flat_map(move |row| columns.clone().map(move |column| (reader.tensor, row * reader.fan_in + column)))
        })
    }

    /// Removes a unit with all that hangs on it.
    pub fn remove(&self, model: &ModelSpec, mask: &mut Mask, unit: usize) {
        let tensors = model.tensors();
        for (tensor, place) in self.places(unit) {
            mask.remove(tensor, place, tensors[tensor].numel());
        }
    }
}

/// The units of each layer of `model`; nothing for a layer whose units cannot go alone: the output layer, batch normalisations, and
/// layers that are added to others.
#[must_use]
pub fn units(model: &ModelSpec) -> Vec<Option<Units>> {
    let net = model.architecture();
    let (weights, biases) = (tensors_of(model, TensorKind::Weight), tensors_of(model, TensorKind::Bias));
    let (scales, shifts) = (tensors_of(model, TensorKind::Scale), tensors_of(model, TensorKind::Shift));
    let mut all: Vec<Option<Units>> = (net.layers.iter().enumerate())
        .map(|(index, layer)| {
            let weight = weights[index]?;
            Some(Units {
                layer: index,
                count: layer.outputs() as usize,
                vectors: biases[index].into_iter().collect(),
                weight: (weight, usize::try_from(layer.fan_in()).ok()?),
                readers: Vec::new(),
                norm: None,
            })
        })
        .collect();
    // Layers that are added to others, or whose outputs are the net's.
    let mut tied = vec![false; net.layers.len()];
    let mut saved: Vec<Option<usize>> = Vec::new();
    let mut producer: Option<usize> = None;
    let reads = |all: &mut Vec<Option<Units>>, producer: Option<usize>, layer: usize| {
        let Some((units, tensor)) = producer.and_then(|producer| all[producer].as_mut()).zip(weights[layer]) else {
            return;
        };
        let (rows, fan_in) = (net.layers[layer].outputs() as usize, net.layers[layer].fan_in() as usize);
        units.readers.push(Reader { tensor, rows, fan_in, columns: fan_in / units.count });
    };
    for step in &net.steps {
        match *step {
            Step::Layer(layer) if net.layers[layer].weights() > 0 => {
                reads(&mut all, producer, layer);
                producer = Some(layer);
            }
            Step::Layer(norm) => {
                if let Some(units) = producer.and_then(|producer| all[producer].as_mut()) {
                    units.norm = Some(norm);
                    units.vectors.extend(scales[norm].into_iter().chain(shifts[norm]));
                }
            }
            Step::Save => saved.push(producer),
            Step::AddSaved(projection) => {
                let other = saved.pop().flatten();
                let added = match projection {
                    Some(layer) => {
                        reads(&mut all, other, layer);
                        Some(layer)
                    }
                    None => other,
                };
                for layer in [producer, added].into_iter().flatten() {
                    tied[layer] = true;
                }
                producer = None;
            }
            Step::Activation(_) | Step::Dropout | Step::MaxPool | Step::MeanPool | Step::Flatten => {}
        }
    }
    if let Some(last) = producer {
        tied[last] = true;
    }
    all.into_iter().zip(tied).map(|(units, tied)| units.filter(|_| !tied)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_before_a_flattening_is_read_by_as_many_columns_as_it_has_positions() {
        let model = ModelSpec::Lenet5 { image: [1, 28, 28], outputs: 10 };
        let units = units(&model);
        let readers: Vec<Option<usize>> =
            units.iter().map(|units| Some(units.as_ref()?.readers.first()?.columns)).collect();
        // The second convolution has kernels of 5 × 5, and 4 × 4 positions are left of each of its own filters.
        assert_eq!(readers, [Some(25), Some(16), Some(1), None]);
    }

    #[test]
    fn removing_a_unit_takes_its_row_its_bias_its_normalisation_and_the_columns_that_read_it() {
        let model = ModelSpec::Mlp {
            inputs: 3,
            hidden: vec![2, 2],
            outputs: 1,
            activation: secateur_proto::spec::Activation::Relu,
            batch_norm: true,
        };
        let units = units(&model);
        assert!(units[1].is_none() && units[4].is_none(), "norms and the output layer");
        let mut mask = Mask::full(&model, &model.prunable());
        units[0].as_ref().expect("units").remove(&model, &mut mask, 1);
        assert_eq!(mask.kept[0].as_deref(), Some(&[true, true, true, false, false, false][..]));
        let names: Vec<String> = (model.tensors().iter().zip(&mask.kept))
            .filter(|(_, kept)| kept.as_ref().is_some_and(|kept| kept.contains(&false)))
            .map(|(tensor, _)| tensor.name.clone())
            .collect();
        assert_eq!(names, ["layers.0.weight", "layers.0.bias", "norms.0.weight", "norms.0.bias", "layers.1.weight"]);
        assert_eq!(mask.removed(), 3 + 1 + 2 + 2);
    }

    #[test]
    fn units_that_are_added_to_others_cannot_go_alone() {
        let model = ModelSpec::ResidualMlp {
            inputs: 5,
            width: 4,
            blocks: 2,
            outputs: 1,
            activation: secateur_proto::spec::Activation::Relu,
        };
        let free: Vec<bool> = units(&model).iter().map(Option::is_some).collect();
        // The first layer, and in each block its first linear layer alone is free.
        assert_eq!(free, [false, true, false, true, false, false]);
    }
}
