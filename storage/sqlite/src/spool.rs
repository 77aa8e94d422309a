//! The spool: a local buffer of deliveries for when the store is unavailable.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use async_trait::async_trait;
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::Sensitive;
use mpesa_callbacks_core::store::{DeliveryId, Spool, SpoolDepth, SpoolId, Spooled, StoreError};
use rusqlite::{Connection, Row, params};

use super::errors::{place, store_error};
use super::open::{self, SPOOL};
use super::writer::Writer;
use mpesa_callbacks_core::store::columns::{client_ip, micros, time};

/// Default budget: about 400,000 callbacks.
const DEFAULT_BUDGET: u64 = 256 * 1024 * 1024;

/// Buffers deliveries in a SQLite database in a directory of its own. They survive `kill -9` and a power
/// cut, as in [`SqliteStore`](super::SqliteStore).
///
/// One process owns the directory. It must be on a local disk that outlives the process: SQLite's locks
/// do not work on network file systems, and the temporary directory of a container is deleted with the
/// container. The files contain names and phone numbers; on Unix only their owner can read them.
///
/// ```no_run
/// # fn example() -> Result<(), mpesa_callbacks_core::store::StoreError> {
/// let spool = mpesa_callbacks_sqlite::SqliteSpool::open("/var/lib/shop/spool")?;
/// # Ok(())
/// # }
/// ```
pub struct SqliteSpool {
    path: PathBuf,
    writer: Arc<Writer>,
    reader: Arc<Mutex<Option<Connection>>>,
    /// Held while the process owns the directory.
    lock: Mutex<Option<File>>,
}

impl SqliteSpool {
    /// Opens the spool in this directory, with a budget of 256 MiB. Creates the directory if it does
    /// not exist.
    ///
    /// # Errors
    /// [`StoreError::Open`] if another process owns it, or the disk cannot be written; else as
    /// [`SqliteStore::open`](super::SqliteStore::open).
    pub fn open(directory: impl AsRef<Path>) -> Result<SqliteSpool, StoreError> {
        SqliteSpool::open_with_budget(directory, DEFAULT_BUDGET)
    }

    /// Opens the spool with a budget in bytes, beside a write-ahead log of some megabytes. A delivery
    /// that does not fit is not acknowledged.
    ///
    /// # Errors
    /// As [`open`](SqliteSpool::open).
    pub fn open_with_budget(directory: impl AsRef<Path>, bytes: u64) -> Result<SqliteSpool, StoreError> {
        let directory = directory.as_ref();
        let lock = own(directory)?;
        let path = directory.join("spool.db");
        let connection = open::open(&path, &SPOOL)?;
        let failed = |error| store_error(&path, error);
        let page: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0)).map_err(failed)?;
        // Beyond SQLite's own limit a write fails as on a full disk.
        let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
        connection.pragma_update(None, "max_page_count", pages.max(16)).map_err(failed)?;
        let opened = "INSERT OR REPLACE INTO opened (one, at) VALUES (1, ?1)";
        if let Err(error) = connection.execute(opened, [micros(SystemTime::now())]) {
            // A full disk must not prevent the replay.
            let waits: bool =
                connection.query_row("SELECT EXISTS (SELECT 1 FROM spooled)", [], |row| row.get(0)).map_err(failed)?;
            if !waits {
                return Err(failed(error));
            }
            tracing::error!(%error, "the spool cannot be written; its deliveries are replayed");
        }
        let reader = Arc::new(Mutex::new(Some(open::open_to_read(&path)?)));
        let writer = Arc::new(Writer::start(connection, &path)?);
        Ok(SqliteSpool { path, writer, reader, lock: Mutex::new(Some(lock)) })
    }

    /// Runs a query on a blocking thread.
    async fn query<T: Send + 'static>(
        &self,
        query: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reader, path) = (self.reader.clone(), self.path.clone());
        let reading = tokio::task::spawn_blocking(move || {
            let reader = reader.lock().unwrap_or_else(PoisonError::into_inner);
            query(reader.as_ref().ok_or(StoreError::Closed)?).map_err(|error| store_error(&path, error))
        });
        reading.await.unwrap_or_else(|error| Err(StoreError::Unavailable(error.into())))
    }
}

