//! Claiming, renewing, settling, sweeping; and what people decide. Times are the server's.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Private;
use mpesa_callbacks_core::store::{
    ALONE_AFTER, Body, CallbackId, Claim, Claimed, Ending, Interruption, Lane, Lease, Reopening, SUSPECT_AFTER,
    Settled, Settlement, Sibling, is_ahead,
};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool, PgRow};

use super::record::Place;
use super::schema::Schema;
use super::{begin, text};
use crate::words::{digest, hidden_receipt, lane, lane_number, peer, span, state_number, time, verdict};

/// The payments of callbacks, as a claimant that does not handle payments takes them.
#[derive(Default)]
struct Payments {
    /// By callback: the payment that is claimed with it.
    with: HashMap<i64, i64>,
    /// Callbacks that are left to others.
    theirs: HashSet<i64>,
}

pub(super) async fn claim(pool: &PgPool, place: Place<'_>, claim: &Claim<'_>) -> sqlx::Result<Vec<Claimed>> {
    let schema = place.schema;
    let mut tx = begin(pool).await?;
    let mut due = due(&mut tx, schema, claim).await?;
    if due.is_empty() {
        tx.commit().await?;
        return Ok(Vec::new());
    }
    let mut payments = Payments::default();
    if !claim.handles_payments {
        payments = payments_of(&mut tx, schema, &due).await?;
        due.retain(|id| !payments.theirs.contains(id));
    }
    let taken: Vec<i64> = payments.with.values().copied().collect();
    let mut leases = HashMap::new();
    if !taken.is_empty() {
        let rows = take(&mut tx, schema, claim, &taken, 0).await?;
        for row in &rows {
            let id = CallbackId(row.try_get("id")?);
            leases.insert(id.0, Lease { id, fence: row.try_get("fence")? });
        }
    }
    let rows = take(&mut tx, schema, claim, &due, 1).await?;
    let mut claimed = rows.iter().map(one).collect::<sqlx::Result<Vec<(Claimed, Option<String>)>>>()?;
    // A statement of its own: it must see what was recorded while the others waited for a lock.
    let receipts: HashSet<String> = claimed.iter().filter_map(|(_, receipt)| receipt.clone()).collect();
    let siblings = siblings(&mut tx, place, receipts).await?;
    tx.commit().await?;
    for (one, receipt) in &mut claimed {
        let told = receipt.as_ref().and_then(|receipt| siblings.get(receipt)).into_iter().flatten();
        one.siblings = told.filter(|sibling| sibling.kind != one.kind).cloned().collect();
        one.payment = payments.with.get(&one.lease.id.0).and_then(|payment| leases.get(payment)).copied();
    }
    // `RETURNING` has no order.
    claimed.sort_by_key(|(one, _)| one.lease.id);
    Ok(claimed.into_iter().map(|(one, _)| one).collect())
}

/// The ids of what is due, the first ones of all kinds that are asked for, locked. One kind after the other, each from its own part
/// of the index: however much waits that nobody asks for.
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
                            WHERE c.id = w.callback_id AND (pw.state = 1 OR pw.state >= 2 AND pw.attempts > 0)))
                  ORDER BY w.run_at, w.callback_id LIMIT $3 FOR UPDATE SKIP LOCKED) AS of_kind
         ORDER BY run_at, callback_id LIMIT $3",
    ))
    .bind(&kinds)
    .bind(&lanes)
    .bind(i64::try_from(claim.limit).unwrap_or(i64::MAX))
    // Those whose payments others have are left to them, however many there are.
    .bind(claim.handles_payments)
    .fetch_all(connection)
    .await
}

