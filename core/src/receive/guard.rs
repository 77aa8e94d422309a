//! Step 1: may this sender speak?

use std::net::IpAddr;

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::places::Place;
use super::{Refusal, Request};
use crate::engine::Engine;
use crate::observe;
use crate::payload::Private;
use crate::secret::Secret;
use crate::source::{Believed, Listed, UnknownSource};
use crate::token::TokenKey;

/// Who may speak: whoever knows a secret, or has a URL that was minted under one; from where it is allowed.
#[derive(Debug)]
pub(crate) struct Guard {
    /// The secrets' SHA-256, so that comparing takes as long for any length.
    secrets: Vec<[u8; 32]>,
    /// One for each secret.
    token_keys: Vec<TokenKey>,
    sources: Option<Listed>,
    proxies: Option<Believed>,
}

/// A request whose sender may speak.
pub(super) struct Admitted<'r> {
    request: Request<'r>,
    path: &'r str,
    source: Option<IpAddr>,
    reference: Option<Private>,
    place: Place,
}

impl<'r> Admitted<'r> {
    /// The request's head, and the path below the secret.
    pub(super) fn request(&self) -> (Request<'r>, &'r str) {
        (self.request, self.path)
    }

    /// Where it comes from, the merchant's own id when its URL carries one, and its place among those in flight.
    pub(super) fn into_sender(self) -> (Option<IpAddr>, Option<Private>, Place) {
        (self.source, self.reference, self.place)
    }
}

impl Guard {
    pub(crate) fn new(secrets: &[Secret], sources: Option<Listed>, proxies: Option<Believed>) -> Guard {
        Guard {
            secrets: secrets.iter().map(|secret| Sha256::digest(secret.expose()).into()).collect(),
            token_keys: secrets.iter().map(TokenKey::of).collect(),
            sources,
            proxies,
        }
    }

    /// All secrets are compared, to the last byte, whichever it is.
    fn knows(&self, candidate: &str) -> bool {
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        self.secrets.iter().fold(Choice::from(0), |known, secret| known | secret.ct_eq(&candidate)).into()
    }

    /// Where the request comes from, if it may come from there.
    fn source(&self, request: &Request<'_>) -> Result<Option<IpAddr>, Refusal> {
        let source = match &self.proxies {
            None => request.peer.map(|peer| peer.to_canonical()).ok_or(UnknownSource::NoPeer),
            Some(proxies) => proxies.source(request.peer, &request.header(proxies.header.name())),
        };
        // Without a list and without proxies nobody asked where requests come from.
        let report_only = match &self.sources {
            Some(sources) => sources.report_only,
            None if self.proxies.is_none() => return Ok(source.ok()),
            None => false,
        };
        let reason = match &source {
            Ok(source) if self.sources.as_ref().is_none_or(|sources| sources.contains(*source)) => {
                return Ok(Some(*source));
            }
            Ok(source) => {
                tracing::warn!(%source, report_only, "a request with the right secret comes from an address that is not listed");
                "unlisted"
            }
            Err(reason) => {
                tracing::error!(%reason, report_only, "cannot tell where a request with the right secret comes from");
                "unknown"
            }
        };
        observe::unlisted(reason);
        if report_only { Ok(source.ok()) } else { Err(Refusal::Forbidden) }
    }
}

impl Engine {
    /// The first segment of the path must be a secret, or a token for what comes behind it. A wrong one is answered as an
    /// unknown path is. Only who knows a secret learns that an address is not allowed.
    pub(super) fn guard<'r>(&self, request: Request<'r>) -> Result<Admitted<'r>, Refusal> {
        let tail = request.path.strip_prefix('/').unwrap_or(request.path);
        let (segment, _) = tail.split_once('/').unwrap_or((tail, ""));
        let path = &tail[segment.len()..];
        let reference = match self.guard.knows(segment) {
            true => None,
            false => Some(self.reference(segment, path).ok_or(Refusal::NotFound)?),
        };
        let source = self.guard.source(&request)?;
        let place = self.places.take(source, reference.is_some()).ok_or(Refusal::Busy)?;
        Ok(Admitted { request, path, source, reference, place })
    }

    /// The merchant's own id in a token that was minted for the kind of this path, and has not expired.
    fn reference(&self, token: &str, path: &str) -> Option<Private> {
        let kind = &self.routes.at(path)?.kind;
        let now = self.clock.now();
        self.guard.token_keys.iter().find_map(|key| key.read(token, kind, now)).map(Private::from)
    }
}
