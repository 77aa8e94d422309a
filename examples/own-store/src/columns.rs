//! Conversions between the library's types and the table's columns.

use std::time::Duration;

use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::Outcome;
use mpesa_callbacks::store::columns::time;
use mpesa_callbacks::store::{Body, CallbackId, Cause, Entry, State, StoreError, Verdict};
use sqlx::Row;
use sqlx::sqlite::SqliteRow;

/// Converts errors of the database: unavailable, unless it refuses the row.
pub(crate) fn failed(error: sqlx::Error) -> StoreError {
    let is_refused = match &error {
        sqlx::Error::Database(database) => !matches!(database.kind(), sqlx::error::ErrorKind::Other),
        sqlx::Error::PoolClosed => return StoreError::Closed,
        _ => false,
    };
    let cause: Cause = error.into();
    if is_refused { StoreError::Refused(cause) } else { StoreError::Unavailable(cause) }
}

pub(crate) fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

pub(crate) fn state(name: &str) -> State {
    use State::{Dead, Done, Held, Quarantined, Ready, Running};
    [Ready, Running, Done, Dead, Held].into_iter().find(|state| state.name() == name).unwrap_or(Quarantined)
}

pub(crate) fn verdict(name: &str) -> Verdict {
    use Verdict::{Conflict, Duplicate, First, Quarantined, Update, Variant};
    [First, Duplicate, Variant, Update, Conflict]
        .into_iter()
        .find(|verdict| verdict.name() == name)
        .unwrap_or(Quarantined)
}

pub(crate) fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failed => "failed",
        Outcome::Unknown => "unknown",
    }
}

pub(crate) fn outcome(name: &str) -> Outcome {
    match name {
        "success" => Outcome::Success,
        "failed" => Outcome::Failed,
        _ => Outcome::Unknown,
    }
}

pub(crate) fn with_payload(row: &SqliteRow) -> sqlx::Result<Entry> {
    let mut entry = entry(row)?;
    entry.body = row.try_get::<Option<Vec<u8>>, _>("payload")?.map(Body::from);
    Ok(entry)
}

pub(crate) fn entry(row: &SqliteRow) -> sqlx::Result<Entry> {
    let kind = Kind::from_stored_name(row.try_get("topic")?);
    let key = row.try_get::<String, _>("external_id")?.into();
    let (verdict, state) = (verdict(row.try_get("judged")?), state(row.try_get("stage")?));
    let mut entry = Entry::new(
        CallbackId::from_stored(row.try_get("event_no")?),
        kind,
        key,
        verdict,
        state,
        time(row.try_get("arrived_us")?),
    );
    entry.seen = row.try_get("times_seen")?;
    entry.last_seen_at = time(row.try_get("repeated_us")?);
    entry.client_ip = row.try_get::<Option<String>, _>("sender")?.and_then(|sender| sender.parse().ok());
    entry.reference = row.try_get::<Option<String>, _>("order_ref")?.map(Into::into);
    entry.content_digest = <[u8; 32]>::try_from(row.try_get::<Vec<u8>, _>("content_digest")?).ok().map(Into::into);
    entry.receipt = row.try_get("receipt")?;
    entry.attempts = row.try_get("tries")?;
    entry.run_at = row.try_get::<Option<i64>, _>("due_us")?.map(time);
    entry.settled_at = row.try_get::<Option<i64>, _>("finished_us")?.map(time);
    entry.error = row.try_get::<Option<String>, _>("trouble")?.map(Into::into);
    entry.decision = row.try_get("answer")?;
    entry.outcome = row.try_get::<Option<String>, _>("outcome")?.map(|name| outcome(&name));
    entry.earlier = row.try_get::<Option<i64>, _>("beside_no")?.map(CallbackId::from_stored);
    Ok(entry)
}
