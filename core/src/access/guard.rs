//! Step 1: is this sender allowed?

use std::net::IpAddr;
use std::sync::Arc;

use super::allowlist::ParsedAllowlist;
use super::in_flight::{self, InFlightLimiter, InFlightLimits, InFlightPermit};
use super::proxies::{ClientIpError, ParsedProxies};
use super::refusal::Refusal;
use super::request::Request;
use super::secret::{Secret, SecretDigests};
use super::token::TokenKey;
use crate::Kind;
use crate::clock::Clock;
use crate::handler::Routes;
use crate::observe;
use crate::payload::Sensitive;

/// Authenticates senders: by the secret, or by a signed per-payment URL; then by the IP allowlist.
#[derive(Debug)]
pub(crate) struct Guard {
    /// SHA-256 of each secret, so that the comparison takes the same time for any length.
    pub(super) secrets: SecretDigests,
    /// Signing keys of per-payment URLs, one per secret.
    token_keys: Vec<TokenKey>,
    pub(super) allowlist: Option<ParsedAllowlist>,
    pub(super) proxies: Option<ParsedProxies>,
    /// Limits of concurrent requests.
    limiter: InFlightLimiter,
    clock: Arc<dyn Clock>,
}

/// A request of an authenticated sender.
pub(crate) struct Admitted<'r> {
    request: Request<'r>,
    path: &'r str,
    sender: Sender,
    permit: Option<InFlightPermit>,
}

/// A sender that has shown a secret or a token of a per-payment URL.
pub(crate) struct Sender {
    pub(crate) client_ip: Option<IpAddr>,
    /// Reference in the per-payment URL.
    pub(crate) reference: Option<Sensitive>,
    /// Number of the secret, from 1.
    pub(crate) secret: usize,
}

impl<'r> Admitted<'r> {
    /// Returns the request's head, and the path below the secret.
    pub(crate) fn request(&self) -> (Request<'r>, &'r str) {
        (self.request, self.path)
    }

    /// Returns the sender and its permit. A validation may have no permit.
    pub(crate) fn into_sender(self) -> (Sender, Option<InFlightPermit>) {
        (self.sender, self.permit)
    }
}

impl Guard {
    pub(crate) fn new(
        secrets: &[Secret],
        allowlist: Option<ParsedAllowlist>,
        proxies: Option<ParsedProxies>,
        limits: InFlightLimits,
        clock: Arc<dyn Clock>,
    ) -> Guard {
        Guard {
            secrets: SecretDigests::of(secrets),
            token_keys: secrets.iter().map(TokenKey::of).collect(),
            allowlist,
            proxies,
            limiter: InFlightLimiter::new(limits),
            clock,
        }
    }

    /// Returns the address beyond the proxies.
    pub(super) fn address_of(&self, request: &Request<'_>) -> Result<IpAddr, ClientIpError> {
        match &self.proxies {
            None => request.peer.map(|peer| peer.to_canonical()).ok_or(ClientIpError::NoPeer),
            Some(proxies) => proxies.client_ip(request.peer, &request.header(proxies.header.name())),
        }
    }

    /// Returns the client IP if it is allowed.
    fn client_ip(&self, request: &Request<'_>) -> Result<Option<IpAddr>, Refusal> {
        let client_ip = self.address_of(request);
        // Without an allowlist and without proxies, the address does not matter.
        let report_only = match &self.allowlist {
            Some(allowlist) => allowlist.report_only,
            None if self.proxies.is_none() => return Ok(client_ip.ok()),
            None => false,
        };
        let reason = match &client_ip {
            Ok(client_ip) if self.allowlist.as_ref().is_none_or(|allowlist| allowlist.contains(*client_ip)) => {
                return Ok(Some(*client_ip));
            }
            Ok(client_ip) => {
                tracing::warn!(%client_ip, report_only, "a request with the right secret comes from an address that is not listed");
                "unlisted"
            }
            Err(reason) => {
                tracing::error!(%reason, report_only, "the client IP of a request with the right secret is unknown");
                "unknown"
            }
        };
        observe::unlisted(reason);
        if report_only { Ok(client_ip.ok()) } else { Err(Refusal::Forbidden) }
    }
}

impl Guard {
    /// The first path segment must be a secret, or a token for the path behind it. A wrong
    /// one gets the same response as an unknown path. Only a sender with a secret learns that its
    /// address is not allowed.
    pub(crate) fn admit<'r>(&self, request: Request<'r>, routes: &Routes) -> Result<Admitted<'r>, Refusal> {
        let tail = request.path.strip_prefix('/').unwrap_or(request.path);
        let (segment, _) = tail.split_once('/').unwrap_or((tail, ""));
        let path = &tail[segment.len()..];
        let kind = routes.at(path).map(|route| &route.kind);
        let (secret, reference) = match self.secrets.number_of(segment) {
            0 => {
                let (secret, reference) = self.reference(segment, kind).ok_or(Refusal::NotFound)?;
                (secret, Some(reference))
            }
            secret => (secret, None),
        };
        let client_ip = self.client_ip(&request)?;
        let is_validation = kind == Some(&Kind::C2bValidation);
        let permit = self.limiter.take(match &reference {
            Some(reference) => in_flight::Sender::Token(reference.as_str()),
            None if is_validation => in_flight::Sender::Validation,
            None => in_flight::Sender::Secret(client_ip),
        });
        if permit.is_none() && !is_validation {
            return Err(Refusal::Busy);
        }
        Ok(Admitted { request, path, sender: Sender { client_ip, reference, secret }, permit })
    }

    /// Returns the reference in a valid token for the kind of this path, and the number of the
    /// secret that signed it.
    fn reference(&self, token: &str, kind: Option<&Kind>) -> Option<(usize, Sensitive)> {
        let (kind, now) = (kind?, self.clock.now());
        let keys = self.token_keys.iter().zip(1..);
        let mut read = keys.filter_map(|(key, secret)| Some((secret, Sensitive::from(key.read(token, kind, now)?))));
        read.next()
    }
}
