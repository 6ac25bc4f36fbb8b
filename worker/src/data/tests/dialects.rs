//! A table gives the same tensors in whichever dialect and spelling it is written.

use proptest::{prelude::*, sample::select};

use super::*;

/// One row: an amount in cents, a share in hundredths of a per cent, a level, a day.
type Row = (Option<i64>, Option<u32>, Option<usize>, u32);

#[derive(Debug, Clone)]
struct Dialect {
    separator: char,
    decimal: char,
    thousands: &'static str,
    currency: (&'static str, &'static str),
    percent: &'static str,
    is_accounting: bool,
    missing: &'static str,
    date: usize,
    line_end: &'static str,
    is_marked: bool,
    encoding: &'static str,
    is_indexed: bool,
    is_quoted: bool,
}

fn dialects() -> impl Strategy<Value = Dialect> {
    let form = (
        select(vec![',', ';', '\t', '|']),
        select(vec![("\n", false), ("\r\n", true), ("\n", true)]),
        any::<[bool; 3]>(),
    );
    let numbers = (
        select(vec![('.', ""), ('.', ","), ('.', " "), ('.', "'"), (',', ""), (',', "."), (',', "\u{a0}")]),
        select(vec![("", ""), ("$", ""), ("", " €"), ("USD ", ""), ("", " EUR")]),
        select(vec!["", "%", " %"]),
    );
    let words = (
        select(vec!["", "NA", "n/a", "NULL", "None", "#N/A"]),
        0..5_usize,
        select(vec!["utf-8", "utf-16", "windows-1252"]),
    );
    (form, numbers, words).prop_map(
        |((separator, (line_end, is_marked), flags), numbers, (missing, date, encoding))| {
            let ((decimal, thousands), currency, percent) = numbers;
            let [is_accounting, is_indexed, is_quoted] = flags;
            Dialect {
                separator,
                decimal,
                thousands,
                currency,
                percent,
                is_accounting,
                missing,
                date,
                line_end,
                is_marked,
                encoding,
                is_indexed,
                is_quoted,
            }
        },
    )
}

const PLAIN: Dialect = Dialect {
    separator: ',',
    decimal: '.',
    thousands: "",
    currency: ("", ""),
    percent: "",
    is_accounting: false,
    missing: "",
    date: 0,
    line_end: "\n",
    is_marked: false,
    encoding: "utf-8",
    is_indexed: false,
    is_quoted: false,
};

impl Dialect {
    fn hundredths(&self, value: u64) -> String {
        let whole = (value / 100).to_string();
        let first = (whole.len() + 2) % 3 + 1;
        let mut grouped = whole[..first].to_owned();
        for group in whole.as_bytes()[first..].chunks(3) {
            grouped += self.thousands;
            grouped.extend(group.iter().map(|byte| char::from(*byte)));
        }
        format!("{grouped}{}{:02}", self.decimal, value % 100)
    }

    fn amount(&self, cents: i64) -> String {
        let (before, behind) = self.currency;
        let text = format!("{before}{}{behind}", self.hundredths(cents.unsigned_abs()));
        match (cents < 0, self.is_accounting) {
            (false, _) => text,
            (true, true) => format!("({text})"),
            (true, false) => format!("-{text}"),
        }
    }

    fn date(&self, day: u32) -> String {
        // Thirteenth and later days, so that the order of day and month is certain.
        let (year, month, day) = (2001 + day / 180, 1 + day / 15 % 12, 13 + day % 15);
        match self.date {
            0 => format!("{year}-{month:02}-{day:02}"),
            1 => format!("{day:02}/{month:02}/{year}"),
            2 => format!("{month}/{day}/{year}"),
            3 => format!("{day}.{month:02}.{year} 00:00"),
            _ => format!(
                "{day:02}-{}-{year}",
                ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
                    [month as usize - 1]
            ),
        }
    }

    fn write(&self, rows: &[Row]) -> Vec<u8> {
        let mut text = String::new();
        let mut line = |index: &str, cells: [String; 5]| {
            let quoted = |cell: String| match self.is_quoted || cell.contains([self.separator, ' ']) {
                true => format!("\"{cell}\""),
                false => cell,
            };
            let cells: Vec<String> =
                self.is_indexed.then(|| index.to_owned()).into_iter().chain(cells.map(quoted)).collect();
            text += &cells.join(&self.separator.to_string());
            text += self.line_end;
        };
        line("", ["amount", "share", "job", "since", "y"].map(str::to_owned));
        let missing = || self.missing.to_owned();
        for (number, (amount, share, job, day)) in rows.iter().enumerate() {
            line(
                &number.to_string(),
                [
                    amount.map_or_else(missing, |cents| self.amount(cents)),
                    share.map_or_else(missing, |share| self.hundredths(share.into()) + self.percent),
                    job.map_or_else(missing, |job| ["Maler", "Bürokaufmann", "Ärztin, freie"][job].to_owned()),
                    self.date(*day),
                    (number % 2).to_string(),
                ],
            );
        }
        match self.encoding {
            "utf-16" => std::iter::once(0xfeff).chain(text.encode_utf16()).flat_map(u16::to_le_bytes).collect(),
            "windows-1252" => text.replace('€', "\u{80}").chars().map(|letter| u32::from(letter) as u8).collect(),
            _ => (if self.is_marked { format!("\u{feff}{text}") } else { text }).into_bytes(),
        }
    }
}

fn tensors(bytes: &[u8]) -> Result<Dataset, String> {
    let settings = DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, stratified(1));
    let settings = resolve(&settings, bytes).map_err(|problem| problem.to_string())?.settings;
    Ok(prepare(&settings, bytes).map_err(|problem| problem.to_string())?.dataset)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn dialects_and_spellings_do_not_matter(
        rows in prop::collection::vec(
            (
                prop::option::weighted(0.9, -9_999_999..99_999_999_i64),
                prop::option::weighted(0.9, 1..10_000_u32),
                prop::option::weighted(0.9, 0..3_usize),
                0..1000_u32,
            ),
            60..90,
        ),
        dialect in dialects(),
    ) {
        let plain = tensors(&PLAIN.write(&rows)).expect("a plain table");
        let written = tensors(&dialect.write(&rows)).map_err(TestCaseError::fail)?;
        prop_assert_eq!(plain, written);
    }
}
