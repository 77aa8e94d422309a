//! Daraja's errors: missing fields, wrong tokens, wrong passwords, and what production refuses.

use data_encoding::BASE64;
use mpesa_callbacks::Kind;
use mpesa_callbacks_daraja::{Daraja, Payout, Push};
use serde_json::{Value, json};

use crate::support::{Client, Framework, Shop, requests};

const PUSH: &str = "/mpesa/stkpush/v1/processrequest";
const QUERY: &str = "/mpesa/stkpushquery/v1/query";

/// Path, a good body, and the fields that a request needs, in the order in which they are checked.
fn products(shop: &Shop) -> Vec<(&'static str, Value, Vec<&'static str>)> {
    let urls = &shop.urls;
    let stk = shop.urls.stk_for("order-1").unwrap().into_string();
    let (confirmation, validation) = (shop.url(&Kind::C2bConfirmation), shop.url(&Kind::C2bValidation));
    let result = |first: &'static str, more: &[&'static str]| {
        let mut fields = vec![first, "SecurityCredential", "CommandID"];
        fields.extend_from_slice(more);
        fields.extend(["ResultURL", "QueueTimeOutURL"]);
        fields
    };
    vec![
        (
            PUSH,
            requests::push("254708374149", &stk),
            vec![
                "BusinessShortCode",
                "Timestamp",
                "Password",
                "TransactionType",
                "Amount",
                "PartyA",
                "PartyB",
                "PhoneNumber",
                "CallBackURL",
                "AccountReference",
            ],
        ),
        (QUERY, requests::query("ws_CO_1"), vec!["BusinessShortCode", "Timestamp", "Password", "CheckoutRequestID"]),
        (
            "/mpesa/c2b/v2/registerurl",
            requests::register(&confirmation, &validation),
            vec!["ShortCode", "ResponseType", "ConfirmationURL", "ValidationURL"],
        ),
        (
            "/mpesa/b2c/v3/paymentrequest",
            requests::b2c(urls, "id-1"),
            [result("InitiatorName", &["Amount", "PartyB", "PartyA"]), vec!["OriginatorConversationID"]].concat(),
        ),
        ("/mpesa/b2b/v1/paymentrequest", requests::b2b(urls), result("Initiator", &["Amount", "PartyB", "PartyA"])),
        ("/mpesa/b2b/v1/remittax", requests::tax(urls), result("Initiator", &["Amount", "PartyB", "PartyA"])),
        ("/mpesa/transactionstatus/v1/query", requests::status(urls, "R"), result("Initiator", &["PartyA"])),
        ("/mpesa/accountbalance/v1/query", requests::balance(urls), result("Initiator", &["PartyA"])),
        (
            "/mpesa/reversal/v1/request",
            requests::reversal(urls, "R"),
            result("Initiator", &["ReceiverParty", "RecieverIdentifierType"]),
        ),
        (
            "/v1/ussdpush/get-msisdn",
            requests::business_push(urls),
            vec![
                "primaryShortCode",
                "receiverShortCode",
                "amount",
                "paymentRef",
                "callbackUrl",
                "partnerName",
                "RequestRefID",
            ],
        ),
        (
            "/standingorder/v1/createStandingOrderExternal",
            requests::standing_order(urls, "rent"),
            vec![
                "StandingOrderName",
                "StartDate",
                "EndDate",
                "BusinessShortCode",
                "TransactionType",
                "ReceiverPartyIdentifierType",
                "Amount",
                "PartyA",
                "CallBackURL",
                "AccountReference",
                "Frequency",
            ],
        ),
    ]
}

