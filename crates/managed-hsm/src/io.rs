//! The I/O thread: one for each process, started when first needed and, after a fork, again by the
//! child.
//!
//! No lock is taken on the way to it, since a lock might be held, at the moment of a fork, by a
//! thread that the child doesn't have. What a child finds of its parent is never touched, not even
//! dropped: dropping a TLS connection would write a close_notify on the parent's socket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use crate::ending;
use crate::error::Error;
use crate::event_loop::{self, EventLoop};
use crate::forks::{ProcessId, Work};
use crate::threads::{self, Lasting};

/// Begins a job. What the job needs of a stack is the thread's own affair.
type Job = Box<dyn FnOnce() -> Pin<Box<dyn Future<Output = ()> + Send>> + Send>;

enum Message {
    Run(Job),
    Stop,
}

/// The I/O thread of a process.
pub(crate) struct IoThread {
    process: ProcessId,
    messages: UnboundedSender<Message>,
    /// Disconnected when the thread is over.
    ended: std::sync::Mutex<Receiver<()>>,
}

static CURRENT: ArcSwapOption<IoThread> = ArcSwapOption::const_empty();

/// Whether there has been such a thread, in this process or in one that it was forked from.
static WAS_STARTED: AtomicBool = AtomicBool::new(false);

/// How long [`IoThread::stop`] waits for the thread.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// How often the thread looks whether it is the last one, when it has nothing to do.
const LOOK: Duration = Duration::from_secs(1);

impl IoThread {
    /// This process's thread; starts it if there is none.
    pub(crate) fn current() -> Result<Arc<Self>, Error> {
        loop {
            let seen = CURRENT.load();
            if let Some(thread) = seen.as_ref()
                && thread.belongs_to_this_process()
                && !thread.messages.is_closed()
            {
                return Ok(Arc::clone(thread));
            }
            let started = Arc::new(Self::start()?);
            if let Some(found) = seen.as_ref()
                && !found.belongs_to_this_process()
            {
                std::mem::forget(Arc::clone(found));
            }
            let previous = CURRENT.compare_and_swap(&*seen, Some(Arc::clone(&started)));
            let unchanged = match (previous.as_ref(), seen.as_ref()) {
                (Some(previous), Some(seen)) => Arc::ptr_eq(previous, seen),
                (None, None) => true,
                _ => false,
            };
            if unchanged {
                return Ok(started);
            }
            // Another thread was faster. Dropping ours ends it.
        }
    }

    /// Whether the thread runs in this process, rather than in one that this was forked from.
    pub(crate) fn belongs_to_this_process(&self) -> bool {
        self.process.is_current()
    }

    /// Runs a job on the thread. Dropped without being run if the thread has ended.
    pub(crate) fn spawn<F>(&self, job: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let job: Job = Box::new(move || Box::pin(job()));
        let _ = self.messages.send(Message::Run(job));
    }

    /// Ends this process's thread, if it has one, within a bounded time. The next request starts
    /// another.
    pub(crate) fn stop() {
        // To look for it takes memory, of which a process that ends may have none: the C library
        // aborts it then, though nobody has made a request.
        if !WAS_STARTED.load(Ordering::Relaxed) {
            return;
        }
        let seen = CURRENT.load_full();
        let Some(thread) = seen else { return };
        if !thread.belongs_to_this_process() {
            return std::mem::forget(thread);
        }
        CURRENT.compare_and_swap(&thread, None::<Arc<Self>>);
        if thread.messages.send(Message::Stop).is_err() {
            return;
        }
        if let Ok(ended) = thread.ended.lock()
            && ended.recv_timeout(STOP_TIMEOUT) == Err(RecvTimeoutError::Timeout)
        {
            log::warn!("the I/O thread did not end within {STOP_TIMEOUT:?}");
        }
    }

    fn start() -> Result<Self, Error> {
        // Here, so that whoever needs the thread hears that there are too many descriptors. What it
        // takes of a stack is little.
        let mut events = EventLoop::new().map_err(|error| {
            Error::Io(format!(
                "there is no event loop for its I/O thread: {error}"
            ))
        })?;
        WAS_STARTED.store(true, Ordering::Relaxed);
        let (messages, mut inbox) = unbounded_channel();
        let (ending, ended) = sync_channel(0);
        threads::start("akv-io", move || {
            let _lasting = Lasting::begin();
            let _work = Work::begin();
            if let Err(error) = ending::make_generator() {
                // Who waits for a job hears of it. Nobody does for the closing of idle connections.
                return log::debug!("the I/O thread doesn't start: {error}");
            }
            events.run(async {
                loop {
                    match event_loop::timeout(LOOK, inbox.recv()).await {
                        Ok(Some(Message::Run(job))) => event_loop::spawn(job()),
                        Err(_) if !threads::are_alone() => {}
                        _ => return,
                    }
                }
            });
            drop((events, ending));
        })
        .map_err(|error| Error::Io(format!("its I/O thread can't be started: {error}")))?;
        Ok(Self {
            process: ProcessId::current(),
            messages,
            ended: std::sync::Mutex::new(ended),
        })
    }
}
