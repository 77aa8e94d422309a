//! Recording: what is known under a key, and what a delivery is beside it.

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Digest, Private};
use mpesa_callbacks_core::store::{CallbackId, Known, Received, Recorded, State, Verdict};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::later;
use super::purge::hmac_key;
use crate::words::{micros, pseudonym, state_number, verdict_number};

pub(in crate::sqlite) fn record_all(connection: &Connection, batch: &[Received], now: i64) -> Result<Vec<Recorded>> {
    let purged = hmac_key(connection)?;
    batch.iter().map(|received| record(connection, received, purged.as_deref(), now)).collect()
}

pub(super) fn record(
    connection: &Connection,
    received: &Received,
    hmac_key: Option<&[u8]>,
    now: i64,
) -> Result<Recorded> {
    let (kind, key) = (received.kind.name(), received.key.as_str());
    let mut known = known(connection, kind, key)?;
    if let Some(hmac_key) = hmac_key {
        known.extend(self::known(connection, kind, &pseudonym(hmac_key, kind, key))?);
    }
    let (verdict, same) =
        received.verdict(&known, known.is_empty() && is_receipt_taken(connection, received, hmac_key)?);
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
            (state == State::Ready).then_some(later(now, received.due_after)),
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

/// Whether another callback of this kind, under another key, was the first to tell of this receipt.
fn is_receipt_taken(connection: &Connection, received: &Received, hmac_key: Option<&[u8]>) -> Result<bool> {
    let Some(receipt) = received.receipt.as_ref().filter(|_| received.kind != Kind::Payment) else { return Ok(false) };
    let (kind, key) = (received.kind.name(), received.key.as_str());
    let purged = hmac_key.map(|hmac_key| pseudonym(hmac_key, kind, key));
    connection
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM callback
                            WHERE receipt = ?1 AND kind = ?2 AND key <> ?3 AND key IS NOT ?4 AND verdict = 0)",
        )?
        .query_row(params![receipt, kind, key, purged], |row| row.get(0))
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

pub(in crate::sqlite) fn decision(
    connection: &Connection,
    kind: &Kind,
    key: &str,
    meaning: &Digest,
) -> Result<Option<String>> {
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
