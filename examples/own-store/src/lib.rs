//! Callbacks kept in a table of the application's own: a [`Store`] over `schema.sql`, by sqlx on SQLite.
//!
//! `tests/contract.rs` runs the contract of stores on it, which is what says that it is right.

mod recording;

mod words;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::{Digest, Private};
use mpesa_callbacks::store::{
    Body, CallbackId, Claimed, Depth, Ending, Entry, Filter, Lease, Received, Recorded, Settled, Settlement, Sibling,
    State, Store, StoreError,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{QueryBuilder, Row, Sqlite, SqlitePool, Transaction};

use self::words::{entry, failed, later, micros, pseudonym, state, with_payload};

/// The team's events, with M-Pesa's callbacks among them.
#[derive(Clone)]
pub struct PartnerEvents {
    pool: SqlitePool,
    /// Hides the keys of events whose payload was deleted.
    secret: Arc<[u8; 32]>,
}

impl std::fmt::Debug for PartnerEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartnerEvents")
    }
}

impl PartnerEvents {
    /// Opens the database, and makes the table when it is not there. The secret belongs where the application keeps its
    /// others.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(path: &Path, secret: [u8; 32]) -> Result<PartnerEvents, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // What was acknowledged must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(failed)?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await.map_err(failed)?;
        Ok(PartnerEvents { pool, secret: Arc::new(secret) })
    }

    /// Takes the right to write at once: a transaction that reads first could find it taken when it wants to write.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }
}

fn now() -> i64 {
    micros(SystemTime::now())
}

