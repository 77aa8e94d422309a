//! Reading the body: bounded in size and time, counted on the bytes that come.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use tokio::time::timeout_at;

use super::Refusal;
use super::decide::handler_deadline;
use super::places::Place;
use super::route::Routed;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::payload::Private;
use crate::routes::Route;

/// A body, whole, and who sent it.
pub(super) struct Heard {
    pub(super) route: Arc<Route>,
    pub(super) source: Option<IpAddr>,
    pub(super) reference: Option<Private>,
    pub(super) body: Bytes,
    pub(super) received_at: SystemTime,
}

impl Engine {
    pub(super) async fn read<B, C, E>(
        &self,
        routed: Routed,
        body: B,
        started: Instant,
    ) -> Result<(Heard, Place), Refusal>
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        if routed.content_length.is_some_and(|length| length > self.limits.body as u64) {
            return Err(Refusal::TooLarge);
        }
        let mut deadline = self.limits.body_deadline;
        if routed.route.kind == Kind::C2bValidation {
            // M-Pesa waits for the answer, and the handler needs time for it.
            deadline = deadline.min(handler_deadline(&routed.route));
        }
        let deadline = started + deadline;
        let body =
            timeout_at(deadline.into(), gather(body, self.limits.body)).await.map_err(|_| Refusal::TooSlow)??;
        let Routed { route, source, reference, place, .. } = routed;
        Ok((Heard { route, source, reference, body, received_at: self.clock.now() }, place))
    }
}

/// The chunks in one piece. A body that comes in one chunk, as Daraja's do, is not copied.
async fn gather<B, C, E>(body: B, limit: usize) -> Result<Bytes, Refusal>
where
    B: Stream<Item = Result<C, E>>,
    C: Into<Bytes>,
{
    let mut body = pin!(body);
    let mut whole = Bytes::new();
    let mut pieces = BytesMut::new();
    while let Some(chunk) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        let chunk: Bytes = chunk.map_err(|_| Refusal::CutOff)?.into();
        if whole.len() + pieces.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge);
        }
        if whole.is_empty() && pieces.is_empty() {
            whole = chunk;
        } else {
            pieces.extend_from_slice(&std::mem::take(&mut whole));
            pieces.extend_from_slice(&chunk);
        }
    }
    Ok(if pieces.is_empty() { whole } else { pieces.freeze() })
}
