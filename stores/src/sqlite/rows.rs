//! The statements. All of them run inside a transaction of the writing thread, or on the reading connection.

use std::fmt::Write;
use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use hmac::{Hmac, KeyInit, Mac};
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Digest, Private};
use mpesa_callbacks_core::store::{
    Body, CallbackId, Claimed, Depth, Ending, Entry, Filter, Known, Lease, Received, Recorded, Settled, Settlement,
    Sibling, State, Verdict,
};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Result, Row, params, params_from_iter};
use sha2::Sha256;

/// How many bodies a purge looks at before it lets others write.
const LOOKED_AT_ONCE: i64 = 200;

/// Microseconds since 1970 UTC.
pub(super) fn micros(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

fn time(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
}

fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

fn state_number(state: State) -> i64 {
    match state {
        State::Ready => 0,
        State::Running => 1,
        State::Done => 2,
        State::Dead => 3,
        State::Held => 4,
        State::Quarantined => 5,
    }
}

fn state(number: i64) -> State {
    match number {
        0 => State::Ready,
        1 => State::Running,
        2 => State::Done,
        3 => State::Dead,
        4 => State::Held,
        _ => State::Quarantined,
    }
}

fn verdict_number(verdict: Verdict) -> i64 {
    match verdict {
        Verdict::First => 0,
        Verdict::Duplicate => 1,
        Verdict::Variant => 2,
        Verdict::Conflict => 3,
        Verdict::Quarantined => 4,
    }
}

fn verdict(number: i64) -> Verdict {
    match number {
        0 => Verdict::First,
        1 => Verdict::Duplicate,
        2 => Verdict::Variant,
        3 => Verdict::Conflict,
        _ => Verdict::Quarantined,
    }
}

pub(super) fn record_all(connection: &Connection, batch: &[Received], now: i64) -> Result<Vec<Recorded>> {
    let purged = hmac_key(connection)?;
    batch.iter().map(|received| record(connection, received, purged.as_deref(), now)).collect()
}

fn record(connection: &Connection, received: &Received, hmac_key: Option<&[u8]>, now: i64) -> Result<Recorded> {
    let (kind, key) = (received.kind.name(), received.key.as_str());
    let mut known = known(connection, kind, key)?;
    if let Some(hmac_key) = hmac_key {
        known.extend(self::known(connection, kind, &pseudonym(hmac_key, kind, key))?);
    }
    let (verdict, same) = received.verdict(&known);
    let decision = match same {
        Some(id) => connection
            .prepare_cached("SELECT decision FROM callback WHERE id = ?1")?
            .query_row([id.0], |row| row.get(0))?,
        None => received.decision.clone(),
    };
    if let (Verdict::Duplicate, Some(id)) = (verdict, same) {
        connection
            .prepare_cached("UPDATE callback SET seen = seen + 1, last_seen_at = ?2 WHERE id = ?1")?
            .execute(params![id.0, micros(received.received_at)])?;
        return Ok(Recorded::new(id, verdict, decision, None));
    }

    let state = received.state(verdict);
    connection
        .prepare_cached(
            "INSERT INTO callback (kind, key, verdict, state, digest, meaning, received_at, last_seen_at, run_at,
                                   settled_at, receipt, peer, reference, decision, error)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            kind,
            key,
            verdict_number(verdict),
            state_number(state),
            &received.digest.as_bytes()[..],
            &received.meaning.as_bytes()[..],
            micros(received.received_at),
            (state == State::Ready).then_some(now),
            (state == State::Done).then_some(now),
            received.receipt,
            received.peer.map(|peer| peer.to_string()),
            received.reference.as_ref().map(Private::as_str),
            decision,
            received.reason(),
        ])?;
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO body (callback_id, body) VALUES (?1, ?2)")?
        .execute(params![id, received.body()])?;

    let payment = match &received.payment {
        Some(payment) if verdict == Verdict::First => {
            let payment = record(connection, payment, hmac_key, now)?;
            Some((payment.id, payment.verdict))
        }
        _ => None,
    };
    Ok(Recorded::new(CallbackId(id), verdict, decision, payment))
}

