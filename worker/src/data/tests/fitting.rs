use proptest::prelude::*;

use super::*;

fn encoding(prepared: &Prepared, name: &str) -> Encoding {
    let columns = &prepared.preparation.columns;
    columns.iter().find(|column| column.name == name).expect("a column").encoding.clone()
}

fn numeric(prepared: &Prepared, name: &str) -> Numeric {
    match encoding(prepared, name) {
        Encoding::Numeric(numeric) => numeric,
        other => panic!("{name} is {other:?}"),
    }
}

fn categorical(prepared: &Prepared, name: &str) -> Categorical {
    match encoding(prepared, name) {
        Encoding::Categorical(categorical) => categorical,
        other => panic!("{name} is {other:?}"),
    }
}

#[test]
fn missing_numbers_become_the_median_and_a_flag() {
    let prepared = prepared(&table(&["0,1", "1,", "0, 3 ", "1,5"]));
    let root = 2.0_f64.sqrt();
    let fitted = Numeric {
        median: 3.0,
        missing_flag: true,
        codes: vec![],
        signed_log1p: false,
        quantiles: Vec::new(),
        // 1, 3, 3 and 5.
        scale: Some(Scale { mean: 3.0, sd: root }),
        range: Some([1.0, 5.0]),
    };
    assert_eq!(encoding(&prepared, "x"), Encoding::Numeric(fitted));
    assert_eq!(prepared.dataset.features, ["x", "x (missing)"]);
    let root = root as f32;
    assert_eq!(prepared.dataset.train.inputs, [-root, 0.0, 0.0, 1.0, 0.0, 0.0, root, 0.0]);
    assert_eq!(prepared.dataset.train.targets, [0.0, 1.0, 0.0, 1.0]);
}

#[test]
fn a_median_of_an_even_count_is_between_the_middle_two() {
    assert_eq!(numeric(&prepared(&table(&["0,1", "1,2", "0,4", "1,9"])), "x").median, 3.0);
}

#[test]
fn missing_only_after_train_is_the_median_without_a_flag() {
    let text = table(&["0,1", "1,2", "0,3", "1,2"]).replace("test,0,3", "test,0,");
    let prepared = prepared(&text);
    assert_eq!(prepared.dataset.width(), 1);
    assert_eq!(prepared.dataset.test.inputs[0], 0.0);
}

#[test]
fn heavy_tails_go_through_the_signed_logarithm() {
    // Median 1, quartiles 0 and 2: the bound is at 1 ± 10.
    let prepared = prepared(&table(&["0,-12", "1,0", "0,1", "1,2", "1,11"]));
    let found = numeric(&prepared, "x");
    assert!(found.signed_log1p);
    let values = [-13.0_f64.ln(), 0.0, 2.0_f64.ln(), 3.0_f64.ln(), 12.0_f64.ln()];
    let mean = values.iter().sum::<f64>() / 5.0;
    let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 5.0).sqrt();
    for (found, value) in prepared.dataset.train.inputs.iter().zip(values) {
        assert!((f64::from(*found) - (value - mean) / sd).abs() < 1e-6);
    }
    // One less at either end is within the bound.
    assert!(!numeric(&super::prepared(&table(&["0,-9", "1,0", "0,1", "1,2", "1,11"])), "x").signed_log1p);
}

#[test]
fn rare_levels_are_pooled() {
    let mut rows = vec!["0,a"; 150];
    rows.extend(["1,b"; 46]);
    rows.extend(["1,c", "1,c", "0,d", "0,e"]);
    let text = table(&rows)
        .replace("validation,0,1", "validation,0,unseen")
        .replace("validation,1,2", "validation,1,")
        .replace("test,0,3", "test,0,c")
        .replace("test,1,4", "test,1,d");
    let prepared = prepared(&text);
    // 1 % of 200 rows is two.
    let expected = Categorical { levels: ["a", "b", "c"].map(String::from).to_vec(), pooled: 2, missing: false };
    assert_eq!(categorical(&prepared, "x"), expected);
    assert_eq!(prepared.dataset.features, ["x=a", "x=b", "x=c", "x (rare)"]);
    assert_eq!(prepared.dataset.validation.inputs, [0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]);
    assert_eq!(prepared.dataset.test.inputs, [0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0]);
}

