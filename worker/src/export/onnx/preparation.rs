//! How raw columns, or images, become the inputs of a net: the arithmetic of `data`, in operators of ONNX.
//!
//! A categorical column is a tensor of strings, and a numeric one a tensor of doubles in which NaN is a missing value. A numeric column
//! with codes that are no numbers is a tensor of strings, too. What spelling a table has for its numbers and dates is the caller's
//! business: ONNX has no operators for that.

use std::collections::BTreeMap;

use super::graph::{Attribute, Graph, Name};
use crate::{
    data::{Categorical, Encoding, FARTHEST, ImageInput, InputColumn, Numeric, Preparation, Scale, number},
    onnx::Element,
};

/// What a raw input of the graph is, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawInput {
    /// Its name: that of the column.
    pub name: String,
    /// `string`, `double` or `uint8`.
    pub element: &'static str,
    /// What it has to hold.
    pub about: String,
}

/// The features `[rows, width]` of the columns that are read, in the order of the preparation; those of the others are not there.
pub(super) fn table(graph: &mut Graph, preparation: &Preparation, reads: &[bool], inputs: &mut Vec<RawInput>) -> Name {
    let columns: Vec<&InputColumn> =
        preparation.columns.iter().zip(reads).filter(|(_, reads)| **reads).map(|(column, _)| column).collect();
    // Names of columns come first, so that no other value takes one.
    let cells: Vec<Name> = columns.iter().map(|column| input(graph, column, inputs)).collect();
    let mut features = Vec::new();
    for (column, cell) in columns.into_iter().zip(&cells) {
        match &column.encoding {
            Encoding::Numeric(numeric) => numbers(graph, column, numeric, cell, &mut features),
            Encoding::Categorical(categorical) => features.push(levels(graph, column, categorical, cell)),
            Encoding::Constant { .. } => {}
        }
    }
    graph.apply_with("Concat", &features.iter().collect::<Vec<_>>(), vec![("axis", Attribute::Int(1))])
}

/// An image as a net takes it, `[rows, channels, height, width]`.
pub(super) fn image(graph: &mut Graph, input: &ImageInput, inputs: &mut Vec<RawInput>) -> Name {
    let about = "grey values from 0 to 255; [rows, channels, height, width]".to_owned();
    let image = graph.input("image", Element::Uint8, &input.shape.map(i64::from), about.clone());
    inputs.push(RawInput { name: image.clone(), element: "uint8", about });
    let image = graph.cast(&image, Element::Double);
    let (most, Scale { mean, sd }) = (graph.double(255.0), input.scale);
    let image = graph.apply("Div", [&image, &most]);
    let mean = graph.double(mean);
    let image = graph.apply("Sub", [&image, &mean]);
    let sd = graph.double(sd);
    let image = graph.apply("Div", [&image, &sd]);
    graph.cast(&image, Element::Float)
}

/// Whether a numeric column is a tensor of strings.
fn is_text(column: &InputColumn) -> bool {
    column.reading.codes.iter().flatten().any(|code| number(code).is_none())
}

fn input(graph: &mut Graph, column: &InputColumn, inputs: &mut Vec<RawInput>) -> Name {
    let (element, name, about) = match &column.encoding {
        Encoding::Numeric(_) if is_text(column) => (Element::String, "string", about_numbers(column, "empty")),
        Encoding::Numeric(_) => (Element::Double, "double", about_numbers(column, "NaN")),
        Encoding::Categorical(_) | Encoding::Constant { .. } => (Element::String, "string", about_levels(column)),
    };
    inputs.push(RawInput { name: column.name.clone(), element: name, about: about.clone() });
    graph.input(&column.name, element, &[1], about)
}

fn about_numbers(column: &InputColumn, missing: &str) -> String {
    use secateur_proto::spec::ColumnKind;
    let what = match &column.reading.kind {
        Some(ColumnKind::Date(format)) => format!("days since 1970-01-01 of a date in the format {format}"),
        Some(ColumnKind::Number) => "number, without thousands separators, currency or per cent sign".to_owned(),
        _ => "number".to_owned(),
    };
    let codes: Vec<&str> = column.reading.codes.iter().flatten().map(String::as_str).collect();
    let codes = if codes.is_empty() { String::new() } else { format!("; missing for a reason: {}", codes.join(", ")) };
    let range = match &column.encoding {
        Encoding::Numeric(Numeric { range: Some([low, high]), .. }) => format!("; in train from {low} to {high}"),
        _ => String::new(),
    };
    format!("{what}; missing: {missing}{codes}{range}")
}

