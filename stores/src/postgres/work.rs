//! Claiming, renewing, settling, sweeping; and what people decide. Times are the server's.

use std::collections::HashSet;
use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Private;
use mpesa_callbacks_core::store::{Body, CallbackId, Claimed, Ending, Lease, Settled, Settlement, Sibling, State};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::{begin, text};
use crate::words::{digest, peer, span, state_number, time, verdict};

pub(super) async fn claim(pool: &PgPool, limit: usize, lease: Duration) -> sqlx::Result<Vec<Claimed>> {
    let mut tx = begin(pool).await?;
    // The limit is in a materialized part: the planner might otherwise take more than it says. Ids are asked for as a list, here and
    // below: whatever the planner thinks of the tables, it looks up these and no others.
    let rows = sqlx::query(
        "WITH due AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.work WHERE state = 0 AND run_at <= mpesa_callbacks.now_us()
             ORDER BY run_at, callback_id LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE mpesa_callbacks.work AS w
         SET state = 1, fence = fence + 1, attempts = attempts + 1, run_at = NULL, lease_until = mpesa_callbacks.now_us() + $2
         FROM mpesa_callbacks.callback AS c JOIN mpesa_callbacks.body AS b ON b.callback_id = c.id
         WHERE w.callback_id = ANY(ARRAY(SELECT callback_id FROM due)) AND c.id = ANY(ARRAY(SELECT callback_id FROM due))
               AND b.callback_id = ANY(ARRAY(SELECT callback_id FROM due)) AND w.callback_id = c.id
         RETURNING id, kind, key, verdict, received_at, peer, reference, attempts, interruptions, error, fence, body, meaning,
                   (SELECT array[s.id::text, s.kind, s.key] FROM mpesa_callbacks.callback AS s
                    WHERE s.receipt = c.receipt AND s.kind <> c.kind AND s.kind <> 'payment' AND s.verdict = 0
                    ORDER BY s.id LIMIT 1) AS sibling",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(span(lease))
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let mut claimed = rows.iter().map(one).collect::<sqlx::Result<Vec<_>>>()?;
    // `RETURNING` has no order.
    claimed.sort_by_key(|one| one.lease.id);
    Ok(claimed)
}

fn one(row: &PgRow) -> sqlx::Result<Claimed> {
    let lease = Lease { id: CallbackId(row.try_get("id")?), fence: row.try_get("fence")? };
    let kind = Kind::from_name(row.try_get("kind")?);
    let body = Body::from(row.try_get::<Vec<u8>, _>("body")?);
    let key = row.try_get::<String, _>("key")?.into();
    let mut one = Claimed::new(lease, kind, key, body, time(row.try_get("received_at")?));
    one.verdict = verdict(row.try_get::<i16, _>("verdict")?.into());
    one.peer = peer(row.try_get("peer")?);
    one.reference = row.try_get::<Option<String>, _>("reference")?.map(Private::from);
    one.meaning = digest(row.try_get("meaning")?);
    one.attempt = row.try_get::<i32, _>("attempts")?.unsigned_abs();
    one.interruptions = row.try_get::<i32, _>("interruptions")?.unsigned_abs();
    one.last_error = row.try_get::<Option<String>, _>("error")?.map(Private::from);
    if let Some([id, kind, key]) = row.try_get::<Option<Vec<String>>, _>("sibling")?.as_deref() {
        let id = CallbackId(id.parse().unwrap_or_default());
        one.sibling = Some(Sibling::new(id, Kind::from_name(kind), key.as_str().into()));
    }
    Ok(one)
}

/// Ids and fences, for a statement about many leases.
fn columns<'a>(leases: impl Iterator<Item = &'a Lease>) -> (Vec<i64>, Vec<i64>) {
    leases.map(|lease| (lease.id.0, lease.fence)).unzip()
}

pub(super) async fn renew(pool: &PgPool, leases: &[Lease], lease: Duration) -> sqlx::Result<Vec<bool>> {
    let (ids, fences) = columns(leases.iter());
    let mut tx = begin(pool).await?;
    let renewed: HashSet<(i64, i64)> = sqlx::query_as(
        "WITH locked AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) ORDER BY callback_id FOR NO KEY UPDATE)
         UPDATE mpesa_callbacks.work AS w SET lease_until = mpesa_callbacks.now_us() + $3
         FROM unnest($1::bigint[], $2::bigint[]) AS held (id, fence)
         WHERE w.callback_id = ANY(ARRAY(SELECT callback_id FROM locked)) AND w.callback_id = held.id AND w.fence = held.fence
               AND w.state + 0 = 1
         RETURNING w.callback_id, w.fence",
    )
    .bind(&ids)
    .bind(&fences)
    .bind(span(lease))
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    tx.commit().await?;
    Ok(leases.iter().map(|lease| renewed.contains(&(lease.id.0, lease.fence))).collect())
}

