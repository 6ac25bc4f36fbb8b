//! What people get wrong: each mistake ends with exit code 2 and a message that names the place and the reason, as text and as
//! JSON, and leaves everything as it was.

use std::fs;

use crate::common::{Lab, SWEEP, Server, files, table};

/// One mistake: what to do to a good sweep, and the words that the message must have.
struct Case {
    name: &'static str,
    spoil: fn(&Lab),
    words: &'static [&'static str],
}

const fn case(name: &'static str, spoil: fn(&Lab), words: &'static [&'static str]) -> Case {
    Case { name, spoil, words }
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
    case("no file", |lab| remove(lab, "sweep.yaml"), &["sweep.yaml", "No such file"]),
    case("an empty file", |lab| lab.write("sweep.yaml", ""), &["sweep.yaml:1:1", "the file is empty"]),
    case("a tab", |lab| sweep(lab, "  target", "\ttarget"), &["sweep.yaml:5:1", "tab", "allowed only spaces"]),
    case(
        "an unknown key",
        |lab| sweep(lab, "  sparsity:", "  sparcity:"),
        &["sweep.yaml:12:3", "pruning.sparcity", "unknown key", "did you mean \"sparsity\"?"],
    ),
    case(
        "sparsity 1",
        |lab| sparsity(lab, "1.0"),
        &["sweep.yaml:12:19", "pruning.sparsity[1]", "found 1", "below|not including 1"],
    ),
    case(
        "sparsity below 0",
        |lab| sparsity(lab, "-0.1"),
        &["sweep.yaml:12:19", "pruning.sparsity[1]", "found -0.1", "from 0"],
    ),
    case("sparsity NaN", |lab| sparsity(lab, ".nan"), &["sweep.yaml:12:19", "pruning.sparsity[1]", "NaN", "from 0"]),
    case(
        "sparsity as a word",
        |lab| sparsity(lab, "high"),
        &["sweep.yaml:12:19", "pruning.sparsity[1]", "\"high\"", "a number"],
    ),
    case(
        "a duplicate key",
        |lab| lab.write("sweep.yaml", format!("{SWEEP}seeds: 3\n")),
        &["sweep.yaml:18:1", "seeds", "a second time", "15:1"],
    ),
    case(
        "ten million cells",
        |lab| {
            let [epochs, sizes] = [numbers(250), numbers(200)];
            let sweep =
                SWEEP.replace("batch_size: 32, epochs: 4", &format!("batch_size: [{sizes}], epochs: [{epochs}]"));
            let sweep = sweep.replace("strategy: [magnitude, taylor]", "strategy: magnitude");
            let sweep =
                sweep.replace("sparsity: [0.5, 0.8]", "sparsity: 0.5").replace("strength: [0, 1.0e-3]", "strength: 0");
            lab.write("sweep.yaml", sweep.replace("retrain: {epochs: 2}", &format!("retrain: {{epochs: [{sizes}]}}")));
        },
        &["sweep.yaml:1:1", "10000000 cells", "at most", "shorten an axis"],
    ),
    case("not UTF-8", |lab| lab.write("sweep.yaml", b"version: 1\nname: \xff\xfe\n"), &["sweep.yaml", "UTF-8"]),
    case(
        "a folder",
        |lab| {
            remove(lab, "sweep.yaml");
            fs::create_dir(lab.path("sweep.yaml")).expect("makes a folder");
        },
        &["sweep.yaml", "directory"],
    ),
    case(
        "two megabytes",
        |lab| lab.write("sweep.yaml", format!("{SWEEP}# {}\n", "x".repeat(2 << 20))),
        &["sweep.yaml", "2097", "at most 1048576"],
    ),
];

const TABLES: &[Case] = &[
    case("no table", |lab| remove(lab, "table.csv"), &["table.csv", "No such file"]),
    case(
        "a folder as table",
        |lab| {
            remove(lab, "table.csv");
            fs::create_dir(lab.path("table.csv")).expect("makes a folder");
        },
        &["table.csv", "directory"],
    ),
    case("no target", |lab| sweep(lab, "target: y", "target: z"), &["table.csv", "\"z\""]),
    case(
        "one class",
        |lab| targets(lab, |_, _| "1".to_owned()),
        &["table.csv", "the target \"y\"", "is \"1\" in all 100 rows"],
    ),
    case(
        "three classes",
        |lab| targets(lab, |number, _| (number % 3).to_string()),
        &["table.csv", "the target \"y\"", "3|three", "binary|two|2"],
    ),
    case(
        "a part without both classes",
        |lab| {
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
        },
        &["table.csv", "both classes", "test has 30 rows of which 0 are positive"],
    ),
    case(
        "a column without a value",
        |lab| {
            let table = table(100);
            let rows =
                table.lines().map(|line| line.split_once(',').map_or(String::new(), |(_, rest)| format!(",{rest}\n")));
            lab.write("table.csv", rows.collect::<String>().replacen(",b", "a,b", 1));
        },
        &["table.csv", "\"a\"", "no value in any row"],
    ),
    case(
        "a ragged table",
        |lab| lab.write("table.csv", table(100) + "0.1,0.2,0.3,north\n"),
        &["table.csv", "line 102", "4 fields", "header has 5"],
    ),
    case(
        "a truncated archive",
        |lab| {
            let archive = concat!(env!("CARGO_MANIFEST_DIR"), "/../configs/data/sba_loans.csv.gz");
            let bytes = fs::read(archive).expect("the archive of the main job is there");
            lab.write("table.csv.gz", &bytes[..bytes.len() / 2]);
            sweep(lab, "path: table.csv", "path: table.csv.gz");
        },
        &["table.csv.gz", "decompressed"],
    ),
    case("a table without rows", |lab| lab.write("table.csv", "a,b,c,place,y\n"), &["table.csv", "no rows"]),
    case("an empty table", |lab| lab.write("table.csv", ""), &["table.csv", "empty"]),
];

/// Of words separated by `|` one is enough.
fn says(message: &str, words: &[&str]) -> bool {
    words.iter().all(|words| words.split('|').any(|word| message.contains(word)))
}

/// Runs the command on a sweep spoilt in each of these ways, and asserts that each is refused. All that is wrong is told at once.
fn check<'a>(cases: impl IntoIterator<Item = &'a Case>, command: &[&str]) {
    let mut wrong = vec![];
    for case in cases {
        let Case { name, spoil, words } = case;
        let lab = Lab::new(SWEEP, 100);
        spoil(&lab);
        let before = lab.files();
        let text = lab.run(command);
        if text.code != Some(2) || !text.stdout.is_empty() || !says(&text.stderr, words) {
            wrong.push(format!("{name}: exit code {:?}, not all of {words:?} in: {}", text.code, text.stderr));
        }
        let json = lab.run(&[command, &["--output", "json"]].concat());
        let error = &json.json()["error"];
        let message = error["message"].as_str().unwrap_or_default();
        if json.code != Some(2) || error["exit_code"] != 2 || !says(message, words) || !text.stderr.contains(message) {
            wrong.push(format!("{name}: exit code {:?} and {}", json.code, json.stdout));
        }
        if lab.files() != before {
            wrong.push(format!("{name}: something was left behind"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn a_wrong_sweep_file_is_refused_and_leaves_nothing_behind() {
    check(SWEEP_FILES, &["run", "sweep.yaml", "--out", "out"]);
}

#[test]
fn a_wrong_table_is_refused_and_leaves_nothing_behind() {
    check(TABLES, &["run", "sweep.yaml"]);
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
    assert!(says(&ended.stderr, &["table.csv", "ermission denied"]), "{}", ended.stderr);
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
    for command in [&["submit", "sweep.yaml", "--wait", "--out", "out"][..], &["ls"], &["show", "abc"], &["workers"]] {
        let ended = lab.run(&[command, &["--coordinator", nowhere, "--output", "json"]].concat()).expect(3);
        let message = ended.json()["error"]["message"].to_string();
        assert!(says(&message, &[nowhere, "no coordinator", "secateur serve"]), "{command:?}: {message}");
    }
    assert_eq!(lab.files(), before);
}

#[test]
fn nonsense_on_the_command_line_is_exit_code_2() {
    let lab = Lab::new(SWEEP, 100);
    let before = lab.files();
    for (command, words) in [
        (&["run"][..], &["<SWEEP>"][..]),
        (&["run", "sweep.yaml", "--workers", "0"], &["--workers", "1..=1024"]),
        (&["run", "sweep.yaml", "--lanes=-1"], &["--lanes"]),
        (&["run", "sweep.yaml", "--device", "toaster"], &["--device", "toaster", "cpu", "wgpu:N", "did you mean"]),
        (&["run", "sweep.yaml", "--device", "cpu=1025"], &["--device", "1025", "1 to 1024"]),
        (&["run", "sweep.yaml", "--device", "cpu,cpu=2"], &["--device", "cpu twice"]),
        // It has no end.
        (&["plan", "/dev/zero"], &["/dev/zero has more bytes", "at most 1048576"]),
        // Asked of a folder that is not there, and would be made of it.
        (&["token", "list", "--data-dir", "nowhere"], &["there is no folder nowhere"]),
        // Not in this build, or not in this machine.
        (&["run", "sweep.yaml", "--device", "cpu,libtorch:cuda:65535"], &["libtorch:cuda:65535", "libtorch"]),
        (&["worker", "--device", "wgpu:65535"], &["wgpu:65535"]),
        (&["submit", "sweep.yaml", "--out", "out"], &["--wait"]),
        (&["serve", "--listen", "nowhere"], &["--listen"]),
        (&["serve", "--listen", "0.0.0.0:0"], &["--insecure"]),
        (&["ls", "--coordinator", "not an address"], &["not an address", "127.0.0.1:7400"]),
    ] {
        let ended = lab.run(command).expect(2);
        assert!(says(&ended.stderr, words), "{command:?}: {}", ended.stderr);
    }
    assert_eq!(lab.files(), before);
}
