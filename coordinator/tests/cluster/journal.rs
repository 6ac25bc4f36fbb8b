//! `secateur journal`: what it says of a journal, what it cuts, what it leaves out; and what a coordinator does with a damaged one.

use std::{collections::BTreeMap, path::PathBuf};

use crate::common::{Lab, SWEEP, Server, files, report};
use secateur_proto::ids::ContentHash;
use serde_json::Value;
use sqlx::{ConnectOptions as _, Connection as _, sqlite::SqliteConnectOptions};

const RUN: [&str; 8] = ["run", "sweep.yaml", "--out", "out", "--lanes", "4", "--output", "json"];

/// A folder with a run that is done.
fn done() -> (Lab, Value) {
    let lab = Lab::new(SWEEP, 200);
    let status = lab.run(&RUN).expect(0).json();
    (lab, status)
}

/// Does something to the journal that no secateur does.
fn harm(lab: &Lab, statement: &'static str) {
    let path = lab.path("out/.secateur/journal.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("opens");
        sqlx::query(statement).execute(&mut connection).await.expect("executes");
        connection.close().await.expect("closes");
    });
}

fn journal(lab: &Lab, arguments: &[&str], code: i32) -> Value {
    lab.run(&[&["journal"], arguments, &["out", "--output", "json"]].concat()).expect(code).json()
}

/// The journal's files, without what SQLite leaves of a log that is empty.
fn journal_files(lab: &Lab) -> BTreeMap<PathBuf, Option<ContentHash>> {
    let mut files = files(&lab.path("out/.secateur"));
    files.retain(|path, _| {
        let name = path.to_string_lossy();
        name.starts_with("journal") && !name.ends_with("-shm") && !name.ends_with("-wal")
    });
    files
}

#[test]
fn a_healthy_journal_is_said_to_be_so_and_left_alone() {
    let (lab, status) = done();
    let before = journal_files(&lab);
    let checked = journal(&lab, &["check"], 0);
    assert_eq!((&checked["healthy"], &checked["damages"]), (&true.into(), &Value::Array(vec![])));
    let stages = status["stages"].as_u64().expect("a number");
    // A life, the sweep, and its stages.
    assert_eq!(checked["entries"], stages + 2);
    assert_eq!(checked["stages_ended"], stages);
    assert_eq!(checked["sweeps"][0]["sweep_id"], status["sweep_id"]);
    assert_eq!(
        (&checked["sweeps"][0]["state"], &checked["sweeps"][0]["stages_ended"]),
        (&"completed".into(), &stages.into())
    );
    assert!(checked["bytes"].as_u64() > Some(1000) && checked["versions"].as_array().is_some_and(|v| v.len() == 1));
    assert_eq!(journal(&lab, &["repair"], 0)["repaired"], false);
    assert_eq!(journal(&lab, &["repair", "--cut-at", "3"], 0)["repaired"], false);
    assert_eq!(journal_files(&lab), before);
    let text = lab.run(&["journal", "check", "out/.secateur"]).expect(0).stdout;
    assert!(text.contains("healthy") && text.contains("completed"), "{text}");
}

#[test]
fn a_torn_tail_is_told_at_the_start_and_cut_by_a_repair_that_says_what_is_lost() {
    let (lab, status) = done();
    let undisturbed = report(&lab.path("out"));
    let entries = journal(&lab, &["check"], 0)["entries"].as_u64().expect("a number");
    harm(
        &lab,
        "UPDATE journal SET entry = substr(entry, 1, 40) WHERE sequence > (SELECT max(sequence) - 2 FROM journal)",
    );
    let before = journal_files(&lab);
    let refused = lab.run(&RUN).expect(1).json()["error"]["message"].to_string();
    for words in [format!("entry {}", entries - 1), "secateur journal repair out/.secateur".into()] {
        assert!(refused.contains(&words), "{words}: {refused}");
    }
    let checked = journal(&lab, &["check"], 1);
    assert_eq!((&checked["healthy"], &checked["torn_tail"]), (&false.into(), &true.into()));
    assert_eq!(checked["damages"].as_array().map(Vec::len), Some(2));
    assert_eq!(journal_files(&lab), before);
    let repaired = journal(&lab, &["repair"], 0);
    assert_eq!(repaired["cut_at"], entries - 1);
    assert_eq!((&repaired["entries"], &repaired["entries_lost"]), (&(entries - 2).into(), &2.into()));
    assert_eq!(repaired["entries_lost_unreadable"], 2);
    let copy = lab.path(repaired["copy"].as_str().expect("a path"));
    assert_eq!(
        ContentHash::of(&std::fs::read(copy).expect("reads")),
        before[&PathBuf::from("journal.db")].expect("a file")
    );
    journal(&lab, &["check"], 0);
    let again = lab.run(&RUN).expect(0).json();
    assert_eq!((&again["stages_computed"], &again["state"]), (&2.into(), &status["state"]));
    assert!(report(&lab.path("out")) == undisturbed, "the report differs");
}

