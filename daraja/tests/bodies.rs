//! Bodies have the shapes of the corpus: members in order, with their types.

use std::collections::BTreeSet;
use std::fmt::Write;

use mpesa_callbacks::Kind;
use mpesa_callbacks_conformance::fixtures::{Fixture, all};
use mpesa_callbacks_daraja::{BusinessPush, CustomerPayment, Daraja, Fault, Payout, Push, StandingOrder};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::support::{Client, Framework, Shop, requests};

/// The shape of a JSON value. Lists of names and values keep the names, because Daraja's do not vary.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Shape(String);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Shape, D::Error> {
        deserializer.deserialize_any(Shapes).map(Shape)
    }
}

struct Shapes;

impl<'de> Visitor<'de> for Shapes {
    type Value = String;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, _: &str) -> Result<String, E> {
        Ok("text".to_owned())
    }

    fn visit_u64<E>(self, _: u64) -> Result<String, E> {
        Ok("number".to_owned())
    }

    fn visit_i64<E>(self, _: i64) -> Result<String, E> {
        Ok("number".to_owned())
    }

    fn visit_f64<E>(self, _: f64) -> Result<String, E> {
        Ok("number".to_owned())
    }

    fn visit_bool<E>(self, _: bool) -> Result<String, E> {
        Ok("bool".to_owned())
    }

    fn visit_unit<E>(self) -> Result<String, E> {
        Ok("null".to_owned())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<String, A::Error> {
        let mut text = "[".to_owned();
        while let Some(Shape(item)) = items.next_element()? {
            let _ = write!(text, "{item} ");
        }
        Ok(text + "]")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<String, A::Error> {
        let mut text = "{".to_owned();
        while let Some(name) = members.next_key::<String>()? {
            match name.as_str() {
                "Key" | "Name" | "name" => {
                    let _ = write!(text, "{name}={} ", members.next_value::<String>()?);
                }
                _ => {
                    let Shape(value) = members.next_value()?;
                    let _ = write!(text, "{name}:{value} ");
                }
            }
        }
        Ok(text + "}")
    }
}

fn shape(body: &[u8]) -> Option<String> {
    serde_json::from_slice::<Shape>(body).ok().map(|Shape(text)| text)
}

/// Plays everything once, and returns kind and body of every callback.
async fn played() -> Vec<(Kind, String)> {
    let daraja = Daraja::start().await.unwrap();
    let shop = Shop::open(&daraja, Framework::Axum).await;
    let client = Client::new(&daraja).await;
    let urls = &shop.urls;
    let register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    client.post("/mpesa/c2b/v2/registerurl", &register).await;
    let bills = serde_json::json!({ "shortcode": "600638", "callbackurl": shop.url(&Kind::BillManager) });
    client.post("/v1/billmanager-invoice/optin", &bills).await;
    for round in 0..2 {
        if round == 1 {
            daraja.on(Payout::to("254708374149")).fails("2001");
            daraja.on(Payout::any()).fails("1");
            daraja.on(BusinessPush::any()).fails("4001");
            daraja.on(StandingOrder::any()).fails("1037");
            daraja.on(CustomerPayment::any()).fault(Fault::Masked);
            daraja.on(Push::any()).fails("1032");
        }
        let url = urls.stk_for("order-1").unwrap().into_string();
        client.post("/mpesa/stkpush/v1/processrequest", &requests::push("254708374149", &url)).await;
        client.post("/mpesa/b2c/v3/paymentrequest", &requests::b2c(urls, &format!("id-{round}"))).await;
        client.post("/mpesa/b2b/v1/paymentrequest", &requests::b2b(urls)).await;
        client.post("/mpesa/b2b/v1/remittax", &requests::tax(urls)).await;
        client.post("/mpesa/accountbalance/v1/query", &requests::balance(urls)).await;
        client.post("/v1/ussdpush/get-msisdn", &requests::business_push(urls)).await;
        client.post("/standingorder/v1/createStandingOrderExternal", &requests::standing_order(urls, "rent")).await;
        daraja.customer_pays("254708374149", "600638", 1500, "order-1");
        daraja.settled().await;
        shop.idle().await;
        // That of a push, and that of a payment from the phone's menu.
        for receipt in shop.books().keys() {
            client.post("/mpesa/transactionstatus/v1/query", &requests::status(urls, receipt)).await;
            daraja.settled().await;
            client.post("/mpesa/reversal/v1/request", &requests::reversal(urls, receipt)).await;
            daraja.settled().await;
        }
    }
    daraja.callbacks().into_iter().map(|callback| (callback.kind, callback.body)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_body_has_a_shape_of_the_corpus() {
    let of_kind = |fixture: &Fixture| Some((fixture.kind.clone(), shape(&fixture.body())?));
    let known: BTreeSet<(String, String)> = all().iter().filter_map(of_kind).collect();
    let mut missing = Vec::new();
    for (kind, body) in played().await {
        let shape = shape(body.as_bytes()).unwrap_or_else(|| panic!("no JSON: {body}"));
        let parsed = mpesa_callbacks::payload::parse(&kind, body.as_bytes(), None);
        assert!(parsed.is_ok(), "{kind}: {body}");
        if !known.contains(&(kind.name().to_owned(), shape.clone())) {
            missing.push(format!("{kind}: {body}\n    {shape}"));
        }
    }
    missing.sort();
    missing.dedup();
    assert!(missing.is_empty(), "no fixture has these shapes:\n{}", missing.join("\n"));
}
