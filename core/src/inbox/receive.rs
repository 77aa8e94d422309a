//! The entry point for adapters.

use bytes::Bytes;
use futures_core::Stream;
use tokio_util::either::Either;

use super::engine::Inbox;
use crate::access::Request;
use crate::receive::Acknowledgement;

impl Inbox {
    /// Receives one request; called by adapters.
    ///
    /// `request` is the request's head, `body` its body as a stream of chunks. The result is the
    /// response, for errors too. The head is read during this call and not kept, so the caller can
    /// release its buffer before awaiting.
    ///
    /// # Cancel safety
    /// If the future is dropped before the body was read, nothing happened. Later the work is
    /// detached: the callback is decided, recorded and handled anyway.
    pub fn receive<B, C, E>(
        &self,
        request: Request<'_>,
        body: B,
    ) -> impl Future<Output = Acknowledgement> + use<B, C, E>
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        let receiver = self.engine().receiver.clone();
        match receiver.probing(&request) {
            None => Either::Left(receiver.receive(request, body, self.handle())),
            Some(probing) => Either::Right(receiver.answer(probing, body)),
        }
    }
}
