//! Criteria that train, on losses with a known minimum.

use std::collections::BTreeMap;

use proptest::prelude::*;
use secateur_proto::{
    outcome::Failure,
    spec::{CriterionSpec, Granularity, ModelSpec, TrainingSpec},
};

use super::*;
use crate::{
    net::{Mask, Parameters},
    prune::{
        criteria::{
            Definition, Scores,
            l0::{expected, open, sampled},
            tests::training,
        },
        probe::{Conditioning, Loss, Probe},
    },
};

const STEPS: u64 = 20;

/// A loss of the first tensor alone, given by its gradient, and plain descent on it: 20 steps an epoch at the training's rate.
struct Descent<'a> {
    slope: &'a dyn Fn(&[f32]) -> Vec<f32>,
}

fn unasked<T>() -> Result<T, Failure> {
    panic!("the criterion looked at more than its training")
}

impl Probe for Descent<'_> {
    fn rows(&self) -> usize {
        64
    }

    fn targets(&self) -> Vec<f32> {
        Vec::new()
    }

    fn gradient(&mut self, _: &Parameters, rows: &[u32], _: Loss) -> Result<Vec<Vec<f64>>, Failure> {
        // Of tensor t the k-th number is k + t + the first row.
        let sizes = model().tensors().into_iter().map(|tensor| tensor.numel()).enumerate();
        let first = f64::from(rows[0]);
        Ok(sizes.map(|(tensor, size)| (0..size).map(|place| (place + tensor) as f64 + first).collect()).collect())
    }

    fn hessian_vector(&mut self, _: &Parameters, _: &[u32], _: &[Vec<f64>], _: Loss) -> Result<Vec<Vec<f64>>, Failure> {
        unasked()
    }

    fn sample_gradients(&mut self, _: &Parameters, _: &[u32], _: &mut dyn FnMut(&[Vec<f64>])) -> Result<(), Failure> {
        unasked()
    }

    fn flow(&mut self, _: &[Vec<f64>]) -> Result<Vec<Vec<f64>>, Failure> {
        unasked()
    }

    fn layer_inputs(&mut self, _: &Parameters, _: &[u32]) -> Result<Vec<Vec<f64>>, Failure> {
        unasked()
    }

    fn activations(&mut self, _: &Parameters, _: &[u32]) -> Result<Vec<Vec<Vec<f64>>>, Failure> {
        unasked()
    }

    fn validation_loss(&mut self, _: &Parameters) -> Result<f64, Failure> {
        unasked()
    }

    fn condition(
        &mut self,
        net: &Parameters,
        mask: Option<&Mask>,
        training: &TrainingSpec,
        _: u64,
        conditioning: &mut dyn Conditioning,
    ) -> Result<Parameters, Failure> {
        let mut net = net.clone();
        let steps = STEPS * u64::from(training.epochs);
        for step in 0..steps {
            let effective = conditioning.effective(step, steps, &net);
            let mut gradient: Vec<Vec<f32>> = net.tensors.iter().map(|tensor| vec![0.0; tensor.len()]).collect();
            gradient[0] = (self.slope)(&effective.tensors[0]);
            let gradient = conditioning.gradient(step, &net, gradient);
            for (weight, gradient) in net.tensors.iter_mut().flatten().zip(gradient.into_iter().flatten()) {
                *weight -= training.optimizer.lr() as f32 * gradient;
            }
            if let Some(mask) = mask {
                mask.apply(&mut net);
            }
            if (step + 1) % STEPS == 0 {
                conditioning.end_epoch(u32::try_from((step + 1) / STEPS).expect("few epochs"), &net);
            }
        }
        Ok(net)
    }
}

/// Six weights that are pruned, and a layer that is not.
fn model() -> ModelSpec {
    ModelSpec::mlp(3, vec![2])
}

/// `of` a criterion where the six weights are scored, of which `count` are to go.
fn asked<T>(
    (criterion, seed): (&CriterionSpec, u64),
    net: &Parameters,
    removed: Option<&Mask>,
    count: Option<u64>,
    slope: &dyn Fn(&[f32]) -> Vec<f32>,
    of: impl FnOnce(&Definition, &mut Context<'_>, &Arguments) -> T,
) -> T {
    let (definition, arguments) = Definition::of(criterion).expect("a criterion");
    let (model, training, probe) = (model(), training(), &mut Descent { slope });
    let mut context = Context {
        model: &model,
        layers: &[0],
        net,
        removed,
        count,
        counts: None,
        granularity: Granularity::Weight,
        training: &training,
        seed,
        probe,
    };
    of(definition, &mut context, &arguments)
}

/// The scores of the six weights and the net that a criterion leaves.
fn conditioned(
    criterion: &CriterionSpec,
    weights: [f32; 6],
    removed: Option<&Mask>,
    count: u64,
    seed: u64,
    slope: &dyn Fn(&[f32]) -> Vec<f32>,
) -> (Vec<f64>, Parameters) {
    let mut net = Parameters::initial(&model(), 1);
    net.tensors[0] = weights.to_vec();
    let scores = |definition: &Definition, context: &mut Context<'_>, arguments: &Arguments| {
        (definition.scores)(context, arguments).expect("scores")
    };
    match asked((criterion, seed), &net, removed, Some(count), slope, scores) {
        Scores::Conditioned(scores, net) => (scores.concat(), net),
        other => panic!("{other:?} without a net"),
    }
}

