//! Step 1: may this sender speak?

use sha2::{Digest as _, Sha256};
use subtle::{Choice, ConstantTimeEq};

use super::{Refusal, Request};
use crate::engine::Engine;
use crate::secret::Secret;

/// Who may speak: whoever knows one of the secrets.
#[derive(Debug)]
pub(crate) struct Guard {
    /// Their SHA-256, so that comparing takes as long for any length.
    secrets: Vec<[u8; 32]>,
}

/// A request whose sender may speak.
pub(super) struct Admitted<'r> {
    request: Request<'r>,
    path: &'r str,
}

impl<'r> Admitted<'r> {
    /// The request's head.
    pub(super) fn request(&self) -> Request<'r> {
        self.request
    }

    /// The path below the secret.
    pub(super) fn path(&self) -> &'r str {
        self.path
    }
}

impl Guard {
    pub(crate) fn new(secrets: &[Secret]) -> Guard {
        Guard { secrets: secrets.iter().map(|secret| Sha256::digest(secret.expose()).into()).collect() }
    }

    /// All secrets are compared, to the last byte, whichever it is.
    fn knows(&self, candidate: &str) -> bool {
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        self.secrets.iter().fold(Choice::from(0), |known, secret| known | secret.ct_eq(&candidate)).into()
    }
}

impl Engine {
    /// The first segment of the path must be a secret. A wrong one is answered as an unknown path is.
    pub(super) fn guard<'r>(&self, request: Request<'r>) -> Result<Admitted<'r>, Refusal> {
        let tail = request.path.strip_prefix('/').unwrap_or(request.path);
        let (secret, _) = tail.split_once('/').unwrap_or((tail, ""));
        if !self.guard.knows(secret) {
            return Err(Refusal::NotFound);
        }
        Ok(Admitted { request, path: &tail[secret.len()..] })
    }
}
