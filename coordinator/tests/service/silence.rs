//! Whoever is asked and says nothing: a command waits for as long as `--timeout` says, then names what it waited for.

use std::{net::SocketAddr, sync::mpsc};

use h2::server::SendResponse;
use tokio::{io::AsyncWriteExt as _, net::TcpListener, runtime::Runtime};
use tonic::codegen::{Bytes, http};

use super::common::Lab;

/// How a server treats a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Manner {
    /// It says nothing.
    Mute,
    /// It speaks another protocol.
    Foreign,
    /// It is a coordinator that is well, by its own account, and answers nothing else.
    Stuck,
}

/// A server of that manner, for as long as the runtime lives.
fn serve(runtime: &Runtime, manner: Manner) -> SocketAddr {
    let (sender, receiver) = mpsc::channel();
    runtime.spawn(async move {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        sender.send(listener.local_addr().expect("an address")).expect("is heard");
        let mut kept = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            match manner {
                Manner::Mute => kept.push(stream),
                Manner::Foreign => {
                    stream.write_all(b"SSH-2.0-OpenSSH_9.2p1\r\n").await.expect("writes");
                    kept.push(stream);
                }
                Manner::Stuck => drop(tokio::spawn(be_stuck(stream))),
            }
        }
    });
    receiver.recv().expect("it listens")
}

async fn be_stuck(stream: tokio::net::TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else { return };
    let mut kept = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let path = request.uri().path().to_owned();
        if path.starts_with("/grpc.health.v1.Health/") {
            // Serving, as a message of gRPC: a flag, a length, and the field 1 with the value 1.
            answer(&mut respond, Some(&[0, 0, 0, 0, 2, 8, 1]));
        } else if path.ends_with("/Watch") {
            // A stream that begins.
            let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
            kept.push((respond.send_response(head, false).ok(), respond));
        } else {
            kept.push((None, respond));
        }
    }
}

fn answer(respond: &mut SendResponse<Bytes>, message: Option<&'static [u8]>) {
    let head = http::Response::builder().header("content-type", "application/grpc").body(()).expect("a head");
    let mut body = respond.send_response(head, false).expect("sends");
    if let Some(message) = message {
        body.send_data(Bytes::from_static(message), false).expect("sends");
    }
    let mut trailers = http::HeaderMap::new();
    trailers.insert("grpc-status", http::HeaderValue::from_static("0"));
    body.send_trailers(trailers).expect("sends");
}

#[test]
fn a_command_does_not_wait_for_ever() {
    let lab = Lab::empty();
    let runtime = Runtime::new().expect("a runtime");
    let mute = serve(&runtime, Manner::Mute);
    let foreign = serve(&runtime, Manner::Foreign);
    let stuck = serve(&runtime, Manner::Stuck);
    for (arguments, address, sign) in [
        (&["ls"][..], format!("{mute}"), "no answer to Health/Check from"),
        (&["ls"], format!("https://{mute}"), "no answer to the TLS handshake from"),
        (&["ls"], format!("{foreign}"), "does not answer like a coordinator"),
        (&["ls"], format!("{stuck}"), "no answer to SweepService/List from"),
        (&["workers"], format!("{stuck}"), "no answer to WorkerService/ListWorkers from"),
        (&["watch", "x", "--reconnect-within", "0"], format!("{stuck}"), "no answer to SweepService/Watch from"),
    ] {
        let options = ["--timeout", "1", "--coordinator", &address];
        let ended = lab.run(&[arguments, &options].concat());
        assert_eq!(ended.code, Some(3), "{arguments:?} {address}: {}", ended.stderr);
        assert!(ended.stderr.contains(sign), "{arguments:?} {address}: {}", ended.stderr);
        assert!(ended.stderr.contains(&address.replace("https://", "")), "it says where: {}", ended.stderr);
    }
}

#[test]
fn the_time_limit_comes_from_the_environment_too() {
    let lab = Lab::empty();
    let runtime = Runtime::new().expect("a runtime");
    let mut command = lab.secateur(&["ls", "--output", "json", "--coordinator"]);
    command.arg(serve(&runtime, Manner::Stuck).to_string()).env("SECATEUR_TIMEOUT", "1");
    let ended = super::common::Process::start(command).end();
    assert_eq!(ended.code, Some(3), "{}", ended.stderr);
    assert!(
        ended.stdout.contains("\"kind\": \"unreachable\"") && ended.stdout.contains("within 1 s"),
        "{}",
        ended.stdout
    );
}
