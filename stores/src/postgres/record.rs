//! Recording: what is known under a key, and what a delivery is beside it.
//!
//! A batch is one transaction of a few statements, whatever its size. Nearly all of it is new, and inserted at once, in the order of
//! keys; of racing transactions the unique indexes let one be first. What repeats the bytes of another is known by them. Only what
//! says something else takes the locks of all that is known under its key, and is judged by that. Locks of callbacks are taken in the
//! order of keys, too, here and in `purge`, and those of `work` before them, so nobody waits in a circle.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{CallbackId, Judgement, Known, Received, Recorded, Verdict};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool};

use super::schema::Schema;
use super::text;
use crate::words::{
    hidden_digest, hidden_receipt, micros, outcome, outcome_number, pseudonym, shown, span, state_number, verdict,
    verdict_number,
};

/// How often others may come in between before something must be wrong.
const ROUNDS: usize = 16;

/// What became of one delivery.
type Found = (CallbackId, Verdict, Option<String>);

/// In which schema, and how purged keys are hidden in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub(super) schema: &'a Schema,
    pub(super) hmac_key: &'a [u8],
}

/// What is written last of all, because it locks what others handle.
#[derive(Default)]
struct Last {
    /// What came again, and when.
    repeated: Vec<(CallbackId, i64)>,
    /// Payments that tell a reference, and the first of their receipts, which may not have it.
    completing: Vec<(CallbackId, Received)>,
}

pub(super) async fn record_all(
    connection: &mut PgConnection,
    batch: &[Received],
    place: Place<'_>,
) -> sqlx::Result<Vec<Recorded>> {
    let mut last = Last::default();
    let recorded = record_batch(connection, batch, place, &mut last).await?;
    repeat(connection, place.schema, &last.repeated).await?;
    complete_payments(connection, place, &last.completing).await?;
    Ok(recorded)
}

/// Records the deliveries and the payments that they show.
async fn record_batch(
    connection: &mut PgConnection,
    batch: &[Received],
    place: Place<'_>,
    last: &mut Last,
) -> sqlx::Result<Vec<Recorded>> {
    let mut found: Vec<Option<Found>> = vec![None; batch.len()];
    let mut payments = Vec::new();
    // In the order of keys, so that transactions wait for one another in one direction.
    let mut waiting: Vec<usize> = (0..batch.len()).collect();
    // As the server has them, for which two keys may be one.
    let name = |at: usize| (batch[at].kind.name(), text(batch[at].key.as_str()));
    waiting.sort_by_key(|at| name(*at));
    while !waiting.is_empty() {
        // One of each key at a time: the deliveries of one batch see each other, in order.
        let is_next = |nth: usize| nth == 0 || name(waiting[nth]) != name(waiting[nth - 1]);
        let (next, later): (Vec<usize>, Vec<usize>) = (0..waiting.len()).partition(|nth| is_next(*nth));
        let (next, later): (Vec<_>, Vec<_>) =
            (next.iter().map(|nth| waiting[*nth]).collect(), later.iter().map(|nth| waiting[*nth]).collect());
        let deliveries: Vec<&Received> = next.iter().map(|at| &batch[*at]).collect();
        for (at, one) in next.into_iter().zip(record_each(connection, &deliveries, place, last).await?) {
            if let Some(payment) = batch[at].payment.as_ref().filter(|_| one.1.is_news()) {
                payments.push((at, (**payment).clone()));
            }
            found[at] = Some(one);
        }
        waiting = later;
    }

    payments.sort_by_key(|(at, _)| *at);
    let (owners, payments): (Vec<usize>, Vec<Received>) = payments.into_iter().unzip();
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

/// What is to be written of a delivery.
struct New {
    at: usize,
    verdict: Verdict,
    earlier: Option<CallbackId>,
    decision: Option<String>,
}

/// Records deliveries of different keys.
async fn record_each(
    connection: &mut PgConnection,
    deliveries: &[&Received],
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
    // Whoever repeats the bytes of another does so whatever else is known, so that needs no lock.
    let mut is_locked = false;
    for _ in 0..ROUNDS {
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
            let received = deliveries[at];
            let of_it = earlier.iter().filter(|one| one.at == at);
            let known: Vec<Known> = of_it.map(|one| one.shown(received, place.hmac_key)).collect();
            let Judgement { verdict, earlier: beside } = received.judge(&known, told.get(&at).copied());
            let is_same = matches!(verdict, Verdict::Duplicate | Verdict::Variant);
            let same = beside.filter(|_| is_same).and_then(|id| earlier.iter().find(|one| one.known.id == id));
            let decision = match same {
                Some(same) => same.decision.clone(),
                None => received.decision.clone(),
            };
            let first = earlier.iter().find(|one| one.at == at && one.known.verdict == Verdict::First);
            if same.is_some_and(|_| is_locked || verdict == Verdict::Duplicate)
                && let Some(first) = first
                && received.completes(false, first.known.detail.is_some())
            {
                last.completing.push((first.known.id, received.clone()));
            }
            match (verdict, same) {
                (Verdict::Duplicate, Some(same)) => {
                    let (id, received_at) = (same.known.id, micros(received.received_at));
                    // The same delivery, whose commit nobody heard of: what it was then is what it is. (The server's own word on a
                    // transaction will not do: a crash gives its id to another one.)
                    let is_itself = same.received_at == received_at;
                    found[at] = Some((id, if is_itself { same.known.verdict } else { verdict }, decision));
                    last.repeated.extend((!is_itself).then_some((id, received_at)));
                }
                _ if is_locked => new.push(New { at, verdict, earlier: beside, decision }),
                _ => {}
            }
        }
        let inserted = insert(connection, deliveries, &new, place, Beside::Judged).await?;
        for New { at, verdict, decision, .. } in new {
            // Who is not there was beaten to it: look again.
            if let Some(id) = inserted.get(&at) {
                found[at] = Some((*id, verdict, decision));
            }
        }
        is_locked = true;
    }
    let found: Option<Vec<Found>> = found.into_iter().collect();
    found.ok_or_else(|| sqlx::Error::Protocol("others record the same callbacks again and again".to_owned()))
}

