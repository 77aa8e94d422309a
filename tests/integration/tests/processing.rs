//! From a recorded callback to its end.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, MemoryStore, SqliteStore, State, Store, Verdict};
use mpesa_callbacks::{Backoff, Inbox, InboxBuilder};
use mpesa_callbacks_tests::{
    FlakyStore, Mounted, SECRET, cancelled_push, its_confirmation, its_contradiction, paid_push,
};
use tokio::sync::Notify;

/// Short enough to wait for, and long enough that a busy machine renews it in time.
const LEASE: Duration = Duration::from_secs(1);

/// Behaves as the key of a push demands, and records its calls.
#[derive(Clone, Default)]
struct Moody {
    seen: Arc<Mutex<Vec<String>>>,
    running: Arc<AtomicU32>,
    most_running: Arc<AtomicU32>,
    go: Arc<Notify>,
}

impl Moody {
    fn note(&self, text: String) {
        self.seen.lock().unwrap().push(text);
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }

    fn count(&self, text: &str) -> usize {
        self.seen().iter().filter(|seen| seen.starts_with(text)).count()
    }
}

#[mpesa_callbacks(no_timeouts)]
impl Moody {
    #[stk(max_retries = 3)]
    async fn stk(&self, _: StkCallback, ctx: &CallbackContext) -> Result<(), String> {
        self.note(format!("{} attempt {}", ctx.key(), ctx.attempt()));
        let running = self.running.fetch_add(1, Ordering::SeqCst) + 1;
        self.most_running.fetch_max(running, Ordering::SeqCst);
        let result = self.moody(ctx).await;
        self.running.fetch_sub(1, Ordering::SeqCst);
        result
    }

    async fn moody(&self, ctx: &CallbackContext) -> Result<(), String> {
        let (mood, _) = ctx.key().split_once('-').unwrap_or((ctx.key(), ""));
        match mood {
            "third" if ctx.attempt() < 3 => Err(format!("not at attempt {}", ctx.attempt())),
            "never" => Err("never".into()),
            "panics" => panic!("as it does"),
            "overruns" | "waits" => {
                self.go.notified().await;
                Ok(())
            }
            "slow" => {
                tokio::time::sleep(LEASE * 2).await;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    #[c2b_confirmation]
    async fn c2b(&self, _: C2bConfirmation, ctx: &CallbackContext) {
        let sibling = ctx.related().map(|sibling| format!(" sibling {} {}", sibling.kind, sibling.key.as_str()));
        self.note(format!("c2b {}{}", ctx.key(), sibling.unwrap_or_default()));
    }

    #[b2c_result]
    async fn b2c(&self, _: B2cResult) {
        self.note("b2c".into());
    }

    #[on_duplicate]
    async fn again(&self, ctx: &CallbackContext) {
        self.note(format!("duplicate {} {:?}", ctx.key(), ctx.verdict()));
    }

    #[on_conflict]
    async fn contradicted(&self, ctx: &CallbackContext) {
        self.note(format!("conflict {} {:?}", ctx.key(), ctx.verdict()));
        panic!("a hook that panics harms nobody");
    }

    #[on_dead]
    async fn gave_up(&self, ctx: &CallbackContext) {
        self.note(format!("dead {}: {}", ctx.key(), ctx.error().unwrap_or_default()));
    }
}

/// The next release of it.
struct Stuck;

#[mpesa_callbacks]
impl Stuck {
    #[b2c_timeout]
    async fn stuck(&self, _: QueueTimeout) {}
}

fn builder(moody: &Moody, store: impl Store) -> InboxBuilder<Moody, mpesa_callbacks::transactor::NoTransactor> {
    Inbox::builder(moody.clone())
        .store(store)
        .secret(SECRET)
        .backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(5)))
        .lease(LEASE)
        .lease_check_interval(Duration::from_millis(50))
}

async fn moody() -> (Mounted, Moody) {
    let moody = Moody::default();
    let inbox = builder(&moody, MemoryStore::new()).start().await.unwrap();
    (Mounted::new(inbox), moody)
}

/// Waits until something is so.
async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < Duration::from_secs(30), "{what} does not come to pass");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn a_handler_that_fails_twice_and_then_succeeds_runs_three_times() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", cancelled_push("third")).await;
    until("done", async || mounted.entries().await[0].state == State::Done).await;
    assert_eq!(moody.seen(), ["third attempt 1", "third attempt 2", "third attempt 3"]);
    assert!(mounted.entries().await[0].error.is_none());
}

