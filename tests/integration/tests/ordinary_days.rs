//! What happens to every merchant: the two callbacks of a payment come in any order, a release adds or removes a handler, two
//! applications share a database, an operator looks into the inbox.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{CallbackId, Filter, Lookup, MemoryStore, SqliteStore, State, Verdict};
use mpesa_callbacks::{Backoff, StartError};
use mpesa_callbacks_tests::{Mounted, SECRET, push, unpaid_push, until};

type Heard = Arc<Mutex<Vec<String>>>;

fn heard(heard: &Heard) -> Vec<String> {
    let mut heard = heard.lock().unwrap().clone();
    heard.sort();
    heard
}

async fn until_heard(what: &Heard, expected: &[&str]) {
    let began = Instant::now();
    while heard(what) != expected {
        assert!(began.elapsed() < Duration::from_secs(20), "heard {:?} instead of {expected:?}", heard(what));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Handles payments, and records their order.
#[derive(Clone, Default)]
struct Shop {
    heard: Heard,
}

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, payment: Payment) {
        let push = payment.checkout_request_id.as_ref().map_or("no push", |id| id.as_str());
        let payer = payment.payer.as_ref().map_or("somebody", |name| name.as_str());
        let order = payment.order().unwrap_or("no order");
        self.heard.lock().unwrap().push(format!("paid {} for {order} by {payer}, {push}", payment.receipt));
    }

    #[payment_completed]
    async fn completed(&self, payment: Payment) {
        let order = payment.order().unwrap_or("no order");
        self.heard.lock().unwrap().push(format!("{} was for {order}", payment.receipt));
    }
}

/// The release before it, which handled pushes and confirmations by itself.
#[derive(Clone, Default)]
struct ShopBefore {
    heard: Heard,
    is_broken: bool,
}

#[mpesa_callbacks]
impl ShopBefore {
    #[stk]
    async fn pushed(&self, callback: StkCallback) -> Result<(), std::io::Error> {
        if self.is_broken {
            return Err(std::io::Error::other("a bad deployment"));
        }
        self.heard.lock().unwrap().push(format!("pushed {}", callback.receipt.unwrap_or_default()));
        Ok(())
    }

    #[c2b_confirmation]
    async fn confirmed(&self, confirmation: C2bConfirmation) {
        self.heard.lock().unwrap().push(format!("confirmed {}", confirmation.trans_id));
    }
}

/// A file that outlives the inbox.
struct Disk(tempfile::TempDir);

impl Disk {
    fn new() -> Disk {
        Disk(tempfile::tempdir().unwrap())
    }

    fn store(&self) -> SqliteStore {
        SqliteStore::open(self.0.path().join("inbox.db")).unwrap()
    }
}

macro_rules! started {
    ($shop:expr, $store:expr, $wait:expr) => {
        Mounted::new(
            Inbox::builder($shop.clone())
                .name("shop")
                .store($store)
                .secret(SECRET)
                .counterpart_timeout($wait)
                .backoff(Backoff::new(Duration::from_millis(5), Duration::from_millis(20)))
                .start()
                .await
                .unwrap(),
        )
    };
}

const LONG: Duration = Duration::from_mins(10);

/// A confirmation of a till: no account, but a name.
fn to_till(receipt: &str) -> String {
    format!(
        r#"{{"TransactionType":"Buy Goods","TransID":"{receipt}","TransAmount":"10.00","BusinessShortCode":"600638","BillRefNumber":"",
        "FirstName":"Jane"}}"#
    )
}

async fn held(mounted: &Mounted) -> u64 {
    mounted.inbox.counts().await.unwrap().held
}

// The order of a payment: a push to a till is reported twice.

#[tokio::test]
async fn the_push_first_and_its_order_is_known() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), LONG);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for ORDER-1 by somebody, ws_1"]).await;
    mounted.post("/c2b/confirmation", to_till("R1")).await;
    mounted.settled().await;
    assert_eq!((heard(&shop.heard).len(), held(&mounted).await), (1, 0));
}

#[tokio::test]
async fn the_confirmation_first_and_its_payment_waits_for_the_order() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), LONG);
    assert_eq!(mounted.post("/c2b/confirmation", to_till("R1")).await.status, 200);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for ORDER-1 by Jane, ws_1"]).await;
    assert_eq!(held(&mounted).await, 0);
}

