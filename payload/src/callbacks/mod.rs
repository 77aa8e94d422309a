//! One file per payload.

mod b2b_express;
mod bill_manager;
mod c2b;
mod custom;
mod expectation;
mod lipia;
mod payment;
mod ratiba;
mod reconciliation;
mod result;
mod stk;
mod timeout;

pub use self::b2b_express::B2bExpressCallback;
pub use self::bill_manager::BillManagerPayment;
pub use self::c2b::{C2bConfirmation, C2bValidation};
pub use self::custom::CustomCallback;
pub use self::expectation::Expectation;
pub use self::lipia::LipiaCallback;
pub use self::payment::Payment;
pub use self::ratiba::RatibaCallback;
pub use self::reconciliation::Reconciliation;
pub use self::result::{B2bResult, B2cResult, BalanceResult, ResultHeader, ReversalResult, StatusResult, TaxResult};
pub use self::stk::StkCallback;
pub use self::timeout::QueueTimeout;
pub(crate) use self::timeout::is_timeout;

/// Payloads serialise as their original JSON, compacted.
macro_rules! serialize_as_sent {
    ($($payload:ident)+) => {$(
        impl serde::Serialize for $payload {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.raw.serialize(serializer)
            }
        }
    )+};
}

serialize_as_sent! {
    StkCallback C2bConfirmation C2bValidation B2cResult B2bResult TaxResult StatusResult BalanceResult ReversalResult
    QueueTimeout B2bExpressCallback RatibaCallback BillManagerPayment LipiaCallback CustomCallback
}
