//! What an executor says on standard error: passed on as it comes, and the last of it kept, which is what there is to know of a death.

use std::{
    collections::VecDeque,
    io,
    process::ExitStatus,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, BufReader};

/// Lines that are kept: what a library says of its death can be followed by the calls that led there.
const MOST_LINES: usize = 400;

/// Lines that are kept for whoever asks.
const MOST_FRESH: usize = 40;

/// Characters of a line that are kept.
const LONGEST_LINE: usize = 400;

/// Bytes that are passed on at once; a longer line comes in parts.
const MOST_AT_ONCE: u64 = 64 << 10;

/// How libraries and the language say that memory was not enough.
const NO_MEMORY: [&str; 5] =
    ["out of memory", "outofmemory", "memory allocation of", "can't allocate memory", "not enough memory"];

/// Whether `text` says that memory was not enough.
pub(crate) fn tell_of_memory(text: &str) -> bool {
    let text = text.to_lowercase();
    NO_MEMORY.iter().any(|words| text.contains(words))
}

/// The last lines of an executor.
#[derive(Debug, Default)]
pub(super) struct Words(VecDeque<String>);

impl Words {
    fn add(&mut self, line: &str) {
        if line.is_empty() {
            return;
        }
        if self.0.len() == MOST_LINES {
            self.0.pop_front();
        }
        self.0.push_back(line.chars().take(LONGEST_LINE).collect());
    }

    /// Whether it says that memory was not enough.
    pub(super) fn out_of_memory(&self) -> bool {
        self.of_memory().is_some()
    }

    /// The last line that says so.
    fn of_memory(&self) -> Option<&String> {
        self.0.iter().rfind(|line| tell_of_memory(line))
    }

    /// That memory was not enough; or what it panicked with last; or else its last line.
    pub(super) fn last(&self) -> String {
        let panicked = self.0.iter().rposition(|line| line.contains("panicked at"));
        let why = self.of_memory().or_else(|| panicked.and_then(|position| self.0.get(position + 1)));
        why.or(self.0.back()).cloned().unwrap_or_default()
    }
}

/// Whether it was killed, and did not end.
pub(super) fn killed(status: &io::Result<ExitStatus>) -> bool {
    #[cfg(unix)]
    return status.as_ref().is_ok_and(|status| std::os::unix::process::ExitStatusExt::signal(status) == Some(9));
    #[cfg(not(unix))]
    return false;
}

/// Processes that the system has killed since it started because memory was not enough. 0 where it does not say.
pub(super) fn kills_for_memory() -> u64 {
    let text = std::fs::read_to_string("/proc/vmstat").unwrap_or_default();
    let count =
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).and_then(|count| count.trim().parse().ok());
    count.unwrap_or(0)
}

/// Lines that nobody has asked for yet; of more the oldest are gone.
#[derive(Debug, Clone, Default)]
pub(super) struct Fresh(Arc<Mutex<VecDeque<String>>>);

impl Fresh {
    fn add(&self, line: &str) {
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == MOST_FRESH {
            lines.pop_front();
        }
        lines.push_back(line.chars().take(LONGEST_LINE).collect());
    }

    /// What came since this was asked last.
    pub(super) fn take(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).drain(..).collect()
    }
}

/// Passes on what comes until it ends, to this process's standard error and to whoever asks.
pub(super) async fn pass_on(from: impl AsyncRead + Unpin, fresh: Fresh) -> Words {
    let mut words = Words::default();
    let mut from = BufReader::new(from);
    let mut to = tokio::io::stderr();
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut from).take(MOST_AT_ONCE).read_until(b'\n', &mut line).await {
            Ok(0) | Err(_) => return words,
            Ok(_) => {
                // Whoever reads this process's standard error may be gone.
                let _ = to.write_all(&line).await;
                let _ = to.flush().await;
                let line = String::from_utf8_lossy(&line);
                words.add(line.trim());
                fresh.add(line.trim_end());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn heard(text: &str) -> Words {
        pass_on(text.as_bytes(), Fresh::default()).await
    }

    #[tokio::test]
    async fn the_reason_of_a_panic_is_its_last_word() {
        let text = "a log line\nthread 'main' panicked at src/x.rs:1:2:\nCUDA error: out of memory\nnote: run with `RUST_BACKTRACE=1`\n";
        let words = heard(text).await;
        assert_eq!(words.last(), "CUDA error: out of memory");
        assert!(words.out_of_memory());
    }

    #[tokio::test]
    async fn what_is_said_can_be_asked_for_once() {
        let fresh = Fresh::default();
        pass_on("one\n  two\n".as_bytes(), fresh.clone()).await;
        assert_eq!(fresh.take(), ["one", "  two"]);
        assert!(fresh.take().is_empty());
        pass_on("x\n".repeat(1_000).as_bytes(), fresh.clone()).await;
        assert_eq!(fresh.take().len(), MOST_FRESH);
    }

    #[tokio::test]
    async fn without_a_panic_it_is_the_last_line_and_only_so_much_is_kept() {
        let words = heard(&format!("{}\nthe end", "x\n".repeat(1_000))).await;
        assert_eq!((words.last().as_str(), words.0.len(), words.out_of_memory()), ("the end", MOST_LINES, false));
        assert_eq!(heard(&"y".repeat(10_000)).await.last().len(), LONGEST_LINE);
        assert_eq!(heard("").await.last(), "");
    }

    #[tokio::test]
    async fn the_calls_that_led_to_it_do_not_hide_that_memory_was_not_enough() {
        let reason = "memory allocation of 17179869184 bytes failed";
        let words =
            heard(&format!("{reason}\nstack backtrace:\n{}note: Some details are omitted\n", "  at x\n".repeat(200)))
                .await;
        assert!(words.out_of_memory());
        assert_eq!(words.last(), reason);
    }
}
