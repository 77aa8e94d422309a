//! A stream that fails when it is made to wait too long.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use super::phase::{ANSWERED, Deadlines, HEAD, IDLE, Phase};

/// A stream that fails when the head of a request does not come in time, or no other request for long.
pub(super) struct Timed {
    stream: TcpStream,
    deadlines: Deadlines,
    phase: Phase,
    timer: Pin<Box<Sleep>>,
}

impl Timed {
    /// A stream whose first head is coming.
    pub(super) fn new(stream: TcpStream, deadlines: Deadlines, phase: Phase) -> Timed {
        Timed { stream, deadlines, phase, timer: Box::pin(sleep(deadlines.head)) }
    }

    fn wait_for(&mut self, deadline: std::time::Duration, phase: u8) {
        self.timer.as_mut().reset(Instant::now() + deadline);
        self.phase.go_to(phase);
    }
}

impl AsyncRead for Timed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(context, buffer);
        let (head, idle) = (self.deadlines.head, self.deadlines.idle);
        match (self.phase.at(), read.is_ready()) {
            // The next head begins.
            (ANSWERED | IDLE, true) => self.wait_for(head, HEAD),
            (ANSWERED, false) => self.wait_for(idle, IDLE),
            _ => {}
        }
        if read.is_pending() && matches!(self.phase.at(), HEAD | IDLE) {
            ready!(self.timer.as_mut().poll(context));
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl AsyncWrite for Timed {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
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
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }
}
