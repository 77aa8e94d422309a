//! Recording. The library contains the rules; the table contains the rows.

use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::{Digest, Sensitive};
use mpesa_callbacks::store::{CallbackId, Delivery, Judgement, Known, Recorded, RelatedCallback, State, Verdict};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::columns::{later, outcome, outcome_name, verdict};
use mpesa_callbacks::store::columns::{hidden_digest, hidden_receipt, micros, pseudonym};

pub(crate) async fn record(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    secret: &[u8; 32],
    now: i64,
) -> sqlx::Result<Recorded> {
    let kind = delivery.kind.name();
    let rows = sqlx::query(
        "SELECT event_no, fingerprint, content_digest, detail, outcome, judged, answer, payload IS NULL AS is_deleted FROM partner_event
         WHERE topic = ?1 AND external_id IN (?2, ?3) ORDER BY event_no",
    )
    .bind(kind)
    .bind(delivery.key.as_str())
    .bind(pseudonym(secret, kind, delivery.key.as_str()))
    .fetch_all(&mut *connection)
    .await?;
    let known = rows.iter().map(|row| known(row, delivery, secret)).collect::<sqlx::Result<Vec<_>>>()?;

    let told = who_told_receipt(&mut *connection, delivery, secret).await?;
    let first = known.iter().find(|known| known.verdict == Verdict::First).map(|known| known.id);
    let Judgement { verdict, earlier } = delivery.judge(&known, told);
    let is_same = matches!(verdict, Verdict::Duplicate | Verdict::Variant);
    let same = earlier.filter(|_| is_same).and_then(|id| known.iter().position(|known| known.id == id));
    let decision = match same {
        Some(at) => rows[at].try_get("answer")?,
        None => delivery.decision.clone(),
    };
    if let (Verdict::Duplicate, Some(at)) = (verdict, same) {
        let id = known[at].id;
        sqlx::query("UPDATE partner_event SET times_seen = times_seen + 1, repeated_us = ?2 WHERE event_no = ?1")
            .bind(id.number())
            .bind(micros(delivery.received_at))
            .execute(&mut *connection)
            .await?;
        complete_payment(connection, delivery, first, secret, now).await?;
        return Ok(Recorded::new(id, verdict, decision, None));
    }
    let id = insert(connection, delivery, verdict, earlier, decision.as_deref(), now).await?;
    if verdict == Verdict::Variant {
        complete_payment(connection, delivery, first, secret, now).await?;
    }
    // The payment is recorded with its callback, or not at all.
    let payment = match &delivery.payment {
        Some(payment) if verdict.is_news() => {
            let payment = Box::pin(record(connection, payment, secret, now)).await?;
            Some((payment.id, payment.verdict))
        }
        _ => None,
    };
    Ok(Recorded::new(id, verdict, decision, payment))
}

/// Converts a row for the comparison with a delivery. If its payload was deleted, its digests are HMACs.
fn known(row: &SqliteRow, delivery: &Delivery, secret: &[u8; 32]) -> sqlx::Result<Known> {
    let is_deleted: bool = row.try_get("is_deleted")?;
    let digest = |bytes: Vec<u8>| Digest::from(<[u8; 32]>::try_from(bytes).unwrap_or_default());
    let shown = |bytes: Vec<u8>, theirs: Digest| match is_deleted && bytes == hidden_digest(secret, theirs.as_bytes()) {
        true => theirs,
        false => digest(bytes),
    };
    let detail: Option<Vec<u8>> = row.try_get("detail")?;
    Ok(Known {
        id: CallbackId::from_stored(row.try_get("event_no")?),
        body_digest: shown(row.try_get("fingerprint")?, delivery.body_digest),
        content_digest: shown(row.try_get("content_digest")?, delivery.content_digest),
        detail: detail.map(|bytes| match delivery.detail {
            Some(theirs) => shown(bytes, theirs),
            None => digest(bytes),
        }),
        outcome: row.try_get::<Option<String>, _>("outcome")?.map(|name| outcome(&name)),
        verdict: verdict(row.try_get("judged")?),
    })
}

