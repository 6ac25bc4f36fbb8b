//! `secateur schema`: the JSON Schema of the sweep file, for editors.

use std::process::ExitCode;

use super::{error::CliError, output::Output};
use crate::experiment::schema;

#[expect(clippy::unnecessary_wraps, reason = "the form of every verb")]
pub(crate) fn run() -> Result<ExitCode, CliError> {
    Output::Json.print_json(&schema::schema());
    Ok(ExitCode::SUCCESS)
}
