//! Claiming, renewing, settling, reclaiming.

use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::{
    self as store, Body, CallbackId, Claimed, Completion, Interruption, Lane, Lease, RelatedCallback, SettleResult,
    Settlement, State,
};
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql, params};

use super::later;
use super::purge::hmac_key;
use mpesa_callbacks_core::store::columns::{
    client_ip, hidden_receipt, lane, lane_number, span, state_number, time, verdict,
};

/// The parameters of a claim, owned.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) lane: Lane,
    pub(crate) limit: usize,
    pub(crate) lease: Duration,
    pub(crate) handles_payments: bool,
    /// In microseconds since 1970.
    pub(crate) left_since: i64,
}

impl Asked {
    /// Returns the lanes and kinds to claim from: one range of the index each.
    fn places(&self) -> impl Iterator<Item = (i64, &str)> {
        let lanes = self.lane.takes_from().iter();
        lanes.flat_map(|lane| self.kinds.iter().map(|kind| (lane_number(*lane), kind.name())))
    }
}

pub(crate) fn is_due(connection: &Connection, asked: &Asked, now: i64) -> Result<bool> {
    let mut is_due = connection.prepare_cached(
        "SELECT EXISTS (SELECT 1 FROM callback WHERE state = 0 AND lane = ?1 AND kind = ?2 AND run_at <= ?3)",
    )?;
    for (lane, kind) in asked.places() {
        if is_due.query_row(params![lane, kind, now], |row| row.get(0))? {
            return Ok(true);
        }
    }
    Ok(false)
}

pub(crate) fn claim(connection: &Connection, asked: &Asked, now: i64) -> Result<Vec<Claimed>> {
    let hmac_key = hmac_key(connection)?;
    let mut claimed = Vec::new();
    for id in due(connection, asked, now)? {
        let payment =
            if asked.handles_payments { Payment::None } else { payment_of(connection, id, asked.left_since)? };
        let payment = match payment {
            Payment::Theirs => continue,
            Payment::With(payment) => Some(take(connection, payment, asked, now, 0)?),
            Payment::None => None,
        };
        let lease = take(connection, id, asked, now, 1)?;
        let mut one = claimed_row(connection, lease)?;
        if let (claimed, Some(receipt)) = &mut one {
            let hidden = hmac_key.as_deref().map(|hmac_key| hidden_receipt(hmac_key, receipt));
            claimed.related = related(connection, receipt, hidden.as_deref(), &claimed.kind)?;
        }
        one.0.payment = payment;
        claimed.push(one.0);
    }
    Ok(claimed)
}

/// Returns the ids of the first due callbacks of all claimed kinds.
fn due(connection: &Connection, asked: &Asked, now: i64) -> Result<Vec<i64>> {
    let limit = i64::try_from(asked.limit).unwrap_or(i64::MAX);
    // Kind by kind, each from its own range of the index, so that other kinds cost nothing.
    let mut of_kind = connection.prepare_cached(match asked.handles_payments {
        true => {
            "SELECT run_at, id FROM callback WHERE state = 0 AND lane = ?1 AND kind = ?2 AND run_at <= ?3
             ORDER BY run_at, id LIMIT ?4"
        }
        // Without those whose payment belongs to a process that handles payments.
        false => {
            "SELECT run_at, id FROM callback AS c WHERE state = 0 AND lane = ?1 AND kind = ?2 AND run_at <= ?3
                    AND (kind IN ('payment', 'payment_completed') OR NOT EXISTS (
                        SELECT 1 FROM callback AS p WHERE p.kind = 'payment' AND p.key = c.receipt AND p.verdict = 0
                               AND (p.state = 1 OR p.state >= 2 AND p.attempts > 0 AND c.repetition = 0 AND c.run_at >= ?5)))
             ORDER BY run_at, id LIMIT ?4"
        }
    })?;
    let mut due: Vec<(i64, i64)> = Vec::new();
    for (lane, kind) in asked.places() {
        let mut parameters: Vec<&dyn ToSql> = vec![&lane, &kind, &now, &limit];
        if !asked.handles_payments {
            parameters.push(&asked.left_since);
        }
        let rows = of_kind.query_map(&*parameters, |row| Ok((row.get(0)?, row.get(1)?)))?;
        for row in rows {
            due.push(row?);
        }
    }
    due.sort_unstable();
    due.truncate(asked.limit);
    Ok(due.into_iter().map(|(_, id)| id).collect())
}

