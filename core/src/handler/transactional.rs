//! From a callback to the user's method, and the transaction around it.

use async_trait::async_trait;

use super::args::{HandlerArgs, HookFuture};
use super::callbacks::{MpesaCallbacks, dispatch};
use super::context::CallbackContext;
use super::results::HandlerError;
use super::validation::Validation;
use crate::error_chain::error_chain;
use crate::payload::{C2bValidation, Callback};
use crate::transactor::{BeginOutcome, IdempotencyKeys, PaymentKeys, Transactor, TransactorError};

/// The hook to call.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Hook {
    /// Calls `on_duplicate`: the same bytes arrived again.
    Duplicate,
    /// Calls `on_conflict`: a callback is held.
    Conflict,
    /// Calls `on_dead`: the last attempt failed.
    Dead,
    /// Calls `on_quarantine`: a body cannot be parsed.
    Quarantine,
}

/// Handlers and transactor as one trait object.
#[async_trait]
pub(crate) trait Handle: Send + Sync + 'static {
    async fn handle(
        &self,
        callback: Callback,
        ctx: &CallbackContext,
        keys: Option<IdempotencyKeys>,
    ) -> Result<(), Failure>;
    async fn decide(&self, request: C2bValidation, ctx: &CallbackContext) -> Result<Validation, HandlerError>;
    async fn call_hook(&self, hook: Hook, ctx: &CallbackContext);
    async fn prepare(&self) -> Result<(), TransactorError>;
}

pub(crate) enum Failure {
    Handler(HandlerError),
    Transactor(TransactorError),
}

pub(crate) struct WithTransactor<H, L> {
    pub(crate) handler: H,
    pub(crate) transactor: L,
}

#[async_trait]
impl<H, L> Handle for WithTransactor<H, L>
where
    H: MpesaCallbacks<L::Tx> + 'static,
    L: Transactor,
{
    async fn handle(
        &self,
        callback: Callback,
        ctx: &CallbackContext,
        keys: Option<IdempotencyKeys>,
    ) -> Result<(), Failure> {
        let Some(keys) = keys else {
            return dispatch(&self.handler, callback, HandlerArgs::new(ctx, None)).await.map_err(Failure::Handler);
        };
        let mut tx = match self.transactor.begin(&keys.callback).await.map_err(Failure::Transactor)? {
            BeginOutcome::New(tx) => tx,
            BeginOutcome::AlreadyApplied => {
                tracing::info!(callback = %ctx.id(), "already applied; its result is stored now");
                return Ok(());
            }
        };
        if let Some(payment) = &keys.payment {
            match accounts_for(&self.transactor, &mut tx, payment).await {
                Ok(true) => {}
                Ok(false) => {
                    tracing::info!(callback = %ctx.id(), "its payment was already applied; its result is stored now");
                    self.roll_back(tx).await;
                    return Ok(());
                }
                Err(error) => {
                    self.roll_back(tx).await;
                    return Err(Failure::Transactor(error));
                }
            }
        }
        for key in &keys.completed {
            if let Err(error) = self.transactor.add_key(&mut tx, key).await {
                self.roll_back(tx).await;
                return Err(Failure::Transactor(error));
            }
        }
        match dispatch(&self.handler, callback, HandlerArgs::new(ctx, Some(&mut tx))).await {
            Ok(()) => match self.transactor.commit(tx).await {
                Ok(()) => Ok(()),
                Err(TransactorError::Refused(cause)) => Err(Failure::Handler(HandlerError::new(cause))),
                Err(error) => Err(Failure::Transactor(error)),
            },
            Err(error) => {
                self.roll_back(tx).await;
                Err(Failure::Handler(error))
            }
        }
    }

    async fn prepare(&self) -> Result<(), TransactorError> {
        self.transactor.prepare().await
    }

    async fn decide(&self, request: C2bValidation, ctx: &CallbackContext) -> Result<Validation, HandlerError> {
        self.handler.c2b_validation(request, ctx).await
    }

    async fn call_hook(&self, hook: Hook, ctx: &CallbackContext) {
        let calling: HookFuture<'_> = match hook {
            Hook::Duplicate => self.handler.on_duplicate(ctx),
            Hook::Conflict => self.handler.on_conflict(ctx),
            Hook::Dead => self.handler.on_dead(ctx),
            Hook::Quarantine => self.handler.on_quarantine(ctx),
        };
        calling.await;
    }
}

impl<H, L: Transactor> WithTransactor<H, L> {
    async fn roll_back(&self, tx: L::Tx) {
        if let Err(error) = self.transactor.rollback(tx).await {
            tracing::warn!(cause = error_chain(&error), "cannot roll back; the database does when the connection ends");
        }
    }
}

/// Marks a payment as handled together with its callback; `false` when `#[payment]` has handled it.
async fn accounts_for<L: Transactor>(
    transactor: &L,
    tx: &mut L::Tx,
    payment: &PaymentKeys,
) -> Result<bool, TransactorError> {
    let is_theirs = !transactor.add_key(tx, &payment.by_callbacks).await?;
    Ok(transactor.add_key(tx, &payment.payment).await? || is_theirs)
}