#[tokio::test]
async fn a_handler_that_always_fails_is_dead_after_its_attempts_and_runs_again_after_a_requeue() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", cancelled_push("never")).await;
    until("dead", async || moody.count("dead") == 1).await;
    assert_eq!(moody.count("never attempt"), 4, "once, and three max_retries");
    assert_eq!(moody.seen().last().unwrap(), "dead never: never");
    let dead = mounted.inbox.list(&Filter::default().state(State::Dead)).await.unwrap();
    assert_eq!((dead.len(), dead[0].attempts), (1, 4));
    assert_eq!(dead[0].error.as_ref().unwrap().as_str(), "never");

    assert!(mounted.inbox.requeue(dead[0].id).await.unwrap());
    until("dead again", async || moody.count("dead") == 2).await;
    assert_eq!(moody.count("never attempt"), 8);
    assert!(mounted.inbox.dismiss(dead[0].id).await.unwrap());
    assert!(!mounted.inbox.requeue(dead[0].id).await.unwrap(), "it is dismissed");
}

#[tokio::test]
async fn a_handler_that_panics_is_a_handler_that_failed() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", cancelled_push("panics")).await;
    mounted.post("/stk", cancelled_push("fine")).await;
    until("dead", async || moody.count("dead") == 1).await;
    assert_eq!(moody.count("panics attempt"), 4);
    assert_eq!(moody.count("fine attempt"), 1);
    assert_eq!(moody.seen().last().unwrap(), "dead panics: the handler panicked");
}

#[tokio::test]
async fn a_handler_that_overruns_is_stopped_and_tried_again() {
    let moody = Moody::default();
    let inbox = builder(&moody, MemoryStore::new()).handler_timeout(Duration::from_millis(20)).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.post("/stk", cancelled_push("overruns")).await;
    until("dead", async || moody.count("dead") == 1).await;
    assert_eq!(moody.count("overruns attempt"), 4);
    assert!(moody.seen().last().unwrap().contains("longer than 20ms"));
}

#[tokio::test]
async fn a_handler_that_outlives_its_lease_runs_once_because_the_lease_is_renewed() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", cancelled_push("slow")).await;
    until("done", async || mounted.entries().await[0].state == State::Done).await;
    assert_eq!(moody.seen(), ["slow attempt 1"]);
}

#[tokio::test]
async fn a_callback_whose_settlement_was_lost_is_handled_again() {
    let (moody, store) = (Moody::default(), FlakyStore::default());
    let mounted = Mounted::new(builder(&moody, store.clone()).start().await.unwrap());
    store.lose_settlements(1);
    mounted.post("/stk", cancelled_push("k")).await;
    until("done", async || mounted.entries().await[0].state == State::Done).await;
    assert_eq!(moody.seen(), ["k attempt 1", "k attempt 1"]);
}

#[tokio::test]
async fn handling_goes_on_when_the_store_comes_back() {
    let (moody, store) = (Moody::default(), FlakyStore::default());
    let mounted = Mounted::new(builder(&moody, store.clone()).start().await.unwrap());
    mounted.post("/stk", cancelled_push("waits")).await;
    until("running", async || moody.count("waits") == 1).await;
    store.go_away(true);
    moody.go.notify_waiters();
    tokio::time::sleep(Duration::from_millis(100)).await;
    store.go_away(false);
    until("done", async || {
        moody.go.notify_waiters();
        mounted.entries().await[0].state == State::Done
    })
    .await;
}