fn about_levels(column: &InputColumn) -> String {
    let words: Vec<&str> = column.reading.missing.iter().map(String::as_str).collect();
    let words = if words.is_empty() { String::new() } else { format!(" or {}", words.join(", ")) };
    let levels = match &column.encoding {
        Encoding::Categorical(categorical) => categorical.levels.as_slice(),
        _ => &[],
    };
    const SHOWN: usize = 12;
    let more = if levels.len() > SHOWN { ", …" } else { "" };
    let levels: Vec<&str> = levels.iter().take(SHOWN).map(String::as_str).collect();
    format!("text without white space around it; missing: empty{words}; levels: {}{more}", levels.join(", "))
}

/// The places of texts, 0 and so on; `other` of a text that has none.
fn places(graph: &mut Graph, cell: &Name, of: &BTreeMap<&str, i64>, other: i64) -> Name {
    let keys = of.keys().map(|text| (*text).to_owned()).collect();
    let attributes = vec![
        ("keys_strings", Attribute::Strings(keys)),
        ("values_int64s", Attribute::Ints(of.values().copied().collect())),
        ("default_int64", Attribute::Int(other)),
    ];
    graph.apply_ml("LabelEncoder", &[cell], attributes)
}

/// One feature for each level, and those of pooled levels and of missing values.
fn levels(graph: &mut Graph, column: &InputColumn, categorical: &Categorical, cell: &Name) -> Name {
    // −1 is no feature.
    let place = |level: Option<&str>| categorical.slot(level).map_or(-1, |slot| i64::try_from(slot).unwrap_or(-1));
    let mut of: BTreeMap<&str, i64> =
        categorical.levels.iter().map(|level| (level.as_str(), place(Some(level)))).collect();
    let reading = &column.reading;
    let missing = reading.missing.iter().chain(reading.codes.iter().flatten()).map(String::as_str);
    of.extend(missing.chain([""]).map(|word| (word, place(None))));
    // No level of the column is all of these.
    let unseen = categorical.slot(Some("\u{0}")).map_or(-1, |slot| i64::try_from(slot).unwrap_or(-1));
    let place = places(graph, cell, &of, unseen);
    let width = column.features.len();
    let slots = graph.integers(&[1, width], &(0..).take(width).collect::<Vec<_>>());
    let is_slot = graph.apply("Equal", [&place, &slots]);
    graph.cast(&is_slot, Element::Float)
}

/// The standardised value, the flags of codes, and that of missing values.
fn numbers(graph: &mut Graph, column: &InputColumn, numeric: &Numeric, cell: &Name, features: &mut Vec<Name>) {
    let codes: Vec<&String> = column.reading.codes.iter().flatten().collect();
    let (value, is_empty, is_code) = if is_text(column) {
        texts(graph, column, &codes, cell)
    } else {
        let is_code = codes.iter().map(|code| {
            let code = graph.double(number(code).unwrap_or(f64::NAN));
            graph.apply("Equal", [cell, &code])
        });
        let is_code: Vec<Name> = is_code.collect();
        let is_empty = graph.apply("IsNaN", [cell]);
        (cell.clone(), is_empty, is_code)
    };
    let is_missing = is_code.iter().fold(is_empty.clone(), |missing, is_code| graph.apply("Or", [&missing, is_code]));
    if let Some(Scale { mean, sd }) = numeric.scale {
        let median = graph.double(numeric.median);
        let mut value = graph.apply("Where", [&is_missing, &median, &value]);
        if numeric.signed_log1p {
            let sign = graph.apply("Sign", [&value]);
            let size = graph.apply("Abs", [&value]);
            let one = graph.double(1.0);
            let size = graph.apply("Add", [&size, &one]);
            let size = graph.apply("Log", [&size]);
            value = graph.apply("Mul", [&sign, &size]);
        }
        if !numeric.quantiles.is_empty() {
            value = share(graph, &numeric.quantiles, &value);
        }
        let mean = graph.double(mean);
        let value = graph.apply("Sub", [&value, &mean]);
        let sd = graph.double(sd);
        let value = graph.apply("Div", [&value, &sd]);
        let (low, high) = (graph.double(-FARTHEST), graph.double(FARTHEST));
        let value = graph.apply("Clip", [&value, &low, &high]);
        features.push(graph.cast(&value, Element::Float));
    }
    // A code that no train row has is a missing value without a reason.
    let mut is_plain = is_empty;
    for (code, is_code) in codes.iter().zip(&is_code) {
        if !numeric.codes.contains(code) {
            is_plain = graph.apply("Or", [&is_plain, is_code]);
        }
    }
    for code in &numeric.codes {
        if let Some(at) = codes.iter().position(|other| *other == code) {
            features.push(graph.cast(&is_code[at], Element::Float));
        }
    }
    if numeric.missing_flag {
        features.push(graph.cast(&is_plain, Element::Float));
    }
}

