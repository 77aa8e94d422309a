//! Authentication: secrets, per-payment URLs, addresses; and the URLs to give to Safaricom.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, Verdict};
use mpesa_callbacks::{
    Clock, Environment, InboxBuilder, IpAllowlist, Request, StartError, TrustedProxies, UrlError, UrlFinding, lint_url,
};
use mpesa_callbacks_core::transactor::NoTransactor;
use mpesa_callbacks_tests::{Chunks, Dribble, SECRET, cancelled_push, its_confirmation, paid_push};

const OTHER: &str = "ffeeddccbbaa99887766554433221100";
const BASE: &str = "https://shop.example.com/pay";

/// Notes kind and reference of everything that it handles.
#[derive(Clone, Default)]
struct Shop(Arc<Mutex<Vec<Note>>>);

/// A kind and a reference.
type Note = (String, Option<String>);

impl Shop {
    fn note(&self, ctx: &CallbackContext) {
        let reference = ctx.reference().map(str::to_owned);
        self.0.lock().unwrap().push((ctx.kind().to_string(), reference));
    }

    fn noted(&self) -> Vec<Note> {
        let mut noted = self.0.lock().unwrap().clone();
        noted.sort();
        noted
    }
}

#[mpesa_callbacks]
impl Shop {
    #[payment]
    async fn paid(&self, _: Payment, ctx: &CallbackContext) {
        self.note(ctx);
    }

    #[stk]
    async fn stk(&self, _: StkCallback, ctx: &CallbackContext) {
        self.note(ctx);
    }

    #[b2c_result]
    async fn sent(&self, _: B2cResult, ctx: &CallbackContext) {
        self.note(ctx);
    }

    #[b2c_timeout]
    async fn unsure(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }

    #[callback(path = "/partner", key = "/id")]
    async fn partner(&self, _: Partner, ctx: &CallbackContext) {
        self.note(ctx);
    }
}

#[derive(serde::Deserialize)]
struct Partner {}

fn builder(shop: &Shop) -> InboxBuilder<Shop, NoTransactor> {
    Inbox::builder(shop.clone()).store(MemoryStore::new()).secret(SECRET)
}

async fn post_from(inbox: &Inbox, peer: Option<&str>, path: &str, body: Vec<u8>) -> u16 {
    let request = Request::new("POST", path, &|_| Vec::new()).peer(peer.map(|peer| peer.parse::<IpAddr>().unwrap()));
    inbox.receive(request, Chunks::whole(body)).await.status()
}

async fn post(inbox: &Inbox, path: &str, body: Vec<u8>) -> u16 {
    post_from(inbox, None, path, body).await
}

/// The path of a URL below the base.
fn path(url: &mpesa_callbacks::CallbackUrl) -> &str {
    url.as_str().strip_prefix(BASE).unwrap()
}

