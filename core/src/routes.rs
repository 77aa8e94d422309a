//! Which kinds an application handles, where, and how.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::kind::{Answer, JSON, Kind};
use crate::payload::{CustomCallback, ParseError};
use crate::secret::forbidden_word;
use crate::validation::{Fallback, Validation};

/// Whether a body fits a type.
type Check = fn(&CustomCallback) -> Result<(), ParseError>;

/// How one kind is handled.
#[derive(Clone)]
pub struct Route {
    pub(crate) kind: Kind,
    pub(crate) path: Option<String>,
    pub(crate) key: Option<String>,
    pub(crate) max_retries: Option<u32>,
    pub(crate) timeout: Option<Duration>,
    pub(crate) fallback: Validation,
    pub(crate) transactional: bool,
    pub(crate) answer: Answer,
    /// Nothing handles it but the payment that it tells of.
    pub(crate) implied: bool,
    /// Whether a custom body fits the handler's type.
    pub(crate) check: Option<Check>,
}

impl Route {
    /// A built-in kind, at its default path.
    pub fn new(kind: Kind) -> Route {
        Route {
            path: kind.default_path().map(str::to_owned),
            answer: kind.answer(),
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

    /// A callback of the application's own: its path, and the JSON pointer to what makes two deliveries the same.
    pub fn custom(path: &str, key: &str) -> Route {
        let mut route = Route::new(Kind::custom(path));
        route.path = Some(path.to_owned());
        route.key = Some(key.to_owned());
        route
    }

    /// Another path below the secret. For a custom kind, its name stays.
    #[must_use]
    pub fn path(mut self, path: &str) -> Route {
        self.path = Some(path.to_owned());
        self
    }

    /// How often to try again after the first failure, in place of the inbox's default.
    #[must_use]
    pub fn max_retries(mut self, max_retries: u32) -> Route {
        self.max_retries = Some(max_retries);
        self
    }

    /// How long the handler may take. For a validation: how long until the answer has left, at most 8 seconds, because
    /// M-Pesa waits no longer.
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

    /// The handler takes a transaction of the application's database.
    #[must_use]
    pub fn transactional(mut self) -> Route {
        self.transactional = true;
        self
    }

    /// What the sender of a custom kind must hear, in place of `{"ResultCode":0,"ResultDesc":"Success"}`.
    #[must_use]
    pub fn ack_body(mut self, body: &'static str) -> Route {
        let content_type = if body.starts_with(['{', '[']) { JSON } else { "text/plain" };
        self.answer = Answer { content_type, body };
        self
    }

    /// A custom body must fit this type, or it is quarantined.
    #[must_use]
    pub fn payload<T: DeserializeOwned>(mut self) -> Route {
        self.check = Some(|callback| callback.to::<T>().map(drop));
        self
    }

    /// Which kind it is.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Where it is received, below the secret.
    pub fn url_path(&self) -> Option<&str> {
        self.path.as_deref()
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route").field("kind", &self.kind).field("path", &self.path).finish_non_exhaustive()
    }
}

/// Which kinds an application handles.
#[derive(Clone, Debug, Default)]
pub struct Routes(Vec<Arc<Route>>);

/// Why an application's routes cannot be mounted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RouteError {
    /// There are none.
    #[error("the handler set handles no callback")]
    None,
    /// Two handlers for one kind.
    #[error("there are two handlers for `{kind}`")]
    TwoHandlers {
        /// Which.
        kind: Kind,
    },
    /// Two handlers for one path.
    #[error("`{first}` and `{second}` are both received at `{path}`")]
    TwoPaths {
        /// Where.
        path: String,
        /// One of them.
        first: Kind,
        /// The other.
        second: Kind,
    },
    /// The path is not one.
    #[error("`{path}` is not a path: it begins with `/`, and has letters, digits, `-`, `_`, `.` and `/` only")]
    NotAPath {
        /// The text.
        path: String,
    },
    /// The path spells a word that Safaricom rejects.
    #[error("the path `{path}` spells `{word}`, and Safaricom rejects URLs with that word in any case")]
    Forbidden {
        /// Where.
        path: String,
        /// The word.
        word: &'static str,
    },
    /// A validation may take longer than M-Pesa waits.
    #[error("a validation's deadline is over 0 and at most 8 seconds, because M-Pesa waits no longer")]
    ValidationTimeout,
    /// The key of a custom kind is not a JSON pointer.
    #[error("`{pointer}` is not a JSON pointer: it begins with `/`")]
    NotAPointer {
        /// The text.
        pointer: String,
    },
}

/// M-Pesa waits "usually less than 8 seconds from the moment the request leaves M-PESA" (Daraja 3.0, register URL).
const MPESA_WAITS: Duration = Duration::from_secs(8);

impl Routes {
    /// None yet.
    pub fn new() -> Routes {
        Routes::default()
    }

    /// One more.
    #[must_use]
    pub fn with(mut self, route: Route) -> Routes {
        self.0.push(Arc::new(route));
        self
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Route> {
        self.0.iter().map(|route| &**route)
    }

    /// How this kind is handled, when it is.
    pub fn of(&self, kind: &Kind) -> Option<&Route> {
        self.iter().find(|route| route.kind == *kind)
    }

    /// What is received at this path, below the secret. A trailing slash is the same path.
    pub(crate) fn at(&self, path: &str) -> Option<&Arc<Route>> {
        let path = path.strip_suffix('/').unwrap_or(path);
        self.0.iter().find(|route| route.path.as_deref() == Some(path))
    }

    /// Routes with paths without trailing slashes, that can all be mounted together.
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
            let too_long = |timeout: &Duration| *timeout > MPESA_WAITS || timeout.is_zero();
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

    /// Whoever handles payments must hear of them: the kinds that tell of money are received, handled or not.
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
        // Nobody would ever take it.
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
