//! Entries of a store, for people: filters, states, bodies.

use std::fmt;
use std::net::IpAddr;
use std::time::SystemTime;

use bytes::Bytes;
use serde::Serialize;

use super::{CallbackId, Verdict, rfc3339};
use crate::Kind;
use crate::payload::{Digest, Outcome, Sensitive};

/// The state of a callback. Exhaustive: a store must know all states, so another one would be a
/// breaking change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Waiting to be handled.
    Ready,
    /// Being handled, under a lease.
    Running,
    /// Nothing is left to do.
    Done,
    /// The last attempt failed.
    Dead,
    /// Waiting for a person: it contradicts another callback, or reports money that it does not
    /// account for.
    Held,
    /// It could not be parsed.
    Quarantined,
}

impl State {
    /// Returns its name in logs and metrics.
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

/// A lookup of callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Lookup {
    /// By kind and key.
    Key(Kind, Sensitive),
    /// By kind and reference.
    Reference(Kind, Sensitive),
    /// By M-Pesa's receipt: all callbacks that reported it, and the payment.
    Receipt(String),
}

/// The queue of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Waiting {
    /// Kind of the callbacks.
    pub kind: Kind,
    /// Number of callbacks, including those that are due later.
    pub count: u64,
    /// When the first of them is or was due.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub due_since: SystemTime,
}

impl Waiting {
    /// Makes one from its fields.
    pub fn new(kind: Kind, count: u64, due_since: SystemTime) -> Waiting {
        Waiting { kind, count, due_since }
    }
}

/// A callback for people: everything except the machinery.
#[derive(Clone, Debug, Serialize)]
#[non_exhaustive]
pub struct Entry {
    /// Id of the callback.
    pub id: CallbackId,
    /// Kind of the callback.
    pub kind: Kind,
    /// Key of the callback; a keyed HMAC of it after the body was purged.
    pub key: Sensitive,
    /// The verdict when the callback was recorded.
    pub verdict: Verdict,
    /// State of the callback.
    pub state: State,
    /// Time of the first delivery.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub received_at: SystemTime,
    /// Number of deliveries with these bytes.
    pub seen: u32,
    /// Time of the last delivery.
    #[serde(serialize_with = "rfc3339::serialize")]
    pub last_seen_at: SystemTime,
    /// IP address of the sender.
    pub client_ip: Option<IpAddr>,
    /// Content digest as it was recorded.
    #[serde(skip)]
    pub content_digest: Option<Digest>,
    /// Reference from a per-payment URL or from an expectation.
    pub reference: Option<Sensitive>,
    /// M-Pesa's receipt, if it reports money that came in.
    pub receipt: Option<String>,
    /// Outcome; `None` for kinds without one.
    pub outcome: Option<Outcome>,
    /// Id of the callback that it varies, updates or contradicts.
    pub earlier: Option<CallbackId>,
    /// Number of attempts that have begun.
    pub attempts: u32,
    /// When it is due, while it is `Ready`.
    #[serde(serialize_with = "rfc3339::optional")]
    pub run_at: Option<SystemTime>,
    /// When it became `Done` or `Dead`.
    #[serde(serialize_with = "rfc3339::optional")]
    pub settled_at: Option<SystemTime>,
    /// Why the last attempt failed, or why it is held or quarantined. May contain personal data.
    pub error: Option<Sensitive>,
    /// Decision of a validation.
    pub decision: Option<String>,
    /// Body; `None` in lists, and after it was purged.
    #[serde(skip)]
    pub body: Option<Body>,
}

impl Entry {
    /// Returns a callback with one delivery. A store sets the other fields.
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

/// The body of a callback. `Debug` hides it.
#[derive(Clone, PartialEq, Eq)]
pub struct Body(pub(crate) Bytes);

impl Body {
    /// Returns the bytes as received, without credentials.
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

/// A filter for lists, newest first. For the next page, set `before` to the last id.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Filter {
    /// Limits the list to one kind.
    pub kind: Option<Kind>,
    /// Limits the list to one state.
    pub state: Option<State>,
    /// Limits the list to one verdict.
    pub verdict: Option<Verdict>,
    /// Limits the list to one reference.
    pub reference: Option<Sensitive>,
    /// Only those received at this time or later.
    pub since: Option<SystemTime>,
    /// Only those received before this time.
    pub until: Option<SystemTime>,
    /// Only those with a smaller id.
    pub before: Option<CallbackId>,
    /// Maximum number of entries. Default: 100.
    pub limit: usize,
}

impl Default for Filter {
    /// Returns a filter for the newest 100 callbacks.
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
    /// Limits the list to one kind.
    #[must_use]
    pub fn kind(mut self, kind: Kind) -> Filter {
        self.kind = Some(kind);
        self
    }

    /// Limits the list to one state.
    #[must_use]
    pub fn state(mut self, state: State) -> Filter {
        self.state = Some(state);
        self
    }

    /// Limits the list to one verdict.
    #[must_use]
    pub fn verdict(mut self, verdict: Verdict) -> Filter {
        self.verdict = Some(verdict);
        self
    }

    /// Only this reference: the callbacks of one request.
    #[must_use]
    pub fn reference(mut self, reference: &str) -> Filter {
        self.reference = Some(reference.into());
        self
    }

    /// Only those received at this time or later.
    #[must_use]
    pub fn since(mut self, since: SystemTime) -> Filter {
        self.since = Some(since);
        self
    }

    /// Only those received before this time.
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

    /// Maximum number of entries.
    #[must_use]
    pub fn limit(mut self, limit: usize) -> Filter {
        self.limit = limit;
        self
    }
}
