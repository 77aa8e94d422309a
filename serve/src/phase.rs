//! What a connection is at, and how long that may take.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};
use std::time::Duration;

/// How long a client may make us wait.
#[derive(Clone, Copy, Debug)]
pub(super) struct Deadlines {
    /// For the head of a request.
    pub(super) head: Duration,
    /// For another request.
    pub(super) idle: Duration,
}

impl Default for Deadlines {
    fn default() -> Deadlines {
        Deadlines { head: Duration::from_secs(10), idle: Duration::from_secs(75) }
    }
}

/// What a connection is at. Shared by its stream, which waits, and its service, which knows.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<State>);

#[derive(Debug, Default)]
struct State {
    at: AtomicU8,
    /// The connection's, when it waits for bytes.
    waker: Mutex<Option<Waker>>,
}

/// The head of a request is coming.
pub(super) const HEAD: u8 = 0;
/// The application reads the request's body, or answers.
const ANSWERING: u8 = 1;
/// The application has done with both. What it answered may still have to be written.
pub(super) const ANSWERED: u8 = 2;
/// All of it was written, and the wait for another request has begun.
pub(super) const IDLE: u8 = 3;
/// It is no longer HTTP: a WebSocket, a tunnel.
const UPGRADED: u8 = 4;

impl Phase {
    pub(super) fn at(&self) -> u8 {
        self.0.at.load(Ordering::Acquire)
    }

    pub(super) fn go_to(&self, phase: u8) {
        self.0.at.store(phase, Ordering::Release);
    }

    /// A request begins; it ends when everything that holds what this returns is gone.
    pub(super) fn answering(&self) -> Arc<Exchange> {
        self.go_to(ANSWERING);
        Arc::new(Exchange(self.clone()))
    }

    pub(super) fn upgraded(&self) {
        self.go_to(UPGRADED);
    }

    /// Whoever waits for bytes is woken when the application has done, too.
    pub(super) fn wait(&self, context: &Context<'_>) {
        let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }
}

/// One request and its answer. Their bodies hold it: an answer may stream for hours, and a handler may answer first and read
/// later.
#[derive(Debug)]
pub(super) struct Exchange(Phase);

impl Drop for Exchange {
    fn drop(&mut self) {
        let Phase(state) = &self.0;
        if state.at.compare_exchange(ANSWERING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // hyper does not look for bytes by itself after an answer, and the wait for them would have no end.
            if let Some(waker) = state.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
                waker.wake();
            }
        }
    }
}
