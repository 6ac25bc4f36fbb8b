//! Splits by time, and dates as inputs, in the spellings that tables have.

use super::*;

fn by_time() -> DataSettings {
    let split = SplitSpec::Time { column: "issued".into(), train: 0.5, validation: 0.25, test: 0.25 };
    DataSettings::of_table(TableFormat::Csv, "y", Task::Binary, split)
}

/// Writes a year, a month and a day.
type Spell<'a> = &'a dyn Fn(u32, u32, u32) -> String;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// 240 rows in an order that is not that of time, each with its year, month and day from 1996 to 2005.
fn rows(issued: impl Fn(u32, u32, u32) -> String) -> String {
    let mut text = String::from("issued,x,y\n");
    for row in 0..240_u32 {
        let at = row * 77 % 240;
        let (year, month, day) = (1996 + at / 24, 1 + at % 24 / 2, if at % 2 == 0 { 3 } else { 18 });
        let _ = writeln!(text, "\"{}\",{}.5,{}", issued(year, month, day), row * 7 % 50, u32::from(row % 3 == 0));
    }
    text
}

fn iso(year: u32, month: u32, day: u32) -> String {
    format!("{year}-{month:02}-{day:02}")
}

fn read(settings: &DataSettings, text: &str) -> (DataSettings, Prepared, Vec<String>) {
    let Resolved { settings, notes } = resolve(settings, text.as_bytes()).unwrap_or_else(|problem| panic!("{problem}"));
    let prepared = prepare(&settings, text.as_bytes()).unwrap_or_else(|problem| panic!("{problem}"));
    (settings, prepared, notes)
}

fn refused(settings: &DataSettings, text: &str) -> String {
    resolve(settings, text.as_bytes()).expect_err("is refused").to_string()
}

fn dated(format: &str) -> DataSettings {
    let reading = ColumnReading { kind: Some(ColumnKind::Date(format.to_owned())), ..ColumnReading::default() };
    let columns = [("issued".to_owned(), reading)].into();
    DataSettings { reading: Reading { columns, ..Reading::default() }, ..by_time() }
}

