//! Claims, leases and settlements.

use std::time::Duration;

use mpesa_callbacks::payload::Sensitive;
use mpesa_callbacks::store::{
    ALONE_AFTER, Body, CallbackId, Claim, Claimed, Completion, Interruption, Lane, Lease, SUSPECT_AFTER, is_ahead,
};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection};

use super::columns::{entry, later};
use super::recording;
use mpesa_callbacks::store::columns::{lane, lane_number, micros};

/// Claims the first due callbacks of the kinds.
pub(crate) async fn claim(
    connection: &mut SqliteConnection,
    claim: &Claim<'_>,
    secret: &[u8; 32],
    now: i64,
) -> sqlx::Result<Vec<Claimed>> {
    let mut query =
        QueryBuilder::<Sqlite>::new("SELECT event_no FROM partner_event WHERE stage = 'ready' AND due_us <= ");
    query.push_bind(now).push(" AND lane IN (");
    let mut lanes = query.separated(", ");
    for lane in claim.lane.takes_from() {
        lanes.push_bind(lane_number(*lane));
    }
    query.push(") AND topic IN (");
    let mut topics = query.separated(", ");
    for kind in claim.kinds {
        topics.push_bind(kind.name());
    }
    query.push(")");
    if !claim.handles_payments {
        // Without callbacks whose payment belongs to a process that handles payments.
        query.push(
            " AND (topic IN ('payment', 'payment_completed') OR NOT EXISTS (
                  SELECT 1 FROM partner_event AS p WHERE p.topic = 'payment' AND p.external_id = partner_event.receipt
                         AND p.judged = 'first' AND (p.stage = 'running' OR p.stage <> 'ready' AND p.tries > 0
                              AND partner_event.handled_again = 0 AND partner_event.due_us >= ",
        );
        query.push_bind(micros(claim.left_since)).push(")))");
    }
    query.push(" ORDER BY due_us, event_no LIMIT ").push_bind(i64::try_from(claim.limit).unwrap_or(i64::MAX));
    let due: Vec<i64> = query.build_query_scalar().fetch_all(&mut *connection).await?;
    let mut claimed = Vec::with_capacity(due.len());
    for id in due {
        let payment = match claim.handles_payments {
            true => Payment::None,
            false => payment_of(&mut *connection, id, micros(claim.left_since)).await?,
        };
        let payment = match payment {
            Payment::Theirs => continue,
            Payment::With(payment) => Some(take(&mut *connection, payment, claim, now, 0).await?),
            Payment::None => None,
        };
        let lease = take(&mut *connection, id, claim, now, 1).await?;
        let mut one = claimed_row(&mut *connection, lease, secret).await?;
        one.payment = payment;
        claimed.push(one);
    }
    Ok(claimed)
}

/// The payment of a callback, for a process that does not handle payments.
enum Payment {
    /// There is none, or it was settled with another callback.
    None,
    /// It is claimed with the callback.
    With(i64),
    /// The callback is left to other processes.
    Theirs,
}

async fn payment_of(connection: &mut SqliteConnection, id: i64, left_since: i64) -> sqlx::Result<Payment> {
    let payment: Option<(i64, String, bool)> = sqlx::query_as(
        "SELECT p.event_no, p.stage, p.tries > 0 AND c.handled_again = 0 AND c.due_us >= ?2
         FROM partner_event AS c JOIN partner_event AS p ON p.topic = 'payment' AND p.external_id = c.receipt
         WHERE c.event_no = ?1 AND c.topic NOT IN ('payment', 'payment_completed')
               AND p.judged = 'first'",
    )
    .bind(id)
    .bind(left_since)
    .fetch_optional(connection)
    .await?;
    Ok(match payment {
        Some((payment, stage, _)) if stage == "ready" => Payment::With(payment),
        Some((_, stage, is_left)) if is_left || stage == "running" => Payment::Theirs,
        _ => Payment::None,
    })
}

/// Leases one callback. A payment that is claimed with its callback has no attempts, because no
/// handler sees it.
async fn take(
    connection: &mut SqliteConnection,
    id: i64,
    claim: &Claim<'_>,
    now: i64,
    tries: i64,
) -> sqlx::Result<Lease> {
    let fence = sqlx::query_scalar(
        "UPDATE partner_event SET stage = 'running', lease_no = lease_no + 1, tries = CASE ?2 WHEN 0 THEN 0 ELSE tries + ?2 END, lease_until = ?3, due_us = NULL,
                wait_us = ?4, lane = ?5, told_no = CASE WHEN told_no = 0 AND ?2 > 0 THEN lease_no + 1 ELSE told_no END
         WHERE event_no = ?1 RETURNING lease_no",
    )
    .bind(id)
    .bind(tries)
    .bind(later(now, claim.lease))
    .bind(later(0, claim.lease))
    .bind(lane_number(claim.lane))
    .fetch_one(connection)
    .await?;
    Ok(Lease { id: CallbackId::from_stored(id), fence })
}

async fn claimed_row(connection: &mut SqliteConnection, lease: Lease, secret: &[u8; 32]) -> sqlx::Result<Claimed> {
    let row = sqlx::query("SELECT * FROM partner_event WHERE event_no = ?");
    let row = row.bind(lease.id.number()).fetch_one(&mut *connection).await?;
    let entry = entry(&row)?;
    let body: Vec<u8> = row.try_get("payload")?;
    let mut one = Claimed::new(lease, entry.kind, entry.key, Body::from(body), entry.received_at);
    one.verdict = entry.verdict;
    one.client_ip = entry.client_ip;
    one.content_digest = entry.content_digest;
    one.reference = entry.reference;
    one.attempt = entry.attempts;
    one.interruptions = row.try_get("broken_off")?;
    one.interruptions_alone = row.try_get("broken_alone")?;
    one.repetition = row.try_get("handled_again")?;
    one.was_told = (1..lease.fence).contains(&row.try_get::<i64, _>("told_no")?);
    one.earlier = entry.earlier;
    one.last_error = entry.error;
    if let Some(receipt) = entry.receipt {
        one.related = recording::related(connection, &receipt, &one.kind, secret).await?;
    }
    Ok(one)
}

/// Whether it runs under this lease.
pub(crate) async fn is_held(connection: &mut SqliteConnection, lease: Lease) -> sqlx::Result<bool> {
    let held = "SELECT EXISTS (SELECT 1 FROM partner_event WHERE event_no = ? AND lease_no = ? AND stage = 'running')";
    sqlx::query_scalar(held).bind(lease.id.number()).bind(lease.fence).fetch_one(connection).await
}

/// Writes a settlement under its fencing token only. Returns whether it is written now, or was before.
pub(crate) async fn settle(
    connection: &mut SqliteConnection,
    lease: Lease,
    completion: &Completion,
    counted: i64,
    now: i64,
) -> sqlx::Result<bool> {
    let stage = completion.state().name();
    let (after, finished, trouble, uncounted) = match completion {
        Completion::Done => (None, Some(now), None, 0),
        Completion::Retry { after, error } => (Some(*after), None, Some(error), 0),
        Completion::Dead { error } => (None, Some(now), Some(error), 0),
        Completion::Snoozed { after } => (Some(*after), None, None, counted),
        Completion::Held { error } => (None, None, Some(error), 0),
        // A completion that is newer than this store needs nothing else.
        _ => (None, None, None, 0),
    };
    let changed = sqlx::query(
        "UPDATE partner_event SET stage = ?3, due_us = ?4, finished_us = ?5, tries = tries - ?7, wait_us = ?8, lease_until = NULL,
                trouble = coalesce(?6, CASE WHEN ?3 = 'done' THEN NULL ELSE trouble END),
                broken_off = CASE WHEN ?9 THEN 0 ELSE broken_off END, broken_alone = CASE WHEN ?9 THEN 0 ELSE broken_alone END,
                lane = CASE WHEN ?9 OR broken_off < ?10 THEN 0 WHEN broken_off < ?11 AND broken_alone = 0 THEN 1 ELSE 2 END
         WHERE event_no = ?1 AND lease_no = ?2 AND stage = 'running'",
    )
    .bind(lease.id.number())
    .bind(lease.fence)
    .bind(stage)
    .bind(after.map(|after| later(now, after)))
    .bind(finished)
    .bind(trouble.map(Sensitive::as_str))
    .bind(uncounted)
    .bind(later(0, after.unwrap_or_default()))
    // A callback that was retried does not end processes.
    .bind(matches!(completion, Completion::Retry { .. }))
    .bind(SUSPECT_AFTER)
    .bind(ALONE_AFTER)
    .execute(&mut *connection)
    .await?;
    if changed.rows_affected() == 1 {
        return Ok(true);
    }
    // A repeated settlement finds that it was written.
    let repeats = "SELECT EXISTS (SELECT 1 FROM partner_event
                                  WHERE event_no = ? AND lease_no = ? AND stage = ? AND stage NOT IN ('ready', 'running'))";
    sqlx::query_scalar(repeats).bind(lease.id.number()).bind(lease.fence).bind(stage).fetch_one(connection).await
}

