//! Callbacks in a table of the application's own: a [`Store`] for `schema.sql`, with sqlx and SQLite.
//!
//! `tests/contract.rs` runs the tests of the contract on it.

mod recording;

mod working;

mod columns;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::{Digest, Sensitive};
use mpesa_callbacks::store::{
    CallbackId, Claim, Claimed, Completion, Delivery, Entry, Extent, Filter, Lease, Lookup, Owner, Recorded, Requeue,
    Requeued, SettleResult, Settlement, StateCounts, Store, StoreError, Waiting,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteRow, SqliteSynchronous};
use sqlx::{QueryBuilder, Row, Sqlite, SqliteConnection, SqlitePool, Transaction};

use self::columns::{entry, failed, later, state, with_payload};
use mpesa_callbacks::store::columns::{hidden_digest, hidden_receipt, micros, pseudonym, time};

/// The team's table of events, which also contains M-Pesa's callbacks.
#[derive(Clone)]
pub struct PartnerEvents {
    pool: SqlitePool,
    /// HMAC key for events whose payload was deleted.
    secret: Arc<[u8; 32]>,
}

impl std::fmt::Debug for PartnerEvents {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("PartnerEvents")
    }
}

impl PartnerEvents {
    /// Opens the database and creates the table. Keep the secret with the application's other secrets.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(path: &Path, secret: [u8; 32]) -> Result<PartnerEvents, StoreError> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            // Acknowledged callbacks must survive a power cut.
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(4).connect_with(options).await.map_err(failed)?;
        sqlx::raw_sql(include_str!("schema.sql")).execute(&pool).await.map_err(failed)?;
        Ok(PartnerEvents { pool, secret: Arc::new(secret) })
    }

    /// Takes the write lock at once: a transaction that reads first could fail when it wants to write.
    async fn begin(&self) -> Result<Transaction<'static, Sqlite>, StoreError> {
        self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(failed)
    }

    /// Deletes an event's payload and replaces its key, receipt and digests.
    async fn forget(&self, connection: &mut SqliteConnection, row: &SqliteRow) -> sqlx::Result<()> {
        let secret = &self.secret[..];
        let hide = |bytes: Vec<u8>| hidden_digest(secret, &bytes).to_vec();
        let receipt: Option<String> = row.try_get("receipt")?;
        sqlx::query(
            "UPDATE partner_event SET payload = NULL, external_id = ?2, fingerprint = ?3, content_digest = ?4, detail = ?5, receipt = ?6,
                    had_order = had_order OR order_ref IS NOT NULL, order_ref = NULL, sender = NULL, trouble = NULL
             WHERE event_no = ?1",
        )
        .bind(row.try_get::<i64, _>("event_no")?)
        .bind(pseudonym(secret, row.try_get("topic")?, row.try_get("external_id")?))
        .bind(hide(row.try_get("fingerprint")?))
        .bind(hide(row.try_get("content_digest")?))
        .bind(row.try_get::<Option<Vec<u8>>, _>("detail")?.map(hide))
        .bind(receipt.map(|receipt| hidden_receipt(secret, &receipt)))
        .execute(connection)
        .await?;
        Ok(())
    }
}

fn now() -> i64 {
    micros(SystemTime::now())
}

