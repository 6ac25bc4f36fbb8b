//! A PostgreSQL server of a test's own: in a temporary folder, on a Unix socket there, flushing to the disk as one in earnest does.
//! It ends, and its folder goes, when the test's process does, however that ends.

use std::{
    io::{BufRead as _, BufReader, Read as _},
    os::unix::{fs::chown, process::CommandExt as _},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
};

/// Runs as the server's user. It reads its standard input to the end, which comes with the end of the test's process.
const SCRIPT: &str = r#"
cd "$1"
"$2/initdb" --pgdata data --username postgres --auth trust --encoding UTF8 --no-locale --no-sync >initdb.log 2>&1 || { cat initdb.log >&2; exit 1; }
"$2/postgres" -D data -k "$1" -c listen_addresses= -c fsync=on >&2 &
server=$!
cat >/dev/null
kill -INT "$server"
wait "$server"
cd /
rm -rf "$1"
"#;

/// A running server.
pub(crate) struct Server {
    folder: PathBuf,
    /// Dropped, its standard input ends, and the server with it.
    _process: Child,
}

impl Server {
    /// Starts one. Nothing where PostgreSQL is not installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(programs) = programs() else {
            // Whoever must test everything, as .ci/run must, says so.
            assert!(
                std::env::var_os("SECATEUR_TEST_EVERYTHING").is_none(),
                "PostgreSQL is not installed: .ci/postgresql does that"
            );
            eprintln!("PostgreSQL is not installed: nothing to test");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("pg").tempdir().expect("a folder").keep();
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&folder).arg(&programs).env("LC_ALL", "C");
        if id(&["-u"]) == Some(0) {
            // It refuses to run as root.
            let (user, group) = (id(&["-u", "postgres"]), id(&["-g", "postgres"]));
            let (user, group) = user.zip(group).expect("there is a user postgres");
            chown(&folder, Some(user), Some(group)).expect("gives the folder away");
            command.uid(user).gid(group);
        }
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().expect("starts a shell");
        let mut log = BufReader::new(process.stderr.take().expect("a pipe"));
        let mut said = String::new();
        while !said.contains("ready to accept connections") {
            let read = log.read_line(&mut said).expect("reads");
            assert!(read > 0, "the server did not start:\n{said}");
        }
        // Nobody wants the rest, but somebody has to take it.
        thread::spawn(move || log.read_to_end(&mut vec![]));
        Some(Self { folder, _process: process })
    }

    /// The way to one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://postgres@localhost/{database}?host={}", self.folder.display())
    }
}

/// The folder with `initdb` and `postgres`, of the newest version.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut debian: Vec<(u32, PathBuf)> = versions
        .filter_map(|version| Some((version.file_name().to_str()?.parse().ok()?, version.path().join("bin"))))
        .collect();
    debian.sort();
    let path = std::env::var_os("PATH").unwrap_or_default();
    let path: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let mut folders = debian.into_iter().rev().map(|(_, folder)| folder).chain(path);
    folders.find(|folder| ["initdb", "postgres"].iter().all(|program| is_file(&folder.join(program))))
}

fn is_file(path: &Path) -> bool {
    path.metadata().is_ok_and(|metadata| metadata.is_file())
}

/// The number of a user or a group.
fn id(arguments: &[&str]) -> Option<u32> {
    let said = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(said.stdout).ok()?.trim().parse().ok()
}
