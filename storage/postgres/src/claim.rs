//! Claims due callbacks in one statement per lane.

use std::collections::{HashMap, HashSet};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::{Body, CallbackId, Claim, Claimed, Lease, RelatedCallback};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::digest;
use super::record::Place;
use super::schema::Schema;
use super::session::Session;
use mpesa_callbacks_core::store::columns::{client_ip, hidden_receipt, lane_number, micros, span, time, verdict};

/// The payments of callbacks, for a process that does not handle payments.
#[derive(Default)]
struct Payments {
    /// Per callback, the payment that is claimed with it.
    with: HashMap<i64, i64>,
    /// Callbacks that are left to other processes.
    theirs: HashSet<i64>,
}

pub(super) async fn claim(pool: &PgPool, place: Place<'_>, claim: &Claim<'_>) -> sqlx::Result<Vec<Claimed>> {
    let schema = place.schema;
    let mut tx = Session::begin(pool).await?;
    let mut due = due(&mut tx, schema, claim).await?;
    if due.is_empty() {
        tx.commit().await?;
        return Ok(Vec::new());
    }
    let mut payments = Payments::default();
    if !claim.handles_payments {
        payments = payments_of(&mut tx, schema, claim, &due).await?;
        due.retain(|id| !payments.theirs.contains(id));
    }
    let taken: Vec<i64> = payments.with.values().copied().collect();
    let mut leases = HashMap::new();
    if !taken.is_empty() {
        let rows = take(&mut tx, schema, claim, &taken, 0).await?;
        for row in &rows {
            let id = CallbackId::from_stored(row.try_get("id")?);
            leases.insert(id.number(), Lease { id, fence: row.try_get("fence")? });
        }
    }
    let rows = take(&mut tx, schema, claim, &due, 1).await?;
    let mut claimed = rows.iter().map(one).collect::<sqlx::Result<Vec<(Claimed, Option<String>)>>>()?;
    // A statement of its own, which sees what was recorded while the others waited for locks.
    let receipts: HashSet<String> = claimed.iter().filter_map(|(_, receipt)| receipt.clone()).collect();
    let related = related(&mut tx, place, receipts).await?;
    tx.commit().await?;
    for (one, receipt) in &mut claimed {
        let of_receipt = receipt.as_ref().and_then(|receipt| related.get(receipt)).into_iter().flatten();
        one.related = of_receipt.filter(|related| related.kind != one.kind).cloned().collect();
        one.payment = payments.with.get(&one.lease.id.number()).and_then(|payment| leases.get(payment)).copied();
    }
    // `RETURNING` has no order.
    claimed.sort_by_key(|(one, _)| one.lease.id);
    Ok(claimed.into_iter().map(|(one, _)| one).collect())
}

/// Locks and returns the first due callbacks of all claimed kinds. Kind by kind, each from its own range
/// of the index, so that other kinds cost nothing.
async fn due(connection: &mut PgConnection, schema: &Schema, claim: &Claim<'_>) -> sqlx::Result<Vec<i64>> {
    let kinds: Vec<&str> = claim.kinds.iter().map(Kind::name).collect();
    let lanes: Vec<i16> =
        claim.lane.takes_from().iter().filter_map(|lane| i16::try_from(lane_number(*lane)).ok()).collect();
    sqlx::query_scalar(schema.sql(
        "SELECT callback_id FROM unnest($1::text[]) AS asked (kind) CROSS JOIN unnest($2::smallint[]) AS asked_lane (lane)
              CROSS JOIN LATERAL (
                  SELECT callback_id, run_at FROM mpesa_callbacks.work AS w
                  WHERE w.state = 0 AND w.kind = asked.kind AND w.lane = asked_lane.lane AND w.run_at <= mpesa_callbacks.now_us()
                        AND ($4 OR asked.kind IN ('payment', 'payment_completed') OR NOT EXISTS (
                            SELECT 1 FROM mpesa_callbacks.callback AS c
                                JOIN mpesa_callbacks.callback AS p ON p.key = c.receipt AND p.kind = 'payment' AND p.verdict = 0
                                JOIN mpesa_callbacks.work AS pw ON pw.callback_id = p.id
                            WHERE c.id = w.callback_id AND (pw.state = 1 OR pw.state >= 2 AND pw.attempts > 0
                                                                   AND w.repetition = 0 AND w.run_at >= $5)))
                  ORDER BY w.run_at, w.callback_id LIMIT $3 FOR UPDATE SKIP LOCKED) AS of_kind
         ORDER BY run_at, callback_id LIMIT $3",
    ))
    .bind(&kinds)
    .bind(&lanes)
    .bind(i64::try_from(claim.limit).unwrap_or(i64::MAX))
    // Without this, callbacks whose payment belongs to another process are left out.
    .bind(claim.handles_payments)
    .bind(micros(claim.left_since))
    .fetch_all(connection)
    .await
}

