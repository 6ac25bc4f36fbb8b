//! `secateur.toml` with the real program.

use crate::common::{Lab, Server, free_port};

#[test]
fn a_file_holds_what_a_service_and_its_people_need() {
    let lab = Lab::empty();
    lab.run(&["token", "create", "root", "--role", "admin", "--data-dir", "state", "--out", "root.token"]).expect(0);
    lab.write(
        "secateur.toml",
        format!("[serve]\nlisten = \"{}\"\ndata-dir = \"state\"\nmax-sweeps = 5\n", free_port()),
    );
    let config = ["--config", "secateur.toml"];
    let server = Server::of(lab.start(&[&["serve"], &config[..]].concat()));
    assert!(lab.path("state/journal.db").exists());
    let people = format!(
        "context = \"head\"\n[contexts.head]\ncoordinator = \"{}\"\ntoken-file = \"root.token\"\n[contexts.away]\ncoordinator = \"127.0.0.1:1\"\n",
        server.address
    );
    lab.write("people.toml", people);
    let with = |words: &[&str]| {
        let mut command = lab.secateur(words);
        command.env("SECATEUR_CONFIG", "people.toml");
        command
    };
    let run = |words: &[&str]| crate::common::Process::start(with(words)).end();
    run(&["ls"]).expect(0);
    run(&["ls", "--context", "away"]).expect(3);
    let unknown = run(&["ls", "--context", "none"]).expect(2);
    assert!(unknown.stderr.contains("it has") && unknown.stderr.contains("head"), "{}", unknown.stderr);
    // The token of one coordinator is not sent to another one.
    let elsewhere = run(&["ls", "--coordinator", &server.address]).expect(2);
    assert!(elsewhere.stderr.contains("requires a token"), "{}", elsewhere.stderr);

    // Each value says where it comes from.
    let mut command = lab.secateur(&["config", "show", "--output", "json", "--config", "secateur.toml"]);
    command.env("SECATEUR_KEEP_FREE", "1GiB").env("SECATEUR_JOURNAL", "postgres://me:secret@db/x");
    let shown = crate::common::Process::start(command).end().expect(0);
    assert!(!shown.stdout.contains("secret"), "{}", shown.stdout);
    let shown = shown.json();
    let of = |section: &str, key: &str| {
        let settings = shown["settings"].as_array().expect("a list");
        let setting = settings.iter().find(|setting| setting["section"] == section && setting["key"] == key);
        let setting = setting.expect("is shown");
        (setting["value"].as_str().unwrap_or_default().to_owned(), setting["from"].as_str().expect("a text").to_owned())
    };
    assert_eq!(of("serve", "max-sweeps"), ("5".to_owned(), "secateur.toml:4 [serve]".to_owned()));
    assert_eq!(of("serve", "keep-free"), ("1GiB".to_owned(), "SECATEUR_KEEP_FREE".to_owned()));
    assert_eq!(of("serve", "insecure"), ("false".to_owned(), "default".to_owned()));
    assert_eq!(of("client", "coordinator").1, "default");
    let path = lab.run(&["config", "path", "--config", "secateur.toml"]).expect(0).stdout;
    assert!(path.trim_end().ends_with("/secateur.toml") && path.starts_with('/'), "{path}");

    // A mistake is said with its place, whatever the command.
    lab.write("secateur.toml", "[serve]\nlisten = \"nowhere\"\n");
    let wrong = lab.run(&["serve", "--config", "secateur.toml"]).expect(2);
    assert!(wrong.stderr.contains("secateur.toml:2:1: serve.listen: \"nowhere\" is not valid"), "{}", wrong.stderr);
    lab.write("secateur.toml", "[serve]\nlisten-on = \"127.0.0.1:1\"\n");
    let wrong = lab.run(&["ls", "--config", "secateur.toml"]).expect(2);
    assert!(
        wrong.stderr.contains("secateur.toml:2:1: unknown key") && wrong.stderr.contains("did you mean listen?"),
        "{}",
        wrong.stderr
    );
    lab.run(&["--help", "--config", "secateur.toml"]).expect(0);
    // An authority of the environment is another coordinator's.
    let mut command =
        lab.secateur(&["ls", "--coordinator", &format!("http://{}", server.address), "--token-file", "root.token"]);
    command.env("SECATEUR_CA", "no-such.pem");
    let ended = crate::common::Process::start(command).end().expect(0);
    assert!(ended.stderr.contains("ignoring SECATEUR_CA"), "{}", ended.stderr);
}
