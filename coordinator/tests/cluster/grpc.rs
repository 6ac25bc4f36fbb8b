//! The services as other programs see them: the generated clients against a real coordinator.

use crate::common::{
    self, Lab, SWEEP, Server,
    fake::{FakeWorker, hello},
    free_port, report, table,
};
use secateur_proto::{
    PROTOCOL_VERSION, SEMANTICS_VERSION,
    ids::ContentHash,
    v1::{
        self, ArtifactRef, Calibrated, CancelRequest, GetArtifactRequest, GetReportRequest, GetSweepRequest, Heartbeat,
        Hello, LeaseEnded, ListSweepsRequest, ListWorkersRequest, PlanRequest, PutRequest, PutStart, ReportFormat,
        StageReport, StatReply, StatRequest, SubmitRequest, SweepFile, SweepState, WatchRequest,
        artifact_service_client::ArtifactServiceClient, put_request::Part, stage_outcome::Outcome, submit_reply::Was,
        sweep_service_client::SweepServiceClient, watch_reply::Event, worker_message::Message,
        worker_service_client::WorkerServiceClient,
    },
};
use serde_json::Value;
use tokio_stream::StreamExt as _;
use tonic::{Code, Status, transport::Channel};

async fn channel(server: &Server) -> Channel {
    Channel::from_shared(format!("http://{}", server.address)).expect("an address").connect().await.expect("connects")
}

fn artifact(bytes: &[u8]) -> ArtifactRef {
    ArtifactRef { hash: ContentHash::of(bytes).to_string(), size: bytes.len() as u64 }
}

/// An upload of `pieces` as `artifact`, from `offset` on.
async fn put(channel: &Channel, artifact: ArtifactRef, offset: u64, pieces: &[&[u8]]) -> Result<ArtifactRef, Status> {
    let start = PutRequest { part: Some(Part::Start(PutStart { artifact: Some(artifact), offset })) };
    let data = pieces.iter().map(|piece| PutRequest { part: Some(Part::Data(piece.to_vec())) });
    let parts: Vec<_> = std::iter::once(start).chain(data).collect();
    let reply = ArtifactServiceClient::new(channel.clone()).put(tokio_stream::iter(parts)).await?;
    Ok(reply.into_inner().artifact.expect("an artifact"))
}

async fn stat(channel: &Channel, hash: &str) -> StatReply {
    let request = StatRequest { hash: hash.to_owned(), direct_size: None };
    ArtifactServiceClient::new(channel.clone()).stat(request).await.expect("answers").into_inner()
}