fn admm(epochs: f64, rho: f64) -> CriterionSpec {
    CriterionSpec::new("admm", &[("epochs", epochs), ("rho", rho)])
}

/// The places of the highest scores, ascending.
fn highest(scores: &[f64], count: usize) -> Vec<usize> {
    let mut places: Vec<usize> = (0..scores.len()).collect();
    places.sort_by(|one, two| scores[*two].total_cmp(&scores[*one]));
    places.truncate(count);
    places.sort_unstable();
    places
}

/// ½ Σ hᵢ (wᵢ − aᵢ)²: keeping i saves ½ hᵢ aᵢ², so the best support is where hᵢ aᵢ² is largest, which is not where the dense
/// minimum is largest. From the dense minimum ADMM must reverse that order.
#[test]
fn admm_ends_at_the_minimum_of_a_quadratic_over_sparse_nets() {
    let (h, a) = ([8.0, 0.1, 6.0, 0.2, 5.0, 0.1], [1.0, 1.5, -1.0, -1.4, 1.1, 1.3]);
    let slope = |weights: &[f32]| (0..6).map(|at| h[at] * (weights[at] - a[at])).collect();
    let (magnitude, _) = conditioned(&admm(1.0, 0.0), a, None, 3, 1, &slope);
    assert_eq!(highest(&magnitude, 3), [1, 3, 5]);
    let (scores, net) = conditioned(&admm(60.0, 1.0), a, None, 3, 1, &slope);
    assert_eq!(highest(&scores, 3), [0, 2, 4]);
    for place in 0..6 {
        let expected = if [0, 2, 4].contains(&place) { a[place] } else { 0.0 };
        assert!((net.tensors[0][place] - expected).abs() < 0.02, "{:?}", net.tensors[0]);
        assert_eq!(scores[place], f64::from(net.tensors[0][place].abs()));
    }
    // The layer that is not pruned is not pulled.
    assert_eq!(net.tensors[2], Parameters::initial(&model(), 1).tensors[2]);
}

/// The update written a second time, in double precision.
#[test]
fn admm_goes_the_way_that_its_formula_says() {
    let a = [0.9, -0.8, 0.7, 0.65, -0.6, 0.1];
    let slope = |weights: &[f32]| (0..6).map(|at| 2.0 * (weights[at] - a[at])).collect();
    let start = [0.5, -0.4, 0.3, 0.2, -0.1, 0.05];
    let (_, net) = conditioned(&admm(4.0, 0.7), start, None, 2, 1, &slope);
    let mut w = start.map(f64::from);
    let project = |values: [f64; 6]| {
        let sizes = values.map(f64::abs);
        let kept = highest(&sizes, 4);
        std::array::from_fn::<f64, 6, _>(|at| if kept.contains(&at) { values[at] } else { 0.0 })
    };
    let (mut z, mut u) = (project(w), [0.0; 6]);
    for _ in 0..4 {
        for _ in 0..STEPS {
            for at in 0..6 {
                w[at] -= 0.1 * (2.0 * (w[at] - f64::from(a[at])) + 0.7 * (w[at] - z[at] + u[at]));
            }
        }
        z = project(std::array::from_fn(|at| w[at] + u[at]));
        u = std::array::from_fn(|at| u[at] + w[at] - z[at]);
    }
    for (found, expected) in net.tensors[0].iter().zip(w) {
        assert!((f64::from(*found) - expected).abs() < 1e-5, "{found} instead of {expected}");
    }
}

