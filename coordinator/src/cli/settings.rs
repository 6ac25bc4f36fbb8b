//! `secateur settings`: the keys of the sweep file.

use std::process::ExitCode;

use super::{
    error::CliError,
    output::{Output, table},
};
use crate::experiment::schema::{self, KeyEntry};

#[expect(clippy::unnecessary_wraps, reason = "the form of every verb")]
pub(crate) fn run(output: Output) -> Result<ExitCode, CliError> {
    let keys = schema::keys();
    output.print(&keys, || {
        let row = |key: &KeyEntry| {
            let axis = if key.axis { "axis" } else { "" };
            vec![key.key.to_owned(), axis.to_owned(), key.default.clone(), key.values.clone(), key.about.to_owned()]
        };
        table(&["key", "", "default", "values", "what it is"], 5, keys.iter().map(row))
    });
    Ok(ExitCode::SUCCESS)
}
