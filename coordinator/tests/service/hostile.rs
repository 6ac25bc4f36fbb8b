//! Clients that mean harm: each gets a refusal, everybody else goes on as before, and the coordinator's memory stays flat.
//!
//! What a worker may say wrongly is in `grpc.rs`, and who is let in at all in `security.rs`; here are those who want too much.

use std::{
    fs,
    io::{self, Write as _},
};

use crate::common::{Lab, PATIENCE, SWEEP, Server, table, until};
use futures::future::poll_fn;
use h2::{RecvStream, SendStream, client};
use prost::bytes::Bytes;
use secateur_proto::{
    ids::ContentHash,
    v1::{
        ArtifactRef, ListSweepsRequest, PlanRequest, PutRequest, PutStart, SubmitRequest, SweepFile,
        artifact_service_client::ArtifactServiceClient, put_request::Part, sweep_service_client::SweepServiceClient,
    },
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};
use tonic::{Code, codegen::http::Request, transport::Channel};

/// By how much a refusal may make the coordinator grow, in bytes: buffers, and what the allocator keeps.
const FLAT: u64 = 48 << 20;

/// Memory of a process that is its own, in bytes.
fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("Linux says it");
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kilobytes << 10
}

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.address)).expect("an address").connect().await.expect("connects")
}

/// Whether the coordinator serves others.
async fn serves(server: &Server) {
    SweepServiceClient::new(channel(server).await).list(ListSweepsRequest::default()).await.expect("it serves");
}

/// Runs what means harm, and asserts that the coordinator serves others afterwards and has not grown.
async fn flat(server: &Server, harm: impl AsyncFnOnce()) {
    grows_by_less(server, FLAT, harm).await;
}

/// The same where it may have grown by a bit more.
async fn grows_by_less(server: &Server, most: u64, harm: impl AsyncFnOnce()) {
    serves(server).await;
    let before = resident(server.process.id());
    harm().await;
    serves(server).await;
    let grown = resident(server.process.id()).saturating_sub(before);
    assert!(grown < most, "the coordinator has grown by {} MiB", grown >> 20);
}

/// A connection made by hand.
async fn connect(server: &Server) -> client::SendRequest<Bytes> {
    let tcp = TcpStream::connect(&server.address).await.expect("connects");
    let (client, connection) = client::handshake(tcp).await.expect("speaks HTTP/2");
    // It ends with its connection.
    tokio::spawn(connection);
    client
}

/// A call made by hand: what it sends is not what it announces.
async fn begin(
    client: &mut client::SendRequest<Bytes>,
    server: &Server,
    method: &str,
) -> (client::ResponseFuture, SendStream<Bytes>) {
    let request = Request::post(format!("http://{}/secateur.v1.{method}", server.address))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    poll_fn(|context| client.poll_ready(context)).await.expect("is ready");
    client.send_request(request, false).expect("is sent")
}

/// The same on a connection of its own.
async fn call(server: &Server, method: &str) -> (client::ResponseFuture, SendStream<Bytes>) {
    begin(&mut connect(server).await, server, method).await
}

/// The status of an answer, in its headers or after it.
async fn grpc_status(headers: &tonic::codegen::http::HeaderMap, body: &mut RecvStream) -> Code {
    let of = |headers: &tonic::codegen::http::HeaderMap| {
        headers.get("grpc-status").map(|status| Code::from_bytes(status.as_bytes()))
    };
    if let Some(code) = of(headers) {
        return code;
    }
    while let Some(data) = body.data().await {
        let _ = body.flow_control().release_capacity(data.expect("goes on").len());
    }
    body.trailers().await.expect("goes on").as_ref().and_then(of).expect("a status")
}