#[tokio::test]
async fn no_more_handlers_run_at_once_than_there_is_room_for() {
    let moody = Moody::default();
    let mounted = Mounted::new(builder(&moody, MemoryStore::new()).max_concurrent_handlers(3).start().await.unwrap());
    for i in 0..10 {
        mounted.post("/stk", cancelled_push(&format!("waits-{i}"))).await;
    }
    until("three running", async || moody.running.load(Ordering::SeqCst) == 3).await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    until("all done", async || {
        moody.go.notify_waiters();
        mounted.inbox.counts().await.unwrap().ready + mounted.inbox.counts().await.unwrap().running == 0
    })
    .await;
    assert_eq!(moody.most_running.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn the_hooks_are_told() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", paid_push()).await;
    mounted.post("/stk", paid_push()).await;
    mounted.post("/stk", its_contradiction()).await;
    until("told", async || moody.count("duplicate") == 1 && moody.count("conflict") == 1).await;
    let key = "ws_CO_191220191020363925";
    assert!(moody.seen().contains(&format!("duplicate {key} Duplicate")));
    assert!(moody.seen().contains(&format!("conflict {key} Conflict")));
    mounted.settled().await;
    assert_eq!(moody.count(&format!("{key} attempt")), 1);
}

#[tokio::test]
async fn a_handler_gets_the_related_callback() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", paid_push()).await;
    mounted.settled().await;
    mounted.post("/c2b/confirmation", its_confirmation()).await;
    mounted.settled().await;
    assert_eq!(moody.seen().last().unwrap(), "c2b NLJ7RT61SV sibling stk ws_CO_191220191020363925");
}

#[tokio::test]
async fn what_nothing_handles_waits_for_a_process_that_does() {
    let moody = Moody::default();
    let store = MemoryStore::new();
    let mounted = Mounted::new(builder(&moody, store.clone()).name("moody").start().await.unwrap());
    // There is no `b2c_timeout` here; it comes to the result's URL.
    let timeout = r#"{"Result":{"ResultType":1,"ResultCode":1,"OriginatorConversationID":"oc"}}"#;
    assert_eq!(mounted.post("/b2c/result", timeout).await.status, 200);
    let entry = &mounted.entries().await[0];
    assert_eq!((entry.kind.clone(), entry.state, entry.verdict), (Kind::B2cTimeout, State::Ready, Verdict::First));
    let waiting = mounted.inbox.waiting().await.unwrap();
    assert_eq!(waiting.iter().map(|one| (one.kind.clone(), one.count)).collect::<Vec<_>>(), [(Kind::B2cTimeout, 1)]);
    assert!(!mounted.inbox.routes().any(|(kind, _)| *kind == Kind::B2cTimeout));
    assert_eq!(moody.count("b2c"), 0);
    // The next release has a handler.
    let next = Inbox::builder(Stuck).name("moody").store(store).secret(SECRET).start().await.unwrap();
    until("handled", async || mounted.entries().await[0].state == State::Done).await;
    drop(next);
}

#[tokio::test]
async fn shutting_down_lets_handlers_finish() {
    let (mounted, moody) = moody().await;
    mounted.post("/stk", cancelled_push("slow")).await;
    until("running", async || moody.count("slow") == 1).await;
    mounted.inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    assert_eq!(mounted.post("/stk", cancelled_push("late")).await.status, 503, "a closed inbox acknowledges nothing");
    assert_eq!(moody.seen(), ["slow attempt 1"]);
}

#[tokio::test]
async fn what_does_not_finish_in_time_is_handed_to_the_next_process_with_its_attempt_uncounted() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("inbox.db");
    let moody = Moody::default();
    let mounted = Mounted::new(builder(&moody, SqliteStore::open(&path).unwrap()).start().await.unwrap());
    mounted.post("/stk", cancelled_push("waits")).await;
    until("running", async || moody.count("waits") == 1).await;
    mounted.inbox.shutdown(Duration::from_millis(50)).await.unwrap();

    let next = Moody::default();
    let mounted = Mounted::new(builder(&next, SqliteStore::open(&path).unwrap()).start().await.unwrap());
    until("running", async || next.count("waits") == 1).await;
    assert_eq!(next.seen(), ["waits attempt 1"]);
    next.go.notify_waiters();
    mounted.settled().await;
    assert_eq!(mounted.entries().await[0].state, State::Done);
}

