//! Arguments and return types of the methods of the trait.

use std::future::Future;
use std::pin::Pin;

use super::context::CallbackContext;
use super::results::HandlerError;
use super::validation::Validation;

/// The future of a handler.
pub type HandlerFuture<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

/// The future of a validation handler.
pub type ValidationFuture<'a> = Pin<Box<dyn Future<Output = Result<Validation, HandlerError>> + Send + 'a>>;

/// The future of a hook.
pub type HookFuture<'a> = Pin<Box<dyn Future<Output = ()> + Send + 'a>>;

/// Arguments of a handler beside its payload.
#[derive(Debug)]
#[non_exhaustive]
pub struct HandlerArgs<'a, Tx> {
    /// Id, key, attempt, reference and more.
    pub ctx: &'a CallbackContext,
    /// Transaction of your application's database, if the route is
    /// [`transactional`](crate::Route::transactional).
    pub tx: Option<&'a mut Tx>,
}

impl<'a, Tx> HandlerArgs<'a, Tx> {
    pub(crate) fn new(ctx: &'a CallbackContext, tx: Option<&'a mut Tx>) -> HandlerArgs<'a, Tx> {
        HandlerArgs { ctx, tx }
    }

    /// Returns the transaction.
    ///
    /// # Errors
    /// When the route is not [`transactional`](crate::Route::transactional).
    pub fn into_tx(self) -> Result<&'a mut Tx, HandlerError> {
        self.tx.ok_or_else(|| HandlerError::new("the route is not transactional"))
    }
}
