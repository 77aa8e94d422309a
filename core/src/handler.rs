//! The user's methods, seen as one object: the core trait.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::context::CallbackContext;
use crate::kind::Kind;
use crate::payload::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    CustomCallback, Expectation, LipiaCallback, Payment, QueueTimeout, RatibaCallback, ReversalResult, StatusResult,
    StkCallback, TaxResult,
};
use crate::routes::Routes;
use crate::store::Cause;
use crate::transactor::NoTx;
use crate::validation::Validation;

/// A handler's work.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

/// A validation handler's work.
pub type ValidationFuture<'a> = Pin<Box<dyn Future<Output = Result<Validation, HandlerError>> + Send + 'a>>;

/// A hook's work.
pub type HookFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// What a handler is called with beside its payload.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerArgs<'a, Tx> {
    /// Which callback it is, which attempt, and so on.
    pub ctx: &'a CallbackContext,
    /// The transaction of the application's database; there when the route [asks for it](crate::Route::transactional).
    pub tx: Option<&'a mut Tx>,
}

impl<'a, Tx> HandlerArgs<'a, Tx> {
    pub(crate) fn new(ctx: &'a CallbackContext, tx: Option<&'a mut Tx>) -> HandlerArgs<'a, Tx> {
        HandlerArgs { ctx, tx }
    }

    /// The transaction, or an error that says why there is none.
    ///
    /// # Errors
    /// When the route does not say [`transactional`](crate::Route::transactional).
    pub fn into_tx(self) -> Result<&'a mut Tx, HandlerError> {
        self.tx.ok_or_else(|| HandlerError::new("the route is not transactional"))
    }
}

macro_rules! handlers {
    ($($(#[$documentation:meta])* $method:ident($payload:ty);)*) => {
        /// A handler for each kind of callback. `#[mpesa_callbacks]` on an `impl` block writes it; here is how to by hand.
        ///
        /// Say in [`routes`](MpesaCallbacks::routes) which kinds are handled, and write those methods; the others are
        /// never called. `Tx` is the transaction type of the transactor, for handlers that take one.
        ///
        /// ```
        /// use mpesa_callbacks_core::payload::StkCallback;
        /// use mpesa_callbacks_core::{HandlerArgs, HandlerFuture, Kind, MpesaCallbacks, Route, Routes};
        ///
        /// struct Shop;
        ///
        /// impl<Tx: Send> MpesaCallbacks<Tx> for Shop {
        ///     fn routes(&self) -> Routes {
        ///         Routes::new().with(Route::new(Kind::Stk).max_retries(5))
        ///     }
        ///
        ///     fn stk<'a>(&'a self, callback: StkCallback, call: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
        ///         Box::pin(async move {
        ///             println!("attempt {}: {:?}", call.ctx.attempt(), callback.outcome());
        ///             Ok(())
        ///         })
        ///     }
        /// }
        /// ```
        #[diagnostic::on_unimplemented(
            message = "`{Self}` does not handle M-Pesa callbacks with transactions of type `{Tx}`",
            label = "not a handler set for this inbox",
            note = "put `#[mpesa_callbacks]` on an `impl` block of `{Self}`",
            note = "when one of its handlers takes a `tx`, give the inbox a transactor of that transaction: `.transactor(…)`"
        )]
        pub trait MpesaCallbacks<Tx: Send = NoTx>: Send + Sync {
            /// Which kinds are handled, where, and how.
            fn routes(&self) -> Routes;

            /// The inbox's name, unless the [builder](crate::InboxBuilder::name) says another: its store belongs to it.
            /// `#[mpesa_callbacks]` makes one of the package's name and the type's.
            fn name(&self) -> String {
                "inbox".to_owned()
            }

            $(
                $(#[$documentation])*
                ///
                /// Runs in the background, after the callback was recorded and acknowledged. When it fails, it runs
                /// again after a while, until its attempts are used up. It may be dropped at any `await` when it
                /// overruns or the process shuts down; the callback is then handled again.
                fn $method<'a>(&'a self, payload: $payload, call: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
                    let _ = payload;
                    unhandled(call.ctx)
                }
            )*

            /// M-Pesa asks whether a payment is welcome. Runs while M-Pesa waits, under the route's deadline.
            fn c2b_validation<'a>(&'a self, request: C2bValidation, ctx: &'a CallbackContext) -> ValidationFuture<'a> {
                let _ = request;
                let kind = ctx.kind().clone();
                Box::pin(async move { Err(HandlerError::unhandled(&kind)) })
            }

            /// The same bytes came again. Nothing needs to be done; it is told once, after the acknowledgement.
            fn on_duplicate<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }

            /// A callback is held, and waits for a person: it contradicts one of the same key, or what was expected, or it tells
            /// of money in a way that no payment can be made of. The reading side shows it; it is told once, after the
            /// acknowledgement. [`CallbackContext::error`] says why.
            fn on_conflict<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }

            /// A body came that cannot be read. It is kept as it came, and shown by the reading side; it is told once, after the
            /// acknowledgement. [`CallbackContext::error`] says why, and which kind it looks like.
            fn on_quarantine<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }

            /// A callback failed for the last time. The reading side shows it; it is told once. [`CallbackContext::error`] says why.
            fn on_dead<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }
        }
    };
}

