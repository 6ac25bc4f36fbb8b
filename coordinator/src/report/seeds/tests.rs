use rand::SeedableRng as _;
use rand_chacha::ChaCha8Rng;
use secateur_proto::{
    metrics::{Metric, Metrics, Split},
    outcome::{StageOutcome, StageResult},
};

use super::*;
use crate::{
    experiment::{
        adaptive::Until,
        plan::{Cell, Settings, Trial},
    },
    report::{
        Report, baseline,
        build::{build_in_order, due_round, judge},
        example, html, markdown,
        simulated::{Population, Sweeps, normal},
        statistics::multiplicity::holm,
    },
};

const AUC: Metric = Metric::Auc;
const SIZE: Metric = Metric::NonzeroParameters;

/// A sweep whose nets are known before they are trained: of each cell the size, and the AUC of each seed.
struct Study {
    plan: Plan,
    nets: HashMap<CellId, (f64, Vec<f64>)>,
}

impl Study {
    /// Cells by name. One that is called `d…` is a dense control.
    fn new(nets: &[(&str, f64, Vec<f64>)], max: u32) -> Self {
        let cell = |(name, size, _): &(&str, f64, Vec<f64>)| {
            let control = name.starts_with('d').then_some(Control::Dense);
            let settings = Settings::from([("pruning.sparsity".to_owned(), (1.0 / size).into())]);
            Cell::new(name.parse().expect("an id"), settings, control)
        };
        let (mut plan, _) = example::sweep(nets.iter().map(cell).collect(), 0);
        plan.sweep.constraints.clear();
        plan.sweep.adaptive = Some(AdaptiveSeeds { min: 3, max, step: 2, until: Until::FrontSettled });
        let nets = nets.iter().map(|(name, size, values)| (name.parse().expect("an id"), (*size, values.clone())));
        let mut study = Self { plan, nets: nets.collect() };
        let cells: Vec<CellId> = study.plan.cells.iter().map(|cell| cell.id.clone()).collect();
        study.train(&cells, 3);
        study
    }

    fn train(&mut self, cells: &[CellId], seeds: u32) {
        for cell in cells {
            let known = self.plan.trials.iter().filter(|trial| trial.cell == *cell).count() as u64;
            let new = (known..u64::from(seeds)).map(|seed| Trial::new(cell.clone(), seed, Vec::new()));
            self.plan.trials.extend(new);
        }
    }

    fn outcomes(&self) -> impl Iterator<Item = Option<StageOutcome>> + '_ {
        self.plan.trials.iter().map(|trial| {
            let (size, values) = &self.nets[&trial.cell];
            let auc = values[usize::try_from(trial.seed).expect("few")];
            let mut metrics = Metrics::new();
            for split in Split::ALL {
                metrics.insert(AUC.on(split), auc);
            }
            metrics.insert(SIZE.on(Split::Test), *size);
            Some(StageOutcome::Completed(StageResult { metrics, artifacts: Default::default() }))
        })
    }

    fn judged(&self) -> Report {
        judge(&self.plan, &[], self.outcomes())
    }

    /// Does the next round. Returns `false` if none is due.
    fn grows(&mut self) -> bool {
        let Some(round) = due_round(&self.plan, self.outcomes()) else { return false };
        let contested = round.contested.iter().map(|contested| &contested.cell);
        let cells: Vec<CellId> = contested.chain(&round.compared).cloned().collect();
        let before = self.plan.trials.len();
        self.train(&cells, round.seeds);
        assert!(self.plan.trials.len() > before, "a round without a trial would be repeated for ever");
        self.plan.sweep.rounds.push(round);
        true
    }

    fn seeds(&self, cell: &str) -> usize {
        self.plan.trials.iter().filter(|trial| trial.cell.as_str() == cell).count()
    }
}

/// A mean, and what seeds add to it.
fn around(mean: f64, noise: f64) -> Vec<f64> {
    [0.0, 1.0, -1.0, 0.5, -0.5, 0.2, -0.2, 0.7, -0.7, 0.1, -0.1].map(|of_seed| mean + noise * of_seed).to_vec()
}

#[test]
fn results_that_decide_everything_ask_for_no_seed() {
    let nets = [("a", 10.0, around(0.6, 1e-4)), ("b", 20.0, around(0.755, 1e-4)), ("d", 99.0, around(0.76, 1e-4))];
    let mut study = Study::new(&nets, 9);
    assert!(!study.grows());
    let seeds = study.judged().seeds.expect("they can be added");
    assert_eq!((seeds.state, seeds.looks, seeds.contested), (SeedsState::Settled, 4, vec![]));
}