async fn payments_of(connection: &mut PgConnection, schema: &Schema, due: &[i64]) -> sqlx::Result<Payments> {
    let mut payments = Payments::default();
    let rows: Vec<(i64, i64)> = sqlx::query_as(schema.sql(
        "SELECT c.id, p.id FROM mpesa_callbacks.callback AS c
              JOIN mpesa_callbacks.callback AS p ON p.key = c.receipt AND p.kind = 'payment' AND p.verdict = 0
         WHERE c.id = ANY($1) AND c.kind NOT IN ('payment', 'payment_completed') ORDER BY p.id, c.id",
    ))
    .bind(due)
    .fetch_all(&mut *connection)
    .await?;
    if rows.is_empty() {
        return Ok(payments);
    }
    let ids: Vec<i64> = rows.iter().map(|(_, payment)| *payment).collect();
    // What somebody else has locked is in their hands, or soon will be.
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
    for (callback, payment) in rows {
        match states.get(&payment) {
            Some((0, _)) if used.insert(payment) => {
                payments.with.insert(callback, payment);
            }
            // Settled with another callback.
            Some((2.., 0)) => {}
            _ => {
                payments.theirs.insert(callback);
            }
        }
    }
    Ok(payments)
}

/// Takes these, which are locked. A payment that is taken with a callback has no attempt: it is told to nobody, whoever tried before.
async fn take(
    connection: &mut PgConnection,
    schema: &Schema,
    claim: &Claim<'_>,
    ids: &[i64],
    attempts: i32,
) -> sqlx::Result<Vec<PgRow>> {
    // Ids are asked for as a list, here and below: whatever the planner thinks of the tables, it looks up these and no others.
    sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work AS w
         SET state = 1, fence = fence + 1, attempts = CASE $2 WHEN 0 THEN 0 ELSE attempts + $2 END, run_at = NULL, lease_until = mpesa_callbacks.now_us() + $3,
             wait = $3, lane = $4
         FROM mpesa_callbacks.callback AS c JOIN mpesa_callbacks.body AS b ON b.callback_id = c.id
         WHERE w.callback_id = ANY($1) AND c.id = ANY($1) AND b.callback_id = ANY($1) AND w.callback_id = c.id
         RETURNING c.id, c.kind, c.key, verdict, received_at, peer, reference, receipt, earlier, attempts, interruptions,
                   interruptions_alone, repetition, error, fence, body, meaning",
    ))
    .bind(ids)
    .bind(attempts)
    .bind(span(claim.lease))
    .bind(i16::try_from(lane_number(claim.lane)).unwrap_or_default())
    .fetch_all(connection)
    .await
}

fn one(row: &PgRow) -> sqlx::Result<(Claimed, Option<String>)> {
    let lease = Lease { id: CallbackId(row.try_get("id")?), fence: row.try_get("fence")? };
    let kind = Kind::from_name(row.try_get("kind")?);
    let body = Body::from(row.try_get::<Vec<u8>, _>("body")?);
    let key = row.try_get::<String, _>("key")?.into();
    let number = |name: &str| Ok::<u32, sqlx::Error>(row.try_get::<i32, _>(name)?.unsigned_abs());
    let mut one = Claimed::new(lease, kind, key, body, time(row.try_get("received_at")?));
    one.verdict = verdict(row.try_get::<i16, _>("verdict")?.into());
    one.peer = peer(row.try_get("peer")?);
    one.reference = row.try_get::<Option<String>, _>("reference")?.map(Private::from);
    one.meaning = digest(row.try_get("meaning")?);
    one.attempt = number("attempts")?;
    one.interruptions = number("interruptions")?;
    one.interruptions_alone = number("interruptions_alone")?;
    one.repetition = number("repetition")?;
    one.earlier = row.try_get::<Option<i64>, _>("earlier")?.map(CallbackId);
    one.last_error = row.try_get::<Option<String>, _>("error")?.map(Private::from);
    Ok((one, row.try_get("receipt")?))
}

