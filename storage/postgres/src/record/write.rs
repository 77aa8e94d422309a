//! Writes deliveries with their verdicts.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::Ordering;

use mpesa_callbacks_core::store::{CallbackId, Delivery, Verdict};
use sqlx::postgres::PgConnection;

use super::{Again, Place, purged_meanwhile};
use crate::schema::Schema;
use crate::text;
use mpesa_callbacks_core::store::columns::{
    hidden_receipt, micros, outcome_number, pseudonym, span, state_number, verdict_number,
};

/// A row to insert.
pub(super) struct New {
    pub(super) at: usize,
    pub(super) verdict: Verdict,
    pub(super) earlier: Option<CallbackId>,
    pub(super) decision: Option<String>,
}

/// Adds repeated deliveries to the counters of their rows.
pub(super) async fn repeat(connection: &mut PgConnection, schema: &Schema, repeated: &[Again]) -> sqlx::Result<()> {
    if repeated.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = repeated.iter().map(|again| again.id.number()).collect();
    let times: Vec<i64> = repeated.iter().map(|again| again.received_at).collect();
    let deliveries: Vec<i64> = repeated.iter().map(|again| again.delivery.number()).collect();
    sqlx::query(schema.sql(
        "WITH locked AS MATERIALIZED (
             SELECT id FROM mpesa_callbacks.callback WHERE id = ANY($1)
             ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR NO KEY UPDATE
         ), again AS (
             SELECT id, count(DISTINCT delivery) AS times, max(at) AS at, (array_agg(delivery ORDER BY at, delivery))[count(*)] AS delivery
             FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS again (id, at, delivery) GROUP BY id
         )
         UPDATE mpesa_callbacks.callback SET seen = seen + again.times, last_seen_at = again.at, last_delivery = again.delivery
         FROM again
         WHERE callback.id = ANY(ARRAY(SELECT id FROM locked)) AND callback.id = again.id AND last_delivery <> again.delivery",
    ))
    .bind(&ids)
    .bind(&times)
    .bind(&deliveries)
    .execute(connection)
    .await?;
    Ok(())
}

/// Adds the order to payments that lack it. Ready ones become due. If a handler may have seen a payment
/// without it, records a `payment_completed`, too.
pub(super) async fn complete_payments(
    connection: &mut PgConnection,
    place: Place<'_>,
    completing: &[(CallbackId, Delivery)],
) -> sqlx::Result<()> {
    if completing.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = completing.iter().map(|(first, _)| first.number()).collect();
    // Waits for a claim that is in progress.
    let told: HashMap<i64, bool> = sqlx::query_as(place.schema.sql(
        "SELECT callback_id, told > 0 FROM mpesa_callbacks.work WHERE callback_id = ANY($1) AND told >= 0
         ORDER BY callback_id FOR NO KEY UPDATE",
    ))
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .collect();
    // A statement of its own, which sees what was written while this one waited for locks.
    let lacking = place.schema.sql("SELECT id FROM mpesa_callbacks.callback WHERE id = ANY($1) AND reference IS NULL");
    let lacking: Vec<i64> = sqlx::query_scalar(lacking)
        .bind(told.keys().copied().collect::<Vec<i64>>())
        .fetch_all(&mut *connection)
        .await?;
    if lacking.is_empty() {
        return Ok(());
    }
    let due = place.schema.sql(
        "UPDATE mpesa_callbacks.work SET run_at = mpesa_callbacks.now_us(), wait = 0
         WHERE callback_id = ANY($1) AND state + 0 = 0",
    );
    sqlx::query(due).bind(&lacking).execute(&mut *connection).await?;
    let known = completing.iter().filter(|(first, _)| lacking.contains(&first.number()));
    let known = known.filter_map(|(first, one)| Some((first.number(), text(one.reference.as_ref()?.as_str()))));
    let (known, references): (Vec<i64>, Vec<_>) = known.unzip();
    if !known.is_empty() {
        let whose = place.schema.sql(
            "UPDATE mpesa_callbacks.callback AS c SET reference = told.reference
             FROM unnest($1::bigint[], $2::text[]) AS told (id, reference) WHERE c.id = told.id",
        );
        sqlx::query(whose).bind(&known).bind(&references).execute(&mut *connection).await?;
    }
    let is_told =
        |first: &CallbackId| lacking.contains(&first.number()) && told.get(&first.number()).is_some_and(|told| *told);
    let mut late: Vec<(CallbackId, Delivery)> = completing
        .iter()
        .filter(|(first, _)| is_told(first))
        .map(|(first, one)| (*first, one.clone().completing()))
        .collect();
    late.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
    late.dedup_by(|(_, one), (_, other)| one.key == other.key);
    let deliveries: Vec<&Delivery> = late.iter().map(|(_, delivery)| delivery).collect();
    let new = |(at, (first, _)): (usize, &(CallbackId, Delivery))| New {
        at,
        verdict: Verdict::First,
        earlier: Some(*first),
        decision: None,
    };
    let new: Vec<New> = late.iter().enumerate().map(new).collect();
    insert(connection, &deliveries, &new, place, Beside::Nothing).await.map(drop)
}

fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

/// The conditions of an insert.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    /// Insert only if nothing is stored under the key, its replacement, or the receipt.
    Nothing,
    /// It was judged, and the rows of its key are locked.
    Judged,
}

/// Inserts rows unless another transaction has. Returns the ids of those that were inserted.
pub(super) async fn insert(
    connection: &mut PgConnection,
    deliveries: &[&Delivery],
    new: &[New],
    place: Place<'_>,
    beside: Beside,
) -> sqlx::Result<HashMap<usize, CallbackId>> {
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let hmac_key = place.hmac_key;
    let all = || new.iter().map(|one| (deliveries[one.at], one.verdict));
    let kinds: Vec<&str> = all().map(|(delivery, _)| delivery.kind.name()).collect();
    let keys: Vec<_> = all().map(|(delivery, _)| text(delivery.key.as_str())).collect();
    let verdicts: Vec<i16> = all().map(|(_, verdict)| small(verdict_number(verdict))).collect();
    let body_digests: Vec<&[u8]> = all().map(|(delivery, _)| &delivery.body_digest.as_bytes()[..]).collect();
    let content_digests: Vec<&[u8]> = all().map(|(delivery, _)| &delivery.content_digest.as_bytes()[..]).collect();
    let first_deliveries: Vec<i64> = all().map(|(delivery, _)| delivery.delivery_id.number()).collect();
    let details: Vec<Option<&[u8]>> =
        all().map(|(delivery, _)| delivery.detail.as_ref().map(|detail| &detail.as_bytes()[..])).collect();
    let outcomes: Vec<Option<i16>> =
        all().map(|(delivery, _)| delivery.outcome.map(outcome_number).map(small)).collect();
    let earlier: Vec<Option<i64>> = new.iter().map(|one| one.earlier.map(CallbackId::number)).collect();
    let times: Vec<i64> = all().map(|(delivery, _)| micros(delivery.received_at)).collect();
    let receipts: Vec<_> = all().map(|(delivery, _)| delivery.receipt.as_deref().map(text)).collect();
    let client_ips: Vec<Option<String>> =
        all().map(|(delivery, _)| delivery.client_ip.map(|client_ip| client_ip.to_string())).collect();
    let references: Vec<_> =
        all().map(|(delivery, _)| delivery.reference.as_ref().map(|reference| text(reference.as_str()))).collect();
    let decisions: Vec<_> = new.iter().map(|one| one.decision.as_deref().map(text)).collect();
    // Rows that were judged need no second check, because the key is locked.
    let is_alone = beside == Beside::Nothing;
    let may_be_hidden = is_alone && place.has_purged();
    let hide_key = |(kind, key): (&&str, &Cow<'_, str>)| pseudonym(hmac_key, kind, key);
    let hidden_keys: Vec<Option<String>> =
        kinds.iter().zip(&keys).map(|one| may_be_hidden.then(|| hide_key(one))).collect();
    let hide_receipt =
        |receipt: &Option<Cow<'_, str>>| receipt.as_ref().map(|receipt| hidden_receipt(hmac_key, receipt));
    let hidden_receipts: Vec<Option<String>> =
        receipts.iter().map(|receipt| if may_be_hidden { hide_receipt(receipt) } else { None }).collect();
    let written: Vec<(i64, String, String, bool)> = sqlx::query_as(place.schema.sql(
        "INSERT INTO mpesa_callbacks.callback (kind, key, verdict, body_digest, content_digest, received_at, last_seen_at, receipt, client_ip, reference,
                                               decision, detail, outcome, earlier, delivery, last_delivery)
         SELECT kind, key, verdict, body_digest, content_digest, received_at, received_at, receipt, client_ip, reference, decision, detail, outcome, earlier,
                delivery, delivery
         FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::text[], $12::text[], $13::bytea[], $14::smallint[], $15::bigint[], $16::bigint[]) WITH ORDINALITY
              AS new (kind, key, verdict, body_digest, content_digest, received_at, receipt, client_ip, reference, decision, hidden_key, hidden_receipt,
                      detail, outcome, earlier, delivery, nth)
         WHERE NOT $17 OR (
             SELECT id FROM mpesa_callbacks.callback AS c WHERE c.kind = new.kind AND c.key IN (new.key, new.hidden_key) LIMIT 1) IS NULL
             AND (receipt IS NULL OR kind = 'payment' OR (
             SELECT id FROM mpesa_callbacks.callback AS c
             WHERE c.kind = new.kind AND c.receipt IN (new.receipt, new.hidden_receipt) AND c.verdict IN (0, 5) LIMIT 1) IS NULL)
         ORDER BY nth
         ON CONFLICT DO NOTHING
         RETURNING id, kind, key, EXISTS (SELECT FROM mpesa_callbacks.meta WHERE name = 'purged') AS has_purged",
    ))
    .bind(&kinds)
    .bind(&keys)
    .bind(&verdicts)
    .bind(&body_digests)
    .bind(&content_digests)
    .bind(&times)
    .bind(&receipts)
    .bind(&client_ips)
    .bind(&references)
    .bind(&decisions)
    .bind(&hidden_keys)
    .bind(&hidden_receipts)
    .bind(&details)
    .bind(&outcomes)
    .bind(&earlier)
    .bind(&first_deliveries)
    .bind(is_alone)
    .fetch_all(&mut *connection)
    .await?;
    // Read by the same statement, so its snapshot saw the keys before a purge that it does not see.
    if is_alone && !may_be_hidden && written.iter().any(|(.., has_purged)| *has_purged) {
        place.has_purged.store(true, Ordering::Relaxed);
        return Err(purged_meanwhile());
    }
    let by_name: HashMap<(&str, &str), i64> =
        written.iter().map(|(id, kind, key, _)| ((kind.as_str(), key.as_str()), *id)).collect();
    let id = |at: usize| by_name.get(&(deliveries[at].kind.name(), &*text(deliveries[at].key.as_str()))).copied();
    let inserted: Vec<(usize, i64, Verdict)> =
        new.iter().filter_map(|one| Some((one.at, id(one.at)?, one.verdict))).collect();
    begin_work(connection, place.schema, deliveries, &inserted).await?;
    Ok(inserted.into_iter().map(|(at, id, _)| (at, CallbackId::from_stored(id))).collect())
}

