//! While the store is away.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use mpesa_callbacks::payload::Sensitive;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{
    CallbackId, Entry, Spool, SpoolDepth, SpoolId, Spooled, SqliteSpool, State, StoreError, Verdict,
};
use mpesa_callbacks_tests::{
    FlakyStore, Mounted, SECRET, cancelled_push, its_confirmation, its_contradiction, paid_push, push, question, until,
};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{Connection, SqliteConnection};

#[derive(Clone, Default)]
struct Shop {
    handled: Arc<Mutex<Vec<String>>>,
    told: Arc<Mutex<Vec<String>>>,
}

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn pushed(&self, _: StkCallback, ctx: &CallbackContext) {
        self.handled.lock().unwrap().push(ctx.key().to_owned());
    }

    #[payment]
    async fn paid(&self, payment: Payment) {
        self.handled.lock().unwrap().push(payment.receipt);
    }

    #[c2b_validation(timeout = "1s")]
    async fn check(&self, _: C2bValidation) -> Validation {
        Validation::reject(Rejection::InvalidAmount)
    }

    #[on_conflict]
    async fn contradicted(&self, ctx: &CallbackContext) {
        self.told.lock().unwrap().push(format!("conflict {}", ctx.key()));
    }

    #[on_duplicate]
    async fn repeated(&self, ctx: &CallbackContext) {
        self.told.lock().unwrap().push(format!("duplicate {}", ctx.key()));
    }
}

struct Away {
    shop: Shop,
    store: FlakyStore,
    mounted: Mounted,
    directory: tempfile::TempDir,
}

/// An inbox with an unavailable store, and a spool of so many bytes.
async fn away(budget: u64) -> Away {
    let directory = tempfile::tempdir().unwrap();
    let spool = SqliteSpool::open_with_budget(directory.path(), budget).unwrap();
    with_spool(spool, directory).await
}

async fn with_spool(spool: impl Spool, directory: tempfile::TempDir) -> Away {
    let (shop, store) = (Shop::default(), FlakyStore::default());
    let inbox = Inbox::builder(shop.clone()).store(store.clone()).spool(spool).secret(SECRET);
    let inbox = inbox.recording_timeout(Duration::from_millis(200)).start().await.unwrap();
    store.go_away(true);
    Away { shop, store, mounted: Mounted::new(inbox), directory }
}

impl Away {
    async fn waiting(&self) -> u64 {
        self.mounted.inbox.spool_depth().await.unwrap().unwrap().deliveries
    }

