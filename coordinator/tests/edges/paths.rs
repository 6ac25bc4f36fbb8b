//! The paths that a source text names, without its comments, literals and what is under `#[cfg(test)]`. Knows nothing of rules.

/// A path as it is written, or as an import spells it out.
pub(crate) struct PathUse<'a> {
    pub(crate) line: usize,
    pub(crate) names: Vec<&'a str>,
}

/// Every path in `source`, in its order.
pub(crate) fn of(source: &str) -> Vec<PathUse<'_>> {
    let tokens = without_tests(&tokens(source));
    paths(&tokens)
}

/// A word, `::`, or any other character that is neither space, comment nor literal.
#[derive(Clone, Copy)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

fn tokens(source: &str) -> Vec<Token<'_>> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut tokens = Vec::new();
    let mut line = 1;
    let mut rest = source;
    while let Some(first) = rest.chars().next() {
        let (length, is_token) = if rest.starts_with("//") {
            (rest.find('\n').unwrap_or(rest.len()), false)
        } else if rest.starts_with("/*") {
            (block_comment(rest), false)
        } else if let Some(length) = raw_string(rest) {
            (length, false)
        } else if first == '"' {
            (string(rest), false)
        } else if first == '\'' {
            (character(rest), false)
        } else if is_word(first) {
            (rest.find(|c| !is_word(c)).unwrap_or(rest.len()), true)
        } else if rest.starts_with("::") {
            (2, true)
        } else {
            (first.len_utf8(), !first.is_whitespace())
        };
        let (text, after) = rest.split_at(length);
        if is_token {
            tokens.push(Token { line, text });
        }
        line += text.matches('\n').count();
        rest = after;
    }
    tokens
}

/// The length of the comment, with those nested in it, that `text` begins with.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    let mut at = 0;
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let (change, length) = match rest {
            [b'/', b'*', ..] => (1, 2),
            [b'*', b'/', ..] => (-1, 2),
            _ => (0, 1),
        };
        depth += change;
        at += length;
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

/// The length of the raw string that `text` begins with, if it does.
fn raw_string(text: &str) -> Option<usize> {
    let prefix = ["r", "br", "cr"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.trim_start_matches('#').starts_with('"')))?;
    let hashes = text[prefix.len()..].find('"')?;
    let begin = prefix.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(text[begin..].find(&end).map_or(text.len(), |length| begin + length + end.len()))
}

/// The length of the string that `text` begins with.
fn string(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// The length of the character that `text` begins with, or of the quote alone where it is a lifetime's.
fn character(text: &str) -> usize {
    let mut characters = text.char_indices().skip(1);
    match (characters.next(), characters.next()) {
        (Some((_, '\\')), Some((at, escape))) => {
            let begin = at + escape.len_utf8();
            text[begin..].find('\'').map_or(text.len(), |length| begin + length + 1)
        }
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 1,
    }
}

/// Leaves out every item under `#[cfg(test)]`.
fn without_tests<'a>(tokens: &[Token<'a>]) -> Vec<Token<'a>> {
    const MARK: [&str; 7] = ["#", "[", "cfg", "(", "test", ")", "]"];
    let mut kept = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        if !tokens[at..].iter().take(MARK.len()).map(|token| token.text).eq(MARK) {
            kept.push(tokens[at]);
            at += 1;
            continue;
        }
        at += MARK.len();
        let mut depth = 0_i32;
        // An import may have braces and ends with `;` all the same.
        let is_import = tokens.get(at).is_some_and(|token| token.text == "use");
        while let Some(token) = tokens.get(at) {
            at += 1;
            match token.text {
                "{" | "(" | "[" => depth += 1,
                "}" | ")" | "]" => depth -= 1,
                _ => {}
            }
            if depth == 0 && (token.text == ";" || (token.text == "}" && !is_import)) {
                break;
            }
        }
    }
    kept
}

fn is_name(token: &Token<'_>) -> bool {
    token.text.starts_with(|c: char| c.is_alphabetic() || c == '_')
}

fn paths<'a>(tokens: &[Token<'a>]) -> Vec<PathUse<'a>> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        let is_import = token.text == "use" && tokens.get(at + 1).is_some_and(|next| next.text != "<");
        if is_import {
            at = import(tokens, at + 1, &[], &mut found);
        } else if is_name(token) {
            let mut names = vec![token.text];
            while let [separator, name, ..] = &tokens[at + 1..]
                && separator.text == "::"
                && is_name(name)
            {
                names.push(name.text);
                at += 2;
            }
            found.push(PathUse { line: token.line, names });
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads a tree of imports below `prefix`; gives the place after it.
fn import<'a>(tokens: &[Token<'a>], mut at: usize, prefix: &[&'a str], found: &mut Vec<PathUse<'a>>) -> usize {
    let mut names = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        at += 1;
        match token.text {
            "::" => {}
            "{" => {
                while tokens.get(at).is_some_and(|token| token.text != "}") {
                    let next = import(tokens, at, &names, found);
                    let is_comma = tokens.get(next).is_some_and(|token| token.text == ",");
                    // Whatever stands here that is no import is passed over.
                    at = if is_comma { next + 1 } else { next.max(at + 1) };
                }
                return at + 1;
            }
            name => {
                names.push(name);
                if tokens.get(at).is_none_or(|next| next.text != "::") {
                    found.push(PathUse { line: token.line, names });
                    let is_renamed = tokens.get(at).is_some_and(|next| next.text == "as");
                    return if is_renamed { at + 2 } else { at };
                }
            }
        }
    }
    at
}
