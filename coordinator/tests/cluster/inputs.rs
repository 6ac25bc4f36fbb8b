//! What people get wrong: each mistake ends with exit code 2 and a message that names the place and the reason, as text and as
//! JSON, and leaves everything as it was. The words are in `snapshots/`.

use std::{collections::BTreeSet, fs};

use crate::common::{Lab, SWEEP, Server, files, table};
use insta::assert_snapshot;

/// One mistake: what to do to a good sweep.
struct Case {
    name: &'static str,
    spoil: fn(&Lab),
}

const fn case(name: &'static str, spoil: fn(&Lab)) -> Case {
    Case { name, spoil }
}

fn sweep(lab: &Lab, from: &str, to: &str) {
    assert!(SWEEP.contains(from), "the sweep has no {from:?}");
    lab.write("sweep.yaml", SWEEP.replacen(from, to, 1));
}

/// The sparsities of the sweep, replaced.
fn sparsity(lab: &Lab, value: &str) {
    sweep(lab, "sparsity: [0.5, 0.8]", &format!("sparsity: [0.5, {value}]"));
}

/// The good table with the target of row `number` replaced by what `target` makes of the number and the old one.
fn targets(lab: &Lab, target: fn(usize, &str) -> String) {
    let table = table(100);
    let rows = table.lines().enumerate().map(|(number, line)| match line.rsplit_once(',') {
        Some((inputs, old)) if number > 0 => format!("{inputs},{}\n", target(number, old)),
        _ => format!("{line}\n"),
    });
    lab.write("table.csv", rows.collect::<String>());
}

fn numbers(last: u32) -> String {
    (1..=last).map(|number| number.to_string()).collect::<Vec<_>>().join(", ")
}

fn remove(lab: &Lab, name: &str) {
    fs::remove_file(lab.path(name)).expect("removes a file of the test");
}

const SWEEP_FILES: &[Case] = &[
    case("no file", |lab| remove(lab, "sweep.yaml")),
    case("an empty file", |lab| lab.write("sweep.yaml", "")),
    case("a tab", |lab| sweep(lab, "  target", "\ttarget")),
    case("an unknown key", |lab| sweep(lab, "  sparsity:", "  sparcity:")),
    case("sparsity 1", |lab| sparsity(lab, "1.0")),
    case("sparsity below 0", |lab| sparsity(lab, "-0.1")),
    case("sparsity NaN", |lab| sparsity(lab, ".nan")),
    case("sparsity as a word", |lab| sparsity(lab, "high")),
    case("a duplicate key", |lab| lab.write("sweep.yaml", format!("{SWEEP}seeds: 3\n"))),
    case("ten million cells", |lab| {
        let [epochs, sizes] = [numbers(250), numbers(200)];
        let sweep = SWEEP.replace("batch_size: 32, epochs: 4", &format!("batch_size: [{sizes}], epochs: [{epochs}]"));
        let sweep = sweep.replace("strategy: [magnitude, taylor]", "strategy: magnitude");
        let sweep =
            sweep.replace("sparsity: [0.5, 0.8]", "sparsity: 0.5").replace("strength: [0, 1.0e-3]", "strength: 0");
        lab.write("sweep.yaml", sweep.replace("retrain: {epochs: 2}", &format!("retrain: {{epochs: [{sizes}]}}")));
    }),
    case("not UTF-8", |lab| lab.write("sweep.yaml", b"version: 1\nname: \xff\xfe\n")),
    case("a folder", |lab| {
        remove(lab, "sweep.yaml");
        fs::create_dir(lab.path("sweep.yaml")).expect("makes a folder");
    }),
    case("two megabytes", |lab| lab.write("sweep.yaml", format!("{SWEEP}# {}\n", "x".repeat(2 << 20)))),
];

