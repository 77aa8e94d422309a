//! Step 2: which kind is this URL for?

use std::net::IpAddr;
use std::sync::Arc;

use super::Refusal;
use super::guard::Admitted;
use crate::engine::Engine;
use crate::observe;
use crate::routes::Route;

/// A request to the URL of a kind that is handled.
pub(super) struct Routed {
    pub(super) route: Arc<Route>,
    pub(super) peer: Option<IpAddr>,
    pub(super) content_length: Option<u64>,
}

impl Engine {
    pub(super) fn route(&self, admitted: Admitted<'_>) -> Result<Routed, Refusal> {
        let route = self.routes.at(admitted.path()).ok_or(Refusal::NotFound)?;
        let request = admitted.request();
        // Daraja POSTs, and nothing else.
        if request.method != "POST" {
            return Err(Refusal::MethodNotAllowed);
        }
        // Nothing is unpacked: a small body could become a large one.
        if request.content_encoding.is_some_and(|encoding| !encoding.trim_ascii().eq_ignore_ascii_case(b"identity")) {
            return Err(Refusal::Encoded);
        }
        observe::received(&route.kind);
        Ok(Routed { route: route.clone(), peer: request.peer, content_length: request.content_length })
    }
}
