//! Sweeps that are extended, as clients see it.

use crate::common::{Lab, SWEEP, Server, fake::with_token, table};
use secateur_proto::{
    ids::ContentHash,
    v1::{
        ArtifactRef, CancelRequest, ExtendReply, ExtendRequest, GetSweepRequest, Share, SweepFile, SweepState,
        SweepStatus, submit_reply::Was, sweep_service_client::SweepServiceClient,
    },
};
use tonic::{Code, Status, transport::Channel};

const ROWS: u32 = 300;

struct Client {
    sweeps: SweepServiceClient<Channel>,
    token: String,
}

impl Client {
    async fn extend(&mut self, sweep_id: &str, text: &str, share: Option<Share>) -> Result<ExtendReply, Status> {
        let table = table(ROWS);
        let data = ArtifactRef { hash: ContentHash::of(table.as_bytes()).to_string(), size: table.len() as u64 };
        let file = SweepFile {
            name: "sweep.yaml".into(),
            text: text.into(),
            data: Some(data),
            weights: None,
            weights_notes: vec![],
        };
        let request = ExtendRequest { sweep_id: sweep_id.into(), file: Some(file), share };
        Ok(self.sweeps.extend(with_token(&self.token, request)).await?.into_inner())
    }

    async fn status(&mut self, sweep_id: &str) -> SweepStatus {
        let request = with_token(&self.token, GetSweepRequest { sweep_id: sweep_id.into() });
        self.sweeps.get(request).await.expect("is there").into_inner()
    }
}

fn token(lab: &Lab, name: &str, role: &str) -> String {
    let made = lab.run(&["token", "create", name, "--role", role, "--data-dir", "data"]).expect(0);
    lab.write(&format!("{name}.token"), &made.stdout);
    made.stdout.trim().to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sweep_is_extended_by_what_its_file_adds() {
    let lab = Lab::new(SWEEP, ROWS);
    let [alice, bob] = [("alice", "submit"), ("bob", "read")].map(|(name, role)| token(&lab, name, role));
    let server = Server::start(&lab);
    let way = ["--coordinator", &server.address, "--token-file", "alice.token", "--output", "json"];
    let submitted = lab.run(&[&["submit", "sweep.yaml"], &way[..]].concat()).expect(0).json();
    let id = submitted["sweep_id"].as_str().expect("an id").to_owned();
    let channel = Channel::from_shared(format!("http://{}", server.address)).expect("an address");
    let sweeps = SweepServiceClient::new(channel.connect().await.expect("connects"));
    let mut client = Client { sweeps: sweeps.clone(), token: alice };
    let before = client.status(&id).await;

    // Nothing new.
    let same = client.extend(&id, SWEEP, None).await.expect("is known");
    assert_eq!((same.extended, same.new_trials, same.new_stages, same.was()), (false, 0, 0, Was::Known));

    // One seed more of 8 cells, of 2 dense and of 4 random controls, and the dense nets that they come from.
    let grown = SWEEP.replace("seeds: 2", "seeds: 3");
    let share = Share { priority: Some(7), max_workers: None };
    let reply = client.extend(&id[..6], &grown, Some(share)).await.expect("it grows");
    assert_eq!((reply.sweep_id.as_str(), reply.extended, reply.was()), (id.as_str(), true, Was::Known));
    let after = client.status(&id).await;
    assert_eq!(reply.new_trials, before.trials / 2);
    assert_eq!(after.trials, before.trials + reply.new_trials);
    assert_eq!(after.stages, before.stages + reply.new_stages);
    assert_eq!((after.priority, after.name), (7, before.name));
    let again = client.extend(&id, &grown, None).await.expect("is known");
    assert_eq!((again.extended, again.new_trials), (false, 0));

    // What was given up goes on, with or without news.
    let cancel = CancelRequest { sweep_id: id.clone(), drain: false };
    client.sweeps.cancel(with_token(&client.token, cancel)).await.expect("is cancelled");
    let resumed = client.extend(&id, &grown, None).await.expect("is known");
    assert_eq!((resumed.extended, resumed.was()), (false, Was::Stopped));
    assert_eq!(client.status(&id).await.state(), SweepState::Running);

    // What is no extension changes nothing.
    let changed = grown.replace("epochs: 4", "epochs: 5");
    let refused = client.extend(&id, &changed, None).await.expect_err("other trials");
    assert_eq!(refused.code(), Code::FailedPrecondition);
    insta::assert_snapshot!(refused.message());
    assert_eq!(client.extend("nobody", &grown, None).await.expect_err("no sweep").code(), Code::NotFound);
    let wrong = grown.replace("seeds: 3", "seeds: none");
    assert_eq!(client.extend(&id, &wrong, None).await.expect_err("no file").code(), Code::InvalidArgument);
    let mut reader = Client { sweeps, token: bob };
    assert_eq!(reader.extend(&id, &grown, None).await.expect_err("may not").code(), Code::PermissionDenied);
    assert_eq!(client.status(&id).await.trials, after.trials);

    // The same with the command.
    lab.write("sweep.yaml", grown.replace("[0.5, 0.8]", "[0.5, 0.8, 0.9]"));
    let told = lab.run(&[&["extend", &id, "sweep.yaml"], &way[..]].concat()).expect(0);
    let status = client.status(&id).await;
    assert_eq!(told.json()["new_trials"], status.trials - after.trials);
    assert_eq!((&told.json()["sweep_id"], &told.json()["extended"]), (&id.clone().into(), &true.into()));
    let shown = lab.run(&[&["show", &id], &way[..]].concat()).expect(0).json();
    assert_eq!(shown["trials_detail"].as_array().map(Vec::len), Some(status.trials as usize));
    let unknown = lab.run(&[&["extend", "nobody", "sweep.yaml"], &way[..]].concat()).expect(2);
    assert_eq!(unknown.json()["error"]["exit_code"], 2);
    let log = std::fs::read_to_string(lab.path("data/audit.jsonl")).expect("there is a log");
    assert!(log.lines().any(|line| line.contains(r#""did":"extend""#) && line.contains("alice")), "{log}");
}