#[test]
fn a_split_by_time_is_in_the_order_of_time() {
    let (settings, expected, notes) = read(&by_time(), &rows(iso));
    assert!(settings.reading.is_plain(), "texts that sort as their dates are in the plain form");
    insta::assert_snapshot!(notes.join("\n"), @r#"the column "issued" is read as dates in the format %Y-%m-%d"#);
    let parts = expected.periods.expect("has times").parts;
    assert_eq!(parts, [["1996-01-03", "2000-12-18"], ["2001-01-03", "2003-06-18"], ["2003-07-03", "2005-12-18"]]);
    let month = |month: u32| MONTHS[month as usize - 1];
    let spellings: [(&str, Spell<'_>); 14] = [
        ("%Y-%m-%d", &|year, month, day| format!("{year}-{month}-{day}")),
        ("%Y-%m-%d", &|year, month, day| format!("{year}-{month:02}-{day:02}T00:00:00Z")),
        ("%Y-%m-%d", &|year, month, day| format!("{year}-{month:02}-{day:02} 12:30:00.5+02:00")),
        ("%Y/%m/%d", &|year, month, day| format!("{year}/{month:02}/{day:02}")),
        ("%d/%m/%Y", &|year, month, day| format!("{day:02}/{month:02}/{year}")),
        ("%m/%d/%Y", &|year, month, day| format!("{month}/{day}/{year}")),
        ("%m/%d/%Y", &|year, month, day| format!("{month:02}/{day:02}/{year} 12:00:00 AM")),
        ("%d.%m.%Y", &|year, month, day| format!("{day}.{month}.{year}")),
        ("%d/%m/%y", &|year, month, day| format!("{day}/{month}/{:02}", year % 100)),
        ("%d-%b-%y", &|year, of, day| format!("{day:02}-{}-{:02}", month(of), year % 100)),
        ("%d%b%Y", &|year, of, day| format!("{day:02}{}{year}", month(of).to_uppercase())),
        ("%b %d, %Y", &|year, of, day| format!("{} {day}, {year}", month(of))),
        ("%d %b %Y", &|year, of, day| format!("{day} {} {year}", month(of))),
        ("%Y-%b-%d", &|year, of, day| format!("{year}-{}-{day}", month(of))),
    ];
    for (format, spell) in spellings {
        let text = rows(spell);
        let (_, prepared, notes) = read(&by_time(), &text);
        assert_eq!(prepared.dataset, expected.dataset, "{format}: {:?}", text.lines().nth(1));
        assert!(notes[0].ends_with(format), "{notes:?}");
        assert_eq!(read(&dated(format), &text).1.dataset, expected.dataset, "{format}");
    }
}

#[test]
fn months_quarters_and_fiscal_years_are_times() {
    let month = |month: u32| MONTHS[month as usize - 1];
    let of_months = read(&by_time(), &rows(|year, month, _| format!("{year}-{month:02}"))).1.dataset;
    for spell in [
        &|year, of, _| format!("{}-{year}", month(of)) as String,
        &|year, of, _| format!("{}-{:02}", month(of), year % 100),
        &|year, of, _| format!("{of:02}/{year}"),
        &|year, of, _| format!("{of:02}.{year}"),
        &|year, of, _| format!("{} {year}", month(of)),
    ] as [Spell<'_>; 5]
    {
        let text = rows(spell);
        assert_eq!(read(&by_time(), &text).1.dataset, of_months, "{:?}", text.lines().nth(1));
    }
    let quarter = |month: u32| month.div_ceil(3);
    let of_quarters = read(&by_time(), &rows(|year, month, _| format!("{year}Q{}", quarter(month)))).1.dataset;
    for spell in [
        &|year, month, _| format!("Q{} {year}", quarter(month)) as String,
        &|year, month, _| format!("{}Q{:02}", quarter(month), year % 100),
        &|year, month, _| format!("{year}-Q{}", quarter(month)),
    ] as [Spell<'_>; 3]
    {
        assert_eq!(read(&by_time(), &rows(spell)).1.dataset, of_quarters);
    }
    let of_years = read(&by_time(), &rows(|year, _, _| year.to_string())).1.dataset;
    assert_eq!(read(&by_time(), &rows(|year, _, _| format!("FY{:02}", year % 100))).1.dataset, of_years);
    assert_eq!(read(&by_time(), &rows(|year, _, _| format!("FY{}", year % 100))).1.dataset, of_years);
    assert_eq!(read(&by_time(), &rows(|year, _, _| format!("FY {year}"))).1.dataset, of_years);
}

#[test]
fn times_that_can_be_read_in_two_ways_or_in_none_are_refused() {
    let mut said = Said::default();
    let open = rows(|year, month, _| format!("{month:02}/{:02}/2001", 1 + year % 12));
    said.push(refused(&by_time(), &open));
    let american = read(&dated("%m/%d/%Y"), &open).1.dataset;
    assert_ne!(read(&dated("%d/%m/%Y"), &open).1.dataset, american);
    let words = rows(|year, _, _| format!("cohort {}", ["c", "a", "b"][year as usize % 3]));
    said.push(refused(&by_time(), &words));
    let digits = rows(|year, month, day| format!("{day:02}{month:02}{year}"));
    said.push(refused(&by_time(), &digits));
    read(&dated("%d%m%Y"), &digits);
    for digits in [
        rows(|year, month, _| format!("{month:02}{:02}", year % 100)),
        rows(|year, month, day| format!("{month}{day:02}{year}")),
        rows(|year, month, _| format!("{month:02}{year}")),
    ] {
        assert!(refused(&by_time(), &digits).contains("no order in time"), "{:?}", digits.lines().nth(1));
    }
    // Numbers in the order of time, of whatever length.
    for base in [1000, 1_012_001, 10_101_000] {
        let (settings, ..) = read(&by_time(), &rows(|year, month, _| (base + 12 * (year - 1996) + month).to_string()));
        assert!(settings.reading.is_plain(), "{base}");
    }
    let stray =
        rows(|year, month, day| if (year, month) == (1999, 5) { "never".to_owned() } else { iso(year, month, day) });
    said.push(refused(&by_time(), &stray));
    said.push(refused(&dated("%d/%m/%Y"), &rows(iso)));
    insta::assert_snapshot!(said.0);
}

#[test]
fn years_of_two_digits_are_told_from_days_by_how_many_there_are() {
    let settings = by_time();
    let table = |write: fn(u32, u32, u32) -> String, days: u32| -> String {
        let row = |row: u32| {
            format!(
                "{},{}.5,{}\n",
                write(11 + row % 6, 1 + row * 5 % 12, 1 + row * 11 % days),
                row % 50,
                u32::from(row.is_multiple_of(5))
            )
        };
        format!("issued,x,y\n{}", (0..240).map(row).collect::<String>())
    };
    let expected = read(&settings, &table(|year, month, day| format!("20{year}-{month:02}-{day:02}"), 28)).1.dataset;
    for write in [
        (|year, month, day| format!("{day}/{month}/{year}")) as fn(u32, u32, u32) -> String,
        |year, month, day| format!("{year}/{month}/{day}"),
        |year, month, day| format!("{day}-{}-{year}", MONTHS[month as usize - 1]),
        |year, month, day| format!("{year}-{}-{day}", MONTHS[month as usize - 1]),
    ] {
        assert_eq!(read(&settings, &table(write, 28)).1.dataset, expected);
    }
    let open = refused(&settings, &table(|year, month, day| format!("{day}/{month}/{year}"), 15));
    assert!(open.contains("in two ways"), "{open}");
}

#[test]
fn dates_are_inputs_by_their_days() {
    let settings = DataSettings { split: stratified(1), ..by_time() };
    let (resolved, prepared, _) = read(&settings, &rows(|year, month, day| format!("{day:02}/{month:02}/{year}")));
    assert_eq!(prepared.dataset.features, ["issued", "x"]);
    assert_eq!(resolved.reading.columns["issued"].kind, Some(ColumnKind::Date("%d/%m/%Y".to_owned())));
    let days = |year: u32, month: u32, day: u32| {
        DateFormat::new("%Y-%m-%d").expect("a format").days(&iso(year, month, day)).expect("a date").to_string()
    };
    assert_eq!(read(&settings, &rows(days)).1.dataset, prepared.dataset);
    let preparation = Preparation::from_json(&prepared.preparation.to_json().expect("bytes")).expect("reads its own");
    let mut out = Vec::new();
    preparation.apply(|name| Some(if name == "issued" { "18/10/2003" } else { "1" }), &mut out).expect("a good row");
    assert!(preparation.apply(|_| Some("2003-10-18"), &mut out).is_err());
}

#[test]
fn parts_are_named_in_any_case() {
    let named = |names: [&str; 3]| rows(|year, _, _| names[year as usize % 3].to_owned());
    let settings = DataSettings { split: SplitSpec::Column { column: "issued".into() }, ..by_time() };
    let expected = read(&settings, &named(["train", "validation", "test"])).1.dataset;
    for names in [["Train", "VALID", "Test"], ["training", "val", "oot"], ["TRAIN", "dev", "OOT"]] {
        assert_eq!(read(&settings, &named(names)).1.dataset, expected, "{names:?}");
    }
}
