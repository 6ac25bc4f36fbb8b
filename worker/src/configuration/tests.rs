use std::fs;

use clap::Parser;

use super::*;
use crate::connection::CoordinatorArguments;

#[derive(Debug, Parser)]
#[command(name = "secateur")]
struct Program {
    #[command(flatten)]
    configuration: ConfigurationArguments,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, clap::Subcommand)]
enum Verb {
    Serve {
        #[arg(long, default_value = "127.0.0.1:7400")]
        listen: std::net::SocketAddr,
        #[arg(long, value_name = "DIR", default_value = "data")]
        data_dir: PathBuf,
        #[arg(long)]
        insecure: bool,
        #[arg(long, value_delimiter = ',')]
        device: Vec<String>,
        #[arg(long, default_value = "3")]
        max_sweeps: u32,
    },
    Ls {
        #[command(flatten)]
        coordinator: CoordinatorArguments,
        #[arg(long)]
        all: bool,
    },
    Worker {
        #[command(flatten)]
        coordinator: CoordinatorArguments,
    },
}

/// Parses words with a file of that content, in a folder of its own.
fn parsed(content: &str, words: &[&str]) -> Result<(Program, PathBuf), String> {
    use clap::{CommandFactory as _, FromArgMatches as _};
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(FILE);
    fs::write(&path, content).expect("writes");
    let shown = |message: String| message.replace(&path.display().to_string(), FILE);
    let words: Vec<OsString> = ["secateur", "--config"]
        .iter()
        .map(OsString::from)
        .chain([path.clone().into()])
        .chain(words.iter().map(OsString::from))
        .collect();
    let configuration = Configuration::load(&Program::command(), &words).map_err(|error| shown(error.to_string()))?;
    let command = configuration.apply(Program::command());
    let matches = command
        .try_get_matches_from(&words)
        .map_err(|error| shown(configuration.explain(&error).unwrap_or_else(|| error.to_string())))?;
    Ok((Program::from_arg_matches(&matches).expect("fits"), folder.path().to_owned()))
}

const FILE_OF_TWO: &str = r#"
context = "head"

[serve]
listen = "127.0.0.1:9"
data-dir = "state"
insecure = true
device = ["cpu", "gpu"]
max-sweeps = 7

[contexts.head]
coordinator = "https://head:7400"
token-file = "/tokens/head"

[contexts.other]
coordinator = "other"
"#;

#[test]
fn a_file_gives_defaults_that_options_override() {
    let (program, folder) = parsed(FILE_OF_TWO, &["serve", "--max-sweeps", "9"]).expect("is right");
    let Verb::Serve { listen, data_dir, insecure, device, max_sweeps } = program.verb else { panic!("is serve") };
    assert_eq!((listen.port(), insecure, max_sweeps), (9, true, 9));
    assert_eq!(data_dir, folder.join("state"), "relative to the file");
    assert_eq!(device, ["cpu", "gpu"]);
}

#[test]
fn a_coordinator_is_called_by_its_name_and_gets_no_others_token() {
    let of = |words: &[&str]| {
        let (program, _) = parsed(FILE_OF_TWO, words).expect("is right");
        let Verb::Ls { coordinator, .. } = program.verb else { panic!("is ls") };
        (coordinator.coordinator, coordinator.token_file)
    };
    let token = Some(PathBuf::from("/tokens/head"));
    assert_eq!(of(&["ls"]), ("https://head:7400".to_owned(), token.clone()));
    assert_eq!(of(&["ls", "--context", "head"]), ("https://head:7400".to_owned(), token));
    assert_eq!(of(&["ls", "--context=other"]), ("other".to_owned(), None));
    assert_eq!(of(&["ls", "--coordinator", "stranger"]), ("stranger".to_owned(), None));
}

#[test]
fn a_worker_calls_the_coordinator_of_its_section_unless_another_one_is_given_and_no_other_gets_its_token() {
    let own = "[worker]\ncoordinator = \"https://own:7400\"\ntoken-file = \"/tokens/own\"\n";
    let content = format!("{FILE_OF_TWO}\n{own}");
    let of = |words: &[&str]| {
        let (program, _) = parsed(&content, words).expect("is right");
        let Verb::Worker { coordinator } = program.verb else { panic!("is worker") };
        (coordinator.coordinator, coordinator.token_file)
    };
    let token = |name: &str| Some(PathBuf::from(format!("/tokens/{name}")));
    assert_eq!(of(&["worker"]), ("https://own:7400".to_owned(), token("own")));
    assert_eq!(of(&["worker", "--context", "head"]), ("https://head:7400".to_owned(), token("head")));
    assert_eq!(of(&["worker", "--context", "other"]), ("other".to_owned(), None));
    assert_eq!(of(&["worker", "--coordinator", "stranger"]), ("stranger".to_owned(), None));
}

#[test]
fn mistakes_have_a_place_and_a_suggestion() {
    let told = [
        ("[serve]\nlisten = \"x\"\n", &["serve"][..]),
        ("[serve]\n  lisen = \"127.0.0.1:9\"\n", &["serve"]),
        ("[serv]\n", &["serve"]),
        ("[serve]\ninsecure = \"yes\"\n", &["serve"]),
        ("[serve]\nlisten = [\"127.0.0.1:9\"]\n", &["serve"]),
        ("serve = 1\n", &["serve"]),
        ("[serve\n", &["serve"]),
        ("[contexts.head]\ntoken = \"x\"\n", &["ls"]),
        ("context = \"head\"\n[contexts.other]\n", &["ls"]),
        ("[contexts.other]\n", &["ls", "--context", "head"]),
        ("[contexts.other]\n", &["ls", "--context", "other", "--coordinator", "head"]),
    ]
    .map(|(content, words)| parsed(content, words).map(drop).expect_err(content));
    insta::assert_snapshot!(told.join("\n"));
}

#[test]
fn every_option_of_a_section_has_a_variable() {
    use clap::CommandFactory as _;
    let command = with_variables(Program::command());
    let variables = |verb: &str| {
        let verb = command.find_subcommand(verb).expect("is there");
        let shown = verb.get_arguments().filter_map(|argument| argument.get_env()?.to_str().map(str::to_owned));
        shown.collect::<Vec<_>>()
    };
    let of_serve = ["LISTEN", "DATA_DIR", "INSECURE", "DEVICE", "MAX_SWEEPS"].map(|name| format!("SECATEUR_{name}"));
    assert_eq!(variables("serve"), of_serve);
    // Options of other commands mean something else in each.
    assert!(!variables("ls").contains(&"SECATEUR_ALL".to_owned()));
}

#[test]
fn options_are_found_among_words() {
    let words = |text: &str| text.split(' ').map(OsString::from).collect::<Vec<_>>();
    let found = |text: &str| option_in(&words(text), "context").map(|value| value.into_string().expect("text"));
    assert_eq!(found("ls --context head").as_deref(), Some("head"));
    assert_eq!(found("--context=head ls").as_deref(), Some("head"));
    assert_eq!(found("ls --contexts x"), None);
    assert_eq!(found("ls -- --context x"), None);
    assert_eq!(found("ls --context"), None);
}
