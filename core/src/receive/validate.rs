//! C2B validation: M-Pesa waits about 8 seconds for the decision, so the handler runs before the
//! response.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::parse::ParsedDelivery;
use crate::Kind;
use crate::error_chain::error_chain;
use crate::handler::{CallbackContext, Handle, InboxHandle, Validation};
use crate::observe;
use crate::payload::C2bValidation;
use crate::record::{Decided, Recorder};
use crate::store::{CallbackId, Delivery, Disposition, Verdict};

/// Decides C2B validations: by an earlier decision, by the handler, or by the
/// fallback.
pub(crate) struct Validator {
    pub(crate) handling: Arc<dyn Handle>,
    pub(crate) recorder: Arc<Recorder>,
}

impl Validator {
    pub(super) async fn decide(&self, parsed: ParsedDelivery, started: Instant, inbox: &InboxHandle) -> Decided {
        match parsed.route.kind {
            // Boxed to keep this future small.
            Kind::C2bValidation => Box::pin(self.decide_validation(parsed, started, inbox)).await,
            _ => Decided { route: parsed.route, delivery: parsed.delivery, until: None },
        }
    }

    async fn decide_validation(&self, parsed: ParsedDelivery, started: Instant, inbox: &InboxHandle) -> Decided {
        let ParsedDelivery { route, mut delivery, request } = parsed;
        delivery.decision = Some(route.fallback.to_body());
        // A body that cannot be parsed is quarantined, and answered with the fallback.
        if let Some(request) = request {
            delivery.disposition = Disposition::Decided;
            let until = started + route.validation_timeout();
            let deciding = self.find_decision(*request, &delivery, route.validation_timeout(), inbox);
            match timeout_at(until.into(), deciding).await {
                Ok(Some(decision)) => delivery.decision = Some(decision),
                Ok(None) => observe::validation_fell_back("failed"),
                Err(_) => {
                    tracing::warn!("the validation handler exceeded its timeout");
                    observe::validation_fell_back("deadline");
                }
            }
        }
        let until = started + route.validation_deadline();
        Decided { route, delivery, until: Some(until) }
    }

    /// Returns the recorded decision of the same request, or that of the handler; `None` when the
    /// handler fails.
    async fn find_decision(
        &self,
        request: C2bValidation,
        delivery: &Delivery,
        limit: Duration,
        inbox: &InboxHandle,
    ) -> Option<String> {
        // Decided a moment ago, and perhaps not stored yet.
        if let Some(decision) = self.recorder.decisions.get(&delivery.key, &delivery.content_digest) {
            return Some(decision);
        }
        // An unavailable store must not use up the handler's time.
        if !self.recorder.is_store_unavailable() {
            let looking =
                self.recorder.store.find_decision(&delivery.kind, delivery.key.as_str(), &delivery.content_digest);
            match timeout(limit / 4, looking).await {
                Ok(Ok(Some(decision))) => return Some(decision),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(cause = error_chain(&error), "cannot look up an earlier validation"),
                Err(_) => tracing::warn!("looking up an earlier validation took too long"),
            }
        }
        let handling = self.handling.clone();
        let ctx = CallbackContext::of_delivery(inbox, delivery, CallbackId::from_stored(0), Verdict::First);
        // In its own task, so that a panic does not spread. Dropping it at the timeout cancels the
        // task.
        let deciding = AbortOnDropHandle::new(tokio::spawn(async move { handling.decide(request, &ctx).await }));
        let failure = match deciding.await {
            Ok(Ok(validation)) => return Some(Validation::to_body(&validation)),
            Ok(Err(_)) => "failed",
            Err(_) => "panicked",
        };
        tracing::warn!(failure, "the validation handler returned no decision");
        None
    }
}
