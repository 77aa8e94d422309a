//! Requests to the probe: what the guard sees of their sender.

use std::net::IpAddr;

use super::guard::Guard;
use super::proxies::ClientIpError;
use super::request::Request;

/// The path below the secret. It spells no word that Safaricom rejects.
pub(crate) const PROBE: &str = "/probe";

/// The sender of a request with the right secret, as the guard sees it.
#[derive(Debug)]
pub(crate) struct SeenSender {
    pub(crate) client_ip: Result<IpAddr, ClientIpError>,
    /// Trusted proxies are configured.
    pub(crate) has_proxies: bool,
    /// `None` without an allowlist.
    pub(crate) allowlist: Option<SeenAllowlist>,
}

/// The allowlist, and what it says of the sender.
#[derive(Debug)]
pub(crate) struct SeenAllowlist {
    pub(crate) is_listed: bool,
    pub(crate) report_only: bool,
}

impl Guard {
    /// Returns the sender of a request to the probe; `None` for every other request. A per-payment URL has no probe.
    /// The allowlist is not applied: whether it would let the sender in is what a probe is for.
    pub(crate) fn probing(&self, request: &Request<'_>) -> Option<SeenSender> {
        let tail = request.path.strip_prefix('/').unwrap_or(request.path);
        let segment = tail.strip_suffix(PROBE)?;
        if self.secrets.number_of(segment) == 0 {
            return None;
        }
        let client_ip = self.address_of(request);
        let allowlist = self.allowlist.as_ref().map(|allowlist| SeenAllowlist {
            is_listed: client_ip.as_ref().is_ok_and(|client_ip| allowlist.contains(*client_ip)),
            report_only: allowlist.report_only,
        });
        Some(SeenSender { client_ip, has_proxies: self.proxies.is_some(), allowlist })
    }
}
