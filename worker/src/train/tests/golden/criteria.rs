//! Scores and masks of criteria against PyTorch's, or against a direct transcription of their formulas in Python.

use std::collections::BTreeMap;

use secateur_proto::spec::{CriterionSpec, Granularity, Ranking, Removal};

use super::{ALL_ROWS, Golden, NETS, assert_near, device, sgd, training};
use crate::{
    net::weight_tensors,
    prune::{
        criteria::{Context, Definition, Scores},
        select::{Candidates, NoSelection, Place, Request, candidates, select},
    },
    train::probe::NetProbe,
};

const SPARSITIES: [(&str, f64); 2] = [("s50", 0.5), ("s90", 0.9)];

/// A criterion by its name in the files, and the tolerance of its scores, or `None` if the files have no scores.
struct Case {
    name: &'static str,
    criterion: &'static str,
    parameters: &'static [(&'static str, f64)],
    ranking: Ranking,
    tolerance: Option<f64>,
}

const fn case(
    name: &'static str,
    criterion: &'static str,
    parameters: &'static [(&'static str, f64)],
    tolerance: Option<f64>,
) -> Case {
    Case { name, criterion, parameters, ranking: Ranking::Raw, tolerance }
}

/// All with masks over all prunable layers together. The scores of `taylor` and `snip` in the files were computed in
/// single precision. Those of `grasp` are exact in the files, and differences of gradients here.
const CASES: [Case; 8] = [
    case("l1_global", "magnitude", &[], None),
    case("taylor", "taylor", &[("batches", ALL_ROWS)], Some(2e-6)),
    case("snip", "snip", &[("batch_size", ALL_ROWS)], Some(2e-6)),
    case("grasp", "grasp", &[("samples_per_class", ALL_ROWS), ("temperature", 1.0)], Some(1e-7)),
    case("grasp_t200", "grasp", &[("samples_per_class", ALL_ROWS), ("temperature", 200.0)], Some(1e-6)),
    case("fisher", "fisher_diag", &[("samples", ALL_ROWS)], Some(1e-10)),
    case("synflow", "synflow", &[("iterations", 100.0)], Some(1e-10)),
    Case { ranking: Ranking::Lamp, ..case("lamp", "magnitude", &[], Some(1e-10)) },
];

impl Golden {
    fn scores(&self, criterion: &str, parameters: &[(&str, f64)], count: Option<u64>) -> Scores {
        let parameters: BTreeMap<String, f64> =
            parameters.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect();
        let spec: CriterionSpec = Definition::named(criterion).expect("a criterion").spec(&parameters);
        let (definition, arguments) = Definition::of(&spec).expect("its parameters");
        let (training, device) = (training(sgd(0.1), 8, 1), device());
        let mut context = Context {
            model: &self.model,
            layers: &self.model.prunable(),
            net: &self.net,
            removed: self.outside.as_ref(),
            count,
            counts: None,
            granularity: Granularity::Weight,
            training: &training,
            seed: 5,
            probe: &mut NetProbe::new(&self.model, &self.data, &device),
        };
        (definition.scores)(&mut context, &arguments).expect("scores")
    }

    fn candidates(&self, granularity: Granularity, ranking: Ranking, scores: &Scores) -> Vec<Candidates> {
        candidates(&self.request(granularity, ranking, &Removal::NONE, &self.model.prunable()), scores)
            .expect("candidates")
    }

    fn request<'a>(
        &'a self,
        granularity: Granularity,
        ranking: Ranking,
        removal: &'a Removal,
        layers: &'a [u32],
    ) -> Request<'a> {
        let removed = self.outside.as_ref();
        Request { model: &self.model, layers, granularity, ranking, removal, net: &self.net, removed }
    }

    /// The prunable layers, each with the index of its weight tensor.
    fn prunable(&self) -> Vec<(u32, usize)> {
        let weights = weight_tensors(&self.model);
        (self.model.prunable().into_iter()).map(|layer| (layer, weights[layer as usize].expect("a weight"))).collect()
    }

    /// The numbers of weights or units outside of each prunable layer, and inside.
    fn sizes(&self, granularity: Granularity) -> Vec<(u64, u64)> {
        let layers = self.model.layers();
        let sizes = self.prunable().into_iter().map(|(layer, tensor)| {
            let (outer, fan_in) = match granularity {
                Granularity::Weight => (layers[layer as usize].weights(), 1),
                Granularity::Unit => {
                    let fan_in = layers[layer as usize].fan_in();
                    (u64::from(layers[layer as usize].outputs()), fan_in)
                }
            };
            let mut inside: Vec<u64> = self.places[tensor].iter().map(|place| *place as u64 / fan_in).collect();
            inside.dedup();
            inside.sort_unstable();
            inside.dedup();
            (outer - inside.len() as u64, inside.len() as u64)
        });
        sizes.collect()
    }

    /// Prunes with `removal` and compares with a mask of the file: equal, or rejected if the file's mask empties a
    /// layer.
    fn assert_mask(&self, mask: &str, granularity: Granularity, ranking: Ranking, scores: &Scores, removal: &Removal) {
        let (name, layers) = (self.name, self.model.prunable());
        let request = self.request(granularity, ranking, removal, &layers);
        let found = select(&request, &candidates(&request, scores).expect("candidates"));
        let names: Vec<String> = self.model.layers().into_iter().map(|layer| layer.name).collect();
        let expected: Vec<Vec<f64>> = (layers.iter())
            .map(|layer| self.numbers(&format!("mask.{mask}.{}.weight", names[*layer as usize])))
            .collect();
        if let Some(empty) = expected.iter().position(|kept| !kept.contains(&1.0)) {
            let layer = names[layers[empty] as usize].clone();
            assert_eq!(found, Err(NoSelection::Collapsed { layer }), "{name} {mask}");
            return;
        }
        let found = found.expect("a selection");
        for ((layer, tensor), expected) in self.prunable().into_iter().zip(expected) {
            let size = self.net.tensors[tensor].len();
            let mut kept = vec![1.0; size];
            let fan_in = self.model.layers()[layer as usize].fan_in() as usize;
            for Place { index, .. } in found.iter().filter(|place| place.layer == layer) {
                let index = *index as usize;
                match granularity {
                    Granularity::Weight => kept[index] = 0.0,
                    Granularity::Unit => kept[index * fan_in..(index + 1) * fan_in].fill(0.0),
                }
            }
            assert_eq!(self.inside(tensor, &kept), expected, "{name} {mask}, layer {layer}");
        }
    }
}