async fn get(channel: &Channel, hash: &str, offset: u64) -> Result<Vec<u8>, Status> {
    let request = GetArtifactRequest { hash: hash.to_owned(), offset };
    let mut chunks = ArtifactServiceClient::new(channel.clone()).get(request).await?.into_inner();
    let mut bytes = vec![];
    while let Some(chunk) = chunks.message().await? {
        bytes.extend(chunk.data);
    }
    Ok(bytes)
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_in_pieces_that_is_cut_off_goes_on_where_it_stopped() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|number| (number % 251) as u8).collect();
    let whole = artifact(&bytes);
    let cut = put(&channel, whole.clone(), 0, &[&bytes[..1_000_000], &bytes[1_000_000..1_500_000]]).await;
    assert_eq!(cut.expect_err("bytes are missing").code(), Code::InvalidArgument);
    assert_eq!(stat(&channel, &whole.hash).await, StatReply { held: None, partial_size: 1_500_000, direct: None });
    assert_eq!(get(&channel, &whole.hash, 0).await.expect_err("not whole").code(), Code::NotFound);
    let gap = put(&channel, whole.clone(), 1_500_001, &[&bytes[1_500_001..]]).await.expect_err("a gap");
    // Whoever looks again learns where to go on.
    assert_eq!(gap.code(), Code::Aborted);
    assert!(gap.message().contains("at byte 1500000 "), "{}", gap.message());
    // A coordinator that dies meanwhile makes no difference.
    let Server { process, address } = server;
    process.kill();
    let server = Server::start_on(&lab, &address);
    let channel = self::channel(&server).await;
    let StatReply { partial_size, .. } = stat(&channel, &whole.hash).await;
    assert_eq!(partial_size, 1_500_000);
    let kept = put(&channel, whole.clone(), partial_size, &[&bytes[1_500_000..2_000_000], &bytes[2_000_000..]]).await;
    assert_eq!(kept.expect("is whole"), whole);
    assert_eq!(
        stat(&channel, &whole.hash).await,
        StatReply { held: Some(whole.clone()), partial_size: 0, direct: None }
    );
    assert!(get(&channel, &whole.hash, 0).await.expect("is there") == bytes);
    assert!(get(&channel, &whole.hash, 2_999_990).await.expect("is there") == bytes[2_999_990..]);
    assert_eq!(get(&channel, &whole.hash, u64::MAX / 2).await.unwrap_or_default(), [0_u8; 0]);
    assert_eq!(
        put(&channel, whole.clone(), 0, &[&bytes[..1_000_000], &bytes[1_000_000..]]).await.expect("again"),
        whole
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_of_other_bytes_than_announced_is_refused_and_not_kept() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let right = artifact(b"right");
    let refused = |error: Result<ArtifactRef, Status>| error.expect_err("is refused").code();
    assert_eq!(refused(put(&channel, right.clone(), 0, &[b"wrong"]).await), Code::DataLoss);
    assert_eq!(stat(&channel, &right.hash).await, StatReply::default());
    assert_eq!(refused(put(&channel, right.clone(), 0, &[b"rig", b"ht and more"]).await), Code::InvalidArgument);
    assert_eq!(stat(&channel, &right.hash).await, StatReply::default());
    for size in [4, 6] {
        let lie = ArtifactRef { size, ..right.clone() };
        assert_eq!(refused(put(&channel, lie, 0, &[b"right"]).await), Code::InvalidArgument);
        assert_eq!(stat(&channel, &right.hash).await.held, None);
    }
    for hash in ["", "../../../etc/passwd", &right.hash.to_uppercase(), &right.hash[1..]] {
        let nowhere = ArtifactRef { hash: hash.to_owned(), size: 5 };
        assert_eq!(refused(put(&channel, nowhere, 0, &[b"right"]).await), Code::InvalidArgument, "{hash:?}");
        assert_eq!(get(&channel, hash, 0).await.expect_err("is refused").code(), Code::InvalidArgument);
    }
    let mut client = ArtifactServiceClient::new(channel.clone());
    let nameless = PutRequest { part: Some(Part::Data(b"right".to_vec())) };
    for parts in [vec![], vec![PutRequest { part: None }], vec![nameless]] {
        let error = client.put(tokio_stream::iter(parts)).await.expect_err("is refused");
        assert_eq!(error.code(), Code::InvalidArgument);
    }
    assert_eq!(put(&channel, right.clone(), 0, &[b"right"]).await.expect("is kept"), right);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_of_another_version_is_told_what_to_do() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let refused = async |first: Message| match FakeWorker::attach(&channel, None, first).await {
        Ok(_) => panic!("it was welcomed"),
        Err(status) => (status.code(), status.message().to_owned()),
    };
    let other = Hello { protocol_version: PROTOCOL_VERSION + 1, ..hello("new") };
    let (code, message) = refused(Message::Hello(other)).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(
        message.contains(&format!("protocol version {}", PROTOCOL_VERSION + 1))
            && message.contains("install the same release"),
        "{message}"
    );
    let other = Hello { semantics_version: SEMANTICS_VERSION + 1, ..hello("new") };
    let (code, message) = refused(Message::Hello(other)).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains(&format!("semantics version {}", SEMANTICS_VERSION + 1)), "{message}");
    assert_eq!(refused(Message::Heartbeat(Heartbeat {})).await.0, Code::InvalidArgument);
    for slots in [0, u32::MAX] {
        assert_eq!(refused(Message::Hello(Hello { slots, ..hello("odd") })).await.0, Code::InvalidArgument);
    }
    let workers = WorkerServiceClient::new(channel.clone()).list_workers(ListWorkersRequest {}).await;
    assert_eq!(workers.expect("answers").into_inner().workers, []);
}

