//! The harness of the tests in `tests/`: an inbox mounted into an axum application, and a store that can be made to fail.

mod body;

mod captured_log;

mod flaky;

mod mounted;

#[cfg(unix)]
mod tmpfs;

pub use self::body::{Chunks, Dribble};
pub use self::captured_log::CapturedLog;
pub use self::flaky::FlakyStore;
pub use self::mounted::{Answer, Mounted, SECRET};
#[cfg(unix)]
pub use self::tmpfs::Tmpfs;

use std::fmt::Display;
use std::time::{Duration, Instant};

use mpesa_callbacks_conformance::fixtures;

/// A push that was paid: receipt `NLJ7RT61SV`, KES 100, `CheckoutRequestID` `ws_CO_191220191020363925`.
pub fn paid_push() -> Vec<u8> {
    fixtures::body("stk/success-amount-100.00.json")
}

/// The C2B confirmation of the same payment.
pub fn its_confirmation() -> Vec<u8> {
    fixtures::body("c2b_confirmation/receipt-equals-stk.json")
}

/// A cancelled push under the same key.
pub fn its_contradiction() -> Vec<u8> {
    fixtures::body("stk/cancelled-1032-docs1.json")
}

/// A cancelled push of this key.
pub fn cancelled_push(key: &str) -> Vec<u8> {
    format!(r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{key}","ResultCode":1032,"ResultDesc":"Request cancelled by user"}}}}}}"#)
        .into_bytes()
}

/// A question whether a payment of KES `amount` on `account` is welcome.
pub fn question(trans_id: &str, amount: &str, account: &str) -> Vec<u8> {
    format!(
        r#"{{"TransactionType":"Pay Bill","TransID":"{trans_id}","TransTime":"20260101120000","TransAmount":"{amount}",
        "BusinessShortCode":"600638","BillRefNumber":"{account}","MSISDN":"2547 ***** 126","FirstName":"John"}}"#
    )
    .into_bytes()
}

/// A push that was paid.
pub fn push(id: &str, receipt: &str, amount: impl Display) -> String {
    push_described(id, receipt, amount, "The service request is processed successfully.")
}

/// A push that was paid, with this `ResultDesc`.
pub fn push_described(id: &str, receipt: &str, amount: impl Display, description: &str) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{id}","ResultCode":0,"ResultDesc":"{description}",
        "CallbackMetadata":{{"Item":[{{"Name":"Amount","Value":{amount}}},{{"Name":"MpesaReceiptNumber","Value":"{receipt}"}}]}}}}}}}}"#
    )
}

/// A push that was not paid, or of which that is not known.
pub fn unpaid_push(id: &str, code: u32) -> String {
    format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{id}","ResultCode":{code},"ResultDesc":"not paid"}}}}}}"#
    )
}

/// Waits for a condition.
///
/// # Panics
/// When it does not hold within 20 seconds.
pub async fn until(what: &str, is_so: impl AsyncFnMut() -> bool) {
    until_within(Duration::from_secs(20), what, is_so).await;
}

/// Waits for a condition, at most so long.
///
/// # Panics
/// When it does not hold within that time.
pub async fn until_within(limit: Duration, what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < limit, "still not so: {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