/// Rounds to the nearest integer, halves away from zero.
fn share(sparsity: f64, count: u64) -> u64 {
    (sparsity * count as f64).round() as u64
}

#[test]
fn scores_are_those_of_the_formulas() {
    for golden in NETS.map(Golden::read) {
        for Case { name, criterion, parameters, ranking, tolerance } in CASES {
            let Some(tolerance) = tolerance else { continue };
            // Without a count: the scores of SynFlow before anything is cut.
            let scores = golden.scores(criterion, parameters, None);
            let ranked = golden.candidates(Granularity::Weight, ranking, &scores);
            for ((_, tensor), layer) in golden.prunable().into_iter().zip(ranked) {
                let what = format!("scores.{name}.{}.weight", layer.layer.name);
                let expected = golden.numbers(&what);
                assert_near(
                    &golden.inside(tensor, &layer.scores),
                    &expected,
                    tolerance,
                    &format!("{} {what}", golden.name),
                );
            }
        }
    }
}

#[test]
fn masks_over_all_layers_are_those_of_pytorch_and_the_formulas() {
    for golden in NETS.map(Golden::read) {
        let sizes = golden.sizes(Granularity::Weight);
        let (outside, inside) = (sizes.iter().map(|size| size.0).sum::<u64>(), sizes.iter().map(|size| size.1).sum());
        for Case { name, criterion, parameters, ranking, .. } in CASES {
            for (label, sparsity) in SPARSITIES {
                let count = outside + share(sparsity, inside);
                let scores = golden.scores(criterion, parameters, Some(count));
                let removal = Removal::global(count);
                golden.assert_mask(&format!("{label}.{name}"), Granularity::Weight, ranking, &scores, &removal);
            }
        }
    }
}

#[test]
fn a_layer_collapses_where_pytorch_empties_one() {
    let golden = Golden::read("conv");
    let kept = |name: &str| -> f64 { golden.numbers(&format!("mask.s90.{name}.layers.1.weight")).iter().sum() };
    // Verifies that the comparison above includes rejected cases.
    assert_eq!((kept("l1_global"), kept("grasp")), (0.0, 0.0));
    assert!(kept("synflow") > 0.0);
}

#[test]
fn masks_of_each_layer_are_those_of_pytorch() {
    for golden in NETS.map(Golden::read) {
        let scores = golden.scores("magnitude", &[], None);
        for (label, sparsity) in SPARSITIES {
            let counts = golden
                .sizes(Granularity::Weight)
                .into_iter()
                .map(|(outside, inside)| outside + share(sparsity, inside));
            let removal = Removal::PerLayer { counts: counts.collect() };
            golden.assert_mask(&format!("{label}.l1_layer"), Granularity::Weight, Ranking::Raw, &scores, &removal);
        }
    }
}

/// `torch.nn.utils.prune.ln_structured`, with norms computed here.
#[test]
fn masks_of_units_and_filters_are_those_of_pytorch() {
    for golden in NETS.map(Golden::read) {
        for (name, power) in [("ln1_structured", 1), ("ln2_structured", 2)] {
            let norms = golden.prunable().into_iter().map(|(layer, tensor)| {
                let rows =
                    golden.net.tensors[tensor].chunks_exact(golden.model.layers()[layer as usize].fan_in() as usize);
                rows.map(|row| row.iter().map(|weight| f64::from(weight.abs()).powi(power)).sum()).collect()
            });
            let scores = Scores::Units(norms.collect());
            for (label, sparsity) in SPARSITIES {
                let counts = (golden.sizes(Granularity::Unit).into_iter())
                    .map(|(outside, inside)| outside + share(sparsity, inside).min(inside - 1));
                let removal = Removal::PerLayer { counts: counts.collect() };
                golden.assert_mask(&format!("{label}.{name}"), Granularity::Unit, Ranking::Raw, &scores, &removal);
            }
        }
    }
}