    /// The store is back; waits until the spool is empty and everything handled.
    async fn come_back(&self) -> Vec<Entry> {
        self.store.go_away(false);
        let began = Instant::now();
        while self.waiting().await > 0 {
            assert!(began.elapsed() < Duration::from_secs(20), "the spool is not drained");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        self.mounted.settled().await;
        self.mounted.entries().await
    }
}

const ROOM: u64 = 1 << 24;

#[tokio::test]
async fn what_came_while_the_store_was_away_is_acknowledged_and_handled_once_it_is_back() {
    let away = away(ROOM).await;
    let before = SystemTime::now();
    for body in [paid_push(), its_confirmation(), cancelled_push("k1"), cancelled_push("k2")] {
        let path = if body == its_confirmation() { "/c2b/confirmation" } else { "/stk" };
        assert_eq!(away.mounted.post(path, body).await.status, 200);
    }
    assert_eq!(away.waiting().await, 4);
    tokio::time::sleep(Duration::from_millis(50)).await;
    let after = SystemTime::now();
    assert!(away.mounted.entries().await.is_empty());

    let entries = away.come_back().await;
    let names: Vec<_> = entries.iter().map(|entry| (entry.kind.name(), entry.verdict, entry.state)).collect();
    let done = |kind| (kind, Verdict::First, State::Done);
    // The confirmation reports the same payment.
    let again = ("payment", Verdict::Variant, State::Done);
    assert_eq!(names, [done("stk"), done("payment"), done("c2b_confirmation"), again, done("stk"), done("stk")]);
    for entry in &entries {
        assert!((before..after).contains(&entry.received_at), "it has the time of its replay");
    }
    let mut handled = away.shop.handled.lock().unwrap().clone();
    handled.sort();
    assert_eq!(handled, ["NLJ7RT61SV", "k1", "k2", "ws_CO_191220191020363925"]);
}

#[tokio::test]
async fn the_wait_for_a_store_that_hangs_is_spared_to_those_that_come_later() {
    let away = away(ROOM).await;
    away.store.go_away(false);
    away.store.hang(true);
    for number in 0..3 {
        assert_eq!(away.mounted.post("/stk", cancelled_push(&format!("slow{number}"))).await.status, 200);
    }
    let began = Instant::now();
    for number in 0..20 {
        assert_eq!(away.mounted.post("/stk", cancelled_push(&format!("quick{number}"))).await.status, 200);
    }
    // Each of them would have waited for 200 ms.
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    away.store.hang(false);
    let entries = away.come_back().await;
    assert_eq!(entries.len(), 23);
    assert!(entries.iter().all(|entry| entry.verdict == Verdict::First && entry.state == State::Done));
    assert_eq!(away.shop.handled.lock().unwrap().len(), 23);
    // The store is used directly again.
    assert_eq!(away.mounted.post("/stk", cancelled_push("later")).await.status, 200);
    assert_eq!((away.waiting().await, away.mounted.entries().await.len()), (0, 24));
}

#[tokio::test]
async fn what_neither_store_nor_spool_takes_hears_503_and_never_200() {
    let away = away(256 * 1024).await;
    let mut acknowledged = Vec::new();
    let mut refused = 0;
    while refused < 20 {
        let key = format!("k{}", acknowledged.len() + refused);
        let padded = format!("{}{}", String::from_utf8(cancelled_push(&key)).unwrap(), " ".repeat(2000));
        let answer = away.mounted.post("/stk", padded).await;
        match answer.status {
            200 => acknowledged.push(key),
            503 => refused += 1,
            status => panic!("{status}"),
        }
        assert!(acknowledged.len() < 500, "the spool has no limit");
    }
    let entries = away.come_back().await;
    assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), acknowledged);
}

#[tokio::test]
async fn conflicts_and_bodies_that_cannot_be_read_are_found_at_the_replay() {
    let away = away(ROOM).await;
    for body in [paid_push(), its_contradiction(), paid_push(), b"{".to_vec()] {
        assert_eq!(away.mounted.post("/stk", body).await.status, 200);
    }
    let entries = away.come_back().await;
    let found: Vec<_> = entries.iter().map(|entry| (entry.kind.name(), entry.state, entry.seen)).collect();
    let [push, payment, contradiction, unreadable] = &found[..] else { panic!("{found:?}") };
    assert_eq!(*push, ("stk", State::Done, 2));
    assert_eq!(*payment, ("payment", State::Done, 1));
    assert_eq!(*contradiction, ("stk", State::Held, 1));
    assert_eq!(*unreadable, ("stk", State::Quarantined, 1));
    assert_eq!(*away.shop.told.lock().unwrap(), ["conflict ws_CO_191220191020363925"]);
}

#[tokio::test]
async fn a_validation_is_answered_and_what_was_answered_is_what_is_recorded() {
    let away = away(ROOM).await;
    let answer = away.mounted.post("/c2b/validation", question("T1", "10.00", "account")).await;
    assert!(answer.body.contains("C2B00013"), "{}", answer.body);
    assert_eq!(away.waiting().await, 1);
    let entries = away.come_back().await;
    assert_eq!((entries[0].state, entries[0].decision.as_deref()), (State::Done, Some(&*answer.body)));
    assert_eq!(away.mounted.post("/c2b/validation", question("T1", "10.00", "account")).await, answer);
}