#[test]
fn unseen_levels_are_zeros_where_none_is_rare() {
    let text = table(&["0,b", "1,a", "0,", "1,b"]).replace("test,0,3", "test,0,").replace("test,1,4", "test,1,a");
    let prepared = prepared(&text);
    assert_eq!(prepared.dataset.features, ["x=a", "x=b", "x (missing)"]);
    let expected = [0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 1.0, 0.0];
    assert_eq!(prepared.dataset.train.inputs, expected);
    assert_eq!(prepared.dataset.validation.inputs, [0.0; 6]);
    assert_eq!(prepared.dataset.test.inputs, [0.0, 0.0, 1.0, 1.0, 0.0, 0.0]);
}

#[test]
fn what_is_not_a_finite_number_makes_a_column_categorical() {
    for cell in ["nan", "inf", "-infinity", "1e999", "1,5", "0x10", "1 2"] {
        let text = table(&["0,1", "1,2", "0,1", "1,2"]).replace("test,1,4", &format!("test,1,\"{cell}\""));
        assert_eq!(categorical(&prepared(&text), "x").levels, ["1", "2"], "{cell}");
    }
    for cell in ["1e3", "-0", "+4", ".5", "1e-400"] {
        let text = table(&["0,1", "1,2", "0,1", "1,2"]).replace("test,1,4", &format!("test,1,{cell}"));
        assert!(matches!(encoding(&prepared(&text), "x"), Encoding::Numeric(_)), "{cell}");
    }
}

#[test]
fn constants_are_recorded_and_give_no_feature() {
    let header = "part,y,same,level,flag,id,x\n";
    let mut text = header.to_owned();
    for row in 0..200 {
        let flag = if row == 7 { "" } else { "5" };
        let _ = writeln!(text, "train,{},3,k,{flag},id{row},{row}", row % 2);
    }
    text += "validation,0,4,j,6,id1,1\nvalidation,1,3,k,5,id900,2\ntest,0,3,k,,id2,1\ntest,1,3,k,5,id3,2\n";
    let prepared = prepared(&text);
    assert_eq!(prepared.facts().constant, ["same", "level", "id"]);
    assert!(prepared.notes[0].contains("\"same\" gives no input: every train row holds \"3\""), "{:?}", prepared.notes);
    assert!(
        prepared.notes[2].contains("\"id\" gives no input: each of its levels holds less than 1 in 100 train rows")
    );
    assert_eq!(encoding(&prepared, "same"), Encoding::Constant { value: "3".into() });
    assert_eq!(encoding(&prepared, "level"), Encoding::Constant { value: "k".into() });
    assert_eq!(encoding(&prepared, "id"), Encoding::Constant { value: "(rare)".into() });
    // Where the value says nothing, that it is missing still may.
    assert_eq!(prepared.dataset.features, ["flag (missing)", "x"]);
    assert_eq!(prepared.dataset.train.inputs[14], 1.0);
    assert_eq!(prepared.dataset.train.inputs.iter().step_by(2).sum::<f32>(), 1.0);
    let read_back = Preparation::from_json(&prepared.preparation.to_json().expect("bytes"));
    assert_eq!(read_back, Ok(prepared.preparation));
}

#[test]
fn huge_and_tiny_numbers_have_finite_features() {
    let rows = ["0,1e308", "1,-1e308", "0,1.5e308", "1,-1.7e308"];
    let huge = prepared(&table(&rows));
    assert!(numeric(&huge, "x").signed_log1p);
    assert!(huge.dataset.parts().iter().all(|(_, part)| part.inputs.iter().all(|value| value.is_finite())));

    let text = table(&["0,1", "1,2", "0,3", "1,4"]).replace("test,1,4", "test,1,-1e308");
    assert_eq!(prepared(&text).dataset.test.inputs[1], -FARTHEST as f32);

    // Numbers whose variance is zero in double precision are a constant.
    let text = table(&["0,0", "1,5e-324", "0,0", "1,5e-324"]).replace("part,y,x", "part,y,tiny");
    assert!(problem(&spec(), &text).contains("nothing to learn from"));
}

#[test]
fn new_rows_that_do_not_fit_are_refused() {
    let prepared = prepared(&table(&["0,1", "1,2", "0,3", "1,"]));
    let mut out = vec![9.0];
    let error = prepared.preparation.apply(|_| Some("two"), &mut out).expect_err("a text");
    assert_eq!(error.to_string(), "column \"x\" has to be a number or empty, and is \"two\"");
    assert_eq!(out, [9.0]);
    assert!(prepared.preparation.apply(|_| Some("NaN"), &mut out).is_err());
    prepared.preparation.apply(|_| None, &mut out).expect("missing is allowed");
    assert_eq!(out.len(), 3);
    assert_eq!(out[2], 1.0);
}

