//! Requests that come slowly: who sends half of one and no more must not keep a connection for
//! ever.
//!
//! hyper has a limit of its own for the head of a request, which counts while nobody sends
//! anything, too, and so would end kept connections that are idle; over HTTP/2 it has none. Here
//! time counts from the first byte of a request, or of HTTP/2's frame. Bodies have a limit where
//! they are read.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use crate::message::HALF_A_REQUEST;

/// How connections of HTTP/2 begin (RFC 9113, section 3.4). What comes after it is in frames.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What has come of the next request of a connection.
#[derive(Debug, Default)]
pub(crate) struct Arrival {
    state: Mutex<State>,
    begun: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// The connection's first bytes, up to the length of the preface.
    first: Vec<u8>,
    frames: Frames,
    /// When the head, or the frame, that isn't complete began to come.
    since: Option<Instant>,
    /// Requests whose answers are being made.
    in_flight: usize,
}

/// How far the frames of HTTP/2 have come (RFC 9113, section 4.1).
#[derive(Debug, Default)]
struct Frames {
    /// The header of a frame, as long as it isn't there as a whole.
    header: Vec<u8>,
    /// Bytes of the frame that are to come.
    payload: usize,
    /// Whether the head of a request goes on in the next frame.
    head_is_open: bool,
}

/// A request that has come; it is in flight until this is dropped.
pub(crate) struct InFlight(Arc<Arrival>);

impl Arrival {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the head of a request is complete.
    pub(crate) fn complete(self: &Arc<Self>) -> InFlight {
        let mut state = self.lock();
        // Over HTTP/2 the next frame may have begun already.
        if !state.is_http2() {
            state.since = None;
        }
        state.in_flight += 1;
        InFlight(Arc::clone(self))
    }

    /// Notes bytes that have come.
    pub(crate) fn received(&self, bytes: &[u8]) {
        let mut state = self.lock();
        let was_waiting = state.since;
        state.received(bytes);
        if state.since.is_some() && state.since != was_waiting {
            self.begun.notify_one();
        }
    }

    /// Ends when the head of a request, or a frame, has been coming for too long.
    pub(crate) async fn is_overdue(&self) {
        loop {
            let since = self.lock().since;
            let Some(since) = since else {
                self.begun.notified().await;
                continue;
            };
            tokio::time::sleep_until((since + HALF_A_REQUEST).into()).await;
            if self.lock().since == Some(since) {
                return;
            }
        }
    }
}

impl State {
    fn is_http2(&self) -> bool {
        self.first == PREFACE
    }

    fn received(&mut self, bytes: &[u8]) {
        let room = PREFACE.len() - self.first.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.first.extend(first);
        if self.is_http2() {
            if self.frames.take(rest) || room > 0 {
                self.since = None;
            }
            if !self.frames.is_between() && self.since.is_none() {
                self.since = Some(Instant::now());
            }
        } else if self.in_flight == 0 && !bytes.is_empty() && self.since.is_none() {
            self.since = Some(Instant::now());
        }
    }
}

impl Frames {
    const HEADERS: u8 = 1;
    const CONTINUATION: u8 = 9;
    const END_HEADERS: u8 = 4;

    /// Follows bytes that have come. Returns whether with any of them all was complete that had
    /// begun.
    fn take(&mut self, bytes: &[u8]) -> bool {
        let mut was_between = false;
        let mut rest = bytes;
        while let Some((&next, others)) = rest.split_first() {
            if self.payload > 0 {
                let taken = self.payload.min(rest.len());
                self.payload -= taken;
                rest = &rest[taken..];
            } else {
                rest = others;
                self.header.push(next);
                if let &[high, middle, low, kind, flags, _, _, _, _] = self.header.as_slice() {
                    self.payload = u32::from_be_bytes([0, high, middle, low]) as usize;
                    if [Self::HEADERS, Self::CONTINUATION].contains(&kind) {
                        self.head_is_open = flags & Self::END_HEADERS == 0;
                    }
                    self.header.clear();
                }
            }
            was_between |= self.is_between();
        }
        was_between
    }

    /// Whether nothing is half there.
    fn is_between(&self) -> bool {
        self.header.is_empty() && self.payload == 0 && !self.head_is_open
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.lock().in_flight -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: u8, kind: u8, flags: u8) -> Vec<u8> {
        let header = [0, 0, length, kind, flags, 0, 0, 0, 1];
        [&header[..], &vec![0; usize::from(length)]].concat()
    }

    #[test]
    fn frames_are_followed_however_their_bytes_come() {
        let (open, end) = (0, Frames::END_HEADERS);
        let sent = [
            frame(0, 4, 0),
            frame(5, Frames::HEADERS, open),
            frame(0, Frames::CONTINUATION, open),
            frame(3, Frames::CONTINUATION, end),
            frame(200, 0, 1),
        ];
        // Positions between requests: behind the settings, the head in three frames, and the data.
        let lengths = sent.each_ref().map(Vec::len);
        let settings = lengths[0];
        let head = settings + lengths[1] + lengths[2] + lengths[3];
        let between = [settings, head, head + lengths[4]];
        let sent = sent.concat();
        for piece in [1, 2, 7, 9, 64, sent.len()] {
            let (mut frames, mut position) = (Frames::default(), 0);
            for bytes in sent.chunks(piece) {
                let passed = frames.take(bytes);
                let until = position + bytes.len();
                let expected = between.iter().any(|at| (position + 1..=until).contains(at));
                assert_eq!(passed, expected, "{position} to {until}");
                position = until;
                assert_eq!(
                    frames.is_between(),
                    between.contains(&position),
                    "{position}"
                );
            }
        }
    }

    #[test]
    fn only_what_is_half_there_is_waited_for() {
        let state = |pieces: &[&[u8]]| {
            let arrival = Arc::<Arrival>::default();
            pieces.iter().for_each(|piece| arrival.received(piece));
            let waits = arrival.lock().since.is_some();
            (arrival, waits)
        };
        let settings = frame(0, 4, 0);
        let head = frame(2, Frames::HEADERS, Frames::END_HEADERS);
        assert!(state(&[b"GET / HT"]).1);
        assert!(state(&[&PREFACE[..10]]).1);
        assert!(!state(&[PREFACE]).1);
        assert!(!state(&[&PREFACE[..10], &PREFACE[10..], &settings]).1);
        assert!(state(&[PREFACE, &settings, &head[..4]]).1);
        assert!(!state(&[PREFACE, &settings, &head]).1);
        let both = [PREFACE, &head, &head[..10]].concat();
        let (arrival, waits) = state(&[&both]);
        assert!(waits);
        // That the first request is complete says nothing of the second.
        let _in_flight = arrival.complete();
        assert!(arrival.lock().since.is_some());
    }
}