/// The names of deliveries, for a statement about all of them.
#[derive(Default)]
struct Names {
    at: Vec<i32>,
    kinds: Vec<String>,
    keys: Vec<String>,
    receipts: Vec<String>,
}

impl Names {
    fn of(deliveries: &[&Received], open: &[usize], hmac_key: &[u8]) -> Names {
        let mut names = Names::default();
        for index in open {
            let received = deliveries[*index];
            let (kind, key) = (received.kind.name(), text(received.key.as_str()));
            // A key may be purged while we look for it: then it is found by its other name.
            for name in [key.to_string(), pseudonym(hmac_key, kind, &key)] {
                names.at.push(i32::try_from(*index).unwrap_or(i32::MAX));
                names.kinds.push(kind.to_owned());
                names.keys.push(name);
            }
            if let Some(receipt) = received.receipt.as_deref().map(text) {
                names.receipts.push(hidden_receipt(hmac_key, &receipt));
                names.receipts.push(receipt.into_owned());
            }
        }
        names
    }
}

/// A callback that is known under the key of one of the deliveries.
struct Earlier {
    at: usize,
    known: Known,
    is_purged: bool,
    received_at: i64,
    decision: Option<String>,
}

impl Earlier {
    fn shown(&self, received: &Received, hmac_key: &[u8]) -> Known {
        if self.is_purged { shown(self.known, received, hmac_key) } else { self.known }
    }
}

