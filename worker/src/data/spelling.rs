//! Numbers in the spellings that people and their programs have: `1234.5`, `1,234.50`, `1.234,50`, `$1,234`, `(12.5)`, `5 %`.

use secateur_proto::spec::Decimal;

/// What a number is of. Numbers of two units are not of one column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Unit {
    /// Nothing but the number.
    Bare,
    /// Per cent; the number is what stands before the sign.
    Percent,
    /// A currency, by its sign or code.
    Currency(&'static str),
}

/// A finite number and its unit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Spelled {
    pub value: f64,
    pub unit: Unit,
}

/// A finite number as Rust, C and most programs write it. `nan`, `inf` and what overflows to infinity are texts.
pub(super) fn plain(cell: &str) -> Option<f64> {
    cell.parse().ok().filter(|value: &f64| value.is_finite())
}

/// Whether a cell is digits that begin with a zero, as a postal code or an account is written and no number.
pub(super) fn has_leading_zero(cell: &str) -> bool {
    cell.len() > 1 && cell.starts_with('0') && cell.bytes().all(|byte| byte.is_ascii_digit())
}

/// Reads a number with `decimal` before its decimals.
pub(super) fn number(cell: &str, decimal: Decimal) -> Option<Spelled> {
    if decimal == Decimal::Point
        && let Some(value) = plain(cell)
    {
        return Some(Spelled { value, unit: Unit::Bare });
    }
    let mut rest = Rest { text: cell.trim(), negative: None, unit: None };
    if let Some(inner) = rest.text.strip_prefix('(').and_then(|text| text.strip_suffix(')')) {
        rest = Rest { text: inner.trim(), negative: Some(true), unit: rest.unit };
    }
    while rest.strip_one()? {}
    if let (None, Some(inner)) = (rest.negative, rest.text.strip_prefix('(').and_then(|text| text.strip_suffix(')'))) {
        rest = Rest { text: inner.trim(), negative: Some(true), ..rest };
    }
    let magnitude = digits(rest.text, decimal)?;
    let value = if rest.negative == Some(true) { -magnitude } else { magnitude };
    Some(Spelled { value, unit: rest.unit.unwrap_or(Unit::Bare) })
}

/// What is left of a cell while signs and units are taken off.
struct Rest<'a> {
    text: &'a str,
    negative: Option<bool>,
    unit: Option<Unit>,
}

impl Rest<'_> {
    /// Takes a sign or a unit off either end. `None` if there are two of them.
    fn strip_one(&mut self) -> Option<bool> {
        for (sign, negative) in [('-', true), ('\u{2212}', true), ('+', false)] {
            let front = self.text.strip_prefix(sign);
            // Programs of accountants write the minus behind; no one writes a plus there.
            if let Some(text) = front.or_else(|| self.text.strip_suffix(sign).filter(|_| negative)) {
                self.text = text.trim();
                return self.negative.replace(negative).is_none().then_some(true);
            }
        }
        if let Some(text) = self.text.strip_suffix('%') {
            self.text = text.trim();
            return self.unit.replace(Unit::Percent).is_none().then_some(true);
        }
        for name in CURRENCIES {
            let front = self.text.strip_prefix(name);
            let Some(text) = front.or_else(|| self.text.strip_suffix(name)) else { continue };
            self.text = text.trim();
            return self.unit.replace(Unit::Currency(name)).is_none().then_some(true);
        }
        Some(false)
    }
}

/// Signs and codes of currencies; those that begin with another one stand before it.
const CURRENCIES: &[&str] = &[
    "US$", "R$", "C$", "A$", "NZ$", "HK$", "S$", "$", "€", "£", "¥", "₹", "₽", "₩", "₪", "₺", "₴", "₦", "₫", "฿", "₱",
    "₡", "zł", "Kč", "kr.", "kr", "Ft", "lei", "Fr.", "Rs.", "Rs", "AED", "ARS", "AUD", "BDT", "BGN", "BHD", "BRL",
    "CAD", "CHF", "CLP", "CNY", "COP", "CZK", "DKK", "EGP", "EUR", "GBP", "HKD", "HUF", "IDR", "ILS", "INR", "ISK",
    "JPY", "KES", "KRW", "KWD", "KZT", "LKR", "MAD", "MXN", "MYR", "NGN", "NOK", "NZD", "OMR", "PEN", "PHP", "PKR",
    "PLN", "QAR", "RON", "RSD", "RUB", "SAR", "SEK", "SGD", "THB", "TRY", "TWD", "UAH", "USD", "UYU", "VND", "ZAR",
];