/// `b` and `c` are of one size and alike; `a` is far smaller and far worse, and nothing about it is open.
#[test]
fn seeds_go_where_results_do_not_decide() {
    let mut alike = around(0.75, 0.02);
    alike.reverse();
    let nets = [
        ("a", 10.0, around(0.6, 0.001)),
        ("b", 20.0, around(0.75, 0.02)),
        ("c", 20.0, alike),
        ("d", 99.0, around(0.76, 0.001)),
        ("dx", 99.0, around(0.61, 0.001)),
    ];
    let mut study = Study::new(&nets, 8);
    while study.grows() {}
    let counts = ["a", "b", "c", "d", "dx"].map(|cell| study.seeds(cell));
    // The baseline is what the verdict on `b` and `c` needs. The other dense net cannot become it.
    assert_eq!(counts, [3, 8, 8, 8, 3]);
    let report = build_in_order(&study.plan, &[], study.outcomes());
    let seeds = report.seeds.as_ref().expect("they were added");
    assert_eq!((seeds.state, seeds.rounds.len(), seeds.changes.len()), (SeedsState::Exhausted, 3, 3));
    let first = &seeds.rounds[0];
    assert_eq!((first.seeds, first.contested.len(), first.compared.len()), (5, 2, 1));
    assert_eq!(serde_json::from_str::<Report>(&report.to_json()).expect("reads"), report);
    let (page, text) = (html(&report), markdown(&report).text);
    assert!(page.contains("Seeds that were added") && text.contains("## Seeds that were added"));
    let sentence = sentence(&report).into_iter().chain(notes(&report));
    let rows = grid(&report, &Labels::of(&report)).rows.into_iter().map(|row| row.join(" | "));
    insta::assert_snapshot!(sentence.chain(rows).collect::<Vec<_>>().join("\n"));
}

#[test]
fn a_difference_within_the_margin_is_none() {
    let nets = [("a", 10.0, around(0.7601, 4e-4)), ("b", 20.0, around(0.76, 3e-4)), ("d", 99.0, around(0.76, 2e-4))];
    let mut study = Study::new(&nets, 9);
    study.plan.sweep.objectives[0].margin = Some(0.05);
    assert!(!study.grows());
    study.plan.sweep.objectives[0].margin = Some(1e-5);
    assert!(study.grows());
}

#[test]
fn pending_trials_decide_nothing() {
    let study = Study::new(&[("a", 10.0, around(0.75, 0.02)), ("d", 99.0, around(0.76, 0.02))], 9);
    let mut outcomes: Vec<_> = study.outcomes().collect();
    outcomes[0] = None;
    assert_eq!(due_round(&study.plan, outcomes.iter().cloned()), None);
    let report = judge(&study.plan, &[], outcomes.into_iter());
    assert_eq!(report.seeds.map(|seeds| seeds.state), Some(SeedsState::Running));
}

/// Whether the truth is within an interval.
fn holds(interval: Option<[f64; 2]>, truth: f64) -> bool {
    interval.is_some_and(|[low, high]| low <= truth && truth <= high)
}

/// What was counted in 2,000 sweeps that end when their results look decided.
#[derive(Debug, Default)]
struct Counted {
    /// Intervals that hold the truth, of all: of means and of differences.
    held: [[u32; 2]; 2],
    /// Sweeps that say that `a` is as good as the baseline.
    named: u32,
    /// Sweeps in which it would be said after one of the looks, without the adjustment for their number.
    named_unadjusted: u32,
    /// Sweeps that end because everything is decided.
    settled: u32,
}

const SWEEPS: u32 = 2_000;

/// Sweeps of three cells and a dense net. `a`, the smallest, has this mean, and a net has this noise of its own.
fn counted(mean_of_a: f64, noise: f64) -> Counted {
    let truths = [("a", 10.0, mean_of_a), ("b", 20.0, 0.758), ("c", 21.0, 0.7585), ("d", 99.0, 0.76)];
    let mut random = ChaCha8Rng::seed_from_u64(11);
    let mut counted = Counted::default();
    for _ in 0..SWEEPS {
        let of_seeds: Vec<f64> = (0..11).map(|_| 0.003 * normal(&mut random)).collect();
        let nets = truths.map(|(name, size, mean)| {
            let values = of_seeds.iter().map(|of_seed| mean + of_seed + noise * normal(&mut random)).collect();
            (name, size, values)
        });
        let mut study = Study::new(&nets, 11);
        let mut is_ever_small = false;
        let report = loop {
            let report = study.judged();
            let test = report.cells[0].non_inferiority.expect("it is tested");
            is_ever_small |= test.p / f64::from(report.looks()) < 0.025;
            if !study.grows() {
                break report;
            }
        };
        let state = report.seeds.as_ref().map(|seeds| seeds.state);
        counted.settled += u32::from(state == Some(SeedsState::Settled));
        counted.named += u32::from(report.cells[0].non_inferiority.is_some_and(|test| test.holds));
        counted.named_unadjusted += u32::from(is_ever_small);
        let auc = AUC.on(Split::Validation);
        for (cell, (_, _, truth)) in report.cells.iter().zip(truths) {
            let value = cell.metrics.get(&auc).and_then(|summary| summary.ci95);
            let difference = cell.minus_baseline(&auc).map(|paired| paired.summary.ci95);
            counted.count(0, holds(value, truth));
            if let Some(interval) = difference {
                counted.count(1, holds(interval, truth - 0.76));
            }
        }
    }
    counted
}