#[test]
fn groups_are_no_inputs_unless_named() {
    let text = "part,y,x,g\ntrain,0,1,b\ntrain,1,2,\nvalidation,0,1,a\nvalidation,1,2,b\ntest,0,3,c\ntest,1,4,\n";
    let mut grouped = DataSettings { groups: vec!["g".into()], ..spec() };
    let prepared = prepare(&grouped, text.as_bytes()).expect("a good table");
    assert_eq!(prepared.dataset.features, ["x"]);
    assert_eq!(prepared.dataset.groups[0].levels, ["a", "b", "c", "(missing)"]);
    assert_eq!(prepared.dataset.parts().map(|(_, part)| part.groups[0].clone()), [[1, 3], [0, 1], [2, 3]]);

    grouped.inputs = Some(vec!["g".into()]);
    let prepared = prepare(&grouped, text.as_bytes()).expect("a good table");
    assert_eq!(prepared.dataset.features, ["g=b", "g (missing)"]);
}

/// A number or nothing and a level or nothing.
type Row = (Option<f64>, Option<u8>);

fn rows(count: usize) -> impl Strategy<Value = Vec<Row>> {
    let number = proptest::option::weighted(0.9, prop_oneof![-100.0..100.0, -1e6..1e6_f64, -1e300..1e300_f64]);
    proptest::collection::vec((number, proptest::option::weighted(0.9, 0_u8..8)), count)
}

fn mixed(parts: &[(&str, &[Row])]) -> String {
    let mut text = String::from("part,y,number,level\n");
    for (part, rows) in parts {
        for (row, (number, level)) in rows.iter().enumerate() {
            let number = number.map(|number| number.to_string()).unwrap_or_default();
            let level = level.map(|level| format!("l{level}")).unwrap_or_default();
            let _ = writeln!(text, "{part},{},{number},{level}", row % 2);
        }
    }
    text
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nothing_is_fitted_on_validation_and_test(
        train in rows(60), [a, b, c, d] in [rows(20), rows(20), rows(20), rows(20)]
    ) {
        let one = prepare(&spec(), mixed(&[("train", &train), ("validation", &a), ("test", &b)]).as_bytes());
        let other = prepare(&spec(), mixed(&[("train", &train), ("validation", &c), ("test", &d)]).as_bytes());
        let (one, other) = (one.expect("a good table"), other.expect("a good table"));
        prop_assert_eq!(one.preparation, other.preparation);
        prop_assert_eq!(one.dataset.train, other.dataset.train);
    }

    #[test]
    fn train_features_are_standardised(train in rows(60), others in rows(4)) {
        let text = mixed(&[("train", &train), ("validation", &others), ("test", &others)]);
        let prepared = prepare(&spec(), text.as_bytes()).expect("a good table");
        let width = prepared.dataset.width();
        let values: Vec<f64> = prepared.dataset.train.inputs.iter().step_by(width).map(|v| f64::from(*v)).collect();
        let mean = values.iter().sum::<f64>() / 60.0;
        let sd = (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / 60.0).sqrt();
        prop_assert!(mean.abs() < 1e-5 && (sd - 1.0).abs() < 1e-5, "mean {mean}, sd {sd}");
        prop_assert!(prepared.dataset.parts().iter().all(|(_, part)| part.inputs.iter().all(|v| v.is_finite())));
        // Each train row has one level.
        let levels = prepared.dataset.features.iter().position(|name| name.starts_with("level")).expect("levels");
        for row in prepared.dataset.train.inputs.chunks_exact(width) {
            prop_assert_eq!(row[levels..].iter().sum::<f32>(), 1.0);
        }
    }

    #[test]
    fn the_order_of_rows_does_not_matter(train in rows(60), others in rows(4), turn in 0..30_usize) {
        let mut turned = train.clone();
        turned.rotate_left(2 * turn);
        let of = |train| prepare(&spec(), mixed(&[("train", train), ("validation", &others), ("test", &others)]).as_bytes());
        let (one, other) = (of(&train).expect("a good table"), of(&turned).expect("a good table"));
        prop_assert_eq!(categorical(&one, "level"), categorical(&other, "level"));
        prop_assert_eq!(numeric(&one, "number").median, numeric(&other, "number").median);
        let mut inputs = one.dataset.train.inputs.clone();
        inputs.rotate_left(2 * turn * one.dataset.width());
        prop_assert!(inputs.iter().zip(&other.dataset.train.inputs).all(|(a, b)| (a - b).abs() < 1e-4));
    }
}

