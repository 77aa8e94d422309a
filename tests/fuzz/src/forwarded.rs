//! `X-Forwarded-For` and `Forwarded`, against a slow reading of the same rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use mpesa_callbacks_core::{ClientIpError, ForwardedHeader, TrustedProxies};

/// Which proxies there are.
#[derive(Clone, Copy, Debug)]
pub enum Proxies {
    /// Those of 10.0.0.0/8, and the peer is 10.0.0.1.
    Network,
    /// So many.
    Hops(usize),
}

/// The first byte chooses header and proxies; the rest are the header's lines.
pub fn forwarded(data: &[u8]) {
    let Some((choice, lines)) = data.split_first() else { return };
    let header = if choice & 1 == 0 { ForwardedHeader::XForwardedFor } else { ForwardedHeader::Forwarded };
    let proxies = if choice & 2 == 0 { Proxies::Network } else { Proxies::Hops(usize::from(choice >> 2) % 5) };
    let lines: Vec<&[u8]> = lines.split(|byte| *byte == b'\n').collect();
    assert_eq!(source(header, proxies, &lines), slowly(header, proxies, &lines), "{header:?} {proxies:?}");
}

/// The result of the library.
pub fn source(header: ForwardedHeader, proxies: Proxies, lines: &[&[u8]]) -> Result<IpAddr, ClientIpError> {
    let trusted = match proxies {
        Proxies::Network => TrustedProxies::addresses(["10.0.0.0/8"]),
        Proxies::Hops(hops) => TrustedProxies::hops(hops),
    };
    trusted.header(header).client_ip(Some(Ipv4Addr::new(10, 0, 0, 1).into()), lines)
}

/// The rules, implemented character by character: everything is read before anything is decided.
pub fn slowly(header: ForwardedHeader, proxies: Proxies, lines: &[&[u8]]) -> Result<IpAddr, ClientIpError> {
    let mut elements: Vec<Vec<u8>> = Vec::new();
    for line in lines.iter().rev() {
        let (mut element, mut quoted) = (Vec::new(), false);
        for byte in line.iter().rev() {
            if *byte == b'"' && header == ForwardedHeader::Forwarded {
                quoted = !quoted;
            }
            if *byte == b',' && !quoted {
                elements.push(std::mem::take(&mut element));
            } else {
                element.insert(0, *byte);
            }
        }
        elements.push(element);
    }
    let blank = |byte: &u8| byte.is_ascii_whitespace();
    elements.retain(|element| !element.iter().all(blank));
    let addresses: Vec<Option<IpAddr>> = elements
        .iter()
        .map(|element| {
            let text = String::from_utf8(element.clone()).ok()?;
            let text = text.trim_matches(|letter: char| letter.is_ascii_whitespace());
            if header == ForwardedHeader::XForwardedFor { node(text) } else { node(&pairs(text)?) }
        })
        .collect();
    let hop = |index: usize| match addresses.get(index) {
        None => Err(ClientIpError::TooFewHops),
        Some(None) => Err(ClientIpError::Hidden),
        Some(Some(address)) => Ok(*address),
    };
    match proxies {
        Proxies::Hops(0) => Ok(Ipv4Addr::new(10, 0, 0, 1).into()),
        Proxies::Hops(hops) => hop(hops - 1),
        Proxies::Network => {
            let mut index = 0;
            loop {
                match hop(index)? {
                    IpAddr::V4(address) if address.octets()[0] == 10 => index += 1,
                    address => return Ok(address),
                }
            }
        }
    }
}

/// The `for` of an element, which may occur once.
fn pairs(element: &str) -> Option<String> {
    let letters: Vec<char> = element.chars().collect();
    let is_token = |letter: char| letter.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(letter);
    let (mut at, mut found) = (0, Vec::new());
    let skip_blanks = |at: &mut usize| {
        while letters.get(*at).is_some_and(char::is_ascii_whitespace) {
            *at += 1;
        }
    };
    loop {
        // Blanks may stand before a name and behind a value, not within a pair (a lenient reading of RFC 7239, 4).
        skip_blanks(&mut at);
        let begins = at;
        while letters.get(at).is_some_and(|letter| is_token(*letter)) {
            at += 1;
        }
        let name: String = letters[begins..at].iter().collect();
        if name.is_empty() || letters.get(at) != Some(&'=') {
            return None;
        }
        at += 1;
        let mut value = String::new();
        if letters.get(at) == Some(&'"') {
            at += 1;
            loop {
                match letters.get(at)? {
                    '"' => break,
                    '\\' => return None,
                    letter => value.push(*letter),
                }
                at += 1;
            }
            at += 1;
        } else {
            while letters.get(at).is_some_and(|letter| is_token(*letter)) {
                value.push(letters[at]);
                at += 1;
            }
            if value.is_empty() {
                return None;
            }
        }
        if name.eq_ignore_ascii_case("for") {
            found.push(value);
        }
        skip_blanks(&mut at);
        match letters.get(at) {
            None => break,
            Some(';') => at += 1,
            Some(_) => return None,
        }
        let rest: String = letters[at..].iter().collect();
        if rest.chars().all(|letter| letter.is_ascii_whitespace()) {
            break;
        }
    }
    (found.len() == 1).then(|| found.remove(0))
}

/// An address with or without a port.
fn node(text: &str) -> Option<IpAddr> {
    let canonical = |address: IpAddr| Some(address.to_canonical());
    if text.starts_with('[') {
        let end = text.find(']')?;
        let port = &text[end + 1..];
        let address: Ipv6Addr = text[1..end].parse().ok()?;
        return if port.is_empty() || port.starts_with(':') && is_port(&port[1..]) {
            canonical(address.into())
        } else {
            None
        };
    }
    match text.matches(':').count() {
        0 => canonical(text.parse::<Ipv4Addr>().ok()?.into()),
        1 => {
            let at = text.find(':')?;
            if !is_port(&text[at + 1..]) {
                return None;
            }
            canonical(text[..at].parse::<Ipv4Addr>().ok()?.into())
        }
        _ => canonical(text.parse::<Ipv6Addr>().ok()?.into()),
    }
}

fn is_port(port: &str) -> bool {
    let letters: Vec<char> = port.chars().collect();
    match letters.as_slice() {
        ['_', hidden @ ..] => {
            !hidden.is_empty() && hidden.iter().all(|it| it.is_ascii_alphanumeric() || ['.', '_', '-'].contains(it))
        }
        digits => !digits.is_empty() && digits.len() <= 5 && digits.iter().all(char::is_ascii_digit),
    }
}