/// Makes callbacks with expired leases ready again. Returns their number.
pub(crate) async fn sweep(connection: &mut SqliteConnection, now: i64) -> sqlx::Result<u64> {
    put_off_anew(&mut *connection, now).await?;
    let expired: Vec<(i64, i64, u32, u32)> = sqlx::query_as(
        "SELECT event_no, lane, broken_off, broken_alone FROM partner_event WHERE stage = 'running' AND lease_until < ?",
    )
    .bind(now)
    .fetch_all(&mut *connection)
    .await?;
    for (id, ran_in, broken_off, broken_alone) in &expired {
        let ran_in = lane(*ran_in);
        let Interruption { is_counted, lane, after, .. } = Interruption::of(ran_in, *broken_off, *broken_alone);
        sqlx::query(
            "UPDATE partner_event SET stage = 'ready', due_us = ?2, wait_us = ?3, lane = ?4, lease_until = NULL,
                    broken_off = broken_off + 1, broken_alone = broken_alone + ?5, tries = max(tries - ?6, 0)
             WHERE event_no = ?1",
        )
        .bind(id)
        .bind(later(now, after))
        .bind(later(0, after))
        .bind(lane_number(lane))
        .bind(ran_in == Lane::Alone)
        .bind(!is_counted)
        .execute(&mut *connection)
        .await?;
    }
    Ok(expired.len() as u64)
}

/// Reschedules rows that a clock which was ahead had scheduled or leased.
async fn put_off_anew(connection: &mut SqliteConnection, now: i64) -> sqlx::Result<()> {
    let late: Vec<(i64, i64, i64)> = sqlx::query_as(
        "SELECT event_no, coalesce(due_us, lease_until) - ?1, wait_us FROM partner_event
         WHERE stage IN ('ready', 'running') AND coalesce(due_us, lease_until) - wait_us > ?1",
    )
    .bind(now)
    .fetch_all(&mut *connection)
    .await?;
    let duration = |micros: i64| Duration::from_micros(micros.unsigned_abs());
    for (id, until, wait) in late {
        if is_ahead(duration(until), duration(wait)) {
            sqlx::query(
                "UPDATE partner_event SET due_us = CASE WHEN due_us IS NOT NULL THEN ?2 END,
                        lease_until = CASE WHEN lease_until IS NOT NULL THEN ?2 END WHERE event_no = ?1",
            )
            .bind(id)
            .bind(now.saturating_add(wait))
            .execute(&mut *connection)
            .await?;
        }
    }
    Ok(())
}