/// What is known under the keys.
async fn look(connection: &mut PgConnection, schema: &Schema, names: &Names) -> sqlx::Result<Vec<Earlier>> {
    let rows = sqlx::query(schema.sql(
        "SELECT at, id, digest, meaning, detail, outcome, verdict, received_at, decision, callback.key LIKE 'hmac:%' AS is_purged
         FROM mpesa_callbacks.callback JOIN unnest($1::int[], $2::text[], $3::text[]) AS asked (at, kind, key) USING (kind, key)
         WHERE callback.kind = ANY($2) AND callback.key = ANY($3)
         ORDER BY id",
    ));
    let rows = rows.bind(&names.at).bind(&names.kinds).bind(&names.keys).fetch_all(connection).await?;
    let digest = |bytes: Vec<u8>| Digest::from(<[u8; 32]>::try_from(bytes).unwrap_or_default());
    let earlier = rows.iter().map(|row| {
        Ok(Earlier {
            at: usize::try_from(row.try_get::<i32, _>("at")?).unwrap_or(usize::MAX),
            known: Known {
                id: CallbackId(row.try_get("id")?),
                digest: digest(row.try_get("digest")?),
                meaning: digest(row.try_get("meaning")?),
                detail: row.try_get::<Option<Vec<u8>>, _>("detail")?.map(digest),
                outcome: row.try_get::<Option<i16>, _>("outcome")?.and_then(|number| outcome(number.into())),
                verdict: verdict(row.try_get::<i16, _>("verdict")?.into()),
            },
            is_purged: row.try_get("is_purged")?,
            received_at: row.try_get("received_at")?,
            decision: row.try_get("decision")?,
        })
    });
    earlier.collect()
}

/// The same, locked until the transaction ends; and with it the owners of receipts, so that those who contradict them are judged
/// one after the other.
async fn look_locked(
    connection: &mut PgConnection,
    schema: &Schema,
    names: &Names,
    repeated: &[(CallbackId, i64)],
) -> sqlx::Result<Vec<Earlier>> {
    // What will be written because it came again is locked with the others, for the sake of the order.
    let repeated: Vec<i64> = repeated.iter().map(|(id, _)| id.0).collect();
    // Locked, and then read: others may have added to a key while we waited for its lock. What was not there to be locked
    // is locked the next time.
    let mut locked: HashSet<i64> = HashSet::new();
    loop {
        let ids: Vec<i64> = sqlx::query_scalar(schema.sql(
            "SELECT id FROM mpesa_callbacks.callback
             WHERE key = ANY($1) OR receipt = ANY($2) AND verdict IN (0, 5) OR id = ANY($3)
             ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR NO KEY UPDATE",
        ))
        .bind(&names.keys)
        .bind(&names.receipts)
        .bind(&repeated)
        .fetch_all(&mut *connection)
        .await?;
        locked.extend(ids);
        let earlier = look(connection, schema, names).await?;
        if earlier.iter().all(|one| locked.contains(&one.known.id.0)) {
            return Ok(earlier);
        }
    }
}

/// Who of their kind, under another key, told of the receipts of the deliveries first.
async fn who_told(
    connection: &mut PgConnection,
    deliveries: &[&Received],
    open: &[usize],
    place: Place<'_>,
) -> sqlx::Result<HashMap<usize, CallbackId>> {
    let with_receipt = |at: &&usize| deliveries[**at].receipt.is_some() && !deliveries[**at].kind.is_payment();
    let asked: Vec<usize> = open.iter().filter(with_receipt).copied().collect();
    let all = || asked.iter().map(|at| deliveries[*at]);
    let kinds: Vec<&str> = all().map(|received| received.kind.name()).collect();
    let keys: Vec<_> = all().map(|received| text(received.key.as_str())).collect();
    let hidden_keys: Vec<_> = kinds.iter().zip(&keys).map(|(kind, key)| pseudonym(place.hmac_key, kind, key)).collect();
    let receipts: Vec<_> = all().map(|received| received.receipt.as_deref().map(text).unwrap_or_default()).collect();
    let hidden: Vec<_> = receipts.iter().map(|receipt| hidden_receipt(place.hmac_key, receipt)).collect();
    let told: Vec<(i64, i64)> = sqlx::query_as(place.schema.sql(
        "SELECT nth, min(id) FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[]) WITH ORDINALITY
              AS asked (kind, key, hidden_key, receipt, hidden, nth)
         JOIN mpesa_callbacks.callback AS c ON c.kind = asked.kind AND c.receipt IN (asked.receipt, asked.hidden)
              AND c.key NOT IN (asked.key, asked.hidden_key)
         WHERE c.verdict IN (0, 5) AND (c.receipt = ANY($4) OR c.receipt = ANY($5)) GROUP BY nth",
    ))
    .bind(&kinds)
    .bind(&keys)
    .bind(&hidden_keys)
    .bind(&receipts)
    .bind(&hidden)
    .fetch_all(connection)
    .await?;
    let at = |nth: i64| asked.get(usize::try_from(nth - 1).ok()?).copied();
    Ok(told.into_iter().filter_map(|(nth, id)| Some((at(nth)?, CallbackId(id)))).collect())
}