/// The share of train values below `value` `[rows, 1]`, by their quantiles.
fn share(graph: &mut Graph, quantiles: &[f64], value: &Name) -> Name {
    let last = quantiles.len().saturating_sub(1);
    let bytes = |values: &[f64]| values.iter().flat_map(|value| value.to_le_bytes()).collect();
    let all = graph.tensor("quantiles", Element::Double, &[quantiles.len()], bytes(quantiles));
    let across = graph.integers(&[1], &[1]);
    let count = |graph: &mut Graph, operator: &str| {
        let is_there = graph.apply(operator, [&all, value]);
        let counted = graph.cast(&is_there, Element::Int64);
        graph.apply("ReduceSum", [&counted, &across])
    };
    let (below, up_to) = (count(graph, "Less"), count(graph, "LessOrEqual"));
    // Between two quantiles, in proportion. Whatever this is beyond the last and before the first is not taken.
    let (zero, one) = (graph.integers(&[], &[0]), graph.integers(&[], &[1]));
    let end = graph.integers(&[], &[i64::try_from(last).unwrap_or(i64::MAX)]);
    let before = graph.apply("Sub", [&below, &one]);
    let quantile_at = |graph: &mut Graph, place: &Name| {
        let place = graph.apply("Max", [place, &zero]);
        let place = graph.apply("Min", [&place, &end]);
        let quantile = graph.apply("Gather", [&all, &place]);
        let two = graph.double(2.0);
        graph.apply("Div", [&quantile, &two])
    };
    let (low, high) = (quantile_at(graph, &before), quantile_at(graph, &below));
    let two = graph.double(2.0);
    let half = graph.apply("Div", [value, &two]);
    let (above_low, width) = (graph.apply("Sub", [&half, &low]), graph.apply("Sub", [&high, &low]));
    let part = graph.apply("Div", [&above_low, &width]);
    let whole = graph.cast(&before, Element::Double);
    let between = graph.apply("Add", [&whole, &part]);
    // Before the first quantile it is 0, beyond the last one 1.
    let inside = graph.apply("Min", [&below, &end]);
    let is_beyond = graph.apply("Greater", [&below, &end]);
    let is_before = graph.apply("Equal", [&below, &zero]);
    let is_outside = graph.apply("Or", [&is_beyond, &is_before]);
    let outside = graph.cast(&inside, Element::Double);
    let place = graph.apply("Where", [&is_outside, &outside, &between]);
    // Equal to some quantiles it is their middle.
    let is_between = graph.apply("Equal", [&below, &up_to]);
    let both = graph.apply("Add", [&below, &up_to]);
    let both = graph.apply("Sub", [&both, &one]);
    let both = graph.cast(&both, Element::Double);
    let middle = graph.apply("Div", [&both, &two]);
    let place = graph.apply("Where", [&is_between, &place, &middle]);
    let all = graph.double(last as f64);
    graph.apply("Div", [&place, &all])
}

/// The numbers of a column of texts, NaN where there is none, whether the cell is empty, and for each code whether it stands there.
fn texts(graph: &mut Graph, column: &InputColumn, codes: &[&String], cell: &Name) -> (Name, Name, Vec<Name>) {
    let missing = i64::try_from(codes.len()).unwrap_or(-1);
    let mut of: BTreeMap<&str, i64> = codes.iter().zip(0..).map(|(code, at)| (code.as_str(), at)).collect();
    of.extend(column.reading.missing.iter().map(|word| (word.as_str(), missing)).chain([("", missing)]));
    let place = places(graph, cell, &of, -1);
    let none = graph.integers(&[], &[-1]);
    let is_number = graph.apply("Equal", [&place, &none]);
    let nothing = graph.text("NaN");
    let text = graph.apply("Where", [&is_number, cell, &nothing]);
    let value = graph.cast(&text, Element::Double);
    let mut is_at = |at: i64| {
        let at = graph.integers(&[], &[at]);
        graph.apply("Equal", [&place, &at])
    };
    let is_empty = is_at(missing);
    (value, is_empty, (0..missing).map(is_at).collect())
}
