//! The test vector of MODELS.md: files that stay as they are, by the program and by a script that follows the specification.

use std::{fs, path::Path, process::Command};

use rand::RngExt as _;
use secateur_proto::spec::{
    Activation, Calibration, ColumnKind, ColumnReading, DataSettings, ModelSpec, QuantizationSpec, Reading, Scaling,
    SplitSpec, TableFormat, Task, TensorKind,
};

use super::*;
use crate::{
    data::{UnusualKind, prepare, resolve, sample},
    net::{Parameters, checkpoint, fold::fold_norms},
    quantize::{Levels, QuantizedNet},
    random,
};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vector");

/// The preparation of a table with columns of every kind.
pub(crate) fn table() -> Preparation {
    scaled_table(None)
}

/// The same with that scaling.
pub(crate) fn scaled_table(scaling: Option<Scaling>) -> Preparation {
    let mut text = "y,amount,age,income,reason,purpose,state,opened,share,same\n".to_owned();
    let mut random = random::generator("test table", &[]);
    for row in 0..400 {
        let amount = (random.random::<f64>() * 9.0).exp();
        let age = if row % 7 == 0 { String::new() } else { (18 + row % 60).to_string() };
        let income = ["-9", "-8", "1500.5", "2500", "800"][random.random_range(0..5)];
        let reason = ["refused", "unknown", "3", "4.5", ""][random.random_range(0..5)];
        let purpose = ["car", "house", "NA", "\"boat, \"\"big\"\"\"", ""][random.random_range(0..5)];
        let state = format!("S{}", if row % 50 == 0 { row } else { row % 6 });
        let opened = format!("{:02}/{:02}/20{:02}", 1 + row % 28, 1 + row % 12, row % 20);
        let share = format!("\"{},5 %\"", row % 90);
        text += &format!("{},{amount},{age},{income},{reason},{purpose},{state},{opened},{share},x\n", row % 2);
    }
    let column = |kind, codes: &[&str]| ColumnReading {
        kind,
        codes: (!codes.is_empty()).then(|| codes.iter().map(|code| (*code).to_owned()).collect()),
        ..ColumnReading::default()
    };
    let split = SplitSpec::Stratified { train: 0.6, validation: 0.2, test: 0.2, seed: 1 };
    let mut settings = DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, split);
    settings.reading = Reading {
        columns: [
            ("income".to_owned(), column(None, &["-9", "-8", "-7"])),
            ("reason".to_owned(), column(None, &["refused", "unknown"])),
            ("opened".to_owned(), column(Some(ColumnKind::Date("%d/%m/%Y".to_owned())), &[])),
        ]
        .into(),
        ..Reading::default()
    };
    settings.reading.scaling = scaling;
    let resolved = resolve(&settings, text.as_bytes()).expect("a good table");
    prepare(&resolved.settings, text.as_bytes()).expect("a good table").preparation
}

/// A net whose numbers are all at work, of which half of the weights are zero.
pub(crate) fn net(model: &ModelSpec) -> Parameters {
    let mut net = Parameters::initial(model, 5);
    let mut random = random::generator("test net", &[]);
    for (tensor, values) in model.tensors().iter().zip(&mut net.tensors) {
        for value in values {
            match tensor.kind {
                TensorKind::Weight if random.random::<bool>() => *value = 0.0,
                TensorKind::Weight => {}
                _ => *value += random.random::<f32>() * 0.5,
            }
        }
    }
    net
}

/// The same, quantized.
pub(crate) fn rounded(model: &ModelSpec, weight_bits: u8) -> QuantizedNet {
    let spec = QuantizationSpec { weight_bits, calibration: Calibration::MinMax };
    let levels = Levels { scale: 0.03, zero_point: 90 };
    QuantizedNet::of(model, fold_norms(model, &net(model)), spec, vec![Some(levels); model.layers().len()])
}

/// The rows of a preparation and their probabilities.
fn vector(preparation: &Preparation, file: &NetFile) -> String {
    let scorer = Scorer::new(preparation, file, None).expect("they belong together");
    let mut writer = csv::Writer::from_writer(Vec::new());
    let names = preparation.columns.iter().map(|column| column.name.as_str());
    writer.write_record(names.chain(["probability"])).expect("written");
    for row in sample::rows(preparation) {
        let scored = scorer.score(|column| row.get(column).map(String::as_str), &mut Vec::new()).expect("a row");
        writer.write_record(row.iter().cloned().chain([scored[0].to_string()])).expect("written");
    }
    String::from_utf8(writer.into_inner().expect("written")).expect("text")
}

