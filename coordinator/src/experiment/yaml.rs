//! From text to a small tree in which everything has a position. The one file that names the YAML libraries:
//! `serde_yaml` decides what a value is, `saphyr-parser` where it stands. Knows nothing of sweeps.
//!
//! A sweep file is plain data, so the rest of YAML is refused: anchors, aliases and merge keys (with them a small file can
//! stand for a huge one), tags, several documents, keys that are neither text nor whole numbers.

use std::{collections::HashMap, fmt};

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Span};
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

use super::diagnostic::{Diagnostic, Diagnostics, Mark, quote};

/// The largest sweep file, in bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting of lists and maps.
pub(crate) const MAX_DEPTH: usize = 32;

/// A value and where it begins.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Node {
    pub(crate) mark: Mark,
    pub(crate) value: Value,
}

/// What a value is.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// A key of a map and its value.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Entry {
    pub(crate) key: String,
    pub(crate) key_mark: Mark,
    pub(crate) value: Node,
}

impl Node {
    /// What the file means: its values without places and comments, keys in the order of the alphabet, equal numbers written alike.
    pub(crate) fn canonical(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => i64::try_from(*value).map_or_else(|_| value.to_string().into(), Into::into),
            Value::Float(value) => whole(*value).map_or_else(|| (*value).into(), Into::into),
            Value::Text(text) => text.as_str().into(),
            Value::List(items) => items.iter().map(Self::canonical).collect(),
            Value::Map(entries) => entries.iter().map(|entry| (entry.key.clone(), entry.value.canonical())).collect(),
        }
    }
}

/// The integer that a number is, if it is a small one.
#[expect(clippy::cast_possible_truncation, reason = "only of whole numbers below 2^53")]
fn whole(number: f64) -> Option<i64> {
    (number.fract() == 0.0 && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
}

/// Shown in messages after "found".
impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Value::Null => f.write_str("no value"),
            Value::Bool(value) => write!(f, "{value}"),
            Value::Integer(value) => write!(f, "{value}"),
            Value::Float(value) if value.is_nan() => f.write_str("NaN"),
            Value::Float(value) if value.is_infinite() => f.write_str("infinity"),
            Value::Float(value) => write!(f, "{value}"),
            Value::Text(text) => f.write_str(&quote(text)),
            Value::List(items) if items.is_empty() => f.write_str("an empty list"),
            Value::List(_) => f.write_str("a list"),
            Value::Map(_) => f.write_str("a map"),
        }
    }
}

/// Reads `text`. Besides the tree, whose maps have each key once, the problems that do not keep it from being read: duplicate keys
/// and keys that are neither text nor whole numbers.
///
/// # Errors
/// If there is no tree to go on with.
pub(crate) fn parse(file: &str, text: &str) -> Result<(Node, Vec<Diagnostic>), Diagnostics> {
    if text.len() > MAX_BYTES {
        let message = format!("found a file of {} bytes, expected at most {MAX_BYTES}", text.len());
        return Err(Diagnostics::one(file, Mark::START, "", message));
    }
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let refused = |(mark, message)| Diagnostics::one(file, inside(text, mark), "", message);
    let layout = Layout::read(text).map_err(|problem| refused(explain_tab(text, problem)))?;
    let values: Plain = serde_yaml::from_str(text).map_err(|error| {
        let mark =
            error.location().map_or(layout.mark, |at| Mark { line: at.line().max(1), column: at.column().max(1) });
        refused(explain_tab(text, (mark, format!("this is not YAML: {error}"))))
    })?;
    let mut problems = Vec::new();
    let node = combine(layout, values, "", &mut problems).map_err(refused)?;
    Ok((node, problems))
}

type Problem = (Mark, String);

fn mark_of(marker: Marker) -> Mark {
    Mark { line: marker.line().max(1), column: marker.col() + 1 }
}

/// The parsers place what is missing at the end of a file on a line after it.
fn inside(text: &str, mark: Mark) -> Mark {
    let text = text.replace("\r\n", "\n");
    let lines = || text.split(['\n', '\r']);
    match (lines().count(), lines().next_back()) {
        (count, Some(last)) if mark.line > count => Mark { line: count, column: last.chars().count() + 1 },
        _ => mark,
    }
}

