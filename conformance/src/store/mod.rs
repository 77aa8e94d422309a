//! The behaviours of a store, as functions that `store_tests!` calls.

pub mod clock_steps;

mod paying;
mod reading;
mod recording;
mod releases;
mod working;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::store::{
    CallbackId, Claim, Claimed, Completion, Delivery, Lane, Recorded, SettleResult, Settlement, State, Store, Verdict,
};

pub use self::paying::*;
pub use self::reading::*;
pub use self::recording::*;
pub use self::releases::*;
pub use self::working::*;

type Shared = Arc<dyn Store>;

/// Long enough that nothing expires by accident, and short enough to wait for where it should.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(30);

fn stk(key: &str, code: &str, amount: u32, receipt: &str, desc: &str) -> Delivery {
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":{code},"ResultDesc":"{desc}","CallbackMetadata":{{"Item":[
        {{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}}}}}}}"#
    );
    delivery_of(&Kind::Stk, &body)
}

fn delivery_of(kind: &Kind, body: &str) -> Delivery {
    Delivery::parse(kind, body.as_bytes(), SystemTime::now()).expect("a readable body")
}

/// A callback that shows no money, so that no payment comes with it.
fn failed(key: &str) -> Delivery {
    stk(key, "1032", 0, "", "Request cancelled by user")
}

/// The verdict on the payment of a recorded delivery.
fn payment(recorded: &Recorded) -> Option<Verdict> {
    recorded.payment.map(|(_, verdict)| verdict)
}

async fn record(store: &Shared, delivery: Delivery) -> Recorded {
    let mut recorded = store.record(&[delivery]).await.expect("record");
    assert_eq!(recorded.len(), 1);
    recorded.remove(0)
}

/// Claims callbacks of any kind that are not suspect.
async fn claim(store: &Shared, limit: usize, lease: Duration) -> Vec<Claimed> {
    let kinds: Vec<Kind> = Kind::built_in().collect();
    claim_of(store, &kinds, Lane::Main, limit, lease).await
}

async fn claim_of(store: &Shared, kinds: &[Kind], lane: Lane, limit: usize, lease: Duration) -> Vec<Claimed> {
    store.claim(&Claim { lane, ..Claim::new(kinds, limit, lease) }).await.expect("claim")
}

async fn claim_one(store: &Shared, lease: Duration) -> Claimed {
    let mut claimed = claim(store, 1, lease).await;
    assert_eq!(claimed.len(), 1, "one callback is ready");
    claimed.remove(0)
}

async fn settle(store: &Shared, claimed: &Claimed, completion: Completion) -> SettleResult {
    let settled = store.settle(&[Settlement::new(claimed.lease, completion)]).await.expect("settle");
    settled[0]
}

async fn state(store: &Shared, id: CallbackId) -> State {
    store.get(id).await.expect("get").expect("it is there").state
}
