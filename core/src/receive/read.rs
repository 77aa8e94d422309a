//! Reads the body: limited in size and time, counted as the bytes arrive.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::timeout_at;

use super::Refusal;
use super::decide::handler_timeout;
use super::places::InFlightPermit;
use super::route::Routed;
use crate::Kind;
use crate::engine::Engine;
use crate::payload::Sensitive;
use crate::routes::Route;

/// A request with its whole body.
pub(super) struct ReadRequest {
    pub(super) route: Arc<Route>,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) reference: Option<Sensitive>,
    pub(super) body: Bytes,
    pub(super) received_at: SystemTime,
}

impl Engine {
    pub(super) async fn read<B, C, E>(
        &self,
        routed: Routed,
        body: B,
        started: Instant,
    ) -> Result<(ReadRequest, InFlightPermit), Refusal>
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        if routed.content_length.is_some_and(|length| length > self.limits.max_body_bytes as u64) {
            return Err(Refusal::TooLarge);
        }
        let mut deadline = self.limits.body_timeout;
        if routed.route.kind == Kind::C2bValidation {
            // M-Pesa waits for the response, and the handler needs time.
            deadline = deadline.min(handler_timeout(&routed.route));
        }
        let deadline = started + deadline;
        let body = timeout_at(deadline.into(), gather(body, routed.content_length, self.limits.max_body_bytes))
            .await
            .map_err(|_| Refusal::TooSlow)??;
        let Routed { route, client_ip, reference, place, .. } = routed;
        Ok((ReadRequest { route, client_ip, reference, body, received_at: self.clock.now() }, place))
    }
}

/// Copies the chunks into one buffer. Keeping a chunk would keep the connection's read buffer, and
/// a new one costs more than the copy.
async fn gather<B, C, E>(body: B, length: Option<u64>, limit: usize) -> Result<Bytes, Refusal>
where
    B: Stream<Item = Result<C, E>>,
    C: Into<Bytes>,
{
    let mut body = pin!(body);
    let length = length.and_then(|length| usize::try_from(length).ok()).unwrap_or_default();
    let mut whole = Vec::with_capacity(length.min(limit).min(RESERVED));
    while let Some(chunk) = poll_fn(|context| body.as_mut().poll_next(context)).await {
        let chunk: Bytes = chunk.map_err(|_| Refusal::CutOff)?.into();
        if whole.len() + chunk.len() > limit {
            return Err(Refusal::TooLarge);
        }
        whole.extend_from_slice(&chunk);
    }
    Ok(whole.into())
}

/// Cap of the pre-allocation: `Content-Length` is not trusted.
const RESERVED: usize = 4096;