#[test]
fn a_broken_middle_is_cut_only_where_a_person_says_so() {
    let (lab, status) = done();
    let undisturbed = report(&lab.path("out"));
    harm(&lab, "DELETE FROM journal WHERE sequence IN (5, 6)");
    let before = journal_files(&lab);
    let refused = lab.run(&RUN).expect(1).json()["error"]["message"].to_string();
    for words in ["entries 5 to 6 are missing", "secateur journal repair out/.secateur --cut-at 5"] {
        assert!(refused.contains(words), "{words}: {refused}");
    }
    assert_eq!(journal(&lab, &["check"], 1)["torn_tail"], false);
    for arguments in [&["repair"][..], &["repair", "--cut-at", "4"], &["repair", "--cut-at", "7"]] {
        let refused = journal(&lab, arguments, 2)["error"]["message"].to_string();
        assert!(refused.contains("entries 5 to 6 are missing") && refused.contains("--cut-at 5"), "{refused}");
    }
    let refused = journal(&lab, &["compact"], 1)["error"]["message"].to_string();
    assert!(refused.contains("entries 5 to 6 are missing"), "{refused}");
    assert_eq!(journal_files(&lab), before);
    let repaired = journal(&lab, &["repair", "--cut-at", "5"], 0);
    // A life, the sweep and two stages are left.
    assert_eq!((&repaired["entries"], &repaired["sweeps"][0]["stages_ended"]), (&4.into(), &2.into()));
    let stages = status["stages"].as_u64().expect("a number");
    let id = status["sweep_id"].as_str().expect("an id");
    assert_eq!(repaired["stages_lost"][id], stages - 4);
    assert_eq!(lab.run(&RUN).expect(0).json()["stages_computed"], stages - 2);
    assert!(report(&lab.path("out")) == undisturbed, "the report differs");
}

