//! Claims: the request of a poller, and the callbacks that it gets.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Body, CallbackId, Lane, Verdict};
use crate::Kind;
use crate::payload::{Digest, Sensitive};

/// The right to handle one callback for a while. Exhaustive, because stores construct it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Id of the callback.
    pub id: CallbackId,
    /// Fencing token: it grows with every claim, so that a process that lost its lease cannot
    /// change anything.
    pub fence: i64,
}

/// Parameters of a claim.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Kinds to claim: those that the process handles.
    pub kinds: &'a [Kind],
    /// Lane to claim from.
    pub lane: Lane,
    /// Maximum number of callbacks.
    pub limit: usize,
    /// Duration of the leases.
    pub lease: Duration,
    /// Whether the process has a `#[payment]` handler, also if it has no permit for payments now.
    /// Without one, its other handlers account for the money.
    pub handles_payments: bool,
    /// Callbacks that are due since then or later, and whose payment a process with `#[payment]` has handled, are left
    /// to such a process. Those that nobody has claimed since before are claimed, unless that process has the payment in
    /// hand. Matters only without `handles_payments`.
    pub left_since: SystemTime,
}

impl<'a> Claim<'a> {
    /// Returns a claim in the main lane that leaves callbacks of whatever age.
    pub fn new(kinds: &'a [Kind], limit: usize, lease: Duration) -> Claim<'a> {
        let handles_payments = kinds.contains(&Kind::Payment);
        Claim { kinds, lane: Lane::Main, limit, lease, handles_payments, left_since: SystemTime::UNIX_EPOCH }
    }
}

/// A callback that this process has claimed, with all that its handler needs.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claimed {
    /// The lease, for renewing and settling.
    pub lease: Lease,
    /// Kind of the callback.
    pub kind: Kind,
    /// Key of the callback.
    pub key: Sensitive,
    /// Body of the callback.
    pub body: Body,
    /// The verdict when the callback was recorded.
    pub verdict: Verdict,
    /// Time of the first delivery.
    pub received_at: SystemTime,
    /// IP address of the sender.
    pub client_ip: Option<IpAddr>,
    /// Content digest as it was recorded.
    pub content_digest: Option<Digest>,
    /// Reference from a per-payment URL or from an expectation.
    pub reference: Option<Sensitive>,
    /// Number of this attempt, from 1.
    pub attempt: u32,
    /// Number of interruptions since the last settlement: the process died, or lost its lease.
    pub interruptions: u32,
    /// Number of interruptions while it ran [alone](Lane::Alone).
    pub interruptions_alone: u32,
    /// How often it was handled again after it was done.
    pub repetition: u32,
    /// Whether it was claimed before on its own, so that a handler may have seen it and may have
    /// taken effect. Only payments need it.
    pub was_told: bool,
    /// Id of the callback that it updates or contradicts.
    pub earlier: Option<CallbackId>,
    /// The other callbacks with the same receipt, oldest first.
    pub related: Vec<RelatedCallback>,
    /// Lease of its payment, which is settled with it, because the process does not handle
    /// payments.
    pub payment: Option<Lease>,
    /// Error of the previous attempt.
    pub last_error: Option<Sensitive>,
}

impl Claimed {
    /// Returns a callback at its first attempt. A store sets the other fields.
    pub fn new(lease: Lease, kind: Kind, key: Sensitive, body: Body, received_at: SystemTime) -> Claimed {
        Claimed {
            lease,
            kind,
            key,
            body,
            verdict: Verdict::First,
            received_at,
            client_ip: None,
            content_digest: None,
            reference: None,
            attempt: 1,
            interruptions: 0,
            interruptions_alone: 0,
            repetition: 0,
            was_told: false,
            earlier: None,
            related: Vec::new(),
            payment: None,
            last_error: None,
        }
    }
}

/// Another callback with the same receipt: an `stk` has a `c2b_confirmation`, and vice versa.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelatedCallback {
    /// Id of the callback.
    pub id: CallbackId,
    /// Kind of the callback.
    pub kind: Kind,
    /// Key of the callback.
    pub key: Sensitive,
    /// The reference of that callback, if it has one.
    pub reference: Option<Sensitive>,
}

impl RelatedCallback {
    /// Makes one from its fields.
    pub fn new(id: CallbackId, kind: Kind, key: Sensitive, reference: Option<Sensitive>) -> RelatedCallback {
        RelatedCallback { id, kind, key, reference }
    }
}