pub(super) async fn settle(pool: &PgPool, batch: &[Settlement]) -> sqlx::Result<Vec<Settled>> {
    let (ids, fences) = columns(batch.iter().map(|settlement| &settlement.lease));
    let (mut states, mut delays, mut errors, mut uncounted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Settlement { ending, .. } in batch {
        let (after, error, count) = match ending {
            Ending::Retry { after, error } => (Some(span(*after)), Some(error), 0),
            Ending::Dead { error } | Ending::Held { error } => (None, Some(error), 0),
            Ending::Released { after } => (Some(span(*after)), None, 1),
            // Done; and an ending that this version does not know of, which needs nothing else.
            _ => (None, None, 0),
        };
        states.push(i16::try_from(state_number(ending.state())).unwrap_or(i16::MAX));
        delays.push(after);
        errors.push(error.map(|error| text(error.as_str())));
        uncounted.push(count);
    }
    let mut tx = begin(pool).await?;
    // Locked in the order of ids, as all that locks several of these rows does, so that nobody waits in a circle.
    // `+ 0` keeps the planner from the index of what runs, which is small, and full of what ran a moment ago: rows are looked up by
    // their ids, here and in `renew`.
    // Under its own fence only: whoever lost the lease changes nothing. Whoever did not hear that the end was written finds it.
    let settled: HashSet<(i64, i64)> = sqlx::query_as(
        "WITH ended AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::int[])
                  AS ended (id, fence, state, delay, error, uncounted)
         ), locked AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) ORDER BY callback_id FOR NO KEY UPDATE
         ), written AS (
             UPDATE mpesa_callbacks.work AS w
             SET state = ended.state, run_at = mpesa_callbacks.now_us() + ended.delay, lease_until = NULL,
                 settled_at = CASE WHEN ended.state IN (2, 3) THEN mpesa_callbacks.now_us() END,
                 error = coalesce(ended.error, CASE WHEN ended.state = 2 THEN NULL ELSE w.error END),
                 attempts = attempts - ended.uncounted
             FROM ended
             WHERE w.callback_id = ANY(ARRAY(SELECT callback_id FROM locked)) AND w.callback_id = ended.id AND w.fence = ended.fence
                   AND w.state + 0 = 1
             RETURNING w.callback_id, w.fence
         )
         SELECT callback_id, fence FROM written UNION ALL
         SELECT w.callback_id, w.fence FROM mpesa_callbacks.work AS w JOIN ended ON ended.id = w.callback_id AND ended.fence = w.fence
         WHERE w.callback_id = ANY($1) AND w.state = ended.state AND w.state + 0 >= 2",
    )
    .bind(&ids)
    .bind(&fences)
    .bind(&states)
    .bind(&delays)
    .bind(&errors)
    .bind(&uncounted)
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    tx.commit().await?;
    let settled = |settlement: &Settlement| match settled.contains(&(settlement.lease.id.0, settlement.lease.fence)) {
        true => Settled::Written,
        false => Settled::LeaseLost,
    };
    Ok(batch.iter().map(settled).collect())
}

pub(super) async fn sweep(pool: &PgPool) -> sqlx::Result<u64> {
    let swept = sqlx::query(
        "UPDATE mpesa_callbacks.work
         SET state = 0, run_at = mpesa_callbacks.now_us(), lease_until = NULL, interruptions = interruptions + 1
         WHERE callback_id = ANY(ARRAY(SELECT callback_id FROM mpesa_callbacks.work
                                       WHERE state = 1 AND lease_until < mpesa_callbacks.now_us() FOR UPDATE SKIP LOCKED))",
    );
    let mut tx = begin(pool).await?;
    let swept = swept.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(swept)
}

pub(super) async fn reopen(connection: &mut PgConnection, id: CallbackId, from: State) -> sqlx::Result<bool> {
    let reopened = sqlx::query(
        "UPDATE mpesa_callbacks.work
         SET state = 0, run_at = mpesa_callbacks.now_us(), attempts = 0, interruptions = 0, settled_at = NULL
         WHERE callback_id = $1 AND state = $2 AND EXISTS (SELECT 1 FROM mpesa_callbacks.body WHERE callback_id = $1)",
    );
    let reopened = reopened.bind(id.0).bind(state_number(from)).execute(connection).await?;
    Ok(reopened.rows_affected() == 1)
}

pub(super) async fn dismiss(pool: &PgPool, id: CallbackId) -> sqlx::Result<bool> {
    let dismissed = sqlx::query(
        "UPDATE mpesa_callbacks.work SET state = 2, settled_at = mpesa_callbacks.now_us() WHERE callback_id = $1 AND state >= 3",
    );
    Ok(dismissed.bind(id.0).execute(pool).await?.rows_affected() == 1)
}