#[tokio::test]
async fn an_inbox_that_is_dropped_stops_and_lets_go() {
    let (moody, store) = (Moody::default(), MemoryStore::new());
    let inbox = builder(&moody, store.clone()).start().await.unwrap();
    drop(inbox);
    // Callbacks that become ready afterwards stay ready.
    let body = cancelled_push("k");
    let delivery = mpesa_callbacks::store::Delivery::parse(&Kind::Stk, &body, std::time::SystemTime::now()).unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    store.record(&[delivery]).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(moody.seen().is_empty());
    assert_eq!(Arc::strong_count(&moody.seen), 1, "something still holds the handlers");
}

/// Only the money matters.
#[derive(Clone, Default)]
struct OnlyPayments(Arc<Mutex<Vec<String>>>);

#[mpesa_callbacks]
impl OnlyPayments {
    #[payment]
    async fn paid(&self, payment: Payment, ctx: &CallbackContext) {
        assert_eq!(ctx.key(), payment.receipt);
        self.0.lock().unwrap().push(format!("{} {} {}", payment.receipt, payment.amount, payment.first_reported_by));
    }
}

#[tokio::test]
async fn whoever_handles_payments_alone_hears_of_all_of_them() {
    let handler = OnlyPayments::default();
    let inbox = Inbox::builder(handler.clone()).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.post("/stk", paid_push()).await;
    mounted.post("/c2b/confirmation", its_confirmation()).await;
    mounted.post("/stk", cancelled_push("k")).await;
    mounted.settled().await;
    assert_eq!(*handler.0.lock().unwrap(), ["NLJ7RT61SV 100.00 stk"]);
    let states: Vec<_> =
        mounted.entries().await.iter().map(|entry| (entry.kind.name().to_owned(), entry.state)).collect();
    let done = |kind: &str| (kind.to_owned(), State::Done);
    assert_eq!(states, [done("stk"), done("payment"), done("c2b_confirmation"), done("payment"), done("stk")]);
}