/// Locks the directory, so that no second process uses the spool.
fn own(directory: &Path) -> Result<File, StoreError> {
    let failed = |source| StoreError::Open { place: place(directory), source };
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(directory).map_err(|error| failed(error.into()))?;
    let lock = OpenOptions::new().create(true).truncate(false).write(true).open(directory.join("lock"));
    let lock = lock.map_err(|error| failed(error.into()))?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => Err(failed(OWNED_BY_ANOTHER.into())),
        Err(TryLockError::Error(error)) => Err(failed(error.into())),
    }
}

const OWNED_BY_ANOTHER: &str = "another process has this spool; give each process a directory of its own";

#[async_trait]
impl Spool for SqliteSpool {
    async fn put(&self, batch: &[Spooled]) -> Result<(), StoreError> {
        let batch = batch.to_vec();
        self.writer.write(batch.len(), move |connection| put_all(connection, &batch)).await
    }

    async fn oldest(&self, behind: SpoolId, limit: usize) -> Result<Vec<(SpoolId, Spooled)>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.query(move |connection| {
            let mut oldest = connection.prepare_cached(
                "SELECT id, came_to, body, received_at, client_ip, reference, decision, delivery_id FROM spooled
                 WHERE id > ?1 ORDER BY id LIMIT ?2",
            )?;
            oldest.query_map([behind.number(), limit], spooled)?.collect()
        })
        .await
    }

    async fn remove(&self, ids: &[SpoolId]) -> Result<(), StoreError> {
        let ids = ids.to_vec();
        let left = self.writer.write(ids.len(), move |connection| remove_all(connection, &ids)).await?;
        if !left {
            // Names and phone numbers must not stay in the write-ahead log of an idle spool.
            self.writer.checkpoint();
        }
        Ok(())
    }

    async fn depth(&self) -> Result<SpoolDepth, StoreError> {
        self.query(|connection| {
            connection.query_row("SELECT count(*), min(received_at) FROM spooled", [], |row| {
                let deliveries = row.get::<_, i64>(0)?.unsigned_abs();
                Ok(SpoolDepth::new(deliveries, row.get::<_, Option<i64>>(1)?.map(time)))
            })
        })
        .await
    }

    async fn close(&self) -> Result<(), StoreError> {
        let (writer, reader) = (self.writer.clone(), self.reader.clone());
        let closing = tokio::task::spawn_blocking(move || {
            drop(reader.lock().unwrap_or_else(PoisonError::into_inner).take());
            writer.close();
        });
        closing.await.map_err(|error| StoreError::Unavailable(error.into()))?;
        drop(self.lock.lock().unwrap_or_else(PoisonError::into_inner).take());
        Ok(())
    }
}

fn put_all(connection: &Connection, batch: &[Spooled]) -> rusqlite::Result<()> {
    let mut put = connection.prepare_cached(
        "INSERT INTO spooled (came_to, body, received_at, client_ip, reference, decision, delivery_id)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    for spooled in batch {
        put.execute(params![
            spooled.came_to.name(),
            spooled.body.as_bytes(),
            micros(spooled.received_at),
            spooled.client_ip.map(|client_ip| client_ip.to_string()),
            spooled.reference.as_ref().map(Sensitive::as_str),
            spooled.decision,
            spooled.delivery_id.number(),
        ])?;
    }
    Ok(())
}

/// Removes rows. Returns whether any are left.
fn remove_all(connection: &Connection, ids: &[SpoolId]) -> rusqlite::Result<bool> {
    let mut remove = connection.prepare_cached("DELETE FROM spooled WHERE id = ?1")?;
    ids.iter().try_for_each(|id| remove.execute([id.number()]).map(drop))?;
    connection.prepare_cached("SELECT EXISTS (SELECT 1 FROM spooled)")?.query_row([], |row| row.get(0))
}

fn spooled(row: &Row<'_>) -> rusqlite::Result<(SpoolId, Spooled)> {
    let came_to = Kind::from_stored_name(row.get_ref(1)?.as_str()?);
    let mut spooled = Spooled::new(came_to, row.get::<_, Vec<u8>>(2)?.into(), time(row.get(3)?));
    spooled.client_ip = client_ip(row.get(4)?);
    spooled.reference = row.get::<_, Option<String>>(5)?.map(Sensitive::from);
    spooled.decision = row.get(6)?;
    spooled.delivery_id = DeliveryId::from_stored(row.get(7)?);
    Ok((SpoolId::from_stored(row.get(0)?), spooled))
}

impl fmt::Debug for SqliteSpool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteSpool").field("path", &self.path).finish_non_exhaustive()
    }
}
