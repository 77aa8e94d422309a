//! The phases of a connection.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Waker};

/// The phase of a connection, shared by its stream, which waits, and its service, which changes it.
#[derive(Clone, Debug, Default)]
pub(super) struct Phase(Arc<State>);

#[derive(Debug, Default)]
struct State {
    at: AtomicU8,
    /// Waker of the connection while it waits for bytes.
    waker: Mutex<Option<Waker>>,
}

/// The head of a request is being received.
pub(super) const HEAD: u8 = 0;
/// The application reads the body or responds.
const ANSWERING: u8 = 1;
/// The application has finished; its response may still have to be written.
pub(super) const ANSWERED: u8 = 2;
/// The response was written; waiting for the next request.
pub(super) const IDLE: u8 = 3;
/// No longer HTTP: a WebSocket or a tunnel.
const UPGRADED: u8 = 4;

impl Phase {
    pub(super) fn at(&self) -> u8 {
        self.0.at.load(Ordering::Acquire)
    }

    pub(super) fn go_to(&self, phase: u8) {
        self.0.at.store(phase, Ordering::Release);
    }

    /// Begins a request. It ends when all clones of the returned value are dropped.
    pub(super) fn answering(&self) -> Arc<Exchange> {
        self.go_to(ANSWERING);
        Arc::new(Exchange(self.clone()))
    }

    pub(super) fn upgraded(&self) {
        self.go_to(UPGRADED);
    }

    /// Stores the waker, which is also woken when the application has finished.
    pub(super) fn wait(&self, context: &Context<'_>) {
        let mut waker = self.0.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if !waker.as_ref().is_some_and(|waker| waker.will_wake(context.waker())) {
            *waker = Some(context.waker().clone());
        }
    }
}

/// A request and its response. Their bodies hold it: a response may stream for hours, and a handler may
/// respond first and read later.
#[derive(Debug)]
pub(super) struct Exchange(Phase);

impl Drop for Exchange {
    fn drop(&mut self) {
        let Phase(state) = &self.0;
        if state.at.compare_exchange(ANSWERING, ANSWERED, Ordering::AcqRel, Ordering::Acquire).is_ok() {
            // hyper does not poll for bytes after a response, so the timeout would never be noticed.
            if let Some(waker) = state.waker.lock().unwrap_or_else(PoisonError::into_inner).take() {
                waker.wake();
            }
        }
    }
}