#[test]
fn a_journal_is_compacted_to_a_snapshot_and_the_same_state_comes_of_it() {
    let (lab, status) = done();
    let id = status["sweep_id"].as_str().expect("an id").to_owned();
    let undisturbed = report(&lab.path("out"));
    // A stop and a resumption before anything has ended, as an earlier life would have written them.
    let stopped = format!(r#"{{"record":"sweep_stopped","sweep":"{id}","reason":"no space"}}"#);
    let resumed = format!(r#"{{"record":"sweep_resumed","sweep":"{id}"}}"#);
    rewrite(&lab, |entries| {
        let at = |record: &str| format!(r#"{{"version":2,"at":7,"record":{record}}}"#);
        entries.splice(2..2, [at(&stopped), at(&resumed)]);
    });
    let before = journal(&lab, &["check"], 0);
    let compacted = journal(&lab, &["compact"], 0);
    assert_eq!(compacted["before"]["entries"], before["entries"]);
    // Its beginning, the sweep, its stages, its end.
    assert_eq!(compacted["after"]["entries"], 4);
    assert!(compacted["after"]["bytes"].as_u64() < compacted["before"]["bytes"].as_u64());
    let after = journal(&lab, &["check"], 0);
    assert_eq!(after["sweeps"], before["sweeps"]);
    assert_eq!(journal(&lab, &["compact"], 0)["compacted"], false);
    assert_eq!(lab.run(&RUN).expect(0).json()["stages_computed"], 0);
    assert!(report(&lab.path("out")) == undisturbed, "the report differs");
}

#[test]
fn a_snapshot_that_is_all_there_is_is_never_cut_without_a_word() {
    for (statement, place) in [
        // Its end, behind which there is nothing; and one in its middle.
        ("UPDATE journal SET entry = '' WHERE sequence = 4", 4),
        ("UPDATE journal SET checksum = x'00' WHERE sequence = 3", 3),
    ] {
        let (lab, status) = done();
        let undisturbed = report(&lab.path("out"));
        journal(&lab, &["compact"], 0);
        harm(&lab, statement);
        let named = format!("entries 1 to {}", place - 1);
        let checked = journal(&lab, &["check"], 1);
        assert!(checked["damages"][0]["what"].as_str().is_some_and(|what| what.contains(&named)), "{checked}");
        assert_eq!((&checked["damages"][1]["sequence"], &checked["torn_tail"]), (&place.into(), &false.into()));
        let refused = lab.run(&RUN).expect(1).stderr;
        assert!(refused.contains(&named) && refused.contains("--cut-at 1`"), "{refused}");
        let before = journal_files(&lab);
        let refused = journal(&lab, &["repair"], 2)["error"]["message"].to_string();
        assert!(refused.contains(&named) && refused.contains("--cut-at 1"), "{refused}");
        assert_eq!(journal_files(&lab), before);
        let repaired = journal(&lab, &["repair", "--cut-at", "1"], 0);
        assert_eq!((&repaired["entries"], &repaired["sweeps_lost"][0]), (&0.into(), &status["sweep_id"]));
        // All of it is computed again.
        assert_eq!(lab.run(&RUN).expect(0).json()["stages_computed"], status["stages"]);
        assert!(report(&lab.path("out")) == undisturbed, "the report differs");
    }
}

#[test]
fn a_journal_of_which_nothing_is_good_is_not_cut_without_a_word() {
    let (lab, status) = done();
    harm(&lab, "UPDATE journal SET entry = ''");
    let before = journal_files(&lab);
    assert_eq!(journal(&lab, &["check"], 1)["torn_tail"], false);
    let refused = journal(&lab, &["repair"], 2)["error"]["message"].to_string();
    assert!(refused.contains("--cut-at 1"), "{refused}");
    assert_eq!(journal_files(&lab), before);
    journal(&lab, &["repair", "--cut-at", "1"], 0);
    assert_eq!(lab.run(&RUN).expect(0).json()["stages_computed"], status["stages"]);
}

/// Wherever in a page it was: what is left is told by its number, and kept.
#[test]
fn of_a_file_that_was_cut_off_all_that_is_whole_can_be_kept() {
    let (lab, _) = done();
    let file = lab.path("out/.secateur/journal.db");
    let whole = std::fs::read(&file).expect("reads");
    let mut kept = Vec::new();
    for length in
        [whole.len() - 100, whole.len() - 3_000, whole.len() / 2 + 36, 3 * 4096, 3 * 4096 + 1_000, 2 * 4096 + 2_000]
    {
        for rest in
            files(&lab.path("out/.secateur")).keys().filter(|path| path.to_string_lossy().starts_with("journal"))
        {
            std::fs::remove_file(lab.path("out/.secateur").join(rest)).expect("removes");
        }
        std::fs::write(&file, &whole[..length]).expect("writes");
        let ended = lab.run(&["journal", "repair", "out", "--output", "json"]);
        let entries = if ended.code == Some(0) {
            ended.json()["entries"].clone()
        } else {
            let message = ended.expect(2).json()["error"]["message"].to_string();
            let place = message.split("--cut-at ").nth(1).unwrap_or_default();
            let place: String = place.chars().take_while(char::is_ascii_digit).collect();
            let place: u64 = place.parse().unwrap_or_else(|_| panic!("{length}: {message}"));
            let repaired = journal(&lab, &["repair", "--cut-at", &place.to_string()], 0);
            assert_eq!(repaired["entries"], place - 1, "{length}: {repaired}");
            repaired["entries"].clone()
        };
        assert_eq!(journal(&lab, &["check"], 0)["entries"], entries);
        kept.push(entries.as_u64().expect("a number"));
    }
    assert!(kept[0] > 0 && kept.iter().any(|kept| kept != &0), "{kept:?}");
}

/// Writes the journal anew, in the format without checksums.
fn rewrite(lab: &Lab, change: impl FnOnce(&mut Vec<String>)) {
    let path = lab.path("out/.secateur/journal.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = SqliteConnectOptions::new().filename(path).connect().await.expect("opens");
        let entries =
            sqlx::query_scalar("SELECT entry FROM journal ORDER BY sequence").fetch_all(&mut connection).await;
        let mut entries = entries.expect("reads");
        change(&mut entries);
        let table = "DROP TABLE journal; PRAGMA user_version = 0;
            CREATE TABLE journal (sequence INTEGER PRIMARY KEY, entry TEXT NOT NULL) STRICT";
        sqlx::raw_sql(table).execute(&mut connection).await.expect("makes the old table");
        for entry in entries {
            let insert = sqlx::query("INSERT INTO journal (entry) VALUES (?)").bind(entry);
            insert.execute(&mut connection).await.expect("inserts");
        }
        connection.close().await.expect("closes");
    });
}

#[test]
fn what_another_version_wrote_is_never_cut() {
    let (lab, _) = done();
    rewrite(&lab, |entries| {
        let last = entries.pop().expect("an entry");
        entries.push(last.replacen(r#""version":"#, r#""version":9"#, 1));
    });
    let last = journal(&lab, &["check"], 1)["damages"][0]["sequence"].to_string();
    let before = journal_files(&lab);
    for arguments in [&["repair"][..], &["repair", "--cut-at", &last]] {
        let refused = journal(&lab, arguments, 2)["error"]["message"].to_string();
        assert!(refused.contains("use the release that wrote it"), "{refused}");
    }
    assert_eq!(journal_files(&lab), before);
    let refused = lab.run(&RUN).expect(1).stderr;
    assert!(refused.contains(&format!("entry {last} was written by another version")), "{refused}");
    assert!(!refused.contains("repair"), "{refused}");
}

#[test]
fn entries_that_are_whole_and_make_no_sense_are_cut_where_a_person_says_so() {
    for harm in [
        // A stage that ends twice, and a line that is no entry.
        (|entries| entries.extend(entries.last().cloned())) as fn(&mut Vec<String>),
        |entries| entries.push("{}".to_owned()),
    ] {
        let (lab, _) = done();
        rewrite(&lab, harm);
        let refused = lab.run(&RUN).expect(1).stderr;
        let checked = journal(&lab, &["check"], 1);
        let last = checked["damages"][0]["sequence"].to_string();
        let [named, cut] = [format!("entry {last} "), format!("--cut-at {last}")];
        assert!(refused.contains(&named) && refused.contains(&cut), "{refused}");
        assert_eq!((&checked["torn_tail"], &checked["entries_behind_damage"]), (&false.into(), &1.into()));
        journal(&lab, &["repair"], 2);
        journal(&lab, &["repair", "--cut-at", &last], 0);
        assert_eq!(lab.run(&RUN).expect(0).json()["stages_computed"], 0);
    }
}

#[test]
fn a_run_goes_on_from_a_journal_without_checksums() {
    let (lab, _) = done();
    rewrite(&lab, |_| {});
    let before = journal(&lab, &["check"], 0);
    assert_eq!(lab.run(&RUN).expect(0).json()["stages_computed"], 0);
    let after = journal(&lab, &["check"], 0);
    // The life that looked.
    assert_eq!(after["entries"], before["entries"].as_u64().map_or(0, |entries| entries + 1));
}

#[test]
fn nothing_is_done_to_a_journal_that_is_in_use_or_not_there() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    for verb in ["check", "repair", "compact"] {
        let refused = lab.run(&["journal", verb, "data"]).expect(2).stderr;
        assert!(refused.contains("data is in use") && refused.contains("stop it first"), "{refused}");
    }
    drop(server);
    let before = lab.files();
    for place in ["nowhere", "."] {
        let refused = lab.run(&["journal", "check", place]).expect(2).stderr;
        assert!(refused.contains("no journal in"), "{refused}");
    }
    assert_eq!(lab.files(), before);
    lab.run(&["journal", "check", "data"]).expect(0);
}
