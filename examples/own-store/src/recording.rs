//! What is known under a key, and what a delivery is beside it. The library has the rules; the table has the rows.

use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::Private;
use mpesa_callbacks::store::{CallbackId, Known, Received, Recorded, State, Verdict};
use sqlx::{Row, SqliteConnection};

use super::Sibling;
use super::words::{later, micros, pseudonym};

pub(crate) async fn record(
    connection: &mut SqliteConnection,
    received: &Received,
    secret: &[u8; 32],
    now: i64,
) -> sqlx::Result<Recorded> {
    let kind = received.kind.name();
    let rows = sqlx::query(
        "SELECT event_no, fingerprint, meaning, answer FROM partner_event WHERE topic = ?1 AND external_id IN (?2, ?3) ORDER BY event_no",
    )
    .bind(kind)
    .bind(received.key.as_str())
    .bind(pseudonym(secret, kind, received.key.as_str()))
    .fetch_all(&mut *connection)
    .await?;
    let mut known = Vec::with_capacity(rows.len());
    for row in &rows {
        let [digest, meaning] = ["fingerprint", "meaning"].map(|column| row.try_get::<Vec<u8>, _>(column));
        let bytes = |bytes: Vec<u8>| <[u8; 32]>::try_from(bytes).unwrap_or_default();
        let id = CallbackId(row.try_get("event_no")?);
        known.push(Known { id, digest: bytes(digest?).into(), meaning: bytes(meaning?).into() });
    }

    let is_taken = is_receipt_taken(&mut *connection, received, secret).await?;
    let (verdict, same) = received.verdict(&known, is_taken);
    let same = same.and_then(|id| known.iter().position(|known| known.id == id));
    let decision = match same {
        Some(at) => rows[at].try_get("answer")?,
        None => received.decision.clone(),
    };
    if let (Verdict::Duplicate, Some(at)) = (verdict, same) {
        let id = known[at].id;
        sqlx::query("UPDATE partner_event SET times_seen = times_seen + 1, repeated_us = ?2 WHERE event_no = ?1")
            .bind(id.0)
            .bind(micros(received.received_at))
            .execute(connection)
            .await?;
        return Ok(Recorded::new(id, verdict, decision, None));
    }

    let state = received.state(verdict);
    let inserted = sqlx::query(
        "INSERT INTO partner_event (topic, external_id, payload, fingerprint, meaning, judged, stage, arrived_us, repeated_us,
                                    sender, order_ref, receipt, answer, trouble, due_us, finished_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15)",
    )
    .bind(kind)
    .bind(received.key.as_str())
    .bind(received.body())
    .bind(&received.digest.as_bytes()[..])
    .bind(&received.meaning.as_bytes()[..])
    .bind(verdict.name())
    .bind(state.name())
    .bind(micros(received.received_at))
    .bind(received.peer.map(|peer| peer.to_string()))
    .bind(received.reference.as_ref().map(Private::as_str))
    .bind(&received.receipt)
    .bind(&decision)
    .bind(received.reason())
    .bind((state == State::Ready).then_some(later(now, received.due_after)))
    .bind((state == State::Done).then_some(now))
    .execute(&mut *connection)
    .await?;
    // The money that a first callback shows is recorded with it, or not at all.
    let payment = match &received.payment {
        Some(payment) if verdict == Verdict::First => {
            let payment = Box::pin(record(connection, payment, secret, now)).await?;
            Some((payment.id, payment.verdict))
        }
        _ => None,
    };
    Ok(Recorded::new(CallbackId(inserted.last_insert_rowid()), verdict, decision, payment))
}

/// Whether another callback of this kind, under another key, was the first to tell of this receipt.
async fn is_receipt_taken(
    connection: &mut SqliteConnection,
    received: &Received,
    secret: &[u8; 32],
) -> sqlx::Result<bool> {
    let (kind, key) = (received.kind.name(), received.key.as_str());
    sqlx::query_scalar(
        "SELECT EXISTS (SELECT 1 FROM partner_event
                        WHERE receipt = ?1 AND topic = ?2 AND external_id NOT IN (?3, ?4) AND judged = 'first')",
    )
    .bind(&received.receipt)
    .bind(kind)
    .bind(key)
    .bind(pseudonym(secret, kind, key))
    .fetch_one(connection)
    .await
}

/// The other callback that told of the same receipt.
pub(crate) async fn sibling(
    connection: &mut SqliteConnection,
    receipt: &str,
    kind: &Kind,
) -> sqlx::Result<Option<Sibling>> {
    let found: Option<(i64, String, String)> = sqlx::query_as(
        "SELECT event_no, topic, external_id FROM partner_event
         WHERE receipt = ? AND topic NOT IN (?, 'payment') AND judged = 'first' ORDER BY event_no LIMIT 1",
    )
    .bind(receipt)
    .bind(kind.name())
    .fetch_optional(connection)
    .await?;
    Ok(found.map(|(id, topic, key)| Sibling::new(CallbackId(id), Kind::from_name(&topic), key.into())))
}