#[tokio::test]
async fn a_kind_that_is_not_handled_has_no_url() {
    let inbox = Inbox::builder(OnlyPayments::default()).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    assert_eq!(mounted.post("/b2c/result", "{}").await.status, 404);
    assert_eq!(mounted.post("/payment", "{}").await.status, 404, "a payment has no URL of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_callback_runs_twice_at_once_or_loses_attempts_while_others_take_their_time() {
    #[derive(Clone, Default)]
    struct Slow(Arc<Mutex<std::collections::HashMap<String, u32>>>, Arc<AtomicU32>);
    #[mpesa_callbacks]
    impl Slow {
        #[stk(max_retries = 1)]
        async fn stk(&self, _: StkCallback, ctx: &CallbackContext) {
            let running = *self.0.lock().unwrap().entry(ctx.key().into()).and_modify(|count| *count += 1).or_insert(1);
            assert_eq!(running, 1, "{} ran again", ctx.key());
            // Longer than the lease, which is renewed meanwhile.
            tokio::time::sleep(LEASE + LEASE / 2).await;
            self.1.fetch_add(1, Ordering::SeqCst);
        }
    }
    let slow = Slow::default();
    let store = MemoryStore::new();
    for i in 0..24 {
        let body = cancelled_push(&format!("k{i}"));
        let delivery =
            mpesa_callbacks::store::Delivery::parse(&Kind::Stk, &body, std::time::SystemTime::now()).unwrap();
        store.record(&[delivery]).await.unwrap();
    }
    let inbox = Inbox::builder(slow.clone()).store(store).secret(SECRET).max_concurrent_handlers(8);
    let inbox = inbox.lease(LEASE).lease_check_interval(Duration::from_millis(30)).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.settled().await;
    assert_eq!(slow.1.load(Ordering::SeqCst), 24);
    assert!(mounted.entries().await.iter().all(|entry| entry.state == State::Done && entry.attempts == 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_handler_that_cannot_be_stopped_is_waited_for() {
    #[derive(Clone, Default)]
    struct Blocking(Arc<AtomicU32>, Arc<AtomicU32>);
    #[mpesa_callbacks]
    impl Blocking {
        #[stk(max_retries = 2, timeout = "20ms")]
        async fn stk(&self, _: StkCallback) {
            assert_eq!(self.0.fetch_add(1, Ordering::SeqCst), 0, "two run at once");
            std::thread::sleep(Duration::from_millis(150));
            self.0.fetch_sub(1, Ordering::SeqCst);
            self.1.fetch_add(1, Ordering::SeqCst);
            tokio::task::yield_now().await;
        }
    }
    let blocking = Blocking::default();
    let inbox = Inbox::builder(blocking.clone()).store(MemoryStore::new()).secret(SECRET);
    let inbox = inbox.backoff(Backoff::new(Duration::from_millis(1), Duration::from_millis(1))).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.post("/stk", cancelled_push("k")).await;
    mounted.settled().await;
    // The handler itself asserts that no two ran at once; an attempt may be stopped before it begins.
    assert!((1..=3).contains(&blocking.1.load(Ordering::SeqCst)));
    let entry = &mounted.entries().await[0];
    // A handler that finishes while it is being stopped has finished.
    assert!(matches!(entry.state, State::Dead | State::Done), "{:?}", entry.state);
}

#[tokio::test]
async fn money_that_does_not_say_how_much_is_held_and_not_passed_over() {
    let handler = OnlyPayments::default();
    let inbox = Inbox::builder(handler.clone()).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.post("/c2b/confirmation", r#"{"TransID":"T1","TransAmount":""}"#).await;
    mounted.post("/stk", r#"{"Body":{"stkCallback":{"CheckoutRequestID":"k","ResultCode":0}}}"#).await;
    for entry in mounted.entries().await {
        assert_eq!((entry.state, entry.verdict), (State::Held, Verdict::First), "{}", entry.kind);
        assert!(entry.error.unwrap().as_str().contains("without an amount or a receipt"));
    }
}

#[tokio::test]
async fn a_hook_is_told_of_the_payment_that_contradicts_and_can_release_it() {
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<(i64, Kind)>>>, Arc<AtomicU32>);
    #[mpesa_callbacks]
    impl Told {
        #[payment]
        async fn paid(&self, _: Payment) {
            self.1.fetch_add(1, Ordering::SeqCst);
        }
        #[on_conflict]
        async fn conflict(&self, ctx: &CallbackContext) {
            self.0.lock().unwrap().push((ctx.id().number(), ctx.kind().clone()));
        }
    }
    let told = Told::default();
    let inbox = Inbox::builder(told.clone()).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    mounted.post("/stk", paid_push()).await;
    mounted.post("/c2b/confirmation", String::from_utf8(its_confirmation()).unwrap().replace("100.00", "900.00")).await;
    until("told", async || !told.0.lock().unwrap().is_empty()).await;
    let (id, kind) = told.0.lock().unwrap()[0].clone();
    assert_eq!(kind, Kind::Payment);
    assert!(mounted.inbox.release(mpesa_callbacks::store::CallbackId::from_stored(id)).await.unwrap().is_some());
    mounted.settled().await;
    assert_eq!(told.1.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn shutting_down_begins_nothing_and_waits_for_no_hook() {
    let moody = Moody::default();
    let mounted = Mounted::new(builder(&moody, MemoryStore::new()).max_concurrent_handlers(2).start().await.unwrap());
    for i in 0..20 {
        mounted.post("/stk", cancelled_push(&format!("waits-{i}"))).await;
    }
    until("two running", async || moody.count("waits") == 2).await;
    let began = Instant::now();
    mounted.inbox.shutdown(Duration::from_millis(100)).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(moody.count("waits"), 2);
}

/// Bodies hold names and phone numbers.
#[tokio::test(start_paused = true)]
async fn bodies_go_after_a_while_and_what_is_not_done_keeps_its_own() {
    let store = MemoryStore::new();
    let inbox = Inbox::builder(Moody::default()).store(store).secret(SECRET).retention(Duration::ZERO);
    let mounted = Mounted::new(inbox.start().await.unwrap());
    assert_eq!(mounted.post("/stk", cancelled_push("k")).await.status, 200);
    assert_eq!(mounted.post("/stk", b"{".to_vec()).await.status, 200);
    mounted.settled().await;
    tokio::time::sleep(Duration::from_mins(10)).await;
    let entries = mounted.entries().await;
    let mut bodies = Vec::new();
    for entry in &entries {
        bodies.push(mounted.inbox.get(entry.id).await.unwrap().unwrap().body.is_some());
    }
    assert_eq!(bodies, [false, true], "{entries:?}");
}
