use Direction::{Maximize, Minimize};
use proptest::prelude::*;

use super::*;

/// The definition, word by word.
fn dominates(a: &[f64], b: &[f64], directions: &[Direction]) -> bool {
    let no_worse = |(a, b, direction): (&f64, &f64, &Direction)| match direction {
        Maximize => a >= b,
        Minimize => a <= b,
    };
    let triples = || a.iter().zip(b).zip(directions).map(|((a, b), direction)| (a, b, direction));
    triples().all(no_worse) && triples().any(|(a, b, _)| a != b)
}

#[test]
fn two_objectives_by_hand() {
    // Size down, quality up. The third is dominated by the second, the fourth repeats the first.
    let values = [10.0, 0.7, 20.0, 0.8, 30.0, 0.8, 10.0, 0.7, f64::NAN, 0.9, 5.0, f64::NEG_INFINITY];
    use Standing::{DominatedBy, NotANumber, OnFront};
    assert_eq!(
        standings(&values, &[Minimize, Maximize]),
        [OnFront, OnFront, DominatedBy(1), OnFront, NotANumber, OnFront]
    );
    assert_eq!(groups(&values, 2), [0, 1, 2, 0, 3, 4]);
}

#[test]
fn zeros_of_both_signs_are_equal() {
    assert_eq!(standings(&[0.0, -0.0], &[Minimize]), [Standing::OnFront; 2]);
    assert_eq!(standings(&[0.0, -0.0], &[Maximize]), [Standing::OnFront; 2]);
    assert_eq!(standings(&[0.0, 1.0, -0.0, -0.0, 0.0, 1.0, 0.0, 0.0], &[Maximize; 4]), [Standing::OnFront; 2]);
    assert_eq!(groups(&[0.0, -0.0], 1), [0, 0]);
}

#[test]
fn nothing_has_an_empty_front() {
    for objectives in 1..=6 {
        assert!(standings(&[], &vec![Minimize; objectives]).is_empty());
    }
    assert!(standings(&[1.0], &[]).is_empty());
    assert!(groups(&[], 2).is_empty());
}

fn value() -> impl Strategy<Value = f64> {
    // Few distinct values, so that ties and duplicates are common.
    prop_oneof![
        40 => (-4..4_i32).prop_map(f64::from),
        1 => prop_oneof![Just(f64::NAN), Just(f64::INFINITY), Just(f64::NEG_INFINITY), Just(-0.0)],
        20 => -4.0..4.0_f64,
    ]
}

fn directions() -> impl Strategy<Value = Vec<Direction>> {
    let direction = any::<bool>().prop_map(|up| if up { Maximize } else { Minimize });
    proptest::collection::vec(direction, 1..=6)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Nobody on the front is dominated, everybody off it is, by a point on it; what is not a number takes no part.
    #[test]
    fn agrees_with_the_definition(
        values in proptest::collection::vec(value(), 0..600),
        directions in directions(),
    ) {
        let points: Vec<&[f64]> = values.chunks_exact(directions.len()).collect();
        let standings = standings(&values, &directions);
        prop_assert_eq!(standings.len(), points.len());
        for (point, standing) in points.iter().zip(&standings) {
            if point.iter().any(|value| value.is_nan()) {
                prop_assert_eq!(*standing, Standing::NotANumber);
                continue;
            }
            let others = points.iter().filter(|other| !other.iter().any(|value| value.is_nan()));
            let dominated = others.into_iter().any(|other| dominates(other, point, &directions));
            match standing {
                Standing::OnFront => prop_assert!(!dominated),
                Standing::DominatedBy(witness) => {
                    prop_assert!(dominates(points[*witness], point, &directions));
                    prop_assert_eq!(standings[*witness], Standing::OnFront);
                }
                Standing::NotANumber => prop_assert!(false, "a number was taken for none"),
            }
        }
    }

    #[test]
    fn the_order_of_points_does_not_matter(
        (points, shuffled) in proptest::collection::vec(proptest::collection::vec(value(), 6), 0..100)
            .prop_flat_map(|points| {
                let order: Vec<usize> = (0..points.len()).collect();
                (Just(points), Just(order).prop_shuffle())
            }),
        directions in directions(),
    ) {
        let flat = |order: &mut dyn Iterator<Item = usize>| -> Vec<f64> {
            order.flat_map(|index| points[index][..directions.len()].to_vec()).collect()
        };
        let is_on_front = |standing: &Standing| *standing == Standing::OnFront;
        let before = standings(&flat(&mut (0..points.len())), &directions);
        let after = standings(&flat(&mut shuffled.iter().copied()), &directions);
        for (place, index) in shuffled.iter().enumerate() {
            prop_assert_eq!(is_on_front(&after[place]), is_on_front(&before[*index]));
        }
    }

    #[test]
    fn groups_are_of_equal_points(values in proptest::collection::vec(value(), 0..60), dimensions in 1..4_usize) {
        let points: Vec<&[f64]> = values.chunks_exact(dimensions).collect();
        let groups = groups(&values, dimensions);
        prop_assert_eq!(groups.len(), points.len());
        for (place, (point, group)) in points.iter().zip(&groups).enumerate() {
            for (other_place, (other, other_group)) in points.iter().zip(&groups).enumerate() {
                prop_assert_eq!(group == other_group, point == other || place == other_place);
            }
        }
    }
}
