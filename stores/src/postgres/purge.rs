//! Deleting bodies, and hiding the keys of those that went.

use std::collections::HashSet;
use std::time::Duration;

use sqlx::postgres::PgPool;
use tokio::time::{Instant, sleep};

use super::begin;
use crate::words::{pseudonym, span};

/// How many rows are looked at, or go, in one transaction, so that others need not wait for long.
const AT_ONCE: i64 = 200;

/// How many are purged in one: each is written to all indexes of its table, and what others commit meanwhile waits for its log.
const PURGED_AT_ONCE: usize = 50;

pub(super) async fn purge(pool: &PgPool, hmac_key: &[u8], age: Duration) -> sqlx::Result<u64> {
    let (mut purged, mut behind) = (0, 0);
    while let Some((last, ids)) = purgeable(pool, age, behind).await? {
        for ids in ids.chunks(PURGED_AT_ONCE) {
            let began = Instant::now();
            purged += unlocked!(purge_some(pool, hmac_key, ids))?;
            // The disk is others' too, half of the time.
            sleep(began.elapsed()).await;
        }
        behind = last;
    }
    Ok(purged)
}

/// Looks at some of the bodies behind this id: the last one's id, and which may go. None when there are no more, or none that is
/// old enough: ids go by arrival, and one that bears a time ahead of its own stands among others.
async fn purgeable(pool: &PgPool, age: Duration, behind: i64) -> sqlx::Result<Option<(i64, Vec<i64>)>> {
    let mut tx = begin(pool).await?;
    // Bodies first, of which there are few, and by their ids: rows without one, of which there are many, are not looked at.
    let rows: Vec<(i64, bool, bool)> = sqlx::query_as(
        "WITH looked_at AS MATERIALIZED (
             SELECT callback_id FROM mpesa_callbacks.body WHERE callback_id > $1 ORDER BY callback_id LIMIT $3)
         SELECT id, state = 2, received_at < (SELECT mpesa_callbacks.now_us()) - $2
         FROM mpesa_callbacks.callback JOIN mpesa_callbacks.work ON callback_id = id
         WHERE id = ANY(ARRAY(SELECT callback_id FROM looked_at)) AND callback_id = ANY(ARRAY(SELECT callback_id FROM looked_at))
         ORDER BY id",
    )
    .bind(behind)
    .bind(span(age))
    .bind(AT_ONCE)
    .fetch_all(&mut *tx)
    .await?;
    tx.commit().await?;
    let old = rows.iter().filter(|(.., is_old)| *is_old);
    let ids: Vec<i64> = old.clone().filter(|(_, is_done, _)| *is_done).map(|(id, ..)| *id).collect();
    let has_old = old.count() > 0;
    Ok(rows.last().filter(|_| has_old).map(|(last, ..)| (*last, ids)))
}

/// Those of them that are still there, and done; how many there were.
async fn purge_some(pool: &PgPool, hmac_key: &[u8], ids: &[i64]) -> sqlx::Result<u64> {
    let mut tx = begin(pool).await?;
    let done: Vec<i64> = sqlx::query_scalar(
        "SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) AND state + 0 = 2
         ORDER BY callback_id FOR NO KEY UPDATE",
    )
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    let done: Vec<(i64, String, String)> = sqlx::query_as(
        "SELECT id, kind, key FROM mpesa_callbacks.callback WHERE id = ANY($1)
         ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR UPDATE",
    )
    .bind(&done)
    .fetch_all(&mut *tx)
    .await?;
    // Whose body another purge took while we waited for the lock has a hidden key, which must not be hidden again.
    let ids: Vec<i64> = done.iter().map(|(id, ..)| *id).collect();
    let ids: HashSet<i64> =
        sqlx::query_scalar("DELETE FROM mpesa_callbacks.body WHERE callback_id = ANY($1) RETURNING callback_id")
            .bind(&ids)
            .fetch_all(&mut *tx)
            .await?
            .into_iter()
            .collect();
    let (ids, hidden): (Vec<i64>, Vec<String>) = done
        .iter()
        .filter(|(id, ..)| ids.contains(id))
        .map(|(id, kind, key)| (*id, pseudonym(hmac_key, kind, key)))
        .unzip();
    sqlx::query(
        "WITH forgotten AS (
             UPDATE mpesa_callbacks.work SET error = NULL WHERE callback_id = ANY($1) AND error IS NOT NULL
         )
         UPDATE mpesa_callbacks.callback AS c SET key = hidden.key, reference = NULL, peer = NULL
         FROM unnest($1::bigint[], $2::text[]) AS hidden (id, key) WHERE c.id = hidden.id AND c.id = ANY($1)",
    )
    .bind(&ids)
    .bind(&hidden)
    .execute(&mut *tx)
    .await?;
    tx.commit().await?;
    Ok(ids.len() as u64)
}

pub(super) async fn trim_quarantine(pool: &PgPool, rows: u64, bytes: u64) -> sqlx::Result<u64> {
    let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
    // Counted and added up from those to keep: without a reference, and new. The newest of all stays.
    let excess: Vec<i64> = sqlx::query_scalar(
        "SELECT id FROM (
             SELECT id, count(*) OVER before AS kept, sum(length(body)) OVER before AS size, max(id) OVER () AS newest
             FROM mpesa_callbacks.work JOIN mpesa_callbacks.callback ON id = work.callback_id
                  LEFT JOIN mpesa_callbacks.body ON body.callback_id = id
             WHERE state = 5 AND state >= 3
             WINDOW before AS (ORDER BY reference IS NOT NULL, id DESC)
         ) AS quarantined WHERE id <> newest AND (kept > $1 OR size > $2)",
    )
    .bind(limit(rows))
    .bind(limit(bytes))
    .fetch_all(pool)
    .await?;
    let mut trimmed = 0;
    for ids in excess.chunks(usize::try_from(AT_ONCE).unwrap_or(1)) {
        trimmed += unlocked!(trim_some(pool, ids))?;
    }
    Ok(trimmed)
}

async fn trim_some(pool: &PgPool, ids: &[i64]) -> sqlx::Result<u64> {
    let mut tx = begin(pool).await?;
    let ids: Vec<i64> = sqlx::query_scalar(
        "SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = ANY($1) AND state = 5 ORDER BY callback_id FOR UPDATE",
    )
    .bind(ids)
    .fetch_all(&mut *tx)
    .await?;
    for statement in [
        // In the order of keys, in which whoever records waits for them.
        "SELECT FROM mpesa_callbacks.callback WHERE id = ANY($1) ORDER BY kind COLLATE \"C\", key COLLATE \"C\", id FOR UPDATE",
        "DELETE FROM mpesa_callbacks.body WHERE callback_id = ANY($1)",
        "DELETE FROM mpesa_callbacks.work WHERE callback_id = ANY($1)",
    ] {
        sqlx::query(statement).bind(&ids).execute(&mut *tx).await?;
    }
    let gone = sqlx::query("DELETE FROM mpesa_callbacks.callback WHERE id = ANY($1)").bind(&ids);
    let trimmed = gone.execute(&mut *tx).await?.rows_affected();
    tx.commit().await?;
    Ok(trimmed)
}
