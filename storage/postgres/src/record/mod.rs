//! Recording.
//!
//! A batch is one transaction of a few statements, at any size:
//!
//! 1. Everything that may be new is inserted at once, in the order of keys. Unique indexes let one of
//!    the racing transactions be first.
//! 2. For the others, the stored rows are read. The same bytes are a duplicate and need no lock.
//! 3. The rest locks all rows of its key and is judged against them.
//!
//! Locks of callbacks are taken in the order of keys, here and in `purge`, and those of `work` before
//! them, against deadlocks.

mod known;

mod write;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{CallbackId, Delivery, DeliveryId, Judgement, Known, Recorded, Verdict};
use sqlx::postgres::{PgConnection, PgPool};

use self::known::{Names, look, look_locked, who_told};
use self::write::{Beside, New, complete_payments, insert, repeat};
use super::schema::Schema;
use super::session::Session;
use super::text;
use mpesa_callbacks_core::store::columns::{hidden_digest, micros, pseudonym};

/// Maximum number of rounds. Each is needed only if another transaction came in between.
const MAX_ROUNDS: usize = 16;

/// Id, verdict and decision of one delivery.
type Found = (CallbackId, Verdict, Option<String>);

/// A delivery that repeats the bytes of a stored callback.
#[derive(Clone, Copy)]
struct Again {
    id: CallbackId,
    received_at: i64,
    delivery: DeliveryId,
}

/// The schema, and how purged keys are replaced in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) schema: &'a Schema,
    pub(super) hmac_key: &'a [u8],
    /// Whether anything was purged, as far as this process knows. Until then replaced keys are not
    /// looked up, which would cost an HMAC and an index lookup each.
    pub(super) has_purged: &'a AtomicBool,
}

impl Place<'_> {
    pub(super) fn has_purged(self) -> bool {
        self.has_purged.load(Ordering::Relaxed)
    }
}

/// Another process has purged for the first time, so replaced keys must be looked up, too.
fn purged_meanwhile() -> sqlx::Error {
    sqlx::Error::Protocol("another process began to purge: record it again".to_owned())
}

/// The rows that are written last, because it locks rows that others handle.
#[derive(Default)]
struct Last {
    /// Deliveries of a batch whose row exists: their number per row.
    repeated: Vec<Again>,
    /// Payments with an order, and the first payment of their receipt, which may lack it.
    completing: Vec<(CallbackId, Delivery)>,
    /// A delivery was found that an earlier commit has recorded, so nothing is written for it.
    is_confirming: bool,
}

pub(super) async fn record_all(
    connection: &mut PgConnection,
    batch: &[Delivery],
    place: Place<'_>,
) -> sqlx::Result<Vec<Recorded>> {
    let mut last = Last::default();
    let recorded = record_batch(connection, batch, place, &mut last).await?;
    repeat(connection, place.schema, &last.repeated).await?;
    complete_payments(connection, place, &last.completing).await?;
    if last.is_confirming {
        write_something(connection).await?;
    }
    Ok(recorded)
}

/// Makes the commit wait for a synchronous standby. PostgreSQL does not wait for a transaction that wrote
/// nothing; and what such a transaction confirms may be on one disk only, if the wait of the commit that wrote
/// it was cut short: by a crash of the server, or because its session was ended.
async fn write_something(connection: &mut PgConnection) -> sqlx::Result<()> {
    sqlx::query("SELECT pg_logical_emit_message(true, 'mpesa-callbacks', '')").execute(connection).await.map(drop)
}

/// Records the deliveries and their payments.
async fn record_batch(
    connection: &mut PgConnection,
    batch: &[Delivery],
    place: Place<'_>,
    last: &mut Last,
) -> sqlx::Result<Vec<Recorded>> {
    let mut found: Vec<Option<Found>> = vec![None; batch.len()];
    let mut payments = Vec::new();
    // In the order of keys, against deadlocks.
    let mut waiting: Vec<usize> = (0..batch.len()).collect();
    // As the server stores them: two keys may become one.
    let name = |at: usize| (batch[at].kind.name(), text(batch[at].key.as_str()));
    waiting.sort_by_key(|at| name(*at));
    while !waiting.is_empty() {
        // One per key at a time, because the deliveries of a batch see each other, in order.
        let is_next = |nth: usize| nth == 0 || name(waiting[nth]) != name(waiting[nth - 1]);
        let (next, later): (Vec<usize>, Vec<usize>) = (0..waiting.len()).partition(|nth| is_next(*nth));
        let (next, later): (Vec<_>, Vec<_>) =
            (next.iter().map(|nth| waiting[*nth]).collect(), later.iter().map(|nth| waiting[*nth]).collect());
        let deliveries: Vec<&Delivery> = next.iter().map(|at| &batch[*at]).collect();
        for (at, one) in next.into_iter().zip(record_each(connection, &deliveries, place, last).await?) {
            if let Some(payment) = batch[at].payment.as_ref().filter(|_| one.1.is_news()) {
                payments.push((at, (**payment).clone()));
            }
            found[at] = Some(one);
        }
        waiting = later;
    }

    payments.sort_by_key(|(at, _)| *at);
    let (owners, payments): (Vec<usize>, Vec<Delivery>) = payments.into_iter().unzip();
    let mut of_payments = HashMap::new();
    if !payments.is_empty() {
        let recorded = Box::pin(record_batch(connection, &payments, place, last)).await?;
        of_payments.extend(owners.into_iter().zip(recorded.into_iter().map(|payment| (payment.id, payment.verdict))));
    }
    let recorded = |(at, found): (usize, Option<Found>)| {
        let (id, verdict, decision) = found?;
        Some(Recorded::new(id, verdict, decision, of_payments.get(&at).copied()))
    };
    Ok(found.into_iter().enumerate().filter_map(recorded).collect())
}

