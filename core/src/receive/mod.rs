//! From a request to its acknowledgement: the first page of a callback's life.

mod request;

mod guard;

mod places;

mod route;

mod read;

mod parse;

mod decide;

mod record;

mod recorder;

mod spool;

mod acknowledge;

mod budget;

mod detach_on_drop;

use std::time::Instant;

use bytes::Bytes;
use futures_core::Stream;
use tracing::Instrument;

pub use self::acknowledge::Acknowledgement;
pub(crate) use self::acknowledge::Refusal;
pub(crate) use self::budget::Budgets;
pub(crate) use self::decide::Pending;
use self::detach_on_drop::DetachOnDrop;
pub(crate) use self::guard::Guard;
pub(crate) use self::parse::delivery_of;
pub(crate) use self::places::{InFlightLimiter, InFlightLimits};
pub(crate) use self::record::error_chain;
pub(crate) use self::recorder::{RecordError, Recorder, record_expecting};
pub use self::request::Request;
pub(crate) use self::spool::Spooling;
use crate::inbox::Inbox;
use crate::observe;

impl Inbox {
    /// Receives one request. This is what an adapter calls.
    ///
    /// `request` is the request's head, `body` its body as a stream of chunks. The result is the
    /// response, for errors too. The head is read during this call and not kept, so the caller can
    /// release its buffer before awaiting.
    ///
    /// # Cancel safety
    /// If the future is dropped before the body was read, nothing happened. Later the work is
    /// detached: the callback is decided, recorded and handled anyway.
    ///
    /// # Steps
    /// Each step takes a value that only the previous step can make. Handling continues in the
    /// background, in `process`; only a C2B validation is decided here, because M-Pesa waits for
    /// the decision.
    pub fn receive<B, C, E>(
        &self,
        request: Request<'_>,
        body: B,
    ) -> impl Future<Output = Acknowledgement> + use<B, C, E>
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        let started = Instant::now();
        let engine = self.engine().clone();
        let admitted = engine.guard(request); //                             may this sender speak?
        let under_way = admitted.is_ok().then(|| engine.requests.token());
        let routed = admitted.and_then(|admitted| engine.route(admitted)); // which kind is this URL for?
        async move {
            let steps = async {
                let (heard, place) = engine.read(routed?, body, started).await?;
                let span = tracing::info_span!("callback", kind = %heard.route.kind);
                let rest = async move {
                    let _place = place; //                               among those in flight, until it is recorded
                    let parsed = engine.parse(heard); //                 what they say, or why it cannot be read
                    let decided = engine.decide(parsed, started).await; // C2B validation only
                    let recorded = engine.record(decided).await?; //     durable; have we heard it before?
                    Ok(engine.acknowledge(recorded)) //                  what this kind's sender must hear
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
