//! Trusted proxies and their headers.

use std::net::IpAddr;

use ipnet::IpNet;

use super::forwarded::{ForwardedHeader, address, from_the_right};
use super::networks::{AddressError, contains, networks};

/// Reverse proxies in front of your application, and the header in which they pass the client IP.
///
/// Any client can send such a header, so only the elements that trusted proxies appended are used: the
/// client IP is the right-most address that is not a trusted proxy. Without trusted proxies it is
/// the TCP peer's address, and headers are ignored.
///
/// ```
/// use mpesa_callbacks_core::{ForwardedHeader, TrustedProxies};
///
/// // One nginx on this machine that sets `X-Forwarded-For`.
/// let nginx = TrustedProxies::addresses(["127.0.0.1", "::1"]);
/// // A load balancer of which only the number of hops is known, and that speaks RFC 7239.
/// let balancer = TrustedProxies::hops(2).header(ForwardedHeader::Forwarded);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustedProxies {
    who: Who,
    header: ForwardedHeader,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Who {
    At(Vec<String>),
    Hops(usize),
}

/// Why the client IP cannot be determined.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientIpError {
    /// The adapter does not know the TCP peer.
    #[error(
        "the web server does not pass the peer's IP address to the adapter: with axum, use \
         `mpesa_callbacks::serve`, or `app.into_make_service_with_connect_info::<SocketAddr>()`"
    )]
    NoPeer,
    /// The header contains fewer addresses than there are proxies.
    #[error("the request came through fewer proxies than are configured, or they do not set the configured header")]
    TooFewHops,
    /// The proxies pass no address: `unknown`, a hidden name, or text that is not an address.
    #[error("a trusted proxy does not pass on a valid client IP")]
    Hidden,
    /// An address of the proxies is invalid.
    #[error(transparent)]
    Address(#[from] AddressError),
}

impl TrustedProxies {
    /// Trusts the proxies at these addresses and networks. Default header: `X-Forwarded-For`. A
    /// connection from any other address is the client itself.
    pub fn addresses<T: Into<String>>(addresses: impl IntoIterator<Item = T>) -> TrustedProxies {
        TrustedProxies {
            who: Who::At(addresses.into_iter().map(Into::into).collect()),
            header: ForwardedHeader::default(),
        }
    }

    /// Trusts exactly this many proxies, at any address. Default header: `X-Forwarded-For`. Nobody
    /// may reach your application without passing them: such a client could choose its address.
    pub fn hops(hops: usize) -> TrustedProxies {
        TrustedProxies { who: Who::Hops(hops), header: ForwardedHeader::default() }
    }

    /// Sets the header that the proxies write.
    #[must_use]
    pub fn header(mut self, header: ForwardedHeader) -> TrustedProxies {
        self.header = header;
        self
    }

    /// Returns the client IP of a request. `peer` is the TCP peer's address, `lines` are the values
    /// of the configured header, in order. The inbox does the same for each request.
    ///
    /// # Errors
    /// [`ClientIpError`].
    ///
    /// ```
    /// use mpesa_callbacks_core::TrustedProxies;
    ///
    /// let proxies = TrustedProxies::addresses(["127.0.0.1"]);
    /// let lines: [&[u8]; 1] = [b"196.201.214.200, 203.0.113.9"]; // the sender wrote the first address, nginx the second
    /// let client_ip = proxies.client_ip(Some("127.0.0.1".parse()?), &lines)?;
    /// assert_eq!(client_ip.to_string(), "203.0.113.9");
    /// # Ok::<_, Box<dyn std::error::Error>>(())
    /// ```
    pub fn client_ip(&self, peer: Option<IpAddr>, lines: &[&[u8]]) -> Result<IpAddr, ClientIpError> {
        self.clone().checked()?.client_ip(peer, lines)
    }

    pub(crate) fn checked(self) -> Result<ParsedProxies, AddressError> {
        let proxies = match self.who {
            Who::At(addresses) => Proxies::At(networks(addresses)?),
            Who::Hops(hops) => Proxies::Hops(hops),
        };
        Ok(ParsedProxies { proxies, header: self.header })
    }
}