impl Counted {
    fn count(&mut self, what: usize, holds: bool) {
        self.held[what][0] += u32::from(holds);
        self.held[what][1] += 1;
    }

    fn share(&self, what: usize) -> f64 {
        f64::from(self.held[what][0]) / f64::from(self.held[what][1])
    }
}

/// Of a cell that loses exactly the margin it may be said in 2.5 % of all sweeps that it loses less. Without the adjustment that is so, after one
/// of the looks, several times as often.
#[test]
fn intervals_and_tests_hold_however_a_sweep_decides_to_end() {
    let [at_the_margin, inferior] = [counted(0.75, 0.004), counted(0.744, 0.003)];
    for counted in [&at_the_margin, &inferior] {
        assert!(counted.share(0) >= 0.95 && counted.share(1) >= 0.95, "{counted:?}");
    }
    let share = |count: u32| f64::from(count) / f64::from(SWEEPS);
    // 0.025 and twice the standard error of 2,000 draws.
    assert!(share(at_the_margin.named) <= 0.032, "{at_the_margin:?}");
    assert!(share(at_the_margin.named_unadjusted) > 0.05, "the simulation tells the rules apart: {at_the_margin:?}");
    assert!(at_the_margin.settled < SWEEPS / 2 && inferior.settled > SWEEPS / 2, "sweeps end in both ways");
}

/// The same of nets whose rows are drawn, too, and shared by all of them. Rows do not decide when a sweep ends.
#[test]
fn intervals_of_seeds_and_rows_hold_however_a_sweep_decides_to_end() {
    let population = Population::default();
    let (base, margin) = (0.3, 0.02);
    let inferior = population.direction_that_loses(base, margin);
    let directions = [inferior, base, base];
    let truth = |place: usize| population.auc(directions[place]);
    let (mut held, mut wrong, mut early) = ([0_u32; 4], 0_u32, 0_u32);
    for sweep in Sweeps::new(population, SWEEPS, 5) {
        let nets = directions.map(|direction| sweep.nets(direction, 9));
        let values = |place: usize| nets[place].iter().map(|net| net.mean()).collect::<Vec<f64>>();
        let mut study = Study::new(&[("a", 10.0, values(0)), ("b", 20.0, values(1)), ("d", 99.0, values(2))], 9);
        study.plan.sweep.objectives[0].margin = Some(margin);
        while study.grows() {}
        let looks = study.plan.sweep.adaptive.map_or(1, |adaptive| adaptive.looks());
        let of = ["a", "b", "d"].map(|cell| study.seeds(cell));
        early += u32::from(of.iter().any(|count| *count < 9));
        let mut p_values = Vec::new();
        for place in [0, 1] {
            let common = of[place].min(of[2]);
            let value = sweep.value_of_looks(&nets[place][..of[place]], looks);
            let difference = sweep.difference_of_looks(&nets[place][..common], &nets[2][..common], looks);
            held[2 * place] += u32::from(holds(value.ci95, truth(place)));
            held[2 * place + 1] += u32::from(holds(difference.ci95, truth(place) - truth(2)));
            let p = baseline::p_value(&difference, margin, Direction::Maximize).expect("several seeds");
            p_values.push((p * f64::from(looks)).min(1.0));
        }
        wrong += u32::from(holm(&p_values, 2).expect("probabilities")[0] < 0.025);
    }
    for held in held {
        assert!(f64::from(held) / f64::from(SWEEPS) >= 0.95, "{held} of {SWEEPS}");
    }
    assert!(f64::from(wrong) / f64::from(SWEEPS) <= 0.032, "{wrong} of {SWEEPS}");
    assert!(early > 100, "sweeps end early at times: {early}");
}
