//! Bodies that keep their exchange open.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use axum::body::{Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

use super::phase::Exchange;

/// The body of a request or a response. The exchange lasts as long as both.
pub(super) struct Part<B> {
    body: B,
    _exchange: Arc<Exchange>,
}

impl<B> Part<B> {
    pub(super) fn new(body: B, exchange: Arc<Exchange>) -> Part<B> {
        Part { body, _exchange: exchange }
    }
}

impl<B: HttpBody<Data = Bytes> + Unpin> HttpBody for Part<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
