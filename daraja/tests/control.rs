//! Control over HTTP, for tests in other languages.

use mpesa_callbacks::Kind;
use mpesa_callbacks_daraja::Daraja;
use serde_json::{Value, json};

use crate::support::{Client, Framework, Shop, requests};

#[tokio::test(flavor = "multi_thread")]
async fn a_test_in_another_language_drives_it() {
    let daraja = Daraja::start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    let call = async |method: &str, path: &str, body: Value| client.send(method, path, None, body.to_string()).await;

    let rule =
        json!({ "match": { "product": "push", "party": "254712345678" }, "ends": "1032", "faults": ["duplicate"] });
    assert_eq!(call("POST", "/_/rules", rule).await.status, 201);
    let listed = call("GET", "/_/rules", Value::Null).await.json();
    assert_eq!(listed[0]["faults"][0], "duplicate");
    for (wrong, says) in [
        (json!({ "match": { "product": "push" }, "faults": ["sunday"] }), "sunday"),
        (json!({ "match": { "product": "push" }, "faults": ["timeout"] }), "a push cannot have the fault `timeout`"),
        (json!({ "match": { "product": "push" }, "faults": ["lost", "duplicate"] }), "exclude each other"),
        (json!({ "match": { "product": "push" }, "sometimes": true }), "sometimes"),
    ] {
        let refused = call("POST", "/_/rules", wrong).await;
        assert_eq!(refused.status, 400);
        assert!(refused.text.contains(says), "{}", refused.text);
    }

    let url = shop.urls.stk_for("order-1").unwrap().into_string();
    client.post("/mpesa/stkpush/v1/processrequest", &requests::push("254712345678", &url)).await;
    let register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    client.post("/mpesa/c2b/v2/registerurl", &register).await;
    let pay = json!({ "phone": "254708374149", "short_code": "600638", "amount": 500, "account": "order-2" });
    assert_eq!(call("POST", "/_/pay", pay).await.status, 202);
    assert_eq!(call("POST", "/_/clock", json!({ "advance_ms": 1000 })).await.status, 204);
    shop.idle().await;
    assert_eq!(shop.total(), "500");
    assert_eq!(call("POST", "/_/clock", json!({ "settle": true })).await.status, 204);
    let journal = call("GET", "/_/journal", Value::Null).await.json();
    let push =
        journal.as_array().unwrap().iter().find(|one| one["path"] == "/mpesa/stkpush/v1/processrequest").unwrap();
    assert_eq!(push["callbacks"].as_array().unwrap().len(), 2, "{push}");
    let number = push["number"].as_u64().unwrap();
    assert_eq!(call("POST", &format!("/_/exchanges/{number}/resend"), Value::Null).await.status, 202);
    assert_eq!(call("POST", "/_/exchanges/999/resend", Value::Null).await.status, 404);
    assert_eq!(call("DELETE", "/_/state", Value::Null).await.status, 204);
    assert_eq!(call("GET", "/_/journal", Value::Null).await.json(), json!([]));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_rings_and_another_site_cannot_press_its_buttons() {
    let daraja = Daraja::builder().interactive().start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    let mut push = requests::push("254708374149", &shop.urls.stk_for("order-1").unwrap().into_string());
    push["AccountReference"] = "<script>".into();
    let answer = client.post("/mpesa/stkpush/v1/processrequest", &push).await.json();
    let id = answer["CheckoutRequestID"].as_str().unwrap().to_owned();
    let page = client.send("GET", "/_/", None, String::new()).await;
    assert!(page.text.contains("KES 1500") && page.text.contains(&format!("/_/phones/{id}")), "{}", page.text);
    assert!(page.text.contains("&lt;script&gt;") && !page.text.contains("<script"), "{}", page.text);

    let base = daraja.base_url();
    let press = |headers: Vec<(&'static str, &'static str)>| {
        let url = format!("{base}/_/phones/{id}");
        let pressing = move || {
            let agent: ureq::Agent = ureq::Agent::config_builder().http_status_as_error(false).build().into();
            let mut request = agent.post(&url).header("content-type", "application/x-www-form-urlencoded");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            request.send("code=0").unwrap().status().as_u16()
        };
        tokio::task::spawn_blocking(pressing)
    };
    for headers in [
        vec![("host", "evil.example.com")],
        vec![("origin", "https://evil.example.com")],
        vec![("sec-fetch-site", "cross-site")],
        vec![("sec-fetch-site", "same-site")],
    ] {
        assert_eq!(press(headers.clone()).await.unwrap(), 403, "{headers:?}");
    }
    assert_eq!(press(vec![("sec-fetch-site", "same-origin")]).await.unwrap(), 202);
    assert_eq!(press(vec![]).await.unwrap(), 404, "it was answered");
    daraja.settled().await;
    shop.idle().await;
    assert_eq!(shop.total(), "1500");
}
