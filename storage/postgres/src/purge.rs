//! Deletes bodies and replaces their keys by HMACs.

use std::collections::HashSet;
use std::time::Duration;

use mpesa_callbacks_core::store::Extent;
use sqlx::Row;
use sqlx::postgres::{PgPool, PgRow};
use tokio::time::{Instant, sleep, timeout};

use super::schema::Schema;
use super::session::Session;
use mpesa_callbacks_core::store::columns::{hidden_digest, hidden_receipt, pseudonym, span};

/// Rows per transaction, so that others do not wait for long.
const READ_STEP: i64 = 200;

/// Bodies per transaction. Each changes all indexes of its row, and concurrent commits wait for the
/// log.
const PURGE_STEP: usize = 50;

/// Timeout of one step.
const STEP_TIMEOUT: Duration = Duration::from_secs(30);

/// Limits one of the many steps: a silent server must not stop a purge for an hour.
async fn in_time<T>(step: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(STEP_TIMEOUT, step).await.unwrap_or_else(|_| Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into())))
}

pub(super) async fn purge(
    pool: &PgPool,
    schema: &Schema,
    hmac_key: &[u8],
    age: Duration,
    extent: Extent,
) -> sqlx::Result<u64> {
    let (mut purged, mut behind) = (0, 0);
    while let Some((last, ids)) = in_time(purgeable(pool, schema, age, behind, extent)).await? {
        for ids in ids.chunks(PURGE_STEP) {
            let began = Instant::now();
            purged += retry_on_deadlock!(in_time(purge_some(pool, schema, hmac_key, ids)))?;
            // Leave the disk to others half of the time.
            sleep(began.elapsed()).await;
        }
        behind = last;
    }
    Ok(purged)
}

/// Reads some bodies with ids above `behind`: returns the last id, and those that may be purged. `None`
/// if there are no more; or, unless the extent is `All`, if none of these is old enough, because ids
/// follow the time of arrival.
async fn purgeable(
    pool: &PgPool,
    schema: &Schema,
    age: Duration,
    behind: i64,
    extent: Extent,
) -> sqlx::Result<Option<(i64, Vec<i64>)>> {
    let mut tx = Session::begin(pool).await?;
    // From the bodies, so that the many rows without one are not read.
    let rows: Vec<(i64, bool, bool)> = sqlx::query_as(schema.sql(
        "WITH looked_at AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.body WHERE callback_id > $1 ORDER BY callback_id LIMIT $3)
         SELECT id, state = 2, received_at < (SELECT mpesa_callbacks.now_us()) - $2
         FROM mpesa_callbacks.callback JOIN mpesa_callbacks.work ON callback_id = id
         WHERE id = ANY(ARRAY(SELECT callback_id FROM looked_at)) AND callback_id = ANY(ARRAY(SELECT callback_id FROM looked_at))
         ORDER BY id",
    ))
    .bind(behind)
    .bind(span(age))
    .bind(READ_STEP)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let old = rows.iter().filter(|(.., is_old)| *is_old);
    let ids: Vec<i64> = old.clone().filter(|(_, is_done, _)| *is_done).map(|(id, ..)| *id).collect();
    let has_old = old.count() > 0;
    let is_worth_it = has_old || extent == Extent::All;
    Ok(rows.last().filter(|_| is_worth_it).map(|(last, ..)| (*last, ids)))
}

/// The columns that identify a callback beside its body.
struct Told {
    id: i64,
    kind: String,
    key: String,
    body_digest: Vec<u8>,
    content_digest: Vec<u8>,
    detail: Option<Vec<u8>>,
    receipt: Option<String>,
    has_reference: bool,
}

impl Told {
    fn read(row: &PgRow) -> sqlx::Result<Told> {
        Ok(Told {
            id: row.try_get("id")?,
            kind: row.try_get("kind")?,
            key: row.try_get("key")?,
            body_digest: row.try_get("body_digest")?,
            content_digest: row.try_get("content_digest")?,
            detail: row.try_get("detail")?,
            receipt: row.try_get("receipt")?,
            has_reference: row.try_get("has_reference")?,
        })
    }
}