/// If a line up to the one after the error is indented with a tab, that is the likely cause, and the parsers do not say so.
fn explain_tab(text: &str, (mark, message): Problem) -> Problem {
    let written = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    let after = written.clone().map(|(index, _)| index).find(|index| *index >= mark.line).unwrap_or(usize::MAX);
    let tab = written.take_while(|(index, _)| *index <= after).find_map(|(index, line)| {
        let indentation = &line[..line.len() - line.trim_start_matches([' ', '\t']).len()];
        Some(Mark { line: index + 1, column: indentation.find('\t')? + 1 })
    });
    match tab {
        Some(tab) => (tab, "found a tab in the indentation, expected spaces".to_owned()),
        None => (mark, message),
    }
}

/// The structure and its positions.
struct Layout {
    mark: Mark,
    shape: Shape,
}

enum Shape {
    Scalar { plain: bool },
    List(Vec<Layout>),
    Map(Vec<(Layout, Layout)>),
}

impl Layout {
    fn read(text: &str) -> Result<Self, Problem> {
        let mut events = Events { parser: Parser::new_from_str(text), last: Mark::START };
        let mut root = None;
        loop {
            match events.next()? {
                (Event::StreamEnd, mark) => return root.ok_or((mark, EMPTY.to_owned())),
                (Event::DocumentStart(_), mark) if root.is_some() => {
                    return Err((mark, "found a second document, expected one per file".to_owned()));
                }
                (Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing, _) => {}
                (event, mark) => root = Some(Self::of(event, mark, &mut events, 0)?),
            }
        }
    }

    fn of(event: Event<'_>, mark: Mark, events: &mut Events<'_>, depth: usize) -> Result<Self, Problem> {
        if depth >= MAX_DEPTH {
            return Err((mark, too_deep()));
        }
        let shape = match event {
            Event::Alias(_) => return Err((mark, ALIAS.to_owned())),
            Event::Scalar(_, _, 1.., _) | Event::SequenceStart(1.., _) | Event::MappingStart(1.., _) => {
                return Err((mark, ALIAS.to_owned()));
            }
            Event::Scalar(_, _, _, Some(_)) | Event::SequenceStart(_, Some(_)) | Event::MappingStart(_, Some(_)) => {
                return Err((mark, "found a tag (!), expected a plain value".to_owned()));
            }
            Event::Scalar(_, style, _, _) => Shape::Scalar { plain: style == ScalarStyle::Plain },
            Event::SequenceStart(..) => {
                let mut items = Vec::new();
                loop {
                    match events.next()? {
                        (Event::SequenceEnd, _) => break Shape::List(items),
                        (event, mark) => items.push(Self::of(event, mark, events, depth + 1)?),
                    }
                }
            }
            Event::MappingStart(..) => {
                let mut entries = Vec::new();
                loop {
                    let (event, mark) = events.next()?;
                    if event == Event::MappingEnd {
                        break Shape::Map(entries);
                    }
                    let key = Self::of(event, mark, events, depth + 1)?;
                    let (event, mark) = events.next()?;
                    entries.push((key, Self::of(event, mark, events, depth + 1)?));
                }
            }
            _ => return Err((mark, "this is not YAML: a value is missing here".to_owned())),
        };
        Ok(Self { mark, shape })
    }
}

const EMPTY: &str = "the file is empty; it needs at least version, name, data, model, training, pruning and seeds";
const ALIAS: &str = "anchors (&) and aliases (*) are not supported: write the values out";

fn too_deep() -> String {
    format!("lists and maps are nested deeper than {MAX_DEPTH}")
}

struct Events<'input> {
    parser: Parser<'input, saphyr_parser::StrInput<'input>>,
    last: Mark,
}

impl<'input> Events<'input> {
    fn next(&mut self) -> Result<(Event<'input>, Mark), Problem> {
        match self.parser.next_event() {
            None => Ok((Event::StreamEnd, self.last)),
            Some(Ok((event, Span { start, .. }))) => {
                self.last = mark_of(start);
                Ok((event, self.last))
            }
            // The scanner looks ahead and has a limit of its own.
            Some(Err(error)) if error.info().contains("recursion limit") => Err((self.last, too_deep())),
            Some(Err(error)) => Err((mark_of(*error.marker()), format!("this is not YAML: {}", error.info()))),
        }
    }
}

/// A value as `serde_yaml` reads it. Unlike its own value type this one keeps duplicate keys, so that all of them can be reported.
enum Plain {
    Null,
    Bool(bool),
    Integer(i128),
    Float(f64),
    Text(String),
    List(Vec<Plain>),
    Map(Vec<(Plain, Plain)>),
}

