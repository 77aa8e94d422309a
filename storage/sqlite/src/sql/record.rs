//! Recording: reads the stored rows of a key and inserts deliveries with their verdict.

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Digest, Sensitive};
use mpesa_callbacks_core::store::{CallbackId, Delivery, Judgement, Known, Recorded, State, Verdict};
use rusqlite::{Connection, OptionalExtension, Result, params};

use super::later;
use super::purge::hmac_key;
use mpesa_callbacks_core::store::columns::{
    hidden_digest, hidden_receipt, micros, outcome, outcome_number, pseudonym, shown, span, state_number, verdict,
    verdict_number,
};

pub(crate) fn record_all(connection: &Connection, batch: &[Delivery], now: i64) -> Result<Vec<Recorded>> {
    let purged = hmac_key(connection)?;
    batch.iter().map(|delivery| record(connection, delivery, purged.as_deref(), now)).collect()
}

pub(super) fn record(
    connection: &Connection,
    delivery: &Delivery,
    hmac_key: Option<&[u8]>,
    now: i64,
) -> Result<Recorded> {
    // Nearly all deliveries are new: one statement looks up and inserts. After a purge, a second name
    // must be looked up, too.
    if hmac_key.is_none()
        && delivery.judge(&[], None).verdict == Verdict::First
        && let Some(id) = insert_first(connection, delivery, now)?
    {
        let payment = record_payment(connection, delivery, hmac_key, now)?;
        return Ok(Recorded::new(id, Verdict::First, delivery.decision.clone(), payment));
    }
    let (kind, key) = (delivery.kind.name(), delivery.key.as_str());
    let mut known = known(connection, kind, key)?;
    if let Some(hmac_key) = hmac_key {
        let purged = self::known(connection, kind, &pseudonym(hmac_key, kind, key))?;
        known.extend(purged.into_iter().map(|one| shown(one, delivery, hmac_key)));
        known.sort_by_key(|known| known.id);
    }
    let first = known.iter().find(|known| known.verdict == Verdict::First).map(|known| known.id);
    let told_receipt = who_told_receipt(connection, delivery, hmac_key)?;
    let Judgement { verdict, earlier } = delivery.judge(&known, told_receipt);
    let same = earlier.filter(|_| matches!(verdict, Verdict::Duplicate | Verdict::Variant));
    let decision = match same {
        Some(id) => connection
            .prepare_cached("SELECT decision FROM callback WHERE id = ?1")?
            .query_row([id.number()], |row| row.get(0))?,
        None => delivery.decision.clone(),
    };
    if let (Verdict::Duplicate, Some(id)) = (verdict, same) {
        connection
            .prepare_cached("UPDATE callback SET seen = seen + 1, last_seen_at = ?2 WHERE id = ?1")?
            .execute(params![id.number(), micros(delivery.received_at)])?;
        complete_payment(connection, delivery, first, hmac_key, now)?;
        return Ok(Recorded::new(id, verdict, decision, None));
    }
    let id = insert(connection, delivery, verdict, earlier, decision.as_deref(), now)?;
    if verdict == Verdict::Variant {
        complete_payment(connection, delivery, first, hmac_key, now)?;
    }
    let payment = if verdict.is_news() { record_payment(connection, delivery, hmac_key, now)? } else { None };
    Ok(Recorded::new(id, verdict, decision, payment))
}

/// Records the payment that a delivery shows.
fn record_payment(
    connection: &Connection,
    delivery: &Delivery,
    hmac_key: Option<&[u8]>,
    now: i64,
) -> Result<Option<(CallbackId, Verdict)>> {
    let Some(payment) = &delivery.payment else { return Ok(None) };
    let recorded = record(connection, payment, hmac_key, now)?;
    Ok(Some((recorded.id, recorded.verdict)))
}

const COLUMNS: &str =
    "kind, key, verdict, state, body_digest, content_digest, received_at, last_seen_at, run_at, settled_at,
    receipt, client_ip, reference, decision, error, detail, outcome, earlier, wait";
const VALUES: &str = "?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18";

