//! The life of a callback, from the request to its acknowledgement.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use tracing::Instrument;

use super::acknowledge::{Acknowledgement, acknowledge};
use super::parse::Parser;
use super::probe::Probe;
use super::read::BodyReader;
use super::route::route;
use super::validate::Validator;
use crate::access::{Guard, Refusal, Request};
use crate::environment::Environment;
use crate::handler::{InboxHandle, Routes};
use crate::lifecycle::Lifecycle;
use crate::observe;
use crate::record::Recorder;
use crate::task::DetachOnDrop;

/// Turns requests into acknowledgements. Owner of everything that steps 1 to 5
/// need.
pub(crate) struct Receiver {
    pub(crate) guard: Guard,
    pub(crate) routes: Routes,
    pub(crate) reader: BodyReader,
    pub(crate) parser: Parser,
    pub(crate) validator: Validator,
    pub(crate) recorder: Arc<Recorder>,
    pub(crate) probe: Probe,
    pub(crate) environment: Environment,
    pub(crate) lifecycle: Arc<Lifecycle>,
}

impl Receiver {
    /// Each step takes a value that only the previous step can make. Handling continues in
    /// the background, in `process`; only a C2B validation is decided here, because M-Pesa waits
    /// for the decision.
    pub(crate) fn receive<B, C, E>(
        self: Arc<Self>,
        request: Request<'_>,
        body: B,
        inbox: InboxHandle,
    ) -> impl Future<Output = Acknowledgement> + use<B, C, E>
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        let started = Instant::now();
        let admitted = self.guard.admit(request, &self.routes); //           may this sender speak?
        let under_way = admitted.is_ok().then(|| self.lifecycle.requests.token());
        let routed = admitted.and_then(|admitted| route(&self.routes, admitted)); // which kind is this URL for?
        async move {
            let steps = async {
                let (read, permit) = self.reader.read(routed?, body, started).await?;
                let span = tracing::info_span!("callback", kind = %read.route.kind);
                let rest = async move {
                    let _permit = permit; //                             in flight, until it is recorded
                    let parsed = self.parser.parse(read); //             what it says, or why it cannot be read
                    let decided = self.validator.decide(parsed, started, &inbox).await; // C2B validation only
                    let recorded = self.recorder.record(decided, &inbox).await?; // durable; have we heard it before?
                    Ok(acknowledge(recorded)) //                         what this kind's sender must hear
                };
                // Detached: a client that disconnects changes nothing. After a panic (of the store
                // or the clock) nothing was acknowledged.
                DetachOnDrop::new(rest.instrument(span)).await.unwrap_or(Err(Refusal::Unavailable))
            };
            let acknowledgement = steps.await.unwrap_or_else(Acknowledgement::refusing);
            observe::acknowledged(acknowledgement.status(), started.elapsed());
            drop(under_way); // a shutdown waits for this
            acknowledgement
        }
    }
}
