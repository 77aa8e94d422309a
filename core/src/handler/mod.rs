//! Handlers of the application: the trait, its arguments and results,
//! routes, hooks, permits.

mod args;
mod callbacks;
mod context;
mod hooks;
mod permits;
mod results;
mod routes;
mod transactional;
mod validation;

pub use self::args::{HandlerArgs, HandlerFuture, HookFuture, ValidationFuture};
pub use self::callbacks::{Marked, MpesaCallbacks, inbox_name, unhandled};
pub use self::context::CallbackContext;
pub(crate) use self::context::InboxHandle;
pub(crate) use self::hooks::Hooks;
pub(crate) use self::permits::{Free, HandlerPermit, Permits};
pub use self::results::{HandlerError, IntoHandlerResult, IntoValidationResult};
pub use self::routes::{Route, RouteError, Routes};
pub(crate) use self::transactional::{Failure, Handle, Hook, NOT_BOOKED_YET, WithTransactor};
pub use self::validation::{Fallback, Rejection, Validation};
