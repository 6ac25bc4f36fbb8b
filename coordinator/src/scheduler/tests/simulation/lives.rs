//! Many lives, on all processors; and what they show.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicU64, Ordering},
};

use super::*;

/// What becomes of a life; a panic is a violation, too.
fn live(number: u64, faults: bool, bug: Option<Fault>) -> Result<Sum, String> {
    let lived = panic::catch_unwind(AssertUnwindSafe(|| Life::new(number, faults, bug).live()));
    match lived {
        Ok(Ok(told)) => Ok(told),
        Ok(Err(Violation(what))) => Err(format!("life {number}: {what}")),
        Err(_) => Err(format!("life {number}: it panicked")),
    }
}

/// After so many lives something is said, where there are many.
const TOLD_EVERY: u64 = 100_000;

/// Lives so many lives, on all processors; the first violation that was found, or all that was done.
#[expect(clippy::print_stdout, reason = "who lives a million lives wants to know how far they are")]
fn lives(count: u64, bug: Option<Fault>) -> Result<Sum, String> {
    let (next, found) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let work = || {
        let mut sum = Sum::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number > 0 && number.is_multiple_of(TOLD_EVERY) {
                println!("{number} lives begun");
            }
            if number >= count || found.load(Ordering::Relaxed) < u64::MAX {
                return Ok(sum);
            }
            match live(number, true, bug) {
                Ok(told) => {
                    sum.faults += told.faults;
                    sum.computed += told.computed;
                    sum.repeated += told.repeated;
                    sum.snapshots += told.snapshots;
                }
                Err(what) => {
                    found.store(number, Ordering::Relaxed);
                    return Err(what);
                }
            }
        }
    };
    let results: Vec<Result<Sum, String>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        threads.into_iter().map(|thread| thread.join().expect("lives are caught")).collect()
    });
    let mut sum = Sum::default();
    for told in results {
        let told = told?;
        sum = Sum {
            faults: sum.faults + told.faults,
            computed: sum.computed + told.computed,
            repeated: sum.repeated + told.repeated,
            snapshots: sum.snapshots + told.snapshots,
        };
    }
    Ok(sum)
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
#[expect(clippy::print_stdout, reason = "what was done is worth knowing")]
fn in_every_life_each_trial_ends_once_and_nothing_that_has_finished_is_lost() {
    if let Some(number) = number_of("SECATEUR_LIFE") {
        println!("{:?}", live(number, true, None).expect("no violation"));
        return;
    }
    let count = number_of("SECATEUR_LIVES").unwrap_or(20_000);
    let told = lives(count, None).unwrap_or_else(|what| panic!("{what}"));
    println!("{count} lives: {told:?}");
    assert!(told.faults >= 5 * count && told.computed >= 30 * count && told.snapshots >= count, "{told:?}");
}

#[test]
fn without_faults_nothing_is_computed_twice() {
    for number in 0..200 {
        let told = live(number, false, None).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(told.repeated, 0, "life {number}");
    }
}

#[test]
fn a_life_is_made_of_its_number() {
    let told = |number| format!("{:?}", live(number, true, None));
    assert!((0..20).all(|number| told(number) == told(number)));
}

#[test]
fn injected_bugs_are_found() {
    for (bug, signs) in [
        (Fault::EffectsFirst, ["was announced as", "ended again"]),
        (Fault::AttemptNotChecked, ["led to"; 2]),
        (Fault::LateResultDropped, ["led to"; 2]),
        (Fault::DoubleCount, ["ended again"; 2]),
        (Fault::FailureCountedAgain, ["is blamed again"; 2]),
        (Fault::AnyCheckpointKept, ["went back"; 2]),
    ] {
        let found = lives(2_000, Some(bug)).expect_err("it is found");
        assert!(signs.iter().any(|sign| found.contains(sign)), "{bug:?}: {found}");
    }
}
