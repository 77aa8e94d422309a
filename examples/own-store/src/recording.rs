//! What is known under a key, and what a delivery is beside it. The library has the rules; the table has the rows.

use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::{Digest, Private};
use mpesa_callbacks::store::{CallbackId, Judgement, Known, Received, Recorded, Sibling, State, Verdict};
use sqlx::sqlite::SqliteRow;
use sqlx::{Row, SqliteConnection};

use super::words::{hidden, hidden_receipt, later, micros, outcome, outcome_name, pseudonym, verdict};

pub(crate) async fn record(
    connection: &mut SqliteConnection,
    received: &Received,
    secret: &[u8; 32],
    now: i64,
) -> sqlx::Result<Recorded> {
    let kind = received.kind.name();
    let rows = sqlx::query(
        "SELECT event_no, fingerprint, meaning, detail, outcome, judged, answer, payload IS NULL AS is_deleted FROM partner_event
         WHERE topic = ?1 AND external_id IN (?2, ?3) ORDER BY event_no",
    )
    .bind(kind)
    .bind(received.key.as_str())
    .bind(pseudonym(secret, kind, received.key.as_str()))
    .fetch_all(&mut *connection)
    .await?;
    let known = rows.iter().map(|row| known(row, received, secret)).collect::<sqlx::Result<Vec<_>>>()?;

    let told = who_told_receipt(&mut *connection, received, secret).await?;
    let first = known.iter().find(|known| known.verdict == Verdict::First).map(|known| known.id);
    let Judgement { verdict, earlier } = received.judge(&known, told);
    let is_same = matches!(verdict, Verdict::Duplicate | Verdict::Variant);
    let same = earlier.filter(|_| is_same).and_then(|id| known.iter().position(|known| known.id == id));
    let decision = match same {
        Some(at) => rows[at].try_get("answer")?,
        None => received.decision.clone(),
    };
    if let (Verdict::Duplicate, Some(at)) = (verdict, same) {
        let id = known[at].id;
        sqlx::query("UPDATE partner_event SET times_seen = times_seen + 1, repeated_us = ?2 WHERE event_no = ?1")
            .bind(id.0)
            .bind(micros(received.received_at))
            .execute(&mut *connection)
            .await?;
        complete_payment(connection, received, first, now).await?;
        return Ok(Recorded::new(id, verdict, decision, None));
    }
    let id = insert(connection, received, verdict, earlier, decision.as_deref(), now).await?;
    if verdict == Verdict::Variant {
        complete_payment(connection, received, first, now).await?;
    }
    // The money that a callback shows is recorded with it, or not at all.
    let payment = match &received.payment {
        Some(payment) if verdict.is_news() => {
            let payment = Box::pin(record(connection, payment, secret, now)).await?;
            Some((payment.id, payment.verdict))
        }
        _ => None,
    };
    Ok(Recorded::new(id, verdict, decision, payment))
}

/// A row as it is compared with this delivery. One whose payload was deleted has only what hides its fingerprints.
fn known(row: &SqliteRow, received: &Received, secret: &[u8; 32]) -> sqlx::Result<Known> {
    let is_deleted: bool = row.try_get("is_deleted")?;
    let digest = |bytes: Vec<u8>| Digest::from(<[u8; 32]>::try_from(bytes).unwrap_or_default());
    let shown = |bytes: Vec<u8>, theirs: Digest| match is_deleted && bytes == hidden(secret, theirs.as_bytes()) {
        true => theirs,
        false => digest(bytes),
    };
    let detail: Option<Vec<u8>> = row.try_get("detail")?;
    Ok(Known {
        id: CallbackId(row.try_get("event_no")?),
        digest: shown(row.try_get("fingerprint")?, received.digest),
        meaning: shown(row.try_get("meaning")?, received.meaning),
        detail: detail.map(|bytes| match received.detail {
            Some(theirs) => shown(bytes, theirs),
            None => digest(bytes),
        }),
        outcome: row.try_get::<Option<String>, _>("outcome")?.map(|name| outcome(&name)),
        verdict: verdict(row.try_get("judged")?),
    })
}

