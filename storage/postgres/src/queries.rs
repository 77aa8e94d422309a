//! Reading: counts, lists and lookups.

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::{Body, CallbackId, Entry, Filter, Lookup, StateCounts, Waiting};
use sqlx::postgres::{PgPool, PgRow};
use sqlx::{QueryBuilder, Row};

use super::digest;
use super::schema::Schema;
use super::session::Session;
use super::text;
use mpesa_callbacks_core::store::columns::{
    client_ip, hidden_receipt, micros, outcome, state, state_number, time, verdict, verdict_number,
};

pub(super) async fn depth(pool: &PgPool, schema: &Schema) -> sqlx::Result<StateCounts> {
    // Each count reads its own partial index.
    let counts: Vec<(i16, i64)> = sqlx::query_as(schema.sql(
        "SELECT 0::smallint, count(*) FROM mpesa_callbacks.work WHERE state = 0 UNION ALL
         SELECT 1::smallint, count(*) FROM mpesa_callbacks.work WHERE state = 1 UNION ALL
         SELECT state, count(*) FROM mpesa_callbacks.work WHERE state >= 3 GROUP BY state",
    ))
    .fetch_all(&mut *Session::acquire(pool).await?)
    .await?;
    let mut depth = StateCounts::default();
    for (number, count) in counts {
        depth.add(state(number.into()), count.unsigned_abs());
    }
    Ok(depth)
}

fn entry(row: &PgRow) -> sqlx::Result<Entry> {
    let kind = Kind::from_stored_name(row.try_get("kind")?);
    let key = row.try_get::<String, _>("key")?.into();
    let verdict = verdict(row.try_get::<i16, _>("verdict")?.into());
    let state = state(row.try_get::<i16, _>("state")?.into());
    let id = CallbackId::from_stored(row.try_get("id")?);
    let mut entry = Entry::new(id, kind, key, verdict, state, time(row.try_get("received_at")?));
    entry.seen = row.try_get::<i32, _>("seen")?.unsigned_abs();
    entry.last_seen_at = time(row.try_get("last_seen_at")?);
    entry.content_digest = digest(row.try_get("content_digest")?);
    entry.client_ip = client_ip(row.try_get("client_ip")?);
    entry.reference = row.try_get::<Option<String>, _>("reference")?.map(Sensitive::from);
    entry.receipt = row.try_get("receipt")?;
    entry.attempts = row.try_get::<i32, _>("attempts")?.unsigned_abs();
    entry.run_at = row.try_get::<Option<i64>, _>("run_at")?.map(time);
    entry.settled_at = row.try_get::<Option<i64>, _>("settled_at")?.map(time);
    entry.error = row.try_get::<Option<String>, _>("error")?.map(Sensitive::from);
    entry.decision = row.try_get("decision")?;
    entry.outcome = row.try_get::<Option<i16>, _>("outcome")?.and_then(|number| outcome(number.into()));
    entry.earlier = row.try_get::<Option<i64>, _>("earlier")?.map(CallbackId::from_stored);
    Ok(entry)
}

pub(super) async fn get(pool: &PgPool, schema: &Schema, id: CallbackId) -> sqlx::Result<Option<Entry>> {
    let row = sqlx::query(schema.sql(
        "SELECT callback.*, work.run_at, work.settled_at, work.attempts, work.state, work.error, body
         FROM mpesa_callbacks.callback JOIN mpesa_callbacks.work ON work.callback_id = id
                       LEFT JOIN mpesa_callbacks.body ON body.callback_id = id WHERE id = $1",
    ));
    let mut session = Session::acquire(pool).await?;
    row.bind(id.number()).fetch_optional(&mut *session).await?.as_ref().map(with_body).transpose()
}

