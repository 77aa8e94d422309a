//! A stream with timeouts.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::phase::{ANSWERED, HEAD, IDLE, Phase};
use super::timeouts::Timeouts;

/// A stream that fails if the head of a request, or the next request, does not arrive in time.
pub(super) struct Timed {
    stream: TcpStream,
    /// Bytes that were received before and not read yet.
    early: Vec<u8>,
    timeouts: Timeouts,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
    /// Something was written and not flushed yet; hyper flushes at the end.
    writing: bool,
}

impl Timed {
    /// Returns a stream with bytes that were received before, and a deadline for the rest of the
    /// head.
    pub(super) fn new(stream: TcpStream, early: Vec<u8>, until: Instant, timeouts: Timeouts, phase: Phase) -> Timed {
        Timed { stream, early, timeouts, phase, timer: Box::pin(sleep_until(until)), writing: false }
    }

    fn wait_for(&mut self, deadline: Duration, phase: u8) {
        self.timer.as_mut().reset(Instant::now() + deadline);
        self.phase.go_to(phase);
    }

    /// Starts the idle timeout after a response was written.
    fn rest(&mut self) {
        if self.phase.at() == ANSWERED && !self.writing {
            self.wait_for(self.timeouts.idle, IDLE);
        }
    }

    /// Fails after the timeout, or schedules a wake-up for it.
    fn expire(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        if !matches!(self.phase.at(), HEAD | IDLE) {
            return Poll::Pending;
        }
        ready!(self.timer.as_mut().poll(context));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    /// Copies early bytes, as many as fit.
    fn read_early(&mut self, buffer: &mut ReadBuf<'_>) {
        let count = self.early.len().min(buffer.remaining());
        buffer.put_slice(&self.early[..count]);
        self.early.drain(..count);
        if self.early.is_empty() {
            self.early = Vec::new();
        }
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            self.read_early(buffer);
            return Poll::Ready(Ok(()));
        }
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(read) => {
                self.rest();
                if self.phase.at() == IDLE {
                    // The next head begins.
                    let deadline = self.timeouts.head;
                    self.wait_for(deadline, HEAD);
                }
                Poll::Ready(read)
            }
            Poll::Pending => {
                self.rest();
                self.phase.wait(context);
                self.expire(context).map(Err)
            }
        }
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.writing = true;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.writing = false;
        self.rest();
        // After a response the timer must wake this, because hyper may not poll for bytes.
        let _ = self.expire(context);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.writing = true;
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
