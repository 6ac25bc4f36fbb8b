//! What a sweep file says that its model is for. It decides nothing.

use super::yaml;

/// The key `purpose` of a sweep file. `None` without it.
#[must_use]
pub fn purpose(text: &str) -> Option<String> {
    let (root, _) = yaml::parse("", text).ok()?;
    root.canonical().get("purpose")?.as_str().map(|purpose| purpose.trim().to_owned())
}
