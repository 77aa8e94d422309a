//! The SQLite store keeps the contract.

use mpesa_callbacks_sqlite::SqliteStore;

/// A store in a directory of its own below `target/tmp`.
fn store() -> SqliteStore {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    SqliteStore::open(directory.join("inbox.db")).unwrap()
}

mpesa_callbacks_conformance::store_tests!(store());
