//! What a store gives back.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::{CallbackId, Verdict, rfc3339};
use crate::kind::Kind;
use crate::payload::{Digest, Outcome, Sensitive};

/// How far a callback has come. A store must know all of them: one more would be a breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It waits to be handled.
    Ready,
    /// Somebody handles it, under a lease.
    Running,
    /// Nothing is left to do.
    Done,
    /// It failed for the last time.
    Dead,
    /// It waits for somebody's decision: it contradicts another, or tells of money that it does not account for.
    Held,
    /// It could not be read.
    Quarantined,
}

impl State {
    /// Its name in logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Ready => "ready",
            State::Running => "running",
            State::Done => "done",
            State::Dead => "dead",
            State::Held => "held",
            State::Quarantined => "quarantined",
        }
    }
}

/// What to look callbacks up by.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lookup {
    /// A kind, and a key within it.
    Key(Kind, Sensitive),
    /// A kind, and the merchant's own id.
    Reference(Kind, Sensitive),
    /// M-Pesa's receipt, of money that came in: all callbacks that told of it, and the payment.
    Receipt(String),
}

/// Callbacks of one kind that are ready and wait.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Waiting {
    /// Which kind.
    pub kind: Kind,
    /// How many there are, those among them that are due later.
    pub count: u64,
    /// Since when, or from when, the one waits that is due first.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub due_since: SystemTime,
}

impl Waiting {
    /// So many of this kind, the first due then.
    pub fn new(kind: Kind, count: u64, due_since: SystemTime) -> Waiting {
        Waiting { kind, count, due_since }
    }
}

/// A callback, as the reading side shows it.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Its id.
    pub id: CallbackId,
    /// Which callback it is.
    pub kind: Kind,
    /// Its key; after its body was purged, a keyed HMAC of it.
    pub key: Sensitive,
    /// What recording found.
    pub verdict: Verdict,
    /// How far it has come.
    pub state: State,
    /// When it was received first.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub received_at: SystemTime,
    /// How often it was received, byte for byte.
    pub seen: u32,
    /// When it was received last.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub last_seen_at: SystemTime,
    /// Who sent it.
    pub client_ip: Option<IpAddr>,
    /// The fingerprint of what it says, as it was recorded.
    #[serde(skip)]
    pub content_digest: Option<Digest>,
    /// The merchant's own id, from a per-payment URL, or of the request that was expected.
    pub reference: Option<Sensitive>,
    /// M-Pesa's receipt, when it tells of money that came in.
    pub receipt: Option<String>,
    /// The outcome that it tells; `None` for kinds that tell none.
    pub outcome: Option<Outcome>,
    /// The callback that it varies, updates or contradicts.
    pub earlier: Option<CallbackId>,
    /// How often handling it was begun.
    pub attempts: u32,
    /// When it is due, while it is `Ready`.
    #[serde(serialize_with = "rfc3339::optional")]
    pub run_at: Option<SystemTime>,
    /// When it was `Done` or `Dead`.
    #[serde(serialize_with = "rfc3339::optional")]
    pub settled_at: Option<SystemTime>,
    /// Why the last attempt failed, why it is held, or why it could not be read. What a handler says may name people.
    pub error: Option<Sensitive>,
    /// The answer that was given, of a validation.
    pub decision: Option<String>,
    /// Its bytes; `None` in lists, and after they were purged.
    #[serde(skip)]
    pub body: Option<Body>,
}

impl Entry {
    /// A callback that was seen once; a store sets what else it knows.
    pub fn new(
        id: CallbackId,
        kind: Kind,
        key: Sensitive,
        verdict: Verdict,
        state: State,
        received_at: SystemTime,
    ) -> Entry {
        Entry {
            id,
            kind,
            key,
            verdict,
            state,
            received_at,
            seen: 1,
            last_seen_at: received_at,
            client_ip: None,
            content_digest: None,
            reference: None,
            receipt: None,
            outcome: None,
            earlier: None,
            attempts: 0,
            run_at: None,
            settled_at: None,
            error: None,
            decision: None,
            body: None,
        }
    }
}

/// The bytes of a callback. They hide in `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub(crate) Bytes);

impl Body {
    /// The bytes as they came, credentials struck out.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl From<Vec<u8>> for Body {
    fn from(bytes: Vec<u8>) -> Body {
        Body(bytes.into())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.0.len())
    }
}

/// Which callbacks to list. Newest first; for the next page, set `before` to the last one's id.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Filter {
    /// Of this kind only.
    pub kind: Option<Kind>,
    /// In this state only.
    pub state: Option<State>,
    /// Judged so only.
    pub verdict: Option<Verdict>,
    /// With this reference only.
    pub reference: Option<Sensitive>,
    /// Received at this time or later.
    pub since: Option<SystemTime>,
    /// Received before this time.
    pub until: Option<SystemTime>,
    /// With smaller ids than this one.
    pub before: Option<CallbackId>,
    /// At most so many.
    pub limit: usize,
}

impl Default for Filter {
    /// The newest hundred.
    fn default() -> Filter {
        Filter {
            kind: None,
            state: None,
            verdict: None,
            reference: None,
            since: None,
            until: None,
            before: None,
            limit: 100,
        }
    }
}

impl Filter {
    /// Of this kind only.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Filter {
        self.kind = Some(kind);
        self
    }

    /// In this state only.
    #[must_use]
    pub fn state(mut self, state: State) -> Filter {
        self.state = Some(state);
        self
    }

    /// Judged so only.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Filter {
        self.verdict = Some(verdict);
        self
    }

    /// With this reference only: what a merchant's own request was answered with.
    #[must_use]
    pub fn reference(mut self, reference: &str) -> Filter {
        self.reference = Some(reference.into());
        self
    }

    /// Received from `since` on.
    #[must_use]
    pub fn since(mut self, since: SystemTime) -> Filter {
        self.since = Some(since);
        self
    }

    /// Received before `until`.
    #[must_use]
    pub fn until(mut self, until: SystemTime) -> Filter {
        self.until = Some(until);
        self
    }

    /// The page after the one that ended with this callback.
    #[must_use]
    pub fn before(mut self, last: CallbackId) -> Filter {
        self.before = Some(last);
        self
    }

    /// At most so many.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Filter {
        self.limit = limit;
        self
    }
}
