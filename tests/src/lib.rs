//! What the tests in `tests/` share: an inbox mounted into an axum application, and a store that can be made to fail.

mod body;

mod flaky;

mod mounted;

pub use self::body::{Chunks, Dribble};
pub use self::flaky::FlakyStore;
pub use self::mounted::{Answer, Mounted, SECRET};

use mpesa_callbacks_conformance::fixtures;

/// A push that was paid: receipt `NLJ7RT61SV`, KES 100, `CheckoutRequestID` `ws_CO_191220191020363925`.
pub fn paid_push() -> Vec<u8> {
    fixtures::body("stk/success-amount-100.00.json")
}

/// The C2B confirmation of the same payment.
pub fn its_twin() -> Vec<u8> {
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
