//! The options of every command that calls a coordinator: where it is, and how long it may be silent.

use std::time::Duration;

use clap::Args;
use secateur_worker::{
    connection::{ConnectionError, CoordinatorArguments, Remote},
    time_limit::{Answers, TimeLimit},
};

/// The options of every command that calls a coordinator.
#[derive(Debug, Clone, Args)]
pub(crate) struct ClientArguments {
    #[command(flatten)]
    coordinator: CoordinatorArguments,
    /// Give up after SECONDS without an answer, or between two parts of one; 0 = never. What the coordinator has to compute, such as
    /// a plan or a report, may take ten times as long
    #[arg(long, env = "SECATEUR_TIMEOUT", default_value = "30", value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(0..=86_400))]
    timeout: u64,
}

impl ClientArguments {
    /// The coordinator to call, as this user.
    pub(crate) fn remote(&self) -> Result<Remote, ConnectionError> {
        let limit = (self.timeout > 0).then(|| TimeLimit { silence: Duration::from_secs(self.timeout), of: answers });
        Ok(Remote::of(&self.coordinator)?.limited(limit).of_user(user()))
    }
}

/// The user of this process, as the system calls it.
pub(crate) fn user() -> Option<String> {
    whoami::username().ok().filter(|name| !name.is_empty())
}

/// How a method answers.
fn answers(method: &str) -> Answers {
    match method.trim_start_matches("secateur.v1.") {
        "SweepService/Submit"
        | "SweepService/Extend"
        | "SweepService/GetPlan"
        | "SweepService/GetReport"
        | "SweepService/Retry"
        | "SweepService/Forget"
        | "SweepService/Explain"
        | "ArtifactService/Put"
        | "ArtifactService/CollectGarbage" => Answers::Computed,
        // The coordinator repeats a sweep's state every few seconds in `Watch`, and nothing in `Logs`.
        "SweepService/Logs" => Answers::AsThingsHappen,
        _ => Answers::AtOnce,
    }
}

#[cfg(test)]
mod tests {
    use secateur_proto::DESCRIPTORS;

    use super::*;

    #[test]
    fn methods_are_named_as_they_are() {
        use prost::Message as _;
        let files = prost_types::FileDescriptorSet::decode(DESCRIPTORS).expect("descriptors");
        let services = files.file.iter().flat_map(|file| &file.service);
        let named = services.flat_map(|service| {
            service.method.iter().map(|method| format!("secateur.v1.{}/{}", service.name(), method.name()))
        });
        let slow = named.filter(|name| answers(name) != Answers::AtOnce).count();
        assert_eq!(slow, 10, "a name in the table is no method");
        assert_eq!(answers("secateur.v1.SweepService/List"), Answers::AtOnce);
    }
}
