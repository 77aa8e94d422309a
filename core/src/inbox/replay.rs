//! Feeding recorded bodies through the inbox again.

use super::engine::Inbox;
use crate::Kind;
use crate::access::is_reference;
use crate::payload::{self, Sensitive, strike_credentials};
use crate::record::delivery_of;
use crate::store::{CallbackId, Disposition, Entry, Recorded, State, StoreError};

impl Inbox {
    /// Records a body as if it had just arrived at the URL of this kind: to replay deliveries, and
    /// for responses of Daraja's query APIs that look like a callback. Returns the verdict.
    ///
    /// # Errors
    /// [`ReplayError`]: the kind is not handled, the body cannot be parsed, or the store failed.
    pub async fn replay(&self, kind: &Kind, body: &[u8]) -> Result<Recorded, ReplayError> {
        self.replay_to(kind, None, body).await
    }

    /// Like [`replay`](Inbox::replay), for the per-payment URL of this reference. The same bytes at
    /// the plain URL are another callback.
    ///
    /// # Errors
    /// As [`replay`](Inbox::replay).
    pub async fn replay_for(&self, kind: &Kind, reference: &str, body: &[u8]) -> Result<Recorded, ReplayError> {
        if !is_reference(reference) || kind.is_registered_once() {
            return Err(ReplayError::NoSuchUrl { kind: kind.clone() });
        }
        self.replay_to(kind, Some(reference.into()), body).await
    }

    /// Replays a quarantined body as the kind that it [looks like](Inbox::looks_like), or as any
    /// other kind, and closes the quarantined entry. Its reference is kept.
    ///
    /// # Errors
    /// [`ReplayError::NotQuarantined`], else as [`replay`](Inbox::replay).
    pub async fn replay_as(&self, id: CallbackId, kind: &Kind) -> Result<Recorded, ReplayError> {
        let entry = self.get(id).await.map_err(ReplayError::Store)?;
        let entry = entry.filter(|entry| entry.state == State::Quarantined).ok_or(ReplayError::NotQuarantined)?;
        let body = entry.body.ok_or(ReplayError::NotQuarantined)?;
        let recorded = self.replay_to(kind, entry.reference, body.as_bytes()).await?;
        self.dismiss(id).await.map_err(ReplayError::Store)?;
        Ok(recorded)
    }

    /// Returns the kind that a quarantined body looks like. The usual cause is one URL that was
    /// given to Daraja for two products.
    pub fn looks_like(&self, entry: &Entry) -> Option<Kind> {
        payload::looks_like(&entry.kind, &entry.body.as_ref()?.0)
    }

    async fn replay_to(&self, kind: &Kind, reference: Option<Sensitive>, body: &[u8]) -> Result<Recorded, ReplayError> {
        let receiver = &self.engine().receiver;
        let recorder = &self.engine().recorder;
        let route = receiver.routes.of(kind).ok_or_else(|| ReplayError::NotHandled { kind: kind.clone() })?;
        let mut body = bytes::Bytes::copy_from_slice(body);
        if kind.is_timeout() {
            body = bytes::Bytes::copy_from_slice(&strike_credentials(&body));
        }
        let parsed = payload::parse_bytes(kind, &body, route.key.as_deref(), reference.as_ref())?;
        let mut delivery = delivery_of(&parsed, body, recorder.clock.now(), &receiver.routes);
        receiver.parser.await_counterpart(&mut delivery, reference.as_ref());
        let mut delivery = delivery.under(reference);
        if parsed.kind == Kind::C2bValidation {
            delivery.disposition =
                Disposition::Hold("a validation that was replayed: M-Pesa waits for no answer".into());
        }
        let (delivery, recorded) = recorder.queue.record(delivery).await.map_err(|_| ReplayError::NotRecorded)?;
        recorder.after_record(&delivery, &recorded, &self.handle());
        Ok(recorded)
    }
}

/// Why a body cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// No handler of this inbox takes the kind.
    #[error("there is no handler for `{kind}`")]
    NotHandled {
        /// The requested kind.
        kind: Kind,
    },
    /// The reference is empty or too long, or URLs of this kind cannot carry one.
    #[error(
        "`{kind}` has no URL for this reference: the reference is empty or too long, or the URL of the kind is registered once"
    )]
    NoSuchUrl {
        /// The requested kind.
        kind: Kind,
    },
    /// There is no quarantined callback with this id.
    #[error("there is no quarantined callback with this id")]
    NotQuarantined,
    /// The body cannot be parsed.
    #[error("the body cannot be parsed")]
    ParseError(#[from] payload::ParseError),
    /// The store did not record it. The log contains the store's error.
    #[error("the store did not record it; the log contains its error")]
    NotRecorded,
    /// The store failed; its error is the source.
    #[error("the store failed")]
    Store(#[source] StoreError),
}