#[tokio::test]
async fn what_the_store_refuses_for_ever_is_kept_as_what_cannot_be_read_and_holds_up_nothing() {
    let away = away(ROOM).await;
    away.store.refuse_poison();
    for key in ["a", "poison", "b"] {
        assert_eq!(away.mounted.post("/stk", cancelled_push(key)).await.status, 200);
    }
    let entries = away.come_back().await;
    let states: Vec<_> = entries.iter().map(|entry| entry.state).collect();
    assert_eq!(states, [State::Done, State::Quarantined, State::Done]);
    let body = away.mounted.inbox.get(entries[1].id).await.unwrap().unwrap().body.unwrap();
    assert_eq!(body.as_bytes(), cancelled_push("poison"));
    // One that comes while the store is there goes the same way.
    assert_eq!(away.mounted.post("/stk", cancelled_push("poison 2")).await.status, 200);
    assert_eq!((away.waiting().await, away.mounted.inbox.counts().await.unwrap().quarantined), (0, 2));
}

/// A spool that returns removed deliveries a few times, as after a crash between the store's commit and the removal.
#[derive(Debug)]
struct Forgetful {
    inner: SqliteSpool,
    forget: AtomicU32,
}

#[async_trait]
impl Spool for Forgetful {
    async fn put(&self, batch: &[Spooled]) -> Result<(), StoreError> {
        self.inner.put(batch).await
    }
    async fn oldest(&self, behind: SpoolId, _: usize) -> Result<Vec<(SpoolId, Spooled)>, StoreError> {
        let left = self.forget.load(Ordering::SeqCst);
        // Another prefix each time.
        self.inner.oldest(behind, if left == 0 { 100 } else { left as usize }).await
    }
    async fn remove(&self, ids: &[SpoolId]) -> Result<(), StoreError> {
        let forgets = self.forget.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        if forgets {
            return Err(StoreError::Unavailable("crashed".into()));
        }
        self.inner.remove(ids).await
    }
    async fn depth(&self) -> Result<SpoolDepth, StoreError> {
        self.inner.depth().await
    }
    async fn close(&self) -> Result<(), StoreError> {
        self.inner.close().await
    }
}

#[tokio::test]
async fn any_prefix_of_the_spool_may_be_replayed_any_number_of_times() {
    let directory = tempfile::tempdir().unwrap();
    let spool = Forgetful { inner: SqliteSpool::open(directory.path()).unwrap(), forget: AtomicU32::new(5) };
    let away = with_spool(spool, directory).await;
    let mut keys: Vec<String> = (0..8).map(|number| format!("k{number}")).collect();
    for key in &keys {
        assert_eq!(away.mounted.post("/stk", cancelled_push(key)).await.status, 200);
    }
    let entries = away.come_back().await;
    assert_eq!(entries.iter().map(|entry| entry.key.as_str()).collect::<Vec<_>>(), keys);
    assert!(entries.iter().all(|entry| entry.state == State::Done && entry.attempts == 1));
    let mut handled = away.shop.handled.lock().unwrap().clone();
    handled.sort();
    keys.sort();
    assert_eq!(handled, keys);
    // A replay is no news.
    assert!(away.shop.told.lock().unwrap().is_empty());
}

/// A process that is started in the middle of an outage takes callbacks.
#[tokio::test]
async fn an_inbox_with_a_spool_starts_while_the_store_is_away() {
    let directory = tempfile::tempdir().unwrap();
    let (shop, store) = (Shop::default(), FlakyStore::default());
    store.go_away(true);
    let without = Inbox::builder(shop.clone()).store(store.clone()).secret(SECRET).start().await;
    assert!(without.is_err());
    let spool = SqliteSpool::open(directory.path()).unwrap();
    let inbox = Inbox::builder(shop.clone()).store(store.clone()).spool(spool).secret(SECRET).start().await.unwrap();
    let away = Away { shop, store, mounted: Mounted::new(inbox), directory };
    assert_eq!(away.mounted.post("/stk", cancelled_push("k1")).await.status, 200);
    let entries = away.come_back().await;
    assert_eq!(entries.len(), 1);
    assert_eq!(*away.shop.handled.lock().unwrap(), ["k1"]);
}