fn known(connection: &Connection, kind: &str, key: &str) -> Result<Vec<Known>> {
    let mut statement = connection
        .prepare_cached("SELECT id, digest, meaning FROM callback WHERE kind = ?1 AND key = ?2 ORDER BY id")?;
    let known = statement.query_map([kind, key], |row| {
        Ok(Known {
            id: CallbackId(row.get(0)?),
            digest: Digest::from(row.get::<_, [u8; 32]>(1)?),
            meaning: row.get::<_, [u8; 32]>(2)?.into(),
        })
    })?;
    known.collect()
}

/// The key under which purged keys are hidden; `None` as long as none was purged.
fn hmac_key(connection: &Connection) -> Result<Option<Vec<u8>>> {
    connection
        .prepare_cached(
            "SELECT value FROM meta WHERE name = 'hmac_key' AND EXISTS (SELECT 1 FROM meta WHERE name = 'purged')",
        )?
        .query_row([], |row| row.get(0))
        .optional()
}

/// What stands in a purged key's place.
fn pseudonym(hmac_key: &[u8], kind: &str, key: &str) -> String {
    let mut text = String::from("hmac:");
    if let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(hmac_key) {
        mac.update(kind.as_bytes());
        mac.update(&[0]);
        mac.update(key.as_bytes());
        for byte in mac.finalize().into_bytes() {
            // Writing into a string does not fail.
            let _ = write!(text, "{byte:02x}");
        }
    }
    text
}

pub(super) fn decision(connection: &Connection, kind: &Kind, key: &str, meaning: &Digest) -> Result<Option<String>> {
    let find = |key: &str| {
        connection
            .prepare_cached(
                "SELECT decision FROM callback WHERE kind = ?1 AND key = ?2 AND meaning = ?3 ORDER BY id LIMIT 1",
            )?
            .query_row(params![kind.name(), key, &meaning.as_bytes()[..]], |row| row.get::<_, Option<String>>(0))
            .optional()
    };
    match (find(key)?, hmac_key(connection)?) {
        (Some(decision), _) => Ok(decision),
        (None, Some(hmac_key)) => Ok(find(&pseudonym(&hmac_key, kind.name(), key))?.flatten()),
        (None, None) => Ok(None),
    }
}

pub(super) fn is_due(connection: &Connection, now: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE state = 0 AND run_at <= ?1)")?
        .query_row([now], |row| row.get(0))
}

pub(super) fn claim(connection: &Connection, limit: usize, lease: Duration, now: i64) -> Result<Vec<Claimed>> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut due = connection.prepare_cached(
        "SELECT id, kind, key, verdict, received_at, peer, reference, attempts + 1, interruptions, error, fence + 1, receipt, body
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
    claimed.attempt = row.get(7)?;
    claimed.interruptions = row.get(8)?;
    claimed.last_error = row.get::<_, Option<String>>(9)?.map(Private::from);
    Ok(claimed)
}

