//! Claiming, renewing, settling, sweeping; and what people decide. Times are the server's.

use std::collections::HashSet;
use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Private;
use mpesa_callbacks_core::store::{Body, CallbackId, Claimed, Ending, Lease, Settled, Settlement, Sibling, State};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::text;
use crate::words::{digest, peer, span, state_number, time, verdict};

pub(super) async fn claim(pool: &PgPool, limit: usize, lease: Duration) -> sqlx::Result<Vec<Claimed>> {
    // The limit is in a materialized part: the planner might otherwise take more than it says.
    let rows = sqlx::query(
        "WITH due AS MATERIALIZED (
             SELECT id FROM mpesa_callbacks.callback WHERE state = 0 AND run_at <= mpesa_callbacks.now_us()
             ORDER BY run_at, id LIMIT $1 FOR UPDATE SKIP LOCKED)
         UPDATE mpesa_callbacks.callback AS c
         SET state = 1, fence = fence + 1, attempts = attempts + 1, run_at = NULL, lease_until = mpesa_callbacks.now_us() + $2
         FROM due JOIN mpesa_callbacks.body ON body.callback_id = due.id WHERE c.id = due.id
         RETURNING c.id, kind, key, verdict, received_at, peer, reference, attempts, interruptions, error, fence, body, meaning,
                   (SELECT array[s.id::text, s.kind, s.key] FROM mpesa_callbacks.callback AS s
                    WHERE s.receipt = c.receipt AND s.kind <> c.kind AND s.kind <> 'payment' AND s.verdict = 0
                    ORDER BY s.id LIMIT 1) AS sibling",
    )
    .bind(i64::try_from(limit).unwrap_or(i64::MAX))
    .bind(span(lease))
    .fetch_all(pool)
    .await?;
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
    let (ids, fences) = columns(in_order(leases.iter()).into_iter());
    let renewed: HashSet<(i64, i64)> = sqlx::query_as(
        "UPDATE mpesa_callbacks.callback AS c SET lease_until = mpesa_callbacks.now_us() + $3
         FROM unnest($1::bigint[], $2::bigint[]) AS held (id, fence)
         WHERE c.id = held.id AND c.fence = held.fence AND state = 1 RETURNING c.id, c.fence",
    )
    .bind(&ids)
    .bind(&fences)
    .bind(span(lease))
    .fetch_all(pool)
    .await?
    .into_iter()
    .collect();
    Ok(leases.iter().map(|lease| renewed.contains(&(lease.id.0, lease.fence))).collect())
}

/// In the order of ids, so that statements wait for one another in one direction.
fn in_order<'a>(leases: impl Iterator<Item = &'a Lease>) -> Vec<&'a Lease> {
    let mut leases: Vec<&Lease> = leases.collect();
    leases.sort_by_key(|lease| lease.id);
    leases
}

pub(super) async fn settle(pool: &PgPool, batch: &[Settlement]) -> sqlx::Result<Vec<Settled>> {
    let mut in_order: Vec<&Settlement> = batch.iter().collect();
    in_order.sort_by_key(|settlement| settlement.lease.id);
    let (ids, fences) = columns(in_order.iter().map(|settlement| &settlement.lease));
    let (mut states, mut delays, mut errors, mut uncounted) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for Settlement { ending, .. } in in_order {
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
    // Under its own fence only: whoever lost the lease changes nothing. Whoever did not hear that the end was written finds it.
    let settled: HashSet<(i64, i64)> = sqlx::query_as(
        "WITH ended AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::int[])
                  AS ended (id, fence, state, delay, error, uncounted)
         ), written AS (
             UPDATE mpesa_callbacks.callback AS c
             SET state = ended.state, run_at = mpesa_callbacks.now_us() + ended.delay, lease_until = NULL,
                 settled_at = CASE WHEN ended.state IN (2, 3) THEN mpesa_callbacks.now_us() END,
                 error = coalesce(ended.error, CASE WHEN ended.state = 2 THEN NULL ELSE c.error END),
                 attempts = attempts - ended.uncounted
             FROM ended WHERE c.id = ended.id AND c.fence = ended.fence AND c.state = 1 RETURNING c.id, c.fence
         )
         SELECT id, fence FROM written UNION ALL
         SELECT c.id, c.fence FROM mpesa_callbacks.callback AS c JOIN ended USING (id, fence)
         WHERE c.state = ended.state AND c.state >= 2",
    )
    .bind(&ids)
    .bind(&fences)
    .bind(&states)
    .bind(&delays)
    .bind(&errors)
    .bind(&uncounted)
    .fetch_all(pool)
    .await?
    .into_iter()
    .collect();
    let settled = |settlement: &Settlement| match settled.contains(&(settlement.lease.id.0, settlement.lease.fence)) {
        true => Settled::Written,
        false => Settled::LeaseLost,
    };
    Ok(batch.iter().map(settled).collect())
}

pub(super) async fn sweep(pool: &PgPool) -> sqlx::Result<u64> {
    let swept = sqlx::query(
        "UPDATE mpesa_callbacks.callback
         SET state = 0, run_at = mpesa_callbacks.now_us(), lease_until = NULL, interruptions = interruptions + 1
         WHERE id IN (SELECT id FROM mpesa_callbacks.callback WHERE state = 1 AND lease_until < mpesa_callbacks.now_us()
                      FOR UPDATE SKIP LOCKED)",
    );
    Ok(swept.execute(pool).await?.rows_affected())
}

pub(super) async fn reopen(connection: &mut PgConnection, id: CallbackId, from: State) -> sqlx::Result<bool> {
    let reopened = sqlx::query(
        "UPDATE mpesa_callbacks.callback
         SET state = 0, run_at = mpesa_callbacks.now_us(), attempts = 0, interruptions = 0, settled_at = NULL
         WHERE id = $1 AND state = $2 AND EXISTS (SELECT 1 FROM mpesa_callbacks.body WHERE callback_id = $1)",
    );
    let reopened = reopened.bind(id.0).bind(state_number(from)).execute(connection).await?;
    Ok(reopened.rows_affected() == 1)
}

pub(super) async fn dismiss(pool: &PgPool, id: CallbackId) -> sqlx::Result<bool> {
    let dismissed = sqlx::query(
        "UPDATE mpesa_callbacks.callback SET state = 2, settled_at = mpesa_callbacks.now_us() WHERE id = $1 AND state >= 3",
    );
    Ok(dismissed.bind(id.0).execute(pool).await?.rows_affected() == 1)
}
