//! Claiming: what a worker asks for, and what it gets.

use std::net::IpAddr;
use std::time::{Duration, SystemTime};

use super::{Body, CallbackId, Lane, Verdict};
use crate::kind::Kind;
use crate::payload::{Digest, Sensitive};

/// The right to handle one callback, for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Lease {
    /// Which callback.
    pub id: CallbackId,
    /// The claim's number: it grows with every claim, so that whoever lost the lease can change nothing.
    pub fence: i64,
}

/// What a claim asks for.
#[derive(Clone, Debug)]
pub struct Claim<'a> {
    /// Callbacks of these kinds only: those that the process handles.
    pub kinds: &'a [Kind],
    /// Which of them: see [`Lane`].
    pub lane: Lane,
    /// At most so many.
    pub limit: usize,
    /// For how long.
    pub lease: Duration,
    /// Whether the claimant has a handler for payments, for which there may be no room just now: where it has none, its handlers
    /// account for money themselves.
    pub handles_payments: bool,
}

impl<'a> Claim<'a> {
    /// Callbacks of these kinds that are not suspect.
    pub fn new(kinds: &'a [Kind], limit: usize, lease: Duration) -> Claim<'a> {
        let handles_payments = kinds.contains(&Kind::Payment);
        Claim { kinds, lane: Lane::Main, limit, lease, handles_payments }
    }
}

/// A callback that was claimed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claimed {
    /// The right to handle it.
    pub lease: Lease,
    /// Which callback it is.
    pub kind: Kind,
    /// Its key.
    pub key: Sensitive,
    /// Its bytes.
    pub body: Body,
    /// What recording found.
    pub verdict: Verdict,
    /// When it was received.
    pub received_at: SystemTime,
    /// Who sent it.
    pub client_ip: Option<IpAddr>,
    /// The fingerprint of what it says, as it was recorded.
    pub content_digest: Option<Digest>,
    /// The merchant's own id, from a per-payment URL, or of the request that was expected.
    pub reference: Option<Sensitive>,
    /// Which attempt this is, from 1.
    pub attempt: u32,
    /// How many claims ended without a word since the last one that came to an end: the process died, or lost its lease.
    pub interruptions: u32,
    /// How many of them while it ran [alone](Lane::Alone).
    pub interruptions_alone: u32,
    /// How often it was handled to its end, and then deliberately made ready once more.
    pub repetition: u32,
    /// The callback that it updates or contradicts.
    pub earlier: Option<CallbackId>,
    /// The other callbacks that told of the same receipt, oldest first.
    pub related: Vec<RelatedCallback>,
    /// The payment that it shows, claimed with it because the claimant does not handle payments: it is settled with it.
    pub payment: Option<Lease>,
    /// How the last attempt failed.
    pub last_error: Option<Sensitive>,
}

impl Claimed {
    /// A callback at its first attempt; a store sets what else it knows.
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
            earlier: None,
            related: Vec::new(),
            payment: None,
            last_error: None,
        }
    }
}

/// The other callback that told of the same receipt: an `stk` has a `c2b_confirmation`, and the other way round.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RelatedCallback {
    /// Its id.
    pub id: CallbackId,
    /// Its kind.
    pub kind: Kind,
    /// Its key.
    pub key: Sensitive,
    /// The merchant's own id that it came with.
    pub reference: Option<Sensitive>,
}

impl RelatedCallback {
    /// The callback of this id, kind, key and reference.
    pub fn new(id: CallbackId, kind: Kind, key: Sensitive, reference: Option<Sensitive>) -> RelatedCallback {
        RelatedCallback { id, kind, key, reference }
    }
}