/// Sends up to `most` bytes of a message that claims to be longer; how many went out before the other end had enough.
async fn flood(stream: &mut SendStream<Bytes>, claimed: u32, most: usize) -> usize {
    let mut head = vec![0];
    head.extend(claimed.to_be_bytes());
    if stream.send_data(head.into(), false).is_err() {
        return 0;
    }
    let piece = Bytes::from_static(&[b'x'; 16 << 10]);
    let mut sent = 0;
    while sent < most {
        let wanted = piece.len().min(most - sent);
        stream.reserve_capacity(wanted);
        match poll_fn(|context| stream.poll_capacity(context)).await {
            Some(Ok(room)) => {
                let part = piece.slice(..room.min(wanted));
                sent += part.len();
                if stream.send_data(part, false).is_err() {
                    return sent;
                }
            }
            Some(Err(_)) | None => return sent,
        }
    }
    sent
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_a_gigabyte_is_refused_before_it_is_there() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    flat(&server, async || {
        for method in [
            "SweepService/Submit",
            "SweepService/Plan",
            "WorkerService/Attach",
            "ArtifactService/Put",
            "ArtifactService/Stat",
        ] {
            let (answer, mut stream) = call(&server, method).await;
            let (sent, answer) = tokio::join!(flood(&mut stream, 1 << 30, 1 << 30), answer);
            assert!(sent < 16 << 20, "{method} took {sent} bytes");
            let (head, mut body) = answer.expect("it answers").into_parts();
            assert_eq!(grpc_status(&head.headers, &mut body).await, Code::OutOfRange, "{method}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_messages_that_never_end_only_so_much_is_kept() {
    const LONG: usize = 4 << 20;
    const KEPT: usize = 64 << 20;
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let mut held = Vec::new();
    // Buffers are up to twice what is in them.
    grows_by_less(&server, 2 * KEPT as u64 + FLAT, async || {
        let mut refused = 0;
        for _ in 0..64 {
            let (answer, mut stream) = call(&server, "SweepService/Submit").await;
            // It claims what is allowed, and keeps back the last of it.
            if flood(&mut stream, LONG as u32, LONG - 1).await == LONG - 1 && refused == 0 {
                held.push((answer, stream));
            } else {
                let answer = tokio::time::timeout(PATIENCE, answer).await.expect("in time");
                let (head, mut body) = answer.expect("it answers").into_parts();
                let status = grpc_status(&head.headers, &mut body).await;
                assert_eq!(status, Code::Unavailable, "{:?} {}", head.headers, held.len());
                refused += 1;
            }
        }
        assert_eq!((held.len(), refused), (KEPT / LONG, 64 - KEPT / LONG));
    })
    .await;
    // Once they are given up there is room again.
    held.clear();
    let taken = async {
        loop {
            let (_answer, mut stream) = call(&server, "SweepService/Submit").await;
            if flood(&mut stream, LONG as u32, LONG - 1).await == LONG - 1 {
                break;
            }
        }
    };
    tokio::time::timeout(PATIENCE, taken).await.expect("there is room again");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_opens_connections_only_to_hold_them_is_hung_up_on_and_keeps_nobody_out() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let address: std::net::SocketAddr = server.address.parse().expect("an address");
    let from_elsewhere = async || {
        let socket = TcpSocket::new_v4()?;
        // All of 127.0.0.0/8 is this machine: the coordinator sees another address than that of the others.
        socket.bind("127.0.0.2:0".parse().expect("an address"))?;
        socket.connect(address).await
    };
    flat(&server, async || {
        let mut held = Vec::new();
        for number in 0..700_u32 {
            let mut stream = from_elsewhere().await.expect("connects");
            // Some say nothing, and some the beginning of a beginning. Those that are too many may be closed already.
            if number % 2 == 0 {
                let _ = stream.write_all(b"PRI * HTTP/2.0").await;
            }
            held.push(stream);
        }
        serves(&server).await;
        let mut closed = 0;
        for mut stream in held {
            let mut rest = Vec::new();
            let ended: io::Result<usize> = stream.read_to_end(&mut rest).await;
            closed +=
                usize::from(ended.is_ok() || ended.is_err_and(|error| error.kind() == io::ErrorKind::ConnectionReset));
        }
        assert_eq!(closed, 700, "all of them are hung up on");
    })
    .await;
    // Its address is let in again.
    let mut stream = from_elsewhere().await.expect("connects");
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await.expect("writes");
    assert_eq!(stream.read_u8().await.expect("settings come"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_say_nothing_are_so_many_at_most_and_keep_nobody_out() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    flat(&server, async || {
        let mut held = Vec::new();
        for _ in 0..8 {
            let mut client = connect(&server).await;
            // Its settings come before the answer to the first call.
            let (answer, mut stream) = begin(&mut client, &server, "ArtifactService/Stat").await;
            stream.send_data(Bytes::new(), true).expect("ends");
            answer.await.expect("it answers");
            assert_eq!(client.current_max_send_streams(), 256);
            for _ in 0..256 {
                held.push(begin(&mut client, &server, "ArtifactService/Put").await);
            }
        }
        serves(&server).await;
    })
    .await;
}

fn reference(bytes: &[u8]) -> ArtifactRef {
    ArtifactRef { hash: ContentHash::of(bytes).to_string(), size: bytes.len() as u64 }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_file_that_is_made_to_hurt_is_refused_with_the_reason() {
    let lab = Lab::new(SWEEP, 50);
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let table = table(50);
    let data = reference(table.as_bytes());
    let start = PutRequest { part: Some(Part::Start(PutStart { artifact: Some(data.clone()), offset: 0 })) };
    let body = PutRequest { part: Some(Part::Data(table.into_bytes())) };
    ArtifactServiceClient::new(channel.clone()).put(tokio_stream::iter([start, body])).await.expect("is kept");
    let file = |text: String| {
        Some(SweepFile { name: "x".repeat(1000), text, data: Some(data.clone()), weights: None, weights_notes: vec![] })
    };
    let grid = |axis: &str, values: usize| {
        let list: Vec<String> = (1..=values).map(|value| (value as f64 / (values + 1) as f64).to_string()).collect();
        SWEEP.replace(axis, &format!("{}: [{}]", axis.split(':').next().unwrap_or_default(), list.join(", ")))
    };
    let laughs = "a: &a [x, x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a, *a]\nversion: 1\n";
    for (text, word) in [
        ("[".repeat(1 << 20), "sweep.yaml"),
        ("{a: ".repeat(100_000), "sweep.yaml"),
        ("- ".repeat(200_000), "sweep.yaml"),
        ("x".repeat(15 << 20), "the limit is 1048576"),
        (laughs.to_owned(), "anchor"),
        (SWEEP.replace("[8, 4]", "[4000000000, 4000000000]"), "hidden"),
        (SWEEP.replace("seeds: 2", "seeds: 4000000000"), "seeds"),
        (grid("sparsity: [0.5, 0.8]", 2000), "sparsity"),
        (SWEEP.replace("name: small", "name: ../../etc/passwd"), "name"),
        (SWEEP.replace("name: small", "name: \"<script>\""), "name"),
    ] {
        let shown: String = text.chars().take(60).collect();
        let word = if word == "sweep.yaml" { "xxx" } else { word };
        flat(&server, async || {
            let plan = PlanRequest { file: file(text.clone()) };
            let planned = SweepServiceClient::new(channel.clone()).get_plan(plan).await.expect_err(&shown);
            assert_eq!(planned.code(), Code::InvalidArgument, "{shown}");
            assert!(planned.message().contains(word), "{shown}: {}", planned.message());
            assert!(planned.message().len() < 8 << 10, "{shown}: a message of {} bytes", planned.message().len());
            let submit = SubmitRequest { file: file(text.clone()), share: None };
            let submitted = SweepServiceClient::new(channel.clone()).submit(submit).await.expect_err(&shown);
            assert_eq!(submitted.code(), Code::InvalidArgument, "{shown}");
        })
        .await;
    }
    let sweeps =
        SweepServiceClient::new(channel).list(ListSweepsRequest::default()).await.expect("answers").into_inner();
    assert_eq!(sweeps.sweeps, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_larger_than_allowed_is_refused_at_its_first_word() {
    let lab = Lab::empty();
    let server = Server::of(lab.start(&[
        "serve",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        "data",
        "--max-artifact-size",
        "1MB",
    ]));
    let put = async |size: usize, claimed: u64| {
        let bytes = vec![7; size];
        let artifact = ArtifactRef { size: claimed, ..reference(&bytes) };
        let start = PutRequest { part: Some(Part::Start(PutStart { artifact: Some(artifact), offset: 0 })) };
        let body = bytes.chunks(100_000).map(|piece| PutRequest { part: Some(Part::Data(piece.to_vec())) });
        let parts: Vec<_> = std::iter::once(start).chain(body).collect();
        ArtifactServiceClient::new(channel(&server).await).put(tokio_stream::iter(parts)).await.map(drop)
    };
    put(1_000_000, 1_000_000).await.expect("is just small enough");
    let refused = put(1_000_001, 1_000_001).await.expect_err("is too large");
    assert_eq!(refused.code(), Code::OutOfRange);
    assert!(refused.message().contains("--max-artifact-size"), "{}", refused.message());
    assert_eq!(put(10, u64::MAX).await.expect_err("is too large").code(), Code::OutOfRange);
    let left = fs::read_dir(lab.path("data/artifacts/incoming")).expect("is there").count();
    assert_eq!(left, 0, "nothing of it is kept");
}

/// Eight megabytes on the way, and eight gigabytes in the memory of whoever unpacks them.
#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_swells_is_refused_before_it_fills_the_memory() {
    let lab = Lab::empty();
    let server =
        Server::of(lab.start(&["serve", "--listen", "127.0.0.1:0", "--data-dir", "data", "--max-input-size", "16MB"]));
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    for _ in 0..1000 {
        packed.write_all(&[b'a'; 1_000_000]).expect("packs");
    }
    let bomb = packed.finish().expect("packs");
    assert!(bomb.len() < 16_000_000, "small on the way: {}", bomb.len());
    let plain = vec![b'a'; 16_000_001];
    flat(&server, async || {
        for (bytes, name) in [(bomb, "table.csv.gz"), (plain, "table.csv")] {
            let start = Part::Start(PutStart { artifact: Some(reference(&bytes)), offset: 0 });
            let data = bytes.chunks(100_000).map(|data| Part::Data(data.to_vec()));
            let parts: Vec<_> =
                std::iter::once(start).chain(data).map(|part| PutRequest { part: Some(part) }).collect();
            ArtifactServiceClient::new(channel(&server).await).put(tokio_stream::iter(parts)).await.expect("is taken");
            let file = SweepFile {
                name: "sweep.yaml".to_owned(),
                text: SWEEP.replace("table.csv", name),
                data: Some(reference(&bytes)),
                weights: None,
                weights_notes: vec![],
            };
            let planned =
                SweepServiceClient::new(channel(&server).await).get_plan(PlanRequest { file: Some(file) }).await;
            let refused = planned.expect_err("is too large");
            assert_eq!(refused.code(), Code::InvalidArgument);
            assert!(refused.message().contains("--max-input-size"), "{}", refused.message());
        }
    })
    .await;
}

/// A token that was good once: revoked, run out, or another coordinator's.
#[test]
fn an_old_token_opens_nothing() {
    let lab = Lab::empty();
    let token = |folder: &str, name: &str, further: &[&str]| {
        let own = ["token", "create", name, "--role", "admin", "--data-dir", folder];
        let made = lab.run(&[&own[..], further].concat()).expect(0);
        lab.write(&format!("{name}.token"), made.stdout);
    };
    token("data", "root", &[]);
    token("data", "revoked", &[]);
    token("others", "stranger", &[]);
    let server = Server::start(&lab);
    let ls = |name: &str| {
        let file = format!("{name}.token");
        lab.run(&["ls", "--coordinator", &server.address, "--token-file", &file])
    };
    ls("root").expect(0);
    ls("revoked").expect(0);
    lab.run(&["token", "revoke", "revoked", "--data-dir", "data"]).expect(0);
    for name in ["revoked", "stranger"] {
        let refused = ls(name).expect(2);
        assert!(refused.stderr.contains("unknown token"), "{name}: {}", refused.stderr);
    }
    ls("root").expect(0);
    // Whoever tries is written down.
    let log = || fs::read_to_string(lab.path("data/audit.jsonl")).unwrap_or_default();
    until("it is written down", || log().contains("unknown token").then_some(()));
}
