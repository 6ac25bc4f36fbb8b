//! What a person sees while a sweep runs: a bar on a terminal, a line every few seconds elsewhere. On standard error, and never
//! torn by a line of the log.

use std::{
    collections::{HashMap, VecDeque},
    io::{self, IsTerminal as _, Write},
    time::{Duration, Instant},
};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use secateur_proto::v1::{Progress, SweepState, SweepStatus, TrialEnded, stage_outcome};
use tracing_subscriber::fmt::MakeWriter;

use super::output::{counted, duration, thousands};

/// The rate is that of so long: what was before says little of what is to come.
const LATELY: Duration = Duration::from_secs(30);

/// Between two lines where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Standard error, shared by bars, log and messages.
#[derive(Debug, Clone)]
pub(crate) struct Screen {
    bars: MultiProgress,
    terminal: bool,
}

impl Screen {
    pub(crate) fn new() -> Self {
        let terminal = io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bars: MultiProgress::with_draw_target(target), terminal }
    }

    /// A line for a person.
    pub(crate) fn say(&self, message: &str) {
        self.bars.suspend(|| {
            // There is no other place to complain to.
            let _ = writeln!(io::stderr(), "{message}");
        });
    }

    /// What went wrong.
    pub(crate) fn error(&self, message: &str) {
        self.say(&format!("error: {message}"));
    }

    /// Something of unknown length that may take a second.
    pub(crate) fn spinner(&self, what: &str) -> Spinner {
        if !self.terminal {
            return Spinner(None);
        }
        let spinner = self.bars.add(ProgressBar::new_spinner().with_message(what.to_owned()));
        spinner.enable_steady_tick(Duration::from_millis(100));
        Spinner(Some(spinner))
    }

    /// Whether a person may be looking.
    pub(crate) const fn is_terminal(&self) -> bool {
        self.terminal
    }

    /// The writer of the log.
    pub(crate) fn log_writer(&self) -> LogWriter {
        LogWriter(self.bars.clone())
    }
}

/// Spins until it is dropped.
pub(crate) struct Spinner(Option<ProgressBar>);

impl Spinner {
    /// Says what is done now.
    pub(crate) fn set(&self, what: String) {
        if let Some(spinner) = &self.0 {
            spinner.set_message(what);
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        if let Some(spinner) = &self.0 {
            spinner.finish_and_clear();
        }
    }
}

/// Writes lines of the log between two drawings of the bars.
#[derive(Debug, Clone)]
pub(crate) struct LogWriter(MultiProgress);

impl Write for LogWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.suspend(|| io::stderr().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}

impl<'a> MakeWriter<'a> for LogWriter {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

/// The progress of one sweep.
#[derive(Debug)]
pub(crate) struct SweepProgress {
    screen: Screen,
    bar: ProgressBar,
    begun: Instant,
    /// Lane-steps that were done at moments not long ago, the oldest first.
    lately: VecDeque<(Instant, u64)>,
    last_line: Option<Instant>,
    epochs: u64,
    /// Lane-steps that are done of stages under way, and whether that was the last epoch.
    under_way: HashMap<String, (u64, bool)>,
    /// Lane-steps that are done, those under way included, as they were shown: what begins anew takes nothing away.
    done: u64,
    /// Stages that had ended before anybody here looked, and were not computed by the coordinator that was there then.
    found: Option<u64>,
    /// Stages that have ended since, before the life of the coordinator that is there now.
    earlier: u64,
    /// Whether the next status is the first of a connection.
    connected: bool,
    status: Option<SweepStatus>,
}

impl SweepProgress {
    pub(crate) fn new(screen: &Screen) -> Self {
        let template = "{spinner} {bar:30} {msg}";
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        let bar = screen.bars.add(ProgressBar::new(1).with_style(style.progress_chars("━╸─")));
        bar.enable_steady_tick(Duration::from_millis(120));
        let (screen, begun) = (screen.clone(), Instant::now());
        let (last_line, found, status) = (None, None, None);
        let (lately, under_way) = (VecDeque::new(), HashMap::new());
        let (epochs, done, earlier, connected) = (0, 0, 0, false);
        Self { screen, bar, begun, lately, last_line, epochs, under_way, done, found, earlier, connected, status }
    }

    /// What comes now is from another connection, and may be from another life of the coordinator.
    pub(crate) fn connected(&mut self) {
        self.connected = true;
    }

    /// The sweep's numbers have changed.
    pub(crate) fn status(&mut self, status: &SweepStatus) {
        if std::mem::take(&mut self.connected) {
            // Nobody worked while nobody was there.
            self.lately.clear();
            // A coordinator counts what is computed in its own life.
            let others = status.stages_ended.saturating_sub(status.stages_computed);
            self.earlier = others.saturating_sub(*self.found.get_or_insert(others));
        }
        if self.status.as_ref().is_some_and(|last| last.stages_ended != status.stages_ended) {
            self.under_way.retain(|_, (_, is_last)| !*is_last);
        }
        if self.under_way.len() as u64 > status.stages_leased {
            // Some have ended before their last epoch, or somebody else goes on with them.
            self.under_way.clear();
        }
        self.bar.set_length(status.lane_steps.max(1));
        let before = self.status.as_ref().and_then(why_nothing_is_handed_out);
        let now = why_nothing_is_handed_out(status);
        if now != before && status.state() == SweepState::Running {
            self.screen.say(now.as_deref().unwrap_or("no longer held"));
        }
        let seeds = |status: &SweepStatus| status.seeds.clone();
        if !status.seeds.is_empty() && self.status.as_ref().map(seeds).as_ref() != Some(&status.seeds) {
            self.screen.say(&format!("seeds: {}", status.seeds));
        }
        self.status = Some(status.clone());
        if status.state() == SweepState::Running {
            self.draw();
        }
    }