/// Inserts a delivery unless something is stored under its key, or under its receipt and another key
/// of its kind.
fn insert_first(connection: &Connection, delivery: &Delivery, now: i64) -> Result<Option<CallbackId>> {
    // A payment's key is its receipt.
    let condition = match delivery.receipt.is_some() && !delivery.kind.is_payment() {
        true => {
            "NOT EXISTS (SELECT 1 FROM callback WHERE kind = ?1 AND key = ?2)
             AND NOT EXISTS (SELECT 1 FROM callback WHERE receipt = ?10 AND +kind = ?1 AND verdict IN (0, 5))"
        }
        false => "NOT EXISTS (SELECT 1 FROM callback WHERE kind = ?1 AND key = ?2)",
    };
    let insert = format!("INSERT INTO callback ({COLUMNS}) SELECT {VALUES} WHERE {condition}");
    write(connection, &insert, delivery, Verdict::First, None, delivery.decision.as_deref(), now)
}

fn insert(
    connection: &Connection,
    delivery: &Delivery,
    verdict: Verdict,
    earlier: Option<CallbackId>,
    decision: Option<&str>,
    now: i64,
) -> Result<CallbackId> {
    let insert = format!("INSERT INTO callback ({COLUMNS}) VALUES ({VALUES})");
    let written = write(connection, &insert, delivery, verdict, earlier, decision, now)?;
    written.ok_or(rusqlite::Error::StatementChangedRows(0))
}

/// Inserts a callback and its body; `None` if the statement's condition does not hold.
fn write(
    connection: &Connection,
    insert: &str,
    delivery: &Delivery,
    verdict: Verdict,
    earlier: Option<CallbackId>,
    decision: Option<&str>,
    now: i64,
) -> Result<Option<CallbackId>> {
    let state = delivery.state(verdict);
    let written = connection.prepare_cached(insert)?.execute(params![
        delivery.kind.name(),
        delivery.key.as_str(),
        verdict_number(verdict),
        state_number(state),
        &delivery.body_digest.as_bytes()[..],
        &delivery.content_digest.as_bytes()[..],
        micros(delivery.received_at),
        (state == State::Ready).then_some(later(now, delivery.due_after)),
        (state == State::Done).then_some(now),
        delivery.receipt,
        delivery.client_ip.map(|client_ip| client_ip.to_string()),
        delivery.reference.as_ref().map(Sensitive::as_str),
        decision,
        delivery.reason(),
        delivery.detail.as_ref().map(|detail| &detail.as_bytes()[..]),
        delivery.outcome.map(outcome_number),
        earlier.map(CallbackId::number),
        span(delivery.due_after),
    ])?;
    if written == 0 {
        return Ok(None);
    }
    let id = connection.last_insert_rowid();
    connection
        .prepare_cached("INSERT INTO body (callback_id, body) VALUES (?1, ?2)")?
        .execute(params![id, delivery.body()])?;
    Ok(Some(CallbackId::from_stored(id)))
}