const TABLES: &[Case] = &[
    case("no table", |lab| remove(lab, "table.csv")),
    case("a folder as table", |lab| {
        remove(lab, "table.csv");
        fs::create_dir(lab.path("table.csv")).expect("makes a folder");
    }),
    case("no target", |lab| sweep(lab, "target: y", "target: z")),
    case("one class", |lab| targets(lab, |_, _| "1".to_owned())),
    case("three classes", |lab| targets(lab, |number, _| (number % 3).to_string())),
    case("a part without both classes", |lab| {
        lab.write(
            "table.csv",
            (1..=90).fold("a,part,y\n".to_owned(), |text, number| {
                let part = ["train", "validation", "test"][number % 3];
                text + &format!("{number},{part},{}\n", u8::from(number % 2 == 0 && part != "test"))
            }),
        );
        sweep(
            lab,
            "{kind: stratified, train: 0.6, validation: 0.2, test: 0.2, seed: 42}",
            "{kind: column, column: part}",
        );
    }),
    case("a column without a value", |lab| {
        let table = table(100);
        let rows =
            table.lines().map(|line| line.split_once(',').map_or(String::new(), |(_, rest)| format!(",{rest}\n")));
        lab.write("table.csv", rows.collect::<String>().replacen(",b", "a,b", 1));
    }),
    case("a ragged table", |lab| lab.write("table.csv", table(100) + "0.1,0.2,0.3,north\n")),
    case("a truncated archive", |lab| {
        let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/data/sba_loans.csv.gz");
        let bytes = fs::read(archive).expect("the archive of the main job is there");
        lab.write("table.csv.gz", &bytes[..bytes.len() / 2]);
        sweep(lab, "path: table.csv", "path: table.csv.gz");
    }),
    case("a table without rows", |lab| lab.write("table.csv", "a,b,c,place,y\n")),
    case("an empty table", |lab| lab.write("table.csv", "")),
];