#[async_trait]
impl Store for PartnerEvents {
    async fn record(&self, batch: &[Received]) -> Result<Vec<Recorded>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let mut recorded = Vec::with_capacity(batch.len());
        for received in batch {
            recorded.push(recording::record(&mut tx, received, &self.secret, now).await.map_err(failed)?);
        }
        // Only what was committed may be acknowledged.
        tx.commit().await.map_err(failed)?;
        Ok(recorded)
    }

    async fn decision(&self, kind: &Kind, key: &str, meaning: &Digest) -> Result<Option<String>, StoreError> {
        let answer: Option<Option<String>> = sqlx::query_scalar(
            "SELECT answer FROM partner_event WHERE topic = ?1 AND external_id IN (?2, ?3) AND meaning = ?4 ORDER BY event_no LIMIT 1",
        )
        .bind(kind.name())
        .bind(key)
        .bind(pseudonym(&self.secret, kind.name(), key))
        .bind(&meaning.as_bytes()[..])
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        Ok(answer.flatten())
    }

    async fn claim(&self, limit: usize, lease: Duration) -> Result<Vec<Claimed>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let rows = sqlx::query(
            "UPDATE partner_event SET stage = 'running', lease_no = lease_no + 1, tries = tries + 1, lease_until = ?3, due_us = NULL
             WHERE event_no IN (SELECT event_no FROM partner_event WHERE stage = 'ready' AND due_us <= ?1 ORDER BY due_us, event_no LIMIT ?2)
             RETURNING *",
        )
        .bind(now)
        .bind(i64::try_from(limit).unwrap_or(i64::MAX))
        .bind(later(now, lease))
        .fetch_all(&mut *tx)
        .await
        .map_err(failed)?;
        let mut claimed = Vec::with_capacity(rows.len());
        for row in &rows {
            let entry = entry(row).map_err(failed)?;
            let lease = Lease { id: entry.id, fence: row.try_get("lease_no").map_err(failed)? };
            let body: Vec<u8> = row.try_get("payload").map_err(failed)?;
            let mut one = Claimed::new(lease, entry.kind, entry.key, Body::from(body), entry.received_at);
            one.verdict = entry.verdict;
            one.peer = entry.peer;
            one.meaning = entry.meaning;
            one.reference = entry.reference;
            one.attempt = entry.attempts;
            one.interruptions = row.try_get("broken_off").map_err(failed)?;
            one.last_error = entry.error;
            if let Some(receipt) = entry.receipt {
                one.sibling = recording::sibling(&mut tx, &receipt, &one.kind).await.map_err(failed)?;
            }
            claimed.push(one);
        }
        tx.commit().await.map_err(failed)?;
        // `RETURNING` has no order.
        claimed.sort_by_key(|one| one.lease.id);
        Ok(claimed)
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let (until, mut tx) = (later(now(), lease), self.begin().await?);
        let mut renewed = Vec::with_capacity(leases.len());
        for lease in leases {
            let held = sqlx::query(
                "UPDATE partner_event SET lease_until = ?3 WHERE event_no = ?1 AND lease_no = ?2 AND stage = 'running'",
            )
            .bind(lease.id.0)
            .bind(lease.fence)
            .bind(until)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
            renewed.push(held.rows_affected() == 1);
        }
        tx.commit().await.map_err(failed)?;
        Ok(renewed)
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<Settled>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let mut settled = Vec::with_capacity(batch.len());
        for Settlement { lease, ending, .. } in batch {
            let stage = ending.state().name();
            let (due, finished, trouble, uncounted) = match ending {
                Ending::Done => (None, Some(now), None, 0),
                Ending::Retry { after, error } => (Some(later(now, *after)), None, Some(error), 0),
                Ending::Dead { error } => (None, Some(now), Some(error), 0),
                Ending::Released { after } => (Some(later(now, *after)), None, None, 1),
                Ending::Held { error } => (None, None, Some(error), 0),
                // An ending that is newer than this store needs nothing else.
                _ => (None, None, None, 0),
            };
            // Under the lease's own number only: whoever lost it changes nothing.
            let changed = sqlx::query(
                "UPDATE partner_event SET stage = ?3, due_us = ?4, finished_us = ?5, tries = tries - ?7, lease_until = NULL,
                        trouble = coalesce(?6, CASE WHEN ?3 = 'done' THEN NULL ELSE trouble END)
                 WHERE event_no = ?1 AND lease_no = ?2 AND stage = 'running'",
            )
            .bind(lease.id.0)
            .bind(lease.fence)
            .bind(stage)
            .bind(due)
            .bind(finished)
            .bind(trouble.map(Private::as_str))
            .bind(uncounted)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
            // Whoever did not hear that it was written asks again.
            let repeats = "SELECT EXISTS (SELECT 1 FROM partner_event
                                          WHERE event_no = ? AND lease_no = ? AND stage = ? AND stage NOT IN ('ready', 'running'))";
            let is_written = changed.rows_affected() == 1
                || sqlx::query_scalar(repeats)
                    .bind(lease.id.0)
                    .bind(lease.fence)
                    .bind(stage)
                    .fetch_one(&mut *tx)
                    .await
                    .map_err(failed)?;
            settled.push(if is_written { Settled::Written } else { Settled::LeaseLost });
        }
        tx.commit().await.map_err(failed)?;
        Ok(settled)
    }

    async fn sweep(&self) -> Result<u64, StoreError> {
        let swept = sqlx::query(
            "UPDATE partner_event SET stage = 'ready', due_us = ?1, lease_until = NULL, broken_off = broken_off + 1
             WHERE stage = 'running' AND lease_until < ?1",
        )
        .bind(now())
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(swept.rows_affected())
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        let row = sqlx::query("SELECT * FROM partner_event WHERE event_no = ?").bind(id.0);
        let row = row.fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(with_payload).transpose().map_err(failed)
    }

    async fn find(&self, names: &[(Kind, Private)]) -> Result<Vec<Entry>, StoreError> {
        let mut found = Vec::new();
        for (kind, key) in names {
            let rows = sqlx::query("SELECT * FROM partner_event WHERE topic = ? AND external_id = ?");
            let rows = rows.bind(kind.name()).bind(key.as_str()).fetch_all(&self.pool).await.map_err(failed)?;
            for row in &rows {
                found.push(with_payload(row).map_err(failed)?);
            }
        }
        Ok(found)
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let mut query = QueryBuilder::new("SELECT * FROM partner_event WHERE true");
        if let Some(kind) = &filter.kind {
            query.push(" AND topic = ").push_bind(kind.name());
        }
        if let Some(state) = filter.state {
            query.push(" AND stage = ").push_bind(state.name());
        }
        if let Some(verdict) = filter.verdict {
            query.push(" AND judged = ").push_bind(verdict.name());
        }
        if let Some(reference) = &filter.reference {
            query.push(" AND order_ref = ").push_bind(reference.as_str());
        }
        if let Some(since) = filter.since {
            query.push(" AND arrived_us >= ").push_bind(micros(since));
        }
        if let Some(until) = filter.until {
            query.push(" AND arrived_us < ").push_bind(micros(until));
        }
        if let Some(before) = filter.before {
            query.push(" AND event_no < ").push_bind(before.0);
        }
        query.push(" ORDER BY event_no DESC LIMIT ").push_bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(entry).collect::<sqlx::Result<_>>().map_err(failed)
    }

    async fn reopen(&self, id: CallbackId, from: State, payment: Option<&Received>) -> Result<bool, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let reopened = sqlx::query(
            "UPDATE partner_event SET stage = 'ready', due_us = ?3, tries = 0, broken_off = 0, finished_us = NULL
             WHERE event_no = ?1 AND stage = ?2 AND payload IS NOT NULL",
        )
        .bind(id.0)
        .bind(from.name())
        .bind(now)
        .execute(&mut *tx)
        .await
        .map_err(failed)?
        .rows_affected();
        if let Some(payment) = payment.filter(|_| reopened == 1) {
            recording::record(&mut tx, payment, &self.secret, now).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(reopened == 1)
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        let dismissed = sqlx::query(
            "UPDATE partner_event SET stage = 'done', finished_us = ?2
             WHERE event_no = ?1 AND stage IN ('held', 'dead', 'quarantined')",
        )
        .bind(id.0)
        .bind(now())
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(dismissed.rows_affected() == 1)
    }

    async fn purge(&self, age: Duration) -> Result<u64, StoreError> {
        let before = now().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let mut tx = self.begin().await?;
        let old: Vec<(i64, String, String)> = sqlx::query_as(
            "SELECT event_no, topic, external_id FROM partner_event WHERE stage = 'done' AND arrived_us < ? AND payload IS NOT NULL",
        )
        .bind(before)
        .fetch_all(&mut *tx)
        .await
        .map_err(failed)?;
        for (event, topic, key) in &old {
            sqlx::query(
                "UPDATE partner_event SET payload = NULL, external_id = ?2, order_ref = NULL, sender = NULL, trouble = NULL
                 WHERE event_no = ?1",
            )
            .bind(event)
            .bind(pseudonym(&self.secret, topic, key))
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(old.len() as u64)
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // Counted and added up from those to keep: without a reference, and new. The newest of all stays.
        let trimmed = sqlx::query(
            "DELETE FROM partner_event WHERE event_no IN (
                 SELECT event_no FROM (
                     SELECT event_no, count(*) OVER before AS kept, sum(length(payload)) OVER before AS size,
                            max(event_no) OVER () AS newest
                     FROM partner_event WHERE stage = 'quarantined'
                     WINDOW before AS (ORDER BY order_ref IS NOT NULL, event_no DESC)
                 ) WHERE event_no <> newest AND (kept > ?1 OR size > ?2))",
        )
        .bind(limit(rows))
        .bind(limit(bytes))
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(trimmed.rows_affected())
    }

    async fn depth(&self) -> Result<Depth, StoreError> {
        let counts: Vec<(String, i64)> =
            sqlx::query_as("SELECT stage, count(*) FROM partner_event WHERE stage <> 'done' GROUP BY stage")
                .fetch_all(&self.pool)
                .await
                .map_err(failed)?;
        let mut depth = Depth::default();
        for (stage, count) in counts {
            depth.add(state(&stage), count.unsigned_abs());
        }
        Ok(depth)
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.pool.close().await;
        Ok(())
    }
}
