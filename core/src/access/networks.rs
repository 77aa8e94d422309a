//! Addresses and networks, as options give them.

use std::net::IpAddr;

use ipnet::IpNet;

/// The text is neither an IP address nor a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not an address (`196.201.214.200`) or a network (`10.0.0.0/8`)")]
pub struct AddressError {
    /// The text that was given.
    pub text: String,
}

pub(super) fn networks(texts: Vec<String>) -> Result<Vec<IpNet>, AddressError> {
    texts.into_iter().map(|text| network(&text).ok_or(AddressError { text })).collect()
}

fn network(text: &str) -> Option<IpNet> {
    let text = text.trim();
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical().into());
    }
    let network = text.parse::<IpNet>().ok()?;
    // A network of IPv4-mapped addresses is an IPv4 network; that is how addresses are compared.
    match (network.addr().to_canonical(), network.prefix_len()) {
        (IpAddr::V4(address), length) if network.addr().is_ipv6() => {
            ipnet::Ipv4Net::new(address, length.checked_sub(96)?).ok().map(IpNet::V4)
        }
        _ => Some(network),
    }
}

/// An IPv4 address on an IPv6 socket (`::ffff:10.0.0.1`) is compared as IPv4.
pub(super) fn contains(networks: &[IpNet], address: IpAddr) -> bool {
    let address = address.to_canonical();
    networks.iter().any(|network| network.contains(&address))
}
