//! Errors as one line of text: what happened, and what caused it.

use std::error::Error;

/// The error and its causes, the nearest first.
#[must_use]
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = error.to_string();
        // Some errors print their cause themselves.
        if !text.ends_with(&next) {
            text = format!("{text}: {next}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Example {
        #[error("cannot open")]
        Plain(#[source] io::Error),
        #[error("cannot open: {0}")]
        Printing(#[source] io::Error),
    }

    #[test]
    fn each_cause_is_told_once() {
        let cause = || io::Error::other("no such thing");
        assert_eq!(with_causes(&Example::Plain(cause())), "cannot open: no such thing");
        assert_eq!(with_causes(&Example::Printing(cause())), "cannot open: no such thing");
    }
}
