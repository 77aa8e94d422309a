//! The measured steps.

use std::cell::Cell;
use std::convert::Infallible;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use bench::bodies;
use bench::plain::{B2bExpress, BillManager, C2b, Lipia, Ratiba, Stk, Transaction};
use futures_core::Stream;
use mpesa_callbacks::payload::{self, Digest};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::MemoryStore;
use mpesa_callbacks::{HandlerArgs, HandlerFuture, MpesaCallbacks, Request, Route, Routes};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::Notify;

use crate::Case;

const SECRET: &str = "00112233445566778899aabbccddeeff";

/// All of it.
pub(crate) fn all() -> Vec<Case> {
    let mut cases = vec![
        parse("stk, paid", &Kind::Stk, bodies::body(1).into_bytes(), Stk::parse),
        parse("stk, cancelled", &Kind::Stk, bodies::body(7).into_bytes(), Stk::parse),
    ];
    let c2b = |body: &[u8]| serde_json::from_slice::<C2b>(body);
    cases.push(of_fixture(&Kind::C2bValidation, "c2b_validation/sandbox-simulator.json", c2b));
    cases.push(of_fixture(&Kind::C2bConfirmation, "c2b_confirmation/docs3-masked.json", c2b));
    for (kind, file) in [
        (Kind::B2cResult, "b2c_result/success-docs3.json"),
        (Kind::B2bResult, "b2b_result/paybill-success-docs2.json"),
        (Kind::TaxResult, "tax_remittance_result/success-fixture.json"),
        (Kind::StatusResult, "transaction_status_result/success-docs3.json"),
        (Kind::BalanceResult, "account_balance_result/success-docs3.json"),
        (Kind::ReversalResult, "reversal_result/success-docs3.json"),
        (Kind::B2cTimeout, "timeouts/result-envelope-int.json"),
    ] {
        cases.push(of_fixture(&kind, file, Transaction::parse));
    }
    cases.push(of_fixture(&Kind::B2bExpress, "b2b_express/success-docs2.json", |body: &[u8]| {
        serde_json::from_slice::<B2bExpress>(body)
    }));
    cases.push(of_fixture(&Kind::Ratiba, "ratiba/success-all-uppercase.json", |body: &[u8]| {
        serde_json::from_slice::<Ratiba>(body)
    }));
    cases.push(of_fixture(&Kind::BillManager, "bill_manager/payment-docs2.json", |body: &[u8]| {
        serde_json::from_slice::<BillManager>(body)
    }));
    cases.push(of_fixture(&Kind::Lipia, "aggregator/lipia-success.json", |body: &[u8]| {
        serde_json::from_slice::<Lipia>(body)
    }));
    cases.extend([fingerprints(), guard(), life()]);
    cases
}

/// A body as `serde_json` reads it into the same members, as ours does, and as `serde_json::Value`.
fn parse<T: 'static>(
    name: &str,
    kind: &Kind,
    body: Vec<u8>,
    plain: impl Fn(&[u8]) -> serde_json::Result<T> + 'static,
) -> Case {
    assert!(plain(&body).is_ok() && payload::parse(kind, &body, None).is_ok(), "{name} cannot be read");
    let (kind, ours, value) = (kind.clone(), body.clone(), body.clone());
    Case::new(format!("parse {name}"))
        .side("serde_json, derived", move || plain(&body))
        .side("ours", move || payload::parse(&kind, &ours, None))
        .side("serde_json::Value", move || serde_json::from_slice::<Value>(&value))
}

fn of_fixture<T: 'static>(kind: &Kind, file: &str, plain: impl Fn(&[u8]) -> serde_json::Result<T> + 'static) -> Case {
    parse(kind.name(), kind, mpesa_callbacks_conformance::fixtures::body(file), plain)
}

/// The identity of a delivery: its key, the digest of its bytes, and that of its content.
fn fingerprints() -> Case {
    let body = bodies::body(1).into_bytes();
    let parsed = payload::parse(&Kind::Stk, &body, None).expect("a callback");
    Case::new("key and fingerprints")
        .side("ours", move || (parsed.key.clone(), Digest::of(&body), parsed.content_digest()))
}

/// Signals that a handler ran.
type Told = Arc<Notify>;

/// A handler set as the macro writes it.
struct ByMacro(Told);

#[mpesa_callbacks]
impl ByMacro {
    #[stk]
    async fn stk(&self, _: StkCallback) {
        self.0.notify_one();
    }
}

/// The same, written by hand.
struct ByHand(Told);

impl<Tx: Send> MpesaCallbacks<Tx> for ByHand {
    fn routes(&self) -> Routes {
        Routes::new().with(Route::new(Kind::Stk))
    }

    fn stk<'a>(&'a self, _: StkCallback, _: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
        Box::pin(async {
            self.0.notify_one();
            Ok(())
        })
    }
}

fn runtime() -> Rc<Runtime> {
    Rc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime"))
}

fn inbox<H: MpesaCallbacks + 'static>(runtime: &Runtime, handler: H) -> Inbox {
    let builder = Inbox::builder(handler).store(MemoryStore::new()).secret(SECRET).sandbox();
    runtime.block_on(builder.start()).expect("an inbox")
}

/// A body that comes in one piece.
fn whole(body: Vec<u8>) -> impl Stream<Item = Result<Vec<u8>, Infallible>> + Unpin {
    struct Once(Option<Vec<u8>>);
    impl Stream for Once {
        type Item = Result<Vec<u8>, Infallible>;
        fn poll_next(mut self: std::pin::Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Option<Self::Item>> {
            Poll::Ready(self.0.take().map(Ok))
        }
    }
    Once(Some(body))
}

/// The guard, the route and an answer: a request that is let in and has the wrong method, and one with the wrong secret.
fn guard() -> Case {
    let runtime = runtime();
    let inbox = inbox(&runtime, ByMacro(Told::default()));
    let refused = move |path: &'static str, status: u16| {
        let (runtime, inbox) = (runtime.clone(), inbox.clone());
        move || {
            let headers = |_: &str| Vec::new();
            let answer = runtime.block_on(inbox.receive(Request::new("GET", path, &headers), whole(Vec::new())));
            assert_eq!(answer.status(), status);
        }
    };
    Case::new("guard and refusal")
        .side("a wrong secret: 404", refused("/ffeeddccbbaa99887766554433221100/stk", 404))
        .side("the secret, to another method: 405", refused("/00112233445566778899aabbccddeeff/stk", 405))
}

/// A whole life in memory, from the request to the handler's end, dispatched by hand and by the macro.
fn life() -> Case {
    let told = Told::default();
    let by_hand = run(told.clone(), |runtime| inbox(runtime, ByHand(told.clone())));
    let told = Told::default();
    let by_macro = run(told.clone(), |runtime| inbox(runtime, ByMacro(told.clone())));
    Case::new("receive, acknowledge, handle")
        .side("the trait, written by hand", by_hand)
        .side("#[mpesa_callbacks]", by_macro)
}

fn run(told: Told, start: impl Fn(&Runtime) -> Inbox) -> impl FnMut() + 'static {
    let runtime = runtime();
    let inbox = start(&runtime);
    let number = Cell::new(0);
    move || {
        number.set(number.get() + 1);
        let body = bodies::body(number.get()).into_bytes();
        let headers = |_: &str| Vec::new();
        let path = "/00112233445566778899aabbccddeeff/stk";
        runtime.block_on(async {
            let answer = inbox.receive(Request::new("POST", path, &headers), whole(body)).await;
            assert_eq!(answer.status(), 200);
            told.notified().await;
            // Other ready tasks.
            tokio::task::yield_now().await;
        });
    }
}