/// Trusted proxies whose addresses were parsed at start.
#[derive(Debug)]
pub(crate) struct ParsedProxies {
    proxies: Proxies,
    pub(crate) header: ForwardedHeader,
}

#[derive(Debug)]
enum Proxies {
    At(Vec<IpNet>),
    Hops(usize),
}

impl ParsedProxies {
    pub(crate) fn client_ip(&self, peer: Option<IpAddr>, lines: &[&[u8]]) -> Result<IpAddr, ClientIpError> {
        let mut elements = from_the_right(self.header, lines);
        let read = |element: Option<&[u8]>| {
            let element = element.ok_or(ClientIpError::TooFewHops)?;
            address(self.header, element).ok_or(ClientIpError::Hidden)
        };
        match &self.proxies {
            Proxies::Hops(0) => peer.map(|peer| peer.to_canonical()).ok_or(ClientIpError::NoPeer),
            Proxies::Hops(hops) => read(elements.nth(hops - 1)),
            Proxies::At(networks) => {
                let mut client_ip = peer.ok_or(ClientIpError::NoPeer)?.to_canonical();
                while contains(networks, client_ip) {
                    client_ip = read(elements.next())?;
                }
                Ok(client_ip)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client_ip(proxies: &TrustedProxies, peer: &str, lines: &[&str]) -> Result<IpAddr, ClientIpError> {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        proxies.client_ip(peer.parse().ok(), &lines)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_source_is_the_right_most_hop_beyond_the_proxies() {
        let proxies = TrustedProxies::addresses(["10.0.0.0/8"]);
        assert_eq!(client_ip(&proxies, "10.0.0.1", &["198.51.100.1, 203.0.113.9"]), Ok(ip("203.0.113.9")));
        assert_eq!(client_ip(&proxies, "10.0.0.1", &["198.51.100.1, 203.0.113.9, 10.0.0.2"]), Ok(ip("203.0.113.9")));
        assert_eq!(client_ip(&proxies, "::ffff:10.0.0.1", &["203.0.113.9", "::ffff:10.0.0.2"]), Ok(ip("203.0.113.9")));
    }

    #[test]
    fn nobody_else_is_believed() {
        let proxies = TrustedProxies::addresses(["10.0.0.0/8"]);
        assert_eq!(client_ip(&proxies, "203.0.113.9", &["196.201.214.200"]), Ok(ip("203.0.113.9")));
        assert_eq!(client_ip(&proxies, "", &["196.201.214.200"]), Err(ClientIpError::NoPeer));
    }

    #[test]
    fn fewer_hops_than_promised_are_refused() {
        let proxies = TrustedProxies::addresses(["10.0.0.0/8"]);
        assert_eq!(client_ip(&proxies, "10.0.0.1", &[]), Err(ClientIpError::TooFewHops));
        assert_eq!(client_ip(&proxies, "10.0.0.1", &["10.0.0.2"]), Err(ClientIpError::TooFewHops));
        let two = TrustedProxies::hops(2);
        assert_eq!(client_ip(&two, "", &["203.0.113.9, 10.0.0.2"]), Ok(ip("203.0.113.9")));
        assert_eq!(client_ip(&two, "", &["203.0.113.9"]), Err(ClientIpError::TooFewHops));
        assert_eq!(client_ip(&TrustedProxies::hops(0), "203.0.113.9", &["192.0.2.1"]), Ok(ip("203.0.113.9")));
    }

    #[test]
    fn what_a_proxy_does_not_tell_is_unknown() {
        let proxies = TrustedProxies::addresses(["10.0.0.1"]).header(ForwardedHeader::Forwarded);
        assert_eq!(client_ip(&proxies, "10.0.0.1", &["for=203.0.113.9, for=unknown"]), Err(ClientIpError::Hidden));
        assert_eq!(client_ip(&proxies, "10.0.0.1", &["for=\"[2001:db8::9]:1\";proto=https"]), Ok(ip("2001:db8::9")));
    }
}