/// On a linear loss Σ cᵢ wᵢ each weight moves by −c: away from zero where c · w < 0.
#[test]
fn what_moves_away_from_zero_is_kept_however_small_it_is() {
    let movement = CriterionSpec::new("movement", &[("epochs", 1.0)]);
    let c = [-0.3, 0.3, 0.2, -0.2, -0.1, 0.1];
    let start = [0.1, -0.1, 3.0, -3.0, 0.2, -0.2];
    let slope = |_: &[f32]| c.to_vec();
    let (scores, net) = conditioned(&movement, start, None, 2, 1, &slope);
    // Weights that grow have positive scores, those that shrink negative ones.
    for place in 0..6 {
        assert_eq!(scores[place] > 0.0, c[place] * start[place] < 0.0, "{scores:?}");
    }
    assert_eq!(highest(&scores, 4), [0, 1, 4, 5]);
    // Without a ramp S is Σ −lr · c · (w − lr · c · t); nothing that ends among the kept was ever masked here.
    for place in [0, 1, 4, 5] {
        let (c, w) = (f64::from(c[place]), f64::from(start[place]));
        let expected: f64 = (0..STEPS).map(|step| -0.1 * c * (w - 0.1 * c * step as f64)).sum();
        assert!((scores[place] - expected).abs() < 1e-5, "{} instead of {expected}", scores[place]);
        assert!((f64::from(net.tensors[0][place]) - (w - 0.1 * c * STEPS as f64)).abs() < 1e-5);
    }
    // Masked weights do not move except in the steps before they were masked; their scores continue.
    let moved = |place: usize| f64::from((net.tensors[0][place] - start[place]) / -c[place]);
    assert!(moved(2) < 0.1 * STEPS as f64 - 0.05 && moved(3) < 0.1 * STEPS as f64 - 0.05);
}

#[test]
fn hard_concrete_gates_have_their_limits_and_slopes() {
    for (log_alpha, gate) in [(f64::INFINITY, 1.0), (50.0, 1.0), (0.0, 0.5), (-50.0, 0.0), (f64::NEG_INFINITY, 0.0)] {
        assert!((expected(log_alpha) - gate).abs() < 1e-12);
        for noise in [0.3, 0.5, 0.7] {
            if log_alpha != 0.0 {
                assert_eq!(sampled(log_alpha, noise), (gate, 0.0));
            }
        }
    }
    assert!((sampled(0.0, 0.5).0 - 0.5).abs() < 1e-12);
    assert!(
        [0.0, 1.0].map(|noise| sampled(0.0, noise)).iter().all(|(gate, slope)| gate.is_finite() && slope.is_finite())
    );
    // P(gate ≠ 0) at log α = 0 is σ(⅔ · ln 11) = 11^⅔ / (1 + 11^⅔).
    let odds = 11.0_f64.powf(2.0 / 3.0);
    assert!((open(0.0).0 - odds / (1.0 + odds)).abs() < 1e-12);
}

proptest! {
    #[test]
    fn gates_are_open_as_often_as_the_penalty_says_and_their_slopes_are_right(
        log_alpha in -3.0..3.0_f64,
        noise in 0.01..0.99_f64,
    ) {
        let draws = 20_000;
        let count = (0..draws).filter(|draw| sampled(log_alpha, (f64::from(*draw) + 0.5) / f64::from(draws)).0 > 0.0).count();
        prop_assert!((count as f64 / f64::from(draws) - open(log_alpha).0).abs() < 1e-3);
        let step = 1e-6;
        let slope = |of: &dyn Fn(f64) -> f64| (of(log_alpha + step) - of(log_alpha - step)) / (2.0 * step);
        prop_assert!((slope(&|at| open(at).0) - open(log_alpha).1).abs() < 1e-6);
        let (gate, found) = sampled(log_alpha, noise);
        let inside = [-step, step].iter().all(|by| (0.0..1.0).contains(&sampled(log_alpha + by, noise).0)) && gate > 1e-5;
        if inside {
            prop_assert!((slope(&|at| sampled(at, noise).0) - found).abs() < 1e-5);
        }
    }
}

fn l0(lambda: f64) -> CriterionSpec {
    CriterionSpec::new("l0", &[("epochs", 10.0), ("lambda", lambda), ("drop", 0.3)])
}

#[test]
fn gates_close_where_a_weight_does_nothing_and_open_where_it_must() {
    let a = [2.0, -2.0, 2.0, 0.0, 0.0, 0.0];
    // The last three do not matter.
    let slope = |weights: &[f32]| (0..6).map(|at| if at < 3 { 4.0 * (weights[at] - a[at]) } else { 0.0 }).collect();
    let start = [2.0, -2.0, 2.0, 2.0, -2.0, 1.0];
    let (scores, net) = conditioned(&l0(0.1), start, None, 3, 1, &slope);
    let begin = (0.7_f64 / 0.3).ln();
    assert!(scores[..3].iter().all(|log_alpha| *log_alpha > begin), "{scores:?}");
    assert!(scores[3..].iter().all(|log_alpha| *log_alpha < begin), "{scores:?}");
    // A closed gate leaves nothing of its weight, and needed weights are near their targets.
    assert!(net.tensors[0][3..].iter().all(|weight| *weight == 0.0), "{:?}", net.tensors[0]);
    assert!((0..3).all(|at| (net.tensors[0][at] - a[at]).abs() < 0.5), "{:?}", net.tensors[0]);
    // Without loss or price nothing moves.
    let (scores, net) = conditioned(&l0(0.0), start, None, 3, 1, &|_| vec![0.0; 6]);
    assert!(scores.iter().all(|log_alpha| (log_alpha - begin).abs() < 1e-12));
    let gate = expected(begin);
    assert!(net.tensors[0].iter().zip(start).all(|(found, start)| (f64::from(found / start) - gate).abs() < 1e-6));
}

