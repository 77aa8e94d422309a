//! The kinds that an application handles, with their paths and options.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use super::validation::{Fallback, Validation};
use crate::access::forbidden_word;
use crate::payload::{AckBody, CustomCallback, Kind, ParseError};

/// Checks that a body can be deserialised into the handler's type.
type Check = fn(&CustomCallback) -> Result<(), ParseError>;

/// Path and options of one kind.
#[derive(Clone)]
pub struct Route {
    pub(crate) kind: Kind,
    pub(crate) path: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) fallback: Validation,
    pub(crate) transactional: bool,
    pub(crate) ack_body: AckBody,
    /// Has no handler; mounted only for the payments that it reports.
    pub(crate) implied: bool,
    /// Checks a custom body against the handler's type.
    pub(crate) check: Option<Check>,
}

impl Route {
    /// Returns a built-in kind at its default path.
    pub fn new(kind: Kind) -> Route {
        Route {
            path: kind.default_path().map(str::to_owned),
            ack_body: kind.ack_body(),
            kind,
            key: None,
            max_retries: None,
            timeout: None,
            fallback: Validation::accept(),
            transactional: false,
            implied: false,
            check: None,
        }
    }

    /// Returns a callback of your own: its path below the secret, and the JSON pointer to its
    /// idempotency key.
    pub fn custom(path: &str, key: &str) -> Route {
        let mut route = Route::new(Kind::custom(path));
        route.path = Some(path.to_owned());
        route.key = Some(key.to_owned());
        route
    }

    /// Sets another path below the secret. The name of a custom kind stays the same.
    #[must_use]
    pub fn path(mut self, path: &str) -> Route {
        self.path = Some(path.to_owned());
        self
    }

    /// Sets how often a failed handler is retried. Default: the inbox's `max_retries`.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> Route {
        self.max_retries = Some(max_retries);
        self
    }

    /// Sets the timeout of the handler. Default: the inbox's `handler_timeout`.
    ///
    /// For a validation: when the response must have been sent. Default: 3 s; at most 8 s, because
    /// M-Pesa does not wait longer.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Route {
        self.timeout = Some(timeout);
        self
    }

    /// The answer of a validation whose handler fails or exceeds its timeout. Default: [`Fallback::Accept`].
    #[must_use]
    pub fn fallback(mut self, fallback: Fallback) -> Route {
        self.fallback = fallback.into();
        self
    }

    /// Runs the handler in a transaction of your application's database. Default: without.
    #[must_use]
    pub fn transactional(mut self) -> Route {
        self.transactional = true;
        self
    }

    /// Sets the acknowledgement of a custom kind. Default:
    /// `{"ResultCode":0,"ResultDesc":"Success"}`.
    #[must_use]
    pub fn ack_body(mut self, body: &'static str) -> Route {
        self.ack_body = AckBody::new(body);
        self
    }

    /// Quarantines custom bodies that cannot be deserialised into this type. Default: accepts any
    /// JSON with the key.
    #[must_use]
    pub fn payload<T: DeserializeOwned>(mut self) -> Route {
        self.check = Some(|callback| callback.to::<T>().map(drop));
        self
    }

    /// When the response to a validation must have been sent, counted from the request's head.
    pub(crate) fn validation_deadline(&self) -> Duration {
        self.timeout.unwrap_or(VALIDATION_TIMEOUT)
    }

    /// Timeout of a validation handler, counted from the request's head. It leaves time to record
    /// the decision.
    pub(crate) fn validation_timeout(&self) -> Duration {
        let deadline = self.validation_deadline();
        deadline.saturating_sub(RECORDING_RESERVE.min(deadline / 4))
    }

    /// Returns the kind that the route is for.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Returns the path below the secret; `None` for kinds without a URL.
    pub fn url_path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("kind", &self.kind).field("path", &self.path).finish_non_exhaustive()
    }
}

/// The kinds that an application handles.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<Arc<Route>>);

/// Why routes cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There are no routes.
    #[error("the handler set has no handlers: mark a method with a kind, for example `#[payment]`")]
    None,
    /// Two handlers for one kind.
    #[error("there are two handlers for `{kind}`")]
    TwoHandlers {
        /// The kind with two handlers.
        kind: Kind,
    },
    /// Two kinds at one path.
    #[error("`{first}` and `{second}` are both received at `{path}`")]
    TwoPaths {
        /// The path that both use.
        path: String,
        /// One of the kinds.
        first: Kind,
        /// The second kind with this path.
        second: Kind,
    },
    /// The text is not a path.
    #[error("`{path}` is not a path: it begins with `/`, and has letters, digits, `-`, `_`, `.` and `/` only")]
    NotAPath {
        /// The text that was given.
        path: String,
    },
    /// The path contains a word that Safaricom rejects.
    #[error("the path `{path}` spells `{word}`, and Safaricom rejects URLs with that word in any case")]
    Forbidden {
        /// The path that was given.
        path: String,
        /// The word, as Safaricom lists it.
        word: &'static str,
    },
    /// The timeout of a validation is zero or longer than M-Pesa waits.
    #[error("the timeout of a validation must be above 0 and at most 8 s: M-Pesa does not wait longer")]
    ValidationTimeout,
    /// The key of a custom kind is not a JSON pointer.
    #[error("`{pointer}` is not a JSON pointer: it begins with `/`")]
    NotAPointer {
        /// The text that was given.
        pointer: String,
    },
}

/// Default timeout of a validation. M-Pesa waits 8 s, network included.
const VALIDATION_TIMEOUT: Duration = Duration::from_secs(3);