/// The callbacks that told of these receipts, oldest first.
async fn siblings(
    connection: &mut PgConnection,
    place: Place<'_>,
    receipts: HashSet<String>,
) -> sqlx::Result<HashMap<String, Vec<Sibling>>> {
    let mut siblings = HashMap::<String, Vec<Sibling>>::new();
    if receipts.is_empty() {
        return Ok(siblings);
    }
    let mut names: HashMap<String, String> = HashMap::with_capacity(receipts.len() * 2);
    for receipt in receipts {
        names.insert(hidden_receipt(place.hmac_key, &receipt), receipt.clone());
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
        let sibling = Sibling::new(CallbackId(id), Kind::from_name(&kind), key.into(), reference.map(Private::from));
        siblings.entry(receipt.clone()).or_default().push(sibling);
    }
    Ok(siblings)
}

/// Ids and fences, for a statement about many leases.
fn columns<'a>(leases: impl Iterator<Item = &'a Lease>) -> (Vec<i64>, Vec<i64>) {
    leases.map(|lease| (lease.id.0, lease.fence)).unzip()
}

pub(super) async fn renew(
    pool: &PgPool,
    schema: &Schema,
    leases: &[Lease],
    lease: Duration,
) -> sqlx::Result<Vec<bool>> {
    let (ids, fences) = columns(leases.iter());
    let mut tx = begin(pool).await?;
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
    Ok(leases.iter().map(|lease| renewed.contains(&(lease.id.0, lease.fence))).collect())
}

/// Settlements as columns.
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
    fn add(&mut self, lease: Lease, ending: &Ending, counted: i32) {
        let (after, error, uncounted) = match ending {
            Ending::Retry { after, error } => (Some(span(*after)), Some(error), 0),
            Ending::Dead { error } | Ending::Held { error } => (None, Some(error), 0),
            Ending::Released { after } => (Some(span(*after)), None, counted),
            // Done; and an ending that this version does not know of, which needs nothing else.
            _ => (None, None, 0),
        };
        self.ids.push(lease.id.0);
        self.fences.push(lease.fence);
        self.states.push(i16::try_from(state_number(ending.state())).unwrap_or(i16::MAX));
        self.delays.push(after);
        self.errors.push(error.map(|error| text(error.as_str()).into_owned()));
        self.uncounted.push(uncounted);
        // What came to an end ends no process.
        self.acquitted.push(matches!(ending, Ending::Retry { .. }));
    }
}

pub(super) async fn settle(pool: &PgPool, schema: &Schema, batch: &[Settlement]) -> sqlx::Result<Vec<Settled>> {
    let mut tx = begin(pool).await?;
    let lost = lost(&mut tx, schema, batch).await?;
    let mut columns = Columns::default();
    for Settlement { lease, ending, .. } in batch.iter().filter(|settlement| !lost.contains(&settlement.lease.id)) {
        columns.add(*lease, ending, 1);
    }
    let settled = write(&mut tx, schema, &columns).await?;
    let is_settled = |settlement: &Settlement| settled.contains(&(settlement.lease.id.0, settlement.lease.fence));
    let mut with = Columns::default();
    for Settlement { ending, payment, .. } in batch.iter().filter(|settlement| is_settled(settlement)) {
        // Its attempts were not counted, so there is none to give back.
        match (payment, ending) {
            (Some(payment), Ending::Done) => with.add(*payment, &Ending::Done, 0),
            (Some(payment), _) => with.add(*payment, &Ending::Released { after: Duration::ZERO }, 0),
            (None, _) => {}
        }
    }
    if !with.ids.is_empty() {
        write(&mut tx, schema, &with).await?;
    }
    tx.commit().await?;
    let settled = |settlement: &Settlement| match is_settled(settlement) {
        true => Settled::Written,
        false => Settled::LeaseLost,
    };
    Ok(batch.iter().map(settled).collect())
}