async fn insert(
    connection: &mut SqliteConnection,
    received: &Received,
    verdict: Verdict,
    earlier: Option<CallbackId>,
    decision: Option<&str>,
    now: i64,
) -> sqlx::Result<CallbackId> {
    let state = received.state(verdict);
    let inserted = sqlx::query(
        "INSERT INTO partner_event (topic, external_id, payload, fingerprint, meaning, judged, stage, arrived_us, repeated_us,
                                    sender, order_ref, receipt, answer, trouble, due_us, finished_us, detail, outcome, beside_no, wait_us)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19)",
    )
    .bind(received.kind.name())
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
    .bind(decision)
    .bind(received.reason())
    .bind((state == State::Ready).then_some(later(now, received.due_after)))
    .bind((state == State::Done).then_some(now))
    .bind(received.detail.as_ref().map(|detail| &detail.as_bytes()[..]))
    .bind(received.outcome.map(outcome_name))
    .bind(earlier.map(|earlier| earlier.0))
    .bind(later(0, received.due_after))
    .execute(connection)
    .await?;
    Ok(CallbackId(inserted.last_insert_rowid()))
}

/// A payment that is known without its order, and now with it: it becomes due, or, when it is too late for that, the order is
/// an event of its own.
async fn complete_payment(
    connection: &mut SqliteConnection,
    received: &Received,
    first: Option<CallbackId>,
    now: i64,
) -> sqlx::Result<()> {
    let Some(first) = first.filter(|_| received.completes(false, false)) else { return Ok(()) };
    let known: Option<(String, i64, bool, bool)> = sqlx::query_as(
        "SELECT stage, tries, order_ref IS NOT NULL, detail IS NOT NULL FROM partner_event WHERE event_no = ?",
    )
    .bind(first.0)
    .fetch_optional(&mut *connection)
    .await?;
    let lacking = known.filter(|(_, _, has_reference, has_detail)| received.completes(*has_reference, *has_detail));
    match lacking.as_ref().map(|(stage, tries, ..)| (stage.as_str(), *tries)) {
        None => {}
        Some(("ready", _)) => {
            sqlx::query("UPDATE partner_event SET due_us = ?2, wait_us = 0, order_ref = ?3 WHERE event_no = ?1")
                .bind(first.0)
                .bind(now)
                .bind(received.reference.as_ref().map(Private::as_str))
                .execute(connection)
                .await?;
        }
        // Nobody was told of it: it is in hand, or settled, with a callback that accounts for it.
        Some((_, 0)) => {
            sqlx::query("UPDATE partner_event SET order_ref = ?2 WHERE event_no = ?1")
                .bind(first.0)
                .bind(received.reference.as_ref().map(Private::as_str))
                .execute(connection)
                .await?;
        }
        Some(_) => {
            let completing = received.clone().completing();
            let is_known: bool =
                sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM partner_event WHERE topic = ? AND external_id = ?)")
                    .bind(completing.kind.name())
                    .bind(completing.key.as_str())
                    .fetch_one(&mut *connection)
                    .await?;
            if !is_known {
                insert(connection, &completing, Verdict::First, Some(first), None, now).await?;
            }
        }
    }
    Ok(())
}

/// The callback of this kind, under another key, that told of this receipt first.
async fn who_told_receipt(
    connection: &mut SqliteConnection,
    received: &Received,
    secret: &[u8; 32],
) -> sqlx::Result<Option<CallbackId>> {
    let Some(receipt) = received.receipt.as_deref().filter(|_| !received.kind.is_payment()) else { return Ok(None) };
    let (kind, key) = (received.kind.name(), received.key.as_str());
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
    Ok(told.map(CallbackId))
}

/// The other callbacks that told of the same receipt, oldest first.
pub(crate) async fn siblings(
    connection: &mut SqliteConnection,
    receipt: &str,
    kind: &Kind,
    secret: &[u8; 32],
) -> sqlx::Result<Vec<Sibling>> {
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
    let sibling = |(id, topic, key, order): (i64, String, String, Option<String>)| {
        Sibling::new(CallbackId(id), Kind::from_name(&topic), key.into(), order.map(Private::from))
    };
    Ok(found.into_iter().map(sibling).collect())
}
