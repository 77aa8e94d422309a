//! Where requests come from: the addresses that may speak, and the proxies that are believed.

mod forwarded;

mod proxies;

mod safaricom;

use std::net::IpAddr;

use ipnet::IpNet;

pub(crate) use self::proxies::ParsedProxies;
pub use self::proxies::{ClientIpError, ForwardedHeader, TrustedProxies};
pub use self::safaricom::SAFARICOM_ADDRESSES;

/// The addresses from which callbacks are taken: a second fence behind the secret, because nothing signs a callback and
/// Safaricom's list may change.
///
/// The address is that of the connection's other end, or, behind [`TrustedProxies`], the one that they vouch for.
///
/// ```
/// use mpesa_callbacks_core::IpAllowlist;
///
/// let sources = IpAllowlist::safaricom().allow("196.201.212.128").report_only();
/// let office = IpAllowlist::new(["10.0.0.0/8", "2001:db8::/32"]);
/// ```
///
/// Texts are addresses (`196.201.214.200`) or networks (`10.0.0.0/8`); [`start`](crate::InboxBuilder::start) refuses
/// others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IpAllowlist {
    addresses: Vec<String>,
    report_only: bool,
}

impl IpAllowlist {
    /// The twelve addresses that Safaricom publishes for its production gateway: [`SAFARICOM_ADDRESSES`]. The sandbox may
    /// call from others.
    pub fn safaricom() -> IpAllowlist {
        IpAllowlist::new(SAFARICOM_ADDRESSES)
    }

    /// These addresses and networks.
    pub fn new<T: Into<String>>(addresses: impl IntoIterator<Item = T>) -> IpAllowlist {
        IpAllowlist { addresses: addresses.into_iter().map(Into::into).collect(), report_only: false }
    }

    /// One address or network more.
    #[must_use]
    pub fn allow(mut self, address: impl Into<String>) -> IpAllowlist {
        self.addresses.push(address.into());
        self
    }

    /// Requests from elsewhere are logged and counted, and let in: to see what the list would do before it does it.
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

/// The addresses from which callbacks are taken, read.
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

/// A text that is neither an address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address (`196.201.214.200`) or a network (`10.0.0.0/8`)")]
pub struct AddressError {
    /// The text.
    pub text: String,
}

fn networks(texts: Vec<String>) -> Result<Vec<IpNet>, AddressError> {
    texts.into_iter().map(|text| network(&text).ok_or(AddressError { text })).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let network = text.parse::<IpNet>().ok()?;
    // A network of v4-mapped addresses is a network of IPv4 addresses, which is how they are compared.
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), length) if network.addr().is_ipv6() => {
            ipnet::Ipv4Net::new(address, length.checked_sub(96)?).ok().map(IpNet::V4)
        }
        _ => Some(network),
    }
}

/// An IPv4 address that came over an IPv6 socket (`::ffff:10.0.0.1`) is an IPv4 address.
fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
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
