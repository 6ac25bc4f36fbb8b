//! Points in time as tables have them, in formats such as `%d/%m/%Y`.
//!
//! A format has `%Y` (four digits), `%y` (1969 to 2068), `%m`, `%d`, `%b` (the month's English name, short or long), `%q` (the quarter),
//! `%a` (a weekday, which says nothing more), `%H`, `%M`, `%S`, and other letters as they stand. After a date a time of day may follow, and after that the distance from UTC. What
//! is not given is the first: `Q4 2013` is 1 October 2013.

/// A format that can be read by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DateFormat(Vec<Token>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Year,
    ShortYear,
    Month,
    MonthName,
    Day,
    Quarter,
    Hour,
    Minute,
    Second,
    Weekday,
    Literal(char),
}

/// The fields of a date while it is read.
struct Fields {
    year: Option<i64>,
    month: u32,
    day: u32,
    seconds: f64,
}

impl DateFormat {
    /// The format that `text` describes.
    ///
    /// # Errors
    /// If it is none, with what is wrong with it.
    pub fn new(text: &str) -> Result<Self, String> {
        let mut tokens = Vec::new();
        let mut letters = text.chars();
        while let Some(letter) = letters.next() {
            tokens.push(match (letter, if letter == '%' { letters.next() } else { None }) {
                ('%', Some('Y')) => Token::Year,
                ('%', Some('y')) => Token::ShortYear,
                ('%', Some('m')) => Token::Month,
                ('%', Some('b' | 'B')) => Token::MonthName,
                ('%', Some('d')) => Token::Day,
                ('%', Some('q')) => Token::Quarter,
                ('%', Some('H')) => Token::Hour,
                ('%', Some('M')) => Token::Minute,
                ('%', Some('S')) => Token::Second,
                ('%', Some('a' | 'A')) => Token::Weekday,
                ('%', Some('%')) => Token::Literal('%'),
                ('%', other) => {
                    let other = other.map(String::from).unwrap_or_default();
                    return Err(format!("%{other} is not supported; use %Y %y %m %b %d %q %a %H %M %S"));
                }
                (letter, _) => Token::Literal(letter),
            });
        }
        if !tokens.iter().any(|token| matches!(token, Token::Year | Token::ShortYear)) {
            return Err("a year is missing (%Y or %y)".to_owned());
        }
        Ok(Self(tokens))
    }

    /// Days since 1 January 1970, with the time of day as a fraction. `None` if `text` is no date of this format.
    #[must_use]
    pub fn days(&self, text: &str) -> Option<f64> {
        let mut fields = Fields { year: None, month: 1, day: 1, seconds: 0.0 };
        let mut rest = text.trim();
        for token in &self.0 {
            rest = fields.take(*token, rest)?;
        }
        if !rest.is_empty() {
            fields.seconds = time_of_day(rest)?;
        }
        fields.days()
    }

    /// Writes days since 1 January 1970 as text, without the time of day.
    pub(super) fn text(&self, days: f64) -> String {
        let (year, month, day) = date(days);
        let name = MONTHS[usize::try_from(month - 1).unwrap_or_default()];
        let token = |token: &Token| match token {
            Token::Year => format!("{year:04}"),
            Token::ShortYear => format!("{:02}", year.rem_euclid(100)),
            Token::Month => format!("{month:02}"),
            Token::MonthName => format!("{}{}", name[..1].to_uppercase(), &name[1..3]),
            Token::Day => format!("{day:02}"),
            Token::Quarter => ((month + 2) / 3).to_string(),
            Token::Hour | Token::Minute | Token::Second => "00".to_owned(),
            Token::Weekday => ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
                [usize::try_from((days.floor() as i64).rem_euclid(7)).unwrap_or_default()]
            .to_owned(),
            Token::Literal(letter) => letter.to_string(),
        };
        self.0.iter().map(token).collect()
    }
}

impl Fields {
    fn take<'a>(&mut self, token: Token, text: &'a str) -> Option<&'a str> {
        let (value, rest) = match token {
            Token::Literal(letter) => {
                let mut letters = text.chars();
                let found = letters.next()?;
                return found.eq_ignore_ascii_case(&letter).then_some(letters.as_str());
            }
            Token::Weekday => {
                let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
                return (letters >= 2).then(|| &text[letters..]);
            }
            Token::MonthName => month(text)?,
            Token::Year => digits(text, 4, 4)?,
            Token::Quarter => digits(text, 1, 1)?,
            _ => digits(text, 1, 2)?,
        };
        match token {
            Token::Year => self.year = Some(value.into()),
            // As POSIX has it.
            Token::ShortYear => self.year = Some(i64::from(value) + if value < 69 { 2000 } else { 1900 }),
            Token::Month | Token::MonthName => self.month = value,
            Token::Day => self.day = value,
            Token::Quarter if (1..=4).contains(&value) => self.month = 3 * value - 2,
            Token::Hour if value < 24 => self.seconds += 3600.0 * f64::from(value),
            Token::Minute if value < 60 => self.seconds += 60.0 * f64::from(value),
            Token::Second if value < 61 => self.seconds += f64::from(value),
            _ => return None,
        }
        Some(rest)
    }

    fn days(&self) -> Option<f64> {
        let year = self.year?;
        let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
        let length = match self.month {
            1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
            4 | 6 | 9 | 11 => 30,
            2 => 28 + u32::from(is_leap),
            _ => return None,
        };
        if !(1..=length).contains(&self.day) {
            return None;
        }
        // Years from March on, so that the leap day is the last one (Hinnant, "chrono-compatible low-level date algorithms").
        let year = year - i64::from(self.month <= 2);
        let day_of_year = (153 * ((i64::from(self.month) + 9) % 12) + 2) / 5 + i64::from(self.day) - 1;
        let days =
            365 * year + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + day_of_year - 719_468;
        Some(days as f64 + self.seconds / 86_400.0)
    }
}

