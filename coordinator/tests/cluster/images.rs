//! A folder of idx files from the command line on: packed, planned, run and reported, or refused with the place and the file.

use std::fs;

use crate::common::{Lab, SWEEP};

/// The sweep of the other tests over the folder `digits`, with further lines of `data`.
fn sweep(lines: &str) -> String {
    let table = "  path: table.csv
  target: y
  task: binary
  split: {kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}
";
    assert!(SWEEP.contains(table));
    let data = format!("  path: digits\n  split: {{kind: files, validation: 0.25, seed: 42}}\n{lines}");
    SWEEP.replace(table, &data).replace("objectives: [{maximize: auc}, {minimize: nonzero_parameters}]\n", "")
}

fn idx(shape: &[u32], values: Vec<u8>) -> Vec<u8> {
    let sizes = shape.iter().flat_map(|size| size.to_be_bytes());
    [0, 0, 8, shape.len() as u8].into_iter().chain(sizes).chain(values).collect()
}

/// A folder of 80 train and 40 test images of 4 × 4 pixels, of which one row of pixels, that of the class, is bright.
fn lab(sweep: &str, classes: u8) -> Lab {
    let lab = Lab::new(sweep, 100);
    fs::create_dir(lab.path("digits")).expect("makes a folder");
    for (part, rows) in [("train", 80_u32), ("t10k", 40)] {
        let label = |row: u32| (row as u8) % classes;
        let pixel = move |row: u32, index: u32| {
            let noise = (row * 7 + index * 13) as u8 % 90;
            if index / 4 == u32::from(label(row)) { 160 + noise } else { noise }
        };
        let pixels = (0..rows).flat_map(|row| (0..16).map(move |index| pixel(row, index))).collect();
        lab.write(&format!("digits/{part}-images-idx3-ubyte"), idx(&[rows, 4, 4], pixels));
        lab.write(&format!("digits/{part}-labels-idx1-ubyte"), idx(&[rows], (0..rows).map(label).collect()));
    }
    lab
}

#[test]
fn images_of_two_classes_run_to_a_report() {
    let lab = lab(&sweep("  task: binary\n  rows: 50\n"), 2);
    lab.run(&["run", "sweep.yaml", "--workers", "1", "--out", "out"]).expect(0);
    let report: serde_json::Value =
        serde_json::from_slice(&fs::read(lab.path("out/report.json")).expect("a report")).expect("json");
    let data = &report["data"];
    assert_eq!(data["rows"], serde_json::json!([50, 20, 40]));
    assert_eq!(data["classes"][1], serde_json::json!({"name": "1", "rows": [25, 10, 20]}));
    assert_eq!((&data["image"], &data["inputs"]), (&serde_json::json!([1, 4, 4]), &serde_json::json!(16)));
    let outcomes = report["totals"]["outcomes"].as_object().expect("counts");
    assert_eq!(outcomes.keys().collect::<Vec<_>>(), ["completed"]);
    let dense = report["cells"].as_array().into_iter().flatten().find(|cell| cell["control_kind"] == "dense");
    let auc = &dense.expect("a control")["metrics"]["auc"]["test"]["mean"];
    assert!(auc.as_f64().is_some_and(|auc| auc > 0.9), "the rows of pixels tell the classes apart: {auc}");
    let preparation = fs::read_to_string(lab.path("out/models/preparation.json")).expect("for serving");
    assert!(preparation.contains("\"sd\""), "{preparation}");
}

#[test]
fn images_of_several_classes_are_planned() {
    let lab = lab(&sweep(""), 4);
    let plan = lab.run(&["plan", "sweep.yaml", "--output", "json"]).expect(0).json();
    let names: Vec<_> =
        plan["sweep"]["data"]["classes"].as_array().into_iter().flatten().map(|class| &class["name"]).collect();
    assert_eq!(names, ["0", "1", "2", "3"]);
    assert_eq!(plan["sweep"]["objectives"][0]["metric"], "error");
    let text = lab.run(&["plan", "sweep.yaml"]).expect(0).stdout;
    assert!(text.contains("60 train, 20 validation, 40 test rows of 4 classes; 16 inputs"), "{text}");
    // Another compression of the same data is the same sweep.
    let gzip = std::process::Command::new("gzip").arg(lab.path("digits/train-images-idx3-ubyte")).status();
    if gzip.is_ok_and(|status| status.success()) {
        let zipped = lab.run(&["plan", "sweep.yaml", "--output", "json"]).expect(0).json();
        assert_eq!(zipped["sweep"]["id"], plan["sweep"]["id"]);
    }
}

#[test]
fn what_is_wrong_with_images_is_told_at_its_place() {
    let remove = |lab: &Lab, name: &str| fs::remove_file(lab.path(name)).expect("removes a file of the test");
    let mut said = String::new();
    let mut spoilt = |mistake: &str, lines: &str, spoil: &dyn Fn(&Lab)| {
        let lab = lab(&sweep(lines), 3);
        spoil(&lab);
        let before = lab.files();
        let ended = lab.run(&["run", "sweep.yaml", "--out", "out", "--output", "json"]).expect(2);
        assert_eq!(lab.files(), before, "something was left behind");
        let message = ended.json()["error"]["message"].as_str().expect("a message").replace('\n', "\n    ");
        said += &format!("{mistake}\n    {message}\n");
    };
    let nothing: &dyn Fn(&Lab) = &|_| {};
    spoilt("no folder", "", &|lab| fs::remove_dir_all(lab.path("digits")).expect("removes the folder"));
    spoilt("a file less", "", &|lab| remove(lab, "digits/t10k-labels-idx1-ubyte"));
    spoilt("a file twice", "", &|lab| lab.write("digits/train-images.idx3-ubyte.gz", ""));
    spoilt("a label less", "", &|lab| lab.write("digits/train-labels-idx1-ubyte", idx(&[80], vec![0; 79])));
    spoilt("three classes in place of two", "  task: binary\n", nothing);
    spoilt("two rows of three classes", "  rows: 2\n", nothing);
    spoilt("no row for validation", "", &|lab| lab.write("sweep.yaml", sweep("").replace("0.25", "0.01")));
    let of_tables =
        |text: &str| text.replace("{kind: files, validation: 0.25, seed: 42}", "{kind: column, column: part}");
    spoilt("a split of tables", "", &|lab| lab.write("sweep.yaml", of_tables(&sweep(""))));
    insta::assert_snapshot!(said);
}
