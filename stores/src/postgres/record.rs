//! Recording: what is known under a key, and what a delivery is beside it.
//!
//! A batch is one transaction of a few statements, whatever its size. Nearly all of it is new, and inserted at once, in the order of
//! keys; of racing transactions the unique indexes let one be first. What repeats the bytes of another is known by them. Only what
//! says something else takes the locks of all that is known under its key, and is judged by that. Locks of callbacks are taken in the
//! order of keys, too, here and in `purge`, and those of `work` before them, so nobody waits in a circle.

use std::collections::{HashMap, HashSet};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{CallbackId, Known, Received, Recorded, Verdict};
use sqlx::Row;
use sqlx::postgres::{PgConnection, PgPool};

use super::text;
use crate::words::{micros, pseudonym, span, state_number, verdict, verdict_number};

/// How often others may come in between before something must be wrong.
const ROUNDS: usize = 16;

/// What became of one delivery.
type Found = (CallbackId, Verdict, Option<String>);

pub(super) async fn record_all(
    connection: &mut PgConnection,
    batch: &[Received],
    hmac_key: &[u8],
) -> sqlx::Result<Vec<Recorded>> {
    let mut repeated = Vec::new();
    let recorded = record_batch(connection, batch, hmac_key, &mut repeated).await?;
    // Last of all, because it locks what others handle.
    repeat(connection, &repeated).await?;
    Ok(recorded)
}

