//! Holds the source to the edges that ARCHITECTURE.md draws: which module may name what, which crate may depend on which, and the
//! shape of files. A rule is a row of a table; what breaks it is told with file, line and the rule's reason.
//!
//! It reads the source as tokens, not as a compiler does: paths as they are written and imported, without comments, strings and what
//! is under `#[cfg(test)]`. Enough to notice an edge that nobody meant to draw.

mod circles;
mod paths;
mod rules;

use std::{
    fs,
    path::{Path, PathBuf},
};

use rules::{BANS, Ban};

/// Dependencies that a crate must not have.
const MANIFESTS: &[(&str, &[&str], &str)] = &[
    (
        "proto/Cargo.toml",
        &["secateur", "secateur-worker", "tokio", "burn", "sqlx", "serde_yaml"],
        "the contract depends on no crate of the workspace, on no runtime and on no storage",
    ),
    (
        "worker/Cargo.toml",
        &["secateur", "object_store", "sqlx", "serde_yaml", "saphyr-parser", "statrs"],
        "a worker must build and run without the coordinator and what only that needs",
    ),
    (
        "coordinator/Cargo.toml",
        &["burn", "burn-flex", "burn-tch", "tch", "torch-sys", "safetensors"],
        "tensors are the worker's",
    ),
];

/// Files that may be longer than [`LONGEST`], and why.
const LONG: &[(&str, &str)] = &[];

/// Lines of a file that can be read in one go.
const LONGEST: usize = 500;

#[test]
fn no_file_uses_what_its_module_must_not_know() {
    let files = sources();
    let broken: Vec<String> = files.iter().flat_map(|(file, text)| violations(file, text, BANS)).collect();
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

/// Folders whose modules, and whose files and folders taken as one each, name each other in one direction alone; and their paths.
const WITHOUT_CIRCLES: &[(&str, &[&str])] = &[("coordinator/src/scheduler", &["crate", "scheduler"])];

#[test]
fn no_module_names_itself_through_others() {
    let files: Vec<_> = sources().into_iter().filter(|(file, _)| !is_test(file)).collect();
    for (folder, root) in WITHOUT_CIRCLES {
        let graph = circles::graph(folder, root, &files);
        assert!(
            graph.values().flatten().count() > 10,
            "{folder} seems to have no edges: the test no longer understands it"
        );
        let found = circles::circle(&graph).or_else(|| circles::circle(&circles::components(&graph)));
        assert_eq!(found, None, "a circle in {folder}");
    }
}

#[test]
fn no_rule_is_about_files_that_are_gone() {
    let files = sources();
    let gone: Vec<_> = (BANS.iter().flat_map(|ban| ban.within.iter().chain(ban.except)))
        .filter(|place| !files.iter().any(|(file, _)| is_within(file, place)))
        .collect();
    assert!(gone.is_empty(), "rules name {gone:?}, where no source file is: bring the tables up to date");
}

#[test]
fn no_crate_depends_on_what_it_must_not_know() {
    let mut broken = Vec::new();
    for (manifest, banned, reason) in MANIFESTS {
        let text = fs::read_to_string(root().join(manifest)).expect("the manifest is there");
        let found = dependencies(&text);
        assert!(found.len() > 3, "{manifest} seems to have no dependencies: the test no longer understands it");
        let hits = found.iter().filter(|(_, name)| banned.contains(&name.as_str()));
        broken.extend(hits.map(|(line, name)| format!("{manifest}:{line}: depends on {name}: {reason}")));
    }
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn every_module_says_first_what_it_is_for() {
    let silent: Vec<String> = (sources().into_iter())
        .filter(|(file, text)| !is_test(file) && !text.starts_with("//! "))
        .map(|(file, _)| format!("{file}:1: does not begin with `//! `: say what it is for and what it must not know"))
        .collect();
    assert!(silent.is_empty(), "\n{}", silent.join("\n"));
}

#[test]
fn no_file_is_too_long_to_read() {
    let files = sources();
    let is_listed = |file: &str| LONG.iter().any(|(listed, _)| *listed == file);
    let length = |text: &str| text.lines().count();
    let mut broken: Vec<String> = (files.iter())
        .filter(|(file, text)| !is_test(file) && !is_listed(file) && length(text) > LONGEST)
        .map(|(file, text)| format!("{file}: has {} lines, more than {LONGEST}: split it by topic", length(text)))
        .collect();
    let is_long = |listed: &str| files.iter().any(|(file, text)| file == listed && length(text) > LONGEST);
    broken.extend(
        LONG.iter().filter(|(listed, _)| !is_long(listed)).map(|(listed, _)| format!("{listed}: is no longer long")),
    );
    assert!(broken.is_empty(), "\n{}", broken.join("\n"));
}

#[test]
fn planted_violations_are_found_and_nothing_else() {
    const PLANTED: &[Ban] =
        &[Ban { within: &["a/src"], except: &["a/src/may.rs"], names: &["std::fs", "*::Instant"], reason: "r" }];
    let lines = |file: &str, source: &str| -> Vec<String> {
        let ends = violations(file, source, PLANTED).into_iter();
        ends.map(|violation| violation.trim_start_matches(file).trim_end_matches(": r").to_owned()).collect()
    };
    for (source, found) in [
        ("use std::fs;", ":1: names std::fs"),
        ("\n\nfn f() { std::fs::read(p) }", ":3: names std::fs::read"),
        ("use std::{\n    io,\n    fs::{self, File},\n};", ":3: names std::fs::self|:3: names std::fs::File"),
        ("use ::std::fs as files;", ":1: names std::fs"),
        ("type T = Vec<tokio::time::Instant>;", ":1: names tokio::time::Instant"),
        ("let t = Instant::now();", ":1: names Instant::now"),
        ("let q = '\"'; use std::fs;", ":1: names std::fs"),
        ("let s = \"\\\"\"; std::fs::read(p)", ":1: names std::fs::read"),
        ("#[cfg(test)]\nuse a::{b};\nuse std::fs;", ":3: names std::fs"),
        ("#[cfg(test)]\n#[path = \"x\"]\nmod tests {\n use std::fs; fn f() {}\n}\nuse std::fs;", ":6: names std::fs"),
    ] {
        assert_eq!(lines("a/src/lib.rs", source).join("|"), found, "{source}");
    }
    for source in [
        "// std::fs\n//! std::fs\n/* std::fs /* std::fs */ std::fs */",
        "const S: &str = \"std::fs \\\" std::fs\";",
        "const S: &str = r#\"\" std::fs \"#;",
        "fn f<'a>(x: &'a str) -> &'a str { x }",
        "use std::{fmt, io}; let fs = 1; instant(Instants);",
        "#[cfg(test)]\nmod tests {\n    use std::fs;\n    fn f() -> Instant { [0; 2] }\n}",
    ] {
        assert_eq!(lines("a/src/lib.rs", source), [""; 0], "{source}");
    }
    for elsewhere in ["a/src/may.rs", "a/source/lib.rs", "a/src/tests.rs", "a/src/b/tests/c.rs"] {
        assert_eq!(lines(elsewhere, "use std::fs;"), [""; 0], "{elsewhere}");
    }
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nserde.workspace = true\n[dev-dependencies]\na-b = \"1\"\n[lints]\nworkspace = true";
    let found = dependencies(manifest).into_iter().map(|(line, name)| format!("{line} {name}")).collect::<Vec<_>>();
    assert_eq!(found, ["4 serde", "6 a-b"]);
}

/// The root of the workspace.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..")
}

/// Every source file of every crate: its path from the root, with `/`, and its text.
fn sources() -> Vec<(String, String)> {
    let root = root();
    let mut folders: Vec<PathBuf> =
        ["proto", "worker", "coordinator"].iter().map(|name| root.join(name).join("src")).collect();
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("the crate has sources") {
            let path = entry.expect("the folder can be read").path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).expect("below the root").to_string_lossy().replace('\\', "/");
                files.push((name, fs::read_to_string(&path).expect("the source can be read")));
            }
        }
    }
    files.sort();
    files
}

