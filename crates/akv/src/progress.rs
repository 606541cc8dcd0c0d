//! Progress of what takes longer than a second: on standard error, where that is a terminal.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

/// How long to wait in silence.
const PATIENCE: Duration = Duration::from_secs(1);

/// A sign that work goes on. Gone when dropped.
pub(crate) struct Spinner {
    end: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Spinner {
    /// Shows `what` from the second second on.
    pub(crate) fn start(what: impl Into<String>) -> Self {
        let what = what.into();
        let (end, ended) = channel();
        // Without the thread there is no sign.
        let thread = Builder::new().spawn(move || {
            if ended.recv_timeout(PATIENCE) != Err(RecvTimeoutError::Timeout) {
                return;
            }
            let bar = ProgressBar::new_spinner().with_message(what);
            bar.enable_steady_tick(Duration::from_millis(120));
            let _ = ended.recv();
            bar.finish_and_clear();
        });
        Self {
            end: Some(end),
            thread: thread.ok(),
        }
    }
}

impl Drop for Spinner {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            // It has nothing to say but that it is over.
            let _ = thread.join();
        }
    }
}

/// A bar for work whose length is known.
pub(crate) fn bar(length: u64, what: impl Into<String>) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg} [{bar:40}] {percent}%")
        .expect("a constant template is valid")
        .progress_chars("=> ");
    ProgressBar::new(length)
        .with_style(style)
        .with_message(what.into())
}
