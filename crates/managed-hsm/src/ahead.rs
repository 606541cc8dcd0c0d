//! Connections that are opened ahead of the first request, where the user wants that: by a process
//! that has a key, and by each one that is forked from it, which can use none of its parent's.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::{ArcSwap, ArcSwapOption};

use crate::error::Error;
use crate::forks;
use crate::request::Request;
use crate::session::Sessions;
use crate::threads;
use crate::uri::Vault;

/// How long a process goes on before it opens any. One that is forked to run another program, or to
/// end at once, opens none.
const PAUSE: Duration = Duration::from_millis(50);

/// The clients that open connections ahead, for those who are forked.
static ALL: ArcSwapOption<Vec<Weak<Sessions>>> = ArcSwapOption::const_empty();

/// What a client knows of its connections to come. No lock: a child may find it in any state.
#[derive(Default)]
pub(crate) struct Ahead {
    /// Where the keys are.
    vaults: ArcSwap<Vec<Vault>>,
    /// The process that has a thread for this, by its generation, from 1 on; 0: none.
    opening: AtomicUsize,
}

impl Ahead {
    fn knows(&self, vault: &Vault) -> bool {
        self.vaults.load().iter().any(|known| known.is_same(vault))
    }

    fn add(&self, vault: &Vault) {
        self.vaults.rcu(|known| {
            let mut all = Vec::clone(known);
            all.push(vault.clone());
            all
        });
    }

    /// Whether this process has to start a thread.
    fn begins(&self) -> bool {
        let process = forks::generation() + 1;
        self.opening.swap(process, Ordering::SeqCst) != process
    }
}

impl Sessions {
    /// A key in this vault is going to be used, by this process or by one that it forks.
    pub(crate) fn expect_use(self: &Arc<Self>, vault: &Vault) {
        if self.settings.connections_ahead == 0 || self.ahead.knows(vault) {
            return;
        }
        let is_first = self.ahead.vaults.load().is_empty();
        self.ahead.add(vault);
        if is_first {
            ALL.rcu(|all| {
                let all = all.iter().flat_map(|all| all.iter());
                let mut alive: Vec<_> = all.filter(|of| of.strong_count() > 0).cloned().collect();
                alive.push(Arc::downgrade(self));
                Some(Arc::new(alive))
            });
        }
        self.begin_opening();
    }

    /// Starts the thread that opens them, unless this process has it.
    fn begin_opening(self: &Arc<Self>) {
        if !self.ahead.begins() {
            return;
        }
        let sessions = Arc::downgrade(self);
        let started = threads::start("akv-ahead", move || {
            std::thread::sleep(PAUSE);
            if let Some(sessions) = sessions.upgrade() {
                sessions.open_all();
            }
        });
        if let Err(error) = started {
            self.ahead.opening.store(0, Ordering::SeqCst);
            log::debug!("no connection is opened ahead: no thread can be started: {error}");
        }
    }

    fn open_all(&self) {
        loop {
            let vaults = self.ahead.vaults.load_full();
            for vault in vaults.iter() {
                if let Err(error) = self.open_to(vault) {
                    log::warn!("no connection was opened ahead: {error}");
                }
            }
            self.ahead.opening.store(0, Ordering::SeqCst);
            // One that came meanwhile found this thread at work.
            let has_all = self.ahead.vaults.load().len() == vaults.len();
            if has_all || !self.ahead.begins() {
                return;
            }
        }
    }

    fn open_to(&self, vault: &Vault) -> Result<(), Error> {
        let url = self.settings.address(vault)?;
        let request = Request::of_vault("open a connection to", vault, url);
        let deadline = Instant::now() + self.settings.operation_timeout;
        let session = self.session()?;
        let count = self.settings.connections_ahead;
        let filled = session
            .pool
            .fill(count, &request.url, deadline, async |http| {
                session.transport.access_token(vault, deadline).await?;
                let connected = http.connect(&request.url).await;
                connected.map_err(|failure| request.failed(&failure, None))
            });
        filled.unwrap_or_else(|| Err(self.late(&request)))
    }
}

/// To be called by a forked child, after [`crate::forks::after_fork_in_child`].
pub fn open_ahead_in_child() {
    let all = ALL.load();
    let all = all.iter().flat_map(|all| all.iter());
    for sessions in all.filter_map(Weak::upgrade) {
        sessions.begin_opening();
    }
}
