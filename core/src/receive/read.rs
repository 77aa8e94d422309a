//! Reads the body: limited in size and time, counted as the bytes arrive.

use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::Bytes;
use futures_core::Stream;
use tokio::time::{timeout, timeout_at};

use super::route::Routed;
use crate::Kind;
use crate::access::{InFlightPermit, Refusal};
use crate::clock::Clock;
use crate::handler::Route;
use crate::payload::Sensitive;

/// A request with its whole body.
pub(super) struct ReadRequest {
    pub(super) route: Arc<Route>,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) reference: Option<Sensitive>,
    pub(super) body: Bytes,
    pub(super) received_at: SystemTime,
}

/// Reads bodies, within limits of size and time.
pub(crate) struct BodyReader {
    pub(crate) max_bytes: usize,
    pub(crate) timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
}

impl BodyReader {
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
        if routed.content_length.is_some_and(|length| length > self.max_bytes as u64) {
            return Err(Refusal::TooLarge);
        }
        let mut deadline = self.timeout;
        if routed.route.kind == Kind::C2bValidation {
            // M-Pesa waits for the response, and the handler needs time.
            deadline = deadline.min(routed.route.validation_timeout());
        }
        let deadline = started + deadline;
        let body = timeout_at(deadline.into(), gather(body, routed.content_length, self.max_bytes))
            .await
            .map_err(|_| Refusal::TooSlow)??;
        let Routed { route, client_ip, reference, permit, .. } = routed;
        Ok((ReadRequest { route, client_ip, reference, body, received_at: self.clock.now() }, permit))
    }
}

impl BodyReader {
    /// Reads the body of a request to the probe.
    pub(super) async fn read_probe<B, C, E>(&self, body: B, content_length: Option<u64>) -> Result<Bytes, Refusal>
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        let gathering = gather(body, content_length, self.max_bytes);
        timeout(self.timeout, gathering).await.map_err(|_| Refusal::TooSlow)?
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
