//! SQLite store and spool for `mpesa-callbacks`: one file on a local disk, no server.
#![cfg_attr(docsrs, feature(doc_cfg))]
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod open;

mod sql;

mod writer;

mod spool;

mod errors;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use mpesa_callbacks_core::payload::Digest;
use mpesa_callbacks_core::store::{
    CallbackId, Claim, Claimed, Delivery, Entry, Extent, Filter, Lease, Lookup, Owner, Recorded, Requeue, Requeued,
    SettleResult, Settlement, StateCounts, Store, StoreError, Waiting,
};
use mpesa_callbacks_core::{Clock, Kind, SystemClock};
use rusqlite::Connection;

pub use self::spool::SqliteSpool;
use self::sql::Asked;
use self::writer::Writer;
use mpesa_callbacks_core::store::columns;

/// Keeps callbacks in a SQLite database of its own.
///
/// Recorded callbacks survive `kill -9` and a power cut: the journal is a WAL with `synchronous=FULL`,
/// which is read back. One thread writes, and commits everything that waits together. A second process
/// may use the same file, on the same machine only: SQLite's locks do not work on network file systems.
///
/// The file contains names and phone numbers; on Unix only its owner can read it. When bodies are
/// purged, their keys become HMACs under a random key in the same file. A person with the whole file and
/// enough time can try all phone numbers.
///
/// ```no_run
/// # fn example() -> Result<(), mpesa_callbacks_core::store::StoreError> {
/// let store = mpesa_callbacks_sqlite::SqliteStore::open("inbox.db")?;
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SqliteStore {
    path: PathBuf,
    writer: Arc<Writer>,
    /// One reader for the engine, and one for lists, which may take long.
    reader: Reader,
    lists: Reader,
    clock: Arc<dyn Clock>,
    /// Latest time of the clock. An earlier one means that the clock was ahead.
    latest: Arc<AtomicI64>,
}

/// Rows per transaction of a trim, so that others can write in between.
const TRIM_STEP: usize = 50;

/// A reading connection; `None` after the store was closed.
type Reader = Arc<Mutex<Option<Connection>>>;

impl SqliteStore {
    /// Opens or creates the database, migrates it, and starts its writing thread. Blocks meanwhile,
    /// usually for milliseconds.
    ///
    /// # Errors
    /// [`StoreError::Open`], [`StoreError::Damaged`], [`StoreError::NewerSchema`] or
    /// [`StoreError::NotDurable`]. The text of each names the remedy.
    pub fn open(path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with_clock(path, Arc::new(SystemClock))
    }

    /// Opens the database with another clock, for tests.
    ///
    /// # Errors
    /// As [`open`](SqliteStore::open).
    pub fn open_with_clock(path: impl AsRef<Path>, clock: Arc<dyn Clock>) -> Result<SqliteStore, StoreError> {
        let path = path.as_ref().to_owned();
        let connection = open::open(&path, &open::CALLBACKS)?;
        let [reader, lists] =
            [open::open_to_read(&path)?, open::open_to_read(&path)?].map(|reader| Arc::new(Mutex::new(Some(reader))));
        let writer = Arc::new(Writer::start(connection, &path)?);
        // The clock of an earlier process is unknown, so the first check is made.
        Ok(SqliteStore { path, writer, reader, lists, clock, latest: Arc::new(AtomicI64::new(i64::MAX)) })
    }

