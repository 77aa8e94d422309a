//! The contract of stores, on the table of our own.

use own_store::PartnerEvents;

/// A new table each time, in a directory of its own below `target/tmp`.
async fn store() -> PartnerEvents {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap().keep();
    PartnerEvents::open(&directory.join("events.db"), *b"0123456789abcdef0123456789abcdef").await.unwrap()
}

mpesa_callbacks_conformance::store_tests!(store().await);
