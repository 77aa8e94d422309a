//! Renewing and settling leases.

use std::collections::HashSet;
use std::time::Duration;

use mpesa_callbacks_core::store::{
    ALONE_AFTER, CallbackId, Completion, Lease, SUSPECT_AFTER, SettleResult, Settlement,
};
use sqlx::postgres::{PgConnection, PgPool};

use super::schema::Schema;
use super::session::Session;
use super::text;
use mpesa_callbacks_core::store::columns::{span, state_number};

/// Ids and fencing tokens as columns.
fn columns<'a>(leases: impl Iterator<Item = &'a Lease>) -> (Vec<i64>, Vec<i64>) {
    leases.map(|lease| (lease.id.number(), lease.fence)).unzip()
}

pub(super) async fn renew(
    pool: &PgPool,
    schema: &Schema,
    leases: &[Lease],
    lease: Duration,
) -> sqlx::Result<Vec<bool>> {
    let (ids, fences) = columns(leases.iter());
    let mut tx = Session::begin(pool).await?;
    let renewed: HashSet<(i64, i64)> = sqlx::query_as(schema.sql(
        "WITH locked AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) ORDER BY callback_id FOR NO KEY UPDATE)
         UPDATE mpesa_callbacks.work AS w SET lease_until = mpesa_callbacks.now_us() + $3, wait = $3
         FROM unnest($1::bigint[], $2::bigint[]) AS held (id, fence)
         WHERE w.callback_id = ANY(ARRAY(SELECT callback_id FROM locked)) AND w.callback_id = held.id AND w.fence = held.fence
               AND w.state + 0 = 1
         RETURNING w.callback_id, w.fence",
    ))
    .bind(&ids)
    .bind(&fences)
    .bind(span(lease))
    .fetch_all(&mut *tx)
    .await?
    .into_iter()
    .collect();
    tx.commit().await?;
    Ok(leases.iter().map(|lease| renewed.contains(&(lease.id.number(), lease.fence))).collect())
}

/// Settlements as columns, for one statement with arrays.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    fences: Vec<i64>,
    states: Vec<i16>,
    delays: Vec<Option<i64>>,
    errors: Vec<Option<String>>,
    uncounted: Vec<i32>,
    acquitted: Vec<bool>,
}

impl Columns {
    fn add(&mut self, lease: Lease, completion: &Completion, counted: i32) {
        let (after, error, uncounted) = match completion {
            Completion::Retry { after, error } => (Some(span(*after)), Some(error), 0),
            Completion::Dead { error } | Completion::Held { error } => (None, Some(error), 0),
            Completion::Snoozed { after } => (Some(span(*after)), None, counted),
            // Done, or a completion that is newer than this version.
            _ => (None, None, 0),
        };
        self.ids.push(lease.id.number());
        self.fences.push(lease.fence);
        self.states.push(i16::try_from(state_number(completion.state())).unwrap_or(i16::MAX));
        self.delays.push(after);
        self.errors.push(error.map(|error| text(error.as_str()).into_owned()));
        self.uncounted.push(uncounted);
        // A callback that was retried does not end processes.
        self.acquitted.push(matches!(completion, Completion::Retry { .. }));
    }
}

pub(super) async fn settle(pool: &PgPool, schema: &Schema, batch: &[Settlement]) -> sqlx::Result<Vec<SettleResult>> {
    let mut tx = Session::begin(pool).await?;
    let lost = lost(&mut tx, schema, batch).await?;
    let mut columns = Columns::default();
    for Settlement { lease, completion, .. } in batch.iter().filter(|settlement| !lost.contains(&settlement.lease.id)) {
        columns.add(*lease, completion, 1);
    }
    let settled = write(&mut tx, schema, &columns).await?;
    let is_settled =
        |settlement: &Settlement| settled.contains(&(settlement.lease.id.number(), settlement.lease.fence));
    let mut with = Columns::default();
    for Settlement { completion, payment, .. } in batch.iter().filter(|settlement| is_settled(settlement)) {
        // Its attempts are not counted.
        match (payment, completion) {
            (Some(payment), Completion::Done) => with.add(*payment, &Completion::Done, 0),
            (Some(payment), _) => with.add(*payment, &Completion::Snoozed { after: Duration::ZERO }, 0),
            (None, _) => {}
        }
    }
    if !with.ids.is_empty() {
        write(&mut tx, schema, &with).await?;
    }
    tx.commit().await?;
    let settled = |settlement: &Settlement| match is_settled(settlement) {
        true => SettleResult::Written,
        false => SettleResult::LeaseLost,
    };
    Ok(batch.iter().map(settled).collect())
}

