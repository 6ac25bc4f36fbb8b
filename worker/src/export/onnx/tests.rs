//! Files of ONNX, checked and run by onnxruntime, against the scores of the host.

use std::{fs, process::Command};

use secateur_proto::spec::{Activation, ModelSpec, Scaling};
use serde_json::{Value, json};

use super::*;
use crate::{
    data::{Encoding, sample},
    import::{Checkpoint, Wanted},
    serve::tests::{self, net, scaled_table, table},
};

const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/export/onnx/check.py");

/// What the check lacks here, if anything.
fn missing() -> Option<String> {
    let output = Command::new("python3").args(["-c", "import numpy, onnx, onnxruntime"]).output();
    match output {
        Err(error) => Some(format!("there is no python3: {error}")),
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).into_owned()),
    }
}

fn images(shape: [u32; 3], classes: usize) -> Preparation {
    let classes: Vec<String> = (0..classes).map(|class| class.to_string()).collect();
    let preparation = json!({
        "format": 3, "target": {"column": null, "classes": classes}, "train_rows": 10, "columns": [],
        "image": {"shape": shape, "scale": {"mean": 0.13, "sd": 0.31}},
    });
    Preparation::from_json(preparation.to_string().as_bytes()).expect("a preparation")
}

fn rounded(model: &ModelSpec, bits: u8) -> NetFile {
    let quantized = tests::rounded(model, bits);
    NetFile { model: model.clone(), parameters: quantized.parameters.clone(), quantized: Some(quantized) }
}

/// A file, its inputs as numbers and texts, and what it has to answer.
fn case(preparation: &Preparation, file: &NetFile, name: &str, folder: &std::path::Path) -> Value {
    let written = write(preparation, file, None, &[("about", "a test".to_owned())]).expect("writes");
    let path = folder.join(format!("{name}.onnx"));
    fs::write(&path, &written.bytes).expect("written");
    let scorer = Scorer::new(preparation, file, None).expect("they belong together");
    let mut inputs = serde_json::Map::new();
    let expected: Vec<Vec<f64>> = if let Some(images) = sample::images(preparation) {
        let expected = images.iter().map(|image| scorer.score_image(image).expect("an image")).collect();
        let shape = preparation.image.as_ref().expect("images").shape;
        inputs.insert("image".to_owned(), json!({"element": "uint8", "values": images, "shape": shape}));
        expected
    } else {
        let rows = sample::rows(preparation);
        for input in &written.inputs {
            let at = preparation.columns.iter().position(|column| column.name == input.name).expect("a column");
            let column = &preparation.columns[at];
            let number = |cell: &String| {
                // What a caller has to do: a missing value is NaN, and a date is days.
                let is_code = column.reading.codes.iter().flatten().any(|code| code == cell);
                if is_code { json!(cell) } else { json!(column.number(cell)) }
            };
            let cells: Vec<Value> = rows
                .iter()
                .map(|row| if input.element == "double" { number(&row[at]) } else { json!(row[at]) })
                .collect();
            inputs.insert(input.name.clone(), json!({"element": input.element, "values": cells}));
        }
        let score = |row: &Vec<String>| scorer.score(|column| row.get(column).map(String::as_str), &mut Vec::new());
        rows.iter().map(|row| score(row).expect("a row")).collect()
    };
    let tolerance = if file.quantized.is_some() { 1e-3 } else { 1e-5 };
    json!({"name": name, "onnx": path, "inputs": inputs, "expected": expected, "tolerance": tolerance})
}