/// The payment of a callback, for a process that does not handle payments.
enum Payment {
    /// There is none, or it was settled with another callback.
    None,
    /// It is claimed with the callback.
    With(i64),
    /// The callback is left to other processes.
    Theirs,
}

fn payment_of(connection: &Connection, id: i64, left_since: i64) -> Result<Payment> {
    let payment: Option<(i64, i64, bool)> = connection
        .prepare_cached(
            "SELECT p.id, p.state, p.attempts > 0 AND c.repetition = 0 AND c.run_at >= ?2 FROM callback AS c JOIN callback AS p ON p.kind = 'payment' AND p.key = c.receipt
             WHERE c.id = ?1 AND c.kind NOT IN ('payment', 'payment_completed') AND p.verdict = 0",
        )?
        .query_row([id, left_since], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    Ok(match payment {
        Some((payment, state, _)) if state == state_number(State::Ready) => Payment::With(payment),
        Some((_, state, is_left)) if is_left || state == state_number(State::Running) => Payment::Theirs,
        _ => Payment::None,
    })
}

/// Leases one callback. A payment that is claimed with its callback has no attempts, because no
/// handler sees it.
fn take(connection: &Connection, id: i64, asked: &Asked, now: i64, attempts: i64) -> Result<Lease> {
    let fence = connection
        .prepare_cached(
            "UPDATE callback SET state = 1, fence = fence + 1, attempts = CASE ?2 WHEN 0 THEN 0 ELSE attempts + ?2 END, run_at = NULL, lease_until = ?3,
                                 wait = ?4, lane = ?5, told = CASE WHEN told = 0 AND ?2 > 0 THEN fence + 1 ELSE told END
             WHERE id = ?1 RETURNING fence",
        )?
        .query_row(
            params![id, attempts, later(now, asked.lease), span(asked.lease), lane_number(asked.lane)],
            |row| row.get(0),
        )?;
    Ok(Lease { id: CallbackId::from_stored(id), fence })
}

fn claimed_row(connection: &Connection, lease: Lease) -> Result<(Claimed, Option<String>)> {
    connection
        .prepare_cached(
            "SELECT kind, key, verdict, received_at, client_ip, reference, attempts, interruptions, error, receipt, body, content_digest,
                    interruptions_alone, repetition, earlier, told
             FROM callback JOIN body ON body.callback_id = callback.id WHERE id = ?1",
        )?
        .query_row([lease.id.number()], |row| Ok((claimed(row, lease)?, row.get(9)?)))
}

fn claimed(row: &Row<'_>, lease: Lease) -> Result<Claimed> {
    let kind = Kind::from_stored_name(row.get_ref(0)?.as_str()?);
    let body = Body::from(row.get::<_, Vec<u8>>(10)?);
    let mut claimed = Claimed::new(lease, kind, row.get::<_, String>(1)?.into(), body, time(row.get(3)?));
    claimed.verdict = verdict(row.get(2)?);
    claimed.client_ip = client_ip(row.get(4)?);
    claimed.reference = row.get::<_, Option<String>>(5)?.map(Sensitive::from);
    claimed.attempt = row.get(6)?;
    claimed.interruptions = row.get(7)?;
    claimed.last_error = row.get::<_, Option<String>>(8)?.map(Sensitive::from);
    claimed.content_digest = Some(row.get::<_, [u8; 32]>(11)?.into());
    claimed.interruptions_alone = row.get(12)?;
    claimed.repetition = row.get(13)?;
    claimed.earlier = row.get::<_, Option<i64>>(14)?.map(CallbackId::from_stored);
    claimed.was_told = (1..lease.fence).contains(&row.get(15)?);
    Ok(claimed)
}

/// Returns the other callbacks with the same receipt.
fn related(connection: &Connection, receipt: &str, hidden: Option<&str>, kind: &Kind) -> Result<Vec<RelatedCallback>> {
    let mut related = connection.prepare_cached(
        "SELECT id, kind, key, reference FROM callback
         WHERE receipt = ?1 AND kind <> ?2 AND kind NOT IN ('payment', 'payment_completed') AND verdict IN (0, 5)",
    )?;
    let mut found = Vec::new();
    // One receipt at a time: for a list SQLite would build a table.
    for receipt in [Some(receipt), hidden].into_iter().flatten() {
        let rows = related.query_map(params![receipt, kind.name()], |row| {
            let kind = Kind::from_stored_name(row.get_ref(1)?.as_str()?);
            let reference = row.get::<_, Option<String>>(3)?.map(Sensitive::from);
            Ok(RelatedCallback::new(
                CallbackId::from_stored(row.get(0)?),
                kind,
                row.get::<_, String>(2)?.into(),
                reference,
            ))
        })?;
        for row in rows {
            found.push(row?);
        }
    }
    found.sort_by_key(|related: &RelatedCallback| related.id);
    Ok(found)
}

pub(crate) fn renew(connection: &Connection, leases: &[Lease], lease: Duration, now: i64) -> Result<Vec<bool>> {
    let mut renew = connection
        .prepare_cached("UPDATE callback SET lease_until = ?3, wait = ?4 WHERE id = ?1 AND fence = ?2 AND state = 1")?;
    leases
        .iter()
        .map(|one| Ok(renew.execute(params![one.id.number(), one.fence, later(now, lease), span(lease)])? == 1))
        .collect()
}

pub(crate) fn settle_all(connection: &Connection, batch: &[Settlement], now: i64) -> Result<Vec<SettleResult>> {
    let mut settled = Vec::with_capacity(batch.len());
    for Settlement { lease, completion, payment, .. } in batch {
        // Both or neither.
        let is_held = match payment {
            Some(payment) => is_held(connection, payment)?,
            None => true,
        };
        let is_written = is_held && settle(connection, *lease, completion, 1, now)?;
        if let Some(payment) = payment.filter(|_| is_written) {
            // Its attempts are not counted.
            match completion {
                Completion::Done => settle(connection, payment, &Completion::Done, 0, now)?,
                _ => settle(connection, payment, &Completion::Snoozed { after: Duration::ZERO }, 0, now)?,
            };
        }
        let is_written = is_written || was_settled(connection, lease, completion.state())?;
        settled.push(if is_written { SettleResult::Written } else { SettleResult::LeaseLost });
    }
    Ok(settled)
}

fn is_held(connection: &Connection, lease: &Lease) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE id = ?1 AND fence = ?2 AND state = 1)")?
        .query_row([lease.id.number(), lease.fence], |row| row.get(0))
}