/// Part of the timeout that is reserved for recording the decision.
const RECORDING_RESERVE: Duration = Duration::from_millis(500);

/// M-Pesa waits "usually less than 8 seconds from the moment the request leaves M-PESA" (Daraja 3.0, register URL).
const MAX_VALIDATION_TIMEOUT: Duration = Duration::from_secs(8);

impl Routes {
    /// Returns an empty set.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// Adds a route. Two routes of one kind or path are an error at start.
    #[must_use]
    pub fn with(mut self, route: Route) -> Routes {
        self.0.push(Arc::new(route));
        self
    }

    /// Returns all routes, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter().map(|route| &**route)
    }

    /// Returns the route of this kind.
    pub fn of(&self, kind: &Kind) -> Option<&Route> {
        self.iter().find(|route| route.kind == *kind)
    }

    /// Returns the route at this path below the secret. A trailing slash is ignored.
    pub(crate) fn at(&self, path: &str) -> Option<&Arc<Route>> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.0.iter().find(|route| route.path.as_deref() == Some(path))
    }

    /// Validates the routes and removes trailing slashes.
    pub(crate) fn checked(mut self) -> Result<Routes, RouteError> {
        if self.0.is_empty() {
            return Err(RouteError::None);
        }
        for route in self.0.iter_mut().map(Arc::make_mut) {
            if let Some(path) = &mut route.path {
                path.truncate(path.trim_end_matches('/').len());
                check_path(path)?;
            }
            if let Some(pointer) = route.key.as_ref().filter(|pointer| !pointer.starts_with('/')) {
                return Err(RouteError::NotAPointer { pointer: pointer.clone() });
            }
            let too_long = |timeout: &Duration| *timeout > MAX_VALIDATION_TIMEOUT || timeout.is_zero();
            if route.kind == Kind::C2bValidation && route.timeout.as_ref().is_some_and(too_long) {
                return Err(RouteError::ValidationTimeout);
            }
        }
        self.imply();
        for (i, route) in self.0.iter().enumerate() {
            for other in &self.0[i + 1..] {
                if route.kind == other.kind {
                    return Err(RouteError::TwoHandlers { kind: route.kind.clone() });
                }
                if let Some(path) = route.path.as_ref().filter(|path| Some(*path) == other.path.as_ref()) {
                    let (first, second) = (route.kind.clone(), other.kind.clone());
                    return Err(RouteError::TwoPaths { path: path.clone(), first, second });
                }
            }
        }
        Ok(self)
    }

    /// Mounts the kinds that report money without a handler, because `#[payment]` needs them.
    fn imply(&mut self) {
        if self.of(&Kind::Payment).is_none() {
            return;
        }
        for kind in [Kind::Stk, Kind::C2bConfirmation, Kind::B2bExpress, Kind::BillManager, Kind::Lipia] {
            let mut route = Route::new(kind);
            route.implied = true;
            if self.of(&route.kind).is_none() && self.0.iter().all(|other| other.path != route.path) {
                self.0.push(Arc::new(route));
            }
        }
        // Without a handler nobody else would claim it.
        if self.of(&Kind::PaymentCompleted).is_none() {
            let mut route = Route::new(Kind::PaymentCompleted);
            route.implied = true;
            self.0.push(Arc::new(route));
        }
    }
}

fn check_path(path: &str) -> Result<(), RouteError> {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/');
    if !path.starts_with('/') || path.len() < 2 || path.contains("//") || !path.bytes().all(fits) {
        return Err(RouteError::NotAPath { path: path.to_owned() });
    }
    match forbidden_word(path) {
        Some(word) => Err(RouteError::Forbidden { path: path.to_owned(), word }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_mounted_together_is_refused() {
        let stk = || Route::new(Kind::Stk);
        assert_eq!(Routes::new().checked().unwrap_err(), RouteError::None);
        assert_eq!(
            Routes::new().with(stk()).with(stk()).checked().unwrap_err(),
            RouteError::TwoHandlers { kind: Kind::Stk }
        );
        let same = Routes::new().with(stk()).with(Route::new(Kind::Lipia).path("/stk/"));
        assert!(matches!(same.checked().unwrap_err(), RouteError::TwoPaths { .. }));
        assert!(matches!(
            Routes::new().with(stk().path("/EXEC")).checked().unwrap_err(),
            RouteError::Forbidden { word: "exec", .. }
        ));
        assert!(matches!(Routes::new().with(stk().path("stk")).checked().unwrap_err(), RouteError::NotAPath { .. }));
        assert!(matches!(
            Routes::new().with(Route::custom("/a", "id")).checked().unwrap_err(),
            RouteError::NotAPointer { .. }
        ));
        let late = Route::new(Kind::C2bValidation).timeout(Duration::from_secs(9));
        assert_eq!(Routes::new().with(late).checked().unwrap_err(), RouteError::ValidationTimeout);
    }

    #[test]
    fn whoever_handles_payments_hears_of_them() {
        let routes =
            Routes::new().with(Route::new(Kind::Payment)).with(Route::custom("/lipia", "/id")).checked().unwrap();
        assert!(routes.at("/stk").is_some_and(|route| route.implied) && routes.at("/c2b/confirmation").is_some());
        assert!(routes.at("/lipia").is_some_and(|route| !route.implied), "the application's own path comes first");
    }

    #[test]
    fn a_trailing_slash_is_the_same_path() {
        let routes = Routes::new().with(Route::new(Kind::Stk)).checked().unwrap();
        assert!(routes.at("/stk").is_some() && routes.at("/stk/").is_some());
        assert!(routes.at("/STK").is_none() && routes.at("/stk//").is_none());
    }
}