handlers! {
    /// What became of an M-Pesa Express push.
    stk(StkCallback);
    /// A customer paid.
    c2b_confirmation(C2bConfirmation);
    /// What became of a payment to a customer.
    b2c_result(B2cResult);
    /// A payment to a customer got stuck; its outcome is unknown.
    b2c_timeout(QueueTimeout);
    /// What became of a payment to a business.
    b2b_result(B2bResult);
    /// A payment to a business got stuck; its outcome is unknown.
    b2b_timeout(QueueTimeout);
    /// What became of a tax remittance.
    tax_result(TaxResult);
    /// A tax remittance got stuck; its outcome is unknown.
    tax_timeout(QueueTimeout);
    /// The answer to a transaction status query.
    status_result(StatusResult);
    /// A transaction status query got stuck.
    status_timeout(QueueTimeout);
    /// The answer to an account balance query.
    balance_result(BalanceResult);
    /// An account balance query got stuck.
    balance_timeout(QueueTimeout);
    /// What became of a reversal.
    reversal_result(ReversalResult);
    /// A reversal got stuck; its outcome is unknown.
    reversal_timeout(QueueTimeout);
    /// What became of a USSD push to another merchant's till.
    b2b_express(B2bExpressCallback);
    /// A standing order was created, or was not.
    ratiba(RatibaCallback);
    /// An invoice of Bill Manager was paid.
    bill_manager(BillManagerPayment);
    /// Money came in; once per receipt, whichever callbacks told of it.
    payment(Payment);
    /// A payment that was handled without its reference, because the callback that told of it first has none: its reference is
    /// known now. The payment was told before, and is not told again.
    payment_completed(Payment);
    /// An STK outcome from Lipia.
    lipia(LipiaCallback);
    /// No callback came in time: ask M-Pesa's query API, and feed what it tells to [`Inbox::reconcile`](crate::Inbox::reconcile),
    /// here or once the answer comes. Runs again, after as long as it was given or longer, until there is an answer.
    overdue(Expectation);
    /// A callback of the application's own; [`CallbackContext::kind`] says which.
    callback(CustomCallback);
}

/// Of every type with a block that `#[mpesa_callbacks]` marks; once, so that two blocks of one type collide.
#[doc(hidden)]
pub trait Marked {}

/// The answer of a handler that is not there.
#[doc(hidden)]
pub fn unhandled(ctx: &CallbackContext) -> HandlerFuture<'_> {
    let error = HandlerError::unhandled(ctx.kind());
    Box::pin(async move { Err(error) })
}

/// The name of an inbox of this package's, with handlers of this type.
#[doc(hidden)]
pub fn inbox_name(package: Option<&str>, handlers: &str) -> String {
    match package {
        Some(package) => format!("{package}/{handlers}"),
        None => handlers.to_owned(),
    }
}

fn nothing(_: &CallbackContext) -> HookFuture<'_> {
    Box::pin(async {})
}

/// Why a handler failed, in the handler's own words. They may name people; the library keeps them in the store, for the
/// reading side, and out of its logs.
pub struct HandlerError(Cause);

impl HandlerError {
    /// With this cause.
    pub fn new(cause: impl Into<Cause>) -> HandlerError {
        HandlerError(cause.into())
    }

    fn unhandled(kind: &Kind) -> HandlerError {
        HandlerError::new(format!("the routes promise a handler for {kind}, and there is none"))
    }

    /// The cause.
    pub fn into_cause(self) -> Cause {
        self.0
    }

    /// The cause and its causes, in one line.
    pub(crate) fn chain(&self) -> String {
        let mut text = self.0.to_string();
        let mut cause: Option<&dyn Error> = self.0.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }
}

/// So that `?` works in handlers written by hand.
impl<E: Error + Send + Sync + 'static> From<E> for HandlerError {
    fn from(error: E) -> HandlerError {
        HandlerError::new(error)
    }
}

impl fmt::Debug for HandlerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HandlerError(…)")
    }
}

/// What a handler may return: nothing, or a `Result` of nothing.
#[diagnostic::on_unimplemented(
    message = "a callback handler returns `()` or `Result<(), E>`, not `{Self}`",
    note = "`E` is any error that converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait IntoHandlerResult {
    /// The result as the engine takes it.
    fn into_handled(self) -> Result<(), HandlerError>;
}

impl IntoHandlerResult for () {
    fn into_handled(self) -> Result<(), HandlerError> {
        Ok(())
    }
}

impl<E: Into<Cause>> IntoHandlerResult for Result<(), E> {
    fn into_handled(self) -> Result<(), HandlerError> {
        self.map_err(HandlerError::new)
    }
}

/// What a validation handler may return: a [`Validation`], or a `Result` of one.
#[diagnostic::on_unimplemented(
    message = "a `c2b_validation` handler returns `Validation` or `Result<Validation, E>`, not `{Self}`",
    note = "`E` is any error that converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait IntoValidationResult {
    /// The result as the engine takes it.
    fn into_decided(self) -> Result<Validation, HandlerError>;
}

impl IntoValidationResult for Validation {
    fn into_decided(self) -> Result<Validation, HandlerError> {
        Ok(self)
    }
}

impl<E: Into<Cause>> IntoValidationResult for Result<Validation, E> {
    fn into_decided(self) -> Result<Validation, HandlerError> {
        self.map_err(HandlerError::new)
    }
}
