//! How every Secateur process logs: structured, on standard error, so that standard output is for results alone.

use std::io::IsTerminal as _;

use tracing_subscriber::{EnvFilter, fmt};

use crate::arguments::variable;

/// The variable that says what is logged, as `info` or `secateur=debug,warn`.
pub const FILTER_VARIABLE: &str = "SECATEUR_LOG";

/// How lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line, for log collectors.
    Json,
}

/// Starts logging. `default` holds where the variable says nothing; a variable that cannot be read is reported and ignored.
pub fn start(default: &str, format: LogFormat) {
    start_to(std::io::stderr, default, format);
}

/// The same to another place, such as one that draws progress bars too.
pub fn start_to<W>(writer: W, default: &str, format: LogFormat)
where
    W: for<'a> fmt::MakeWriter<'a> + Send + Sync + 'static,
{
    let wanted = variable(FILTER_VARIABLE);
    let (filter, problem) = match wanted.as_deref().map(str::parse::<EnvFilter>) {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(default), Some(error)),
        None => (EnvFilter::new(default), None),
    };
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(writer)
        .with_target(false)
        .with_ansi(std::io::stderr().is_terminal())
        // Complaining about a standard error that nobody reads any more is a panic there.
        .log_internal_errors(false);
    match format {
        LogFormat::Text => logs.compact().init(),
        LogFormat::Json => logs.json().flatten_event(true).init(),
    }
    if let Some(error) = problem {
        tracing::warn!(%error, variable = FILTER_VARIABLE, "invalid log filter; using the default");
    }
}