fn sweep_file(table: &[u8]) -> SweepFile {
    SweepFile {
        name: "sweep.yaml".to_owned(),
        text: SWEEP.to_owned(),
        data: Some(artifact(table)),
        weights: None,
        weights_notes: vec![],
    }
}

/// Uploads the table and submits the sweep.
async fn submit(channel: &Channel, table: &[u8]) -> v1::SubmitReply {
    put(channel, artifact(table), 0, &[table]).await.expect("the table is kept");
    let request = SubmitRequest { file: Some(sweep_file(table)), share: None };
    SweepServiceClient::new(channel.clone()).submit(request).await.expect("is taken").into_inner()
}

async fn status(channel: &Channel, sweep_id: &str) -> v1::SweepStatus {
    let request = GetSweepRequest { sweep_id: sweep_id.to_owned() };
    SweepServiceClient::new(channel.clone()).get(request).await.expect("answers").into_inner()
}

async fn json_report(channel: &Channel, sweep_id: &str) -> Vec<u8> {
    let request = GetReportRequest { sweep_id: sweep_id.to_owned(), format: ReportFormat::Json.into() };
    let mut chunks = SweepServiceClient::new(channel.clone()).get_report(request).await.expect("answers").into_inner();
    let mut bytes = vec![];
    while let Some(chunk) = chunks.message().await.expect("goes on") {
        bytes.extend(chunk.data);
    }
    bytes
}

/// Watches until the stream ends by itself, and gives the last state and the trials that ended.
async fn watch(channel: &Channel, sweep_id: &str) -> (SweepState, u64) {
    let request = WatchRequest { sweep_id: sweep_id.to_owned() };
    let mut events = SweepServiceClient::new(channel.clone()).watch(request).await.expect("answers").into_inner();
    let (mut state, mut trials) = (SweepState::Unspecified, 0);
    while let Some(reply) = events.message().await.expect("goes on") {
        match reply.event {
            Some(Event::Status(status)) => state = status.state(),
            Some(Event::Trial(_)) => trials += 1,
            _ => {}
        }
    }
    (state, trials)
}

