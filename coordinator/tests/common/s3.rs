//! A server for S3's protocol of a test's own, over a temporary folder, and a gate before it, which sees every request and can be shut. The
//! server ends when the test's process does, however that ends.

use std::{
    collections::HashMap,
    env, fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
};

use tempfile::TempDir;

/// The credentials of the server.
pub(crate) const KEY: &str = "AKIDEXAMPLE";
pub(crate) const SECRET: &str = "wJalrXUtnFEMIexample";

/// The bucket that there is.
pub(crate) const BUCKET: &str = "lab";

/// Reads its standard input to the end, which comes with the end of the test's process.
const SCRIPT: &str = r#"
"$1" --host 127.0.0.1 --port 0 --access-key "$2" --secret-key "$3" "$4" 2>&1 &
server=$!
cat >/dev/null
kill -KILL "$server"
wait "$server"
"#;

/// A bucket on a server that runs, or does not.
pub(crate) struct S3 {
    folder: TempDir,
    program: PathBuf,
    /// Dropped, its standard input ends, and the server with it.
    process: Option<Child>,
    gate: Gate,
}

impl S3 {
    /// Starts one. Nothing where the server is not installed.
    pub(crate) fn start() -> Option<Self> {
        let Some(program) = program() else {
            // Whoever must test everything, as .ci/run must, says so.
            assert!(
                env::var_os("SECATEUR_TEST_EVERYTHING").is_none(),
                "no server for S3's protocol is installed: .ci/s3-server does that"
            );
            eprintln!("no server for S3's protocol is installed: nothing to test");
            return None;
        };
        let folder = tempfile::Builder::new().prefix("s3").tempdir().expect("a folder");
        fs::create_dir(folder.path().join(BUCKET)).expect("makes the bucket");
        let mut s3 = Self { folder, program, process: None, gate: Gate::open() };
        s3.run();
        Some(s3)
    }

    /// Starts the server, over what is there.
    pub(crate) fn run(&mut self) {
        let mut command = Command::new("sh");
        command.args(["-c", SCRIPT, "sh"]).arg(&self.program).args([KEY, SECRET]).arg(self.folder.path());
        command.env("RUST_LOG", "s3s_fs=info").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut process = command.spawn().expect("starts a shell");
        let mut log = BufReader::new(process.stdout.take().expect("a pipe"));
        let mut said = String::new();
        let address = loop {
            let read = log.read_line(&mut said).expect("reads");
            assert!(read > 0, "the server did not start:\n{said}");
            let address = said.split("running at http://").nth(1).and_then(|rest| rest.split_whitespace().next());
            if let Some(address) = address {
                break address.trim_end_matches(',').to_owned();
            }
        };
        // Nobody wants the rest, but somebody has to take it.
        thread::spawn(move || log.read_to_end(&mut vec![]));
        self.gate.lock().server = Some(address);
        self.process = Some(process);
    }

    /// Ends the server as a crash would. What it has stays.
    pub(crate) fn kill(&mut self) {
        self.gate.lock().server = None;
        if let Some(mut process) = self.process.take() {
            drop(process.stdin.take());
            process.wait().expect("waits");
        }
    }

    /// The URL of the gate.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.gate.address)
    }

    /// A place in the bucket.
    pub(crate) fn url(&self) -> String {
        format!("s3://{BUCKET}/team/sweeps")
    }

    /// Where that place is on the disk.
    pub(crate) fn place(&self) -> PathBuf {
        self.folder.path().join(BUCKET).join("team/sweeps")
    }

    /// What a coordinator has in its environment.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let variables = [
            ("AWS_ENDPOINT_URL", self.endpoint()),
            ("AWS_REGION", "eu-central-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", KEY.to_owned()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.to_owned()),
        ];
        variables.map(|(name, value)| (name.to_owned(), value)).to_vec()
    }

    /// How many requests of that method came through the gate: those with a signature in their address, or the others.
    pub(crate) fn requests(&self, method: &str, signed_address: bool) -> usize {
        self.gate.lock().requests.get(&(method.to_owned(), signed_address)).copied().unwrap_or(0)
    }
}

impl Drop for S3 {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Passes bytes on to a server.
struct Gate {
    address: String,
    inner: Arc<Mutex<Inner>>,
}

#[derive(Default)]
struct Inner {
    /// Nothing: connections are closed at once.
    server: Option<String>,
    requests: HashMap<(String, bool), usize>,
}

impl Gate {
    fn open() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("listens");
        let address = listener.local_addr().expect("has an address").to_string();
        let gate = Self { address, inner: Arc::default() };
        let inner = Arc::clone(&gate.inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = inner.lock().unwrap_or_else(PoisonError::into_inner).server.clone();
                let server = server.and_then(|server| TcpStream::connect(server).ok());
                if let Some(server) = server {
                    pass(client, server, Arc::clone(&inner));
                }
            }
        });
        gate
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Passes on what both say until one of them ends.
fn pass(client: TcpStream, server: TcpStream, inner: Arc<Mutex<Inner>>) {
    let both = |stream: &TcpStream| stream.try_clone().expect("a second handle");
    let (back_from, back_to) = (both(&server), both(&client));
    thread::spawn(move || forward(back_from, back_to, |_| {}));
    thread::spawn(move || {
        forward(client, server, |bytes| {
            // A client waits for the answer before it asks again, so a request begins where a read does.
            let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
            let mut words = text.lines().next().unwrap_or_default().split(' ');
            if let (Some(method), Some(path), Some("HTTP/1.1"), None) =
                (words.next(), words.next(), words.next(), words.next())
            {
                let key = (method.to_owned(), path.contains("X-Amz-Signature="));
                *inner.lock().unwrap_or_else(PoisonError::into_inner).requests.entry(key).or_default() += 1;
            }
        });
    });
}

fn forward(mut from: TcpStream, mut to: TcpStream, see: impl Fn(&[u8])) {
    let mut bytes = vec![0; 1 << 16];
    while let Ok(count) = from.read(&mut bytes) {
        see(&bytes[..count]);
        if count == 0 || to.write_all(&bytes[..count]).is_err() {
            break;
        }
    }
    // The other direction may have ended them.
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// Where .ci/s3-server puts it.
fn program() -> Option<PathBuf> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent()?;
    Some(target.join("s3-server/bin/s3s-fs")).filter(|program| program.is_file())
}
