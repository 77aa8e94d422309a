//! Step 2: which kind is this URL for?

use std::net::IpAddr;
use std::sync::Arc;

use crate::access::{Admitted, InFlightPermit, Refusal};
use crate::handler::{Route, Routes};
use crate::observe;
use crate::payload::Sensitive;

/// A request to the URL of a handled kind.
pub(super) struct Routed {
    pub(super) route: Arc<Route>,
    pub(super) client_ip: Option<IpAddr>,
    pub(super) reference: Option<Sensitive>,
    pub(super) content_length: Option<u64>,
    pub(super) permit: InFlightPermit,
}

/// Returns the route of the URL, if this is a request that Daraja would send.
pub(super) fn route(routes: &Routes, admitted: Admitted<'_>) -> Result<Routed, Refusal> {
    let (request, path) = admitted.request();
    let route = routes.at(path).ok_or(Refusal::NotFound)?;
    // Daraja sends POST only.
    if request.method != "POST" {
        return Err(Refusal::MethodNotAllowed);
    }
    // Bodies are not decompressed: a small one could become large.
    if request.is_compressed() {
        return Err(Refusal::Compressed);
    }
    let (sender, permit) = admitted.into_sender();
    observe::received(&route.kind, sender.secret, sender.reference.is_some());
    // M-Pesa waits for an answer to a validation, with or without a permit.
    let permit = permit.ok_or_else(|| Refusal::Undecided(route.fallback.to_body()))?;
    let (client_ip, reference) = (sender.client_ip, sender.reference);
    Ok(Routed { route: route.clone(), client_ip, reference, content_length: request.content_length(), permit })
}