#[tokio::test]
async fn both_at_once_and_the_order_is_known() {
    for round in 0..20 {
        let (shop, store) = (Shop::default(), MemoryStore::new());
        let mounted = started!(shop, store.clone(), LONG);
        let confirmation = mounted.post("/c2b/confirmation", to_till("R1"));
        let (answer, push) =
            tokio::join!(confirmation, mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)));
        assert_eq!((answer.status, push.status), (200, 200));
        mounted.settled().await;
        let [paid] = &heard(&shop.heard)[..] else { panic!("round {round}: {:?}", heard(&shop.heard)) };
        assert!(paid.starts_with("paid R1 for ORDER-1"), "round {round}: {paid}");
    }
}

#[tokio::test]
async fn the_push_after_a_restart_and_its_payment_still_waits() {
    let (shop, store) = (Shop::default(), Disk::new());
    let mounted = started!(shop, store.store(), LONG);
    assert_eq!(mounted.post("/c2b/confirmation", to_till("R1")).await.status, 200);
    mounted.inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    let mounted = started!(shop, store.store(), LONG);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for ORDER-1 by Jane, ws_1"]).await;
}

#[tokio::test]
async fn a_push_that_comes_too_late_for_its_payment_tells_the_order_all_the_same() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), Duration::from_millis(1));
    assert_eq!(mounted.post("/c2b/confirmation", to_till("R1")).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for no order by Jane, no push"]).await;
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["R1 was for ORDER-1", "paid R1 for no order by Jane, no push"]).await;
    assert_eq!(held(&mounted).await, 0);
}

