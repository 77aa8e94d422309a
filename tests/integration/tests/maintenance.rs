//! Maintenance that takes long must not cost a handler its lease.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{State, Store};
use mpesa_callbacks_tests::{FlakyStore, Mounted, SECRET, paid_push, until};

struct Slow {
    starts: Arc<AtomicU32>,
}

#[mpesa_callbacks]
impl Slow {
    #[stk]
    async fn stk(&self, _: StkCallback) {
        self.starts.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(Duration::from_secs(2)).await;
    }
}

#[tokio::test]
async fn a_store_that_counts_and_reclaims_without_an_answer_still_renews() {
    let store = FlakyStore::default();
    let starts = Arc::new(AtomicU32::new(0));
    let inbox = Inbox::builder(Slow { starts: starts.clone() })
        .store(store.clone())
        .secret(SECRET)
        // The handler takes four of them.
        .lease(Duration::from_millis(500))
        .lease_check_interval(Duration::from_millis(50));
    let mounted = Mounted::new(inbox.start().await.unwrap());
    store.stall_maintenance();
    assert_eq!(mounted.post("/stk", paid_push()).await.status, 200);
    let mut entry = None;
    until("it is done", async || {
        entry = mounted.entries().await.pop();
        entry.as_ref().is_some_and(|entry| entry.state == State::Done)
    })
    .await;
    assert_eq!(starts.load(Ordering::SeqCst), 1, "its lease was renewed all the time");
    drop(store.close().await);
}

/// A store is foreign code. Callbacks must not be acknowledged and then never handled.
#[tokio::test]
async fn a_store_whose_hint_panics_is_polled_all_the_same() {
    let store = FlakyStore::default();
    let starts = Arc::new(AtomicU32::new(0));
    store.panic_at_a_hint();
    let inbox = Inbox::builder(Slow { starts: starts.clone() }).store(store.clone()).secret(SECRET);
    let mounted = Mounted::new(inbox.start().await.unwrap());
    until("it has panicked", async || !store.panics_at_a_hint()).await;
    assert_eq!(mounted.post("/stk", paid_push()).await.status, 200);
    until("it is handled", async || starts.load(Ordering::SeqCst) == 1).await;
}