/// Runs the command on a sweep spoilt in each of these ways, and asserts that each is refused with the same message in both forms. What
/// is said of each; all that is wrong is told at once.
fn check<'a>(cases: impl IntoIterator<Item = &'a Case>, command: &[&str]) -> String {
    let (mut wrong, mut said) = (vec![], String::new());
    for Case { name, spoil } in cases {
        let lab = Lab::new(SWEEP, 100);
        spoil(&lab);
        let before = lab.files();
        let text = lab.run(command);
        let json = lab.run(&[command, &["--output", "json"]].concat());
        let error = &json.json()["error"];
        let message = error["message"].as_str().unwrap_or_default();
        if text.code != Some(2) || !text.stdout.is_empty() {
            wrong.push(format!("{name}: exit code {:?} and {}{}", text.code, text.stdout, text.stderr));
        }
        if json.code != Some(2) || error["exit_code"] != 2 || message.is_empty() || !text.stderr.contains(message) {
            wrong.push(format!("{name}: exit code {:?}, {} and {}", json.code, json.stdout, text.stderr));
        }
        if lab.files() != before {
            wrong.push(format!("{name}: something was left behind"));
        }
        said += &format!("{name}\n    {}\n", message.replace('\n', "\n    "));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    said
}

#[test]
fn a_wrong_sweep_file_is_refused_and_leaves_nothing_behind() {
    let said = check(SWEEP_FILES, &["run", "sweep.yaml", "--out", "out"]);
    assert_snapshot!(said);
}

#[test]
fn a_wrong_table_is_refused_and_leaves_nothing_behind() {
    let said = check(TABLES, &["run", "sweep.yaml"]);
    assert_snapshot!(said);
}

#[test]
fn a_plan_is_refused_as_a_run_is() {
    check(SWEEP_FILES.iter().chain(TABLES).step_by(3), &["plan", "sweep.yaml"]);
}

#[test]
fn every_problem_of_a_sweep_file_is_reported_with_its_place() {
    let lab = Lab::new(&SWEEP.replace("batch_size: 32", "batch_size: 0").replace("[0.5, 0.8]", "[0.5, 2]"), 100);
    let ended = lab.run(&["plan", "sweep.yaml", "--output", "json"]).expect(2);
    let error = &ended.json()["error"];
    let problems: Vec<_> =
        error["diagnostics"].as_array().into_iter().flatten().map(|problem| &problem["path"]).collect();
    assert_eq!(problems, ["training.batch_size", "pruning.sparsity[1]"]);
    assert_eq!(error["diagnostics"][1]["line"], 12);
    assert_eq!(error["diagnostics"][1]["column"], 19);
}

/// Where files can be closed to oneself: root may read everything, so the test says that it has nothing to show then.
#[test]
#[cfg(unix)]
fn a_table_that_may_not_be_read_is_refused() {
    use std::os::unix::fs::PermissionsExt as _;
    let lab = Lab::new(SWEEP, 100);
    fs::set_permissions(lab.path("table.csv"), fs::Permissions::from_mode(0o0)).expect("closes the table");
    if fs::read(lab.path("table.csv")).is_ok() {
        eprintln!("this user may read everything: nothing to test");
        return;
    }
    let ended = lab.run(&["run", "sweep.yaml", "--out", "out"]).expect(2);
    assert!(ended.stderr.contains("table.csv"), "{}", ended.stderr);
    assert!(!lab.path("out").exists());
}

#[test]
fn what_a_coordinator_would_refuse_is_refused_at_submission() {
    let lab = Lab::new(SWEEP, 100);
    let server = Server::start(&lab);
    let data = files(&lab.path("data/artifacts"));
    let wanted = ["an unknown key", "one class", "no table"];
    let cases: Vec<&Case> = SWEEP_FILES.iter().chain(TABLES).filter(|case| wanted.contains(&case.name)).collect();
    assert_eq!(cases.len(), wanted.len());
    check(cases, &["submit", "sweep.yaml", "--coordinator", &server.address, "--wait", "--out", "out"]);
    assert_eq!(files(&lab.path("data/artifacts")), data, "the coordinator keeps nothing of what was refused");
    let listed = lab.run(&["ls", "--coordinator", &server.address, "--output", "json"]).expect(0);
    assert_eq!(listed.json(), serde_json::json!([]));
}

#[test]
fn a_coordinator_that_is_not_there_is_exit_code_3() {
    let lab = Lab::new(SWEEP, 100);
    // Nobody listens there.
    let nowhere = "127.0.0.1:1";
    let before = lab.files();
    let mut said = BTreeSet::new();
    for command in [&["submit", "sweep.yaml", "--wait", "--out", "out"][..], &["ls"], &["show", "abc"], &["workers"]] {
        let ended = lab.run(&[command, &["--coordinator", nowhere, "--output", "json"]].concat()).expect(3);
        said.insert(ended.json()["error"]["message"].as_str().expect("a message").to_owned());
    }
    assert_snapshot!(said.into_iter().collect::<String>());
    assert_eq!(lab.files(), before);
}

#[test]
fn nonsense_on_the_command_line_is_exit_code_2() {
    let lab = Lab::new(SWEEP, 100);
    let before = lab.files();
    let mut said = String::new();
    for command in [
        &["run"][..],
        &["run", "sweep.yaml", "--workers", "0"],
        &["run", "sweep.yaml", "--lanes=-1"],
        &["run", "sweep.yaml", "--device", "toaster"],
        &["run", "sweep.yaml", "--device", "cpu=1025"],
        &["run", "sweep.yaml", "--device", "cpu,cpu=2"],
        // It has no end.
        &["plan", "/dev/zero"],
        // Asked of a folder that is not there, and would be made of it.
        &["token", "list", "--data-dir", "nowhere"],
        &["submit", "sweep.yaml", "--out", "out"],
        &["serve", "--listen", "nowhere"],
        &["serve", "--listen", "0.0.0.0:0"],
        &["ls", "--coordinator", "not an address"],
    ] {
        let ended = lab.run(command).expect(2);
        // The folder of the test has another name each time.
        let stderr = ended.stderr.replace(&lab.path("").display().to_string(), "");
        said += &format!("$ secateur {}\n{stderr}\n", command.join(" "));
    }
    assert_snapshot!(said);
    // Not in this build, or not in this machine.
    for (command, device) in [
        (&["run", "sweep.yaml", "--device", "cpu,libtorch:cuda:65535"][..], "libtorch:cuda:65535"),
        (&["worker", "--device", "wgpu:65535"], "wgpu:65535"),
    ] {
        let ended = lab.run(command).expect(2);
        assert!(ended.stderr.contains(device), "{command:?}: {}", ended.stderr);
    }
    assert_eq!(lab.files(), before);
}