fn scaled(file: Option<Scaling>, column: Option<Scaling>, text: &str) -> Preparation {
    let of_column = ColumnReading { scaling: column, ..ColumnReading::default() };
    let columns = column.map(|_| ("x".to_owned(), of_column)).into_iter().collect();
    let said = DataSettings { reading: Reading { scaling: file, columns, ..Reading::default() }, ..spec() };
    let settings = resolve(&said, text.as_bytes()).expect("a good table").settings;
    prepare(&settings, text.as_bytes()).expect("a good table").preparation
}

#[test]
fn scalings_of_the_file_and_of_columns() {
    let text = table(&["0,1", "1,2", "0,4", "1,8", "0,8", "1,300"]);
    let auto = scaled(None, None, &text);
    assert_eq!(scaled(Some(Scaling::Auto), None, &text), auto);
    assert_eq!(scaled(Some(Scaling::Log), Some(Scaling::Auto), &text), auto);
    for scaling in [Scaling::Standard, Scaling::Log, Scaling::Quantile] {
        let found = scaled(Some(scaling), None, &text);
        assert_eq!(scaled(None, Some(scaling), &text), found);
        let Encoding::Numeric(numeric) = &found.columns[0].encoding else { panic!("{found:?}") };
        assert_eq!(numeric.signed_log1p, scaling == Scaling::Log);
        assert_eq!(numeric.quantiles.is_empty(), scaling != Scaling::Quantile);
        // What is stored prepares a new row as it prepared the train rows.
        let json = found.to_json().expect("plain data");
        assert_eq!(Preparation::from_json(&json).as_ref(), Ok(&found));
        let mut inputs = Vec::new();
        for value in ["1", "2", "4", "8", "8", "300"] {
            found.apply(|_| Some(value), &mut inputs).expect("a good row");
        }
        let said = DataSettings { reading: Reading { scaling: Some(scaling), ..Reading::default() }, ..spec() };
        let settings = resolve(&said, text.as_bytes()).expect("a good table").settings;
        assert_eq!(prepare(&settings, text.as_bytes()).expect("a good table").dataset.train.inputs, inputs);
    }
    let said = DataSettings { reading: Reading { scaling: Some(Scaling::Auto), ..Reading::default() }, ..spec() };
    assert!(resolve(&said, text.as_bytes()).expect("a good table").settings.reading.is_plain(), "keys of sweeps hold");
    let letters = table(&["0,a", "1,b"])
        .replace(",1\n", ",a\n")
        .replace(",2\n", ",b\n")
        .replace(",3\n", ",a\n")
        .replace(",4\n", ",b\n");
    let columns = [("x".to_owned(), ColumnReading { scaling: Some(Scaling::Log), ..ColumnReading::default() })].into();
    let said = DataSettings { reading: Reading { columns, ..Reading::default() }, ..spec() };
    assert!(matches!(resolve(&said, letters.as_bytes()), Err(DataError::Column { .. })));
}

proptest::proptest! {
    /// Equal shares of the train rows are at equal distances, whatever is done to the values in their order.
    #[test]
    fn quantiles_know_the_order_and_nothing_else(values in proptest::collection::vec(-1e6..1e6_f64, 20..200)) {
        let rows = |change: fn(f64) -> f64| -> Vec<String> {
            values.iter().enumerate().map(|(row, value)| format!("{},{}", row % 2, change(*value))).collect()
        };
        let inputs = |rows: Vec<String>| {
            let text = table(&rows.iter().map(String::as_str).collect::<Vec<_>>());
            let said = DataSettings { reading: Reading { scaling: Some(Scaling::Quantile), ..Reading::default() }, ..spec() };
            let settings = resolve(&said, text.as_bytes()).expect("a good table").settings;
            prepare(&settings, text.as_bytes()).expect("a good table").dataset.train.inputs
        };
        let plain = inputs(rows(|value| value));
        let changed = inputs(rows(|value| (value / 1e6).exp() * 1e3));
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        proptest::prop_assert!(order.windows(2).all(|pair| plain[pair[0]] <= plain[pair[1]]));
        // With fewer rows than quantiles every row is between two of them.
        let farthest = plain.iter().zip(&changed).map(|(one, other)| (one - other).abs()).fold(0.0, f32::max);
        proptest::prop_assert!(farthest < 0.05, "{farthest}");
    }
}