/// A push to the plain URL of a pay bill: the order is the account that the confirmation has.
#[tokio::test]
async fn a_push_without_a_reference_learns_the_account() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), LONG);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 10)).await.status, 200);
    let body = to_till("R1").replace(r#""BillRefNumber":"""#, r#""BillRefNumber":" INV-7""#);
    assert_eq!(mounted.post("/c2b/confirmation", body).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for INV-7 by Jane, ws_1"]).await;
}

// Deployments.

#[tokio::test]
async fn a_release_that_adds_payments_handles_those_that_nobody_accounted_for() {
    let (before, store) = (ShopBefore::default(), Disk::new());
    let mounted = started!(before, store.store(), Duration::ZERO);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&before.heard, &["pushed R1"]).await;
    mounted.inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    // The version in between handles nothing, and records everything.
    let broken = ShopBefore { is_broken: true, ..ShopBefore::default() };
    let mounted = started!(broken, store.store(), Duration::ZERO);
    assert_eq!(mounted.post("/stk", push("ws_2", "R2", 20)).await.status, 200);
    mounted.inbox.shutdown(Duration::from_secs(5)).await.unwrap();

    let shop = Shop::default();
    let mounted = started!(shop, store.store(), Duration::ZERO);
    until_heard(&shop.heard, &["paid R2 for no order by somebody, ws_2"]).await;
    // The counterpart of a handled callback arrives after the deployment.
    assert_eq!(mounted.post("/c2b/confirmation", to_till("R1")).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_3", "R3", 30)).await.status, 200);
    let expected = ["paid R2 for no order by somebody, ws_2", "paid R3 for no order by somebody, ws_3"];
    until_heard(&shop.heard, &expected).await;
    assert_eq!(held(&mounted).await, 0);
}

#[tokio::test]
async fn rolling_back_leaves_nothing_unseen() {
    let (shop, store) = (Shop::default(), Disk::new());
    let mounted = started!(shop, store.store(), Duration::ZERO);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for no order by somebody, ws_1"]).await;
    mounted.inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    let before = ShopBefore::default();
    let mounted = started!(before, store.store(), Duration::ZERO);
    assert_eq!(mounted.post("/stk", push("ws_2", "R2", 20)).await.status, 200);
    until_heard(&before.heard, &["pushed R2"]).await;
    assert_eq!((heard(&shop.heard).len(), held(&mounted).await), (1, 0));
}

/// Both releases at once, as in a rolling deployment.
#[tokio::test]
async fn two_releases_side_by_side_account_for_each_payment_once() {
    let (before, shop, store) = (ShopBefore::default(), Shop::default(), MemoryStore::new());
    let releases = [started!(before, store.clone(), Duration::ZERO), started!(shop, store.clone(), Duration::ZERO)];
    for number in 0..200 {
        let body = push(&format!("ws_{number}"), &format!("R{number}"), 10);
        assert_eq!(releases[number % 2].post("/stk", body).await.status, 200);
    }
    releases[0].settled().await;
    let all = heard(&before.heard).into_iter().chain(heard(&shop.heard));
    let mut receipts: Vec<String> = all.map(|line| line.split(' ').nth(1).unwrap().to_owned()).collect();
    receipts.sort();
    assert_eq!(receipts.len(), 200, "each was handled");
    receipts.dedup();
    assert_eq!(receipts.len(), 200, "and none twice");
}

#[tokio::test]
async fn what_nobody_handles_waits_and_is_shown() {
    struct Payouts;
    #[mpesa_callbacks(no_timeouts)]
    impl Payouts {
        #[b2c_result]
        async fn sent(&self, _: B2cResult) {}
    }
    let (store, shop) = (Disk::new(), Shop::default());
    let stopped = started!(shop, store.store(), LONG);
    assert_eq!(stopped.post("/c2b/confirmation", to_till("R1")).await.status, 200);
    stopped.inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    let inbox = Inbox::builder(Payouts).store(store.store()).secret(SECRET).name("shop");
    let inbox = inbox.start().await.unwrap();
    let waiting = inbox.waiting().await.unwrap();
    let kinds: Vec<(&Kind, u64)> = waiting.iter().map(|waiting| (&waiting.kind, waiting.count)).collect();
    assert_eq!(kinds, [(&Kind::Payment, 1)]);
    inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    let mounted = started!(shop, store.store(), LONG);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for ORDER-1 by Jane, ws_1"]).await;
}

#[tokio::test]
async fn a_store_that_belongs_to_another_application_or_environment_is_refused() {
    let (store, shop) = (MemoryStore::new(), Shop::default());
    drop(started!(shop, store.clone(), LONG));
    let builder = || Inbox::builder(shop.clone()).name("shop").store(store.clone()).secret(SECRET);
    for other in [builder().name("books"), builder().sandbox()] {
        let refused = other.start().await.unwrap_err();
        assert!(matches!(refused, StartError::Store(_)), "{refused:?}");
    }
    drop(builder().start().await.unwrap());
}

/// Slow payment handlers are no reason to account for a payment without them.
#[tokio::test]
async fn payments_wait_for_their_handler_however_slow_it_is() {
    #[derive(Clone)]
    struct Slow {
        heard: Heard,
        open: Arc<tokio::sync::Semaphore>,
    }

    impl Slow {
        fn new() -> Slow {
            Slow { open: Arc::new(tokio::sync::Semaphore::new(0)), heard: Heard::default() }
        }
    }

    #[mpesa_callbacks]
    impl Slow {
        #[stk]
        async fn pushed(&self, _: StkCallback) {}

        #[payment]
        async fn paid(&self, payment: Payment) {
            let _open = self.open.acquire().await;
            self.heard.lock().unwrap().push(payment.receipt);
        }
    }
    let (slow, store) = (Slow::new(), MemoryStore::new());
    let inbox = Inbox::builder(slow.clone()).store(store).secret(SECRET);
    let mounted = Mounted::new(inbox.counterpart_timeout(Duration::ZERO).start().await.unwrap());
    for number in 0..100 {
        let body = push(&format!("ws_{number}"), &format!("R{number:03}"), 10);
        assert_eq!(mounted.post("/stk", body).await.status, 200);
    }
    let pushes = Filter::default().kind(Kind::Stk).state(State::Done).limit(1000);
    until("the pushes are handled", async || mounted.inbox.list(&pushes).await.unwrap().len() == 100).await;
    slow.open.add_permits(100);
    mounted.settled().await;
    assert_eq!(heard(&slow.heard).len(), 100);
}

/// A shop without `#[payment_completed]`: no callback waits for that handler.
#[tokio::test]
async fn what_is_completed_waits_for_nobody_where_nobody_is_told() {
    #[derive(Clone, Default)]
    struct Plain(Heard);

    #[mpesa_callbacks]
    impl Plain {
        #[payment]
        async fn paid(&self, payment: Payment) {
            self.0.lock().unwrap().push(payment.receipt);
        }
    }
    let (shop, store) = (Plain::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), Duration::ZERO);
    assert_eq!(mounted.post("/c2b/confirmation", to_till("R1")).await.status, 200);
    until_heard(&shop.0, &["R1"]).await;
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    mounted.settled().await;
}

