//! Every fault, for every product that can have it, in three web frameworks: money is counted once, nothing
//! is lost, and contradictions are held.

use mpesa_callbacks::Kind;
use mpesa_callbacks::payload::Reconciliation;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::State;
use mpesa_callbacks_daraja::{
    BusinessPush, CustomerPayment, Daraja, Fault, Matcher, Payout, Push, Query, StandingOrder,
};
use tokio::task::JoinSet;

use crate::support::{Client, Framework, Shop, requests};

/// What must be seen in the end.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    /// Shillings that were booked.
    booked: String,
    /// Handled results of the request.
    results: usize,
    timeouts: usize,
    held: usize,
    quarantined: usize,
}

struct Story {
    daraja: Daraja,
    shop: Shop,
    client: Client,
}

impl Story {
    async fn new(framework: Framework, matcher: Matcher, fault: Fault) -> Story {
        let daraja = Daraja::start().await.unwrap();
        daraja.on(matcher).fault(fault);
        let shop = Shop::open(&daraja, framework).await;
        let client = Client::new(&daraja).await;
        Story { daraja, shop, client }
    }

    /// Sends a request, and waits until everything that follows is handled.
    async fn play(&self, path: &str, body: &serde_json::Value) -> u16 {
        let answer = self.client.post(path, body).await;
        self.daraja.settled().await;
        self.shop.idle().await;
        answer.status
    }

    async fn seen(&self, result: &str) -> Seen {
        Seen {
            booked: self.shop.total(),
            results: self.shop.handled(&format!("{result} Success")),
            timeouts: self.shop.handled(&format!("{result} timeout")),
            held: self.shop.in_state(State::Held).await.len(),
            quarantined: self.shop.in_state(State::Quarantined).await.len(),
        }
    }
}

fn status_of(fault: Fault) -> u16 {
    if matches!(fault, Fault::LostAnswer | Fault::SpikeArrest) { 500 } else { 200 }
}

async fn push(framework: Framework, fault: Fault) {
    let story = Story::new(framework, Push::any(), fault).await;
    let Story { daraja, shop, client } = &story;
    let register = requests::register(&shop.url(&Kind::C2bConfirmation), &shop.url(&Kind::C2bValidation));
    let mut register = register;
    register["ShortCode"] = "174379".into();
    assert_eq!(client.post("/mpesa/c2b/v2/registerurl", &register).await.status, 200);
    let expected = Expectation::new(Kind::Stk, "order-1").amount(Amount::from_shillings(1500));
    shop.inbox.expect_callback(&expected).await.unwrap();
    let url = shop.urls.stk_for("order-1").unwrap().into_string();
    let path = "/mpesa/stkpush/v1/processrequest";
    let answer = client.post(path, &requests::push("254708374149", &url)).await;
    assert_eq!(answer.status, status_of(fault), "{fault}: {}", answer.text);
    daraja.settled().await;
    shop.idle().await;
    let mut seen = story.seen("stk").await;
    match fault {
        Fault::Lost => {
            assert_eq!(seen, Seen { booked: "0".into(), ..Seen::default() });
            let id = answer.json()["CheckoutRequestID"].as_str().unwrap().to_owned();
            let found = client.post("/mpesa/stkpushquery/v1/query", &requests::query(&id)).await.json();
            assert_eq!(found["ResultCode"], "0", "the query tells the truth");
            shop.inbox.link_request_id(&Kind::Stk, "order-1", &id).await.unwrap();
            shop.inbox.reconcile(&Kind::Stk, "order-1", &Reconciliation::success("UAJ0000001")).await.unwrap();
            shop.idle().await;
        }
        Fault::FlakyQuery => {
            let id = answer.json()["CheckoutRequestID"].as_str().unwrap().to_owned();
            let query = async || client.post("/mpesa/stkpushquery/v1/query", &requests::query(&id)).await;
            assert_eq!(query().await.json()["ResultCode"], "4999");
            assert_eq!(query().await.code(), "500.001.1001");
            assert_eq!(query().await.json()["ResultCode"], "0");
        }
        Fault::TokenExpires => {
            let again = client.post(path, &requests::push("254708374149", &url)).await;
            assert_eq!((again.status, again.code().as_str()), (404, "404.001.03"));
        }
        _ => {}
    }
    seen = story.seen("stk").await;
    let (booked, quarantined) = match fault {
        Fault::Malformed => ("0", 1),
        Fault::SpikeArrest => ("0", 0),
        _ => ("1500", 0),
    };
    let held = usize::from(fault == Fault::FailureAfterSuccess);
    let results = usize::from(booked != "0");
    assert_eq!(seen, Seen { booked: booked.into(), results, held, quarantined, timeouts: 0 }, "{fault}");
    assert!(shop.books().values().all(|times| times.len() == 1), "{fault}: {:?}", shop.books());
    if booked != "0" {
        let orders: Vec<_> = shop.books().into_values().flatten().map(|(_, order)| order).collect();
        assert_eq!(orders, [Some("order-1".to_owned())], "{fault}");
    }
    // The bank has the money, whatever was delivered.
    let is_refused = fault == Fault::SpikeArrest;
    assert_eq!(daraja.balance("174379"), if is_refused { 1_000_000 } else { 1_001_500 }, "{fault}");
}

