//! The section on the data: times of the parts, the positive class, notes.

use super::*;
use crate::experiment::plan::Periods;

#[test]
fn notes_times_and_the_positive_class_are_in_every_form() {
    let (mut plan, outcomes) = small();
    let data = &mut plan.sweep.data;
    data.notes =
        vec!["the column \"zip\" is read as categories because of the leading zero of \"00501\" (line 4)".to_owned()];
    let parts = [["Jan-2007", "Dec-2012"], ["Jan-2013", "Jun-2013"], ["Jul-2013", "Oct-2013"]];
    let parts = parts.map(|part| part.map(str::to_owned));
    data.periods = Some(Periods { column: "issued".to_owned(), parts });
    let report = build(&plan, &outcomes);
    let markdown = super::super::markdown::markdown(&report).text;
    let section = markdown.split("## The data").nth(1).and_then(|rest| rest.split("## How to read").next());
    insta::assert_snapshot!(section.expect("has the section"));
    let page = super::super::html::html(&report);
    for text in ["leading zero of &quot;00501&quot;", "Jul-2013", "positive class"] {
        assert!(page.contains(text), "{text}");
    }
    let json = serde_json::to_value(&report).expect("plain data");
    assert_eq!(json["data"]["periods"]["parts"][2][1], "Oct-2013");
    assert_eq!(json["data"]["notes"].as_array().map(Vec::len), Some(1));
}
