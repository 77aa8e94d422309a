//! C2B validation: M-Pesa waits about 8 seconds for a decision, so the handler runs before the acknowledgement.

use std::time::{Duration, Instant};

use tokio::time::timeout_at;
use tokio_util::task::AbortOnDropHandle;

use super::parse::Understood;
use crate::delivery::Delivery;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::observe;
use crate::payload::{C2bValidation, Callback};
use crate::routes::Route;
use crate::store::{CallbackId, Disposition, Received, Verdict};
use crate::validation::Validation;

/// A delivery that is ready to be recorded. Of a validation: with its decision.
pub(super) struct Decided<'e> {
    pub(super) route: &'e Route,
    pub(super) received: Received,
    /// When a validation's answer must have left.
    pub(super) until: Option<Instant>,
}

/// How long a validation may take, unless its route says otherwise. M-Pesa waits 8 s, network both ways included.
const DEADLINE: Duration = Duration::from_secs(3);

/// What recording the decision may take of that, at most.
const RECORDING: Duration = Duration::from_millis(500);

impl Engine {
    pub(super) async fn decide<'e>(&self, understood: Understood<'e>, started: Instant) -> Decided<'e> {
        let Understood { route, mut received, callback } = understood;
        if route.kind != Kind::C2bValidation {
            return Decided { route, received, until: None };
        }
        let deadline = route.deadline.unwrap_or(DEADLINE);
        // A body that cannot be read is quarantined, and gets the answer for when nobody decides.
        if let Some(Callback::C2bValidation(request)) = callback {
            let handler_until = started + deadline.saturating_sub(RECORDING.min(deadline / 4));
            let decision = match timeout_at(handler_until.into(), self.decision(request, &received)).await {
                Ok(Some(decision)) => decision,
                Ok(None) => {
                    observe::validation_fell_back("failed");
                    route.otherwise.to_body()
                }
                Err(_) => {
                    tracing::warn!(deadline = ?deadline, "validation handler overran its deadline");
                    observe::validation_fell_back("deadline");
                    route.otherwise.to_body()
                }
            };
            received.disposition = Disposition::Decided(decision);
        }
        Decided { route, received, until: Some(started + deadline) }
    }

    /// What was decided before for the same request, or what the handler decides now; `None` when it fails.
    async fn decision(&self, request: C2bValidation, received: &Received) -> Option<String> {
        match self.store.decision(&received.kind, received.key.as_str(), &received.meaning).await {
            Ok(Some(decision)) => return Some(decision),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cannot look for an earlier validation"),
        }
        let handling = self.handling.clone();
        let delivery = Delivery::of_received(received, CallbackId(0), Verdict::First);
        // In a task of its own, so that a panic stays there; dropped, and so cancelled, when the deadline passes.
        let deciding = AbortOnDropHandle::new(tokio::spawn(async move { handling.decide(request, &delivery).await }));
        let failure = match deciding.await {
            Ok(Ok(validation)) => return Some(Validation::to_body(&validation)),
            Ok(Err(_)) => "failed",
            Err(_) => "panicked",
        };
        tracing::warn!(failure, "validation handler gave no decision");
        None
    }
}