async fn payments_of(
    connection: &mut PgConnection,
    schema: &Schema,
    claim: &Claim<'_>,
    due: &[i64],
) -> sqlx::Result<Payments> {
    let mut payments = Payments::default();
    let rows: Vec<(i64, i64, bool)> = sqlx::query_as(schema.sql(
        "SELECT c.id, p.id, w.repetition = 0 AND w.run_at >= $2 FROM mpesa_callbacks.callback AS c
              JOIN mpesa_callbacks.work AS w ON w.callback_id = c.id
              JOIN mpesa_callbacks.callback AS p ON p.key = c.receipt AND p.kind = 'payment' AND p.verdict = 0
         WHERE c.id = ANY($1) AND c.kind NOT IN ('payment', 'payment_completed') ORDER BY p.id, c.id",
    ))
    .bind(due)
    .bind(micros(claim.left_since))
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(payments);
    }
    let ids: Vec<i64> = rows.iter().map(|(_, payment, _)| *payment).collect();
    // A locked payment is being claimed by another process.
    let states: HashMap<i64, (i16, i32)> = sqlx::query_as(schema.sql(
        "SELECT callback_id, state, attempts FROM mpesa_callbacks.work WHERE callback_id = ANY($1)
         ORDER BY callback_id FOR UPDATE SKIP LOCKED",
    ))
    .bind(&ids)
    .fetch_all(connection)
    .await?
    .into_iter()
    .map(|(id, state, attempts): (i64, i16, i32)| (id, (state, attempts)))
    .collect();
    let mut used = HashSet::new();
    for (callback, payment, is_left) in rows {
        match states.get(&payment) {
            Some((0, _)) if used.insert(payment) => {
                payments.with.insert(callback, payment);
            }
            // It was settled with another callback, or the callback is nobody else's any more.
            Some((2.., attempts)) if *attempts == 0 || !is_left => {}
            _ => {
                payments.theirs.insert(callback);
            }
        }
    }
    Ok(payments)
}

/// Leases locked callbacks. A payment that is claimed with its callback has no attempts, because no
/// handler sees it.
async fn take(
    connection: &mut PgConnection,
    schema: &Schema,
    claim: &Claim<'_>,
    ids: &[i64],
    attempts: i32,
) -> sqlx::Result<Vec<PgRow>> {
    // Lists of ids, here and below, so that the planner looks up these rows and no others.
    sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work AS w
         SET state = 1, fence = fence + 1, attempts = CASE $2 WHEN 0 THEN 0 ELSE attempts + $2 END, run_at = NULL, lease_until = mpesa_callbacks.now_us() + $3,
             wait = $3, lane = $4, told = CASE WHEN told = 0 AND $2 > 0 THEN fence + 1 ELSE told END
         FROM mpesa_callbacks.callback AS c JOIN mpesa_callbacks.body AS b ON b.callback_id = c.id
         WHERE w.callback_id = ANY($1) AND c.id = ANY($1) AND b.callback_id = ANY($1) AND w.callback_id = c.id
         RETURNING c.id, c.kind, c.key, verdict, received_at, client_ip, reference, receipt, earlier, attempts, interruptions,
                   interruptions_alone, repetition, error, fence, told, body, content_digest",
    ))
    .bind(ids)
    .bind(attempts)
    .bind(span(claim.lease))
    .bind(i16::try_from(lane_number(claim.lane)).unwrap_or_default())
    .fetch_all(connection)
    .await
}

fn one(row: &PgRow) -> sqlx::Result<(Claimed, Option<String>)> {
    let lease = Lease { id: CallbackId::from_stored(row.try_get("id")?), fence: row.try_get("fence")? };
    let kind = Kind::from_stored_name(row.try_get("kind")?);
    let body = Body::from(row.try_get::<Vec<u8>, _>("body")?);
    let key = row.try_get::<String, _>("key")?.into();
    let number = |name: &str| Ok::<u32, sqlx::Error>(row.try_get::<i32, _>(name)?.unsigned_abs());
    let mut one = Claimed::new(lease, kind, key, body, time(row.try_get("received_at")?));
    one.verdict = verdict(row.try_get::<i16, _>("verdict")?.into());
    one.client_ip = client_ip(row.try_get("client_ip")?);
    one.reference = row.try_get::<Option<String>, _>("reference")?.map(Sensitive::from);
    one.content_digest = digest(row.try_get("content_digest")?);
    one.attempt = number("attempts")?;
    one.interruptions = number("interruptions")?;
    one.interruptions_alone = number("interruptions_alone")?;
    one.repetition = number("repetition")?;
    one.was_told = (1..lease.fence).contains(&row.try_get("told")?);
    one.earlier = row.try_get::<Option<i64>, _>("earlier")?.map(CallbackId::from_stored);
    one.last_error = row.try_get::<Option<String>, _>("error")?.map(Sensitive::from);
    Ok((one, row.try_get("receipt")?))
}

/// Returns the callbacks with these receipts, oldest first.
async fn related(
    connection: &mut PgConnection,
    place: Place<'_>,
    receipts: HashSet<String>,
) -> sqlx::Result<HashMap<String, Vec<RelatedCallback>>> {
    let mut related = HashMap::<String, Vec<RelatedCallback>>::new();
    if receipts.is_empty() {
        return Ok(related);
    }
    let mut names: HashMap<String, String> = HashMap::with_capacity(receipts.len() * 2);
    for receipt in receipts {
        if place.has_purged() {
            names.insert(hidden_receipt(place.hmac_key, &receipt), receipt.clone());
        }
        names.insert(receipt.clone(), receipt);
    }
    let asked: Vec<&str> = names.keys().map(String::as_str).collect();
    let rows: Vec<(i64, String, String, Option<String>, String)> = sqlx::query_as(place.schema.sql(
        "SELECT id, kind, key, reference, receipt FROM mpesa_callbacks.callback
         WHERE receipt = ANY($1) AND verdict IN (0, 5) AND kind NOT IN ('payment', 'payment_completed') ORDER BY id",
    ))
    .bind(&asked)
    .fetch_all(connection)
    .await?;
    for (id, kind, key, reference, receipt) in rows {
        let Some(receipt) = names.get(&receipt) else { continue };
        let callback = RelatedCallback::new(
            CallbackId::from_stored(id),
            Kind::from_stored_name(&kind),
            key.into(),
            reference.map(Sensitive::from),
        );
        related.entry(receipt.clone()).or_default().push(callback);
    }
    Ok(related)
}
