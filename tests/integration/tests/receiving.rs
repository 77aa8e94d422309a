//! From a request to its acknowledgement.

use std::sync::Mutex;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{Filter, MemoryStore, State, Verdict};
use mpesa_callbacks::{Inbox, Request};
use mpesa_callbacks_conformance::fixtures::{self, PAYHERO};
use mpesa_callbacks_tests::{
    Answer, Chunks, Dribble, FlakyStore, Mounted, SECRET, cancelled_push, its_confirmation, its_contradiction,
    paid_push,
};

/// Handles everything, and remembers of which kind it was.
#[derive(Default)]
struct Everything {
    handled: std::sync::Arc<Mutex<Vec<String>>>,
}

#[derive(serde::Deserialize)]
struct PayHero {
    success: bool,
    provider_reference: Option<String>,
}

impl Everything {
    fn note(&self, ctx: &CallbackContext) {
        self.handled.lock().unwrap().push(ctx.kind().name().to_owned());
    }
}

#[mpesa_callbacks]
impl Everything {
    #[stk]
    async fn stk(&self, _: StkCallback, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[c2b_validation]
    async fn c2b_validation(&self, _: C2bValidation) -> Validation {
        Validation::accept()
    }
    #[c2b_confirmation]
    async fn c2b_confirmation(&self, _: C2bConfirmation, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[b2c_result]
    async fn b2c_result(&self, _: B2cResult, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[b2c_timeout]
    async fn b2c_timeout(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[b2b_result]
    async fn b2b_result(&self, _: B2bResult, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[b2b_timeout]
    async fn b2b_timeout(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[tax_result]
    async fn tax_result(&self, _: TaxResult, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[tax_timeout]
    async fn tax_timeout(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[status_result]
    async fn status_result(&self, _: StatusResult, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[status_timeout]
    async fn status_timeout(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[balance_result]
    async fn balance_result(&self, _: BalanceResult, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[balance_timeout]
    async fn balance_timeout(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[reversal_result]
    async fn reversal_result(&self, _: ReversalResult, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[reversal_timeout]
    async fn reversal_timeout(&self, _: QueueTimeout, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[b2b_express]
    async fn b2b_express(&self, _: B2bExpressCallback, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[ratiba]
    async fn ratiba(&self, _: RatibaCallback, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[bill_manager]
    async fn bill_manager(&self, _: BillManagerPayment, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[payment]
    async fn payment(&self, _: Payment, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[lipia]
    async fn lipia(&self, _: LipiaCallback, ctx: &CallbackContext) {
        self.note(ctx);
    }
    #[callback(path = "/payhero", key = "/reference", ack_body = "thanks")]
    async fn payhero(&self, callback: PayHero, ctx: &CallbackContext) {
        assert_eq!(callback.success, callback.provider_reference.is_some_and(|reference| !reference.is_empty()));
        self.note(ctx);
    }
    #[callback(path = "/openapi", key = "/input_OriginalConversationID")]
    async fn openapi(&self, _: serde_json::Value, ctx: &CallbackContext) {
        self.note(ctx);
    }
}

async fn everything() -> (Mounted, std::sync::Arc<Mutex<Vec<String>>>) {
    let handler = Everything::default();
    let handled = handler.handled.clone();
    let inbox = Inbox::builder(handler).store(MemoryStore::new()).secret(SECRET).start().await.unwrap();
    (Mounted::new(inbox), handled)
}

fn answer(status: u16, content_type: Option<&str>, body: &str) -> Answer {
    Answer { status, content_type: content_type.map(str::to_owned), body: body.to_owned() }
}

const JSON: Option<&str> = Some("application/json");

#[tokio::test]
async fn every_fixture_is_acknowledged_as_its_sender_expects_and_handled_or_kept() {
    let (mounted, _) = everything().await;
    for fixture in fixtures::all() {
        let kind = Kind::from_stored_name(&fixture.route);
        let path = match fixture.route.strip_prefix("callback:") {
            Some(name) => format!("/{name}"),
            None => kind.default_path().unwrap().to_owned(),
        };
        let expected = match fixture.route.as_str() {
            "c2b_validation" => r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#,
            "bill_manager" => r#"{"resmsg":"Success","rescode":"200"}"#,
            "lipia" => "ok",
            "callback:payhero" => "thanks",
            route if route.ends_with("_result") || route.ends_with("_timeout") => {
                r#"{"ResponseCode":"00000000","ResponseDesc":"success"}"#
            }
            _ => r#"{"ResultCode":0,"ResultDesc":"Success"}"#,
        };
        let content_type = if expected.starts_with('{') { JSON } else { Some("text/plain") };
        let answer_now = mounted.post(&path, fixture.body()).await;
        assert_eq!(answer_now, answer(200, content_type, expected), "{}", fixture.file);

        let newest = mounted.inbox.list(&Filter::default().limit(5)).await.unwrap();
        let is_it = |entry: &&mpesa_callbacks::store::Entry| entry.kind != Kind::Payment;
        let entry = newest.iter().find(is_it).expect("something was recorded");
        if fixture.kind == "quarantine" {
            assert_eq!(entry.verdict, Verdict::Quarantined, "{}", fixture.file);
            let kept = mounted.inbox.get(entry.id).await.unwrap().unwrap().body.unwrap();
            assert_eq!(kept.as_bytes(), fixture.body(), "{} is not kept as it came", fixture.file);
        }
    }
    mounted.settled().await;
    let depth = mounted.inbox.counts().await.unwrap();
    assert_eq!((depth.dead, depth.quarantined), (0, 25));
}

#[tokio::test]
async fn every_handler_is_called_with_its_own_kind() {
    let (mounted, handled) = everything().await;
    for (path, fixture) in [
        ("/stk", "stk/success-docs3.json"),
        ("/c2b/confirmation", "c2b_confirmation/docs3-masked.json"),
        ("/b2c/result", "b2c_result/success-docs3.json"),
        ("/b2c/timeout", "timeouts/result-envelope-int.json"),
        ("/b2b/result", "b2b_result/paybill-success-docs2.json"),
        ("/b2b/timeout", "timeouts/result-envelope-buygoods.json"),
        ("/tax/result", "tax_remittance_result/success-fixture.json"),
        ("/tax/timeout", "timeouts/result-envelope-deno.json"),
        ("/status/result", "transaction_status_result/success-docs3.json"),
        ("/status/timeout", "timeouts/result-envelope-status.json"),
        ("/balance/result", "account_balance_result/success-docs3.json"),
        ("/balance/timeout", "timeouts/result-envelope-string-code.json"),
        ("/reversal/result", "reversal_result/success-docs3.json"),
        ("/reversal/timeout", "timeouts/unwrapped-string-code.json"),
        ("/b2b-express", "b2b_express/success-docs2.json"),
        ("/ratiba", "ratiba/success-all-uppercase.json"),
        ("/bill-manager", "bill_manager/payment-docs2.json"),
        ("/lipia", "aggregator/lipia-success.json"),
        (PAYHERO.0, "aggregator/payhero-v3-success.json"),
        ("/openapi", "openapi/async-b.json"),
    ] {
        assert_eq!(mounted.post(path, fixtures::body(fixture)).await.status, 200, "{path}");
        mounted.settled().await;
    }
    let mut handled = handled.lock().unwrap().clone();
    handled.retain(|kind| kind != "payment");
    let expected: Vec<String> = Kind::built_in()
        .filter(|kind| !matches!(kind, Kind::Payment | Kind::PaymentCompleted | Kind::C2bValidation | Kind::Overdue))
        .chain([Kind::custom("/payhero"), Kind::custom("/openapi")])
        .map(|kind| kind.name().to_owned())
        .collect();
    assert_eq!(handled, expected);
}

#[tokio::test]
async fn a_second_delivery_of_the_same_callback_is_not_handled_again() {
    let (mounted, handled) = everything().await;
    for _ in 0..3 {
        assert_eq!(mounted.post("/stk", cancelled_push("k")).await.status, 200);
    }
    mounted.settled().await;
    assert_eq!(*handled.lock().unwrap(), ["stk"]);
    assert_eq!(mounted.entries().await[0].seen, 3);
}

#[tokio::test]
async fn one_payment_told_of_twice_is_handled_once() {
    for bodies in [
        [("/stk", paid_push()), ("/c2b/confirmation", its_confirmation())],
        [("/c2b/confirmation", its_confirmation()), ("/stk", paid_push())],
    ] {
        let (mounted, handled) = everything().await;
        for (path, body) in bodies {
            mounted.post(path, body).await;
        }
        mounted.settled().await;
        let mut handled = handled.lock().unwrap().clone();
        handled.sort();
        assert_eq!(handled, ["c2b_confirmation", "payment", "stk"]);
    }
}

#[tokio::test]
async fn a_contradiction_is_kept_and_held_and_acknowledged() {
    let (mounted, handled) = everything().await;
    mounted.post("/stk", its_contradiction()).await;
    let answer = mounted.post("/stk", paid_push()).await;
    assert_eq!(answer.status, 200);
    mounted.settled().await;
    assert_eq!(*handled.lock().unwrap(), ["stk"], "the success after the failure was applied");
    let held = mounted.inbox.list(&Filter::default().state(State::Held)).await.unwrap();
    assert_eq!((held.len(), held[0].verdict), (1, Verdict::Conflict));

    assert!(mounted.inbox.release(held[0].id).await.unwrap().is_some());
    assert!(mounted.inbox.release(held[0].id).await.unwrap().is_none(), "it is no longer held");
    mounted.settled().await;
    let mut handled = handled.lock().unwrap().clone();
    handled.sort();
    assert_eq!(handled, ["payment", "stk", "stk"], "released, it is applied, and its money with it");
}

#[tokio::test]
async fn a_wrong_secret_looks_like_an_unknown_path_and_stores_nothing() {
    let (mounted, _) = everything().await;
    let unknown = mounted.post("/no/such/kind", paid_push()).await;
    assert_eq!(unknown, answer(404, None, ""));
    let wrong = "ffeeddccbbaa99887766554433221100";
    for url in [
        format!("/pay/{wrong}/stk"),
        format!("/pay/{}/stk", &SECRET[..31]),
        format!("/pay/{SECRET}0/stk"),
        format!("/pay/{}/stk", SECRET.to_uppercase()),
        "/pay/stk".to_owned(),
        "/pay//stk".to_owned(),
        format!("/pay/{wrong}/no/such/kind"),
        format!("/pay/{SECRET}"),
        format!("/pay/{SECRET}/"),
    ] {
        assert_eq!(mounted.send("POST", &url, paid_push()).await, unknown, "{url}");
        assert_eq!(mounted.send("GET", &url, Body::empty()).await, unknown, "{url}");
    }
    assert!(mounted.entries().await.is_empty());
}

#[tokio::test]
async fn two_secrets_are_valid_while_one_replaces_the_other() {
    let other = "ffeeddccbbaa99887766554433221100";
    let inbox = Inbox::builder(Everything::default()).store(MemoryStore::new()).secret(SECRET).secret(other);
    let mounted = Mounted::new(inbox.start().await.unwrap());
    for secret in [SECRET, other] {
        assert_eq!(mounted.send("POST", &format!("/pay/{secret}/stk"), cancelled_push(secret)).await.status, 200);
    }
}

#[tokio::test]
async fn only_post_is_taken_and_a_trailing_slash_is_the_same_url() {
    let (mounted, _) = everything().await;
    for method in ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD"] {
        assert_eq!(mounted.send(method, &format!("/pay/{SECRET}/stk"), paid_push()).await.status, 405, "{method}");
    }
    assert_eq!(mounted.post("/stk/", paid_push()).await.status, 200);
    assert_eq!(mounted.post("/stk?x=y", paid_push()).await.status, 200);
    assert_eq!(mounted.entries().await.iter().filter(|entry| entry.kind == Kind::Stk).count(), 1);
}

#[tokio::test]
async fn a_body_is_bounded_in_size_by_the_bytes_that_come() {
    let (mounted, _) = everything().await;
    let large = vec![b' '; 64 * 1024 + 1];
    assert_eq!(mounted.post("/stk", large.clone()).await, answer(413, None, ""));
    // Without a length, in chunks.
    let chunks = Chunks(large.chunks(1000).map(Bytes::copy_from_slice).collect());
    assert_eq!(mounted.post("/stk", Body::from_stream(chunks)).await.status, 413);
    let mut fits = cancelled_push("fits");
    fits.resize(64 * 1024, b' ');
    assert_eq!(mounted.post("/stk", fits).await.status, 200);
    let chunks = Chunks(cancelled_push("pieces").chunks(7).map(Bytes::copy_from_slice).collect());
    assert_eq!(mounted.post("/stk", Body::from_stream(chunks)).await.status, 200);
    assert_eq!(
        mounted.entries().await.iter().map(|entry| entry.key.as_str().to_owned()).collect::<Vec<_>>(),
        ["fits", "pieces"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_slow_body_times_out() {
    let (mounted, _) = everything().await;
    assert_eq!(mounted.post("/stk", Body::from_stream(Dribble)).await, answer(408, None, ""));
}

#[tokio::test]
async fn a_client_that_hangs_up_changes_nothing_once_the_body_is_read() {
    let (mounted, handled) = everything().await;
    for i in 0..50 {
        let inbox = mounted.inbox.clone();
        let path = format!("/{SECRET}/stk");
        let body = Chunks::whole(cancelled_push(&format!("k{i}")));
        let mut receiving =
            Box::pin(async move { inbox.receive(Request::new("POST", &path, &|_| Vec::new()), body).await });
        // Polled once: the body is read, the callback is handed over, and the response is not awaited.
        let first = std::future::poll_fn(|context| std::task::Poll::Ready(receiving.as_mut().poll(context))).await;
        assert!(first.is_pending(), "it was answered before it was recorded");
        drop(receiving);
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    mounted.settled().await;
    assert_eq!(handled.lock().unwrap().len(), 50);
}

#[tokio::test]
async fn what_is_not_recorded_is_not_acknowledged() {
    let store = FlakyStore::default();
    let inbox = Inbox::builder(Everything::default()).store(store.clone()).secret(SECRET);
    let mounted = Mounted::new(inbox.recording_timeout(Duration::from_millis(100)).start().await.unwrap());
    store.go_away(true);
    assert_eq!(mounted.post("/stk", paid_push()).await, answer(503, None, ""));
    store.go_away(false);
    assert_eq!(mounted.post("/stk", paid_push()).await.status, 200);
    store.hang(true);
    assert_eq!(mounted.post("/stk", cancelled_push("k")).await.status, 503);
}

#[tokio::test]
async fn one_callback_that_the_store_refuses_is_kept_as_what_cannot_be_read_and_takes_nobody_along() {
    let store = FlakyStore::default();
    store.refuse_poison();
    let inbox = Inbox::builder(Everything::default()).store(store).secret(SECRET).start().await.unwrap();
    let mounted = Mounted::new(inbox);
    let posts = (0..40).map(|i| {
        let mounted = mounted.clone();
        let key = if i == 17 { "poison".to_owned() } else { format!("k{i}") };
        tokio::spawn(async move { mounted.post("/stk", cancelled_push(&key)).await.status })
    });
    let mut statuses = Vec::new();
    for post in posts.collect::<Vec<_>>() {
        statuses.push(post.await.unwrap());
    }
    assert!(statuses.iter().all(|status| *status == 200), "{statuses:?}");
    let entries = mounted.entries().await;
    let quarantined: Vec<_> = entries.iter().filter(|entry| entry.state == State::Quarantined).collect();
    assert_eq!((entries.len(), quarantined.len()), (40, 1));
    let body = mounted.inbox.get(quarantined[0].id).await.unwrap().unwrap().body.unwrap();
    assert_eq!(body.as_bytes(), cancelled_push("poison"));
}

#[tokio::test]
async fn a_body_at_the_wrong_one_of_two_urls_is_handled_as_what_it_is() {
    let (mounted, handled) = everything().await;
    mounted.post("/b2c/timeout", fixtures::body("b2c_result/success-docs3.json")).await;
    mounted.post("/b2c/result", fixtures::body("timeouts/result-envelope-int.json")).await;
    mounted.settled().await;
    let mut handled = handled.lock().unwrap().clone();
    handled.sort();
    assert_eq!(handled, ["b2c_result", "b2c_timeout"]);
}

#[tokio::test]
async fn credentials_in_an_echoed_request_are_never_stored() {
    let (mounted, handled) = everything().await;
    let echo = r#"{"InitiatorName":"canary-user","SecurityCredential":"canary-credential==","CommandID":"BusinessPayment",
        "Password":"canary-password","OriginatorConversationID":"oc-1","Amount":10}"#;
    for (path, body) in [
        ("/b2c/timeout", echo.to_owned()),
        ("/b2c/result", echo.replace("oc-1", "oc-2")),
        ("/status/timeout", echo.replace('}', "")),
        ("/stk", echo.replace('}', "")),
    ] {
        assert_eq!(mounted.post(path, body).await.status, 200);
    }
    mounted.settled().await;
    assert_eq!(*handled.lock().unwrap(), ["b2c_timeout", "b2c_timeout"]);
    for entry in mounted.entries().await {
        let body = mounted.inbox.get(entry.id).await.unwrap().unwrap().body.unwrap();
        let body = String::from_utf8_lossy(body.as_bytes()).into_owned();
        assert!(!body.contains("canary"), "{body}");
        assert!(body.contains(r#""SecurityCredential":"***""#), "{body}");
    }
}

#[tokio::test]
async fn an_open_kind_whose_body_does_not_fit_its_type_is_quarantined() {
    let (mounted, handled) = everything().await;
    let answer = mounted.post("/payhero", r#"{"reference":"R1","success":"perhaps"}"#).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "thanks"));
    mounted.settled().await;
    assert!(handled.lock().unwrap().is_empty());
    let entry = &mounted.entries().await[0];
    assert_eq!(entry.state, State::Quarantined);
    assert!(entry.error.as_ref().unwrap().as_str().contains("does not fit"));
}

#[tokio::test]
async fn a_repeated_member_that_is_read_has_two_readings_and_is_quarantined() {
    let (mounted, _) = everything().await;
    let twice = r#"{"TransID":"T1","TransAmount":"10.00","TransAmount":"9000.00"}"#;
    assert_eq!(mounted.post("/c2b/confirmation", twice).await.status, 200);
    assert_eq!(mounted.entries().await[0].state, State::Quarantined);
    let unread = r#"{"TransID":"T2","TransAmount":"10.00","Extra":1,"Extra":2}"#;
    mounted.post("/c2b/confirmation", unread).await;
    assert_eq!(mounted.entries().await[1].verdict, Verdict::First);
}

#[tokio::test]
async fn a_body_can_be_replayed_without_a_request() {
    let (mounted, handled) = everything().await;
    let recorded = mounted.inbox.replay(&Kind::Stk, &paid_push()).await.unwrap();
    assert_eq!(
        (recorded.verdict, recorded.payment.map(|(_, verdict)| verdict)),
        (Verdict::First, Some(Verdict::First))
    );
    assert_eq!(mounted.inbox.replay(&Kind::Stk, &paid_push()).await.unwrap().verdict, Verdict::Duplicate);
    assert!(mounted.inbox.replay(&Kind::Stk, b"{}").await.is_err());
    mounted.settled().await;
    assert_eq!(handled.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn it_nests_anywhere_with_any_state_and_tells_who_sent() {
    use axum::extract::{ConnectInfo, State as AppState};
    use axum::routing::get;
    use std::net::SocketAddr;

    #[derive(Clone)]
    struct App(u8);
    let (mounted, _) = everything().await;
    let app = axum::Router::new()
        .route("/", get(|AppState(App(number)): AppState<App>| async move { number.to_string() }))
        .nest("/deep/er", axum::Router::new().nest("/still", mpesa_callbacks::axum_adapter::router(&mounted.inbox)))
        .with_state(App(7))
        .layer(axum::middleware::from_fn(|request: axum::extract::Request, next: axum::middleware::Next| {
            next.run(request)
        }));
    let mounted = Mounted { app, inbox: mounted.inbox };
    assert_eq!(mounted.send("GET", "/", Body::empty()).await.body, "7");

    let peer: SocketAddr = "[::ffff:196.201.214.200]:4321".parse().unwrap();
    let mut request =
        axum::http::Request::post(format!("/deep/er/still/{SECRET}/stk")).body(Body::from(paid_push())).unwrap();
    request.extensions_mut().insert(ConnectInfo(peer));
    let response = tower::ServiceExt::oneshot(mounted.app.clone(), request).await.unwrap();
    assert_eq!(response.status().as_u16(), 200);
    let entry = &mounted.entries().await[0];
    assert_eq!(entry.client_ip, Some("196.201.214.200".parse().unwrap()));
}
