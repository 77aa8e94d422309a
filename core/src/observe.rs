//! Metrics. `docs/observability.md` documents them.
//!
//! Labels are kinds, verdicts, states and statuses; never a body, key, phone number, name, amount
//! or secret.

use std::time::{Duration, SystemTime};

use metrics::{SharedString, counter, gauge, histogram};

use crate::Kind;
use crate::store::{SpoolDepth, StateCounts, Verdict, Waiting};

/// Returns a kind's name as a label; built-in names are not copied.
fn label(kind: &Kind) -> SharedString {
    match kind.built_in_name() {
        Some(name) => SharedString::const_str(name),
        None => kind.to_string().into(),
    }
}

/// Counts a request by the secret that it used, from 1. An old secret without requests can be
/// removed.
pub(crate) fn received(kind: &Kind, secret: usize, is_minted: bool) {
    let secret = match secret {
        1 => SharedString::const_str("1"),
        2 => SharedString::const_str("2"),
        other => other.to_string().into(),
    };
    let url = if is_minted { "payment" } else { "shared" };
    counter!("mpesa_callbacks_received_total", "kind" => label(kind), "secret" => secret, "url" => url).increment(1);
}

pub(crate) fn refused(reason: &'static str) {
    counter!("mpesa_callbacks_refused_total", "reason" => reason).increment(1);
}

pub(crate) fn unlisted(reason: &'static str) {
    counter!("mpesa_callbacks_unlisted_ips_total", "reason" => reason).increment(1);
}

pub(crate) fn trimmed(count: u64) {
    counter!("mpesa_callbacks_quarantine_trimmed_total").increment(count);
}

pub(crate) fn recorded(kind: &Kind, verdict: Verdict) {
    counter!("mpesa_callbacks_recorded_total", "kind" => label(kind), "verdict" => verdict.name()).increment(1);
}

pub(crate) fn spooled(kind: &Kind) {
    counter!("mpesa_callbacks_spooled_total", "kind" => label(kind)).increment(1);
}

pub(crate) fn replayed(count: u64) {
    counter!("mpesa_callbacks_replayed_total").increment(count);
}

pub(crate) fn store_unavailable(is_unavailable: bool) {
    gauge!("mpesa_callbacks_store_unavailable").set(if is_unavailable { 1.0 } else { 0.0 });
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float, and 2^53 deliveries do not wait")]
pub(crate) fn spool_depth(depth: &SpoolDepth, now: SystemTime) {
    gauge!("mpesa_callbacks_spool_depth").set(depth.deliveries as f64);
    let age = depth.oldest.and_then(|oldest| now.duration_since(oldest).ok()).unwrap_or_default();
    gauge!("mpesa_callbacks_spool_oldest_seconds").set(age.as_secs_f64());
}

pub(crate) fn acknowledged(status: u16, took: Duration) {
    let status = if status == 200 { SharedString::const_str("200") } else { status.to_string().into() };
    counter!("mpesa_callbacks_responses_total", "status" => status).increment(1);
    histogram!("mpesa_callbacks_response_seconds").record(took.as_secs_f64());
}

pub(crate) fn handled(kind: &Kind, result: &'static str, took: Duration) {
    counter!("mpesa_callbacks_handled_total", "kind" => label(kind), "result" => result).increment(1);
    histogram!("mpesa_callbacks_handle_seconds", "kind" => label(kind)).record(took.as_secs_f64());
}

pub(crate) fn validation_fell_back(reason: &'static str) {
    counter!("mpesa_callbacks_validation_fallbacks_total", "reason" => reason).increment(1);
}

/// `unavailable` is transient, `broken` is not.
pub(crate) fn transactor_failed(reason: &'static str) {
    counter!("mpesa_callbacks_transactor_failures_total", "reason" => reason).increment(1);
}

/// How long the oldest due callback of each kind has been waiting.
pub(crate) fn waiting(waiting: &[Waiting], now: SystemTime) {
    for Waiting { kind, due_since, .. } in waiting {
        let overdue = now.duration_since(*due_since).unwrap_or_default();
        gauge!("mpesa_callbacks_oldest_due_seconds", "kind" => label(kind)).set(overdue.as_secs_f64());
    }
}

/// The queue of this kind is empty.
pub(crate) fn waits_no_more(kind: &Kind) {
    gauge!("mpesa_callbacks_oldest_due_seconds", "kind" => label(kind)).set(0.0);
}

pub(crate) fn leases_reclaimed(count: u64) {
    counter!("mpesa_callbacks_leases_reclaimed_total").increment(count);
}

#[allow(clippy::cast_precision_loss, reason = "a gauge is a float, and 2^53 callbacks do not wait")]
pub(crate) fn depth(depth: &StateCounts) {
    let states = [
        ("ready", depth.ready),
        ("running", depth.running),
        ("held", depth.held),
        ("dead", depth.dead),
        ("quarantined", depth.quarantined),
    ];
    for (state, count) in states {
        gauge!("mpesa_callbacks_depth", "state" => state).set(count as f64);
    }
}