/// Returns the year and the day of the month of a number of days since 1 January 1970.
pub(super) fn year_and_day(days: f64) -> (i64, i64) {
    let (year, _, day) = date(days);
    (year, day)
}

/// Returns year, month and day of a number of days since 1 January 1970 (Hinnant, as above).
fn date(days: f64) -> (i64, i64, i64) {
    let shifted = days.floor() as i64 + 719_468;
    let era = shifted.div_euclid(146_097);
    let of_era = shifted.rem_euclid(146_097);
    let year = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * month + 2) / 5 + 1;
    (400 * era + year + i64::from(month >= 10), (month + 2) % 12 + 1, day)
}

/// `2013-10-18`.
#[cfg(feature = "parquet")]
pub(super) fn date_of(days: i64) -> String {
    let (year, month, day) = date(days as f64);
    format!("{year:04}-{month:02}-{day:02}")
}

/// A number of so many digits at the beginning, and what follows it.
fn digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let count = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    (count >= least).then(|| Some((text[..count].parse().ok()?, &text[count..])))?
}

const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

fn month(text: &str) -> Option<(u32, &str)> {
    let letters = text.bytes().take_while(u8::is_ascii_alphabetic).count();
    let name = text[..letters].to_ascii_lowercase();
    let is_name = |month: &str| name == month || name == month[..3] || (name == "sept" && month == "september");
    let number = MONTHS.iter().position(|month| is_name(month))?;
    // "Oct." is an abbreviation with its point.
    let rest = &text[letters..];
    Some((number as u32 + 1, if name.len() < 5 { rest.strip_prefix('.').unwrap_or(rest) } else { rest }))
}

/// Seconds in ` 12:30`, `T12:30:59.5Z`, ` 0:00:00+02:00`, less the distance from UTC.
fn time_of_day(text: &str) -> Option<f64> {
    let text = text.strip_prefix(['T', 't', ' '])?.trim();
    let (text, zone) = if let Some(text) = text.strip_suffix(['Z', 'z']).or_else(|| text.strip_suffix(" UTC")) {
        (text, 0.0)
    } else if let Some(at) = text.rfind(['+', '-']) {
        let zone = &text[at + 1..];
        let (hours, rest) = digits(zone, 2, 2)?;
        let minutes = if rest.is_empty() { 0 } else { digits(rest.strip_prefix(':').unwrap_or(rest), 2, 2)?.0 };
        let size = f64::from(3600 * hours + 60 * minutes);
        (&text[..at], if text[at..].starts_with('-') { -size } else { size })
    } else {
        (text, 0.0)
    };
    let (text, noon) = match text.trim().to_ascii_uppercase() {
        text if text.ends_with("AM") => (text[..text.len() - 2].trim().to_owned(), Some(false)),
        text if text.ends_with("PM") => (text[..text.len() - 2].trim().to_owned(), Some(true)),
        text => (text, None),
    };
    let mut parts = text.split(':');
    let hours: u32 = parts.next()?.parse().ok()?;
    let minutes: u32 = parts.next()?.parse().ok()?;
    let seconds: f64 = parts.next().map_or(Some(0.0), |seconds| seconds.parse().ok())?;
    let hours = match noon {
        None => hours,
        Some(_) if !(1..=12).contains(&hours) => return None,
        Some(is_after) => hours % 12 + if is_after { 12 } else { 0 },
    };
    let is_time = parts.next().is_none() && hours < 24 && minutes < 60 && (0.0..61.0).contains(&seconds);
    is_time.then(|| f64::from(3600 * hours + 60 * minutes) + seconds - zone)
}

