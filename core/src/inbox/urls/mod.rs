//! Callback URLs: to register with Safaricom, or to send with each request.

mod lint;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::{Serialize, Serializer};

pub use self::lint::{UrlFinding, lint_url};
use super::engine::{Engine, Inbox};
use crate::Kind;
use crate::access::{LONGEST_REFERENCE, TokenKey, is_reference};
use crate::environment::Environment;

/// The callback URLs of an inbox, from [`Inbox::urls`].
///
/// [`Display`](fmt::Display) writes all of them as a table. The output contains the secret.
#[derive(Clone)]
pub struct Urls {
    engine: Arc<Engine>,
    base: String,
    lifetime: Duration,
}

/// A callback URL. `Debug` hides it, because it contains the secret or a token; `Display`,
/// `Serialize` and [`as_str`](CallbackUrl::as_str) show it.
#[derive(Clone, PartialEq, Eq)]
pub struct CallbackUrl(String);

/// Why a callback URL cannot be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The builder was given no `public_url`.
    #[error("the inbox does not know its public URL: call `.public_url(\"https://…\")` on the builder")]
    NoPublicUrl,
    /// Daraja would reject the URL, or cannot reach it.
    #[error("Daraja would refuse the URL of `{kind}`: {}", sentence(findings))]
    Refused {
        /// The kind of the URL.
        kind: Kind,
        /// Everything that is wrong with the URL.
        findings: Vec<UrlFinding>,
    },
    /// No handler of this inbox takes the kind.
    #[error("there is no handler for `{kind}`")]
    NotHandled {
        /// The requested kind.
        kind: Kind,
    },
    /// The URL of this kind is registered once, and cannot carry a reference.
    #[error("the URL of `{kind}` is registered once and not sent with each request, so it cannot contain a reference")]
    RegisteredOnce {
        /// The requested kind.
        kind: Kind,
    },
    /// The reference is empty, or too long for a URL.
    #[error("a reference has 1 to {LONGEST_REFERENCE} bytes, and this one has {length}")]
    InvalidReference {
        /// Its length in bytes.
        length: usize,
    },
}

