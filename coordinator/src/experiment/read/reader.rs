//! Reads single values out of the tree and keeps a list of everything that is wrong with them.

use super::super::{
    diagnostic::{Diagnostic, Mark, did_you_mean, quote},
    setting,
    yaml::{Entry, Node, Value, join},
};

/// A value and its path.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) path: String,
    pub(crate) node: &'a Node,
}

impl<'a> Field<'a> {
    pub(crate) fn new(path: &str, node: &'a Node) -> Self {
        Self { path: path.to_owned(), node }
    }

    pub(crate) const fn mark(&self) -> Mark {
        self.node.mark
    }

    /// The items of a list.
    pub(crate) fn items(&self) -> Option<Vec<Field<'a>>> {
        let Value::List(items) = &self.node.value else { return None };
        let item = |(index, node)| Field { path: format!("{}[{index}]", self.path), node };
        Some(items.iter().enumerate().map(item).collect())
    }

    /// The items of a list; anything else stands for a list of one.
    pub(crate) fn items_or_self(&self) -> Vec<Field<'a>> {
        self.items().unwrap_or_else(|| vec![self.clone()])
    }

    /// The value of an entry of this map.
    pub(crate) fn entry(&self, entry: &'a Entry) -> Field<'a> {
        Field { path: join(&self.path, &entry.key), node: &entry.value }
    }

    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(crate) fn is_text(&self, text: &str) -> bool {
        self.text() == Some(text)
    }
}

/// A map whose keys are all known.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    pub(crate) path: String,
    pub(crate) mark: Mark,
    entries: &'a [Entry],
}

impl<'a> Fields<'a> {
    pub(crate) fn get(&self, key: &str) -> Option<Field<'a>> {
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field { path: join(&self.path, key), node: &entry.value })
    }

    pub(crate) fn mark_of(&self, key: &str) -> Mark {
        self.get(key).map_or(self.mark, |field| field.mark())
    }
}

/// Collects problems. Its methods return `None` once they have reported one.
#[derive(Default)]
pub(crate) struct Reader {
    pub(crate) problems: Vec<Diagnostic>,
}

impl Reader {
    pub(crate) fn report(&mut self, mark: Mark, path: &str, message: impl Into<String>) {
        self.problems.push(Diagnostic { mark, path: path.to_owned(), message: message.into() });
    }

    /// A value of the wrong type or out of bounds.
    pub(crate) fn wrong(&mut self, field: &Field<'_>, allowed: &str) {
        self.report(field.mark(), &field.path, format!("found {}, expected {allowed}", field.node));
    }