/// The outcome of 1037 is unknown, so a success is an update. 1032 is a failure, and a success contradicts it.
#[tokio::test(flavor = "multi_thread")]
async fn a_success_after_a_definite_failure_is_held_until_a_person_releases_it() {
    let story = Story::new(Framework::Axum, Push::any(), Fault::SuccessAfterFailure).await;
    let url = story.shop.urls.stk_for("order-1").unwrap().into_string();
    let path = "/mpesa/stkpush/v1/processrequest";
    assert_eq!(story.play(path, &requests::push("254700001032", &url)).await, 200);
    let seen = story.seen("stk").await;
    assert_eq!(seen, Seen { booked: "0".into(), held: 1, ..Seen::default() });
    let held = story.shop.in_state(State::Held).await.remove(0);
    story.shop.inbox.release(held.id).await.unwrap();
    story.shop.idle().await;
    assert_eq!(story.shop.total(), "1500");
    assert_eq!(story.daraja.balance("174379"), 1_001_500);
}

async fn result(framework: Framework, fault: Fault, matcher: Matcher, result: &str) {
    let story = Story::new(framework, matcher, fault).await;
    let urls = &story.shop.urls;
    let (path, body) = match result {
        "b2c" => ("/mpesa/b2c/v3/paymentrequest", requests::b2c(urls, "wages-1")),
        "b2b" => ("/mpesa/b2b/v1/paymentrequest", requests::b2b(urls)),
        "tax" => ("/mpesa/b2b/v1/remittax", requests::tax(urls)),
        _ => ("/mpesa/accountbalance/v1/query", requests::balance(urls)),
    };
    let status = story.play(path, &body).await;
    assert_eq!(status, status_of(fault), "{fault}");
    let seen = story.seen(result).await;
    let timeouts = usize::from(matches!(fault, Fault::Timeout | Fault::TimeoutThenSuccess));
    let is_silent = matches!(fault, Fault::Lost | Fault::Timeout | Fault::SpikeArrest | Fault::Malformed);
    let quarantined = usize::from(fault == Fault::Malformed);
    let results = usize::from(!is_silent);
    assert_eq!(seen, Seen { booked: "0".into(), results, timeouts, held: 0, quarantined }, "{fault} of {result}");
}

async fn customer_payment(framework: Framework, fault: Fault) {
    let story = Story::new(framework, CustomerPayment::any(), fault).await;
    let register = requests::register(&story.shop.url(&Kind::C2bConfirmation), &story.shop.url(&Kind::C2bValidation));
    assert_eq!(story.client.post("/mpesa/c2b/v2/registerurl", &register).await.status, 200);
    story.daraja.customer_pays("254708374149", "600638", 1500, "order-1");
    story.daraja.settled().await;
    story.shop.idle().await;
    let (booked, quarantined) = match fault {
        Fault::Malformed => ("0", 1),
        Fault::Lost => ("0", 0),
        _ => ("1500", 0),
    };
    let seen = story.seen("c2b").await;
    assert_eq!(seen, Seen { booked: booked.into(), quarantined, ..Seen::default() }, "{fault}");
    assert!(story.shop.books().values().all(|times| times.len() == 1), "{fault}: {:?}", story.shop.books());
    assert_eq!(story.daraja.balance("600638"), 1_001_500, "{fault}");
}

async fn other(framework: Framework, fault: Fault, matcher: Matcher, result: &str) {
    let story = Story::new(framework, matcher, fault).await;
    let urls = &story.shop.urls;
    let status = match result {
        "b2b_express" => story.play("/v1/ussdpush/get-msisdn", &requests::business_push(urls)).await,
        _ => {
            let path = "/standingorder/v1/createStandingOrderExternal";
            story.play(path, &requests::standing_order(urls, "rent")).await
        }
    };
    assert_eq!(status, status_of(fault), "{fault}");
    let seen = story.seen(result).await;
    let is_silent = matches!(fault, Fault::Lost | Fault::SpikeArrest | Fault::Malformed);
    let quarantined = usize::from(fault == Fault::Malformed);
    let expected = Seen {
        results: usize::from(!is_silent),
        quarantined,
        ..Seen { booked: seen.booked.clone(), ..Seen::default() }
    };
    assert_eq!(seen, expected, "{fault} of {result}");
    assert!(story.shop.books().values().all(|times| times.len() == 1), "{fault}: {:?}", story.shop.books());
}

async fn story(framework: Framework, fault: Fault, product: &str) {
    match product {
        "push" => push(framework, fault).await,
        "payout" => {
            for name in ["b2c", "b2b", "tax"] {
                result(framework, fault, Payout::any(), name).await;
            }
        }
        "query" => result(framework, fault, Query::any(), "balance").await,
        "customer-payment" => customer_payment(framework, fault).await,
        "business-push" => other(framework, fault, BusinessPush::any(), "b2b_express").await,
        "standing-order" => other(framework, fault, StandingOrder::any(), "ratiba").await,
        product => panic!("{product} is played by no test"),
    }
}

async fn every_fault(framework: Framework) {
    let mut playing = JoinSet::new();
    let mut pairs = 0;
    for fault in Fault::ALL {
        for product in fault.products() {
            pairs += 1;
            // A few at a time: a slow body takes four seconds.
            while playing.len() >= 8 {
                playing.join_next().await.unwrap().unwrap();
            }
            playing.spawn(story(framework, fault, product));
        }
    }
    while let Some(played) = playing.join_next().await {
        played.unwrap();
    }
    assert!(pairs > 70, "{pairs}");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_axum() {
    every_fault(Framework::Axum).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_actix_web() {
    every_fault(Framework::Actix).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_fault_in_rocket() {
    every_fault(Framework::Rocket).await;
}
