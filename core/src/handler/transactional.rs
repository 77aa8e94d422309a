//! From a callback to the user's method, and the transaction around it.

use std::time::Duration;

use async_trait::async_trait;
use tokio::time::timeout;

use super::args::{HandlerArgs, HookFuture};
use super::callbacks::{MpesaCallbacks, dispatch};
use super::context::CallbackContext;
use super::results::HandlerError;
use super::validation::Validation;
use crate::error_chain::error_chain;
use crate::payload::{C2bValidation, Callback};
use crate::transactor::{BeginOutcome, IdempotencyKeys, PaymentRole, Transactor, TransactorError};

/// Limit for preparing a transactor, which may create a table.
const PREPARE_TIMEOUT: Duration = Duration::from_secs(60);

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
    /// The callback is left to a release with `#[payment]`, for this reason.
    Elsewhere(&'static str),
}

/// `#[payment]` of another release has handled the payment, and its process ended before it stored that.
const BOOKED: &str =
    "a release with `#[payment]` has booked its payment and did not finish: run it again, or dismiss this callback";

/// Another release has handled the callback without its money, which is left to `#[payment]` there.
pub(crate) const NOT_BOOKED_YET: &str = "a release with `#[payment]` has handled this callback and not booked its payment: run \
                              it again, or book the payment and dismiss this callback";

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
                if self.is_left_open(&keys.payment).await? {
                    return Err(Failure::Elsewhere(NOT_BOOKED_YET));
                }
                tracing::info!(callback = %ctx.id(), "already applied; its result is stored now");
                return Ok(());
            }
        };
        match accounts_for(&self.transactor, &mut tx, &keys.payment).await {
            Ok(true) => {}
            Ok(false) => {
                self.roll_back(tx).await;
                return Err(Failure::Elsewhere(BOOKED));
            }
            Err(error) => {
                self.roll_back(tx).await;
                return Err(Failure::Transactor(error));
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
        // A server that loses its power after the connection was made never answers, and the inbox would
        // not start.
        match timeout(PREPARE_TIMEOUT, self.transactor.prepare()).await {
            Ok(prepared) => prepared,
            Err(_) => {
                let cause = format!("its database did not answer within {PREPARE_TIMEOUT:?}");
                Err(TransactorError::Unavailable(cause.into()))
            }
        }
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
    /// Whether the callback would be settled together with a payment that nothing has handled. Its handler has run in
    /// another release, which leaves the money to `#[payment]`, and ended before that.
    async fn is_left_open(&self, role: &PaymentRole) -> Result<bool, Failure> {
        let (PaymentRole::AccountsFor(keys) | PaymentRole::AccountsAgain(keys)) = role else { return Ok(false) };
        if !keys.is_open {
            return Ok(false);
        }
        match self.transactor.begin(&keys.payment).await.map_err(Failure::Transactor)? {
            BeginOutcome::New(tx) => {
                self.roll_back(tx).await;
                Ok(true)
            }
            BeginOutcome::AlreadyApplied => Ok(false),
        }
    }

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
    role: &PaymentRole,
) -> Result<bool, TransactorError> {
    let (PaymentRole::AccountsFor(keys) | PaymentRole::AccountsAgain(keys)) = role else { return Ok(true) };
    if transactor.add_key(tx, &keys.payment).await? {
        transactor.add_key(tx, &keys.by_callbacks).await?;
        return Ok(true);
    }
    // Its other callback accounts for it, too, or `#[payment]` does: then nothing is committed here.
    Ok(matches!(role, PaymentRole::AccountsAgain(_)) || !transactor.add_key(tx, &keys.by_callbacks).await?)
}