/// Whether a file holds tests and nothing else.
fn is_test(file: &str) -> bool {
    file.ends_with("/tests.rs") || file.contains("/tests/")
}

fn is_within(file: &str, place: &str) -> bool {
    file.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// What `source` uses against the rules, in the order of the rules.
fn violations(file: &str, source: &str, bans: &[Ban]) -> Vec<String> {
    let within = |places: &[&str]| places.iter().any(|place| is_within(file, place));
    let bans: Vec<&Ban> = bans.iter().filter(|ban| within(ban.within) && !within(ban.except)).collect();
    if bans.is_empty() || is_test(file) {
        return Vec::new();
    }
    let paths = paths::of(source);
    let hits = bans.iter().flat_map(|ban| paths.iter().map(move |path| (ban, path))).filter(|(ban, path)| {
        ban.names.iter().any(|name| match name.strip_prefix("*::") {
            Some(name) => path.names.contains(&name),
            None => path.names.starts_with(&name.split("::").collect::<Vec<_>>()),
        })
    });
    hits.map(|(ban, path)| format!("{file}:{}: names {}: {}", path.line, path.names.join("::"), ban.reason)).collect()
}

/// The dependencies of a manifest, of whatever kind, with their lines.
fn dependencies(manifest: &str) -> Vec<(usize, String)> {
    let mut inside = false;
    let mut found = Vec::new();
    for (line, text) in (1..).zip(manifest.lines()) {
        if text.starts_with('[') {
            inside = text.trim_end().ends_with("dependencies]");
        } else if inside && text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            let name = text.split(['.', '=', ' ']).next().unwrap_or_default();
            found.push((line, name.to_owned()));
        }
    }
    found
}