fn peer(text: Option<String>) -> Option<IpAddr> {
    text.and_then(|text| text.parse().ok())
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

pub(super) fn renew(connection: &Connection, leases: &[Lease], lease: Duration, now: i64) -> Result<Vec<bool>> {
    let mut renew =
        connection.prepare_cached("UPDATE callback SET lease_until = ?3 WHERE id = ?1 AND fence = ?2 AND state = 1")?;
    leases.iter().map(|one| Ok(renew.execute(params![one.id.0, one.fence, later(now, lease)])? == 1)).collect()
}

pub(super) fn settle_all(connection: &Connection, batch: &[Settlement], now: i64) -> Result<Vec<Settled>> {
    let mut settle = connection.prepare_cached(
        "UPDATE callback SET state = ?3, run_at = ?4, settled_at = ?5, error = coalesce(?6, CASE WHEN ?3 = 2 THEN NULL ELSE error END),
                             attempts = attempts - ?7, lease_until = NULL
         WHERE id = ?1 AND fence = ?2 AND state = 1",
    )?;
    let mut settled = Vec::with_capacity(batch.len());
    for Settlement { lease, ending, .. } in batch {
        let (state, run_at, settled_at, error, uncounted) = match ending {
            Ending::Done => (State::Done, None, Some(now), None, 0),
            Ending::Retry { after, error } => (State::Ready, Some(later(now, *after)), None, Some(error), 0),
            Ending::Dead { error } => (State::Dead, None, Some(now), Some(error), 0),
            Ending::Released { after } => (State::Ready, Some(later(now, *after)), None, None, 1),
            Ending::Held { error } => (State::Held, None, None, Some(error), 0),
            // An ending that this version does not know of is somebody's to look at.
            _ => (State::Held, None, None, None, 0),
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
        settled.push(if changed == 1 { Settled::Written } else { Settled::LeaseLost });
    }
    Ok(settled)
}

pub(super) fn is_expired(connection: &Connection, now: i64) -> Result<bool> {
    connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE state = 1 AND lease_until < ?1)")?
        .query_row([now], |row| row.get(0))
}

pub(super) fn sweep(connection: &Connection, now: i64) -> Result<u64> {
    let swept = connection
        .prepare_cached(
            "UPDATE callback SET state = 0, run_at = ?1, lease_until = NULL, interruptions = interruptions + 1
             WHERE state = 1 AND lease_until < ?1",
        )?
        .execute([now])?;
    Ok(swept as u64)
}

pub(super) fn reopen(
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

pub(super) fn dismiss(connection: &Connection, id: CallbackId, now: i64) -> Result<bool> {
    let changed = connection
        .prepare_cached("UPDATE callback SET state = 2, settled_at = ?2 WHERE id = ?1 AND state >= 3")?
        .execute([id.0, now])?;
    Ok(changed == 1)
}

/// What may be purged: done, and received before this time. Some of it, behind this id; and the id to go on behind, as
/// long as there is more to look at.
pub(super) fn purgeable(connection: &Connection, before: i64, behind: i64) -> Result<(Vec<i64>, Option<i64>)> {
    // Bodies in the order of their ids, which is that of their arrival; each row is looked at once.
    let mut bodies = connection.prepare_cached(
        "SELECT callback_id, received_at, state FROM body CROSS JOIN callback ON callback.id = body.callback_id
         WHERE callback_id > ?1 ORDER BY callback_id LIMIT ?2",
    )?;
    let mut rows = bodies.query([behind, LOOKED_AT_ONCE])?;
    let (mut purgeable, mut last, mut seen) = (Vec::new(), behind, 0);
    while let Some(row) = rows.next()? {
        seen += 1;
        last = row.get(0)?;
        let (received_at, state): (i64, i64) = (row.get(1)?, row.get(2)?);
        if received_at >= before {
            return Ok((purgeable, None));
        }
        if state == state_number(State::Done) {
            purgeable.push(last);
        }
    }
    Ok((purgeable, (seen == LOOKED_AT_ONCE).then_some(last)))
}

pub(super) fn purge(connection: &Connection, ids: &[i64]) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    connection.execute("INSERT OR IGNORE INTO meta (name, value) VALUES ('purged', x'01')", [])?;
    let hmac_key = hmac_key(connection)?.unwrap_or_default();
    let mut purged = 0;
    for id in ids {
        let mut done = connection.prepare_cached("SELECT kind, key FROM callback WHERE id = ?1 AND state = 2")?;
        let Some((kind, key)) =
            done.query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).optional()?
        else {
            continue;
        };
        connection.prepare_cached("DELETE FROM body WHERE callback_id = ?1")?.execute([id])?;
        connection
            .prepare_cached("UPDATE callback SET key = ?2, reference = NULL, peer = NULL, error = NULL WHERE id = ?1")?
            .execute(params![id, pseudonym(&hmac_key, &kind, &key)])?;
        purged += 1;
    }
    Ok(purged)
}