/// Records deliveries of different keys.
async fn record_each(
    connection: &mut PgConnection,
    deliveries: &[&Delivery],
    place: Place<'_>,
    last: &mut Last,
) -> sqlx::Result<Vec<Found>> {
    let mut found: Vec<Option<Found>> = vec![None; deliveries.len()];
    let can_be_first = |at: &usize| deliveries[*at].judge(&[], None).verdict == Verdict::First;
    let firsts = (0..deliveries.len()).filter(can_be_first);
    let firsts: Vec<_> = firsts
        .map(|at| New { at, verdict: Verdict::First, earlier: None, decision: deliveries[at].decision.clone() })
        .collect();
    let inserted = insert(connection, deliveries, &firsts, place, Beside::Nothing).await?;
    for New { at, verdict, decision, .. } in firsts {
        found[at] = inserted.get(&at).map(|id| (*id, verdict, decision));
    }
    // The same bytes are a duplicate whatever else is stored, so the first look needs no lock.
    let mut is_locked = false;
    for _ in 0..MAX_ROUNDS {
        let open: Vec<usize> = (0..deliveries.len()).filter(|at| found[*at].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let names = Names::of(deliveries, &open, place.hmac_key);
        let earlier = match is_locked {
            true => look_locked(connection, place.schema, &names, &last.repeated).await?,
            false => look(connection, place.schema, &names).await?,
        };
        let told = if is_locked { who_told(connection, deliveries, &open, place).await? } else { HashMap::new() };
        let mut new = Vec::new();
        for at in open {
            let delivery = deliveries[at];
            let of_it = earlier.iter().filter(|one| one.at == at);
            let known: Vec<Known> = of_it.map(|one| one.shown(delivery, place.hmac_key)).collect();
            let Judgement { verdict, earlier: beside } = delivery.judge(&known, told.get(&at).copied());
            let is_same = matches!(verdict, Verdict::Duplicate | Verdict::Variant);
            let same = beside.filter(|_| is_same).and_then(|id| earlier.iter().find(|one| one.known.id == id));
            let decision = match same {
                Some(same) => same.decision.clone(),
                None => delivery.decision.clone(),
            };
            let first = earlier.iter().find(|one| one.at == at && one.known.verdict == Verdict::First);
            if same.is_some_and(|_| is_locked || verdict == Verdict::Duplicate)
                && let Some(first) = first
                && delivery.completes(false, first.known.detail.is_some())
            {
                last.completing.push((first.known.id, delivery.clone()));
            }
            match (verdict, same) {
                (Verdict::Duplicate, Some(same)) => {
                    let id = same.known.id;
                    // The same delivery, recorded by a commit whose answer was lost: return the first
                    // verdict. (`pg_xact_status` does not help: after a crash the id of a lost
                    // transaction is given to another.)
                    let is_itself = same.delivery == delivery.delivery_id;
                    found[at] = Some((id, if is_itself { same.known.verdict } else { verdict }, decision));
                    last.is_confirming |= is_itself;
                    let (received_at, delivery) = (micros(delivery.received_at), delivery.delivery_id);
                    last.repeated.extend((!is_itself).then_some(Again { id, received_at, delivery }));
                }
                _ if is_locked => new.push(New { at, verdict, earlier: beside, decision }),
                _ => {}
            }
        }
        let inserted = insert(connection, deliveries, &new, place, Beside::Judged).await?;
        for New { at, verdict, decision, .. } in new {
            // Another transaction was first: look again.
            if let Some(id) = inserted.get(&at) {
                found[at] = Some((*id, verdict, decision));
            }
        }
        is_locked = true;
    }
    let found: Option<Vec<Found>> = found.into_iter().collect();
    found.ok_or_else(|| sqlx::Error::Protocol("others record the same callbacks again and again".to_owned()))
}

pub(super) async fn find_decision(
    pool: &PgPool,
    place: Place<'_>,
    kind: &Kind,
    key: &str,
    content_digest: &Digest,
) -> sqlx::Result<Option<String>> {
    let key = text(key);
    let purged = pseudonym(place.hmac_key, kind.name(), &key);
    let decision: Option<Option<String>> = sqlx::query_scalar(place.schema.sql(
        "SELECT decision FROM mpesa_callbacks.callback
         WHERE kind = $1 AND key IN ($2, $3) AND content_digest IN ($4, $5) ORDER BY id LIMIT 1",
    ))
    .bind(kind.name())
    .bind(key)
    .bind(purged)
    .bind(&content_digest.as_bytes()[..])
    .bind(&hidden_digest(place.hmac_key, content_digest.as_bytes())[..])
    .fetch_optional(&mut *Session::acquire(pool).await?)
    .await?;
    Ok(decision.flatten())
}
