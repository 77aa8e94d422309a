//! Opens the database: durable, this library's own, and migrated.

use std::fs::OpenOptions;
use std::path::Path;
use std::time::Duration;

use mpesa_callbacks_core::store::StoreError;
use rusqlite::{Connection, OpenFlags};

use super::errors::{place, store_error};

/// Type and migrations of a database file.
pub(super) struct Schema {
    /// Identifies the type of the file, in its header.
    application_id: i64,
    /// In order. `user_version` is the number of those that were run.
    migrations: &'static [&'static str],
    /// Whether the file needs a key for the HMACs of purged rows.
    hides_keys: bool,
}

/// `MPCB`: the application id of a store, in the header of its file.
pub(super) const CALLBACKS: Schema = Schema {
    application_id: 0x4d50_4342,
    migrations: &[include_str!("migrations/0001_callbacks.sql")],
    hides_keys: true,
};

/// `MPSP`: the application id of a spool, in the header of its file.
pub(super) const SPOOL: Schema =
    Schema { application_id: 0x4d50_5350, migrations: &[include_str!("migrations/spool_0001.sql")], hides_keys: false };

/// 3.51.3 fixed the WAL-reset bug: two connections that write and checkpoint could damage the file.
const SAFE_VERSION: i32 = 3_051_003;

/// Files up to this size are checked for damage at every start, which takes a fraction of a second.
const MAX_CHECKED_SIZE: u64 = 64 * 1024 * 1024;

/// Timeout for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Opens the writing connection.
pub(super) fn open(path: &Path, schema: &Schema) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < SAFE_VERSION {
        tracing::warn!(version = rusqlite::version(), "this SQLite has the WAL-reset bug; use 3.51.3 or newer");
    }
    create_for_owner(path);
    let opened = |error: rusqlite::Error| StoreError::Open { place: place(path), source: error.into() };
    let mut connection = Connection::open(path).map_err(opened)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(opened)?;

    let failed = |error| store_error(path, error);
    check_ours(&connection, path, schema)?;
    connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
    connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
    // Overwrites deleted rows: purged names and phone numbers must not stay in free pages.
    connection.pragma_update(None, "secure_delete", true).map_err(failed)?;
    // SQLite's automatic checkpoints ignore errors, so the writing thread makes them.
    connection.pragma_update(None, "wal_autocheckpoint", 0).map_err(failed)?;
    // On macOS an fsync does not reach the disk without these; elsewhere they do nothing.
    connection.pragma_update(None, "fullfsync", true).map_err(failed)?;
    connection.pragma_update(None, "checkpoint_fullfsync", true).map_err(failed)?;
    check_durable(&connection, path)?;
    migrate(&mut connection, path, schema)?;
    check_whole(&connection, path)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Opens a reading connection.
pub(super) fn open_to_read(path: &Path) -> Result<Connection, StoreError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| store_error(path, error))?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(|error| store_error(path, error))?;
    connection.pragma_update(None, "query_only", true).map_err(|error| store_error(path, error))?;
    Ok(connection)
}

/// Creates the file readable for its owner only, because it contains names and phone numbers. SQLite
/// gives its side files the same mode.
fn create_for_owner(path: &Path) {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // If this fails, the file exists, or opening it reports the cause.
    let _ = options.open(path);
}

fn number(connection: &Connection, pragma: &str) -> rusqlite::Result<i64> {
    connection.pragma_query_value(None, pragma, |row| row.get(0))
}

fn check_ours(connection: &Connection, path: &Path, schema: &Schema) -> Result<(), StoreError> {
    let failed = |error| store_error(path, error);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(failed)?;
    if tables > 0 && number(connection, "application_id").map_err(failed)? != schema.application_id {
        return Err(StoreError::Damaged { place: place(path), reason: "it is another application's database".into() });
    }
    Ok(())
}

/// Reads the settings back: some libraries and builds ignore them.
fn check_durable(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let failed = |error| store_error(path, error);
    let journal: String = connection.pragma_query_value(None, "journal_mode", |row| row.get(0)).map_err(failed)?;
    let synchronous = number(connection, "synchronous").map_err(failed)?;
    let wrong = |setting, found, needed| Err(StoreError::NotDurable { place: place(path), setting, found, needed });
    if !journal.eq_ignore_ascii_case("wal") {
        return wrong("journal_mode", journal, "wal");
    }
    if synchronous != 2 {
        return wrong("synchronous", synchronous.to_string(), "2 (FULL)");
    }
    Ok(())
}

/// Runs the missing migrations in one transaction, so that two processes may start at once.
fn migrate(connection: &mut Connection, path: &Path, schema: &Schema) -> Result<(), StoreError> {
    let failed = |error| store_error(path, error);
    let known = i64::try_from(schema.migrations.len()).unwrap_or(i64::MAX);
    // Write nothing if there is nothing to do: a full disk must not prevent reading.
    if number(connection, "user_version").map_err(failed)? == known {
        return Ok(());
    }
    let behaviour = rusqlite::TransactionBehavior::Immediate;
    let transaction = connection.transaction_with_behavior(behaviour).map_err(failed)?;
    let found = number(&transaction, "user_version").map_err(failed)?;
    if found > known {
        return Err(StoreError::NewerSchema { place: place(path), found, known });
    }
    for migration in &schema.migrations[usize::try_from(found).unwrap_or(0)..] {
        transaction.execute_batch(migration).map_err(failed)?;
    }
    transaction.pragma_update(None, "application_id", schema.application_id).map_err(failed)?;
    transaction.pragma_update(None, "user_version", known).map_err(failed)?;
    if schema.hides_keys {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|error| StoreError::Unavailable(error.into()))?;
        let insert = "INSERT OR IGNORE INTO meta (name, value) VALUES ('hmac_key', ?1)";
        transaction.execute(insert, [&key[..]]).map_err(failed)?;
    }
    transaction.commit().map_err(failed)
}

fn check_whole(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    if std::fs::metadata(path).is_ok_and(|file| file.len() > MAX_CHECKED_SIZE) {
        return Ok(());
    }
    let failed = |error| store_error(path, error);
    let reason: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(failed)?;
    if reason == "ok" { Ok(()) } else { Err(StoreError::Damaged { place: place(path), reason }) }
}