async fn insert(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    verdict: Verdict,
    earlier: Option<CallbackId>,
    decision: Option<&str>,
    now: i64,
) -> sqlx::Result<CallbackId> {
    let state = delivery.state(verdict);
    let inserted = sqlx::query(
        "INSERT INTO partner_event (topic, external_id, payload, fingerprint, content_digest, judged, stage, arrived_us, repeated_us,
                                    sender, order_ref, receipt, answer, trouble, due_us, finished_us, detail, outcome, beside_no, wait_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )
    .bind(delivery.kind.name())
    .bind(delivery.key.as_str())
    .bind(delivery.body())
    .bind(&delivery.body_digest.as_bytes()[..])
    .bind(&delivery.content_digest.as_bytes()[..])
    .bind(verdict.name())
    .bind(state.name())
    .bind(micros(delivery.received_at))
    .bind(delivery.client_ip.map(|client_ip| client_ip.to_string()))
    .bind(delivery.reference.as_ref().map(Sensitive::as_str))
    .bind(&delivery.receipt)
    .bind(decision)
    .bind(delivery.reason())
    .bind((state == State::Ready).then_some(later(now, delivery.due_after)))
    .bind((state == State::Done).then_some(now))
    .bind(delivery.detail.as_ref().map(|detail| &detail.as_bytes()[..]))
    .bind(delivery.outcome.map(outcome_name))
    .bind(earlier.map(CallbackId::number))
    .bind(later(0, delivery.due_after))
    .execute(connection)
    .await?;
    Ok(CallbackId::from_stored(inserted.last_insert_rowid()))
}

/// Adds the order to a payment that lacks it. If a handler may have seen the payment without it, records
/// a `payment_completed`, too.
async fn complete_payment(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    first: Option<CallbackId>,
    secret: &[u8; 32],
    now: i64,
) -> sqlx::Result<()> {
    let Some(first) = first.filter(|_| delivery.completes(false, false)) else { return Ok(()) };
    let known: Option<(bool, bool, bool)> = sqlx::query_as(
        "SELECT told_no > 0, had_order OR order_ref IS NOT NULL, detail IS NOT NULL FROM partner_event WHERE event_no = ?",
    )
    .bind(first.number())
    .fetch_optional(&mut *connection)
    .await?;
    let lacking = known.filter(|(_, has_reference, has_detail)| delivery.completes(*has_reference, *has_detail));
    let Some((was_told, ..)) = lacking else { return Ok(()) };
    sqlx::query(
        "UPDATE partner_event SET order_ref = ?3, due_us = CASE WHEN stage = 'ready' THEN ?2 ELSE due_us END,
                wait_us = CASE WHEN stage = 'ready' THEN 0 ELSE wait_us END
         WHERE event_no = ?1",
    )
    .bind(first.number())
    .bind(now)
    .bind(delivery.reference.as_ref().map(Sensitive::as_str))
    .execute(&mut *connection)
    .await?;
    if !was_told {
        return Ok(());
    }
    let completing = delivery.clone().completing();
    let (kind, key) = (completing.kind.name(), completing.key.as_str());
    let is_known: bool =
        sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM partner_event WHERE topic = ? AND external_id IN (?, ?))")
            .bind(kind)
            .bind(key)
            .bind(pseudonym(secret, kind, key))
            .fetch_one(&mut *connection)
            .await?;
    if !is_known {
        insert(connection, &completing, Verdict::First, Some(first), None, now).await?;
    }
    Ok(())
}

/// Returns the first callback of this kind with the receipt and another key.
async fn who_told_receipt(
    connection: &mut SqliteConnection,
    delivery: &Delivery,
    secret: &[u8; 32],
) -> sqlx::Result<Option<CallbackId>> {
    let Some(receipt) = delivery.receipt.as_deref().filter(|_| !delivery.kind.is_payment()) else { return Ok(None) };
    let (kind, key) = (delivery.kind.name(), delivery.key.as_str());
    let told: Option<i64> = sqlx::query_scalar(
        "SELECT event_no FROM partner_event
         WHERE receipt IN (?1, ?2) AND +topic = ?3 AND external_id NOT IN (?4, ?5) AND judged IN ('first', 'update')
         ORDER BY event_no LIMIT 1",
    )
    .bind(receipt)
    .bind(hidden_receipt(secret, receipt))
    .bind(kind)
    .bind(key)
    .bind(pseudonym(secret, kind, key))
    .fetch_optional(connection)
    .await?;
    Ok(told.map(CallbackId::from_stored))
}

/// Returns the other callbacks with the same receipt, oldest first.
pub(crate) async fn related(
    connection: &mut SqliteConnection,
    receipt: &str,
    kind: &Kind,
    secret: &[u8; 32],
) -> sqlx::Result<Vec<RelatedCallback>> {
    let found: Vec<(i64, String, String, Option<String>)> = sqlx::query_as(
        "SELECT event_no, topic, external_id, order_ref FROM partner_event
         WHERE receipt IN (?, ?) AND topic NOT IN (?, 'payment', 'payment_completed') AND judged IN ('first', 'update')
         ORDER BY event_no",
    )
    .bind(receipt)
    .bind(hidden_receipt(secret, receipt))
    .bind(kind.name())
    .fetch_all(connection)
    .await?;
    let related = |(id, topic, key, order): (i64, String, String, Option<String>)| {
        RelatedCallback::new(
            CallbackId::from_stored(id),
            Kind::from_stored_name(&topic),
            key.into(),
            order.map(Sensitive::from),
        )
    };
    Ok(found.into_iter().map(related).collect())
}