/// Adds the order to a payment that lacks it. If a handler may have seen the payment without it,
/// records a `payment_completed`, too.
fn complete_payment(
    connection: &Connection,
    delivery: &Delivery,
    first: Option<CallbackId>,
    hmac_key: Option<&[u8]>,
    now: i64,
) -> Result<()> {
    let Some(first) = first.filter(|_| delivery.completes(false, false)) else { return Ok(()) };
    let known: Option<(bool, bool, bool)> = connection
        .prepare_cached(
            "SELECT told > 0, reference IS NOT NULL OR told = -1, detail IS NOT NULL FROM callback WHERE id = ?1",
        )?
        .query_row([first.number()], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let lacking = known.filter(|(_, has_reference, has_detail)| delivery.completes(*has_reference, *has_detail));
    let Some((is_told, ..)) = lacking else { return Ok(()) };
    connection
        .prepare_cached(
            "UPDATE callback SET reference = ?3, run_at = CASE WHEN state = 0 THEN ?2 ELSE run_at END,
                                 wait = CASE WHEN state = 0 THEN 0 ELSE wait END
             WHERE id = ?1",
        )?
        .execute(params![first.number(), now, delivery.reference.as_ref().map(Sensitive::as_str)])?;
    if !is_told {
        return Ok(());
    }
    let completing = delivery.clone().completing();
    let (kind, key) = (completing.kind.name(), completing.key.as_str());
    let hidden_key = hmac_key.map(|hmac_key| pseudonym(hmac_key, kind, key));
    let is_known: bool = connection
        .prepare_cached("SELECT EXISTS (SELECT 1 FROM callback WHERE kind = ?1 AND key IN (?2, ?3))")?
        .query_row(params![kind, key, hidden_key], |row| row.get(0))?;
    if !is_known {
        insert(connection, &completing, Verdict::First, Some(first), None, now)?;
    }
    Ok(())
}

/// One receipt at a time: for a list SQLite would build a table. `+` keeps the planner from the index of
/// keys, which begins with the kind, so that it would read all rows of the kind.
const WHO_TOLD_RECEIPT: &str = "SELECT id FROM callback
    WHERE receipt = ?1 AND +kind = ?2 AND key <> ?3 AND key IS NOT ?4 AND verdict IN (0, 5) ORDER BY id LIMIT 1";

/// Returns the first callback of this kind with the receipt and another key.
fn who_told_receipt(
    connection: &Connection,
    delivery: &Delivery,
    hmac_key: Option<&[u8]>,
) -> Result<Option<CallbackId>> {
    let Some(receipt) = delivery.receipt.as_ref().filter(|_| !delivery.kind.is_payment()) else { return Ok(None) };
    let (kind, key) = (delivery.kind.name(), delivery.key.as_str());
    let hidden = hmac_key.map(|hmac_key| (hidden_receipt(hmac_key, receipt), pseudonym(hmac_key, kind, key)));
    let (hidden_receipt, hidden_key) = hidden.unzip();
    let mut who_told = connection.prepare_cached(WHO_TOLD_RECEIPT)?;
    let mut first: Option<CallbackId> = None;
    for receipt in [Some(receipt), hidden_receipt.as_ref()].into_iter().flatten() {
        let told =
            who_told.query_row(params![receipt, kind, key, hidden_key], |row| Ok(CallbackId::from_stored(row.get(0)?)));
        first = first.into_iter().chain(told.optional()?).min();
    }
    Ok(first)
}

fn known(connection: &Connection, kind: &str, key: &str) -> Result<Vec<Known>> {
    let mut statement = connection.prepare_cached(
        "SELECT id, body_digest, content_digest, detail, outcome, verdict FROM callback WHERE kind = ?1 AND key = ?2 ORDER BY id",
    )?;
    let known = statement.query_map([kind, key], |row| {
        Ok(Known {
            id: CallbackId::from_stored(row.get(0)?),
            body_digest: Digest::from(row.get::<_, [u8; 32]>(1)?),
            content_digest: row.get::<_, [u8; 32]>(2)?.into(),
            detail: row.get::<_, Option<[u8; 32]>>(3)?.map(Digest::from),
            outcome: row.get::<_, Option<i64>>(4)?.and_then(outcome),
            verdict: verdict(row.get(5)?),
        })
    })?;
    known.collect()
}

pub(crate) fn find_decision(
    connection: &Connection,
    kind: &Kind,
    key: &str,
    content_digest: &Digest,
) -> Result<Option<String>> {
    let find = |key: &str, content_digest: &[u8]| {
        connection
            .prepare_cached(
                "SELECT decision FROM callback WHERE kind = ?1 AND key = ?2 AND content_digest = ?3 ORDER BY id LIMIT 1",
            )?
            .query_row(params![kind.name(), key, content_digest], |row| row.get::<_, Option<String>>(0))
            .optional()
    };
    match (find(key, content_digest.as_bytes())?, hmac_key(connection)?) {
        (Some(decision), _) => Ok(decision),
        (None, Some(hmac_key)) => {
            let hidden = hidden_digest(&hmac_key, content_digest.as_bytes());
            Ok(find(&pseudonym(&hmac_key, kind.name(), key), &hidden)?.flatten())
        }
        (None, None) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// It is looked up for each delivery, so its cost must not grow with the table.
    #[test]
    fn who_told_a_receipt_is_looked_up_by_the_receipt() {
        let connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../migrations/0001_callbacks.sql")).unwrap();
        let plan = format!("EXPLAIN QUERY PLAN {WHO_TOLD_RECEIPT}");
        let unknown: Option<&str> = None;
        let plan: String = connection.query_row(&plan, params!["R", "stk", "k", unknown], |row| row.get(3)).unwrap();
        assert!(plan.contains("callback_receipt"), "{plan}");
    }
}