/// Writes a settlement under its own fencing token only. Returns whether it was written.
fn settle(connection: &Connection, lease: Lease, completion: &Completion, counted: i64, now: i64) -> Result<bool> {
    let state = completion.state();
    let (after, settled_at, error, uncounted) = match completion {
        Completion::Done => (None, Some(now), None, 0),
        Completion::Retry { after, error } => (Some(*after), None, Some(error), 0),
        Completion::Dead { error } => (None, Some(now), Some(error), 0),
        Completion::Snoozed { after } => (Some(*after), None, None, counted),
        Completion::Held { error } => (None, None, Some(error), 0),
        // A completion that is newer than this version needs nothing else.
        _ => (None, None, None, 0),
    };
    // A callback that was retried does not end processes. A snoozed one keeps its lane.
    let is_acquitted = matches!(completion, Completion::Retry { .. });
    let changed = connection
        .prepare_cached(
            "UPDATE callback SET state = ?3, run_at = ?4, settled_at = ?5, wait = ?8, lease_until = NULL,
                    error = coalesce(?6, CASE WHEN ?3 = 2 THEN NULL ELSE error END), attempts = attempts - ?7,
                    interruptions = CASE WHEN ?9 THEN 0 ELSE interruptions END,
                    interruptions_alone = CASE WHEN ?9 THEN 0 ELSE interruptions_alone END,
                    lane = CASE WHEN ?9 OR interruptions < ?10 THEN 0 WHEN interruptions < ?11 AND interruptions_alone = 0 THEN 1 ELSE 2 END
             WHERE id = ?1 AND fence = ?2 AND state = 1",
        )?
        .execute(params![
            lease.id.number(),
            lease.fence,
            state_number(state),
            after.map(|after| later(now, after)),
            settled_at,
            error.map(Sensitive::as_str),
            uncounted,
            span(after.unwrap_or_default()),
            is_acquitted,
            store::SUSPECT_AFTER,
            store::ALONE_AFTER,
        ])?;
    Ok(changed == 1)
}

