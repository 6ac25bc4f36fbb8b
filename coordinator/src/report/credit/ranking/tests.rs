use super::*;
use crate::report::credit::tests::{close, forty, loans, nets, turned};

/// empulse 0.13.1, `empcs_score(success_rate=0.55, default_rate=0.1, roi=0.2644)`; integrating the highest profit over the losses with
/// SciPy gives the same to eleven digits.
#[test]
fn the_expected_maximum_profit_is_that_of_verbraken() {
    close(profits(&loans()).expect("both classes").mean(), 0.070_626_329_083_333_33);
    assert_eq!(profits(&SplitScores { logits: vec![0.1], targets: vec![1.0] }), None);
}

/// scikit-learn, `roc_auc_score` of the 17 rows with a probability of at most 0.4.
#[test]
fn the_partial_gini_is_that_of_the_rows_with_low_probabilities() {
    close(partial_gini(&forty()).expect("both classes").mean(), -0.380_952_380_952_380_93);
}

/// NumPy: the scores 0.1, 0.2, … 10 against their powers 1.1 minus 1.
#[test]
fn the_stability_index_compares_shares_of_tenths() {
    let expected: Vec<f32> = (1_u8..=100).map(|k| f32::from(k) / 10.0).collect();
    let actual: Vec<f32> = expected.iter().map(|x| x.powf(1.1) - 1.0).collect();
    let found = psi(&expected, &actual).expect("rows");
    assert!((found - 0.149_558_239_872_008_23).abs() < 1e-9, "{found}");
    close(psi(&expected, &expected).expect("rows"), 0.0);
    assert_eq!(psi(&[], &actual), None);
    // Shares of .08, .09, six of .1, .11 and .12 against tenths give .0101.
    let spread = |bin: u8, count: u8| (0..count).map(move |k| f32::from(bin) + f32::from(k) / 20.0);
    let expected: Vec<f32> = (0..10).flat_map(|bin| spread(bin, 10)).collect();
    let counts = [8, 9, 10, 10, 10, 10, 10, 10, 11, 12];
    let actual = (0_u8..10).zip(counts).flat_map(|(bin, count)| vec![f32::from(bin) + 0.2; count]);
    let found = psi(&expected, &actual.collect::<Vec<_>>()).expect("rows");
    assert!((found - 0.010_116).abs() < 1e-6, "{found}");
}

/// NumPy, cumulative sums of the rows in the order of their scores.
#[test]
fn deciles_are_those_of_cumulative_sums() {
    let found = deciles(&nets(&[forty(), forty()]));
    let gains = [3.0, 3.0, 4.0, 7.0, 11.0, 14.0, 15.0, 15.0, 15.0, 17.0].map(|found| found / 17.0);
    assert_eq!(found.len(), 10);
    for (decile, gains) in found.iter().zip(gains) {
        close(decile.gains, gains);
    }
    close(found[0].lift, 1.764_705_882_352_941_1);
    close(found[5].ks, 0.388_746_803_069_053_7);
    close(found[9].ks, 0.0);
    close(found[9].depth, 1.0);
}

#[test]
fn stability_is_measured_between_nets_of_one_seed() {
    let test = forty();
    let (own, baseline) = (nets(&[turned(&test, 1), test.clone()]), nets(&[test.clone(), turned(&test, 1)]));
    let found = measure(&own, Some(&baseline));
    // The same scores in another order are the same distribution.
    close(found.psi_from_baseline.expect("a baseline").mean, 0.0);
    close(found.psi_between_seeds.expect("two seeds"), 0.0);
    close(found.psi_if_unchanged.expect("rows"), 9.0 * (1.0 / 40.0 + 1.0 / 40.0));
}
