//! Processes with other handlers that run beside one with `#[payment]`, for hours.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Entry, Filter, MemoryStore, State};
use mpesa_callbacks::{Backoff, Clock, Kind};
use mpesa_callbacks_tests::{Mounted, SECRET, push, until};

/// Something that both of its handlers need is down.
#[derive(Clone, Default)]
struct Worker {
    is_pushed_broken: Arc<AtomicBool>,
    is_paid_broken: Arc<AtomicBool>,
    pushed: Arc<AtomicBool>,
    booked: Arc<Mutex<Vec<String>>>,
}

#[mpesa_callbacks(no_timeouts)]
impl Worker {
    #[stk(max_retries = 100_000)]
    async fn pushed(&self, _: StkCallback) -> Result<(), std::fmt::Error> {
        if self.is_pushed_broken.load(Ordering::SeqCst) {
            return Err(std::fmt::Error);
        }
        self.pushed.store(true, Ordering::SeqCst);
        Ok(())
    }

    #[payment(max_retries = 100_000)]
    async fn paid(&self, payment: Payment) -> Result<(), std::fmt::Error> {
        if self.is_paid_broken.load(Ordering::SeqCst) {
            return Err(std::fmt::Error);
        }
        self.booked.lock().unwrap().push(payment.receipt.clone());
        Ok(())
    }
}

/// A release without `#[payment]`, which gives a push up at once.
struct GivesUp;

#[mpesa_callbacks(no_timeouts)]
impl GivesUp {
    #[stk(max_retries = 0)]
    async fn pushed(&self, _: StkCallback) -> Result<(), std::fmt::Error> {
        Err(std::fmt::Error)
    }
}

/// Shows a page for dead callbacks, and handles something else.
struct Office;

#[mpesa_callbacks(no_timeouts)]
impl Office {
    #[balance_result]
    async fn balance(&self, _: BalanceResult) {}
}

/// The machine's clock, ahead by so many seconds.
#[derive(Clone, Debug, Default)]
struct Ahead(Arc<AtomicU64>);

impl Clock for Ahead {
    fn now(&self) -> SystemTime {
        SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst))
    }
}

const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(50));

async fn start<H: mpesa_callbacks::MpesaCallbacks + 'static>(
    handlers: H,
    store: &MemoryStore,
    clock: &Ahead,
) -> Mounted {
    let inbox = Inbox::builder(handlers)
        .name("shop")
        .store(store.clone())
        .clock(Arc::new(clock.clone()))
        .secret(SECRET)
        .counterpart_timeout(Duration::ZERO)
        .backoff(Backoff::new(BACKOFF.0, BACKOFF.1));
    Mounted::new(inbox.start().await.unwrap())
}

async fn of_kind(mounted: &Mounted, kind: Kind) -> Entry {
    mounted.inbox.list(&Filter::default().kind(kind)).await.unwrap().remove(0)
}

/// The push is hours old, and the worker retries it every few milliseconds: nobody else may take it.
#[tokio::test]
async fn a_callback_that_a_release_retries_is_not_taken_by_an_older_one() {
    let (worker, clock) = (Worker::default(), Ahead::default());
    let store = MemoryStore::with_clock(Arc::new(clock.clone()));
    worker.is_pushed_broken.store(true, Ordering::SeqCst);
    let working = start(worker.clone(), &store, &clock).await;
    working.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 100)).await;
    until("it is booked", async || !worker.booked.lock().unwrap().is_empty()).await;
    clock.0.store(2 * 60 * 60, Ordering::SeqCst);
    let tried = of_kind(&working, Kind::Stk).await.attempts;
    until("it is retried", async || of_kind(&working, Kind::Stk).await.attempts > tried + 1).await;
    let _old = start(GivesUp, &store, &clock).await;
    let tried = of_kind(&working, Kind::Stk).await.attempts;
    until("it was retried for a while", async || of_kind(&working, Kind::Stk).await.attempts > tried + 50).await;
    worker.is_pushed_broken.store(false, Ordering::SeqCst);
    until("it is handled", async || worker.pushed.load(Ordering::SeqCst)).await;
}

/// A person dismisses a push in a process without `#[payment]`, while the worker retries its payment.
#[tokio::test]
async fn dismissing_in_another_process_does_not_close_a_payment_that_is_retried() {
    let (worker, clock) = (Worker::default(), Ahead::default());
    let store = MemoryStore::with_clock(Arc::new(clock.clone()));
    worker.is_paid_broken.store(true, Ordering::SeqCst);
    let old = start(GivesUp, &store, &clock).await;
    old.post_for(&Kind::Stk, "order-1", push("ws_CO_1", "RCPT1", 100)).await;
    until("the push is dead", async || of_kind(&old, Kind::Stk).await.state == State::Dead).await;
    drop(old);
    let working = start(worker.clone(), &store, &clock).await;
    let office = start(Office, &store, &clock).await;
    until("the payment is retried", async || of_kind(&working, Kind::Payment).await.attempts > 1).await;
    until("it waits", async || of_kind(&working, Kind::Payment).await.state == State::Ready).await;
    assert!(office.inbox.dismiss(of_kind(&working, Kind::Stk).await.id).await.unwrap());
    worker.is_paid_broken.store(false, Ordering::SeqCst);
    until("it is booked", async || !worker.booked.lock().unwrap().is_empty()).await;
}
