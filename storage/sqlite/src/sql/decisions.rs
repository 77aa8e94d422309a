//! Decisions: the owner of the store, and requeuing and dismissing callbacks.

use mpesa_callbacks_core::store::{CallbackId, Delivery, Requeue, Requeued, State};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::purge::hmac_key;
use super::record::record;
use mpesa_callbacks_core::store::columns::state_number;

/// The parameters of [`Store::requeue`](mpesa_callbacks_core::store::Store::requeue), for another
/// thread.
pub(crate) struct OwnedRequeue {
    from: State,
    payment: Option<Delivery>,
    reference: Option<String>,
    reason: Option<String>,
}

impl From<&Requeue<'_>> for OwnedRequeue {
    fn from(requeue: &Requeue<'_>) -> OwnedRequeue {
        OwnedRequeue {
            from: requeue.from,
            payment: requeue.payment.cloned(),
            reference: requeue.reference.map(|reference| reference.as_str().to_owned()),
            reason: requeue.reason.map(str::to_owned),
        }
    }
}

pub(crate) fn requeue(
    connection: &Connection,
    id: CallbackId,
    requeue: &OwnedRequeue,
    now: i64,
) -> Result<Option<Requeued>> {
    let changed = connection
        .prepare_cached(
            "UPDATE callback SET state = 0, run_at = ?3, wait = 0, attempts = 0, interruptions = 0, interruptions_alone = 0, lane = 0,
                    settled_at = NULL, repetition = repetition + (state = 2), error = coalesce(?4, error),
                    reference = coalesce(reference, ?5)
             WHERE id = ?1 AND state = ?2 AND EXISTS (SELECT 1 FROM body WHERE callback_id = ?1)",
        )?
        .execute(params![id.number(), state_number(requeue.from), now, requeue.reason, requeue.reference])?;
    if changed == 0 {
        return Ok(None);
    }
    let Some(payment) = &requeue.payment else { return Ok(Some(Requeued::new(None))) };
    let payment = record(connection, payment, hmac_key(connection)?.as_deref(), now)?;
    Ok(Some(Requeued::new(Some((payment.id, payment.verdict)))))
}

pub(crate) fn dismiss(connection: &Connection, id: CallbackId, now: i64) -> Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE callback SET state = 2, settled_at = ?2, run_at = NULL, error = coalesce(error, 'dismissed')
             WHERE id = ?1 AND (state >= 3 OR state = 0 AND kind = 'payment')",
        )?
        .execute([id.number(), now])?;
    Ok(changed == 1)
}

/// Writes a row, and deletes it again.
pub(crate) fn check_write(connection: &Connection, now: i64) -> Result<()> {
    connection
        .prepare_cached("INSERT OR REPLACE INTO meta (name, value) VALUES ('probe', CAST(?1 AS BLOB))")?
        .execute([now])?;
    connection.prepare_cached("DELETE FROM meta WHERE name = 'probe'")?.execute([])?;
    Ok(())
}

/// Returns the owner of the store.
pub(crate) fn owner(connection: &Connection) -> Result<Option<String>> {
    connection
        .prepare_cached("SELECT CAST(value AS TEXT) FROM meta WHERE name = 'owner'")?
        .query_row([], |row| row.get(0))
        .optional()
}

/// Sets the owner unless there is one. Returns the owner.
pub(crate) fn adopt(connection: &Connection, wanted: &str) -> Result<String> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO meta (name, value) VALUES ('owner', CAST(?1 AS BLOB))")?
        .execute([wanted])?;
    Ok(owner(connection)?.unwrap_or_default())
}