/// Digits, in groups or not, with decimals or an exponent or neither.
fn digits(text: &str, decimal: Decimal) -> Option<f64> {
    let (mark, other) = match decimal {
        Decimal::Point => ('.', ','),
        Decimal::Comma => (',', '.'),
    };
    let (number, exponent) = match text.split_once(['e', 'E']) {
        None => (text, None),
        Some((number, exponent)) => (number, Some(exponent)),
    };
    let (whole, decimals) = number.split_once(mark).unwrap_or((number, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !all_digits(decimals) {
        return None;
    }
    let whole = if all_digits(whole) { whole.to_owned() } else { ungrouped(whole, other)? };
    if whole.is_empty() && decimals.is_empty() {
        return None;
    }
    let exponent = exponent.map(|exponent| format!("e{exponent}")).unwrap_or_default();
    plain(&format!("{whole}.{decimals}{exponent}").replace(".e", ".0e"))
}

/// The digits of `1,234,567`, and of the Indian `12,34,567`.
fn ungrouped(text: &str, other: char) -> Option<String> {
    let between = text.chars().find(|letter| !letter.is_ascii_digit())?;
    if between != other && !matches!(between, ' ' | '\u{a0}' | '\u{202f}' | '\u{2009}' | '\'' | '\u{2019}' | '_') {
        return None;
    }
    let groups: Vec<&str> = text.split(between).collect();
    let (first, last) = (groups.first()?, groups.last()?);
    let inner = &groups[1..groups.len() - 1];
    let is_whole = |length: usize| inner.iter().all(|group| group.len() == length) && first.len() <= length;
    let is_number = groups.iter().all(|group| group.bytes().all(|byte| byte.is_ascii_digit()));
    let begins = !first.is_empty() && !first.starts_with('0');
    let fits = is_whole(3) || (between == ',' && !inner.is_empty() && is_whole(2));
    (is_number && begins && last.len() == 3 && fits).then(|| groups.concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(cell: &str, decimal: Decimal) -> Option<f64> {
        number(cell, decimal).map(|spelled| spelled.value)
    }

    #[test]
    fn spellings_of_people() {
        for (cell, expected) in [
            ("$60,000.00", 60_000.0),
            ("$101,370.50 ", 101_370.5),
            ("12.36%", 12.36),
            ("12.36 %", 12.36),
            ("(1,234.50)", -1234.5),
            ("$(5)", -5.0),
            ("($5.25)", -5.25),
            ("-$5", -5.0),
            ("$-5", -5.0),
            ("1,234.50-", -1234.5),
            ("\u{2212}3", -3.0),
            ("USD 1,234", 1234.0),
            ("1 234 567.5", 1_234_567.5),
            ("1'234.50", 1234.5),
            ("12,34,567.00", 1_234_567.0),
            ("1,234e2", 123_400.0),
            (".5", 0.5),
            ("5.", 5.0),
        ] {
            assert_eq!(value(cell, Decimal::Point), Some(expected), "{cell}");
        }
        for (cell, expected) in [
            ("1.234,50", 1234.5),
            ("1,5", 1.5),
            ("0,125", 0.125),
            ("1.234", 1234.0),
            ("1 234,56 €", 1234.56),
            ("12", 12.0),
            ("-7,25 %", -7.25),
        ] {
            assert_eq!(value(cell, Decimal::Comma), Some(expected), "{cell}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for cell in [
            "",
            "-",
            "$",
            "%",
            "1,23",
            "1,2345",
            "0,123",
            "12-34",
            "1.2.3",
            "18.10.2013",
            "--5",
            "5%%",
            "$5€",
            "nan",
            "inf",
            "1e999",
        ] {
            assert_eq!(value(cell, Decimal::Point), None, "{cell}");
        }
        for cell in ["1.5", "0.123", "1234.567", "1,2,3"] {
            assert_eq!(value(cell, Decimal::Comma), None, "{cell}");
        }
    }
}
