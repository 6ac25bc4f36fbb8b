use proptest::prelude::*;

use super::*;

/// Names as people and machines give them.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,8}", "\\PC{0,12}", any::<String>(), Just("gap".to_owned()), Just("gap x".to_owned())]
}

fn over() -> impl Strategy<Value = Over> {
    let split = || prop::sample::select(Split::ALL.to_vec());
    prop_oneof![
        split().prop_map(Over::Rows),
        (split(), name(), name()).prop_map(|(split, column, level)| Over::slice(split, &column, &level)),
        (split(), name()).prop_map(|(split, column)| Over::gap(split, &column)),
    ]
}

/// Any quantity.
pub(crate) fn quantity() -> impl Strategy<Value = Quantity> {
    (prop::sample::select(Metric::ALL.to_vec()), over()).prop_map(|(metric, over)| {
        let over = if metric.is_of_net() { Over::Net } else { over };
        Quantity::new(metric, over).expect("they fit")
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read(quantity in quantity()) {
        let text = quantity.to_string();
        prop_assert!(!text.chars().any(char::is_control), "{text:?}");
        prop_assert_eq!(text.parse::<Quantity>(), Ok(quantity.clone()));
        let json = serde_json::to_string(&quantity).expect("a text");
        prop_assert_eq!(serde_json::from_str::<Quantity>(&json).expect("its own"), quantity.clone());
        for split in Split::ALL {
            let read = Quantity::parse_or_on(&quantity.text_or_on(split), split);
            prop_assert_eq!(read, Ok(quantity.clone()));
        }
    }

    #[test]
    fn no_two_quantities_have_one_text(one in quantity(), two in quantity()) {
        prop_assert_eq!(one == two, one.to_string() == two.to_string());
    }

    #[test]
    fn whatever_is_read_is_written_alike_again(text in "(auc|macs)@?(test)?\\[?(gap )?[a-z\"\\\\u{}0-9 ]{0,6}=?[a-z\"]{0,3}\\]?") {
        if let Ok(quantity) = text.parse::<Quantity>() {
            prop_assert_eq!(quantity.to_string().parse::<Quantity>(), Ok(quantity));
        }
    }

    #[test]
    fn reports_have_metric_by_metric_and_whole_splits_first(mut all in prop::collection::vec(quantity(), 0..20)) {
        all.sort();
        let key = |quantity: &Quantity| (quantity.metric(), !quantity.is_whole());
        prop_assert!(all.is_sorted_by_key(key));
    }
}

#[test]
fn texts_are_those_of_the_guide() {
    let quantity = |metric, over| Quantity::new(metric, over).expect("they fit");
    let slice = |column, level| quantity(Metric::Auc, Over::slice(Split::Test, column, level));
    for (quantity, text) in [
        (Metric::NonzeroParameters.on(Split::Test), "nonzero_parameters"),
        (Metric::Auc.on(Split::Validation), "auc@validation"),
        (slice("region", "north"), "auc@test[region=north]"),
        (slice("home state", "N.Y."), r#"auc@test["home state"=N.Y.]"#),
        (slice("gap", "a\"b\\\t"), r#"auc@test[gap="a\"b\\\u{9}"]"#),
        (slice("age", "(missing)"), "auc@test[age=(missing)]"),
        (slice("", ""), r#"auc@test[""=""]"#),
        (quantity(Metric::Brier, Over::gap(Split::Validation, "region")), "brier@validation[gap region]"),
        (quantity(Metric::Brier, Over::gap(Split::Validation, "a b")), r#"brier@validation[gap "a b"]"#),
    ] {
        assert_eq!(quantity.to_string(), text);
        assert_eq!(text.parse(), Ok(quantity), "{text}");
    }
    // Quotes that are not needed do no harm.
    assert_eq!(r#"auc@test["region"="north"]"#.parse(), Ok(slice("region", "north")));
}

#[test]
fn what_is_not_a_quantity_is_refused_at_its_place() {
    let of = |text: &str| text.parse::<Quantity>().expect_err(text);
    assert_eq!(of("auk@test"), InvalidQuantity::Metric("auk".to_owned()));
    assert_eq!(of(""), InvalidQuantity::Metric(String::new()));
    assert_eq!(of("auc"), InvalidQuantity::NeedsSplit(Metric::Auc));
    assert_eq!(of("macs@test"), InvalidQuantity::OfNet(Metric::Macs));
    assert_eq!(of("macs@test[a=b]"), InvalidQuantity::OfNet(Metric::Macs));
    for text in ["auc@", "auc@train", "auc@Test", "auc@ test", "auc@test ", "auc@test@test", "auc@test]"] {
        assert!(matches!(of(text), InvalidQuantity::Split(_)), "{text}");
    }
    for (text, place) in [
        ("auc@test[", 6),
        ("auc@test[]", 6),
        ("auc@test[region]", 12),
        ("auc@test[region=]", 13),
        ("auc@test[region=north", 18),
        ("auc@test[region=north]x", 19),
        ("auc@test[region =north]", 12),
        ("auc@test[gap]", 9),
        ("auc@test[gap  region]", 10),
        ("auc@test[gap region=north]", 16),
        ("auc@test[region=\"north]", 20),
        ("auc@test[region=\"\\n\"]", 14),
        ("auc@test[region=\"\\u{d800}\"]", 14),
        ("auc@test[région=\"\n\"]", 14),
    ] {
        let error = of(text);
        assert!(matches!(error, InvalidQuantity::Syntax { place: found, .. } if found == place), "{error}");
    }
}

#[test]
fn a_smaller_gap_is_better_whatever_the_metric() {
    for metric in Metric::ALL.iter().filter(|metric| !metric.is_of_net()) {
        let gap = Quantity::new(*metric, Over::gap(Split::Test, "a")).expect("of rows");
        assert_eq!(gap.better(), Direction::Minimize);
        assert_eq!(gap.with_split(Split::Validation).split(), Some(Split::Validation));
    }
}