#[test]
fn onnxruntime_gives_the_scores_of_the_host() {
    if let Some(missing) = missing() {
        // Whoever must test everything, as .ci/run must, says so.
        assert!(std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(), "{missing}");
        eprintln!("not checked: {missing}");
        return;
    }
    let folder = tempfile::tempdir().expect("a temporary folder");
    let table = table();
    let inputs = u32::try_from(table.width()).expect("a width");
    let mut cases = Vec::new();
    let mut add = |preparation: &Preparation, model: &ModelSpec, name: &str| {
        assert!(model.check().is_ok());
        let float = NetFile { model: model.clone(), parameters: net(model), quantized: None };
        cases.push(case(preparation, &float, name, folder.path()));
        for bits in [8, 4] {
            cases.push(case(preparation, &rounded(model, bits), &format!("{name}-int{bits}"), folder.path()));
        }
    };
    for activation in Activation::ALL {
        for batch_norm in [false, true] {
            let model = ModelSpec::Mlp { inputs, hidden: vec![12, 6], outputs: 1, activation: *activation, batch_norm };
            add(&table, &model, &format!("perceptron-{activation}-{batch_norm}"));
        }
    }
    let residual = ModelSpec::ResidualMlp { inputs, width: 9, blocks: 2, outputs: 1, activation: Activation::Gelu };
    add(&table, &residual, "residual-perceptron");
    add(&table, &ModelSpec::mlp(inputs, vec![]), "linear");
    let by_quantiles = scaled_table(Some(Scaling::Quantile));
    assert!(
        by_quantiles
            .columns
            .iter()
            .any(|column| { matches!(&column.encoding, Encoding::Numeric(numeric) if numeric.quantiles.len() > 1) })
    );
    add(&by_quantiles, &ModelSpec::mlp(u32::try_from(by_quantiles.width()).expect("a width"), vec![5]), "quantiles");
    let (binary, digits) = (images([1, 17, 16], 2), images([1, 17, 16], 10));
    add(&digits, &ModelSpec::Lenet5 { image: [1, 17, 16], outputs: 10 }, "lenet5");
    add(&binary, &ModelSpec::ResidualCnn { image: [1, 17, 16], channels: vec![4, 6], blocks: 2, outputs: 1 }, "resnet");
    let of_pixels =
        ModelSpec::Mlp { inputs: 272, hidden: vec![8], outputs: 10, activation: Activation::Relu, batch_norm: true };
    add(&digits, &of_pixels, "perceptron-of-pixels");
    let path = folder.path().join("cases.json");
    fs::write(&path, json!(cases).to_string()).expect("written");
    let checked = Command::new("python3").arg(SCRIPT).arg(&path).output().expect("python3 runs");
    let said = format!("{}{}", String::from_utf8_lossy(&checked.stdout), String::from_utf8_lossy(&checked.stderr));
    assert!(checked.status.success(), "{said}");
    assert!(said.contains(&format!("{} files are right", cases.len())), "{said}");
}

/// The rows that the scores are compared on have every kind of cell.
#[test]
fn the_table_of_these_tests_has_every_kind_of_column() {
    let table = table();
    let of = |name: &str| {
        &table.columns.iter().find(|column| column.name == name).unwrap_or_else(|| panic!("{name}")).encoding
    };
    assert!(matches!(of("amount"), Encoding::Numeric(numeric) if numeric.signed_log1p));
    assert!(matches!(of("age"), Encoding::Numeric(numeric) if numeric.missing_flag));
    assert!(matches!(of("income"), Encoding::Numeric(numeric) if numeric.codes == ["-9", "-8"]));
    assert!(matches!(of("reason"), Encoding::Numeric(numeric) if numeric.codes.len() == 2 && numeric.missing_flag));
    assert!(matches!(of("purpose"), Encoding::Categorical(categorical) if categorical.missing));
    assert!(matches!(of("state"), Encoding::Categorical(categorical) if categorical.pooled > 0));
    assert!(matches!(of("opened"), Encoding::Numeric(_)) && matches!(of("share"), Encoding::Numeric(_)));
    assert!(matches!(of("same"), Encoding::Constant { .. }));
}

/// A net without its preparation is read back from its file of ONNX, number by number: whatever its architecture.
#[test]
fn a_net_is_read_back_from_its_file() {
    let mut models = vec![
        ModelSpec::mlp(7, vec![]),
        ModelSpec::ResidualMlp { inputs: 7, width: 9, blocks: 2, outputs: 1, activation: Activation::Gelu },
        ModelSpec::Lenet5 { image: [1, 17, 16], outputs: 10 },
        ModelSpec::ResidualCnn { image: [1, 17, 16], channels: vec![4, 6], blocks: 2, outputs: 1 },
    ];
    for activation in Activation::ALL {
        for batch_norm in [false, true] {
            let hidden = vec![6, 5];
            models.push(ModelSpec::Mlp { inputs: 7, hidden, outputs: 3, activation: *activation, batch_norm });
        }
    }
    for model in models {
        let parameters = net(&model);
        let file = NetFile { model: model.clone(), parameters: parameters.clone(), quantized: None };
        let mut graph = Graph::default();
        let shape: Vec<i64> = match model.image() {
            None => vec![model.inputs().try_into().expect("small")],
            Some(image) => image.map(i64::from).to_vec(),
        };
        let input = graph.input("input", Element::Float, &shape, String::new());
        let logits = net::logits(&mut graph, &file, input);
        graph.output(&logits, "logits", &[model.outputs().into()], String::new());
        let proto =
            ModelProto { ir_version: Some(IR_VERSION), graph: Some(graph.finish("net")), ..ModelProto::default() };
        let wanted = Wanted { model: &model, classes: &[], path: "net.onnx", key: None, rename: &[] };
        let read = Checkpoint::from_bytes(proto.encode_to_vec()).expect("a graph").fit(&wanted);
        let read = read.unwrap_or_else(|error| panic!("{model:?}: {error}"));
        for (spec, expected) in model.tensors().iter().zip(&parameters.tensors) {
            assert_eq!(&read.tensors[&spec.name], &(spec.shape.clone(), expected.clone()), "{model:?}: {}", spec.name);
        }
    }
}
