//! The typed payloads as one enum.

use crate::payload::Payload;
use crate::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    CustomCallback, Expectation, LipiaCallback, Outcome, Payment, QueueTimeout, RatibaCallback, ReversalResult,
    StatusResult, StkCallback, TaxResult,
};

macro_rules! payloads {
    ($($(#[$documentation:meta])* $variant:ident($payload:ident),)*) => {
        /// A typed payload.
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub enum Callback {
            $($(#[$documentation])* $variant($payload),)*
        }

        impl Callback {
            pub(crate) fn payload(&self) -> &dyn Payload {
                match self {
                    $(Callback::$variant(payload) => payload,)*
                }
            }
        }

        $(
            impl From<$payload> for Callback {
                fn from(payload: $payload) -> Callback {
                    Callback::$variant(payload)
                }
            }

            /// Fails with the callback itself, if it is another payload.
            impl TryFrom<Callback> for $payload {
                type Error = Callback;

                fn try_from(callback: Callback) -> Result<$payload, Callback> {
                    match callback {
                        Callback::$variant(payload) => Ok(payload),
                        other => Err(other),
                    }
                }
            }
        )*
    };
}

payloads! {
    /// Payload of `stk`.
    Stk(StkCallback),
    /// Payload of `c2b_validation`.
    C2bValidation(C2bValidation),
    /// Payload of `c2b_confirmation`.
    C2bConfirmation(C2bConfirmation),
    /// Payload of `b2c_result`.
    B2cResult(B2cResult),
    /// Payload of `b2b_result`.
    B2bResult(B2bResult),
    /// Payload of `tax_result`.
    TaxResult(TaxResult),
    /// Payload of `status_result`.
    StatusResult(StatusResult),
    /// Payload of `balance_result`.
    BalanceResult(BalanceResult),
    /// Payload of `reversal_result`.
    ReversalResult(ReversalResult),
    /// Payload of the `…_timeout` kinds.
    QueueTimeout(QueueTimeout),
    /// Payload of `b2b_express`.
    B2bExpress(B2bExpressCallback),
    /// Payload of `ratiba`.
    Ratiba(RatibaCallback),
    /// Payload of `bill_manager`.
    BillManager(BillManagerPayment),
    /// Payload of `payment` and `payment_completed`.
    Payment(Payment),
    /// Payload of `lipia`.
    Lipia(LipiaCallback),
    /// Payload of `overdue`.
    Expectation(Expectation),
    /// Payload of a custom kind, `callback(path = "…", key = "…")`.
    Custom(CustomCallback),
}

impl Callback {
    /// Outcome of the transaction; `None` for validations, which come before it, and for custom
    /// kinds.
    pub fn outcome(&self) -> Option<Outcome> {
        self.payload().outcome()
    }
}
