//! What is wrong with a sweep file, and where. Knows nothing of YAML or of terminals.

use std::fmt;

use serde::Serialize;

/// A place in the file; both numbers count from 1, columns in characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Mark {
    /// Line.
    pub line: usize,
    /// Column.
    pub column: usize,
}

impl Mark {
    /// Where a file begins.
    pub const START: Self = Self { line: 1, column: 1 };
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// One problem.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Diagnostic {
    /// Where it is.
    #[serde(flatten)]
    pub mark: Mark,
    /// The key's path, as `pruning.sparsity[1]`; empty when the problem is with the file as a whole.
    pub path: String,
    /// What was found, what is allowed, what to do.
    pub message: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.mark)?;
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// Every problem of one file, in the order of the file. Shown as one line each (`file:line:column: path: message`) and their number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostics {
    /// The file's name, as the user gave it.
    pub file: String,
    /// At least one.
    pub list: Vec<Diagnostic>,
}

impl Diagnostics {
    /// Sorts `list` by position.
    #[must_use]
    pub fn new(file: &str, mut list: Vec<Diagnostic>) -> Self {
        list.sort();
        list.dedup();
        Self { file: file.to_owned(), list }
    }

    /// A single problem.
    #[must_use]
    pub fn one(file: &str, mark: Mark, path: &str, message: impl Into<String>) -> Self {
        Self::new(file, vec![Diagnostic { mark, path: path.to_owned(), message: message.into() }])
    }
}

/// Problems shown to a person; the rest is counted. `list` has them all.
const SHOWN: usize = 100;

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for diagnostic in self.list.iter().take(SHOWN) {
            writeln!(f, "{}:{diagnostic}", self.file)?;
        }
        if self.list.len() > SHOWN {
            writeln!(f, "… and {} more", self.list.len() - SHOWN)?;
        }
        match self.list.len() {
            1 => write!(f, "1 problem"),
            count => write!(f, "{count} problems"),
        }
    }
}

impl std::error::Error for Diagnostics {}

/// The longest piece of the user's text that a message repeats, in characters.
const QUOTED: usize = 40;

/// The user's text in quotes, escaped and cut to a length that can be printed.
pub(crate) fn quote(text: &str) -> String {
    match text.char_indices().nth(QUOTED) {
        None => format!("{text:?}"),
        Some((end, _)) => format!("{:?}…", &text[..end]),
    }
}

/// Returns `; did you mean "x"?` for the known name nearest to `found`; an empty text if none is near.
pub(crate) fn did_you_mean<'a>(found: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    const LONGEST: usize = 64;
    if found.len() > LONGEST {
        return String::new();
    }
    let lower = found.to_lowercase();
    (known.into_iter())
        .map(|name| (strsim::damerau_levenshtein(&lower, name), name))
        .filter(|(distance, name)| *distance <= (name.chars().count().max(lower.chars().count()) / 3).max(1))
        .min()
        .map(|(_, name)| format!("; did you mean \"{name}\"?"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn problems_are_shown_in_the_order_of_the_file_with_their_number() {
        let at = |line, column, path: &str, message: &str| Diagnostic {
            mark: Mark { line, column },
            path: path.to_owned(),
            message: message.to_owned(),
        };
        let list = vec![at(10, 1, "seeds", "b"), at(9, 3, "", "a"), at(10, 1, "seeds", "b")];
        let diagnostics = Diagnostics::new("x.yaml", list);
        assert_eq!(diagnostics.to_string(), "x.yaml:9:3: a\nx.yaml:10:1: seeds: b\n2 problems");
        let json = serde_json::to_value(&diagnostics).expect("plain data");
        assert_eq!(json["list"][0], serde_json::json!({"line": 9, "column": 3, "path": "", "message": "a"}));
    }

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        let known = ["strategy", "scope", "sparsity", "lr"];
        assert_eq!(did_you_mean("sparcity", known), "; did you mean \"sparsity\"?");
        assert_eq!(did_you_mean("rl", known), "; did you mean \"lr\"?");
        assert_eq!(did_you_mean("Scope", known), "; did you mean \"scope\"?");
        assert_eq!(did_you_mean("banana", known), "");
        assert_eq!(did_you_mean(&"sparsity".repeat(100_000), known), "");
    }

    #[test]
    fn quoted_text_is_escaped_and_cut_between_characters() {
        assert_eq!(quote("a\u{1b}\n"), "\"a\\u{1b}\\n\"");
        assert_eq!(quote(&"é".repeat(100)), format!("\"{}\"…", "é".repeat(40)));
    }
}