/// Callbacks that are still leased, and whose payments are not: it is both or neither.
async fn lost(
    connection: &mut PgConnection,
    schema: &Schema,
    batch: &[Settlement],
) -> sqlx::Result<HashSet<CallbackId>> {
    let pairs: Vec<(Lease, Lease)> = batch.iter().filter_map(|one| Some((one.lease, one.payment?))).collect();
    if pairs.is_empty() {
        return Ok(HashSet::new());
    }
    // All that is written afterwards, in the order of ids.
    let payments = batch.iter().filter_map(|one| one.payment);
    let ids: Vec<i64> = batch.iter().map(|one| one.lease).chain(payments).map(|lease| lease.id.0).collect();
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
    let is_held = |lease: &Lease| running.contains(&(lease.id.0, lease.fence));
    let lost = pairs.iter().filter(|(callback, payment)| is_held(callback) && !is_held(payment));
    Ok(lost.map(|(callback, _)| callback.id).collect())
}

/// Writes settlements; those that are written now, or were before.
async fn write(connection: &mut PgConnection, schema: &Schema, columns: &Columns) -> sqlx::Result<HashSet<(i64, i64)>> {
    // Locked in the order of ids, as all that locks several of these rows does, so that nobody waits in a circle.
    // `+ 0` keeps the planner from the index of what runs, which is small, and full of what ran a moment ago: rows are looked up by
    // their ids, here and in `renew`.
    // Under its own fence only: whoever lost the lease changes nothing. Whoever did not hear that the end was written finds it.
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

/// The server's clock, as it was seen last.
#[derive(Debug)]
pub(super) struct ServerClock(AtomicI64);

impl ServerClock {
    /// Nothing is known of what it showed before.
    pub(super) fn new() -> ServerClock {
        ServerClock(AtomicI64::new(i64::MAX))
    }

    /// Whether it has been set back since it was seen last, or nobody knows.
    fn was_ahead(&self, now: i64) -> bool {
        self.0.swap(now, Ordering::Relaxed) > now
    }
}

/// An expired lease: the callback's id, in which lane it ran, and how often it was interrupted before, in all and alone.
type Expired = (i64, i16, i32, i32);

pub(super) async fn sweep(pool: &PgPool, schema: &Schema, clock: &ServerClock) -> sqlx::Result<u64> {
    let mut tx = begin(pool).await?;
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
             SET state = 0, run_at = mpesa_callbacks.now_us() + swept.wait, wait = swept.wait, lane = swept.lane, lease_until = NULL,
                 interruptions = interruptions + 1, interruptions_alone = interruptions_alone + swept.alone,
                 attempts = greatest(attempts - swept.uncounted, 0)
             FROM unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::int[], $5::int[]) AS swept (id, wait, lane, alone, uncounted)
             WHERE w.callback_id = swept.id AND w.callback_id = ANY($1)",
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
    Ok(ids.len() as u64)
}

/// Puts off from now what a clock that was ahead has put off, or leased, at a time that is still to come.
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
    tracing::warn!(callbacks = ahead.len(), "the server's clock was ahead; what it had put off is put off from now");
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

pub(super) async fn reopen(
    connection: &mut PgConnection,
    schema: &Schema,
    id: CallbackId,
    reopening: &Reopening<'_>,
) -> sqlx::Result<bool> {
    let reopened = sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work
         SET state = 0, run_at = mpesa_callbacks.now_us(), wait = 0, attempts = 0, interruptions = 0, interruptions_alone = 0, lane = 0,
             settled_at = NULL, repetition = repetition + CASE WHEN state = 2 THEN 1 ELSE 0 END, error = coalesce($3, error)
         WHERE callback_id = $1 AND state = $2 AND EXISTS (SELECT 1 FROM mpesa_callbacks.body WHERE callback_id = $1)",
    ));
    let state = i16::try_from(state_number(reopening.from)).unwrap_or(i16::MAX);
    let reopened = reopened.bind(id.0).bind(state).bind(reopening.reason.map(text)).execute(connection).await?;
    Ok(reopened.rows_affected() == 1)
}

pub(super) async fn dismiss(pool: &PgPool, schema: &Schema, id: CallbackId) -> sqlx::Result<bool> {
    let dismissed = sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work SET state = 2, settled_at = mpesa_callbacks.now_us() WHERE callback_id = $1 AND state >= 3",
    ));
    Ok(dismissed.bind(id.0).execute(pool).await?.rows_affected() == 1)
}
