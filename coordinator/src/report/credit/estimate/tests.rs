use rand::{RngExt as _, SeedableRng as _};
use rand_chacha::ChaCha8Rng;
use statrs::distribution::{ContinuousCDF as _, Normal};

use super::*;
use crate::report::credit::{decision::indicators, tests::close};

/// SciPy, `binomtest(5, 40).proportion_ci(method="wilson")`: one number of independent rows, and degrees of freedom without end.
#[test]
fn the_interval_of_a_share_is_wilsons() {
    let se = (0.125_f64 * 0.875 / 40.0).sqrt();
    let share = Total { mean: 0.125, n: 2, se_seeds: Some(0.0), se_rows: Some(se), degrees: Some(1e9), ci95: None };
    let [low, high] = wilson(&share, 1e9, 40).expect("an interval");
    assert!((low - 0.054_595_002_5).abs() < 1e-7 && (high - 0.261_121_198_4).abs() < 1e-7, "{low} {high}");
    // Nothing seen is not nothing possible.
    let none = Total { mean: 0.0, se_rows: Some(0.0), ..share };
    let [low, high] = wilson(&none, 1e9, 40).expect("an interval");
    assert!(low < 1e-12 && (0.08..0.1).contains(&high), "{low} {high}");
}

#[test]
fn differences_are_paired_by_seed() {
    let values = |list: &[f64]| RowValues::of_values(list.to_vec());
    let own = BySeed::from([(1, values(&[1.0, 0.0])), (2, values(&[1.0, 1.0]))]);
    let baseline = BySeed::from([(2, values(&[0.0, 1.0])), (3, values(&[0.0, 0.0]))]);
    let found = estimate(&own, Some(&baseline), SHARE).expect("values");
    close(found.value.mean, 0.75);
    let difference = found.minus_baseline.expect("a common seed");
    assert_eq!((difference.mean, difference.n), (0.5, 1));
    assert_eq!(estimate(&BySeed::new(), None, SHARE), None);
    assert_eq!(estimate(&BySeed::from([(1, values(&[]))]), None, SHARE), None);
}

/// Rows are approved if their own part of the score, the part of the seed, and a part of row and seed stay below a bound. Then the share over
/// all rows and seeds is that of a normal variable.
#[test]
fn intervals_of_shares_hold_the_truth_as_often_as_they_say() {
    const SWEEPS: u32 = 1_000;
    let normal = Normal::standard();
    let mut random = ChaCha8Rng::seed_from_u64(5);
    let mut draw = move || normal.inverse_cdf(random.random_range(1e-12..1.0));
    for (share, rows, seeds, of_seed) in
        [(0.7, 200, 3, 0.1), (0.7, 60, 5, 0.0), (0.05, 200, 3, 0.05), (0.95, 100, 10, 0.1), (0.3, 400, 5, 0.1)]
    {
        let (of_row, of_both) = (1.0, 0.5);
        let sd = f64::hypot(of_row, f64::hypot(of_both, of_seed));
        let bound = normal.inverse_cdf(share) * sd;
        let mut held = 0;
        for _ in 0..SWEEPS {
            let own: Vec<f64> = (0..rows).map(|_| of_row * draw()).collect();
            let nets = (0..seeds).map(|seed| {
                let shift = of_seed * draw();
                (seed, indicators(own.iter().map(|row| row + shift + of_both * draw() < bound)))
            });
            let found = proportion(&nets.collect(), None).expect("rows");
            let [low, high] = found.value.ci95.expect("several seeds");
            held += u32::from(low <= share && share <= high);
        }
        let coverage = f64::from(held) / f64::from(SWEEPS);
        assert!((0.93..=0.98).contains(&coverage), "{share} {rows} {seeds}: {coverage}");
    }
}