    /// A map with only these keys in it. Unknown ones are reported; what is known can still be read.
    pub(crate) fn fields<'a>(&mut self, field: &Field<'a>, known: &[&str]) -> Option<Fields<'a>> {
        let Value::Map(entries) = &field.node.value else {
            self.wrong(field, &format!("a map of {}{}", known.join(", "), example(field, known)));
            return None;
        };
        for entry in entries.iter().filter(|entry| !known.contains(&entry.key.as_str())) {
            let hint = did_you_mean(&entry.key, known.iter().copied());
            let message = format!("unknown key, expected one of {}{hint}", known.join(", "));
            self.report(entry.key_mark, &join(&field.path, &entry.key), message);
        }
        Some(Fields { path: field.path.clone(), mark: field.mark(), entries })
    }

    /// A key that must be there.
    pub(crate) fn required<'a>(&mut self, fields: &Fields<'a>, key: &str, allowed: &str) -> Option<Field<'a>> {
        let field = fields.get(key);
        if field.is_none() {
            self.report(fields.mark, &join(&fields.path, key), format!("missing key, expected {allowed}"));
        }
        field
    }

    /// A finite number for which `holds`.
    pub(crate) fn number(&mut self, field: &Field<'_>, allowed: &str, holds: impl Fn(f64) -> bool) -> Option<f64> {
        #[expect(
            clippy::cast_precision_loss,
            reason = "the nearest number is what the same digits with a point would give"
        )]
        let number = match field.node.value {
            Value::Integer(integer) => Some(integer as f64),
            Value::Float(float) => Some(float),
            _ => None,
        };
        // Adding zero makes −0 into 0, so that equal numbers are equal in every file and hash.
        let number = number.filter(|number| number.is_finite() && holds(*number)).map(|number| number + 0.0);
        if number.is_none() {
            self.wrong(field, allowed);
        }
        number
    }

    /// An integer from `least` to `most`.
    pub(crate) fn integer<T>(&mut self, field: &Field<'_>, least: T, most: T) -> Option<T>
    where
        T: Copy + Into<i128> + TryFrom<i128>,
    {
        let (low, high) = (least.into(), most.into());
        let integer = match field.node.value {
            Value::Integer(integer) if (low..=high).contains(&integer) => T::try_from(integer).ok(),
            _ => None,
        };
        if integer.is_none() {
            self.wrong(field, &format!("an integer from {low} to {high}"));
        }
        integer
    }

    /// `true` or `false`.
    pub(crate) fn boolean(&mut self, field: &Field<'_>) -> Option<bool> {
        match field.node.value {
            Value::Bool(value) => Some(value),
            _ => {
                self.wrong(field, "true or false");
                None
            }
        }
    }

    /// A text that is not empty.
    pub(crate) fn text<'a>(&mut self, field: &Field<'a>, allowed: &str) -> Option<&'a str> {
        let text = field.text().filter(|text| !text.is_empty());
        if text.is_none() {
            self.wrong(field, allowed);
        }
        text
    }

    /// One of a few names; `later` holds those that are planned.
    pub(crate) fn choice<T: Clone>(&mut self, field: &Field<'_>, names: &[(&str, T)], later: &[&str]) -> Option<T> {
        let allowed = || match names {
            [(only, _)] => (*only).to_owned(),
            _ => format!("one of {}", names.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", ")),
        };
        let found = match (&field.node.value, field.text()) {
            (Value::Map(entries), _) if entries.len() == 1 => Some(entries[0].key.as_str()),
            (_, text) => text,
        };
        if let Some((_, value)) = names.iter().find(|(name, _)| field.is_text(name)) {
            return Some(value.clone());
        }
        match found {
            Some(name) if later.contains(&name) => {
                let message = format!("found {}, which is not supported yet, expected {}", quote(name), allowed());
                self.report(field.mark(), &field.path, message);
            }
            _ => {
                let hint = field.text().map(|text| did_you_mean(text, names.iter().map(|(name, _)| *name)));
                self.wrong(field, &format!("{}{}", allowed(), hint.unwrap_or_default()));
            }
        }
        None
    }

    /// One of a few names, where other values are maps: `allowed` says all, and `with` are the keys of the maps.
    pub(crate) fn choice_or_map<T: Clone>(
        &mut self,
        field: &Field<'_>,
        names: &[(&str, T)],
        with: &[&str],
        allowed: &str,
    ) -> Option<T> {
        let found = names.iter().find(|(name, _)| field.is_text(name)).map(|(_, value)| value.clone());
        if found.is_none() {
            let all = || names.iter().map(|(name, _)| *name).chain(with.iter().copied());
            let hint = field.text().filter(|word| !with.contains(word)).map(|word| did_you_mean(word, all()));
            self.wrong(field, &format!("{allowed}{}", hint.unwrap_or_default()));
        }
        found
    }

    /// Reads every item; two that are the same are a mistake.
    pub(crate) fn values<T>(
        &mut self,
        field: &Field<'_>,
        items: Vec<Field<'_>>,
        same: impl Fn(&T, &T) -> bool,
        mut read: impl FnMut(&mut Self, &Field<'_>) -> Option<T>,
    ) -> Option<Vec<T>> {
        if items.is_empty() {
            self.wrong(field, "at least one value");
            return None;
        }
        if items.len() > MAX_VALUES {
            let message = format!("found a list of {} values, expected at most {MAX_VALUES}", items.len());
            self.report(field.mark(), &field.path, message);
            return None;
        }
        let mut values: Vec<(T, Mark)> = Vec::new();
        let mut complete = true;
        for item in &items {
            let Some(value) = read(self, item) else {
                complete = false;
                continue;
            };
            if let Some((_, first)) = values.iter().find(|(other, _)| same(other, &value)) {
                let message = format!("found {} twice, first at {first}", item.node);
                self.report(item.mark(), &item.path, message);
                complete = false;
                continue;
            }
            values.push((value, item.mark()));
        }
        complete.then(|| values.into_iter().map(|(value, _)| value).collect())
    }
}

/// How a word is written that is right, but not without its map: `{step: …}` for `step`, `{kind: l1, …}` for `l1`.
pub(crate) fn example(field: &Field<'_>, known: &[&str]) -> String {
    let Some(word) = field.text() else { return String::new() };
    let kinds = || setting::rows().find(|row| row.path().strip_suffix(".kind") == Some(&field.path));
    if known.contains(&word) {
        format!(", such as {{{word}: …}}")
    } else if kinds().is_some_and(|row| row.allowed().split(", ").any(|kind| kind.trim_matches('`') == word)) {
        format!(", such as {{kind: {word}, …}}")
    } else {
        String::new()
    }
}

/// Values that one list may have. Comparing all pairs stays cheap, and no sweep has an axis as long.
pub(crate) const MAX_VALUES: usize = 1_000;
