//! Step 2: which kind is this URL for?

use std::net::IpAddr;
use std::sync::Arc;

use super::Refusal;
use super::guard::Admitted;
use super::places::InFlightPermit;
use crate::engine::Engine;
use crate::observe;
use crate::payload::Sensitive;
use crate::routes::Route;

/// A request to the URL of a handled kind.
pub(super) struct Routed {
    pub(super) route: Arc<Route>,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) reference: Option<Sensitive>,
    pub(super) content_length: Option<u64>,
    pub(super) place: InFlightPermit,
}

impl Engine {
    pub(super) fn route(&self, admitted: Admitted<'_>) -> Result<Routed, Refusal> {
        let (request, path) = admitted.request();
        let route = self.routes.at(path).ok_or(Refusal::NotFound)?;
        // Daraja sends POST only.
        if request.method != "POST" {
            return Err(Refusal::MethodNotAllowed);
        }
        // Bodies are not decompressed: a small one could become large.
        if request.is_compressed() {
            return Err(Refusal::Compressed);
        }
        let (sender, place) = admitted.into_sender();
        observe::received(&route.kind, sender.secret, sender.reference.is_some());
        // M-Pesa waits for an answer to a validation, with or without a permit.
        let place = place.ok_or_else(|| Refusal::Undecided(route.fallback.to_body()))?;
        let (client_ip, reference) = (sender.client_ip, sender.reference);
        Ok(Routed { route: route.clone(), client_ip, reference, content_length: request.content_length(), place })
    }
}
