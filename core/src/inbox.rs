//! The inbox: what gets mounted, and how an application looks into it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::DropGuard;

use crate::builder::InboxBuilder;
use crate::engine::Engine;
use crate::kind::Kind;
use crate::ledger::NoLedger;
use crate::payload::{self, Private};
use crate::receive::received;
use crate::store::{CallbackId, Depth, Disposition, Entry, Filter, Recorded, SpoolDepth, State, StoreError, caught};
use crate::urls::is_reference;

/// Handlers, store, ledger and the machinery between: what gets mounted into a web application.
///
/// Clones are the same inbox. When the last one is dropped it stops claiming; [`shutdown`](Inbox::shutdown) is the
/// orderly way.
#[derive(Clone)]
pub struct Inbox {
    engine: Arc<Engine>,
    /// Stops the background tasks when the last clone goes.
    _alive: Option<Arc<DropGuard>>,
}

impl Inbox {
    /// Begins an inbox for these handlers. [`start`](InboxBuilder::start) checks everything.
    pub fn builder<H>(handler: H) -> InboxBuilder<H, NoLedger> {
        InboxBuilder::new(handler)
    }

    pub(crate) fn new(engine: Arc<Engine>) -> Inbox {
        let alive = Arc::new(engine.stopping.clone().drop_guard());
        Inbox { engine, _alive: Some(alive) }
    }

    /// Seen from the inside: it does not keep itself alive.
    pub(crate) fn within(engine: &Arc<Engine>) -> Inbox {
        Inbox { engine: engine.clone(), _alive: None }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.engine
    }

    /// Which kinds are handled, and where below the secret each is received.
    pub fn routes(&self) -> impl Iterator<Item = (&Kind, &str)> {
        self.engine.routes.iter().filter_map(|route| Some((&route.kind, route.path.as_deref()?)))
    }

    /// One callback, with its body when that was not purged.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        self.engine.store.get(id).await
    }

    /// Callbacks, newest first, without their bodies.
    ///
    /// ```no_run
    /// # async fn example(inbox: mpesa_callbacks_core::Inbox) -> Result<(), mpesa_callbacks_core::store::StoreError> {
    /// use mpesa_callbacks_core::store::{Filter, State};
    ///
    /// for dead in inbox.list(&Filter::default().state(State::Dead)).await? {
    ///     println!("{} {}: {}", dead.id, dead.kind, dead.error.map(|error| error.into_string()).unwrap_or_default());
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        self.engine.store.list(filter).await
    }

    /// How many callbacks wait, run, are held, dead and quarantined.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn depth(&self) -> Result<Depth, StoreError> {
        self.engine.store.depth().await
    }

    /// How many deliveries wait in the spool for the store to be back, and since when; `None` without a spool. An instance with
    /// something in its spool must not be taken away with its disk.
    ///
    /// # Errors
    /// When the spool fails.
    pub async fn spool_depth(&self) -> Result<Option<SpoolDepth>, StoreError> {
        match &self.engine.spooling {
            Some(spooling) => spooling.spool.depth().await.map(Some),
            None => Ok(None),
        }
    }

    /// Lets a held callback (a conflict, or one whose kind was not handled) be handled, and its payment with it.
    /// `false` when it is not held.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn release(&self, id: CallbackId) -> Result<bool, StoreError> {
        self.engine.release(id, None).await
    }

    /// Lets a dead callback be handled again, with all its attempts before it. `false` when it is not dead.
    ///
    /// Dead is not undone: a process that died between its ledger's commit and the settlement, at the last attempt, leaves a dead
    /// callback whose effects are made. Requeue it, and the ledger finds its mark; do not make the effects by hand.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn requeue(&self, id: CallbackId) -> Result<bool, StoreError> {
        let requeued = self.engine.store.reopen(id, State::Dead, None).await?;
        self.engine.wake.notify_one();
        Ok(requeued)
    }

    /// Closes a held, dead or quarantined callback without handling it. `false` when it is in another state.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        self.engine.store.dismiss(id).await
    }

    /// Deletes the bodies of callbacks that are done and were received longer than `age` ago, and makes their keys
    /// unreadable. Their repetitions are still recognised. Returns how many went.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        self.engine.store.purge(age).await
    }

    /// Feeds a body in without a request, as if it had just come to the URL of this kind: for replay, and for answers of
    /// Daraja's query APIs that have a callback's shape. Returns what recording found.
    ///
    /// # Errors
    /// [`ReplayError`]: the kind is not handled, the body cannot be read, or the store fails.
    pub async fn replay(&self, kind: &Kind, body: &[u8]) -> Result<Recorded, ReplayError> {
        self.replay_to(kind, None, body).await
    }

    /// Feeds a body in as if it had just come to the URL of this kind and reference: see [`replay`](Inbox::replay). What
    /// came to a per-payment URL says something else to the plain one.
    ///
    /// # Errors
    /// As [`replay`](Inbox::replay).
    pub async fn replay_for(&self, kind: &Kind, reference: &str, body: &[u8]) -> Result<Recorded, ReplayError> {
        if !is_reference(reference) || kind.is_registered_once() {
            return Err(ReplayError::NoSuchUrl { kind: kind.clone() });
        }
        self.replay_to(kind, Some(reference.into()), body).await
    }

    async fn replay_to(&self, kind: &Kind, reference: Option<Private>, body: &[u8]) -> Result<Recorded, ReplayError> {
        let engine = &self.engine;
        let route = engine.routes.of(kind).ok_or_else(|| ReplayError::NotHandled { kind: kind.clone() })?;
        let body = bytes::Bytes::copy_from_slice(&payload::strike_credentials(body));
        let parsed = payload::parse_bytes(kind, &body, route.key.as_deref())?;
        let mut received = received(&parsed, body, engine.clock.now(), &engine.routes).under(reference);
        if parsed.kind == Kind::C2bValidation {
            received.disposition =
                Disposition::Hold("a validation that was replayed: M-Pesa waits for no answer".into());
        }
        let (_, recorded) = engine.recorder.record(received).await.map_err(|_| ReplayError::NotRecorded)?;
        engine.wake.notify_one();
        Ok(recorded)
    }

    /// Stops in order: nothing new is recorded or claimed, what runs may finish within `grace`, the rest is stopped at its
    /// next `await` and goes back to the store with its attempt not counted, and the store is closed. Stop the web server
    /// first.
    ///
    /// # Errors
    /// When the store cannot be closed.
    pub async fn shutdown(&self, grace: Duration) -> Result<(), StoreError> {
        let engine = &self.engine;
        engine.closing.cancel();
        engine.stopping.cancel();
        engine.tasks.close();
        if tokio::time::timeout(grace, engine.tasks.wait()).await.is_err() {
            tracing::warn!("handlers did not finish in time; they are run again");
            engine.giving_up.cancel();
            // One that blocks its thread cannot be stopped; its lease expires when the process is gone.
            if tokio::time::timeout(STOPPING, engine.tasks.wait()).await.is_err() {
                tracing::error!("a handler does not stop: it blocks its thread");
                engine.closing.cancel();
                return self.close().await;
            }
        }
        engine.keepers.close();
        if tokio::time::timeout(KEEPING, engine.keepers.wait()).await.is_err() {
            tracing::error!("the store or the spool does not answer; stopped without waiting for it");
        }
        self.close().await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let closed = self.engine.store.close().await;
        match &self.engine.spooling {
            Some(spooling) => closed.and(spooling.spool.close().await),
            None => closed,
        }
    }
}

