//! The keys that say how a table is read. `read/table` reads them.

use secateur_proto::spec::{Decimal, Scaling, Separator, TextEncoding, Vocabulary};
use serde_json::{Value as Json, json};

use super::{Key, Row};

pub(super) static ROWS: &[Row] = &[
    Row::Key(&COLUMNS),
    Row::Key(&MISSING),
    Row::Key(&POSITIVE),
    Row::Key(&ROWS_WITHOUT_TARGET),
    Row::Key(&SCALING),
    Row::Key(&SEPARATOR),
    Row::Key(&DECIMAL),
    Row::Key(&HEADER),
    Row::Key(&NAMES),
    Row::Key(&SKIP_ROWS),
    Row::Key(&SKIP_FOOTER),
    Row::Key(&ENCODING),
];

/// A text, or a number that stands for its digits.
fn word() -> Json {
    json!({"type": ["string", "number"]})
}

fn words() -> Json {
    json!({"type": "array", "items": word(), "uniqueItems": true})
}

fn names<E: Vocabulary>() -> Json {
    json!({"enum": E::ALL.iter().map(|one| one.name()).collect::<Vec<_>>()})
}

pub(crate) static COLUMNS: Key = Key {
    path: "data.columns",
    about: "Types of columns, by name: `categorical`, `number`, `ignore`, `{date: \"%b-%Y\"}`, a scaling as in `{scaling: log}`, or codes for missing \
            values such as `{missing: [-9, -8]}`. Each code gets its own input; with an empty list only empty cells are missing",
    allowed: "a map such as {zip: categorical, id: ignore, income: {missing: [-9, -8]}, issued: {date: \"%d/%m/%Y\"}}",
    unset: "detected: numbers or dates if at least 9 in 10 different values are, else categories",
    only: &[],
    schema: || {
        let kinds = json!({"enum": ["categorical", "number", "ignore"]});
        let properties = json!({
            "kind": {"enum": ["categorical", "number"]}, "missing": words(), "date": {"type": "string"}, "decimal": names::<Decimal>(),
            "scaling": names::<Scaling>(),
        });
        let map =
            json!({"type": "object", "properties": properties, "minProperties": 1, "additionalProperties": false});
        json!({"type": "object", "additionalProperties": {"anyOf": [kinds, map]}})
    },
};

pub(crate) static MISSING: Key = Key {
    path: "data.missing",
    about: "Additional words for missing values, in every column. With an empty list only empty cells are missing",
    allowed: "a list of texts and numbers such as [\"-\", Unknown, -999]",
    unset: "empty cells, NA, N/A, n/a, NaN, nan, NULL, null, None, #N/A and the other words of pandas",
    only: &[],
    schema: words,
};

pub(crate) static POSITIVE: Key = Key {
    path: "data.positive",
    about: "Positive class, for `task: binary`",
    allowed: "a value of the target",
    unset: "the larger of its two values",
    only: &[],
    schema: word,
};

pub(crate) static ROWS_WITHOUT_TARGET: Key = Key {
    path: "data.rows_without_target",
    about: "What to do with rows whose target is missing",
    allowed: "error, drop",
    unset: "error",
    only: &[],
    schema: || json!({"enum": ["error", "drop"]}),
};

pub(crate) static SCALING: Key = Key {
    path: "data.scaling",
    about: "Transformation of numbers before standardization. `standard`: none; `log`: the signed logarithm of 1 + the size; `quantile`: the share of \
            smaller train values; `auto`: `log` for columns with a heavy tail, else `standard`",
    allowed: "auto, standard, log, quantile",
    unset: "auto",
    only: &[],
    schema: names::<Scaling>,
};

pub(crate) static SEPARATOR: Key = Key {
    path: "data.format.separator",
    about: "Field separator",
    allowed: "a comma, `;`, tab, space, or a vertical bar",
    unset: "detected",
    only: &[],
    schema: names::<Separator>,
};

pub(crate) static DECIMAL: Key = Key {
    path: "data.format.decimal",
    about: "Decimal separator. The other one may separate thousands",
    allowed: "`.`, `,`",
    unset: "detected where certain",
    only: &[],
    schema: names::<Decimal>,
};

pub(crate) static HEADER: Key = Key {
    path: "data.format.header",
    about: "Whether the first line names the columns",
    allowed: "first_line, none",
    unset: "first_line",
    only: &[],
    schema: || json!({"enum": ["first_line", "none"]}),
};

pub(crate) static NAMES: Key = Key {
    path: "data.format.names",
    about: "Names of the columns of a table with `header: none`",
    allowed: "a list of column names",
    unset: "\"1\", \"2\" and so on",
    only: &[],
    schema: || json!({"type": "array", "items": {"type": "string", "minLength": 1}, "minItems": 1, "uniqueItems": true}),
};

pub(crate) static SKIP_ROWS: Key = Key {
    path: "data.format.skip_rows",
    about: "Lines above the header",
    allowed: "an integer ≥ 0",
    unset: "0",
    only: &[],
    schema: lines,
};

pub(crate) static SKIP_FOOTER: Key = Key {
    path: "data.format.skip_footer",
    about: "Lines below the last row, such as totals",
    allowed: "an integer ≥ 0",
    unset: "0",
    only: &[],
    schema: lines,
};

fn lines() -> Json {
    json!({"type": "integer", "minimum": 0, "maximum": 1_000_000})
}

pub(crate) static ENCODING: Key = Key {
    path: "data.format.encoding",
    about: "Text encoding; windows-1252 includes Latin-1",
    allowed: "utf-8, utf-16, windows-1252",
    unset: "detected where certain",
    only: &[],
    schema: names::<TextEncoding>,
};
