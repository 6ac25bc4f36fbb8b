//! `secateur diff`, of files, folders and sweeps of a coordinator.

use crate::common::{Ended, Lab, SWEEP, Server};
use serde_json::{Value, json};

const ROWS: u32 = 300;

fn diff(lab: &Lab, arguments: &[&str]) -> Value {
    lab.run(&[&["diff"], arguments, &["--output", "json"]].concat()).expect(0).json()
}

fn text(lab: &Lab, arguments: &[&str]) -> String {
    lab.run(&[&["diff"], arguments].concat()).expect(0).stdout
}

fn run(lab: &Lab, file: &str, folder: &str) {
    lab.run(&["run", file, "--lanes", "4", "--out", folder]).expect(0);
}

#[test]
fn files_are_compared_by_what_they_mean_and_what_they_would_compute() {
    let lab = Lab::new(SWEEP, ROWS);
    lab.write("same.yaml", format!("# The same.\n{}", SWEEP.replace("seeds: 2", "seeds: [0, 1]")));
    lab.write("grown.yaml", SWEEP.replace("seeds: 2", "seeds: 3").replace("[0.5, 0.8]", "[0.5, 0.8, 0.9]"));
    lab.write("other.yaml", SWEEP.replace("epochs: 4", "epochs: 5"));

    let same = diff(&lab, &["sweep.yaml", "same.yaml", "--exit-code"]);
    assert_eq!((&same["differ"], &same["settings"]), (&json!(false), &json!([])));

    let grown = diff(&lab, &["sweep.yaml", "grown.yaml"]);
    let paths: Vec<&str> =
        grown["settings"].as_array().expect("a list").iter().filter_map(|found| found["path"].as_str()).collect();
    assert_eq!(paths, ["pruning.sparsity", "seeds"]);
    assert_eq!(grown["extension"]["extends"], true);
    assert_eq!(grown["extension"]["new_trials"], grown["work"]["trials"]["only_after"]);
    assert_eq!(grown["work"]["stages"]["only_before"], 0);
    assert_eq!((&grown["results"], &grown["conclusions"]), (&Value::Null, &Value::Null));
    insta::assert_snapshot!(text(&lab, &["sweep.yaml", "grown.yaml"]));

    // As `git diff` does.
    lab.run(&["diff", "sweep.yaml", "grown.yaml", "--exit-code"]).expect(1);
    let other = diff(&lab, &["sweep.yaml", "other.yaml"]);
    assert_eq!((&other["extension"]["extends"], &other["work"]["cells"]["shared"]), (&json!(false), &json!(0)));
    let missing: Ended = lab.run(&["diff", "sweep.yaml", "missing.yaml", "--output", "json"]).expect(2);
    assert_eq!(missing.json()["error"]["kind"], "input");
}

#[test]
fn results_and_conclusions_of_folders_and_sweeps_are_compared() {
    let lab = Lab::new(SWEEP, ROWS);
    lab.write("grown.yaml", SWEEP.replace("seeds: 2", "seeds: 3").replace("[0.5, 0.8]", "[0.5, 0.8, 0.9]"));
    lab.write("longer.yaml", SWEEP.replace("epochs: 4", "epochs: 9"));
    for (file, folder) in
        [("sweep.yaml", "one"), ("sweep.yaml", "two"), ("grown.yaml", "grown"), ("longer.yaml", "longer")]
    {
        run(&lab, file, folder);
    }
    // The same work, computed twice, has the same results.
    let same = diff(&lab, &["one", "two", "--exit-code"]);
    assert_eq!((&same["differ"], &same["results"]["differing"]), (&json!(false), &json!([])));
    assert_eq!(same["results"]["compared"], same["work"]["cells"]["shared"]);
    // A file has no results; its work is that of the folder.
    let file = diff(&lab, &["one", "sweep.yaml", "--exit-code"]);
    assert_eq!((&file["differ"], &file["results"]), (&json!(false), &Value::Null));

    // Means over more seeds are other means; no trial has other values.
    let grown = diff(&lab, &["one", "grown"]);
    let causes = |document: &Value| -> Vec<String> {
        let differing = document["results"]["differing"].as_array().expect("a list");
        differing.iter().map(|found| found["cause"].as_str().expect("a cause").to_owned()).collect()
    };
    assert!(!causes(&grown).is_empty());
    assert!(causes(&grown).iter().all(|cause| cause == "other_seeds"), "{:?}", causes(&grown));
    let count = |document: &Value, fact: &str| document["conclusions"][fact]["front"].as_u64().expect("a number");
    let changes = |fact: &str| grown["conclusions"][fact].as_array().expect("a list").len() as u64;
    assert_eq!(
        count(&grown, "after") + changes("left_front"),
        count(&grown, "before") + changes("entered_front"),
        "{grown:#}"
    );

    // The same settings, computed in another way.
    let longer = diff(&lab, &["one", "longer"]);
    assert_eq!(longer["results"]["compared"], same["results"]["compared"]);
    assert!(causes(&longer).iter().all(|cause| cause == "other_work"), "{:?}", causes(&longer));
    let told = text(&lab, &["one", "longer"]);
    for said in ["training.epochs", "computed differently", "b does not extend a: ", "auc@test"] {
        assert!(told.contains(said), "{said}: {told}");
    }

    // A result that was changed by hand is found.
    let place = lab.path("two/report.json");
    let mut report: Value = serde_json::from_slice(&std::fs::read(&place).expect("a report")).expect("json");
    report["cells"][0]["metrics"]["auc"]["test"]["mean"] = json!(0.25);
    report["trials"][0]["metrics"]["auc"]["test"] = json!(0.25);
    std::fs::write(&place, report.to_string()).expect("writes");
    let changed = diff(&lab, &["one", "two"]);
    assert_eq!(causes(&changed), ["same_work"]);
    assert_eq!(changed["results"]["differing"][0]["means"]["auc@test"][1], 0.25);

    // A sweep of a coordinator that has computed nothing yet.
    let server = Server::start(&lab);
    let way = ["--coordinator", &server.address];
    let submitted = lab.run(&[&["submit", "sweep.yaml", "--output", "json"], &way[..]].concat()).expect(0).json();
    let id = submitted["sweep_id"].as_str().expect("an id");
    let sweep = diff(&lab, &[&["one", &id[..6]], &way[..]].concat());
    assert_eq!(
        (&sweep["differ"], &sweep["b"]["kind"], &sweep["results"]),
        (&json!(false), &json!("sweep"), &Value::Null)
    );
    let unknown = lab.run(&[&["diff", "one", "nobody", "--output", "json"], &way[..]].concat()).expect(2).json();
    assert_eq!(unknown["error"]["kind"], "not_found");
}
