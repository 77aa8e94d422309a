//! The core trait: the user's methods as one object.

use super::args::{HandlerArgs, HandlerFuture, HookFuture, ValidationFuture};
use super::context::CallbackContext;
use super::results::HandlerError;
use super::routes::Routes;
use crate::Kind;
use crate::payload::{
    B2bExpressCallback, B2bResult, B2cResult, BalanceResult, BillManagerPayment, C2bConfirmation, C2bValidation,
    Callback, CustomCallback, Expectation, LipiaCallback, Payment, QueueTimeout, RatibaCallback, ReversalResult,
    StatusResult, StkCallback, TaxResult, kinds,
};
use crate::transactor::NoTx;

/// The method of a kind. A validation is decided by a method of its own.
macro_rules! method {
    (Validation $($rest:tt)*) => {};
    ($class:ident $method:ident($payload:ident) $(#[$documentation:meta])*) => {
        $(#[$documentation])*
        ///
        /// Runs in the background after the acknowledgement. An error means: retry later, until the
        /// attempts are used up. The future may be dropped at any `await` when it exceeds its
        /// timeout or the process shuts down; the callback is then handled again.
        fn $method<'a>(&'a self, payload: $payload, call: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
            let _ = payload;
            unhandled(call.ctx)
        }
    };
}

/// Calls the method of a kind. Validations are decided while M-Pesa waits, and recorded as done.
macro_rules! call {
    (Validation $handler:ident.$method:ident($payload:ident, $call:ident)) => {{
        let _ = $payload;
        Box::pin(async { Ok(()) })
    }};
    ($class:ident $handler:ident.$method:ident($payload:ident, $call:ident)) => {
        $handler.$method($payload, $call)
    };
}

macro_rules! handlers {
    ($(
        $(#[$documentation:meta])*
        $kind:ident | $class:ident | $method:ident($payload:ident) | $path:tt | $ack:ident | $counterpart:tt;
    )*) => {
        /// A handler for each kind of callback. `#[mpesa_callbacks]` implements it for an `impl`
        /// block; this is how to implement it by hand.
        ///
        /// Return the handled kinds from [`routes`](MpesaCallbacks::routes) and implement their
        /// methods; the others are never called. `Tx` is the transaction type of the transactor.
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
            /// Returns the handled kinds with their paths and options.
            fn routes(&self) -> Routes;

            /// Returns the name of the inbox, unless the [builder](crate::InboxBuilder::name) sets
            /// one. `#[mpesa_callbacks]` returns package and type, `shop/Shop`.
            fn name(&self) -> String {
                "inbox".to_owned()
            }

            $(method!($class $method($payload) $(#[$documentation])*);)*

            /// A callback of your own; [`CallbackContext::kind`] is the custom kind. Runs
            /// like the others.
            fn callback<'a>(&'a self, payload: CustomCallback, call: HandlerArgs<'a, Tx>) -> HandlerFuture<'a> {
                let _ = payload;
                unhandled(call.ctx)
            }

            /// Decides whether a payment is welcome. Runs while M-Pesa waits, with the route's
            /// timeout.
            fn c2b_validation<'a>(&'a self, request: C2bValidation, ctx: &'a CallbackContext) -> ValidationFuture<'a> {
                let _ = request;
                let kind = ctx.kind().clone();
                Box::pin(async move { Err(HandlerError::unhandled(&kind)) })
            }

            /// Called once, after the acknowledgement of a duplicate (same bytes). Nothing needs to
            /// be done.
            fn on_duplicate<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }

            /// Called once when a callback is held: it contradicts an earlier callback or an
            /// expectation, or it reports money from which no payment can be made.
            /// [`CallbackContext::error`] contains the reason.
            fn on_conflict<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }

            /// Called once when a body cannot be parsed and is quarantined.
            /// [`CallbackContext::error`] contains the reason, and the kind that the body looks
            /// like.
            fn on_quarantine<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }

            /// Called once when a callback is dead: its last attempt failed.
            /// [`CallbackContext::error`] contains the reason.
            fn on_dead<'a>(&'a self, ctx: &'a CallbackContext) -> HookFuture<'a> {
                nothing(ctx)
            }
        }

        /// Calls the method of the callback's kind.
        pub(crate) fn dispatch<'a, H, Tx>(
            handler: &'a H,
            callback: Callback,
            call: HandlerArgs<'a, Tx>,
        ) -> HandlerFuture<'a>
        where
            H: MpesaCallbacks<Tx>,
            Tx: Send,
        {
            match call.ctx.kind() {
                $(Kind::$kind => match <$payload>::try_from(callback) {
                    Ok(payload) => call!($class handler.$method(payload, call)),
                    Err(_) => unhandled(call.ctx),
                },)*
                _ => match CustomCallback::try_from(callback) {
                    Ok(payload) => handler.callback(payload, call),
                    Err(_) => unhandled(call.ctx),
                },
            }
        }
    };
}

kinds!(handlers);

/// Implemented once per type with an `#[mpesa_callbacks]` block, so that two blocks of one type
/// collide.
#[doc(hidden)]
pub trait Marked {}

/// Returns the result of a handler that is not implemented.
#[doc(hidden)]
pub fn unhandled(ctx: &CallbackContext) -> HandlerFuture<'_> {
    let error = HandlerError::unhandled(ctx.kind());
    Box::pin(async move { Err(error) })
}

/// Returns the default name of an inbox.
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