fn sentence(findings: &[UrlFinding]) -> String {
    findings.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// Default lifetime of per-payment URLs. Callbacks have arrived days late.
const DEFAULT_LIFETIME: Duration = Duration::from_secs(7 * 24 * 60 * 60);

impl Inbox {
    /// Returns the callback URLs below the builder's [`public_url`](crate::InboxBuilder::public_url).
    ///
    /// ```no_run
    /// # fn example(inbox: mpesa_callbacks_core::Inbox) -> Result<(), mpesa_callbacks_core::UrlError> {
    /// let urls = inbox.urls()?;
    /// println!("{urls}");                            // all of them, to register
    /// let callback_url = urls.stk_for("order-123")?; // `CallBackURL` of one push; `ctx.reference()` is "order-123"
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// - [`UrlError::NoPublicUrl`] when the builder was given none.
    /// - [`UrlError::Refused`] when Daraja would not accept one of the URLs. In the [sandbox](crate::InboxBuilder::sandbox)
    ///   that is logged as a warning, unless the public URL is not a URL at all.
    pub fn urls(&self) -> Result<Urls, UrlError> {
        self.urls_at(self.engine().public_url.as_deref().ok_or(UrlError::NoPublicUrl)?)
    }

    /// Returns the callback URLs below another base than the builder's `public_url`, for an inbox that is reached under
    /// several addresses.
    ///
    /// # Errors
    /// [`UrlError::Refused`], as for [`urls`](Inbox::urls).
    pub fn urls_at(&self, base: &str) -> Result<Urls, UrlError> {
        let urls = Urls::new(self.engine().clone(), base);
        let is_production = self.engine().environment == Environment::Production;
        let mut refused =
            urls.findings().filter(|(_, findings)| is_production || findings.contains(&UrlFinding::NotAUrl));
        if let Some((kind, findings)) = refused.next() {
            return Err(UrlError::Refused { kind, findings });
        }
        drop(refused);
        urls.warn();
        Ok(urls)
    }
}

impl Urls {
    fn new(engine: Arc<Engine>, base: &str) -> Urls {
        Urls { engine, base: base.trim_end_matches('/').to_owned(), lifetime: DEFAULT_LIFETIME }
    }

    /// Logs everything that Daraja may reject about the URLs below this base.
    pub(crate) fn warn_about(engine: &Arc<Engine>, base: &str) {
        Urls::new(engine.clone(), base).warn();
    }

    /// Logs each finding once, not once per URL.
    fn warn(&self) {
        let mut told = Vec::new();
        for (kind, findings) in self.findings() {
            if !told.contains(&findings) {
                tracing::warn!(%kind, findings = sentence(&findings), "Daraja would refuse these callback URLs");
                told.push(findings);
            }
        }
    }

    /// Sets the lifetime of per-payment URLs that are made from now on. Default: 7 days. A later
    /// callback is rejected, and Daraja does not send it again.
    #[must_use]
    pub fn expires_in(mut self, lifetime: Duration) -> Urls {
        self.lifetime = lifetime;
        self
    }

    /// Returns all kinds with a URL, and their URLs with the secret.
    pub fn iter(&self) -> impl Iterator<Item = (&Kind, CallbackUrl)> {
        let urls = self.engine.receiver.routes.iter().filter(|route| route.path.is_some());
        urls.filter_map(|route| Some((&route.kind, self.url(&route.kind).ok()?)))
    }

    /// Returns the URL of this kind with the secret: to register, or to send with each request.
    ///
    /// # Errors
    /// [`UrlError::NotHandled`].
    pub fn url(&self, kind: &Kind) -> Result<CallbackUrl, UrlError> {
        self.below(self.engine.secret.expose(), kind)
    }

    /// Returns a URL of this kind for one payment. It contains the reference, which
    /// `ctx.reference()` returns in the handler, and a signed token instead of the secret. A person
    /// with the URL can forge a callback of this payment only, until it expires.
    ///
    /// The reference is signed, not encrypted: keep names and phone numbers out of it.
    ///
    /// # Errors
    /// [`UrlError`]: the kind is not handled, its URL is registered once, or the reference is invalid.
    pub fn url_for(&self, kind: &Kind, reference: &str) -> Result<CallbackUrl, UrlError> {
        if kind.is_registered_once() {
            return Err(UrlError::RegisteredOnce { kind: kind.clone() });
        }
        if !is_reference(reference) {
            return Err(UrlError::InvalidReference { length: reference.len() });
        }
        let expires = self.engine.recorder.clock.now().checked_add(self.lifetime);
        let url = self.below(&TokenKey::of(&self.engine.secret).mint(kind, reference, expires), kind)?;
        let findings = lint_url(url.as_str(), self.engine.environment);
        match self.engine.environment {
            Environment::Production if !findings.is_empty() => Err(UrlError::Refused { kind: kind.clone(), findings }),
            _ => Ok(url),
        }
    }

    /// Returns the `CallBackURL` of one M-Pesa Express push: [`url_for`](Urls::url_for) with [`Kind::Stk`].
    ///
    /// # Errors
    /// [`UrlError`], as for [`url_for`](Urls::url_for).
    pub fn stk_for(&self, reference: &str) -> Result<CallbackUrl, UrlError> {
        self.url_for(&Kind::Stk, reference)
    }

    fn below(&self, segment: &str, kind: &Kind) -> Result<CallbackUrl, UrlError> {
        let path = self.engine.receiver.routes.of(kind).and_then(|route| route.path.as_deref());
        let path = path.ok_or_else(|| UrlError::NotHandled { kind: kind.clone() })?;
        Ok(CallbackUrl(format!("{}/{segment}{path}", self.base)))
    }

    /// Returns everything that Daraja may reject, per kind.
    fn findings(&self) -> impl Iterator<Item = (Kind, Vec<UrlFinding>)> {
        let lint = |(kind, url): (&Kind, CallbackUrl)| (kind.clone(), lint_url(url.as_str(), self.engine.environment));
        self.iter().map(lint).filter(|(_, findings)| !findings.is_empty())
    }
}

impl fmt::Display for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().try_for_each(|(kind, url)| writeln!(f, "{:<18} {url}", kind.name()))
    }
}

impl fmt::Debug for Urls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Urls").field("base", &self.base).field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl CallbackUrl {
    /// Returns the URL as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the URL as text, owned.
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Display for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for CallbackUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallbackUrl(…)")
    }
}

impl Serialize for CallbackUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}
