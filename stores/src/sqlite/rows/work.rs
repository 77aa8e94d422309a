//! Claiming, renewing, settling, sweeping; and what people decide.

use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Private;
use mpesa_callbacks_core::store::{
    Body, CallbackId, Claimed, Ending, Lease, Received, Settled, Settlement, Sibling, State,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, params};

use super::later;
use super::purge::hmac_key;
use super::record::record;
use crate::words::{peer, state_number, time, verdict};

pub(in crate::sqlite) fn is_due(connection: &Connection, now: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE state = 0 AND run_at <= ?1)")?
        .query_row([now], |row| row.get(0))
}

pub(in crate::sqlite) fn claim(
    connection: &Connection,
    limit: usize,
    lease: Duration,
    now: i64,
) -> Result<Vec<Claimed>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut due = connection.prepare_cached(
        "SELECT id, kind, key, verdict, received_at, peer, reference, attempts + 1, interruptions, error, fence + 1, receipt, body, meaning
         FROM callback JOIN body ON body.callback_id = callback.id
         WHERE state = 0 AND run_at <= ?1 ORDER BY run_at, id LIMIT ?2",
    )?;
    let due: Vec<(Claimed, Option<String>)> =
        due.query_map([now, limit], |row| Ok((claimed(row)?, row.get(11)?)))?.collect::<Result<_>>()?;
    let mut take = connection.prepare_cached(
        "UPDATE callback SET state = 1, fence = ?2, attempts = attempts + 1, run_at = NULL, lease_until = ?3 WHERE id = ?1",
    )?;
    let mut claimed = Vec::with_capacity(due.len());
    for (mut one, receipt) in due {
        take.execute(params![one.lease.id.0, one.lease.fence, later(now, lease)])?;
        if let Some(receipt) = receipt {
            one.sibling = sibling(connection, &receipt, &one.kind)?;
        }
        claimed.push(one);
    }
    Ok(claimed)
}

fn claimed(row: &Row<'_>) -> Result<Claimed> {
    let lease = Lease { id: CallbackId(row.get(0)?), fence: row.get(10)? };
    let kind = Kind::from_name(row.get_ref(1)?.as_str()?);
    let body = Body::from(row.get::<_, Vec<u8>>(12)?);
    let mut claimed = Claimed::new(lease, kind, row.get::<_, String>(2)?.into(), body, time(row.get(4)?));
    claimed.verdict = verdict(row.get(3)?);
    claimed.peer = peer(row.get(5)?);
    claimed.reference = row.get::<_, Option<String>>(6)?.map(Private::from);
    claimed.meaning = Some(row.get::<_, [u8; 32]>(13)?.into());
    claimed.attempt = row.get(7)?;
    claimed.interruptions = row.get(8)?;
    claimed.last_error = row.get::<_, Option<String>>(9)?.map(Private::from);
    Ok(claimed)
}

/// The other callback that told of the same receipt.
fn sibling(connection: &Connection, receipt: &str, kind: &Kind) -> Result<Option<Sibling>> {
    connection
        .prepare_cached(
            "SELECT id, kind, key FROM callback
             WHERE receipt = ?1 AND kind <> ?2 AND kind <> 'payment' AND verdict = 0 ORDER BY id LIMIT 1",
        )?
        .query_row([receipt, kind.name()], |row| {
            let kind = Kind::from_name(row.get_ref(1)?.as_str()?);
            Ok(Sibling::new(CallbackId(row.get(0)?), kind, row.get::<_, String>(2)?.into()))
        })
        .optional()
}

pub(in crate::sqlite) fn renew(
    connection: &Connection,
    leases: &[Lease],
    lease: Duration,
    now: i64,
) -> Result<Vec<bool>> {
    let mut renew =
        connection.prepare_cached("UPDATE callback SET lease_until = ?3 WHERE id = ?1 AND fence = ?2 AND state = 1")?;
    leases.iter().map(|one| Ok(renew.execute(params![one.id.0, one.fence, later(now, lease)])? == 1)).collect()
}

pub(in crate::sqlite) fn settle_all(connection: &Connection, batch: &[Settlement], now: i64) -> Result<Vec<Settled>> {
    let mut settle = connection.prepare_cached(
        "UPDATE callback SET state = ?3, run_at = ?4, settled_at = ?5, error = coalesce(?6, CASE WHEN ?3 = 2 THEN NULL ELSE error END),
                             attempts = attempts - ?7, lease_until = NULL
         WHERE id = ?1 AND fence = ?2 AND state = 1",
    )?;
    let mut settled = Vec::with_capacity(batch.len());
    for Settlement { lease, ending, .. } in batch {
        let state = ending.state();
        let (run_at, settled_at, error, uncounted) = match ending {
            Ending::Done => (None, Some(now), None, 0),
            Ending::Retry { after, error } => (Some(later(now, *after)), None, Some(error), 0),
            Ending::Dead { error } => (None, Some(now), Some(error), 0),
            Ending::Released { after } => (Some(later(now, *after)), None, None, 1),
            Ending::Held { error } => (None, None, Some(error), 0),
            // An ending that this version does not know of needs nothing else.
            _ => (None, None, None, 0),
        };
        let changed = settle.execute(params![
            lease.id.0,
            lease.fence,
            state_number(state),
            run_at,
            settled_at,
            error.map(Private::as_str),
            uncounted
        ])?;
        let is_written = changed == 1 || was_settled(connection, lease, state)?;
        settled.push(if is_written { Settled::Written } else { Settled::LeaseLost });
    }
    Ok(settled)
}

/// Whether this settlement was written before.
fn was_settled(connection: &Connection, lease: &Lease, end: State) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM callback WHERE id = ?1 AND fence = ?2 AND state = ?3 AND state >= 2)",
        )?
        .query_row([lease.id.0, lease.fence, state_number(end)], |row| row.get(0))
}

pub(in crate::sqlite) fn is_expired(connection: &Connection, now: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE state = 1 AND lease_until < ?1)")?
        .query_row([now], |row| row.get(0))
}

pub(in crate::sqlite) fn sweep(connection: &Connection, now: i64) -> Result<u64> {
    let swept = connection
        .prepare_cached(
            "UPDATE callback SET state = 0, run_at = ?1, lease_until = NULL, interruptions = interruptions + 1
             WHERE state = 1 AND lease_until < ?1",
        )?
        .execute([now])?;
    Ok(swept as u64)
}

pub(in crate::sqlite) fn reopen(
    connection: &Connection,
    id: CallbackId,
    from: State,
    payment: Option<&Received>,
    now: i64,
) -> Result<bool> {
    let changed = connection
        .prepare_cached(
            "UPDATE callback SET state = 0, run_at = ?3, attempts = 0, interruptions = 0, settled_at = NULL
             WHERE id = ?1 AND state = ?2 AND EXISTS (SELECT 1 FROM body WHERE callback_id = ?1)",
        )?
        .execute([id.0, state_number(from), now])?;
    if let Some(payment) = payment.filter(|_| changed == 1) {
        record(connection, payment, hmac_key(connection)?.as_deref(), now)?;
    }
    Ok(changed == 1)
}

pub(in crate::sqlite) fn dismiss(connection: &Connection, id: CallbackId, now: i64) -> Result<bool> {
    let changed = connection
        .prepare_cached("UPDATE callback SET state = 2, settled_at = ?2 WHERE id = ?1 AND state >= 3")?
        .execute([id.0, now])?;
    Ok(changed == 1)
}