    /// A lane has finished an epoch.
    pub(crate) fn epoch(&mut self, told: &Progress) {
        self.epochs += 1;
        // A worker says what it likes.
        let epochs = told.epochs.max(1);
        let epoch = told.epoch.min(epochs);
        let after = |epoch: u32| {
            let steps = u128::from(told.lane_steps) * u128::from(epoch) / u128::from(epochs);
            u64::try_from(steps).unwrap_or(u64::MAX)
        };
        if self.under_way.insert(told.stage_key.clone(), (after(epoch), epoch == epochs)).is_none() {
            // The epochs before were not done just now.
            let before = after(epoch.saturating_sub(1));
            self.lately.iter_mut().for_each(|(_, done)| *done = done.saturating_add(before));
        }
        self.draw();
    }

    /// A trial has ended; only an unhappy end is worth a line.
    pub(crate) fn trial(&self, ended: &TrialEnded) {
        use stage_outcome::Outcome;
        let how = match ended.outcome.as_ref().and_then(|outcome| outcome.outcome.as_ref()) {
            Some(Outcome::Diverged(diverged)) => format!("diverged at step {}", diverged.step),
            Some(Outcome::Collapsed(collapsed)) => format!("collapsed: {} would keep no weights", collapsed.layer),
            Some(Outcome::Failed(failed)) => format!("failed: {}", failed.message),
            Some(Outcome::Completed(_) | Outcome::Cancelled(_)) | None => return,
        };
        self.screen.say(&format!("trial {} {how}", ended.trial_id));
    }

    /// Lane-steps a second, once there were some.
    fn rate(&mut self) -> Option<f64> {
        let now = Instant::now();
        while self.lately.get(1).is_some_and(|(at, _)| now - *at > LATELY) {
            self.lately.pop_front();
        }
        let (since, before) = self.lately.front().copied().unwrap_or((now, self.done));
        if self.lately.back().is_none_or(|(at, _)| now - *at > LATELY / 100) {
            self.lately.push_back((now, self.done));
        }
        let seconds = (now - since).as_secs_f64();
        let rate = self.done.saturating_sub(before) as f64 / seconds;
        (seconds >= 1.0 && rate >= 1.0).then_some(rate)
    }

    fn draw(&mut self) {
        let Some(status) = self.status.clone() else { return };
        let under_way = self.under_way.values().fold(0_u64, |sum, (done, _)| sum.saturating_add(*done));
        self.done = self.done.max(status.lane_steps_ended.saturating_add(under_way)).min(status.lane_steps);
        self.bar.set_position(self.done);
        let rate = self.rate();
        let mut text = format!(
            "{}/{} trials, {} in flight",
            thousands(status.trials_completed + status.trials_failed),
            thousands(status.trials),
            counted(status.stages_leased, "stage"),
        );
        if self.epochs > 0 {
            text += &format!(", {} trained", counted(self.epochs, "epoch"));
        }
        if let Some(rate) = rate {
            text += &format!(", {} lane-steps/s", thousands(rate as u64));
            // Of what drains, the rest will not be done.
            if !status.draining {
                let left = (status.lane_steps - self.done) as f64 / rate;
                text += &format!(", {} left", duration(left.ceil() as u64));
            }
        }
        self.bar.set_message(text.clone());
        let due = self.last_line.is_none_or(|line| line.elapsed() >= LINE_EVERY);
        if !self.screen.terminal && due {
            self.last_line = Some(Instant::now());
            let share = 100.0 * self.done as f64 / status.lane_steps.max(1) as f64;
            self.screen.say(&format!("{share:>3.0} %  {text}"));
        }
    }

    /// Clears the bar and says how it ended.
    pub(crate) fn finish(self, status: &SweepStatus) {
        self.bar.finish_and_clear();
        let elapsed = duration(self.begun.elapsed().as_secs());
        let what = match status.state() {
            SweepState::Completed => "completed",
            SweepState::Cancelled => "was cancelled",
            SweepState::Stopped => "was stopped",
            SweepState::Running | SweepState::Unspecified => "is still running",
        };
        let result = self.result(status);
        self.screen.say(&format!("sweep {} ({}) {what} after {elapsed}: {result}", status.name, status.sweep_id));
    }

