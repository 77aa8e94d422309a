//! The world of the simulator: what is true, when it happens, and where callbacks go.

use std::time::{Duration, Instant, UNIX_EPOCH};

use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::{Amount, Expectation};
use mpesa_callbacks::store::State;
use mpesa_callbacks_daraja::{Daraja, Fault, Happening, Payout, Push};
use serde_json::{Value, json};

use crate::support::{Client, Framework, Shop, requests};

const PUSH: &str = "/mpesa/stkpush/v1/processrequest";

async fn open() -> (Daraja, Shop, Client) {
    let daraja = Daraja::start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    (daraja, shop, client)
}

/// An order is paid once though Safaricom reports it early, and twice.
#[tokio::test(flavor = "multi_thread")]
async fn a_push_from_request_to_acknowledgement() {
    let (daraja, shop, client) = open().await;
    daraja.on(Push::from("254712345678")).pays().fault(Fault::Duplicate).fault(Fault::Early);
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(1500));
    shop.inbox.expect_callback(&expected).await.unwrap();
    let url = shop.urls.stk_for("order-1").unwrap().into_string();
    let answer = client.post(PUSH, &requests::push("254712345678", &url)).await;
    assert_eq!(answer.json()["ResponseCode"], "0");
    daraja.settled().await;
    let push = daraja.requests(PUSH).remove(0);
    assert_eq!(push.callbacks().len(), 2);
    assert!(push.callbacks().iter().all(mpesa_callbacks_daraja::Callback::is_acknowledged));
    assert!(!push.request.contains("MTc0Mzc5"), "the password is struck out: {}", push.request);
    shop.idle().await;
    assert_eq!(shop.total(), "1500");
}

