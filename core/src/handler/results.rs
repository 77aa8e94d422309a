//! Return types of handlers, and the error that they become.

use std::error::Error;
use std::fmt;

use super::validation::Validation;
use crate::Kind;
use crate::store::Cause;

/// Why a handler failed. The text may contain personal data: it is stored, and logged only in the
/// sandbox.
///
/// It does not implement [`Error`] itself, so that every error converts into it with `?`.
pub struct HandlerError(Cause);

impl HandlerError {
    /// Wraps the cause: any error, or a text.
    pub fn new(cause: impl Into<Cause>) -> HandlerError {
        HandlerError(cause.into())
    }

    pub(super) fn unhandled(kind: &Kind) -> HandlerError {
        HandlerError::new(format!("the routes promise a handler for {kind}, and there is none"))
    }

    /// Returns the cause that was wrapped.
    pub fn into_cause(self) -> Cause {
        self.0
    }

    /// Returns the cause and its sources on one line.
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

/// For `?` in handlers that are written by hand.
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

/// A return type of a handler: `()` or `Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "a callback handler returns `()` or `Result<(), E>`, not `{Self}`",
    note = "`E` is any error that converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait IntoHandlerResult {
    /// Converts the value that the method returned.
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

/// A return type of a validation handler: [`Validation`] or `Result<Validation, E>`.
#[diagnostic::on_unimplemented(
    message = "a `c2b_validation` handler returns `Validation` or `Result<Validation, E>`, not `{Self}`",
    note = "`E` is any error that converts into `Box<dyn Error + Send + Sync>`"
)]
pub trait IntoValidationResult {
    /// Converts the value that the method returned.
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
