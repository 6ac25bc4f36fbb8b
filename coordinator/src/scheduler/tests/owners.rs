//! Who submitted and cancelled sweeps, over restarts, snapshots and journals that do not say.

use super::*;
use crate::scheduler::SweepState;

fn person(name: &str) -> Person {
    Person { name: name.to_owned(), is_claimed: name == "guest" }
}

fn people(lab: &Lab) -> (Option<String>, Option<String>) {
    let status = lab.core.sweep(&sweep("s")).expect("a sweep");
    (status.submitted_by.map(|who| who.name), status.cancelled_by.map(|who| who.name))
}

fn submit(lab: &mut Lab, plan: &Arc<PackedPlan>, by: Option<Person>) {
    lab.apply(&Event::SweepSubmitted { plan: Arc::clone(plan), share: ShareChange::default(), open: false, by });
}

fn plan() -> Arc<PackedPlan> {
    let mut plan = PlanBuilder::default();
    let key = plan.prepare("x");
    plan.trial(&[key]);
    plan.build("s")
}

#[test]
fn the_first_submission_decides_who_owns_a_sweep() {
    let mut lab = Lab::new(Policy::default());
    let plan = plan();
    submit(&mut lab, &plan, Some(person("ada")));
    submit(&mut lab, &plan, Some(person("bob")));
    assert_eq!(people(&lab), (Some("ada".to_owned()), None));
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: Some(person("bob")) });
    assert_eq!(people(&lab), (Some("ada".to_owned()), Some("bob".to_owned())));
    lab.effects.clear();
    lab.restart();
    assert_eq!(people(&lab), (Some("ada".to_owned()), Some("bob".to_owned())));
    // Resumed, it is not cancelled any more.
    submit(&mut lab, &plan, Some(person("guest")));
    assert_eq!(people(&lab), (Some("ada".to_owned()), None));
    lab.finish();
}

#[test]
fn who_asks_for_a_drain_has_cancelled() {
    let mut lab = Lab::new(Policy::default());
    let plan = plan();
    submit(&mut lab, &plan, Some(person("guest")));
    lab.join("w", 1);
    let given = lab.next_lease();
    let drain = Event::SweepDrainAsked { sweep: sweep("s"), by: Some(person("ada")) };
    lab.apply(&drain);
    lab.apply(&Event::SweepDrainAsked { sweep: sweep("s"), by: Some(person("bob")) });
    assert_eq!(people(&lab).1, Some("ada".to_owned()), "the first to ask");
    // It goes on after all.
    submit(&mut lab, &plan, None);
    assert_eq!(people(&lab).1, None);
    lab.apply(&drain);
    lab.apply(&given.ended(Some(failure(FailureClass::Executor))));
    lab.tick_after(0);
    lab.tick_after(1);
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").state, SweepState::Cancelled);
    assert_eq!(people(&lab), (Some("guest".to_owned()), Some("ada".to_owned())));
    lab.effects.clear();
    lab.finish();
}

#[test]
fn a_sweep_that_completes_while_it_drains_was_not_cancelled() {
    let mut lab = Lab::new(Policy::default());
    submit(&mut lab, &plan(), None);
    lab.join("w", 1);
    let given = lab.next_lease();
    lab.apply(&Event::SweepDrainAsked { sweep: sweep("s"), by: Some(person("ada")) });
    lab.complete(&given);
    assert_eq!(lab.core.sweep(&sweep("s")).expect("a sweep").state, SweepState::Completed);
    assert_eq!(people(&lab), (None, None));
    lab.effects.clear();
    lab.finish();
}

#[test]
fn a_journal_that_does_not_say_who_is_read() {
    let mut lab = Lab::new(Policy::default());
    submit(&mut lab, &plan(), None);
    lab.apply(&Event::SweepCancelled { sweep: sweep("s"), by: None });
    lab.effects.clear();
    let text = lab.journal.join("\n");
    assert!(!text.contains("\"by\"") && !text.contains("submitted_by"), "nothing is written of nobody: {text}");
    // As the releases before wrote it.
    let older: Vec<String> = lab.journal.iter().map(|line| line.replace("\"version\":10", "\"version\":9")).collect();
    lab.journal = older;
    lab.restart();
    assert_eq!(people(&lab), (None, None));
    lab.finish();
}
