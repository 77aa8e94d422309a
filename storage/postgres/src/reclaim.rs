//! Reclaims expired leases, by the server's clock.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mpesa_callbacks_core::store::{Interruption, Lane, is_ahead};
use sqlx::postgres::{PgConnection, PgPool};

use super::schema::Schema;
use super::session::Session;
use mpesa_callbacks_core::store::columns::{lane, lane_number, span};

/// The last known time of the server's clock.
#[derive(Debug)]
pub(super) struct ServerClock(AtomicI64);

impl ServerClock {
    /// Its earlier time is unknown.
    pub(super) fn new() -> ServerClock {
        ServerClock(AtomicI64::new(i64::MAX))
    }

    /// Returns whether it was set back since then, or its earlier time is unknown.
    fn was_ahead(&self, now: i64) -> bool {
        self.0.load(Ordering::Relaxed) > now
    }

    /// Stores its time, after the rescheduling was committed.
    fn saw(&self, now: i64) {
        self.0.store(now, Ordering::Relaxed);
    }
}

/// An expired lease: id, lane, and earlier interruptions in all and alone.
type Expired = (i64, i16, i32, i32);

pub(super) async fn reclaim_expired(pool: &PgPool, schema: &Schema, clock: &ServerClock) -> sqlx::Result<u64> {
    let mut tx = Session::begin(pool).await?;
    let now = sqlx::query_scalar(schema.sql("SELECT mpesa_callbacks.now_us()")).fetch_one(&mut *tx).await?;
    if clock.was_ahead(now) {
        put_off_anew(&mut tx, schema).await?;
    }
    let expired: Vec<Expired> = sqlx::query_as(schema.sql(
        "SELECT callback_id, lane, interruptions, interruptions_alone FROM mpesa_callbacks.work
         WHERE state = 1 AND lease_until < mpesa_callbacks.now_us() ORDER BY callback_id FOR UPDATE SKIP LOCKED",
    ))
    .fetch_all(&mut *tx)
    .await?;
    let interrupted = |(_, ran_in, interruptions, alone): &Expired| {
        let ran_in = lane(i64::from(*ran_in));
        (ran_in, Interruption::of(ran_in, interruptions.unsigned_abs(), alone.unsigned_abs()))
    };
    let ids: Vec<i64> = expired.iter().map(|(id, ..)| *id).collect();
    let all: Vec<(Lane, Interruption)> = expired.iter().map(interrupted).collect();
    let waits: Vec<i64> = all.iter().map(|(_, interruption)| span(interruption.after)).collect();
    let lanes: Vec<i16> =
        all.iter().map(|(_, interruption)| i16::try_from(lane_number(interruption.lane)).unwrap_or_default()).collect();
    let alone: Vec<i32> = all.iter().map(|(ran_in, _)| i32::from(*ran_in == Lane::Alone)).collect();
    let uncounted: Vec<i32> = all.iter().map(|(_, interruption)| i32::from(!interruption.is_counted)).collect();
    if !ids.is_empty() {
        sqlx::query(schema.sql(
            "UPDATE mpesa_callbacks.work AS w
             SET state = 0, run_at = mpesa_callbacks.now_us() + reclaimed.wait, wait = reclaimed.wait, lane = reclaimed.lane, lease_until = NULL,
                 interruptions = interruptions + 1, interruptions_alone = interruptions_alone + reclaimed.alone,
                 attempts = greatest(attempts - reclaimed.uncounted, 0)
             FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::int[], $5::int[]) AS reclaimed (id, wait, lane, alone, uncounted)
             WHERE w.callback_id = reclaimed.id AND w.callback_id = ANY($1)",
        ))
        .bind(&ids)
        .bind(&waits)
        .bind(&lanes)
        .bind(&alone)
        .bind(&uncounted)
        .execute(&mut *tx)
        .await?;
    }
    tx.commit().await?;
    clock.saw(now);
    Ok(ids.len() as u64)
}

/// Reschedules rows that a clock which was ahead had scheduled or leased.
async fn put_off_anew(connection: &mut PgConnection, schema: &Schema) -> sqlx::Result<()> {
    let late: Vec<(i64, i64, i64)> = sqlx::query_as(schema.sql(
        "SELECT callback_id, run_at - mpesa_callbacks.now_us(), wait FROM mpesa_callbacks.work
         WHERE state = 0 AND run_at - wait > mpesa_callbacks.now_us() UNION ALL
         SELECT callback_id, lease_until - mpesa_callbacks.now_us(), wait FROM mpesa_callbacks.work
         WHERE state = 1 AND lease_until - wait > mpesa_callbacks.now_us()",
    ))
    .fetch_all(&mut *connection)
    .await?;
    let duration = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    let ahead: Vec<i64> = late
        .iter()
        .filter(|(_, until, wait)| is_ahead(duration(*until), duration(*wait)))
        .map(|(id, ..)| *id)
        .collect();
    if ahead.is_empty() {
        return Ok(());
    }
    tracing::warn!(callbacks = ahead.len(), "the server's clock was ahead; due times are corrected");
    sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work SET run_at = CASE WHEN state = 0 THEN mpesa_callbacks.now_us() + wait END,
                lease_until = CASE WHEN state = 1 THEN mpesa_callbacks.now_us() + wait END
         WHERE callback_id = ANY($1) AND state IN (0, 1)",
    ))
    .bind(&ahead)
    .execute(connection)
    .await?;
    Ok(())
}