#[async_trait]
impl Store for PartnerEvents {
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        let (wanted, mut tx) = (owner.to_text(), self.begin().await?);
        sqlx::query("INSERT INTO partner_owner (one, name) VALUES (1, ?) ON CONFLICT DO NOTHING")
            .bind(&wanted)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
        let found = sqlx::query_scalar("SELECT name FROM partner_owner");
        let found: String = found.fetch_one(&mut *tx).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        if found == wanted {
            return Ok(());
        }
        Err(StoreError::OtherOwner { place: "the table `partner_event`".to_owned(), found, wanted })
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let mut recorded = Vec::with_capacity(batch.len());
        for delivery in batch {
            recorded.push(recording::record(&mut tx, delivery, &self.secret, now).await.map_err(failed)?);
        }
        tx.commit().await.map_err(failed)?;
        Ok(recorded)
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        let answer: Option<Option<String>> = sqlx::query_scalar(
            "SELECT answer FROM partner_event WHERE topic = ?1 AND external_id IN (?2, ?3) AND content_digest IN (?4, ?5)
             ORDER BY event_no LIMIT 1",
        )
        .bind(kind.name())
        .bind(key)
        .bind(pseudonym(&self.secret[..], kind.name(), key))
        .bind(&content_digest.as_bytes()[..])
        .bind(&hidden_digest(&self.secret[..], content_digest.as_bytes())[..])
        .fetch_optional(&self.pool)
        .await
        .map_err(failed)?;
        Ok(answer.flatten())
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let claimed = working::claim(&mut tx, claim, &self.secret, now).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(claimed)
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let (until, wait, mut tx) = (later(now(), lease), later(0, lease), self.begin().await?);
        let mut renewed = Vec::with_capacity(leases.len());
        for lease in leases {
            let held = sqlx::query(
                "UPDATE partner_event SET lease_until = ?3, wait_us = ?4 WHERE event_no = ?1 AND lease_no = ?2 AND stage = 'running'",
            )
            .bind(lease.id.number())
            .bind(lease.fence)
            .bind(until)
            .bind(wait)
            .execute(&mut *tx)
            .await
            .map_err(failed)?;
            renewed.push(held.rows_affected() == 1);
        }
        tx.commit().await.map_err(failed)?;
        Ok(renewed)
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let mut settled = Vec::with_capacity(batch.len());
        for Settlement { lease, completion, payment, .. } in batch {
            // Both or neither.
            let is_held = match payment {
                Some(payment) => working::is_held(&mut tx, *payment).await.map_err(failed)?,
                None => true,
            };
            let is_lost = !is_held && working::is_held(&mut tx, *lease).await.map_err(failed)?;
            let is_written = !is_lost && working::settle(&mut tx, *lease, completion, 1, now).await.map_err(failed)?;
            if let Some(payment) = payment.filter(|_| is_written) {
                // Its attempts are not counted.
                let completion = match completion {
                    Completion::Done => Completion::Done,
                    _ => Completion::Snoozed { after: Duration::ZERO },
                };
                working::settle(&mut tx, payment, &completion, 0, now).await.map_err(failed)?;
            }
            settled.push(if is_written { SettleResult::Written } else { SettleResult::LeaseLost });
        }
        tx.commit().await.map_err(failed)?;
        Ok(settled)
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let swept = working::sweep(&mut tx, now()).await.map_err(failed)?;
        tx.commit().await.map_err(failed)?;
        Ok(swept)
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        let row = sqlx::query("SELECT * FROM partner_event WHERE event_no = ?").bind(id.number());
        let row = row.fetch_optional(&self.pool).await.map_err(failed)?;
        row.as_ref().map(with_payload).transpose().map_err(failed)
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        let mut found: Vec<Entry> = Vec::new();
        for lookup in lookups {
            let mut query = QueryBuilder::new("SELECT * FROM partner_event WHERE ");
            match lookup {
                Lookup::Key(kind, key) => {
                    query.push("topic = ").push_bind(kind.name()).push(" AND external_id = ").push_bind(key.as_str());
                }
                Lookup::Reference(kind, order) => {
                    query.push("topic = ").push_bind(kind.name()).push(" AND order_ref = ").push_bind(order.as_str());
                }
                Lookup::Receipt(receipt) => {
                    query.push("receipt IN (").push_bind(receipt).push(", ");
                    query.push_bind(hidden_receipt(&self.secret[..], receipt)).push(")");
                }
                // A lookup that is newer than this store finds nothing.
                _ => continue,
            }
            for row in &query.build().fetch_all(&self.pool).await.map_err(failed)? {
                let entry = with_payload(row).map_err(failed)?;
                if found.iter().all(|other| other.id != entry.id) {
                    found.push(entry);
                }
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
            query.push(" AND event_no < ").push_bind(before.number());
        }
        query.push(" ORDER BY event_no DESC LIMIT ").push_bind(i64::try_from(filter.limit).unwrap_or(i64::MAX));
        let rows = query.build().fetch_all(&self.pool).await.map_err(failed)?;
        rows.iter().map(entry).collect::<sqlx::Result<_>>().map_err(failed)
    }

    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        let (now, mut tx) = (now(), self.begin().await?);
        let reopened = sqlx::query(
            "UPDATE partner_event SET stage = 'ready', due_us = ?3, wait_us = 0, tries = 0, broken_off = 0, broken_alone = 0, lane = 0,
                    finished_us = NULL, handled_again = handled_again + (stage = 'done'), trouble = coalesce(?4, trouble),
                    order_ref = coalesce(order_ref, ?5)
             WHERE event_no = ?1 AND stage = ?2 AND payload IS NOT NULL",
        )
        .bind(id.number())
        .bind(reopening.from.name())
        .bind(now)
        .bind(reopening.reason)
        .bind(reopening.reference.map(Sensitive::as_str))
        .execute(&mut *tx)
        .await
        .map_err(failed)?
        .rows_affected();
        if reopened == 0 {
            return Ok(None);
        }
        let mut payment = None;
        if let Some(delivery) = reopening.payment {
            let recorded = recording::record(&mut tx, delivery, &self.secret, now).await.map_err(failed)?;
            payment = Some((recorded.id, recorded.verdict));
        }
        tx.commit().await.map_err(failed)?;
        Ok(Some(Requeued::new(payment)))
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        let dismissed = sqlx::query(
            "UPDATE partner_event SET stage = 'done', finished_us = ?2, due_us = NULL, trouble = coalesce(trouble, 'dismissed')
             WHERE event_no = ?1 AND (stage IN ('held', 'dead', 'quarantined') OR stage = 'ready' AND topic = 'payment')",
        )
        .bind(id.number())
        .bind(now())
        .execute(&self.pool)
        .await
        .map_err(failed)?;
        Ok(dismissed.rows_affected() == 1)
    }

    async fn purge(&self, age: Duration, _: Extent) -> Result<u64, StoreError> {
        let before = now().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let mut tx = self.begin().await?;
        let old = sqlx::query(
            "SELECT event_no, topic, external_id, fingerprint, content_digest, detail, receipt FROM partner_event
             WHERE stage = 'done' AND arrived_us < ? AND payload IS NOT NULL",
        );
        let old = old.bind(before).fetch_all(&mut *tx).await.map_err(failed)?;
        for row in &old {
            self.forget(&mut tx, row).await.map_err(failed)?;
        }
        tx.commit().await.map_err(failed)?;
        Ok(old.len() as u64)
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        let limit = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        // Those without a reference and new ones are kept first. The newest of all stays.
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

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        let counts: Vec<(String, i64)> =
            sqlx::query_as("SELECT stage, count(*) FROM partner_event WHERE stage <> 'done' GROUP BY stage")
                .fetch_all(&self.pool)
                .await
                .map_err(failed)?;
        let mut depth = StateCounts::default();
        for (stage, count) in counts {
            depth.add(state(&stage), count.unsigned_abs());
        }
        Ok(depth)
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        let waiting: Vec<(String, i64, i64)> = sqlx::query_as(
            "SELECT topic, count(*), min(due_us) FROM partner_event WHERE stage = 'ready' GROUP BY topic",
        )
        .fetch_all(&self.pool)
        .await
        .map_err(failed)?;
        let waiting = waiting.into_iter();
        Ok(waiting
            .map(|(topic, count, due)| Waiting::new(Kind::from_stored_name(&topic), count.unsigned_abs(), time(due)))
            .collect())
    }

    async fn close(&self) -> Result<(), StoreError> {
        self.pool.close().await;
        Ok(())
    }
}