/// How much waits, and for how long, is measured; and that the store is away.
#[tokio::test]
async fn what_waits_is_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _recording = metrics::set_default_local_recorder(&recorder);
    let directory = tempfile::tempdir().unwrap();
    let spool = SqliteSpool::open(directory.path()).unwrap();
    let old = SystemTime::now() - Duration::from_mins(10);
    spool.put(&[Spooled::new(Kind::Stk, cancelled_push("k1").into(), old)]).await.unwrap();
    let (shop, store) = (Shop::default(), FlakyStore::default());
    store.go_away(true);
    let inbox = Inbox::builder(shop).store(store).spool(spool).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    for key in ["k2", "k3", "k4"] {
        assert_eq!(mounted.post("/stk", cancelled_push(key)).await.status, 200);
    }
    let mut seen = std::collections::HashMap::new();
    let began = Instant::now();
    while !(seen.contains_key("mpesa_callbacks_spool_oldest_seconds")
        && seen.contains_key("mpesa_callbacks_store_unavailable"))
    {
        assert!(began.elapsed() < Duration::from_secs(10), "{seen:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        for (key, _, _, value) in snapshotter.snapshot().into_vec() {
            if let DebugValue::Gauge(value) = value {
                seen.insert(key.key().name().to_owned(), value.0);
            }
        }
    }
    assert!(seen["mpesa_callbacks_spool_depth"] >= 1.0, "{seen:?}");
    assert!(seen["mpesa_callbacks_spool_oldest_seconds"] > 590.0, "{seen:?}");
    assert!((seen["mpesa_callbacks_store_unavailable"] - 1.0).abs() < f64::EPSILON, "{seen:?}");
}

/// The next process finds the deliveries of the last one, also of kinds without a handler.
#[tokio::test]
async fn the_next_process_replays_what_the_last_one_left() {
    let directory = tempfile::tempdir().unwrap();
    let spool = SqliteSpool::open(directory.path()).unwrap();
    let body = |bytes: &[u8]| bytes.to_vec().into();
    let mut referenced = Spooled::new(Kind::Stk, body(&cancelled_push("k1")), SystemTime::now());
    referenced.reference = Some(Sensitive::from("order-1"));
    let unknown = Spooled::new(Kind::custom("/gone"), body(br#"{"reference":"r1"}"#), SystemTime::now());
    let unhandled = Spooled::new(Kind::BillManager, body(br#"{"transactionId":"T1"}"#), SystemTime::now());
    spool.put(&[referenced, unknown, unhandled]).await.unwrap();
    let away = with_spool(spool, directory).await;
    let entries = away.come_back().await;
    let found: Vec<_> = entries.iter().map(|entry| (entry.id, entry.kind.name(), entry.state)).collect();
    assert_eq!(found[0], (CallbackId::from_stored(1), "stk", State::Done));
    assert_eq!(entries[0].reference, Some(Sensitive::from("order-1")));
    assert!(matches!(found[1], (_, _, State::Quarantined)), "{found:?}");
    assert!(matches!(found[2], (_, "bill_manager", State::Held | State::Quarantined | State::Done)), "{found:?}");
}

/// The store is away, and the disk of the spool stalls. The senders get an error, and Daraja does not send again:
/// what the spool has taken in is written all the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn deliveries_that_wait_for_a_stalled_disk_are_kept() {
    let away = away(1 << 20).await;
    let is_database = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "db");
    let files = std::fs::read_dir(away.directory.path()).unwrap().map(|file| file.unwrap().path());
    let file = files.into_iter().find(is_database).expect("the spool's file");
    let options = SqliteConnectOptions::new().filename(file);
    let mut stall = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut stall).await.unwrap();
    let mut sending = Vec::new();
    for (key, receipt) in [("ws_CO_1", "RCPT1"), ("ws_CO_2", "RCPT2")] {
        let mounted = away.mounted.clone();
        sending.push(tokio::spawn(async move { mounted.post("/stk", push(key, receipt, 100)).await.status }));
        // The first is being written, so the second waits behind it.
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    for sent in sending {
        assert_eq!(sent.await.unwrap(), 503);
    }
    sqlx::raw_sql("ROLLBACK").execute(&mut stall).await.unwrap();
    until("both are in the spool", async || away.waiting().await == 2).await;
}