/// Returns callbacks that are still leased while their payment is not: both or neither are settled.
async fn lost(
    connection: &mut PgConnection,
    schema: &Schema,
    batch: &[Settlement],
) -> sqlx::Result<HashSet<CallbackId>> {
    let pairs: Vec<(Lease, Lease)> = batch.iter().filter_map(|one| Some((one.lease, one.payment?))).collect();
    if pairs.is_empty() {
        return Ok(HashSet::new());
    }
    // Everything that is written afterwards, in the order of ids.
    let payments = batch.iter().filter_map(|one| one.payment);
    let ids: Vec<i64> = batch.iter().map(|one| one.lease).chain(payments).map(|lease| lease.id.number()).collect();
    let running: HashSet<(i64, i64)> = sqlx::query_as(schema.sql(
        "WITH locked AS MATERIALIZED (
             SELECT callback_id, fence, state FROM mpesa_callbacks.work WHERE callback_id = ANY($1)
             ORDER BY callback_id FOR NO KEY UPDATE
         )
         SELECT callback_id, fence FROM locked WHERE state = 1",
    ))
    .bind(&ids)
    .fetch_all(connection)
    .await?
    .into_iter()
    .collect();
    let is_held = |lease: &Lease| running.contains(&(lease.id.number(), lease.fence));
    let lost = pairs.iter().filter(|(callback, payment)| is_held(callback) && !is_held(payment));
    Ok(lost.map(|(callback, _)| callback.id).collect())
}

/// Writes settlements. Returns those that are written now, or were before.
async fn write(connection: &mut PgConnection, schema: &Schema, columns: &Columns) -> sqlx::Result<HashSet<(i64, i64)>> {
    // Locked in the order of ids, like everything that locks several of these rows, against deadlocks.
    // `+ 0` keeps the planner from the index of running rows, which is full of dead entries: rows are
    // looked up by id, here and in `renew`.
    // Under the fencing token only. A repeated settlement finds that it was written.
    let settled = sqlx::query_as(schema.sql(
        "WITH ended AS (
             SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::int[], $7::bool[])
                  AS ended (id, fence, state, delay, error, uncounted, acquitted)
         ), locked AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) ORDER BY callback_id FOR NO KEY UPDATE
         ), written AS (
             UPDATE mpesa_callbacks.work AS w
             SET state = ended.state, run_at = mpesa_callbacks.now_us() + ended.delay, wait = coalesce(ended.delay, 0), lease_until = NULL,
                 settled_at = CASE WHEN ended.state IN (2, 3) THEN mpesa_callbacks.now_us() END,
                 error = coalesce(ended.error, CASE WHEN ended.state = 2 THEN NULL ELSE w.error END),
                 attempts = attempts - ended.uncounted,
                 interruptions = CASE WHEN ended.acquitted THEN 0 ELSE interruptions END,
                 interruptions_alone = CASE WHEN ended.acquitted THEN 0 ELSE interruptions_alone END,
                 lane = CASE WHEN ended.acquitted OR interruptions < $8 THEN 0 WHEN interruptions < $9 AND interruptions_alone = 0 THEN 1
                        ELSE 2 END
             FROM ended
             WHERE w.callback_id = ANY(ARRAY(SELECT callback_id FROM locked)) AND w.callback_id = ended.id AND w.fence = ended.fence
                   AND w.state + 0 = 1
             RETURNING w.callback_id, w.fence
         )
         SELECT callback_id, fence FROM written UNION ALL
         SELECT w.callback_id, w.fence FROM mpesa_callbacks.work AS w JOIN ended ON ended.id = w.callback_id AND ended.fence = w.fence
         WHERE w.callback_id = ANY($1) AND w.state = ended.state AND w.state + 0 >= 2",
    ));
    let threshold = |number: u32| i32::try_from(number).unwrap_or(i32::MAX);
    let settled = settled
        .bind(&columns.ids)
        .bind(&columns.fences)
        .bind(&columns.states)
        .bind(&columns.delays)
        .bind(&columns.errors)
        .bind(&columns.uncounted)
        .bind(&columns.acquitted)
        .bind(threshold(SUSPECT_AFTER))
        .bind(threshold(ALONE_AFTER));
    Ok(settled.fetch_all(connection).await?.into_iter().collect())
}