impl Engine {
    /// Lets a held callback be handled; its payment, for the request with this reference.
    pub(crate) async fn release(&self, id: CallbackId, reference: Option<&Private>) -> Result<bool, StoreError> {
        let Some(entry) = caught(self.store.get(id)).await?.filter(|entry| entry.state == State::Held) else {
            return Ok(false);
        };
        let payment = entry.body.and_then(|body| {
            let key = self.routes.of(&entry.kind).and_then(|route| route.key.as_deref());
            let parsed = payload::parse_bytes(&entry.kind, &body.0, key).ok()?;
            let received = received(&parsed, body.0, entry.received_at, &self.routes);
            received.sent_by(entry.peer).under(reference.cloned().or(entry.reference)).payment
        });
        let released = caught(self.store.reopen(id, State::Held, payment.as_deref())).await?;
        self.wake.notify_one();
        Ok(released)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("routes", &self.engine.routes)
            .field("store", &self.engine.store)
            .finish_non_exhaustive()
    }
}

/// How long the store and the spool may take over what they were given last.
const KEEPING: Duration = Duration::from_secs(30);

/// How long a handler may take to stop once it was told to.
const STOPPING: Duration = Duration::from_secs(5);

/// Why a body cannot be replayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// Nothing handles the kind.
    #[error("nothing handles `{kind}`")]
    NotHandled {
        /// Which.
        kind: Kind,
    },
    /// No URL of this kind carries such a reference.
    #[error("no URL of `{kind}` carries this reference: it is empty or too long, or the kind's URL is registered once")]
    NoSuchUrl {
        /// Which kind.
        kind: Kind,
    },
    /// The body cannot be read.
    #[error("the body cannot be read")]
    Unreadable(#[from] payload::Unreadable),
    /// The store did not take it; its own words are in the log.
    #[error("the store did not take it")]
    NotRecorded,
}