    /// Runs a short query of the engine.
    async fn read<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.query(&self.reader, query).await
    }

    /// Runs a query that may take long.
    async fn look<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.query(&self.lists, query).await
    }

    /// Runs a query on a blocking thread.
    async fn query<T: Send + 'static>(
        &self,
        reader: &Reader,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reader, path) = (reader.clone(), self.path.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            let connection = reader.as_ref().ok_or(StoreError::Closed)?;
            query(connection).map_err(|error| errors::store_error(&path, error))
        });
        reading.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into())))
    }

    fn now(&self) -> i64 {
        let now = columns::micros(self.clock.now());
        self.latest.fetch_max(now, Ordering::Relaxed);
        now
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn adopt(&self, owner: &Owner) -> Result<(), StoreError> {
        let (wanted, place) = (owner.to_text(), errors::place(&self.path));
        let found = self.read(sql::owner).await?;
        let found = match found {
            Some(found) => found,
            None => {
                let wanted = wanted.clone();
                self.writer.write(1, move |connection| sql::adopt(connection, &wanted)).await?
            }
        };
        if found == wanted { Ok(()) } else { Err(StoreError::OtherOwner { place, found, wanted }) }
    }

    async fn record(&self, batch: &[Delivery]) -> Result<Vec<Recorded>, StoreError> {
        let (batch, now) = (batch.to_vec(), self.now());
        self.writer.write(batch.len(), move |connection| sql::record_all(connection, &batch, now)).await
    }

    async fn find_decision(
        &self,
        kind: &Kind,
        key: &str,
        content_digest: &Digest,
    ) -> Result<Option<String>, StoreError> {
        let (kind, key, content_digest) = (kind.clone(), key.to_owned(), *content_digest);
        self.read(move |connection| sql::find_decision(connection, &kind, &key, &content_digest)).await
    }

    async fn claim(&self, claim: &Claim<'_>) -> Result<Vec<Claimed>, StoreError> {
        let now = self.now();
        let Claim { kinds, lane, limit, lease, handles_payments, left_since } = claim.clone();
        let left_since = columns::micros(left_since);
        let asked = Asked { kinds: kinds.to_vec(), lane, limit, lease, handles_payments, left_since };
        // Most polls find nothing, and reading does not occupy the writer.
        let looked_for = asked.clone();
        if !self.read(move |connection| sql::is_due(connection, &looked_for, now)).await? {
            return Ok(Vec::new());
        }
        self.writer.write_for_caller(asked.limit, move |connection| sql::claim(connection, &asked, now)).await
    }

    async fn renew(&self, leases: &[Lease], lease: Duration) -> Result<Vec<bool>, StoreError> {
        let (leases, now) = (leases.to_vec(), self.now());
        self.writer.write(leases.len(), move |connection| sql::renew(connection, &leases, lease, now)).await
    }

    async fn settle(&self, batch: &[Settlement]) -> Result<Vec<SettleResult>, StoreError> {
        let (batch, now) = (batch.to_vec(), self.now());
        self.writer.write(batch.len(), move |connection| sql::settle_all(connection, &batch, now)).await
    }

    async fn reclaim_expired(&self) -> Result<u64, StoreError> {
        let now = self.now();
        // After the clock was set back, and at the start.
        let was_ahead = self.latest.load(Ordering::Relaxed) > now;
        if was_ahead && self.look(move |connection| sql::is_ahead(connection, now)).await? {
            let moved = self.writer.write(1, move |connection| sql::put_off_anew(connection, now)).await?;
            tracing::warn!(callbacks = moved, "the clock was ahead; due times are corrected");
        }
        // Not before that is committed: if it fails, the next call does it.
        if was_ahead {
            self.latest.store(now, Ordering::Relaxed);
        }
        if !self.read(move |connection| sql::is_expired(connection, now)).await? {
            return Ok(0);
        }
        self.writer.write(1, move |connection| sql::reclaim_expired(connection, now)).await
    }

    async fn get(&self, id: CallbackId) -> Result<Option<Entry>, StoreError> {
        self.look(move |connection| sql::get(connection, id)).await
    }

    async fn find(&self, lookups: &[Lookup]) -> Result<Vec<Entry>, StoreError> {
        let lookups = lookups.to_vec();
        self.read(move |connection| sql::find(connection, &lookups)).await
    }

    async fn list(&self, filter: &Filter) -> Result<Vec<Entry>, StoreError> {
        let filter = filter.clone();
        self.look(move |connection| sql::list(connection, &filter)).await
    }

    async fn requeue(&self, id: CallbackId, reopening: &Requeue<'_>) -> Result<Option<Requeued>, StoreError> {
        let (requeue, now) = (sql::OwnedRequeue::from(reopening), self.now());
        self.writer.write(1, move |connection| sql::requeue(connection, id, &requeue, now)).await
    }

    async fn dismiss(&self, id: CallbackId) -> Result<bool, StoreError> {
        let now = self.now();
        self.writer.write(1, move |connection| sql::dismiss(connection, id, now)).await
    }

    async fn purge(&self, age: Duration, extent: Extent) -> Result<u64, StoreError> {
        let before = self.now().saturating_sub(i64::try_from(age.as_micros()).unwrap_or(i64::MAX));
        let (mut purged, mut behind) = (0, Some(0));
        while let Some(id) = behind {
            // Looked for beside the writer, and written a few at a time, so that recording does not wait for long.
            let (ids, next) = self.look(move |connection| sql::purgeable(connection, before, id, extent)).await?;
            purged += self.writer.write(ids.len(), move |connection| sql::purge(connection, &ids)).await?;
            behind = next;
        }
        self.writer.checkpoint();
        Ok(purged)
    }

    async fn trim_quarantine(&self, rows: u64, bytes: u64) -> Result<u64, StoreError> {
        // Looked for beside the writer, and written a few at a time, so that recording does not wait for long.
        let excess = self.look(move |connection| sql::excess_quarantined(connection, rows, bytes)).await?;
        let mut trimmed = 0;
        for ids in excess.chunks(TRIM_STEP) {
            let ids = ids.to_vec();
            trimmed += self.writer.write(ids.len(), move |connection| sql::trim_quarantine(connection, &ids)).await?;
        }
        Ok(trimmed)
    }

    async fn counts(&self) -> Result<StateCounts, StoreError> {
        self.look(sql::depth).await
    }

    async fn waiting(&self) -> Result<Vec<Waiting>, StoreError> {
        self.look(sql::waiting).await
    }

    async fn check_write(&self) -> Result<(), StoreError> {
        let now = self.now();
        self.writer.write(1, move |connection| sql::check_write(connection, now)).await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (writer, readers) = (self.writer.clone(), [self.reader.clone(), self.lists.clone()]);
        let closing = tokio::task::spawn_blocking(move || {
            for reader in readers {
                drop(reader.lock().unwrap_or_else(PoisonError::into_inner).take());
            }
            writer.close();
        });
        closing.await.map_err(|error| StoreError::Unavailable(error.into()))
    }
}

impl fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStore").field("path", &self.path).finish_non_exhaustive()
    }
}
