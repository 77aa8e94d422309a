//! C2B validation: M-Pesa waits about 8 seconds for the decision, so the handler runs before the
//! response.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::{timeout, timeout_at};
use tokio_util::task::AbortOnDropHandle;

use super::parse::ParsedDelivery;
use super::record::error_chain;
use crate::Kind;
use crate::context::CallbackContext;
use crate::engine::Engine;
use crate::observe;
use crate::payload::{C2bValidation, Digest, Sensitive};
use crate::routes::Route;
use crate::store::{CallbackId, Delivery, Disposition, Verdict};
use crate::validation::Validation;

/// A delivery that is ready to be recorded; a validation with its decision.
pub(super) struct Decided {
    pub(super) route: Arc<Route>,
    pub(super) delivery: Box<Delivery>,
    /// When the response to a validation must have been sent.
    pub(super) until: Option<Instant>,
}

/// Default timeout of a validation. M-Pesa waits 8 s, network included.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Part of the timeout that is reserved for recording the decision.
const RECORDING_RESERVE: Duration = Duration::from_millis(500);

/// Timeout of a validation handler, counted from the request's head. It leaves time to record the
/// decision.
pub(super) fn handler_timeout(route: &Route) -> Duration {
    let timeout = route.timeout.unwrap_or(VALIDATION_TIMEOUT);
    timeout.saturating_sub(RECORDING_RESERVE.min(timeout / 4))
}

impl Engine {
    pub(super) async fn decide(self: &Arc<Self>, parsed: ParsedDelivery, started: Instant) -> Decided {
        match parsed.route.kind {
            // Boxed to keep this future small.
            Kind::C2bValidation => Box::pin(self.decide_validation(parsed, started)).await,
            _ => Decided { route: parsed.route, delivery: parsed.delivery, until: None },
        }
    }

    async fn decide_validation(self: &Arc<Self>, parsed: ParsedDelivery, started: Instant) -> Decided {
        let ParsedDelivery { route, mut delivery, request } = parsed;
        delivery.decision = Some(route.fallback.to_body());
        // A body that cannot be parsed is quarantined, and answered with the fallback.
        if let Some(request) = request {
            delivery.disposition = Disposition::Decided;
            let until = started + handler_timeout(&route);
            let deciding = self.find_decision(*request, &delivery, handler_timeout(&route));
            match timeout_at(until.into(), deciding).await {
                Ok(Some(decision)) => delivery.decision = Some(decision),
                Ok(None) => observe::validation_fell_back("failed"),
                Err(_) => {
                    tracing::warn!("validation handler overran its deadline");
                    observe::validation_fell_back("deadline");
                }
            }
        }
        let until = started + route.timeout.unwrap_or(VALIDATION_TIMEOUT);
        Decided { route, delivery, until: Some(until) }
    }

    /// Returns the recorded decision of the same request, or that of the handler; `None` when the
    /// handler fails.
    async fn find_decision(
        self: &Arc<Self>,
        request: C2bValidation,
        delivery: &Delivery,
        limit: Duration,
    ) -> Option<String> {
        // Decided a moment ago, and perhaps not stored yet.
        if let Some(decision) = self.pending.get(&delivery.key, &delivery.content_digest) {
            return Some(decision);
        }
        // An unavailable store must not use up the handler's time.
        if !self.spooling.as_ref().is_some_and(|spooling| spooling.breaker.is_open()) {
            let looking = self.store.find_decision(&delivery.kind, delivery.key.as_str(), &delivery.content_digest);
            match timeout(limit / 4, looking).await {
                Ok(Ok(Some(decision))) => return Some(decision),
                Ok(Ok(None)) => {}
                Ok(Err(error)) => tracing::warn!(cause = error_chain(&error), "cannot look for an earlier validation"),
                Err(_) => tracing::warn!("looking for an earlier validation took too long"),
            }
        }
        let handling = self.handling.clone();
        let ctx = CallbackContext::of_delivery(self, delivery, CallbackId::from_stored(0), Verdict::First);
        // In its own task, so that a panic does not spread. Dropping it at the timeout cancels the
        // task.
        let deciding = AbortOnDropHandle::new(tokio::spawn(async move { handling.decide(request, &ctx).await }));
        let failure = match deciding.await {
            Ok(Ok(validation)) => return Some(Validation::to_body(&validation)),
            Ok(Err(_)) => "failed",
            Err(_) => "panicked",
        };
        tracing::warn!(failure, "validation handler gave no decision");
        None
    }
}

/// Decisions that were answered but may not be stored yet: while the store is slow or unavailable,
/// the same request still gets the same answer.
#[derive(Debug, Default)]
pub(crate) struct Pending(Mutex<Decisions>);

#[derive(Debug, Default)]
struct Decisions {
    by_question: HashMap<(Sensitive, Digest), String>,
    oldest_first: VecDeque<(Sensitive, Digest)>,
}

/// Maximum number of decisions; a merchant has a few at a time.
const MAX_PENDING: usize = 10_000;

impl Pending {
    fn get(&self, key: &Sensitive, content_digest: &Digest) -> Option<String> {
        let decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        decisions.by_question.get(&(key.clone(), *content_digest)).cloned()
    }

    /// Returns the earlier decision of this request, or stores this one.
    pub(super) fn enter(&self, key: &Sensitive, content_digest: &Digest, decision: &str) -> String {
        let mut decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (key.clone(), *content_digest);
        if let Some(earlier) = decisions.by_question.get(&question) {
            return earlier.clone();
        }
        if decisions.oldest_first.len() >= MAX_PENDING
            && let Some(oldest) = decisions.oldest_first.pop_front()
        {
            decisions.by_question.remove(&oldest);
        }
        decisions.by_question.insert(question.clone(), decision.to_owned());
        decisions.oldest_first.push_back(question);
        decision.to_owned()
    }

    /// Removes a decision that is stored now.
    pub(super) fn leave(&self, key: &Sensitive, content_digest: &Digest) {
        let mut decisions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let question = (key.clone(), *content_digest);
        decisions.by_question.remove(&question);
        decisions.oldest_first.retain(|other| *other != question);
    }
}
