//! The thread that hands out what a process has counted: to a file every few seconds, and to
//! whoever asks at a socket.
//!
//! It is a thread of its own, since a slow disk is to hold up nothing else. It is started at the
//! first operation that is counted, ends with the process or when the program is done with the
//! module, and is started again if the program isn't.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, SyncSender, channel, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::folder::TextFile;
use super::listener::{self, Listener};
use super::registry::Registry;
use super::{process, prometheus};
use crate::bell::Bell;
use crate::foreign::ForeignText;
use crate::forks::Work;
use crate::threads::{self, Lasting};

/// When a process's file is written first, and how often then.
const FIRST: Duration = Duration::from_secs(1);
const PERIOD: Duration = Duration::from_secs(10);
/// How often what others have left is looked for, and a socket tried again that couldn't be had.
const SWEEP: Duration = Duration::from_secs(60);
/// How long it waits at a time: it has to see in time that the process has no other thread, and
/// that a socket's number is another's.
const LOOK: Duration = Duration::from_millis(400);
/// How long [`Reporter::stop`] waits.
const STOP_TIMEOUT: Duration = Duration::from_millis(500);

/// What is handed out, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Plan {
    /// Whose it is, and of which version.
    pub(super) front_end: String,
    pub(super) version: String,
    /// Where files and sockets are.
    pub(super) folder: Option<PathBuf>,
    pub(super) sockets: Option<PathBuf>,
}

/// The thread, for whoever ends it.
pub(super) struct Reporter {
    stop: Sender<()>,
    bell: Option<Arc<Bell>>,
    /// Disconnected when it is over.
    ended: Mutex<Receiver<()>>,
}

impl Reporter {
    pub(super) fn start(plan: &'static Plan, registry: &Arc<Registry>) -> io::Result<Self> {
        let bell = plan.sockets.as_ref().map(|_| Bell::new().map(Arc::new));
        let bell = bell.transpose()?;
        let (stop, inbox) = channel();
        let (ending, ended) = sync_channel(0);
        let thread = Thread {
            plan,
            registry: Arc::clone(registry),
            inbox,
            bell: bell.clone(),
            _ending: ending,
        };
        threads::start("akv-metrics", move || thread.run())?;
        Ok(Self {
            stop,
            bell,
            ended: Mutex::new(ended),
        })
    }

    /// Ends it within a bounded time. What it has written is removed.
    pub(super) fn stop(&self) {
        if self.stop.send(()).is_err() {
            return;
        }
        if let Some(bell) = &self.bell {
            bell.ring();
        }
        if let Ok(ended) = self.ended.lock()
            && ended.recv_timeout(STOP_TIMEOUT) == Err(RecvTimeoutError::Timeout)
        {
            log::debug!("the thread for metrics did not end within {STOP_TIMEOUT:?}");
        }
    }
}

struct Thread {
    plan: &'static Plan,
    registry: Arc<Registry>,
    inbox: Receiver<()>,
    bell: Option<Arc<Bell>>,
    _ending: SyncSender<()>,
}

/// What the thread has under way.
struct Outlets {
    program: ForeignText,
    file: Option<TextFile>,
    socket: Option<PathBuf>,
    /// When the file is written, what others have left is removed, and a socket is tried.
    next_file: Instant,
    next_sweep: Instant,
    next_socket: Instant,
    has_file_failed: bool,
}

impl Thread {
    fn run(self) {
        let _lasting = Lasting::begin();
        let mut outlets = {
            let _work = Work::begin();
            self.outlets()
        };
        loop {
            {
                let _work = Work::begin();
                self.turn(&mut outlets);
            }
            if self.wait() || threads::are_alone() {
                break;
            }
        }
        let _work = Work::begin();
        if let Some(file) = &mut outlets.file {
            file.remove();
        }
        if let Some(listener) = self.registry.listener.swap(None) {
            listener.remove();
        }
    }

    fn outlets(&self) -> Outlets {
        let plan = self.plan;
        let now = Instant::now();
        let name = format!(
            "{}-{}{}",
            plan.front_end,
            std::process::id(),
            listener::SUFFIX
        );
        Outlets {
            program: process::program(),
            file: (plan.folder.as_ref()).map(|folder| TextFile::new(folder, &plan.front_end)),
            socket: plan.sockets.as_ref().map(|folder| folder.join(name)),
            next_file: now + FIRST,
            next_sweep: now,
            next_socket: now,
            has_file_failed: false,
        }
    }

    fn turn(&self, outlets: &mut Outlets) {
        let now = Instant::now();
        let program = outlets.program.clone();
        let snapshot = || {
            let plan = self.plan;
            self.registry
                .snapshot(&plan.front_end, &plan.version, program.raw())
        };
        if let Some(path) = &outlets.socket {
            if self.registry.listener.load().is_none() || !self.is_listening() {
                if now >= outlets.next_socket {
                    outlets.next_socket = now + SWEEP;
                    self.listen(path);
                }
            } else {
                outlets.next_socket = now;
            }
            if let Some(listener) = self.registry.listener.load_full() {
                listener.answer(|| serde_json::to_vec(&snapshot()).unwrap_or_default());
            }
        }
        if let Some(file) = &mut outlets.file
            && now >= outlets.next_file
        {
            outlets.next_file = now + PERIOD;
            let outcome = file.write(&prometheus::text(&snapshot()));
            if let Err(error) = outcome
                && !outlets.has_file_failed
            {
                let (path, error) = (file.path().to_owned(), io::Error::from(error));
                warn(&path, &format!("can't be written: {error}"));
            }
            outlets.has_file_failed = outcome.is_err();
        }
        if now >= outlets.next_sweep {
            outlets.next_sweep = now + SWEEP;
            outlets.file.iter().for_each(TextFile::sweep);
            if let Some(folder) = &self.plan.sockets {
                listener::sweep(folder, &self.plan.front_end);
            }
        }
    }

    fn is_listening(&self) -> bool {
        let listener = self.registry.listener.load();
        listener.as_ref().is_some_and(|it| it.is_there())
    }

    /// Listens, instead of at a socket that was lost.
    fn listen(&self, path: &Path) {
        self.registry.listener.store(None);
        match Listener::at(path) {
            Ok(listener) => self.registry.listener.store(Some(Arc::new(listener))),
            Err(problem) => warn(path, &format!("can't be listened at: {problem}")),
        }
    }

    /// Waits until there is something to do, but not for long. Whether the thread is to end.
    fn wait(&self) -> bool {
        let listener = self.registry.listener.load_full();
        let listener = listener.filter(|listener| listener.is_there());
        let bell = self.bell.as_ref().filter(|bell| bell.is_ours());
        let mut asked = Vec::new();
        asked.extend(bell.map(|bell| PollFd::new(bell.descriptor(), PollFlags::IN)));
        asked.extend((listener.as_ref()).map(|it| PollFd::new(it.descriptor(), PollFlags::IN)));
        let time = match asked.is_empty() {
            true => LOOK,
            false => {
                let look = Timespec::try_from(LOOK).unwrap_or_default();
                let _ = poll(&mut asked, Some(&look));
                Duration::ZERO
            }
        };
        self.inbox.recv_timeout(time) != Err(RecvTimeoutError::Timeout)
    }
}

fn warn(path: &Path, problem: &str) {
    log::warn!("metrics: '{}' {problem}", crate::files::shown_path(path));
}
