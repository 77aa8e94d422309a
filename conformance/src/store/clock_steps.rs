//! A store's clock runs two days ahead for a while and is then set back.

use std::time::{Duration, Instant};

use mpesa_callbacks_core::store::Completion;

use super::{LONG, SHORT, Shared, claim, failed, record, settle};

/// How far ahead a test sets the clock of a store.
pub const AHEAD: Duration = Duration::from_secs(48 * 60 * 60);

/// Retries and expired leases that were scheduled by a clock which was two days ahead are due again soon after it is set
/// back. `set_ahead` sets how far the store's clock is ahead.
pub async fn rows_scheduled_by_a_clock_that_was_ahead_are_rescheduled(
    store: Shared,
    mut set_ahead: impl AsyncFnMut(Duration),
) {
    set_ahead(AHEAD).await;
    for key in ["retried", "leased"] {
        record(&store, failed(key)).await;
    }
    let claimed = claim(&store, 2, SHORT).await;
    assert_eq!(claimed.len(), 2);
    let retried = claimed.iter().find(|claimed| claimed.key == "retried").expect("claimed");
    settle(&store, retried, Completion::Retry { after: SHORT, error: "no bread".into() }).await;
    store.reclaim_expired().await.expect("reclaim");

    set_ahead(Duration::ZERO).await;
    tokio::time::sleep(SHORT * 2).await;
    assert!(claim(&store, 2, LONG).await.is_empty(), "the clock was not ahead");
    let (started, mut due) = (Instant::now(), Vec::new());
    while due.len() < 2 {
        assert!(started.elapsed() < Duration::from_secs(120), "only {due:?} are due again");
        store.reclaim_expired().await.expect("reclaim");
        for claimed in claim(&store, 2, LONG).await {
            settle(&store, &claimed, Completion::Done).await;
            due.push(claimed.key.as_str().to_owned());
        }
        tokio::time::sleep(SHORT).await;
    }
    due.sort();
    assert_eq!(due, ["leased", "retried"]);
}
