//! What a connection is at, and how long that may take.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

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
pub(super) struct Phase(Arc<AtomicU8>);

/// The head of a request is coming.
pub(super) const HEAD: u8 = 0;
/// The application reads the request's body, or answers.
const ANSWERING: u8 = 1;
/// A request was answered to its end; there may be no other.
pub(super) const ANSWERED: u8 = 2;
/// The same, and the wait for the next one has begun.
pub(super) const IDLE: u8 = 3;
/// It is no longer HTTP: a WebSocket.
const UPGRADED: u8 = 4;

impl Phase {
    pub(super) fn at(&self) -> u8 {
        self.0.load(Ordering::Acquire)
    }

    pub(super) fn go_to(&self, phase: u8) {
        self.0.store(phase, Ordering::Release);
    }

    pub(super) fn answering(&self) {
        self.go_to(ANSWERING);
    }

    pub(super) fn upgraded(&self) {
        self.go_to(UPGRADED);
    }
}

/// The body of an answer. When it is gone, the request was answered to its end, however long that streamed.
pub(super) struct Answering {
    body: Body,
    phase: Phase,
}

impl Answering {
    pub(super) fn new(body: Body, phase: Phase) -> Answering {
        Answering { body, phase }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        let _ = self.phase.0.compare_exchange(ANSWERING, ANSWERED, Ordering::AcqRel, Ordering::Acquire);
    }
}

impl HttpBody for Answering {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