pub(super) async fn find(
    pool: &PgPool,
    schema: &Schema,
    hmac_key: &[u8],
    lookups: &[Lookup],
) -> sqlx::Result<Vec<Entry>> {
    let (mut kinds, mut keys, mut references, mut receipts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for lookup in lookups {
        match lookup {
            Lookup::Key(kind, key) => {
                kinds.push(kind.name());
                keys.push(text(key.as_str()));
            }
            Lookup::Reference(kind, reference) => references.push((kind.name(), text(reference.as_str()))),
            Lookup::Receipt(receipt) => {
                let receipt = text(receipt);
                receipts.push(hidden_receipt(hmac_key, &receipt));
                receipts.push(receipt.into_owned());
            }
            // A lookup that is newer than this version finds nothing.
            _ => {}
        }
    }
    let (reference_kinds, references): (Vec<_>, Vec<_>) = references.into_iter().unzip();
    // A part for each index: one condition for all would scan the table.
    let rows = sqlx::query(schema.sql(
        "SELECT callback.*, work.run_at, work.settled_at, work.attempts, work.state, work.error, body
         FROM mpesa_callbacks.callback JOIN mpesa_callbacks.work ON work.callback_id = id
              LEFT JOIN mpesa_callbacks.body ON body.callback_id = id
         WHERE id = ANY(ARRAY(
             SELECT c.id FROM unnest($1::text[], $2::text[]) AS asked (kind, key) JOIN mpesa_callbacks.callback AS c USING (kind, key)
             UNION SELECT c.id FROM unnest($3::text[], $4::text[]) AS asked (kind, reference)
                   JOIN mpesa_callbacks.callback AS c USING (kind, reference)
             UNION SELECT c.id FROM mpesa_callbacks.callback AS c WHERE c.receipt = ANY($5) AND c.verdict IN (0, 5)
             UNION SELECT c.id FROM mpesa_callbacks.work AS w JOIN mpesa_callbacks.callback AS c ON c.id = w.callback_id
                   WHERE w.state >= 3 AND c.receipt = ANY($5)))",
    ));
    let rows = rows.bind(&kinds).bind(&keys).bind(&reference_kinds).bind(&references).bind(&receipts);
    rows.fetch_all(&mut *Session::acquire(pool).await?).await?.iter().map(with_body).collect()
}

pub(super) async fn waiting(pool: &PgPool, schema: &Schema) -> sqlx::Result<Vec<Waiting>> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        schema.sql("SELECT kind, count(*), min(run_at) FROM mpesa_callbacks.work WHERE state = 0 GROUP BY kind"),
    )
    .fetch_all(&mut *Session::acquire(pool).await?)
    .await?;
    let waiting = |(kind, count, due): (String, i64, i64)| {
        Waiting::new(Kind::from_stored_name(&kind), count.unsigned_abs(), time(due))
    };
    Ok(rows.into_iter().map(waiting).collect())
}

fn with_body(row: &PgRow) -> sqlx::Result<Entry> {
    let mut entry = entry(row)?;
    entry.body = row.try_get::<Option<Vec<u8>>, _>("body")?.map(Body::from);
    Ok(entry)
}

pub(super) async fn list(pool: &PgPool, schema: &Schema, filter: &Filter) -> sqlx::Result<Vec<Entry>> {
    let sqlx::AssertSqlSafe(begin) = schema.sql(
        "SELECT c.*, w.run_at, w.settled_at, w.attempts, w.state, w.error
         FROM mpesa_callbacks.callback AS c JOIN mpesa_callbacks.work AS w ON callback_id = id WHERE true",
    );
    let mut query = QueryBuilder::new(begin);
    if let Some(kind) = &filter.kind {
        query.push(" AND c.kind = ").push_bind(kind.name());
    }
    if let Some(state) = filter.state {
        // A literal, so that the planner sees which partial index has it.
        query.push(format!(" AND state = {}", state_number(state)));
    }
    if let Some(verdict) = filter.verdict {
        query.push(" AND verdict = ").push_bind(verdict_number(verdict));
    }
    if let Some(reference) = &filter.reference {
        query.push(" AND reference = ").push_bind(text(reference.as_str()).into_owned());
    }
    if let Some(since) = filter.since {
        query.push(" AND received_at >= ").push_bind(micros(since));
    }
    if let Some(until) = filter.until {
        query.push(" AND received_at < ").push_bind(micros(until));
    }
    if let Some(before) = filter.before {
        query.push(" AND id < ").push_bind(before.number());
    }
    query.push(" ORDER BY id DESC LIMIT ").push_bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
    query.build().fetch_all(&mut *Session::acquire(pool).await?).await?.iter().map(entry).collect()
}
