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
    assert!(page.text.contains("&lt;script&gt;") && page.text.matches("<script").count() == 1, "{}", page.text);

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

/// The forms of the page do what a client or a test would.
#[tokio::test(flavor = "multi_thread")]
async fn forms_push_pay_rule_and_send_again() {
    let daraja = Daraja::start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let base = daraja.base_url();
    let submit = |path: &str, form: String| {
        let url = format!("{base}{path}");
        tokio::task::spawn_blocking(move || {
            let agent = ureq::Agent::config_builder().http_status_as_error(false).max_redirects(0);
            let agent: ureq::Agent = agent.max_redirects_will_error(false).build().into();
            let request = agent.post(&url).header("content-type", "application/x-www-form-urlencoded");
            request.send(form).unwrap().status().as_u16()
        })
    };
    let encoded = |text: &str| text.replace('%', "%25").replace('&', "%26").replace('+', "%2B");
    let url = encoded(&shop.urls.stk_for("order-1").unwrap().into_string());

    let rule = "product=push&party=254708374149&ends=&fault=duplicate&once=true".to_owned();
    assert_eq!(submit("/_/forms/rules", rule).await.unwrap(), 303);
    let wrong = "product=payout&party=&ends=&fault=twin".to_owned();
    assert_eq!(submit("/_/forms/rules", wrong).await.unwrap(), 400);
    let push = format!("phone=254708374149&amount=1500&account=order-1&callback_url={url}");
    assert_eq!(submit("/_/forms/push", push).await.unwrap(), 303);
    daraja.settled().await;
    let exchange = daraja.requests("/mpesa/stkpush/v1/processrequest").pop().unwrap();
    assert_eq!((exchange.status, exchange.callbacks().len()), (200, 2), "{exchange:?}");

    // Changed, it contradicts.
    let changed = encoded(&exchange.callbacks()[0].body.replace("1500", "1501"));
    let again = format!("/_/forms/exchanges/{}/0", exchange.number);
    assert_eq!(submit(&again, format!("body={changed}")).await.unwrap(), 303);
    assert_eq!(submit("/_/forms/exchanges/999/0", "body=x".to_owned()).await.unwrap(), 404);
    let pay = "phone=254708374149&short_code=600638&amount=5&account=order-2".to_owned();
    assert_eq!(submit("/_/forms/pay", pay).await.unwrap(), 303);
    daraja.settled().await;
    shop.idle().await;
    assert_eq!(shop.total(), "1500");

    let client = Client::new(&daraja).await;
    let page = client.send("GET", "/_/", None, String::new()).await.text;
    let curl = format!("curl {base}/mpesa/stkpush/v1/processrequest");
    for shown in
        ["Balances", "<td>KES 1500<td>from 254708374149", &curl, "Push::from(&quot;254708374149&quot;)", "duplicate"]
    {
        assert!(page.contains(shown), "{shown}: {page}");
    }
    assert!(!page.contains("bfb279f9"), "the passkey is shown");
    assert_eq!(submit("/_/forms/rules/clear", String::new()).await.unwrap(), 303);
    assert_eq!(client.send("GET", "/_/rules", None, String::new()).await.json(), json!([]));
}

/// The page gets an event when something happens.
#[tokio::test(flavor = "multi_thread")]
async fn an_event_is_sent_when_something_happens() {
    let daraja = Daraja::start().await.unwrap();
    let url = format!("{}/_/events", daraja.base_url());
    let (opened, is_open) = tokio::sync::oneshot::channel();
    let reading = tokio::task::spawn_blocking(move || {
        let mut response = ureq::get(&url).call().unwrap();
        opened.send(response.headers()["content-type"].to_str().unwrap().to_owned()).unwrap();
        let mut lines = std::io::BufRead::lines(std::io::BufReader::new(response.body_mut().as_reader()));
        lines.find(|line| line.as_ref().is_ok_and(|line| line.starts_with("data"))).unwrap().unwrap()
    });
    assert_eq!(is_open.await.unwrap(), "text/event-stream");
    daraja.customer_pays("254708374149", "600638", 5, "order-2");
    assert_eq!(reading.await.unwrap(), "data: exchange");
}