async fn open() -> (Daraja, Shop, Client) {
    let daraja = Daraja::start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    (daraja, shop, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_field_that_is_missing_is_named() {
    let (_daraja, shop, client) = open().await;
    for (path, good, fields) in products(&shop) {
        for field in fields {
            let mut body = good.clone();
            body.as_object_mut().unwrap().remove(field).unwrap_or_else(|| panic!("{path} has no {field}"));
            let answer = client.post(path, &body).await;
            let error = answer.json();
            assert_eq!(
                (answer.status, error["errorCode"].as_str()),
                (400, Some("400.002.02")),
                "{path} without {field}"
            );
            assert_eq!(error["errorMessage"], format!("Bad Request - Invalid {field}"), "{path}");
            assert!(error["requestId"].as_str().is_some_and(|id| id.len() > 20), "{path}");
        }
        let answer = client.post(path, &good).await;
        let is_unknown = path == QUERY;
        assert_eq!(answer.status, if is_unknown { 500 } else { 200 }, "{path}: {}", answer.text);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_token_has_the_code_of_its_product() {
    let (_daraja, shop, client) = open().await;
    let code = |path: &str| match path {
        PUSH | QUERY | "/mpesa/reversal/v1/request" => (404, "404.001.03"),
        "/mpesa/c2b/v2/registerurl" | "/mpesa/transactionstatus/v1/query" => (400, "400.003.01"),
        "/v1/ussdpush/get-msisdn" | "/standingorder/v1/createStandingOrderExternal" => (404, "404.001.03"),
        _ => (401, "401.002.01"),
    };
    for (path, good, _) in products(&shop) {
        let wrong = client.send("POST", path, Some("Bearer wrong"), good.to_string()).await;
        assert_eq!((wrong.status, wrong.code().as_str()), code(path), "{path}");
        let none = client.send("POST", path, None, good.to_string()).await;
        assert_eq!((none.status, none.code().as_str()), (404, "404.001.04"), "{path}");
        let bearer = format!("Bearer {}", client.token);
        let get = client.send("GET", path, Some(&bearer), String::new()).await;
        assert_eq!((get.status, get.code().as_str()), (405, "405.001"), "{path}");
        let text = client.send("POST", path, Some(&bearer), "amount=1".to_owned()).await;
        assert_eq!(text.status, 400, "{path}");
        assert!(["400.002.02", "400.002.05"].contains(&text.code().as_str()), "{path}: {}", text.text);
    }
    let nowhere = client.post("/mpesa/nowhere", &json!({})).await;
    assert_eq!((nowhere.status, nowhere.code().as_str()), (404, "404.001.01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_for_basic_credentials_and_lives_an_hour() {
    let (daraja, shop, client) = open().await;
    let basic = format!("Basic {}", BASE64.encode(b"key:secret"));
    let path = "/oauth/v1/generate";
    let granted =
        client.send("GET", &format!("{path}?grant_type=client_credentials"), Some(&basic), String::new()).await;
    assert_eq!(granted.json()["expires_in"], "3599");
    for (query, authorization, code) in [
        ("?grant_type=client_credentials", Some("Bearer x"), "400.008.01"),
        ("?grant_type=client_credentials", Some("Basic !"), "400.008.01"),
        ("?grant_type=client_credentials", None, "400.008.01"),
        ("?grant_type=password", Some(basic.as_str()), "400.008.02"),
        ("", Some(basic.as_str()), "400.008.02"),
    ] {
        let refused = client.send("GET", &format!("{path}{query}"), authorization, String::new()).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{query} {authorization:?}");
    }
    daraja.advance(std::time::Duration::from_secs(3600)).await;
    let late = client.post("/mpesa/accountbalance/v1/query", &requests::balance(&shop.urls)).await;
    assert_eq!((late.status, late.code().as_str()), (401, "401.002.01"));
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_daraja_refuses() {
    let (daraja, shop, client) = open().await;
    let stk = shop.urls.stk_for("order-1").unwrap().into_string();
    for (field, value) in [
        ("BusinessShortCode", json!("1234")),
        ("Amount", json!("0")),
        ("Amount", json!("1.50")),
        ("Amount", json!(1.5)),
        ("Amount", json!(250_001)),
        ("PhoneNumber", json!("0708374149")),
        ("PhoneNumber", json!("254608374149")),
        ("Timestamp", json!("2026-01-01")),
        ("TransactionType", json!("CustomerPayBill")),
        ("CallBackURL", json!("shop.example.com/stk")),
        ("CallBackURL", json!("https://shop.example.com/a b")),
        ("AccountReference", json!("more than twelve")),
    ] {
        let mut body = requests::push("254708374149", &stk);
        body[field] = value.clone();
        let answer = client.post(PUSH, &body).await;
        assert_eq!(answer.json()["errorMessage"], format!("Bad Request - Invalid {field}"), "{field} {value}");
    }
    let mut body = requests::push("254708374149", &stk);
    body["Password"] = BASE64.encode(b"174379wrong20260101080000").into();
    let wrong = client.post(PUSH, &body).await;
    assert_eq!((wrong.status, wrong.code().as_str()), (500, "500.001.1001"));
    assert_eq!(wrong.json()["errorMessage"], "Wrong credentials");
    let mut register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    register["ValidationURL"] = "https://shop.example.com/MPESA/validation".into();
    let word = client.post("/mpesa/c2b/v2/registerurl", &register).await;
    assert_eq!((word.status, word.code().as_str()), (400, "400.003.02"));
    assert_eq!(word.json()["errorMessage"], "Bad Request - Invalid ValidationURL - URL has the word MPESA");
    daraja.on(Push::any()).refused("500.003.02");
    let busy = client.post(PUSH, &requests::push("254708374149", &stk)).await;
    assert_eq!((busy.status, busy.code().as_str()), (500, "500.003.02"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_rings_for_one_push_at_a_time() {
    let (daraja, shop, client) = open().await;
    let stk = shop.urls.stk_for("order-1").unwrap().into_string();
    let push = requests::push("254708374149", &stk);
    assert_eq!(client.post(PUSH, &push).await.status, 200);
    let locked = client.post(PUSH, &push).await;
    assert_eq!((locked.status, locked.code().as_str()), (500, "500.001.1001"));
    assert!(locked.text.contains("Unable to lock subscriber"));
    daraja.settled().await;
    assert_eq!(client.post(PUSH, &push).await.status, 200, "the first has ended");
    let unknown = client.post(QUERY, &requests::query("ws_CO_never")).await;
    assert_eq!(unknown.json()["errorMessage"], "The transaction does not Exist");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_the_merchant_is_used_once() {
    let (daraja, shop, client) = open().await;
    let (path, body) = ("/mpesa/b2c/v3/paymentrequest", requests::b2c(&shop.urls, "wages-1"));
    let first = client.post(path, &body).await;
    assert_eq!(first.json()["OriginatorConversationID"], "wages-1");
    let again = client.post(path, &body).await;
    assert_eq!((again.status, again.code().as_str()), (500, "500.002.1001"));
    daraja.settled().await;
    assert_eq!(daraja.balance("600996"), 998_500, "paid once");
    daraja.on(Payout::any()).refused("403.002.1001");
    let other = client.post(path, &requests::b2c(&shop.urls, "wages-2")).await;
    assert_eq!((other.status, other.code().as_str()), (403, "403.002.1001"));
}

#[tokio::test(flavor = "multi_thread")]
async fn production_is_stricter() {
    let daraja = Daraja::builder().production().start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    for url in ["http://shop.example.com/stk", "https://127.0.0.1/stk", "https://webhook.site/stk"] {
        let refused = client.post(PUSH, &requests::push("254708374149", url)).await;
        assert_eq!(refused.json()["errorMessage"], "Bad Request - Invalid CallBackURL", "{url}");
    }
    let register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    assert_eq!(client.post("/mpesa/c2b/v2/registerurl", &register).await.status, 200);
    let again = client.post("/mpesa/c2b/v2/registerurl", &register).await;
    assert_eq!((again.status, again.code().as_str()), (500, "500.003.1001"));
    let simulated =
        json!({ "ShortCode": "600638", "CommandID": "CustomerPayBillOnline", "Amount": 1, "Msisdn": "254708374149" });
    assert_eq!(client.post("/mpesa/c2b/v2/simulate", &simulated).await.status, 404);
}