/// They came again.
async fn repeat(connection: &mut PgConnection, schema: &Schema, repeated: &[(CallbackId, i64)]) -> sqlx::Result<()> {
    if repeated.is_empty() {
        return Ok(());
    }
    let (ids, times): (Vec<i64>, Vec<i64>) = repeated.iter().map(|(id, at)| (id.0, *at)).unzip();
    sqlx::query(schema.sql(
        "WITH locked AS MATERIALIZED (
             SELECT id FROM mpesa_callbacks.callback WHERE id = ANY($1)
             ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR NO KEY UPDATE
         ), again AS (
             SELECT id, count(DISTINCT at) AS times, max(at) AS at FROM unnest($1::bigint[], $2::bigint[]) AS again (id, at) GROUP BY id
         )
         UPDATE mpesa_callbacks.callback SET seen = seen + again.times, last_seen_at = again.at
         FROM again WHERE callback.id = ANY(ARRAY(SELECT id FROM locked)) AND callback.id = again.id AND last_seen_at <> again.at",
    ))
    .bind(&ids)
    .bind(&times)
    .execute(connection)
    .await?;
    Ok(())
}

/// Payments that are known without their order, and now with it: those that wait become due, and what was handled is completed.
async fn complete_payments(
    connection: &mut PgConnection,
    place: Place<'_>,
    completing: &[(CallbackId, Received)],
) -> sqlx::Result<()> {
    if completing.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = completing.iter().map(|(first, _)| first.0).collect();
    // Whoever claims one of them just now has it first, and is not seen to have found what is recorded here.
    let lacking: HashMap<i64, (i16, i32)> = sqlx::query_as(place.schema.sql(
        "SELECT w.callback_id, w.state, w.attempts FROM mpesa_callbacks.work AS w JOIN mpesa_callbacks.callback AS c ON c.id = w.callback_id
         WHERE w.callback_id = ANY($1) AND c.id = ANY($1) AND c.reference IS NULL ORDER BY w.callback_id FOR NO KEY UPDATE OF w",
    ))
    .bind(&ids)
    .fetch_all(&mut *connection)
    .await?
    .into_iter()
    .map(|(id, state, attempts): (i64, i16, i32)| (id, (state, attempts)))
    .collect();
    let waiting: Vec<i64> = lacking.iter().filter(|(_, (state, _))| *state == 0).map(|(id, _)| *id).collect();
    if !waiting.is_empty() {
        let due = place.schema.sql(
            "UPDATE mpesa_callbacks.work SET run_at = mpesa_callbacks.now_us(), wait = 0 WHERE callback_id = ANY($1)",
        );
        sqlx::query(due).bind(&waiting).execute(&mut *connection).await?;
    }
    // Where there was no attempt, nobody was told of it: it is in hand, or settled, with a callback that accounts for it.
    let is_told = |(state, attempts): &(i16, i32)| *state != 0 && *attempts > 0;
    let is_late = |first: &CallbackId| lacking.get(&first.0).is_some_and(is_told);
    if lacking.values().any(|one| !is_told(one)) {
        let known = completing.iter().filter(|(first, _)| lacking.contains_key(&first.0) && !is_late(first));
        let known = known.filter_map(|(first, one)| Some((first.0, text(one.reference.as_ref()?.as_str()))));
        let (ids, references): (Vec<i64>, Vec<_>) = known.unzip();
        let whose = place.schema.sql(
            "UPDATE mpesa_callbacks.callback AS c SET reference = told.reference
             FROM unnest($1::bigint[], $2::text[]) AS told (id, reference) WHERE c.id = told.id",
        );
        sqlx::query(whose).bind(&ids).bind(&references).execute(&mut *connection).await?;
    }
    let mut late: Vec<(CallbackId, Received)> = completing
        .iter()
        .filter(|(first, _)| is_late(first))
        .map(|(first, one)| (*first, one.clone().completing()))
        .collect();
    late.sort_by(|(_, one), (_, other)| one.key.cmp(&other.key));
    late.dedup_by(|(_, one), (_, other)| one.key == other.key);
    let deliveries: Vec<&Received> = late.iter().map(|(_, received)| received).collect();
    let new = |(at, (first, _)): (usize, &(CallbackId, Received))| New {
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

/// Beside what a callback is written that is to be the first of its key.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Where nothing is known under its key, nor under what hides it once it is purged, nor of its receipt.
    Nothing,
    /// It was judged beside what is known, which is locked.
    Judged,
}

/// Writes what nobody has written yet, and tells the ids of what was.
async fn insert(
    connection: &mut PgConnection,
    deliveries: &[&Received],
    new: &[New],
    place: Place<'_>,
    beside: Beside,
) -> sqlx::Result<HashMap<usize, CallbackId>> {
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let hmac_key = place.hmac_key;
    let all = || new.iter().map(|one| (deliveries[one.at], one.verdict));
    let kinds: Vec<&str> = all().map(|(received, _)| received.kind.name()).collect();
    let keys: Vec<_> = all().map(|(received, _)| text(received.key.as_str())).collect();
    let verdicts: Vec<i16> = all().map(|(_, verdict)| small(verdict_number(verdict))).collect();
    let digests: Vec<&[u8]> = all().map(|(received, _)| &received.digest.as_bytes()[..]).collect();
    let meanings: Vec<&[u8]> = all().map(|(received, _)| &received.meaning.as_bytes()[..]).collect();
    let details: Vec<Option<&[u8]>> =
        all().map(|(received, _)| received.detail.as_ref().map(|detail| &detail.as_bytes()[..])).collect();
    let outcomes: Vec<Option<i16>> =
        all().map(|(received, _)| received.outcome.and_then(outcome_number).map(small)).collect();
    let earlier: Vec<Option<i64>> = new.iter().map(|one| one.earlier.map(|earlier| earlier.0)).collect();
    let times: Vec<i64> = all().map(|(received, _)| micros(received.received_at)).collect();
    let receipts: Vec<_> = all().map(|(received, _)| received.receipt.as_deref().map(text)).collect();
    let peers: Vec<Option<String>> = all().map(|(received, _)| received.peer.map(|peer| peer.to_string())).collect();
    let references: Vec<_> =
        all().map(|(received, _)| received.reference.as_ref().map(|reference| text(reference.as_str()))).collect();
    let decisions: Vec<_> = new.iter().map(|one| one.decision.as_deref().map(text)).collect();
    // What was judged beside what is locked needs no second look: nothing hides it then.
    let is_alone = beside == Beside::Nothing;
    let hide_key = |(kind, key): (&&str, &Cow<'_, str>)| pseudonym(hmac_key, kind, key);
    let hidden_keys: Vec<Option<String>> = kinds.iter().zip(&keys).map(|one| is_alone.then(|| hide_key(one))).collect();
    let hide_receipt =
        |receipt: &Option<Cow<'_, str>>| receipt.as_ref().map(|receipt| hidden_receipt(hmac_key, receipt));
    let hidden_receipts: Vec<Option<String>> =
        receipts.iter().map(|receipt| if is_alone { hide_receipt(receipt) } else { None }).collect();
    let written: Vec<(i64, String, String)> = sqlx::query_as(place.schema.sql(
        "INSERT INTO mpesa_callbacks.callback (kind, key, verdict, digest, meaning, received_at, last_seen_at, receipt, peer, reference,
                                               decision, detail, outcome, earlier)
         SELECT kind, key, verdict, digest, meaning, received_at, received_at, receipt, peer, reference, decision, detail, outcome, earlier
         FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::text[], $12::text[], $13::bytea[], $14::smallint[], $15::bigint[]) WITH ORDINALITY
              AS new (kind, key, verdict, digest, meaning, received_at, receipt, peer, reference, decision, hidden_key, hidden_receipt,
                      detail, outcome, earlier, nth)
         WHERE hidden_key IS NULL OR (
             SELECT id FROM mpesa_callbacks.callback AS c WHERE c.kind = new.kind AND c.key IN (new.key, new.hidden_key) LIMIT 1) IS NULL
             AND (hidden_receipt IS NULL OR (
             SELECT id FROM mpesa_callbacks.callback AS c
             WHERE c.kind = new.kind AND c.receipt = new.hidden_receipt AND c.verdict IN (0, 5) LIMIT 1) IS NULL)
         ORDER BY nth
         ON CONFLICT DO NOTHING RETURNING id, kind, key",
    ))
    .bind(&kinds)
    .bind(&keys)
    .bind(&verdicts)
    .bind(&digests)
    .bind(&meanings)
    .bind(&times)
    .bind(&receipts)
    .bind(&peers)
    .bind(&references)
    .bind(&decisions)
    .bind(&hidden_keys)
    .bind(&hidden_receipts)
    .bind(&details)
    .bind(&outcomes)
    .bind(&earlier)
    .fetch_all(&mut *connection)
    .await?;
    let by_name: HashMap<(&str, &str), i64> =
        written.iter().map(|(id, kind, key)| ((kind.as_str(), key.as_str()), *id)).collect();
    let id = |at: usize| by_name.get(&(deliveries[at].kind.name(), &*text(deliveries[at].key.as_str()))).copied();
    let inserted: Vec<(usize, i64, Verdict)> =
        new.iter().filter_map(|one| Some((one.at, id(one.at)?, one.verdict))).collect();
    begin_work(connection, place.schema, deliveries, &inserted).await?;
    Ok(inserted.into_iter().map(|(at, id, _)| (at, CallbackId(id))).collect())
}