/// The formats that are looked for, the more usual ones first.
pub(super) const FORMATS: &[&str] = &[
    "%Y-%m-%d",
    "%Y/%m/%d",
    "%Y.%m.%d",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%d.%m.%Y",
    "%d-%m-%Y",
    "%m-%d-%Y",
    "%d/%m/%y",
    "%m/%d/%y",
    "%d.%m.%y",
    "%d-%m-%y",
    "%m-%d-%y",
    "%y/%m/%d",
    "%y-%m-%d",
    "%y.%m.%d",
    "%d-%b-%Y",
    "%d-%b-%y",
    "%d %b %Y",
    "%d %b %y",
    "%d. %b %Y",
    "%d/%b/%Y",
    "%d/%b/%y",
    "%d%b%Y",
    "%d%b%y",
    "%b %d, %Y",
    "%b %d %Y",
    "%Y-%b-%d",
    "%b-%Y",
    "%b %Y",
    "%b/%Y",
    "%b, %Y",
    "%b%Y",
    "%b-%y",
    "%b %y",
    "%b/%y",
    "%b'%y",
    "%Y-%b",
    "%Y %b",
    "%Y-%m",
    "%Y/%m",
    "%m/%Y",
    "%m-%Y",
    "Q%q %Y",
    "Q%q-%Y",
    "Q%q/%Y",
    "Q%q%Y",
    "Q%q'%y",
    "Q%q %y",
    "%Y Q%q",
    "%Y-Q%q",
    "%YQ%q",
    "%Y/Q%q",
    "%qQ%Y",
    "%qQ%y",
    "%qQ %Y",
    "FY%Y",
    "FY%y",
    "FY %Y",
    "FY %y",
    "FY'%y",
    "FY-%Y",
    "FY-%y",
    "%y-%b-%d",
    "%a %b %d %Y",
    "%a, %d %b %Y",
    "FY%YQ%q",
    "FY%yQ%q",
    "FY%Y Q%q",
    "FY%y Q%q",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn days(format: &str, text: &str) -> Option<f64> {
        DateFormat::new(format).expect("a format").days(text)
    }

    #[test]
    fn dates_are_days_since_1970() {
        for (format, text, expected) in [
            ("%Y-%m-%d", "1970-01-01", 0.0),
            ("%Y-%m-%d", "2013-10-18", 15_996.0),
            ("%Y-%m-%d", "1969-12-31", -1.0),
            ("%Y-%m-%d", "2000-2-29", 11_016.0),
            ("%Y-%m-%d", "2013-10-18T12:00:00Z", 15_996.5),
            ("%Y-%m-%d", "2013-10-18 02:00+02:00", 15_996.0),
            ("%d/%m/%Y", "18/10/2013 12:00:00 AM", 15_996.0),
            ("%m/%d/%Y", "10/18/2013", 15_996.0),
            ("%d-%b-%y", "18-Oct-13", 15_996.0),
            ("%b-%Y", "October-2013", 15_979.0),
            ("Q%q %Y", "q4 2013", 15_979.0),
            ("FY%y", "FY70", 0.0),
            ("%a, %d %b %Y", "Thursday, 1 January 1970", 0.0),
            ("FY%y", "FY3", 12_053.0),
            ("%d%m%Y", "18102013", 15_996.0),
        ] {
            assert_eq!(days(format, text), Some(expected), "{format} {text}");
        }
        for (format, text) in [
            ("%Y-%m-%d", "2013-02-29"),
            ("%Y-%m-%d", "2013-13-01"),
            ("%Y-%m-%d", "13-10-18"),
            ("%Y-%m-%d", "2013-10-18x"),
            ("%Y-%m-%d", "2013-10-18 25:00"),
            ("%b-%Y", "Okt-2013"),
            ("Q%q %Y", "Q5 2013"),
            ("%Y", "201"),
        ] {
            assert_eq!(days(format, text), None, "{format} {text}");
        }
        assert!(DateFormat::new("%d/%m").is_err() && DateFormat::new("%Y %k").is_err());
    }

    #[test]
    fn days_are_dates_again() {
        for (text, expected) in [("1970-01-01", (1970, 1)), ("2000-02-29", (2000, 29)), ("1900-12-31", (1900, 31))] {
            assert_eq!(year_and_day(days("%Y-%m-%d", text).expect("a date")), expected);
        }
    }

    #[test]
    fn a_date_is_written_as_it_is_read() {
        for format in FORMATS {
            let parsed = DateFormat::new(format).expect("a format");
            // The first days of quarters and years are those of every format.
            for day in ["2016-01-01", "1975-01-01", "2000-01-01"] {
                let expected = days("%Y-%m-%d", day).expect("a date");
                assert_eq!(parsed.days(&parsed.text(expected)), Some(expected), "{format} {}", parsed.text(expected));
            }
        }
        for day in ["2000-02-29", "1969-12-31", "2024-10-31", "1900-03-01"] {
            let format = DateFormat::new("%Y-%m-%d").expect("a format");
            assert_eq!(format.text(days("%Y-%m-%d", day).expect("a date")), day);
        }
    }

    #[test]
    fn every_listed_format_is_one() {
        let formats = FORMATS.iter().filter(|format| DateFormat::new(format).is_err());
        assert_eq!(formats.collect::<Vec<_>>(), Vec::<&&str>::new());
    }
}