    /// What came of it.
    fn result(&self, status: &SweepStatus) -> String {
        let trials = thousands(status.trials);
        match (status.state(), status.stages_computed + self.earlier, status.stages) {
            (SweepState::Completed, computed, stages) => {
                let failed = match status.trials_failed {
                    0 => String::new(),
                    failed => format!(", {} of them without a result", thousands(failed)),
                };
                let found = match computed {
                    all if all == stages => format!("{stages} stages computed"),
                    // Which of the others ended without a result, and which were there already, nobody has counted.
                    some if status.trials_failed > 0 => format!("{some} of {stages} stages computed"),
                    0 => format!("all {stages} stages reused"),
                    some => format!("{some} of {stages} stages computed, the others reused"),
                };
                format!("{trials} trials{failed}; {found}")
            }
            _ => format!("{} of {trials} trials completed", thousands(status.trials_completed)),
        }
    }
}

/// Returns why a running sweep gets no more leases; `None` if it does.
fn why_nothing_is_handed_out(status: &SweepStatus) -> Option<String> {
    match status.held.as_str() {
        _ if status.draining => {
            Some("draining: the sweep is cancelled once its running stages have finished".to_owned())
        }
        "" => None,
        held => Some(format!("held: {held}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(state: SweepState, ended: u64, computed: u64) -> SweepStatus {
        let (stages, stages_ended, stages_computed) = (8, ended, computed);
        SweepStatus { state: state.into(), trials: 4, stages, stages_ended, stages_computed, ..SweepStatus::default() }
    }

    /// What is said at the end by who was told this of each life of a coordinator that it followed: stages ended and computed.
    fn result(lives: &[&[(u64, u64)]]) -> String {
        let mut progress = SweepProgress::new(&Screen::new());
        let mut last = SweepStatus::default();
        for life in lives {
            progress.connected();
            for (ended, computed) in *life {
                let state = if *ended == 8 { SweepState::Completed } else { SweepState::Running };
                last = status(state, *ended, *computed);
                progress.status(&last);
            }
        }
        progress.result(&last)
    }

    #[test]
    fn what_is_under_way_counts_and_what_is_shown_never_goes_back() {
        let mut progress = SweepProgress::new(&Screen::new());
        let status = |ended, stages_leased| SweepStatus {
            state: SweepState::Running.into(),
            lane_steps: 400,
            lane_steps_ended: ended * 100,
            stages: 4,
            stages_ended: ended,
            stages_leased,
            ..SweepStatus::default()
        };
        let told = |key: &str, epoch| Progress {
            stage_key: key.to_owned(),
            epoch,
            epochs: 10,
            lane_steps: 100,
            ..Progress::default()
        };
        progress.status(&status(0, 2));
        progress.epoch(&told("a", 3));
        progress.epoch(&told("b", 5));
        assert_eq!(progress.done, 80);
        // One begins anew elsewhere.
        progress.epoch(&told("a", 1));
        assert_eq!(progress.done, 80);
        progress.epoch(&told("b", 10));
        assert_eq!(progress.done, 110);
        progress.status(&status(1, 1));
        assert_eq!(progress.done, 110, "what has ended counts once");
        progress.epoch(&told("a", 10));
        progress.status(&status(2, 0));
        assert_eq!(progress.done, 200);
        progress.epoch(&told("c", 10));
        progress.epoch(&told("d", 10));
        assert_eq!(progress.done, 400);
    }

    #[test]
    fn a_stage_whose_steps_its_epochs_do_not_divide_counts_once_and_no_worker_says_too_much() {
        let mut progress = SweepProgress::new(&Screen::new());
        let status = |ended| SweepStatus {
            state: SweepState::Running.into(),
            lane_steps: 190,
            lane_steps_ended: ended * 95,
            stages: 2,
            stages_ended: ended,
            stages_leased: 2,
            ..SweepStatus::default()
        };
        let told = |epoch, lane_steps| Progress {
            stage_key: "a".to_owned(),
            epoch,
            epochs: 10,
            lane_steps,
            ..Progress::default()
        };
        progress.status(&status(0));
        progress.epoch(&told(9, 95));
        assert_eq!(progress.done, 85);
        progress.epoch(&told(10, 95));
        progress.status(&status(1));
        assert_eq!(progress.done, 95);
        progress.epoch(&told(u32::MAX, u64::MAX));
        assert_eq!(progress.done, 190, "no more than all");
    }

    #[test]
    fn what_is_computed_in_all_lives_that_were_followed_is_counted() {
        assert_eq!(result(&[&[(0, 0), (5, 5), (8, 8)]]), "4 trials; 8 stages computed");
        // Of the last stage before the crash nothing was heard.
        assert_eq!(result(&[&[(0, 0), (4, 4)], &[(5, 0), (8, 3)]]), "4 trials; 8 stages computed");
        // The connection broke, and the coordinator was still there.
        assert_eq!(result(&[&[(0, 0), (4, 4)], &[(5, 5), (8, 8)]]), "4 trials; 8 stages computed");
        let there = "4 trials; 3 of 8 stages computed, the others reused";
        assert_eq!(result(&[&[(5, 0), (8, 3)]]), there);
        assert_eq!(result(&[&[(5, 0), (6, 1)], &[(6, 0), (8, 2)]]), there);
        assert_eq!(result(&[&[(8, 0)]]), "4 trials; all 8 stages reused");
    }
}
