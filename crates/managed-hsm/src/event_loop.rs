//! Event loops, which are left alone once their descriptors are another's.

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::{Arc, OnceLock};

use tokio::runtime::{Builder, Runtime};

use crate::descriptors::{self, LoopFiles, Standard};
use crate::forks;

/// An event loop, for a thread that is at work: it isn't while it waits for events.
pub(crate) struct EventLoop {
    /// Always there but while the loop is dropped.
    runtime: Option<Runtime>,
    files: Files,
}

/// An event loop's descriptors, if anybody looks after them.
#[derive(Clone, Default)]
pub(crate) struct Files(Arc<OnceLock<LoopFiles>>);

impl Files {
    /// Whether they may be used.
    pub(crate) fn are_intact(&self) -> bool {
        self.0.get().is_none_or(LoopFiles::are_intact)
    }
}

impl EventLoop {
    /// One for who looks at [`EventLoop::is_intact`] each time before the loop is run.
    pub(crate) fn new() -> io::Result<Self> {
        Self::build(Files::default(), || (), || ()).map_err(descriptors::explained)
    }

    /// One that runs for long, and stops for ever, with its thread, when its descriptors are no longer its own.
    pub(crate) fn on_its_own(files: Files) -> io::Result<Self> {
        let (before, after) = (files.clone(), files.clone());
        let stop = |files: &Files| {
            if !files.are_intact() {
                log::debug!("the program has closed the descriptors of an event loop");
                loop {
                    std::thread::park();
                }
            }
        };
        let built = Self::build(files, move || stop(&before), move || stop(&after));
        built.map_err(descriptors::explained)
    }

    /// `before` and `after` are called around each wait for events.
    fn build(
        files: Files,
        before: impl Fn() + Send + Sync + 'static,
        after: impl Fn() + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let standard = Standard::take()?;
        let runtime = Builder::new_current_thread()
            .enable_io()
            .enable_time()
            .on_thread_park(move || {
                forks::pause_work();
                before();
            })
            .on_thread_unpark(move || {
                after();
                forks::resume_work();
            })
            .build()?;
        if let Some(found) = LoopFiles::of(&runtime, &standard)? {
            let _ = files.0.set(found);
        }
        Ok(Self {
            runtime: Some(runtime),
            files,
        })
    }

    /// Whether it may be run for what opens and closes nothing.
    pub(crate) fn may_wait(&self) -> bool {
        self.files.0.get().is_none_or(LoopFiles::may_wait)
    }

    /// Whether it may be run.
    pub(crate) fn is_intact(&self) -> bool {
        self.files.are_intact()
    }

    /// Runs the loop on this thread until `work` is done. A loop in which something panics is never touched again, nor is the
    /// work.
    pub(crate) fn run<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        let runtime = self.runtime.take()?;
        let mut work = Box::pin(work);
        match catch_unwind(AssertUnwindSafe(|| runtime.block_on(work.as_mut()))) {
            Ok(done) => {
                self.runtime = Some(runtime);
                Some(done)
            }
            Err(panic) => {
                std::mem::forget((runtime, work));
                resume_unwind(panic)
            }
        }
    }
}

impl Drop for EventLoop {
    fn drop(&mut self) {
        match self.runtime.take() {
            Some(runtime) if self.is_intact() => runtime.shutdown_background(),
            // To drop it would be calls with numbers that may be anybody's.
            lost => std::mem::forget(lost),
        }
    }
}