/// What the files of the vector are, made anew.
fn files() -> Vec<(&'static str, Vec<u8>)> {
    let preparation = table();
    let inputs = u32::try_from(preparation.width()).expect("a width");
    let model =
        ModelSpec::Mlp { inputs, hidden: vec![6, 4], outputs: 1, activation: Activation::Silu, batch_norm: true };
    let float = checkpoint::write_parameters(&model, &net(&model)).expect("written");
    let quantized = rounded(&model, 8).to_safetensors(&model).expect("written");
    let rows = |bytes: &[u8]| vector(&preparation, &NetFile::read(bytes).expect("a net")).into_bytes();
    let (of_float, of_quantized) = (rows(&float), rows(&quantized));
    vec![
        ("preparation.json", preparation.to_json().expect("written")),
        ("net.safetensors", float),
        ("net.rows.csv", of_float),
        ("net.quantized.safetensors", quantized),
        ("net.quantized.rows.csv", of_quantized),
    ]
}

#[test]
fn the_test_vector_holds() {
    for (name, bytes) in files() {
        let path = Path::new(FOLDER).join(name);
        if std::env::var_os("SECATEUR_UPDATE").is_some() {
            fs::write(&path, &bytes).expect("written");
        }
        assert!(
            fs::read(&path).expect("the vector is there") == bytes,
            "{name} is another file now; SECATEUR_UPDATE=1 writes it"
        );
    }
}

#[test]
fn a_script_that_follows_the_specification_gives_the_scores() {
    match Command::new("python3").args(["-c", "import numpy"]).output() {
        Ok(output) if output.status.success() => {}
        missing => {
            // Whoever must test everything, as .ci/run must, says so.
            assert!(std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(), "{missing:?}");
            return;
        }
    }
    for net in ["net", "net.quantized"] {
        let mut command = Command::new("python3");
        command.current_dir(FOLDER).args(["serve.py", "preparation.json"]);
        let served = command.args([format!("{net}.safetensors"), format!("{net}.rows.csv")]).output().expect("it runs");
        assert!(served.status.success(), "{}", String::from_utf8_lossy(&served.stderr));
        assert_eq!(String::from_utf8_lossy(&served.stdout).lines().count(), sample::ROWS);
    }
}

#[test]
fn what_no_train_row_is_like_is_named() {
    let preparation = table();
    let inputs = u32::try_from(preparation.width()).expect("a width");
    let model = ModelSpec::mlp(inputs, vec![4]);
    let file = NetFile { parameters: Parameters::initial(&model, 1), model, quantized: None };
    let scorer = Scorer::new(&preparation, &file, None).expect("they belong together");
    let usual = ["100", "30", "800", "3", "car", "S1", "05/06/2010", "12,5 %", "x"];
    let with = |column: usize, cell: &'static str| {
        let mut row = usual;
        row[column] = cell;
        let mut unusual = Vec::new();
        scorer
            .score(|column| row.get(column).copied(), &mut unusual)
            .map(|_| unusual.iter().map(|found| (found.column, found.kind, found.value)).collect::<Vec<_>>())
    };
    // A constant column is no input, and so is not looked at.
    for (column, cell) in usual.into_iter().enumerate() {
        assert_eq!(with(column, cell), Ok(vec![]));
    }
    for (column, cell, kind) in [
        (0, "1e9", UnusualKind::Above),
        (0, "-1", UnusualKind::Below),
        (0, "", UnusualKind::Missing),
        (2, "-7", UnusualKind::Code),
        (4, "plane", UnusualKind::Level),
        (5, "S9", UnusualKind::RareLevel),
        (5, "", UnusualKind::Missing),
        (6, "05/06/2031", UnusualKind::Above),
    ] {
        assert_eq!(with(column, cell), Ok(vec![(column, kind, cell)]), "{column} {cell}");
    }
    for (column, cell) in [(0, "many"), (3, "none"), (6, "2010-06-05"), (7, "12;5")] {
        assert!(with(column, cell).is_err(), "{column} {cell}");
    }
    // Known kinds of missing values are nothing unusual.
    for (column, cell) in [(1, ""), (2, "-9.0"), (3, "refused"), (4, "NA")] {
        assert_eq!(with(column, cell), Ok(vec![]), "{column} {cell}");
    }
}
