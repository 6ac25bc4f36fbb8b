//! Who makes an answer, who shares it, and how long it is kept. Nothing depends on time: gates control the order.

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::{FutureExt as _, future::join_all, pin_mut};
use tokio::sync::{Semaphore, oneshot};

use super::*;

#[derive(Debug, PartialEq)]
struct Text(&'static str, usize);

impl Answer for Text {
    fn size(&self) -> usize {
        self.1
    }
}

fn key(sweep: &str) -> Key {
    (sweep.parse().expect("an id"), "text")
}

/// Makes answers and counts them.
#[derive(Clone, Default)]
struct Maker(Arc<AtomicUsize>);

impl Maker {
    fn made(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }

    fn make(
        &self,
        generation: u64,
        size: usize,
    ) -> impl Future<Output = Result<(u64, Text), QueryError>> + Send + 'static {
        let count = Arc::clone(&self.0);
        async move {
            count.fetch_add(1, Ordering::SeqCst);
            Ok((generation, Text("answer", size)))
        }
    }
}

#[tokio::test]
async fn one_makes_it_for_all_who_ask_meanwhile() {
    let (answers, maker) = (Answers::new(100), Maker::default());
    let gate = Arc::new(Semaphore::new(0));
    let ask = |_| {
        let (gate, make) = (Arc::clone(&gate), maker.make(7, 10));
        answers.get(key("s"), 7, async move {
            gate.acquire().await.expect("is open").forget();
            make.await
        })
    };
    let asking = join_all((0..10).map(ask));
    pin_mut!(asking);
    assert!(asking.as_mut().now_or_never().is_none(), "all of them have asked");
    // There is one ticket: a second maker would block for ever.
    gate.add_permits(1);
    let answered: Vec<Arc<Text>> = asking.await.into_iter().map(|answer| answer.expect("is made")).collect();
    assert!(answered.iter().all(|answer| Arc::ptr_eq(answer, &answered[0])));
    assert_eq!(maker.made(), 1);
}

#[tokio::test]
async fn an_answer_is_good_for_its_generation_and_those_before() {
    let (answers, maker) = (Answers::new(100), Maker::default());
    for (asked, is_now, made) in [(5, 5, 1), (5, 9, 1), (4, 9, 1), (6, 9, 2), (9, 9, 2), (10, 10, 3)] {
        answers.get(key("s"), asked, maker.make(is_now, 10)).await.expect("is made");
        assert_eq!(maker.made(), made, "asked for {asked}");
    }
    answers.get(key("t"), 1, maker.make(1, 10)).await.expect("another sweep's is another one");
    assert_eq!(maker.made(), 4);
}

#[tokio::test]
async fn what_was_used_longest_ago_makes_room() {
    let (answers, maker) = (Answers::new(25), Maker::default());
    let ask = async |sweep| drop(answers.get(key(sweep), 1, maker.make(1, 10)).await.expect("is made"));
    ask("a").await;
    ask("b").await;
    ask("a").await;
    ask("c").await;
    assert_eq!(maker.made(), 3);
    ask("a").await;
    ask("c").await;
    assert_eq!(maker.made(), 3, "these two are kept");
    ask("b").await;
    assert_eq!(maker.made(), 4, "this one made room");
    assert_eq!(answers.lock().by_key.len(), 2);
}

#[tokio::test]
async fn an_answer_beyond_all_room_is_shared_and_not_kept() {
    let (answers, maker) = (Answers::new(25), Maker::default());
    let ask = || answers.get(key("s"), 1, maker.make(1, 1_000));
    let (one, other) = tokio::join!(ask(), ask());
    assert!(Arc::ptr_eq(&one.expect("is made"), &other.expect("is made")));
    assert_eq!((maker.made(), answers.lock().by_key.len()), (1, 0));
    ask().await.expect("is made");
    assert_eq!(maker.made(), 2);
}

#[tokio::test]
async fn a_failure_is_not_kept() {
    let (answers, maker) = (Answers::new(100), Maker::default());
    let failing = answers.get::<Text, _>(key("s"), 1, async { Err(QueryError::Busy) });
    assert!(matches!(failing.await, Err(QueryError::Busy)));
    assert_eq!(answers.lock().by_key.len(), 0);
    let panicking = answers.get::<Text, _>(key("s"), 1, async { panic!("a defect") });
    assert!(matches!(panicking.await, Err(QueryError::Failed(_))));
    answers.get(key("s"), 1, maker.make(1, 10)).await.expect("the next one tries anew");
    assert_eq!(maker.made(), 1);
}

#[tokio::test]
async fn who_goes_away_leaves_the_answer_to_the_others() {
    let (answers, maker) = (Answers::new(100), Maker::default());
    let (open, opened) = oneshot::channel();
    let make = maker.make(1, 10);
    {
        let asking = answers.get(key("s"), 1, async move {
            opened.await.expect("is opened");
            make.await
        });
        pin_mut!(asking);
        assert!(asking.as_mut().now_or_never().is_none());
    }
    let other = answers.get(key("s"), 1, maker.make(1, 10));
    pin_mut!(other);
    assert!(other.as_mut().now_or_never().is_none(), "it is being made");
    open.send(()).expect("is waited for");
    other.await.expect("is made");
    assert_eq!(maker.made(), 1);
}