// After the fact.

/// The outcome is unknown, and minutes later it is paid: no person is needed.
#[tokio::test]
async fn paid_after_nobody_knew_is_handled_with_what_was_known() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), Duration::ZERO);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", unpaid_push("ws_1", 1037)).await.status, 200);
    assert_eq!(mounted.post_for(&Kind::Stk, "ORDER-1", push("ws_1", "R1", 10)).await.status, 200);
    until_heard(&shop.heard, &["paid R1 for ORDER-1 by somebody, ws_1"]).await;
    let stk = mounted.inbox.list(&Filter::default().kind(Kind::Stk)).await.unwrap();
    assert_eq!(stk[0].verdict, Verdict::Update);
    assert_eq!(stk[0].earlier, Some(stk[1].id));
}

#[tokio::test]
async fn a_contradiction_says_what_it_contradicts_and_in_what_and_may_take_its_place() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), Duration::ZERO);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 10)).await.status, 200);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 99)).await.status, 200);
    mounted.settled().await;
    let [conflict] = &mounted.inbox.list(&Filter::default().state(State::Held)).await.unwrap()[..] else { panic!() };
    let contradiction = mounted.inbox.contradiction(conflict.id).await.unwrap().expect("a contradiction");
    assert_eq!(contradiction.differs_in, ["amount"]);
    let released = mounted.inbox.release(conflict.id).await.unwrap().expect("it was held");
    let Some((payment, Verdict::Conflict)) = released.payment else { panic!("{released:?}") };
    assert!(mounted.inbox.release(payment).await.unwrap().is_some());
    mounted.settled().await;
    assert_eq!(heard(&shop.heard).len(), 2, "the second in place of the first");
}

#[tokio::test]
async fn what_is_done_is_handled_again_with_a_reason_and_found_by_its_receipt() {
    let (shop, store) = (Shop::default(), MemoryStore::new());
    let mounted = started!(shop, store.clone(), Duration::ZERO);
    assert_eq!(mounted.post("/stk", push("ws_1", "R1", 10)).await.status, 200);
    mounted.settled().await;
    let found = mounted.inbox.find(&[Lookup::Receipt("R1".into())]).await.unwrap();
    let payment = found.iter().find(|entry| entry.kind == Kind::Payment).expect("the payment");
    assert!(mounted.inbox.handle_again(payment.id, "the books were restored from a backup").await.unwrap());
    mounted.settled().await;
    assert_eq!(heard(&shop.heard).len(), 2);
    assert!(!mounted.inbox.handle_again(CallbackId::from_stored(999), "there is none").await.unwrap());
}

#[tokio::test]
async fn everything_that_died_in_a_bad_deployment_is_requeued_at_once() {
    let broken = ShopBefore { is_broken: true, ..ShopBefore::default() };
    let store = Disk::new();
    let inbox =
        Inbox::builder(broken).name("shop").store(store.store()).secret(SECRET).max_retries(0).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    for number in 0..50 {
        let body = push(&format!("ws_{number}"), &format!("R{number}"), 10);
        assert_eq!(mounted.post("/stk", body).await.status, 200);
    }
    until("they fail for the last time", async || mounted.inbox.counts().await.unwrap().dead == 50).await;
    mounted.inbox.shutdown(Duration::from_secs(5)).await.unwrap();
    let mended = ShopBefore::default();
    let mounted = started!(mended, store.store(), Duration::ZERO);
    assert_eq!(mounted.inbox.requeue_all(&Filter::default().kind(Kind::Stk)).await.unwrap(), 50);
    mounted.settled().await;
    assert_eq!(heard(&mended.heard).len(), 50);
    assert_eq!(mounted.inbox.counts().await.unwrap().dead, 0);
}
