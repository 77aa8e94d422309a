//! The machine's clock is set back below the memory store and SQLite.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use mpesa_callbacks_conformance::store::clock_steps::rows_scheduled_by_a_clock_that_was_ahead_are_rescheduled;
use mpesa_callbacks_core::Clock;
use mpesa_callbacks_core::store::{MemoryStore, Store};
use mpesa_callbacks_sqlite::SqliteStore;

/// The machine's clock, and how many seconds it is ahead.
#[derive(Debug, Default)]
struct Stepped(AtomicU64);

impl Clock for Stepped {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

async fn step_back_below(store: impl Store, clock: &Stepped) {
    let set_ahead = async |by: Duration| clock.0.store(by.as_secs(), Ordering::SeqCst);
    rows_scheduled_by_a_clock_that_was_ahead_are_rescheduled(Arc::new(store), set_ahead).await;
}

#[tokio::test]
async fn the_memory_store_recovers_from_a_clock_that_was_ahead() {
    let clock = Arc::new(Stepped::default());
    step_back_below(MemoryStore::with_clock(clock.clone()), &clock).await;
}

#[tokio::test]
async fn sqlite_recovers_from_a_clock_that_was_ahead() {
    let (clock, directory) = (Arc::new(Stepped::default()), tempfile::tempdir().unwrap());
    let store = SqliteStore::open_with_clock(directory.path().join("inbox.db"), clock.clone()).unwrap();
    step_back_below(store, &clock).await;
}