/// Records the deliveries and the payments that they show; `repeated` gathers those that came again, and when.
async fn record_batch(
    connection: &mut PgConnection,
    batch: &[Received],
    hmac_key: &[u8],
    repeated: &mut Vec<(CallbackId, i64)>,
) -> sqlx::Result<Vec<Recorded>> {
    let mut found: Vec<Option<Found>> = vec![None; batch.len()];
    let mut payments = Vec::new();
    // In the order of keys, so that transactions wait for one another in one direction.
    let mut waiting: Vec<usize> = (0..batch.len()).collect();
    waiting.sort_by_key(|at| (batch[*at].kind.name(), batch[*at].key.as_str()));
    while !waiting.is_empty() {
        // One of each key at a time: the deliveries of one batch see each other, in order.
        let is_next = |nth: usize| {
            let one = |nth: usize| (&batch[waiting[nth]].kind, &batch[waiting[nth]].key);
            nth == 0 || one(nth) != one(nth - 1)
        };
        let (next, later): (Vec<usize>, Vec<usize>) = (0..waiting.len()).partition(|nth| is_next(*nth));
        let (next, later): (Vec<_>, Vec<_>) =
            (next.iter().map(|nth| waiting[*nth]).collect(), later.iter().map(|nth| waiting[*nth]).collect());
        let deliveries: Vec<&Received> = next.iter().map(|at| &batch[*at]).collect();
        for (at, one) in next.into_iter().zip(record_each(connection, &deliveries, hmac_key, repeated).await?) {
            if let (Verdict::First, Some(payment)) = (one.1, &batch[at].payment) {
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
        let recorded = Box::pin(record_batch(connection, &payments, hmac_key, repeated)).await?;
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
    deliveries: &[&Received],
    hmac_key: &[u8],
    repeated: &mut Vec<(CallbackId, i64)>,
) -> sqlx::Result<Vec<Found>> {
    let mut found: Vec<Option<Found>> = vec![None; deliveries.len()];
    let can_be_first = |at: &usize| deliveries[*at].verdict(&[], false).0 == Verdict::First;
    let firsts = (0..deliveries.len()).filter(can_be_first);
    let firsts: Vec<_> = firsts.map(|at| (at, Verdict::First, deliveries[at].decision.clone())).collect();
    let inserted = insert(connection, deliveries, &firsts, hmac_key).await?;
    for (at, verdict, decision) in firsts {
        found[at] = inserted.get(&at).map(|id| (*id, verdict, decision));
    }
    // Whoever repeats the bytes of another does so whatever else is known, so that needs no lock.
    let mut is_locked = false;
    for _ in 0..ROUNDS {
        let open: Vec<usize> = (0..deliveries.len()).filter(|at| found[*at].is_none()).collect();
        if open.is_empty() {
            break;
        }
        let names = Names::of(deliveries, &open, hmac_key);
        let earlier = match is_locked {
            true => look_locked(connection, &names, repeated).await?,
            false => look(connection, &names).await?,
        };
        let taken = if is_locked { taken(connection, deliveries, &open).await? } else { Vec::new() };
        let mut new = Vec::new();
        for at in open {
            let known: Vec<Known> = earlier.iter().filter(|one| one.at == at).map(|one| one.known).collect();
            let (verdict, same) = deliveries[at].verdict(&known, taken.contains(&at));
            let same = same.and_then(|id| earlier.iter().find(|one| one.known.id == id));
            let decision = match same {
                Some(same) => same.decision.clone(),
                None => deliveries[at].decision.clone(),
            };
            match (verdict, same) {
                (Verdict::Duplicate, Some(same)) => {
                    let (id, received_at) = (same.known.id, micros(deliveries[at].received_at));
                    // The same delivery, whose commit nobody heard of: what it was then is what it is. (The server's own word on a
                    // transaction will not do: a crash gives its id to another one.)
                    let is_itself = same.received_at == received_at;
                    found[at] = Some((id, if is_itself { same.verdict } else { verdict }, decision));
                    repeated.extend((!is_itself).then_some((id, received_at)));
                }
                _ if is_locked => new.push((at, verdict, decision)),
                _ => {}
            }
        }
        let inserted = insert(connection, deliveries, &new, hmac_key).await?;
        for (at, verdict, decision) in new {
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
            names.receipts.extend(received.receipt.as_deref().map(|receipt| text(receipt).into_owned()));
        }
        names
    }
}

/// A callback that is known under the key of one of the deliveries.
struct Earlier {
    at: usize,
    known: Known,
    verdict: Verdict,
    received_at: i64,
    decision: Option<String>,
}

/// What is known under the keys.
async fn look(connection: &mut PgConnection, names: &Names) -> sqlx::Result<Vec<Earlier>> {
    let rows = sqlx::query(
        "SELECT at, id, digest, meaning, verdict, received_at, decision
         FROM mpesa_callbacks.callback JOIN unnest($1::int[], $2::text[], $3::text[]) AS asked (at, kind, key) USING (kind, key)
         WHERE callback.kind = ANY($2) AND callback.key = ANY($3)
         ORDER BY id",
    );
    let rows = rows.bind(&names.at).bind(&names.kinds).bind(&names.keys).fetch_all(connection).await?;
    let digest = |bytes: Vec<u8>| Digest::from(<[u8; 32]>::try_from(bytes).unwrap_or_default());
    let earlier = rows.iter().map(|row| {
        Ok(Earlier {
            at: usize::try_from(row.try_get::<i32, _>("at")?).unwrap_or(usize::MAX),
            known: Known {
                id: CallbackId(row.try_get("id")?),
                digest: digest(row.try_get("digest")?),
                meaning: digest(row.try_get("meaning")?),
            },
            verdict: verdict(row.try_get::<i16, _>("verdict")?.into()),
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
    names: &Names,
    repeated: &[(CallbackId, i64)],
) -> sqlx::Result<Vec<Earlier>> {
    // What will be written because it came again is locked with the others, for the sake of the order.
    let repeated: Vec<i64> = repeated.iter().map(|(id, _)| id.0).collect();
    // Locked, and then read: others may have added to a key while we waited for its lock. What was not there to be locked
    // is locked the next time.
    let mut locked: HashSet<i64> = HashSet::new();
    loop {
        let ids: Vec<i64> = sqlx::query_scalar(
            "SELECT id FROM mpesa_callbacks.callback WHERE key = ANY($1) OR receipt = ANY($2) AND verdict = 0 OR id = ANY($3)
             ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR NO KEY UPDATE",
        )
        .bind(&names.keys)
        .bind(&names.receipts)
        .bind(&repeated)
        .fetch_all(&mut *connection)
        .await?;
        locked.extend(ids);
        let earlier = look(connection, names).await?;
        if earlier.iter().all(|one| locked.contains(&one.known.id.0)) {
            return Ok(earlier);
        }
    }
}

/// Those of the deliveries whose receipt another callback of their kind told of first, under another key.
async fn taken(connection: &mut PgConnection, deliveries: &[&Received], open: &[usize]) -> sqlx::Result<Vec<usize>> {
    let with_receipt = |at: &&usize| deliveries[**at].receipt.is_some() && deliveries[**at].kind != Kind::Payment;
    let asked: Vec<usize> = open.iter().filter(with_receipt).copied().collect();
    let kinds: Vec<&str> = asked.iter().map(|at| deliveries[*at].kind.name()).collect();
    let receipts: Vec<_> = asked.iter().map(|at| deliveries[*at].receipt.as_deref().map(text)).collect();
    let taken: Vec<i64> = sqlx::query_scalar(
        "SELECT nth FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS asked (kind, receipt, nth)
         JOIN mpesa_callbacks.callback USING (kind, receipt) WHERE verdict = 0 AND callback.receipt = ANY($2)",
    )
    .bind(&kinds)
    .bind(&receipts)
    .fetch_all(connection)
    .await?;
    Ok(taken.into_iter().filter_map(|nth| asked.get(usize::try_from(nth - 1).ok()?).copied()).collect())
}

/// They came again.
async fn repeat(connection: &mut PgConnection, repeated: &[(CallbackId, i64)]) -> sqlx::Result<()> {
    if repeated.is_empty() {
        return Ok(());
    }
    let (ids, times): (Vec<i64>, Vec<i64>) = repeated.iter().map(|(id, at)| (id.0, *at)).unzip();
    sqlx::query(
        "WITH locked AS MATERIALIZED (
             SELECT id FROM mpesa_callbacks.callback WHERE id = ANY($1)
             ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR NO KEY UPDATE
         ), again AS (
             SELECT id, count(DISTINCT at) AS times, max(at) AS at FROM unnest($1::bigint[], $2::bigint[]) AS again (id, at) GROUP BY id
         )
         UPDATE mpesa_callbacks.callback SET seen = seen + again.times, last_seen_at = again.at
         FROM again WHERE callback.id = ANY(ARRAY(SELECT id FROM locked)) AND callback.id = again.id AND last_seen_at <> again.at",
    )
    .bind(&ids)
    .bind(&times)
    .execute(connection)
    .await?;
    Ok(())
}

fn small(number: i64) -> i16 {
    i16::try_from(number).unwrap_or(i16::MAX)
}

/// Writes what nobody has written yet, and tells the ids of what was. What is to be the first of its key is written only where
/// nothing is known under it, nor under what hides it once it is purged.
async fn insert(
    connection: &mut PgConnection,
    deliveries: &[&Received],
    new: &[(usize, Verdict, Option<String>)],
    hmac_key: &[u8],
) -> sqlx::Result<HashMap<usize, CallbackId>> {
    if new.is_empty() {
        return Ok(HashMap::new());
    }
    let all = || new.iter().map(|(at, verdict, _)| (deliveries[*at], *verdict));
    let kinds: Vec<&str> = all().map(|(received, _)| received.kind.name()).collect();
    let keys: Vec<_> = all().map(|(received, _)| text(received.key.as_str())).collect();
    let verdicts: Vec<i16> = all().map(|(_, verdict)| small(verdict_number(verdict))).collect();
    let digests: Vec<&[u8]> = all().map(|(received, _)| &received.digest.as_bytes()[..]).collect();
    let meanings: Vec<&[u8]> = all().map(|(received, _)| &received.meaning.as_bytes()[..]).collect();
    let times: Vec<i64> = all().map(|(received, _)| micros(received.received_at)).collect();
    let receipts: Vec<_> = all().map(|(received, _)| received.receipt.as_deref().map(text)).collect();
    let peers: Vec<Option<String>> = all().map(|(received, _)| received.peer.map(|peer| peer.to_string())).collect();
    let references: Vec<_> =
        all().map(|(received, _)| received.reference.as_ref().map(|reference| text(reference.as_str()))).collect();
    let decisions: Vec<_> = new.iter().map(|(.., decision)| decision.as_deref().map(text)).collect();
    let hidden: Vec<String> = kinds
        .iter()
        .zip(&keys)
        .map(|(kind, key): (&&str, &std::borrow::Cow<'_, str>)| pseudonym(hmac_key, kind, key))
        .collect();
    let written: Vec<(i64, String, String)> = sqlx::query_as(
        "INSERT INTO mpesa_callbacks.callback (kind, key, verdict, digest, meaning, received_at, last_seen_at, receipt, peer, reference,
                                               decision)
         SELECT kind, key, verdict, digest, meaning, received_at, received_at, receipt, peer, reference, decision
         FROM unnest($1::text[], $2::text[], $3::smallint[], $4::bytea[], $5::bytea[], $6::bigint[], $7::text[], $8::text[], $9::text[],
                     $10::text[], $11::text[]) WITH ORDINALITY
              AS new (kind, key, verdict, digest, meaning, received_at, receipt, peer, reference, decision, hidden, nth)
         WHERE verdict <> 0 OR (
             SELECT id FROM mpesa_callbacks.callback AS c WHERE c.kind = new.kind AND c.key IN (new.key, new.hidden) LIMIT 1) IS NULL
         ORDER BY nth
         ON CONFLICT DO NOTHING RETURNING id, kind, key",
    )
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
    .bind(&hidden)
    .fetch_all(&mut *connection)
    .await?;
    let by_name: HashMap<(&str, &str), i64> =
        written.iter().map(|(id, kind, key)| ((kind.as_str(), key.as_str()), *id)).collect();
    let id = |at: usize| by_name.get(&(deliveries[at].kind.name(), &*text(deliveries[at].key.as_str()))).copied();
    let inserted: Vec<(usize, i64, Verdict)> =
        new.iter().filter_map(|(at, verdict, _)| Some((*at, id(*at)?, *verdict))).collect();
    begin_work(connection, deliveries, &inserted).await?;
    Ok(inserted.into_iter().map(|(at, id, _)| (at, CallbackId(id))).collect())
}

/// Writes the bodies of what was written, and what is to be done about it.
async fn begin_work(
    connection: &mut PgConnection,
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
    sqlx::query(
        "WITH bodies AS (
             INSERT INTO mpesa_callbacks.body (callback_id, body) SELECT * FROM unnest($1::bigint[], $2::bytea[])
         )
         INSERT INTO mpesa_callbacks.work (callback_id, state, run_at, settled_at, error)
         SELECT callback_id, state, CASE WHEN state = 0 THEN mpesa_callbacks.now_us() + due_after END,
                CASE WHEN state = 2 THEN mpesa_callbacks.now_us() END, error
         FROM unnest($1::bigint[], $3::smallint[], $4::bigint[], $5::text[]) AS new (callback_id, state, due_after, error)",
    )
    .bind(&ids)
    .bind(&bodies)
    .bind(&states)
    .bind(&delays)
    .bind(&reasons)
    .execute(connection)
    .await?;
    Ok(())
}

pub(super) async fn decision(
    pool: &PgPool,
    hmac_key: &[u8],
    kind: &Kind,
    key: &str,
    meaning: &Digest,
) -> sqlx::Result<Option<String>> {
    let key = text(key);
    let purged = pseudonym(hmac_key, kind.name(), &key);
    let decision: Option<Option<String>> = sqlx::query_scalar(
        "SELECT decision FROM mpesa_callbacks.callback
         WHERE kind = $1 AND key IN ($2, $3) AND meaning = $4 ORDER BY id LIMIT 1",
    )
    .bind(kind.name())
    .bind(key)
    .bind(purged)
    .bind(&meaning.as_bytes()[..])
    .fetch_optional(pool)
    .await?;
    Ok(decision.flatten())
}