/// Purges those that are still done. Returns their number.
async fn purge_some(pool: &PgPool, schema: &Schema, hmac_key: &[u8], ids: &[i64]) -> sqlx::Result<u64> {
    let mut tx = Session::begin(pool).await?;
    // From now on other processes look for replaced keys, too.
    let began =
        schema.sql("INSERT INTO mpesa_callbacks.meta (name, value) VALUES ('purged', '') ON CONFLICT DO NOTHING");
    sqlx::query(began).execute(&mut *tx).await?;
    let done: Vec<i64> = sqlx::query_scalar(schema.sql(
        "SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) AND state + 0 = 2
         ORDER BY callback_id FOR NO KEY UPDATE",
    ))
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    let done: Vec<PgRow> = sqlx::query(schema.sql(
        "SELECT id, kind, key, body_digest, content_digest, detail, receipt,
                reference IS NOT NULL AND kind = 'payment' AS has_reference
         FROM mpesa_callbacks.callback WHERE id = ANY($1)
         ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR UPDATE",
    ))
    .bind(&done)
    .fetch_all(&mut *tx)
    .await?;
    let mut done: Vec<Told> = done.iter().map(Told::read).collect::<sqlx::Result<_>>()?;
    // Another purge may have deleted the body and replaced the key meanwhile, which must not happen
    // twice.
    let ids: Vec<i64> = done.iter().map(|told| told.id).collect();
    let taken = schema.sql("DELETE FROM mpesa_callbacks.body WHERE callback_id = ANY($1) RETURNING callback_id");
    let taken: HashSet<i64> = sqlx::query_scalar(taken).bind(&ids).fetch_all(&mut *tx).await?.into_iter().collect();
    done.retain(|told| taken.contains(&told.id));
    let ids: Vec<i64> = done.iter().map(|told| told.id).collect();
    let keys: Vec<String> = done.iter().map(|told| pseudonym(hmac_key, &told.kind, &told.key)).collect();
    let with_reference: Vec<i64> = done.iter().filter(|told| told.has_reference).map(|told| told.id).collect();
    let hidden = |body_digest: &Vec<u8>| hidden_digest(hmac_key, body_digest).to_vec();
    let body_digests: Vec<Vec<u8>> = done.iter().map(|told| hidden(&told.body_digest)).collect();
    let content_digests: Vec<Vec<u8>> = done.iter().map(|told| hidden(&told.content_digest)).collect();
    let details: Vec<Option<Vec<u8>>> = done.iter().map(|told| told.detail.as_ref().map(hidden)).collect();
    let receipts: Vec<Option<String>> =
        done.iter().map(|told| told.receipt.as_ref().map(|receipt| hidden_receipt(hmac_key, receipt))).collect();
    sqlx::query(schema.sql(
        "WITH forgotten AS (
             UPDATE mpesa_callbacks.work SET error = NULL, told = CASE WHEN callback_id = ANY($7) THEN -1 ELSE told END
             WHERE callback_id = ANY($1) AND (error IS NOT NULL OR callback_id = ANY($7))
         )
         UPDATE mpesa_callbacks.callback AS c
         SET key = hidden.key, body_digest = hidden.body_digest, content_digest = hidden.content_digest, detail = hidden.detail, receipt = hidden.receipt,
             reference = NULL, client_ip = NULL
         FROM unnest($1::bigint[], $2::text[], $3::bytea[], $4::bytea[], $5::bytea[], $6::text[])
              AS hidden (id, key, body_digest, content_digest, detail, receipt)
         WHERE c.id = hidden.id AND c.id = ANY($1)",
    ))
    .bind(&ids)
    .bind(&keys)
    .bind(&body_digests)
    .bind(&content_digests)
    .bind(&details)
    .bind(&receipts)
    .bind(&with_reference)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ids.len() as u64)
}

pub(super) async fn trim_quarantine(pool: &PgPool, schema: &Schema, rows: u64, bytes: u64) -> sqlx::Result<u64> {
    let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    // Those without a reference and new ones are kept first. The newest of all stays.
    let excess: Vec<i64> = sqlx::query_scalar(schema.sql(
        "SELECT id FROM (
             SELECT id, count(*) OVER before AS kept, sum(length(body)) OVER before AS size, max(id) OVER () AS newest
             FROM mpesa_callbacks.work JOIN mpesa_callbacks.callback ON id = work.callback_id
                  LEFT JOIN mpesa_callbacks.body ON body.callback_id = id
             WHERE state = 5 AND state >= 3
             WINDOW before AS (ORDER BY reference IS NOT NULL, id DESC)
         ) AS quarantined WHERE id <> newest AND (kept > $1 OR size > $2)",
    ))
    .bind(limit(rows))
    .bind(limit(bytes))
    .fetch_all(&mut *Session::acquire(pool).await?)
    .await?;
    let mut trimmed = 0;
    for ids in excess.chunks(usize::try_from(READ_STEP).unwrap_or(1)) {
        trimmed += retry_on_deadlock!(in_time(trim_some(pool, schema, ids)))?;
    }
    Ok(trimmed)
}

async fn trim_some(pool: &PgPool, schema: &Schema, ids: &[i64]) -> sqlx::Result<u64> {
    let mut tx = Session::begin(pool).await?;
    let ids: Vec<i64> = sqlx::query_scalar(schema.sql(
        "SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) AND state = 5 ORDER BY callback_id FOR UPDATE",
    ))
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    for statement in [
        // In the order of keys, like recorders.
        "SELECT FROM mpesa_callbacks.callback WHERE id = ANY($1) ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR UPDATE",
        "DELETE FROM mpesa_callbacks.body WHERE callback_id = ANY($1)",
        "DELETE FROM mpesa_callbacks.work WHERE callback_id = ANY($1)",
    ] {
        sqlx::query(schema.sql(statement)).bind(&ids).execute(&mut *tx).await?;
    }
    let gone = sqlx::query(schema.sql("DELETE FROM mpesa_callbacks.callback WHERE id = ANY($1)")).bind(&ids);
    let trimmed = gone.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(trimmed)
}