/// The phone number decides, without a rule.
#[tokio::test(flavor = "multi_thread")]
async fn a_phone_number_chooses_the_outcome() {
    let (daraja, shop, client) = open().await;
    for (phone, code) in
        [("254700001032", "1032"), ("254700000001", "1"), ("254700002001", "2001"), ("254700001037", "1037")]
    {
        let url = shop.urls.stk_for(phone).unwrap().into_string();
        let answer = client.post(PUSH, &requests::push(phone, &url)).await.json();
        let step = daraja.step().await.unwrap();
        let body: Value = serde_json::from_str(&step.body).unwrap();
        assert_eq!(body["Body"]["stkCallback"]["ResultCode"].to_string(), code);
        let id = answer["CheckoutRequestID"].as_str().unwrap();
        let found = client.post("/mpesa/stkpushquery/v1/query", &requests::query(id)).await.json();
        assert_eq!(found["ResultCode"], code, "the query agrees");
    }
    assert!(daraja.step().await.is_none());
    assert_eq!(shop.total(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn balances_statuses_and_reversals_tell_what_is_true() {
    let (daraja, shop, client) = open().await;
    daraja.funds("600996", 2000);
    let b2c = "/mpesa/b2c/v3/paymentrequest";
    assert_eq!(client.post(b2c, &requests::b2c(&shop.urls, "wages-1")).await.status, 200);
    assert_eq!(client.post(b2c, &requests::b2c(&shop.urls, "wages-2")).await.status, 200);
    daraja.settled().await;
    shop.idle().await;
    assert_eq!((shop.handled("b2c Success"), shop.handled("b2c Failed")), (1, 1), "the second lacks the money");
    assert_eq!(daraja.balance("600996"), 500);

    let register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    assert_eq!(client.post("/mpesa/c2b/v1/registerurl", &register).await.status, 200);
    daraja.customer_pays("254708374149", "600638", 1500, "order-1");
    daraja.settled().await;
    shop.idle().await;
    let receipt = shop.books().keys().next().unwrap().clone();
    for (asked, success, code) in
        [(receipt.as_str(), 1, "0"), (receipt.as_str(), 1, "R000001"), ("OAK0000001", 1, "R000002")]
    {
        assert_eq!(client.post("/mpesa/reversal/v1/request", &requests::reversal(&shop.urls, asked)).await.status, 200);
        daraja.settled().await;
        shop.idle().await;
        let last = daraja.callbacks().pop().unwrap();
        assert!(last.body.contains(code), "{code}: {}", last.body);
        assert_eq!(shop.handled("reversal Success"), success);
    }
    assert_eq!(daraja.balance("600638"), 1_000_000, "it was given back");
    client.post("/mpesa/transactionstatus/v1/query", &requests::status(&shop.urls, &receipt)).await;
    client.post("/mpesa/accountbalance/v1/query", &requests::balance(&shop.urls)).await;
    daraja.settled().await;
    let bodies: Vec<String> = daraja.callbacks().iter().rev().take(2).map(|callback| callback.body.clone()).collect();
    assert!(bodies[1].contains("Cancelled"), "{}", bodies[1]);
    assert!(bodies[0].contains("Utility Account|KES|500.00"), "{}", bodies[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_payment_is_validated_before_it_is_confirmed() {
    let daraja = Daraja::builder().validation_deadline(Duration::from_millis(300)).start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    daraja.customer_pays("254708374149", "600638", 1, "order-0");
    daraja.settled().await;
    assert!(daraja.callbacks().is_empty(), "no URLs are registered");
    let register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    client.post("/mpesa/c2b/v2/registerurl", &register).await;
    daraja.customer_pays("254708374149", "600638", 100, "order-1");
    daraja.customer_pays("254708374149", "600638", 100, "unknown");
    daraja.settled().await;
    shop.idle().await;
    let kinds: Vec<String> = daraja.callbacks().iter().map(|callback| callback.kind.name().to_owned()).collect();
    assert_eq!(kinds, ["c2b_validation", "c2b_confirmation", "c2b_validation"]);
    assert_eq!((shop.total(), daraja.balance("600638")), ("100".to_owned(), 1_000_101));

    // An application that does not answer: the response type decides.
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    daraja.forward_to(silent.local_addr().unwrap());
    for (response_type, balance) in [("Cancelled", 1_000_101), ("Completed", 1_000_201)] {
        let mut register = register.clone();
        register["ResponseType"] = response_type.into();
        client.post("/mpesa/c2b/v2/registerurl", &register).await;
        daraja.customer_pays("254708374149", "600638", 100, "order-2");
        daraja.step().await.unwrap();
        assert_eq!(daraja.balance("600638"), balance, "{response_type}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_customer_answers_a_phone_that_rings() {
    let daraja = Daraja::builder().interactive().start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    let push = async |phone: &str, order: &str| {
        let url = shop.urls.stk_for(order).unwrap().into_string();
        let answer = client.post(PUSH, &requests::push(phone, &url)).await;
        answer.json()["CheckoutRequestID"].as_str().unwrap().to_owned()
    };
    let (paid, forgotten) = (push("254708374149", "order-1").await, push("254708374150", "order-2").await);
    assert!(daraja.answer(&paid, "0") && !daraja.answer(&paid, "0"));
    daraja.advance(Duration::from_secs(1)).await;
    shop.idle().await;
    assert_eq!(shop.total(), "1500");
    daraja.advance(Duration::from_mins(2)).await;
    let found = client.post("/mpesa/stkpushquery/v1/query", &requests::query(&forgotten)).await.json();
    assert_eq!(found["ResultCode"], "1037");
}

#[tokio::test(flavor = "multi_thread")]
async fn pull_and_bill_manager_report_the_same_payments() {
    let (daraja, shop, client) = open().await;
    let pull = json!({
        "ShortCode": "600638", "RequestType": "Pull", "NominatedNumber": "254722000000",
        "CallBackURL": "https://shop.example.com/pull",
    });
    assert_eq!(client.post("/pulltransactions/v1/register", &pull).await.json()["ResponseStatus"], "1000");
    assert_eq!(client.post("/pulltransactions/v1/register", &pull).await.json()["Response Status"], "1001");
    let opt_in =
        json!({ "shortcode": "600638", "callbackurl": shop.url(&Kind::BillManager), "email": "a@example.com" });
    let bills = "/v1/billmanager-invoice";
    assert_eq!(client.post(&format!("{bills}/optin"), &opt_in).await.json()["rescode"], "200");
    let invoice = json!([{
        "externalReference": "955", "billedFullName": "John Doe", "billedPhoneNumber": "0710123456",
        "accountReference": "order-1", "amount": "800", "invoiceName": "fees", "dueDate": "2026-12-12",
    }]);
    assert_eq!(client.post(&format!("{bills}/bulk-invoicing"), &invoice).await.json()["rescode"], "200");
    daraja.customer_pays("254708374149", "600638", 800, "order-1");
    daraja.settled().await;
    shop.idle().await;
    assert_eq!((shop.handled("bill_manager"), shop.total().as_str()), (1, "800"));
    let cancel = client.post(&format!("{bills}/cancel-single-invoice"), &json!({ "externalReference": "955" })).await;
    assert_eq!(cancel.json()["rescode"], "409", "it is paid");
    let query = json!({
        "ShortCode": "600638", "StartDate": "2026-01-01 00:00", "EndDate": "2026-01-02 00:00:00", "OffSetValue": "0",
    });
    let found = client.post("/pulltransactions/v1/query", &query).await.json();
    let receipt = shop.books().keys().next().unwrap().clone();
    assert_eq!(found["Response"][0][0]["transactionId"], receipt.as_str());
    assert_eq!(found["Response"][0][0]["amount"], "800.00");
    let qr =
        json!({ "MerchantName": "Shop", "RefNo": "1", "Amount": 1, "TrxCode": "BG", "CPI": "373132", "Size": "300" });
    assert_eq!(client.post("/mpesa/qrcode/v1/generate", &qr).await.json()["ResponseCode"], "00");
}

/// The one documented retry: five attempts, until the answer has `rescode` 200.
#[tokio::test(flavor = "multi_thread")]
async fn bill_manager_tries_five_times() {
    let (daraja, _shop, client) = open().await;
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    daraja.forward_to(nobody);
    let opt_in = json!({ "shortcode": "600638", "callbackurl": "https://shop.example.com/bills" });
    client.post("/v1/billmanager-invoice/optin", &opt_in).await;
    daraja.customer_pays("254708374149", "600638", 800, "order-1");
    daraja.settled().await;
    assert_eq!(daraja.callbacks().len(), 5);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_standing_order_has_a_name_of_its_own() {
    let (daraja, shop, client) = open().await;
    for _ in 0..2 {
        let path = "/standingorder/v1/createStandingOrderExternal";
        assert_eq!(client.post(path, &requests::standing_order(&shop.urls, "rent")).await.status, 200);
        daraja.settled().await;
    }
    shop.idle().await;
    assert_eq!((shop.handled("ratiba Success"), shop.handled("ratiba Failed")), (1, 1));
    assert!(daraja.callbacks()[1].body.contains("1050"));
}

/// The same requests in the same order, and only what the seed decides.
async fn journal(seed: u64) -> String {
    let daraja = Daraja::builder().seed(seed).start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    daraja.on(Push::any()).fault(Fault::Variant).fault(Fault::Twin).once();
    daraja.on(Payout::any()).fault(Fault::TimeoutThenSuccess);
    // The secret of the test inbox is fixed, and so are its URLs but for signatures.
    let url = "https://shop.example.com/pay/none/stk";
    for phone in ["254708374149", "254700001032"] {
        client.post(PUSH, &requests::push(phone, url)).await;
    }
    client.post("/mpesa/b2c/v3/paymentrequest", &requests::b2c(&shop.urls, "wages-1")).await;
    daraja.customer_pays("254708374149", "600638", 1500, "order-1");
    daraja.settled().await;
    serde_json::to_string_pretty(&daraja.journal()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_seed_gives_the_same_journal() {
    let (one, other) = (journal(7).await, journal(7).await);
    assert_eq!(one, other);
    assert_ne!(one, journal(8).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_costs_nothing() {
    let (daraja, shop, client) = open().await;
    daraja.on(Push::any()).fault(Fault::Late);
    let url = shop.urls.stk_for("order-1").unwrap().into_string();
    client.post(PUSH, &requests::push("254708374149", &url)).await;
    let began = Instant::now();
    daraja.advance(Duration::from_mins(9)).await;
    assert!(daraja.callbacks().is_empty());
    daraja.advance(Duration::from_mins(2)).await;
    assert_eq!(daraja.callbacks().len(), 1);
    // A tenth of it, where nothing else runs.
    assert!(began.elapsed() < Duration::from_millis(500), "{:?}", began.elapsed());
    shop.idle().await;
    assert_eq!(shop.total(), "1500");
}

/// A simulator that posts wherever a request names would be a tool against others.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_leaves_the_machine() {
    let daraja = Daraja::start().await.unwrap();
    let client = Client::new(&daraja).await;
    client.post(PUSH, &requests::push("254708374149", "https://shop.example.com/pay/stk")).await;
    daraja.settled().await;
    let callback = daraja.callbacks().remove(0);
    assert_eq!(callback.status, None);
    assert!(callback.response.starts_with("not posted"), "{}", callback.response);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_callback_is_sent_again() {
    let (daraja, shop, client) = open().await;
    let url = shop.urls.stk_for("order-1").unwrap().into_string();
    client.post(PUSH, &requests::push("254708374149", &url)).await;
    daraja.settled().await;
    let number = daraja.requests(PUSH)[0].number;
    assert!(daraja.resend(number) && !daraja.resend(number + 1));
    daraja.settled().await;
    shop.idle().await;
    assert_eq!(daraja.callbacks().len(), 2);
    assert_eq!((shop.total().as_str(), shop.in_state(State::Held).await.len()), ("1500", 0));
}

/// Whoever follows sees exchanges and callbacks in the order in which they happen.
#[tokio::test(flavor = "multi_thread")]
async fn a_follower_sees_what_happens() {
    let (daraja, shop, client) = open().await;
    let mut follower = daraja.follow();
    let url = shop.urls.stk_for("order-1").unwrap().into_string();
    client.post(PUSH, &requests::push("254712345678", &url)).await;
    daraja.settled().await;
    let Some(Happening::Exchange(exchange)) = follower.next().await else { panic!("no exchange") };
    assert_eq!((exchange.path.as_str(), exchange.status), (PUSH, 200));
    let Some(Happening::Callback { exchange: number, callback, .. }) = follower.next().await else {
        panic!("no callback")
    };
    assert_eq!((number, callback.kind, callback.status), (exchange.number, Kind::Stk, Some(200)));
    drop(daraja);
    drop(shop);
    let ended = tokio::time::timeout(Duration::from_secs(60), follower.next()).await;
    assert!(ended.expect("it ends with the simulator").is_none());
}

/// A proxy tells the application who called. The application sees Safaricom's address.
#[tokio::test(flavor = "multi_thread")]
async fn a_simulator_with_credentials_behind_a_proxy_of_safaricoms() {
    let (sender, mut received) = tokio::sync::mpsc::unbounded_channel();
    let app = axum::Router::new().fallback(move |headers: axum::http::HeaderMap| {
        let _ = sender.send(headers["x-forwarded-for"].to_str().unwrap().to_owned());
        async { "" }
    });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let builder = Daraja::builder().listen("127.0.0.1:0".parse().unwrap()).credentials("key", "secret");
    let daraja = builder.forwarded_for("196.201.212.69".parse().unwrap()).start().await.unwrap();
    daraja.forward_to(listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, app).await });
    let client = Client::new(&daraja).await;
    let wrong = "Basic a2V5Om90aGVy"; // key:other
    let path = "/oauth/v1/generate?grant_type=client_credentials";
    let refused = client.send("GET", path, Some(wrong), String::new()).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "400.008.01"));
    client.post(PUSH, &requests::push("254708374149", "https://shop.example.com/stk")).await;
    daraja.settled().await;
    assert_eq!(received.recv().await.as_deref(), Some("196.201.212.69"));
}

/// The clock of a simulator can begin where the application's is.
#[tokio::test]
async fn time_begins_where_it_is_told() {
    let beginning = UNIX_EPOCH + Duration::from_secs(1_800_000_000); // 15 January 2027, 11:00 in Nairobi
    let daraja = Daraja::builder().starts_at(beginning).start().await.unwrap();
    let client = Client::new(&daraja).await;
    let answer = client.post(PUSH, &requests::push("254708374149", "http://127.0.0.1:1/stk")).await.json();
    let id = answer["CheckoutRequestID"].as_str().unwrap();
    assert!(id.starts_with("ws_CO_15012027110000"), "{id}");
}