async fn settled(inbox: &Inbox) {
    while inbox.counts().await.unwrap().ready + inbox.counts().await.unwrap().running > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[tokio::test]
async fn two_secrets_are_valid_at_once_and_new_urls_have_the_first() {
    let inbox = builder(&Shop::default()).secret(OTHER).start().await.unwrap();
    for secret in [SECRET, OTHER] {
        assert_eq!(post(&inbox, &format!("/{secret}/stk"), cancelled_push(secret)).await, 200);
    }
    let urls = inbox.urls_at(BASE).unwrap();
    assert_eq!(urls.url(&Kind::Stk).unwrap().as_str(), format!("{BASE}/{SECRET}/stk"));
    // After the rotation: tokens of the old secret are valid as long as it is configured.
    let minted = urls.stk_for("order-1").unwrap();
    let rotated = Inbox::builder(Shop::default()).store(MemoryStore::new()).secret(OTHER).secret(SECRET);
    assert_eq!(post(&rotated.start().await.unwrap(), path(&minted), cancelled_push("a")).await, 200);
    let done = Inbox::builder(Shop::default()).store(MemoryStore::new()).secret(OTHER).start().await.unwrap();
    assert_eq!(post(&done, path(&minted), cancelled_push("a")).await, 404);
}

#[tokio::test]
async fn a_reference_in_the_url_comes_back_with_the_callback_and_its_payment() {
    let shop = Shop::default();
    let inbox = builder(&shop).start().await.unwrap();
    let urls = inbox.urls_at(BASE).unwrap();
    assert_eq!(post(&inbox, path(&urls.stk_for("order-123").unwrap()), paid_push()).await, 200);
    // The C2B confirmation arrives at the one URL that is registered, and is the same payment.
    assert_eq!(post(&inbox, &format!("/{SECRET}/c2b/confirmation"), its_confirmation()).await, 200);
    let partner = urls.url_for(&Kind::custom("/partner"), "ref").unwrap();
    assert_eq!(post(&inbox, path(&partner), br#"{"id":"1"}"#.to_vec()).await, 200);
    settled(&inbox).await;
    let order = Some("order-123".to_owned());
    assert_eq!(
        shop.noted(),
        [
            ("callback/partner".to_owned(), Some("ref".to_owned())),
            ("payment".to_owned(), order.clone()),
            ("stk".to_owned(), order)
        ]
    );
}

#[tokio::test]
async fn what_is_fed_in_again_under_its_reference_is_a_duplicate() {
    let inbox = builder(&Shop::default()).start().await.unwrap();
    let url = inbox.urls_at(BASE).unwrap().stk_for("order-123").unwrap();
    assert_eq!(post(&inbox, path(&url), paid_push()).await, 200);
    let again = inbox.replay_for(&Kind::Stk, "order-123", &paid_push()).await.unwrap();
    assert_eq!(again.verdict, Verdict::Duplicate);
    for error in [
        inbox.replay_for(&Kind::Stk, "", &paid_push()).await.unwrap_err(),
        inbox.replay_for(&Kind::C2bConfirmation, "order-123", &its_confirmation()).await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("no URL for this reference"), "{error}");
    }
    for elsewhere in [
        inbox.replay_for(&Kind::Stk, "order-124", &paid_push()).await.unwrap(),
        inbox.replay(&Kind::Stk, &paid_push()).await.unwrap(),
    ] {
        assert_eq!(elsewhere.verdict, Verdict::Conflict);
    }
}

#[derive(Debug, Default)]
struct Hands(Mutex<Duration>);

impl Clock for Hands {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_hours(500_000) + *self.0.lock().unwrap()
    }
}

#[tokio::test]
async fn a_per_payment_url_expires() {
    let clock = Arc::new(Hands::default());
    let inbox = builder(&Shop::default()).clock(clock.clone()).start().await.unwrap();
    let day = Duration::from_hours(24);
    let urls = inbox.urls_at(BASE).unwrap();
    let (week, hour) = (urls.stk_for("a").unwrap(), urls.expires_in(Duration::from_hours(1)).stk_for("b").unwrap());
    for (after, expected) in [(Duration::ZERO, [200, 200]), (day, [200, 404]), (day * 8, [404, 404])] {
        *clock.0.lock().unwrap() = after;
        let body = |name: &str| cancelled_push(&format!("{name} {after:?}"));
        let answers = [post(&inbox, path(&week), body("a")).await, post(&inbox, path(&hour), body("b")).await];
        assert_eq!(answers, expected, "after {after:?}");
    }
}

#[tokio::test]
async fn urls_are_told_one_by_one_and_as_a_table() {
    let inbox = builder(&Shop::default()).start().await.unwrap();
    let urls = inbox.urls_at(&format!("{BASE}/")).unwrap();
    let table = urls.to_string();
    let for_ever = urls.clone().expires_in(Duration::MAX).stk_for("order-123").unwrap();
    assert_eq!(post(&inbox, path(&for_ever), cancelled_push("k")).await, 200);
    assert_eq!(table.lines().count(), urls.iter().count());
    assert!(table.contains(&format!("b2c_timeout        {BASE}/{SECRET}/b2c/timeout")), "{table}");
    assert!(
        table.contains(&format!("c2b_confirmation   {BASE}/{SECRET}/c2b/confirmation")),
        "a payment may come there"
    );
    let url = urls.stk_for("order-123").unwrap();
    assert_eq!(serde_json::json!({ "CallBackURL": url })["CallBackURL"], url.as_str());
    assert_eq!(format!("{url}"), url.as_str());
    let debug = format!("{url:?} {urls:?} {inbox:?}");
    assert!(!debug.contains(SECRET) && !debug.contains(url.as_str()), "{debug}");

    assert!(matches!(urls.url(&Kind::Ratiba), Err(UrlError::NotHandled { .. })));
    assert!(matches!(urls.url_for(&Kind::Ratiba, "a"), Err(UrlError::NotHandled { .. })));
    let once = urls.url_for(&Kind::C2bConfirmation, "a").unwrap_err();
    assert!(once.to_string().contains("registered once"), "{once}");
    for reference in ["", &"a".repeat(65)] {
        let error = urls.stk_for(reference).unwrap_err();
        assert_eq!(error, UrlError::InvalidReference { length: reference.len() });
    }
}

#[tokio::test]
async fn no_reference_makes_a_url_that_daraja_would_not_take() {
    let inbox = builder(&Shop::default()).start().await.unwrap();
    let urls = inbox.urls_at(BASE).unwrap();
    for i in 0..5_000 {
        let reference = format!("mpesa-query-{i}-SQL-exec-cmd");
        let url = urls.url_for(&Kind::B2cResult, &reference).unwrap();
        assert_eq!(lint_url(url.as_str(), Environment::Production), [], "{url}");
    }
}

#[tokio::test]
async fn urls_that_daraja_would_not_take_are_errors_in_production_alone() {
    let inbox = builder(&Shop::default()).start().await.unwrap();
    let error = inbox.urls_at("http://localhost:3000/pay").unwrap_err();
    let UrlError::Refused { findings, .. } = &error else { panic!("{error}") };
    assert_eq!(findings, &[UrlFinding::NotHttps, UrlFinding::NotPublic { host: "localhost".into() }]);
    assert!(error.to_string().contains("it is not `https`"), "{error}");
    assert!(!error.to_string().contains(SECRET));

    let sandbox = builder(&Shop::default()).sandbox().start().await.unwrap();
    let urls = sandbox.urls_at("http://localhost:3000/pay").unwrap();
    assert_eq!(urls.url(&Kind::Stk).unwrap().as_str(), format!("http://localhost:3000/pay/{SECRET}/stk"));
    assert!(urls.stk_for("order-1").is_ok());
    assert!(matches!(sandbox.urls_at("not a url"), Err(UrlError::Refused { .. })));
}

#[tokio::test]
async fn addresses_that_are_none_do_not_start() {
    for wrong in [
        builder(&Shop::default()).ip_allowlist(IpAllowlist::safaricom().allow("196.201.214.300")),
        builder(&Shop::default()).ip_allowlist(IpAllowlist::new(["safaricom"])),
        builder(&Shop::default()).trusted_proxies(TrustedProxies::addresses(["10.0.0.0/64"])),
    ] {
        let error = wrong.start().await.unwrap_err();
        assert!(matches!(error, StartError::Address(_)) && error.to_string().contains("is not an address"), "{error}");
    }
    let nobody = builder(&Shop::default()).ip_allowlist(IpAllowlist::new([""; 0])).start().await.unwrap_err();
    assert!(matches!(nobody, StartError::InvalidOption { option: "ip_allowlist", .. }));
    let zero = builder(&Shop::default()).max_in_flight_per_ip(0).start().await.unwrap_err();
    assert!(matches!(zero, StartError::InvalidOption { option: "max_in_flight", .. }));
}

#[tokio::test]
async fn a_list_of_sources_refuses_whoever_is_not_on_it_and_whom_nobody_tells() {
    let inbox = builder(&Shop::default()).ip_allowlist(IpAllowlist::safaricom()).start().await.unwrap();
    let path = format!("/{SECRET}/stk");
    for (peer, expected) in [
        (Some("196.201.214.200"), 200),
        (Some("::ffff:196.201.214.200"), 200),
        (Some("196.201.214.201"), 403),
        (Some("::1"), 403),
        (None, 403),
    ] {
        assert_eq!(post_from(&inbox, peer, &path, cancelled_push("k")).await, expected, "{peer:?}");
        assert_eq!(post_from(&inbox, peer, "/wrong/stk", cancelled_push("k")).await, 404, "{peer:?}");
    }
    let trial = builder(&Shop::default()).ip_allowlist(IpAllowlist::safaricom().report_only()).start().await.unwrap();
    assert_eq!(post_from(&trial, None, &path, cancelled_push("k")).await, 200);
}

#[tokio::test]
async fn a_source_that_sends_too_much_at_once_does_not_keep_others_out() {
    let inbox = builder(&Shop::default()).max_in_flight(100).max_in_flight_per_ip(3).start().await.unwrap();
    let path = format!("/{SECRET}/stk");
    let mut hanging = Vec::new();
    for _ in 0..3 {
        let (inbox, path) = (inbox.clone(), path.clone());
        hanging.push(tokio::spawn(async move {
            let request = Request::new("POST", &path, &|_| Vec::new()).peer("192.0.2.1".parse().ok());
            inbox.receive(request, Dribble).await
        }));
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(post_from(&inbox, Some("192.0.2.1"), &path, cancelled_push("k")).await, 503);
    assert_eq!(post_from(&inbox, Some("192.0.2.2"), &path, cancelled_push("k")).await, 200);
    for task in hanging {
        task.abort();
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(post_from(&inbox, Some("192.0.2.1"), &path, cancelled_push("l")).await, 200);
}

#[tokio::test]
async fn a_full_quarantine_loses_its_oldest_and_nothing_else() {
    let inbox = builder(&Shop::default())
        .max_quarantined(5)
        .lease_check_interval(Duration::from_millis(20))
        .start()
        .await
        .unwrap();
    let path = format!("/{SECRET}/stk");
    assert_eq!(post(&inbox, &path, cancelled_push("k")).await, 200);
    for i in 0..20 {
        assert_eq!(post(&inbox, &path, format!("junk {i}").into_bytes()).await, 200);
    }
    for _ in 0..200 {
        if inbox.counts().await.unwrap().quarantined == 5 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let kept = inbox.list(&mpesa_callbacks::store::Filter::default()).await.unwrap();
    assert_eq!(kept.len(), 6);
    let newest = inbox.get(kept[0].id).await.unwrap().unwrap();
    assert_eq!(newest.body.unwrap().as_bytes(), b"junk 19");
}
