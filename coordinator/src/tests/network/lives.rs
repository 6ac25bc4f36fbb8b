//! Many lives, on all processors; and what they show.

use std::{
    num::NonZero,
    panic::{self, AssertUnwindSafe},
    sync::{
        LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::life::{Faults, Life, Lived, SALTS, Sum, salt};
use crate::scheduler::fault_injection::Fault;

/// What an undisturbed life comes to, by its salt.
static UNDISTURBED: LazyLock<Vec<serde_json::Value>> = LazyLock::new(|| {
    let results = |number| live(number, Faults::None, None).map(|lived| lived.results);
    (0..u64::from(SALTS)).map(|number| results(number).unwrap_or_else(|what| panic!("{what}"))).collect()
});

/// What becomes of a life; a panic is a violation, too.
fn live(number: u64, faults: Faults, bug: Option<Fault>) -> Result<Lived, String> {
    let lived = panic::catch_unwind(AssertUnwindSafe(|| Life::new(number, faults, bug).live()));
    let lived = lived.unwrap_or_else(|_| Err("it panicked".to_owned()));
    lived.map_err(|what| format!("life {number} ({faults:?}): {what}"))
}

/// Every fourth life is gentle.
const fn faults(number: u64) -> Faults {
    if number.is_multiple_of(4) { Faults::Gentle } else { Faults::All }
}

/// A life with faults, which must come to what an undisturbed one comes to.
fn checked(number: u64, bug: Option<Fault>) -> Result<Sum, String> {
    let Lived { sum, results, .. } = live(number, faults(number), bug)?;
    if results != UNDISTURBED[usize::from(salt(number))] {
        return Err(format!("life {number}: it comes to other results than an undisturbed life"));
    }
    if faults(number) == Faults::Gentle && sum.repeated > 0 {
        return Err(format!("life {number}: {} stages were done twice, and nothing was lost", sum.repeated));
    }
    Ok(sum)
}

/// Lives so many lives, on all processors; the first violation that was found, or all that was done.
fn lives(count: u64, bug: Option<Fault>) -> Result<Sum, String> {
    let (next, found) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let work = || {
        let mut all = Sum::default();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= count || found.load(Ordering::Relaxed) < u64::MAX {
                return Ok(all);
            }
            match checked(number, bug) {
                Ok(sum) => all = all + sum,
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
    results.into_iter().try_fold(Sum::default(), |all, sum| Ok(all + sum?))
}

impl std::ops::Add for Sum {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            faults: self.faults + other.faults,
            done: self.done + other.done,
            repeated: self.repeated + other.repeated,
            snapshots: self.snapshots + other.snapshots,
            gone_on: self.gone_on + other.gone_on,
            lasted: self.lasted + other.lasted,
        }
    }
}

fn number_of(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

#[test]
#[expect(clippy::print_stdout, reason = "what was done is worth knowing")]
fn in_every_life_the_sweep_completes_as_if_nothing_had_happened() {
    if let Some(number) = number_of("SECATEUR_NETWORK_LIFE") {
        let sum = checked(number, None).unwrap_or_else(|what| panic!("{what}"));
        let again = live(number, faults(number), None).unwrap_or_else(|what| panic!("{what}"));
        println!("life {number}: {sum:?}, {}", again.trace);
        return;
    }
    let count = number_of("SECATEUR_NETWORK_LIVES").unwrap_or(200);
    let begun = std::time::Instant::now();
    let sum = lives(count, None).unwrap_or_else(|what| panic!("{what}"));
    println!("{count} lives in {:?}: {sum:?}", begun.elapsed());
    assert!(
        sum.faults >= 3 * count && sum.done >= 10 * count && sum.snapshots >= count / 2 && sum.gone_on >= count / 20,
        "{sum:?}"
    );
}

#[test]
fn without_faults_nothing_is_done_twice() {
    for number in 0..20 {
        let lived = live(number, Faults::None, None).unwrap_or_else(|what| panic!("{what}"));
        assert_eq!(lived.sum.repeated, 0, "life {number}");
    }
}

#[test]
fn a_life_is_made_of_its_number() {
    for number in 0..20 {
        let trace = || live(number, faults(number), None).unwrap_or_else(|what| panic!("{what}")).trace;
        assert_eq!(trace(), trace(), "life {number}");
    }
    let traces: Vec<_> = (1..3).map(|number| live(number, Faults::All, None).expect("no violation").trace).collect();
    assert_ne!(traces[0], traces[1]);
}

#[test]
fn injected_bugs_are_found() {
    for (bug, signs) in [
        (Fault::EffectsFirst, ["was announced as", "ended again"]),
        (Fault::LateResultDropped, ["was told to forget"; 2]),
        (Fault::DoubleCount, ["ended again", "was told twice"]),
        (Fault::AttemptNotChecked, ["is blamed"; 2]),
        (Fault::FailureCountedAgain, ["is blamed again"; 2]),
    ] {
        let found = lives(1_000, Some(bug)).expect_err("it is found");
        assert!(signs.iter().any(|sign| found.contains(sign)), "{bug:?}: {found}");
    }
}