/// Writes the bodies of what was written, and what is to be done about it.
async fn begin_work(
    connection: &mut PgConnection,
    schema: &Schema,
    deliveries: &[&Received],
    inserted: &[(usize, i64, Verdict)],
) -> sqlx::Result<()> {
    if inserted.is_empty() {
        return Ok(());
    }
    let ids: Vec<i64> = inserted.iter().map(|(_, id, _)| *id).collect();
    let all = || inserted.iter().map(|(at, _, verdict)| (deliveries[*at], *verdict));
    let bodies: Vec<&[u8]> = all().map(|(received, _)| received.body()).collect();
    let states: Vec<i16> = all().map(|(received, verdict)| small(state_number(received.state(verdict)))).collect();
    let delays: Vec<i64> = all().map(|(received, _)| span(received.due_after)).collect();
    let reasons: Vec<_> = all().map(|(received, _)| received.reason().map(text)).collect();
    let kinds: Vec<&str> = all().map(|(received, _)| received.kind.name()).collect();
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

pub(super) async fn decision(
    pool: &PgPool,
    place: Place<'_>,
    kind: &Kind,
    key: &str,
    meaning: &Digest,
) -> sqlx::Result<Option<String>> {
    let key = text(key);
    let purged = pseudonym(place.hmac_key, kind.name(), &key);
    let decision: Option<Option<String>> = sqlx::query_scalar(place.schema.sql(
        "SELECT decision FROM mpesa_callbacks.callback
         WHERE kind = $1 AND key IN ($2, $3) AND meaning IN ($4, $5) ORDER BY id LIMIT 1",
    ))
    .bind(kind.name())
    .bind(key)
    .bind(purged)
    .bind(&meaning.as_bytes()[..])
    .bind(&hidden_digest(place.hmac_key, meaning.as_bytes())[..])
    .fetch_optional(pool)
    .await?;
    Ok(decision.flatten())
}
