//! A handler set for everything, that does nothing.

use mpesa_callbacks_core::payload::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    CustomCallback, LipiaCallback, Payment, QueueTimeout, RatibaCallback, ReversalResult, Sensitive, StatusResult,
    StkCallback, TaxResult,
};
use mpesa_callbacks_core::{
    CallbackContext, HandlerArgs, HandlerFuture, Kind, MpesaCallbacks, Rejection, Route, Routes, Validation,
    ValidationFuture,
};

use crate::fixtures::PAYHERO;

pub(super) struct Everything;

macro_rules! handle {
    ($($method:ident($payload:ty))*) => {
        $(
            fn $method<'a>(&'a self, _: $payload, _: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
                Box::pin(async { Ok(()) })
            }
        )*
    };
}

impl<Tx: Send> MpesaCallbacks<Tx> for Everything {
    fn routes(&self) -> Routes {
        let routes = Kind::built_in().map(Route::new).fold(Routes::new(), Routes::with);
        routes.with(Route::custom(PAYHERO.0, PAYHERO.1).ack_body("thanks"))
    }

    fn c2b_validation<'a>(&'a self, request: C2bValidation, _: &'a CallbackContext) -> ValidationFuture<'a> {
        let account = request.bill_ref_number.map(Sensitive::into_string).unwrap_or_default();
        let is_known = account == "account";
        Box::pin(async move {
            if account == "slow" {
                tokio::time::sleep(super::SLOW).await;
            }
            Ok(if is_known { Validation::accept() } else { Validation::reject(Rejection::InvalidAccountNumber) })
        })
    }

    handle! {
        stk(StkCallback) c2b_confirmation(C2bConfirmation)
        b2c_result(B2cResult) b2c_timeout(QueueTimeout) b2b_result(B2bResult) b2b_timeout(QueueTimeout)
        tax_result(TaxResult) tax_timeout(QueueTimeout) status_result(StatusResult) status_timeout(QueueTimeout)
        balance_result(BalanceResult) balance_timeout(QueueTimeout) reversal_result(ReversalResult)
        reversal_timeout(QueueTimeout) b2b_express(B2bExpressCallback) ratiba(RatibaCallback)
        bill_manager(BillManagerPayment) payment(Payment) lipia(LipiaCallback) callback(CustomCallback)
    }
}
