//! How a command fails: what the person reads, and the exit code that a script reads.

use std::{error::Error, process::ExitCode};

use secateur_worker::causes::with_causes;
use serde_json::json;
use tonic::{Code, Status};

use super::{output::Output, progress::Screen};
use crate::{
    artifacts::{BucketError, Trouble},
    experiment::Diagnostics,
    grpc::is_storage_failure,
    server::ServerError,
};

/// The exit code of what was asked to end.
pub(crate) const INTERRUPTED: u8 = 130;

/// How a command fails.
#[derive(Debug)]
pub(crate) enum CliError {
    /// The sweep file is wrong, in one or several places.
    Sweep(Diagnostics),
    /// Something else that was given is wrong.
    Input(String),
    /// The coordinator refused the call.
    Refused(Code, String),
    /// Something ran and failed.
    Failed(String),
    /// The coordinator cannot be reached.
    Unreachable(String),
    /// Ctrl-C or SIGTERM.
    Interrupted,
}

impl CliError {
    pub(crate) fn input(error: &dyn Error) -> Self {
        Self::Input(with_causes(error))
    }

    pub(crate) fn failed(error: &dyn Error) -> Self {
        Self::Failed(with_causes(error))
    }

    const fn code(&self) -> u8 {
        match self {
            Self::Failed(_) => 1,
            Self::Sweep(_) | Self::Input(_) | Self::Refused(..) => 2,
            Self::Unreachable(_) => 3,
            Self::Interrupted => INTERRUPTED,
        }
    }

    /// Returns the name of the kind of failure, which stays the same when a message is reworded.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Sweep(_) => "sweep_file",
            Self::Input(_) => "input",
            Self::Refused(Code::NotFound, _) => "not_found",
            Self::Refused(Code::Unauthenticated, _) => "unauthenticated",
            Self::Refused(Code::PermissionDenied, _) => "permission_denied",
            Self::Refused(Code::FailedPrecondition, _) => "failed_precondition",
            Self::Refused(..) => "invalid_argument",
            Self::Failed(_) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Interrupted => "interrupted",
        }
    }

    /// Returns what a person reads.
    pub(crate) fn message(&self) -> String {
        match self {
            Self::Sweep(diagnostics) => diagnostics.to_string(),
            Self::Input(message) | Self::Refused(_, message) | Self::Failed(message) | Self::Unreachable(message) => {
                message.clone()
            }
            Self::Interrupted => "interrupted; run the same command again to resume".to_owned(),
        }
    }

    /// Prints the error and returns the exit code.
    pub(crate) fn report(self, output: Output, screen: &Screen) -> ExitCode {
        let code = self.code();
        let message = self.message();
        if output == Output::Json {
            let diagnostics = if let Self::Sweep(diagnostics) = &self { json!(diagnostics.list) } else { json!([]) };
            let kind = self.kind();
            let error =
                json!({"error": {"kind": kind, "message": message, "exit_code": code, "diagnostics": diagnostics}});
            output.print_json(&error);
        }
        match self {
            // Its lines begin with file, line and column, as compilers' do.
            Self::Sweep(_) => screen.say(&message),
            _ => screen.error(&message),
        }
        ExitCode::from(code)
    }
}

impl From<Diagnostics> for CliError {
    fn from(diagnostics: Diagnostics) -> Self {
        Self::Sweep(diagnostics)
    }
}

impl From<ServerError> for CliError {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::InUse(_)
            | ServerError::Listen { .. }
            | ServerError::Tokens(_)
            | ServerError::Certificates(_)
            | ServerError::Revoked(_)
            | ServerError::Location(_) => Self::input(&error),
            // What a person has to mend, as far as the storage says.
            ServerError::Bucket(BucketError {
                trouble:
                    Trouble::NoBucket | Trouble::Denied | Trouble::NoCredentials | Trouble::Address | Trouble::Clear,
                ..
            }) => Self::input(&error),
            ServerError::Folder { .. } if !error.is_full() => Self::input(&error),
            _ => Self::failed(&error),
        }
    }
}

impl From<Status> for CliError {
    fn from(status: Status) -> Self {
        let message = status.message().to_owned();
        // What the coordinator itself says has no cause here; a connection that breaks has.
        if let Some(cause) = status.source() {
            return Self::Unreachable(format!("lost the connection to the coordinator: {}", with_causes(cause)));
        }
        match status.code() {
            // The coordinator is there, and says what is not.
            Code::Unavailable if is_storage_failure(&status) => Self::Failed(message),
            Code::Unavailable => Self::Unreachable(format!("lost the connection to the coordinator: {message}")),
            // The client's own: it has waited for as long as --timeout says.
            Code::DeadlineExceeded => Self::Unreachable(message),
            // tonic's own answer has no message.
            Code::Unimplemented => Self::Failed(
                "the coordinator does not support this command: it runs an older version; update it".to_owned(),
            ),
            Code::InvalidArgument
            | Code::NotFound
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Unauthenticated
            | Code::PermissionDenied => Self::Refused(status.code(), message),
            _ => Self::Failed(message),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grpc::bucket_status;

    #[test]
    fn an_older_coordinator_is_told_as_such() {
        let error = CliError::from(Status::unimplemented(""));
        assert_eq!(error.code(), 1);
        insta::assert_snapshot!(error.message());
    }

    #[test]
    fn storage_that_fails_the_coordinator_is_not_a_coordinator_that_is_lost() {
        let bucket = "s3://models/sweeps".parse().expect("a bucket");
        let error = BucketError { bucket, operation: "put an object", trouble: Trouble::Unreachable, source: None };
        let told = |status: Status| {
            // As it comes over the wire.
            let response = status.into_http::<()>();
            CliError::from(Status::from_header_map(response.headers()).expect("a status"))
        };
        let failed = told(bucket_status(&error));
        assert_eq!(failed.code(), 1);
        let CliError::Failed(message) = failed else { panic!("{failed:?}") };
        assert!(message.starts_with("the coordinator cannot put an object in s3://models/sweeps: "), "{message}");
        assert_eq!(told(Status::unavailable("the coordinator is stopping")).code(), 3);
    }
}