async fn is_serving(channel: &Channel, service: &str) -> bool {
    use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
    let request = HealthCheckRequest { service: service.to_owned() };
    let reply = HealthClient::new(channel.clone()).check(request).await;
    reply.is_ok_and(|reply| reply.into_inner().status() == ServingStatus::Serving)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_reports_nonsense_is_refused_and_disturbs_nobody() {
    let lab = Lab::new(SWEEP, 200);
    // Those made by hand do not come back.
    let mut server = Server::waiting_for_workers(&lab, &free_port(), 1);
    let channel = channel(&server).await;
    let table = table(200);
    let id = submit(&channel, table.as_bytes()).await.sweep_id;
    let mut honest = FakeWorker::attach(&channel, None, Message::Hello(hello("honest")))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let lease = honest.lease().await;
    let stage = lease.stages[0].stage.clone().expect("a stage");
    let liar = FakeWorker::attach(&channel, None, Message::Hello(hello("liar")))
        .await
        .unwrap_or_else(|error| panic!("{error}"));
    let report = |lease_id: &str, stage_key: &str, outcome: Option<Outcome>| {
        let outcome = Some(v1::StageOutcome { outcome });
        Message::Report(StageReport {
            lease_id: lease_id.to_owned(),
            stage_key: stage_key.to_owned(),
            attempt: 1,
            outcome,
        })
    };
    let failed =
        || Some(Outcome::Failed(v1::Failed { class: v1::FailureClass::Internal.into(), message: "a lie".into() }));
    let completed = |hash: &str, quantity: &str, value: f64| {
        let artifact = ArtifactRef { hash: hash.to_owned(), size: 5 };
        let result = Some(v1::measurement::Result::Value(value));
        let metrics = vec![v1::Measurement { quantity: quantity.to_owned(), result }];
        Some(Outcome::Completed(v1::Completed { metrics, artifacts: [("prepared".to_owned(), artifact)].into() }))
    };
    let somewhere = ContentHash::of(b"never uploaded").to_string();
    let unreadable = [
        report("../lease", &stage.key, failed()),
        report(&lease.lease_id, "no key", failed()),
        report(&lease.lease_id, &stage.key, None),
        report(&lease.lease_id, &stage.key, completed("no hash", "auc@test", 0.5)),
        report(&lease.lease_id, &stage.key, completed(&somewhere, "charm@test", 0.5)),
        report(&lease.lease_id, &stage.key, completed(&somewhere, "auc@test", f64::NAN)),
        Message::Hello(hello("liar")),
        Message::Calibrated(Calibrated { bundle_class: "x".to_owned(), lanes: 0, lane_steps_per_second: 1.0 }),
        Message::LeaseEnded(LeaseEnded { lease_id: String::new(), failure: None }),
    ];
    for message in unreadable {
        liar.say(message).await;
        server.process.wait_for(&["a message is refused"]);
    }
    let unfounded = [
        report(&lease.lease_id, &stage.key, failed()),
        report(&lease.lease_id, &somewhere, failed()),
        // A result whose files nobody has is none.
        report(&lease.lease_id, &stage.key, completed(&somewhere, "auc@test", 0.5)),
        Message::LeaseEnded(LeaseEnded { lease_id: lease.lease_id.clone(), failure: None }),
        Message::LeaseEnded(LeaseEnded { lease_id: "99-99".to_owned(), failure: None }),
        Message::Calibrated(Calibrated {
            bundle_class: "x".to_owned(),
            lanes: 4,
            lane_steps_per_second: f64::INFINITY,
        }),
    ];
    for message in unfounded {
        liar.say(message).await;
        server.process.wait_for(&["an event was rejected"]);
    }
    let after = status(&channel, &id).await;
    assert_eq!((after.state(), after.stages_ended, after.stages_leased), (SweepState::Running, 0, 1));
    drop(liar);
    server.process.wait_for(&["a worker's stream ended"]);
    // The one that holds the lease may fail, once, and may not have completed what it has not uploaded.
    honest.say(report(&lease.lease_id, &stage.key, completed(&somewhere, "auc@test", 0.5))).await;
    honest.say(Message::LeaseEnded(LeaseEnded { lease_id: lease.lease_id.clone(), failure: None })).await;
    let second = honest.lease().await;
    assert_eq!(second.stages[0].stage.as_ref().map(|stage| &stage.key), Some(&stage.key));
    assert!(second.stages[0].attempt > lease.stages[0].attempt);
    drop(honest);
    assert!(is_serving(&channel, "secateur.v1.WorkerService").await);
    let _worker = server.worker(&lab, "real");
    assert_eq!(watch(&channel, &id).await.0, SweepState::Completed);
    let end = status(&channel, &id).await;
    assert_eq!((end.trials_completed, end.trials_failed), (end.trials, 0));
    lab.run(&["run", "sweep.yaml", "--out", "run", "--lanes", "4"]).expect(0);
    assert!(json_report(&channel, &id).await == common::report(&lab.path("run")), "the reports differ");
}

#[tokio::test(flavor = "multi_thread")]
async fn health_and_reflection_know_the_three_services() {
    use tonic_reflection::pb::v1::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let services = ["ArtifactService", "SweepService", "WorkerService"].map(|name| format!("secateur.v1.{name}"));
    for service in &services {
        assert!(is_serving(&channel, service).await, "{service}");
    }
    assert!(is_serving(&channel, "").await);
    assert!(!is_serving(&channel, "secateur.v1.OtherService").await);
    let request = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(channel);
    let replies = client.server_reflection_info(tokio_stream::iter([request])).await.expect("answers").into_inner();
    let reply = replies.collect::<Vec<_>>().await.remove(0).expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = reply else { panic!("no list but {reply:?}") };
    let mut names: Vec<String> = list.service.into_iter().map(|service| service.name).collect();
    names.retain(|name| name.starts_with("secateur."));
    names.sort();
    assert_eq!(names, services);
}

/// Clients that know the older reflection alone, Python's among them, are served as well.
#[tokio::test(flavor = "multi_thread")]
async fn the_older_reflection_knows_the_same_services() {
    use tonic_reflection::pb::v1alpha::{
        ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
        server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
    };
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let request = MessageRequest::ListServices(String::new());
    let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
    let mut client = ServerReflectionClient::new(channel(&server).await);
    let replies = client.server_reflection_info(tokio_stream::iter([request])).await.expect("answers").into_inner();
    let reply = replies.collect::<Vec<_>>().await.remove(0).expect("an answer").message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = reply else { panic!("no list but {reply:?}") };
    let names = list.service.iter().filter(|service| service.name.starts_with("secateur.v1."));
    assert_eq!(names.count(), 3, "{list:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_watched_cancelled_and_gone_on_with() {
    let lab = Lab::new(SWEEP, 200);
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let table = table(200);
    let reply = submit(&channel, table.as_bytes()).await;
    assert_eq!(reply.was(), Was::New);
    let id = reply.sweep_id;
    assert_eq!(submit(&channel, table.as_bytes()).await.was(), Was::Known);
    let pending: Value = serde_json::from_slice(&json_report(&channel, &id).await).expect("JSON");
    let trials = pending["trials"].as_array().expect("a list");
    assert!(!trials.is_empty() && trials.iter().all(|trial| trial["outcome"] == "pending"));
    assert_eq!(pending["front"], Value::Array(vec![]));

    let watching = tokio::spawn({
        let (channel, id) = (channel.clone(), id.clone());
        async move { watch(&channel, &id).await }
    });
    let mut sweeps = SweepServiceClient::new(channel.clone());
    // Enough of the id's beginning is enough.
    let cancelled = sweeps
        .cancel(CancelRequest { sweep_id: id[..6].to_owned(), drain: false })
        .await
        .expect("is cancelled")
        .into_inner();
    assert_eq!(cancelled.state(), SweepState::Cancelled);
    assert_eq!(watching.await.expect("ends").0, SweepState::Cancelled);
    assert_eq!(watch(&channel, &id).await, (SweepState::Cancelled, 0));

    assert_eq!(submit(&channel, table.as_bytes()).await.was(), Was::Stopped);
    let watching = tokio::spawn({
        let (channel, id) = (channel.clone(), id.clone());
        async move { watch(&channel, &id).await }
    });
    let _worker = server.worker(&lab, "real");
    let (state, ended) = watching.await.expect("ends");
    assert_eq!(state, SweepState::Completed);
    assert!(ended <= trials.len() as u64);
    lab.run(&["run", "sweep.yaml", "--out", "run", "--lanes", "4"]).expect(0);
    assert!(json_report(&channel, &id).await == report(&lab.path("run")), "the reports differ");
    let finished = sweeps.cancel(CancelRequest { sweep_id: id, drain: true }).await.expect_err("it has completed");
    assert_eq!(finished.code(), Code::FailedPrecondition);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_drains_ends_with_what_is_under_way() {
    let lab = Lab::new(SWEEP, 200);
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let mut worker = FakeWorker::attach(&channel, None, Message::Hello(hello("w"))).await.expect("is welcome");
    let id = submit(&channel, table(200).as_bytes()).await.sweep_id;
    let lease = worker.lease().await;
    let ask = |verb: &[&str]| lab.run(&[verb, &["--coordinator", &server.address]].concat()).expect(0).stdout;
    let said = ask(&["cancel", "--drain", &id]);
    assert!(said.contains("is draining") && said.contains("watch"), "{said}");
    for (verb, expected) in [(&["ls"][..], "draining"), (&["show", &id], "draining"), (&["explain", &id], "cancelled")]
    {
        let said = ask(verb);
        assert!(said.contains(expected), "{verb:?}: {said}");
    }
    let of_programs: Value = serde_json::from_str(&ask(&["show", &id, "--output", "json"])).expect("JSON");
    assert_eq!((&of_programs["state"], &of_programs["draining"]), (&"running".into(), &true.into()));
    let watching = tokio::spawn({
        let (channel, id) = (channel.clone(), id.clone());
        async move { watch(&channel, &id).await }
    });
    let trial = of_programs["trials_detail"][0]["id"].as_str().expect("a trial").to_owned();
    let following = lab.start(&["logs", &trial, "--follow", "--coordinator", &server.address]);
    worker.say(Message::LeaseEnded(LeaseEnded { lease_id: lease.lease_id, failure: None })).await;
    let (state, ended) = watching.await.expect("ends");
    assert_eq!(state, SweepState::Cancelled);
    let status = status(&channel, &id).await;
    assert_eq!((status.draining, status.stages_ended, ended), (false, 0, status.trials));
    // Nobody will say anything of what is given up.
    following.end().expect(0);
    assert!(ask(&["submit", "sweep.yaml"]).contains(&id));
    // The first one handed its work back, and gets no more.
    let mut worker = FakeWorker::attach(&channel, None, Message::Hello(hello("another"))).await.expect("is welcome");
    let lease = worker.lease().await;
    assert!(ask(&["cancel", "--drain", &id]).contains("is draining"));
    let retried = ask(&["retry", &id]);
    assert!(retried.contains("resumes") && retried.contains("is running"), "{retried}");
    worker.say(Message::LeaseEnded(LeaseEnded { lease_id: lease.lease_id, failure: None })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_that_cannot_be_taken_changes_nothing() {
    let lab = Lab::empty();
    let server = Server::start(&lab);
    let channel = channel(&server).await;
    let mut sweeps = SweepServiceClient::new(channel.clone());
    let table = table(200);
    let mut refused = async |file: Option<SweepFile>| {
        let planned = sweeps.get_plan(PlanRequest { file: file.clone() }).await.expect_err("is refused");
        let submitted = sweeps.submit(SubmitRequest { file, share: None }).await.expect_err("is refused");
        assert_eq!((planned.code(), planned.message()), (submitted.code(), submitted.message()));
        (submitted.code(), submitted.message().to_owned())
    };
    let file = || sweep_file(table.as_bytes());
    let (code, message) = refused(Some(file())).await;
    assert_eq!(code, Code::FailedPrecondition);
    assert!(message.contains("uploaded first"), "{message}");
    put(&channel, artifact(table.as_bytes()), 0, &[table.as_bytes()]).await.expect("the table is kept");
    assert_eq!(refused(None).await.0, Code::InvalidArgument);
    assert_eq!(refused(Some(SweepFile { data: None, ..file() })).await.0, Code::InvalidArgument);
    let (code, message) = refused(Some(SweepFile { text: SWEEP.replace("target: y", "target: a"), ..file() })).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("table.csv") && message.contains("target"), "{message}");
    let (code, message) = refused(Some(SweepFile { text: SWEEP.replace("seeds", "seedz"), ..file() })).await;
    assert_eq!(code, Code::InvalidArgument);
    assert!(message.contains("sweep.yaml:15:1: seedz: "), "{message}");
    let planned = sweeps.get_plan(PlanRequest { file: Some(file()) }).await.expect("a good one is planned");
    let (mut chunks, mut plan) = (planned.into_inner(), vec![]);
    while let Some(chunk) = chunks.message().await.expect("arrives") {
        plan.extend(chunk.data);
    }
    assert!(serde_json::from_slice::<Value>(&plan).is_ok_and(|plan| plan["sweep"]["name"] == "small"));
    #[expect(deprecated, reason = "it is what older clients call")]
    let refused = sweeps.plan(PlanRequest { file: Some(file()) }).await.expect_err("one message holds no plan");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("GetPlan"), "{}", refused.message());
    assert_eq!(sweeps.list(ListSweepsRequest::default()).await.expect("answers").into_inner().sweeps, []);
    for id in ["abc", "", "é\u{1b}"] {
        let missing = sweeps.get(GetSweepRequest { sweep_id: id.to_owned() }).await.expect_err("there is none");
        assert_eq!(missing.code(), Code::NotFound);
        let missing =
            sweeps.cancel(CancelRequest { sweep_id: id.to_owned(), drain: false }).await.expect_err("there is none");
        assert_eq!(missing.code(), Code::NotFound);
    }
}
