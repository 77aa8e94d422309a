//! Bodies as they come over a connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

/// A body in these pieces.
#[derive(Debug)]
pub struct Chunks(pub Vec<Bytes>);

impl Chunks {
    /// A body in one piece.
    pub fn whole(body: impl Into<Bytes>) -> Chunks {
        Chunks(vec![body.into()])
    }
}

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = if self.0.is_empty() { None } else { Some(Ok(self.0.remove(0))) };
        Poll::Ready(next)
    }
}

/// A body that does not come.
#[derive(Debug)]
pub struct Dribble;

impl Stream for Dribble {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Poll::Pending
    }
}
