//! The typed payloads as one enum.

use crate::payload::Payload;
use crate::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    CustomCallback, Expectation, LipiaCallback, Outcome, Payment, QueueTimeout, RatibaCallback, ReversalResult,
    StatusResult, StkCallback, TaxResult,
};

macro_rules! payloads {
    ($($(#[$documentation:meta])* $variant:ident($payload:ident),)*) => {
        /// The payload of a callback as its type.
        ///
        /// Match on it, or convert it into one type with `TryFrom`: a callback
        /// of another kind comes back unchanged as the error.
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
    /// Payload of `stk`: the result of an M-Pesa Express push.
    Stk(StkCallback),
    /// Payload of `c2b_validation`: a payment that M-Pesa asks about before it
    /// is made.
    C2bValidation(C2bValidation),
    /// Payload of `c2b_confirmation`: a payment to a pay bill or till.
    C2bConfirmation(C2bConfirmation),
    /// Payload of `b2c_result`: the result of a payment to a customer.
    B2cResult(B2cResult),
    /// Payload of `b2b_result`: the result of a payment to a business.
    B2bResult(B2bResult),
    /// Payload of `tax_result`: the result of a tax remittance.
    TaxResult(TaxResult),
    /// Payload of `status_result`: the result of a transaction status query.
    StatusResult(StatusResult),
    /// Payload of `balance_result`: the result of an account balance query.
    BalanceResult(BalanceResult),
    /// Payload of `reversal_result`: the result of a reversal.
    ReversalResult(ReversalResult),
    /// Payload of the `…_timeout` kinds.
    QueueTimeout(QueueTimeout),
    /// Payload of `b2b_express`: the result of a push to the till of another
    /// merchant.
    B2bExpress(B2bExpressCallback),
    /// Payload of `ratiba`: the result of a standing order, or a deduction
    /// under one.
    Ratiba(RatibaCallback),
    /// Payload of `bill_manager`: the payment of an invoice.
    BillManager(BillManagerPayment),
    /// Payload of `payment` and `payment_completed`.
    Payment(Payment),
    /// Payload of `lipia`: the result of a push through the aggregator Lipia.
    Lipia(LipiaCallback),
    /// Payload of `overdue`: an expectation without a callback in time.
    Expectation(Expectation),
    /// Payload of a custom kind, `callback(path = "…", key = "…")`.
    Custom(CustomCallback),
}

impl Callback {
    /// Returns the outcome of the transaction; `None` for validations, which come before it, and for
    /// custom kinds.
    pub fn outcome(&self) -> Option<Outcome> {
        self.payload().outcome()
    }
}
