//! IP addresses that may send callbacks.

use std::net::IpAddr;

use ipnet::IpNet;

use super::networks::{AddressError, contains, networks};
use super::safaricom::SAFARICOM_ADDRESSES;

/// IP addresses that may send callbacks. It is a second check behind the secret, because
/// Safaricom's list may change.
///
/// The client IP is the TCP peer's address or, behind [`TrustedProxies`](crate::TrustedProxies), the address in their
/// header.
///
/// ```
/// use mpesa_callbacks_core::IpAllowlist;
///
/// let sources = IpAllowlist::safaricom().allow("196.201.212.128").report_only();
/// let office = IpAllowlist::new(["10.0.0.0/8", "2001:db8::/32"]);
/// ```
///
/// Entries are addresses (`196.201.214.200`) or networks (`10.0.0.0/8`);
/// [`start`](crate::InboxBuilder::start) rejects others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpAllowlist {
    addresses: Vec<String>,
    report_only: bool,
}

impl IpAllowlist {
    /// Returns the twelve addresses that Safaricom publishes for its production gateway:
    /// [`SAFARICOM_ADDRESSES`]. The sandbox may use others.
    pub fn safaricom() -> IpAllowlist {
        IpAllowlist::new(SAFARICOM_ADDRESSES)
    }

    /// These addresses and networks.
    pub fn new<T: Into<String>>(addresses: impl IntoIterator<Item = T>) -> IpAllowlist {
        IpAllowlist { addresses: addresses.into_iter().map(Into::into).collect(), report_only: false }
    }

    /// Adds an address or network.
    #[must_use]
    pub fn allow(mut self, address: impl Into<String>) -> IpAllowlist {
        self.addresses.push(address.into());
        self
    }

    /// Accepts requests from other addresses, logs and counts them. Use it to try a list. Default:
    /// they are rejected with 403.
    #[must_use]
    pub fn report_only(mut self) -> IpAllowlist {
        self.report_only = true;
        self
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.addresses.is_empty()
    }

    pub(crate) fn checked(self) -> Result<ParsedAllowlist, AddressError> {
        Ok(ParsedAllowlist { networks: networks(self.addresses)?, report_only: self.report_only })
    }
}

/// An allowlist whose entries were parsed at start.
#[derive(Debug)]
pub(crate) struct ParsedAllowlist {
    networks: Vec<IpNet>,
    pub(crate) report_only: bool,
}

impl ParsedAllowlist {
    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        contains(&self.networks, address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_list_is_twelve_addresses_and_nothing_else() {
        let listed = IpAllowlist::safaricom().checked().unwrap();
        assert_eq!(SAFARICOM_ADDRESSES.len(), 12);
        for address in SAFARICOM_ADDRESSES {
            assert!(listed.contains(address.parse().unwrap()));
            assert!(listed.contains(format!("::ffff:{address}").parse().unwrap()));
        }
        for address in ["196.201.214.199", "196.201.212.128", "127.0.0.1", "::1", "::c4c9:d6c8"] {
            assert!(!listed.contains(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn networks_and_v4_mapped_addresses_are_read() {
        let listed = IpAllowlist::new(["10.0.0.0/8", "::ffff:192.0.2.7", "2001:db8::/32", "::ffff:172.16.0.0/108"]);
        let listed = listed.checked().unwrap();
        for address in ["10.255.0.1", "172.31.0.1", "::ffff:10.1.2.3", "192.0.2.7", "2001:db8:1::1"] {
            assert!(listed.contains(address.parse().unwrap()), "{address}");
        }
        assert!(!listed.contains("192.0.2.8".parse().unwrap()));
        let wrong = IpAllowlist::new(["10.0.0.0/33"]).checked().unwrap_err();
        assert!(wrong.to_string().starts_with("`10.0.0.0/33` is not an address"), "{wrong}");
    }
}