/// Inserts the bodies and work rows of the inserted callbacks.
async fn begin_work(
    connection: &mut PgConnection,
    schema: &Schema,
    deliveries: &[&Delivery],
    inserted: &[(usize, i64, Verdict)],
) -> sqlx::Result<()> {
    if inserted.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = inserted.iter().map(|(_, id, _)| *id).collect();
    let all = || inserted.iter().map(|(at, _, verdict)| (deliveries[*at], *verdict));
    let bodies: Vec<&[u8]> = all().map(|(delivery, _)| delivery.body()).collect();
    let states: Vec<i16> = all().map(|(delivery, verdict)| small(state_number(delivery.state(verdict)))).collect();
    let delays: Vec<i64> = all().map(|(delivery, _)| span(delivery.due_after)).collect();
    let reasons: Vec<_> = all().map(|(delivery, _)| delivery.reason().map(text)).collect();
    let kinds: Vec<&str> = all().map(|(delivery, _)| delivery.kind.name()).collect();
    sqlx::query(schema.sql(
        "WITH bodies AS (
             INSERT INTO mpesa_callbacks.body (callback_id, body) SELECT * FROM unnest($1::bigint[], $2::bytea[])
         )
         INSERT INTO mpesa_callbacks.work (callback_id, state, run_at, settled_at, error, wait, kind)
         SELECT callback_id, state, CASE WHEN state = 0 THEN mpesa_callbacks.now_us() + due_after END,
                CASE WHEN state = 2 THEN mpesa_callbacks.now_us() END, error, due_after, kind
         FROM unnest($1::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::text[])
              AS new (callback_id, state, due_after, error, kind)",
    ))
    .bind(&ids)
    .bind(&bodies)
    .bind(&states)
    .bind(&delays)
    .bind(&reasons)
    .bind(&kinds)
    .execute(connection)
    .await?;
    Ok(())
}