pub(super) fn depth(connection: &Connection) -> Result<Depth> {
    let mut depth = Depth::default();
    // Each count reads its own partial index.
    let mut counts = connection.prepare_cached(
        "SELECT 0, count(*) FROM callback WHERE state = 0 UNION ALL
         SELECT 1, count(*) FROM callback WHERE state = 1 UNION ALL
         SELECT state, count(*) FROM callback WHERE state >= 3 GROUP BY state",
    )?;
    let counts = counts.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)?)))?;
    for count in counts {
        let (number, count) = count?;
        depth.add(state(number), u64::try_from(count).unwrap_or(0));
    }
    Ok(depth)
}

const ENTRY: &str =
    "id, kind, key, verdict, state, received_at, seen, last_seen_at, peer, reference, receipt, attempts, run_at,
                     settled_at, error, decision";

fn entry(row: &Row<'_>) -> Result<Entry> {
    let (id, key) = (CallbackId(row.get(0)?), row.get::<_, String>(2)?.into());
    let kind = Kind::from_name(row.get_ref(1)?.as_str()?);
    let mut entry = Entry::new(id, kind, key, verdict(row.get(3)?), state(row.get(4)?), time(row.get(5)?));
    entry.seen = row.get(6)?;
    entry.last_seen_at = time(row.get(7)?);
    entry.peer = peer(row.get(8)?);
    entry.reference = row.get::<_, Option<String>>(9)?.map(Private::from);
    entry.receipt = row.get(10)?;
    entry.attempts = row.get(11)?;
    entry.run_at = row.get::<_, Option<i64>>(12)?.map(time);
    entry.settled_at = row.get::<_, Option<i64>>(13)?.map(time);
    entry.error = row.get::<_, Option<String>>(14)?.map(Private::from);
    entry.decision = row.get(15)?;
    Ok(entry)
}

pub(super) fn get(connection: &Connection, id: CallbackId) -> Result<Option<Entry>> {
    let found = connection
        .prepare_cached(&format!("SELECT {ENTRY} FROM callback WHERE id = ?1"))?
        .query_row([id.0], entry)
        .optional()?;
    let Some(mut found) = found else { return Ok(None) };
    let body: Option<Vec<u8>> = connection
        .prepare_cached("SELECT body FROM body WHERE callback_id = ?1")?
        .query_row([id.0], |row| row.get(0))
        .optional()?;
    found.body = body.map(Body::from);
    Ok(Some(found))
}

pub(super) fn list(connection: &Connection, filter: &Filter) -> Result<Vec<Entry>> {
    let mut conditions = vec!["true".to_owned()];
    let mut values: Vec<Value> = Vec::new();
    let mut condition = |text: &str, value: Value| {
        values.push(value);
        conditions.push(format!("{text} ?{}", values.len()));
    };
    if let Some(kind) = &filter.kind {
        // Not by the index of keys, which would have to be sorted: newest first, and skip the others.
        condition("+kind =", kind.name().to_owned().into());
    }
    if let Some(verdict) = filter.verdict {
        condition("verdict =", verdict_number(verdict).into());
    }
    if let Some(since) = filter.since {
        condition("received_at >=", micros(since).into());
    }
    if let Some(until) = filter.until {
        condition("received_at <", micros(until).into());
    }
    if let Some(before) = filter.before {
        condition("id <", before.0.into());
    }
    if let Some(state) = filter.state {
        // A literal, so that the planner sees which partial index has it.
        conditions.push(format!("state = {}", state_number(state)));
        if state_number(state) >= 3 {
            conditions.push("state >= 3".into());
        }
    }
    values.push(i64::try_from(filter.limit).unwrap_or(i64::MAX).into());
    let sql = format!(
        "SELECT {ENTRY} FROM callback WHERE {} ORDER BY id DESC LIMIT ?{}",
        conditions.join(" AND "),
        values.len()
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let entries = statement.query_map(params_from_iter(values), entry)?;
    entries.collect()
}
