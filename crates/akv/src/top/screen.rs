//! The screen: a terminal that is put right again, however it ends.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios};
use rustix::termios::{tcgetattr, tcgetwinsize, tcsetattr};

use super::{sockets, view};
use crate::failure::Failure;

/// A screen of its own without a cursor, and the way back.
const ENTER: &str = "\u{1b}[?1049h\u{1b}[?25l";
const LEAVE: &str = "\u{1b}[?25h\u{1b}[?1049l";
/// To the beginning; to the end of the line; to the end of the screen.
const HOME: &str = "\u{1b}[H";
const REST_OF_LINE: &str = "\u{1b}[K";
const REST_OF_SCREEN: &str = "\u{1b}[J";

/// How often keys and signals are looked for.
const LOOK: Duration = Duration::from_millis(200);
/// What ends it: q, and what Ctrl-C and Ctrl-D send.
const ENDS: [u8; 4] = [b'q', b'Q', 3, 4];

/// Shows the processes until somebody quits.
pub(super) fn watch(folder: &Path, interval: Duration) -> Result<(), Failure> {
    // What is wrong from the beginning is told as with other commands.
    let mut look = sockets::look(folder)?;
    let ended = Arc::new(AtomicBool::new(false));
    wait_for_signals(&ended)?;
    let terminal = Terminal::take()?;
    let mut before = None;
    loop {
        terminal.show(before.as_ref(), &look)?;
        if terminal.is_ended_within(interval, &ended)? {
            return Ok(());
        }
        before = Some(look);
        look = sockets::look(folder)?;
    }
}

/// Has signals that end a program end the screen first.
fn wait_for_signals(ended: &Arc<AtomicBool>) -> io::Result<()> {
    let mut signals = SigSet::empty();
    for signal in [
        Signal::SIGINT,
        Signal::SIGTERM,
        Signal::SIGHUP,
        Signal::SIGQUIT,
    ] {
        signals.add(signal);
    }
    // Threads that are started later block them, too.
    signals.thread_block()?;
    let ended = Arc::clone(ended);
    let wait = move || {
        let _ = signals.wait();
        ended.store(true, Ordering::Relaxed);
    };
    std::thread::Builder::new().spawn(wait).map(drop)
}

/// The terminal, until this goes.
struct Terminal {
    before: Termios,
}

impl Terminal {
    fn take() -> io::Result<Self> {
        let before = tcgetattr(stdin())?;
        let mut own = before.clone();
        // Keys come at once, are not shown, and none of them sends a signal.
        own.local_modes -= LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG;
        own.special_codes[SpecialCodeIndex::VMIN] = 0;
        own.special_codes[SpecialCodeIndex::VTIME] = 0;
        tcsetattr(stdin(), OptionalActions::Now, &own)?;
        let terminal = Self { before };
        write(ENTER)?;
        Ok(terminal)
    }

    fn show(&self, before: Option<&super::Look>, now: &super::Look) -> io::Result<()> {
        let size = tcgetwinsize(stdout()).ok();
        let sizes = size.map(|size| (size.ws_col.into(), size.ws_row.into()));
        let (width, height): (usize, usize) = match sizes {
            Some((width @ 1.., height @ 1..)) => (width, height),
            _ => (80, 24),
        };
        let lines = view::screen(before, now, width, height);
        let end = format!("{REST_OF_LINE}\r\n");
        write(&format!(
            "{HOME}{}{REST_OF_LINE}{REST_OF_SCREEN}",
            lines.join(&end)
        ))
    }

    /// Whether somebody quits within this time.
    fn is_ended_within(&self, time: Duration, ended: &AtomicBool) -> io::Result<bool> {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if ended.load(Ordering::Relaxed) {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
            let slice = Timespec::try_from(left.min(LOOK)).unwrap_or_default();
            let mut asked = [PollFd::from_borrowed_fd(stdin(), PollFlags::IN)];
            let ready = match poll(&mut asked, Some(&slice)) {
                Err(rustix::io::Errno::INTR) => 0,
                ready => ready?,
            };
            if ready > 0 {
                let mut keys = [0; 64];
                let count = rustix::io::read(stdin(), &mut keys)?;
                // Nothing comes of a terminal that was closed.
                if count == 0 || keys[..count].iter().any(|key| ENDS.contains(key)) {
                    return Ok(true);
                }
            }
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = write(LEAVE);
        let _ = tcsetattr(stdin(), OptionalActions::Now, &self.before);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()
}