impl<'de> Deserialize<'de> for Plain {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PlainVisitor)
    }
}

struct PlainVisitor;

impl<'de> Visitor<'de> for PlainVisitor {
    type Value = Plain;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a plain value")
    }

    fn visit_unit<E>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_none<E>(self) -> Result<Plain, E> {
        Ok(Plain::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Plain, E> {
        Ok(Plain::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Plain, E> {
        Ok(Plain::Integer(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Plain, E> {
        Ok(Plain::Integer(value.into()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Plain, E> {
        Ok(Plain::Integer(value))
    }

    fn visit_u128<E: serde::de::Error>(self, value: u128) -> Result<Plain, E> {
        i128::try_from(value).map(Plain::Integer).map_err(|_| E::custom("an integer of more than 127 bits"))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Plain, E> {
        Ok(Plain::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Plain, E> {
        Ok(Plain::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Plain, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Plain::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Plain, A::Error> {
        let mut map = Vec::new();
        while let Some(entry) = entries.next_entry()? {
            map.push(entry);
        }
        Ok(Plain::Map(map))
    }

    fn visit_enum<A: serde::de::EnumAccess<'de>>(self, _: A) -> Result<Plain, A::Error> {
        Err(A::Error::custom("a tag (!)"))
    }
}

/// The child's path. A key that could spoil a message is quoted and cut.
pub(crate) fn join(path: &str, key: &str) -> String {
    let word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '.');
    let key = if key.len() <= 64 && key.chars().all(word) { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn combine(layout: Layout, value: Plain, path: &str, problems: &mut Vec<Diagnostic>) -> Result<Node, Problem> {
    let mark = layout.mark;
    let value = match (layout.shape, value) {
        (Shape::Scalar { .. }, Plain::Null) => Value::Null,
        (Shape::Scalar { .. }, Plain::Bool(value)) => Value::Bool(value),
        (Shape::Scalar { .. }, Plain::Integer(value)) => Value::Integer(value),
        (Shape::Scalar { .. }, Plain::Float(value)) => Value::Float(value),
        (Shape::Scalar { .. }, Plain::Text(value)) => Value::Text(value),
        (Shape::List(layouts), Plain::List(values)) if layouts.len() == values.len() => {
            let items = layouts.into_iter().zip(values).enumerate();
            Value::List(
                items
                    .map(|(index, (layout, value))| combine(layout, value, &format!("{path}[{index}]"), problems))
                    .collect::<Result<_, _>>()?,
            )
        }
        (Shape::Map(layouts), Plain::Map(values)) if layouts.len() == values.len() => {
            Value::Map(combine_map(layouts, values, path, problems)?)
        }
        _ => {
            let message =
                "this can be read as YAML in more than one way; quote the text or write the value differently";
            return Err((mark, message.to_owned()));
        }
    };
    Ok(Node { mark, value })
}

fn combine_map(
    layouts: Vec<(Layout, Layout)>,
    values: Vec<(Plain, Plain)>,
    path: &str,
    problems: &mut Vec<Diagnostic>,
) -> Result<Vec<Entry>, Problem> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut seen: HashMap<String, Mark> = HashMap::new();
    for ((key_layout, layout), (key, value)) in layouts.into_iter().zip(values) {
        let key_mark = key_layout.mark;
        let plain = matches!(key_layout.shape, Shape::Scalar { plain: true });
        let key_node = combine(key_layout, key, path, problems)?;
        let key = match key_node.value {
            Value::Text(key) => key,
            // The classes of a table are often called 0 and 1.
            Value::Integer(number) => number.to_string(),
            _ => {
                let message = format!("found {key_node} as a key, expected text: put it in quotes");
                problems.push(Diagnostic { mark: key_mark, path: path.to_owned(), message });
                continue;
            }
        };
        let child = join(path, &key);
        if plain && key == "<<" {
            let message = "merge keys (<<) are not supported: write the keys out".to_owned();
            problems.push(Diagnostic { mark: key_mark, path: path.to_owned(), message });
            continue;
        }
        let value = combine(layout, value, &child, problems)?;
        if let Some(first) = seen.get(&key) {
            let message = format!("found this key twice, first at {first}");
            problems.push(Diagnostic { mark: key_mark, path: child, message });
            continue;
        }
        seen.insert(key.clone(), key_mark);
        entries.push(Entry { key, key_mark, value });
    }
    Ok(entries)
}
