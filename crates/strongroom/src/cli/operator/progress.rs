//! How far a collection is, on stderr: a line that changes on a terminal, else a line every few seconds.

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::JoinHandle;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use strongroom_operator::ask::{Count, Tally};

use crate::limits;

/// Shows it until this value goes.
pub(super) struct Progress {
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Progress {
    pub(super) fn of(tally: &Arc<Tally>, is_wanted: bool) -> Self {
        if !is_wanted {
            return Self {
                stop: None,
                thread: None,
            };
        }
        let (stop, stopped) = mpsc::channel();
        let tally = Arc::clone(tally);
        let on_terminal = io::stderr().is_terminal();
        let thread = std::thread::spawn(move || {
            let every = if on_terminal {
                limits::PROGRESS_ON_TERMINAL
            } else {
                limits::PROGRESS_IN_LINES
            };
            let bar = on_terminal.then(bar);
            let end = |wait: Duration| stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout);
            while !end(every) {
                show(bar.as_ref(), tally.count());
            }
            if let Some(bar) = bar {
                bar.finish_and_clear();
            }
        });
        Self {
            stop: Some(stop),
            thread: Some(thread),
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // It only shows numbers; that it failed changes nothing.
            let _ = thread.join();
        }
    }
}

fn bar() -> ProgressBar {
    let bar = ProgressBar::new(0);
    if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
        bar.set_style(style);
    }
    bar
}

fn show(bar: Option<&ProgressBar>, count: Count) {
    let text = text(count);
    match bar {
        Some(bar) => {
            bar.set_message(text);
            bar.tick();
        }
        None => {
            // If stderr is closed nobody reads it.
            let _ = writeln!(io::stderr(), "strongroom: {text}");
        }
    }
}

fn text(count: Count) -> String {
    let mut text = format!(
        "{}: {} of {} answered",
        count.doing, count.answered, count.planned
    );
    for (number, what) in [
        (count.known, "known from before"),
        (count.failed, "failed"),
        (count.repeated, "asked again"),
    ] {
        if number > 0 {
            text = format!("{text}, {number} {what}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_well_is_not_mentioned_apart() {
        let mut count = Count {
            planned: 10,
            answered: 4,
            doing: "accounts",
            ..Count::default()
        };
        assert_eq!(text(count), "accounts: 4 of 10 answered");
        count.failed = 1;
        assert_eq!(text(count), "accounts: 4 of 10 answered, 1 failed");
    }
}