#[test]
fn scores_are_those_of_the_seed_and_what_is_gone_stays_zero() {
    let slope = |weights: &[f32]| weights.iter().map(|weight| weight - 0.3).collect();
    let start = [0.9, -0.8, 0.7, 0.0, -0.5, 0.4];
    let mut removed = Mask::full(&model(), &[0]);
    removed.remove(0, 3, 6);
    for name in ["movement", "l0", "admm"] {
        let spec = Definition::named(name).expect("a criterion").spec(&BTreeMap::new());
        let found = |seed| conditioned(&spec, start, Some(&removed), 3, seed, &slope);
        assert_eq!(found(1), found(1));
        assert_eq!(found(1).1.tensors[0][3], 0.0, "{name}");
        assert_ne!(found(1).1.tensors[0][0], start[0]);
        if name == "l0" {
            assert_ne!(found(1).0, found(2).0);
        }
    }
}

/// If layers do not compete, each keeps its own count at the end, and a proportional share on the way. Removed places
/// remain removed.
#[test]
fn layers_that_do_not_compete_lose_their_own_shares() {
    let competition = Competition {
        tensors: vec![0, 2],
        gone: vec![vec![true, false, false, false], vec![false; 6]],
        count: 5,
        counts: Some(vec![3, 2]),
    };
    // The second layer has the lowest scores.
    let scores = vec![vec![9.0, 7.0, 8.0, 6.0], vec![1.0, 2.0, 3.0, 0.5, 4.0, 5.0]];
    assert_eq!(
        competition.kept(&scores, 5),
        [vec![false, false, true, false], vec![false, true, true, false, true, true]]
    );
    // Half way from the one that is gone to five: half of two, and half of two.
    assert_eq!(
        competition.kept(&scores, 3),
        [vec![false, true, true, false], vec![true, true, true, false, true, true]]
    );
    let together = Competition { counts: None, ..competition };
    assert_eq!(together.kept(&scores, 5)[1], [false, false, false, false, true, true]);
}

#[test]
fn a_removal_of_unknown_size_is_refused() {
    for name in ["movement", "admm"] {
        let spec = Definition::named(name).expect("a criterion").spec(&BTreeMap::new());
        let net = Parameters::initial(&model(), 1);
        let untrained = |_: &[f32]| unreachable!("nothing is trained");
        let failure = asked((&spec, 1), &net, None, None, &untrained, |definition, context, arguments| {
            (definition.scores)(context, arguments).expect_err("refused")
        });
        assert_eq!(failure.class, FailureClass::Input);
    }
}

#[test]
fn adam_fisher_is_the_bias_corrected_second_moment_times_the_squared_weight() {
    let spec = CriterionSpec::new("adam_fisher", &[("batches", 3.0)]);
    let net = Parameters::initial(&model(), 1);
    let untrained = |_: &[f32]| unreachable!("nothing is trained");
    let (rows, scores) = asked((&spec, 5), &net, None, None, &untrained, |definition, context, arguments| {
        let rows = crate::prune::probe::calibration_rows(context, "rows for adam_fisher", 3);
        (rows, (definition.scores)(context, arguments).expect("scores"))
    });
    let firsts = [rows[0], rows[8], rows[16]].map(f64::from);
    let Scores::Weights(scores) = scores else { panic!("scores of weights") };
    // ν̂ of three gradients, as a weighted mean: weights β², β and 1.
    for (place, score) in scores[0].iter().enumerate() {
        let squares = firsts.map(|first| (place as f64 + first).powi(2));
        let moment = (0.999 * 0.999 * squares[0] + 0.999 * squares[1] + squares[2]) / (0.999 * 0.999 + 0.999 + 1.0);
        let expected = f64::from(net.tensors[0][place]).powi(2) * moment;
        assert!((score - expected).abs() < 1e-9 * expected.max(1.0), "{score} instead of {expected}");
    }
}