/// Returns whether this settlement was written before.
fn was_settled(connection: &Connection, lease: &Lease, end: State) -> Result<bool> {
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM callback WHERE id = ?1 AND fence = ?2 AND state = ?3 AND state >= 2)",
        )?
        .query_row([lease.id.number(), lease.fence, state_number(end)], |row| row.get(0))
}

pub(crate) fn is_expired(connection: &Connection, now: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE state = 1 AND lease_until < ?1)")?
        .query_row([now], |row| row.get(0))
}

pub(crate) fn is_ahead(connection: &Connection, now: i64) -> Result<bool> {
    Ok(!ahead(connection, now)?.is_empty())
}

/// Returns rows that were scheduled or leased at a time in the future, and for how long.
fn ahead(connection: &Connection, now: i64) -> Result<Vec<(i64, i64, i64)>> {
    let mut later = connection.prepare_cached(
        "SELECT id, state, wait, run_at - ?1 FROM callback WHERE state = 0 AND run_at > ?1 AND run_at - wait > ?1 UNION ALL
         SELECT id, state, wait, lease_until - ?1 FROM callback WHERE state = 1 AND lease_until > ?1 AND lease_until - wait > ?1",
    )?;
    let rows = later.query_map([now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get::<_, i64>(3)?)))?;
    let duration = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    let mut ahead = Vec::new();
    for row in rows {
        let (id, state, wait, until) = row?;
        if store::is_ahead(duration(until), duration(wait)) {
            ahead.push((id, state, wait));
        }
    }
    Ok(ahead)
}

/// Reschedules rows that a clock which was ahead had scheduled. Returns their number.
pub(crate) fn put_off_anew(connection: &Connection, now: i64) -> Result<u64> {
    let ahead = ahead(connection, now)?;
    for (id, state, wait) in &ahead {
        let column = if *state == state_number(State::Ready) { "run_at" } else { "lease_until" };
        connection
            .prepare_cached(&format!("UPDATE callback SET {column} = ?2 WHERE id = ?1 AND state = ?3"))?
            .execute(params![id, now.saturating_add(*wait), state])?;
    }
    Ok(ahead.len() as u64)
}

pub(crate) fn reclaim_expired(connection: &Connection, now: i64) -> Result<u64> {
    let mut expired = connection.prepare_cached(
        "SELECT id, lane, interruptions, interruptions_alone FROM callback WHERE state = 1 AND lease_until < ?1",
    )?;
    let expired: Vec<(i64, i64, u32, u32)> = expired
        .query_map([now], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?
        .collect::<Result<_>>()?;
    let mut interrupt = connection.prepare_cached(
        "UPDATE callback SET state = 0, run_at = ?2, wait = ?3, lane = ?4, lease_until = NULL, interruptions = interruptions + 1,
                interruptions_alone = interruptions_alone + ?5, attempts = max(attempts - ?6, 0)
         WHERE id = ?1",
    )?;
    for (id, ran_in, interruptions, alone) in &expired {
        let ran_in = lane(*ran_in);
        let Interruption { is_counted, lane, after, .. } = Interruption::of(ran_in, *interruptions, *alone);
        interrupt.execute(params![
            id,
            later(now, after),
            span(after),
            lane_number(lane),
            ran_in == Lane::Alone,
            !is_counted
        ])?;
    }
    Ok(expired.len() as u64)
}
