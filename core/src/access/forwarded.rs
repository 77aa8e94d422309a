//! `X-Forwarded-For` and `Forwarded` (RFC 7239), read from the right.
//!
//! Each proxy appends the address that connected to it. Everything to the left of the trusted
//! proxies' elements may be forged: it is never parsed, and cannot change how the elements to its
//! right are read. So the list is split from its right end, and an element is parsed when its turn
//! comes.

use std::net::IpAddr;

/// The header in which proxies pass the client IP. Only the configured one is read. The proxies
/// must append to it, or replace it, on every request; a header that they only forward is the
/// client's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`: addresses with or without a port.
    #[default]
    XForwardedFor,
    /// `Forwarded`, as RFC 7239 defines it.
    Forwarded,
}

impl ForwardedHeader {
    /// Returns its name, in lower case.
    pub fn name(self) -> &'static str {
        match self {
            ForwardedHeader::XForwardedFor => "x-forwarded-for",
            ForwardedHeader::Forwarded => "forwarded",
        }
    }
}

/// Returns the elements of all lines of the header, last one first, without empty ones (RFC 9110,
/// 5.6.1).
pub(super) fn from_the_right<'a>(header: ForwardedHeader, lines: &'a [&'a [u8]]) -> impl Iterator<Item = &'a [u8]> {
    let quotes = header == ForwardedHeader::Forwarded;
    let elements = move |line: &'a [u8]| {
        let mut rest = Some(line);
        std::iter::from_fn(move || {
            let line = rest?;
            let (before, element) = match last_comma(line, quotes) {
                Some(at) => (Some(&line[..at]), &line[at + 1..]),
                None => (None, line),
            };
            rest = before;
            Some(element.trim_ascii())
        })
    };
    lines.iter().rev().copied().flat_map(elements).filter(|element| !element.is_empty())
}

/// Returns the position of the last comma; in `Forwarded`, of the last one outside quotes. Quotes are
/// counted from the right, because a trusted proxy closes the quotes that it opens.
fn last_comma(line: &[u8], quotes: bool) -> Option<usize> {
    let mut quoted = false;
    line.iter().rposition(|byte| {
        quoted ^= quotes && *byte == b'"';
        *byte == b',' && !quoted
    })
}

/// Returns the address in an element; `None` for `unknown`, `_hidden` or anything else.
pub(super) fn address(header: ForwardedHeader, element: &[u8]) -> Option<IpAddr> {
    let element = std::str::from_utf8(element).ok()?;
    match header {
        ForwardedHeader::XForwardedFor => node(element),
        ForwardedHeader::Forwarded => node(&forwarded_for(element)?),
    }
}

/// Returns the value of the single `for` among the pairs of an element.
fn forwarded_for(element: &str) -> Option<String> {
    let mut found = None;
    let mut rest = element;
    loop {
        let (name, value) = rest.split_once('=')?;
        let name = name.trim_ascii_start();
        if name.is_empty() || !name.bytes().all(is_token) {
            return None;
        }
        let (value, after) = value_and_rest(value)?;
        if name.eq_ignore_ascii_case("for") && found.replace(value).is_some() {
            return None;
        }
        match after.trim_ascii().strip_prefix(';') {
            Some(next) => rest = next,
            None if after.trim_ascii().is_empty() => return found,
            None => return None,
        }
        if rest.trim_ascii().is_empty() {
            return found;
        }
    }
}

/// Parses a token or a quoted string. No proxy needs to escape anything in an address, a protocol
/// or a host, so an element with a backslash is rejected.
fn value_and_rest(text: &str) -> Option<(String, &str)> {
    if let Some(text) = text.strip_prefix('"') {
        let (value, rest) = text.split_once('"')?;
        return (!value.contains('\\')).then(|| (value.to_owned(), rest));
    }
    let end = text.bytes().position(|byte| !is_token(byte)).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}

/// Whether this is a token character of RFC 9110, 5.6.2.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// Parses an address with or without a port: `192.0.2.1`, `192.0.2.1:80`, `[2001:db8::1]:80`,
/// `2001:db8::1`.
fn node(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse::<IpAddr>() {
        return Some(address.to_canonical());
    }
    if let Some(text) = text.strip_prefix('[') {
        let (address, port) = text.split_once(']')?;
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        let address = address.parse::<std::net::Ipv6Addr>().ok()?;
        return fits.then(|| IpAddr::V6(address).to_canonical());
    }
    let (address, port) = text.split_once(':')?;
    let address = address.parse::<std::net::Ipv4Addr>().ok()?;
    is_port(port).then_some(IpAddr::V4(address))
}

/// Whether this is a number, or an obfuscated port (RFC 7239, 6.3).
fn is_port(text: &str) -> bool {
    let hidden = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte));
    match text.strip_prefix('_') {
        Some(text) => !text.is_empty() && hidden(text),
        None => (1..=5).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x_forwarded_for(lines: &[&str]) -> Vec<Option<IpAddr>> {
        read(ForwardedHeader::XForwardedFor, lines)
    }

    fn forwarded(lines: &[&str]) -> Vec<Option<IpAddr>> {
        read(ForwardedHeader::Forwarded, lines)
    }

    fn read(header: ForwardedHeader, lines: &[&str]) -> Vec<Option<IpAddr>> {
        let lines: Vec<_> = lines.iter().map(|line| line.as_bytes()).collect();
        from_the_right(header, &lines).map(|element| address(header, element)).collect()
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn all_lines_are_one_list_and_the_last_element_comes_first() {
        assert_eq!(
            x_forwarded_for(&["192.0.2.1, 192.0.2.2", " 192.0.2.3 ,,", ""]),
            [Some(ip("192.0.2.3")), Some(ip("192.0.2.2")), Some(ip("192.0.2.1"))]
        );
        assert_eq!(
            forwarded(&["for=192.0.2.1", "for=192.0.2.2;proto=http, "]),
            [Some(ip("192.0.2.2")), Some(ip("192.0.2.1"))]
        );
        assert_eq!(x_forwarded_for(&[]), []);
    }

    #[test]
    fn ports_brackets_and_mapped_addresses_are_read() {
        for (text, address) in [
            ("192.0.2.1:4711", "192.0.2.1"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("[2001:db8::1]", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("[::ffff:192.0.2.1]:_hidden", "192.0.2.1"),
        ] {
            assert_eq!(x_forwarded_for(&[text]), [Some(ip(address))], "{text}");
            assert_eq!(forwarded(&[&format!("FOR=\"{text}\"")]), [Some(ip(address))], "{text}");
        }
    }

    #[test]
    fn what_is_no_address_is_none() {
        for text in [
            "unknown",
            "_hidden",
            "192.0.2.1:",
            "192.0.2.1:port",
            "192.0.2.256",
            "[192.0.2.1]",
            "[::1",
            "0x7f.1",
            "1",
            "192.0.2.1 192.0.2.2",
            "\"192.0.2.1\"",
        ] {
            assert_eq!(x_forwarded_for(&[text]), [None], "{text}");
        }
        for text in [
            "for=unknown",
            "for=_hidden",
            "for=\"_hidden:_port\"",
            "192.0.2.1",
            "by=192.0.2.1",
            "for=192.0.2.1;for=192.0.2.1",
            "for = 192.0.2.1",
            "for=\"192.0.2.1",
            "for=\"192.0.2.\\1\"",
            "for=2001:db8::1",
            "for=192.0.2.1 x",
            "=192.0.2.1",
            "for=",
        ] {
            assert_eq!(forwarded(&[text]), [None], "{text}");
        }
    }

    #[test]
    fn a_quote_left_open_by_the_client_swallows_nothing() {
        let lines = ["for=\"203.0.113.9, for=\"[2001:db8::1]:80\";by=\"a,b\", for=192.0.2.2"];
        assert_eq!(forwarded(&lines)[..2], [Some(ip("192.0.2.2")), Some(ip("2001:db8::1"))]);
        let lines = ["for=192.0.2.9\"", "for=192.0.2.2"];
        assert_eq!(forwarded(&lines)[..1], [Some(ip("192.0.2.2"))]);
    }

    #[test]
    fn a_comma_in_quotes_divides_nothing() {
        assert_eq!(forwarded(&["host=\"a,b\";for=192.0.2.1"]), [Some(ip("192.0.2.1"))]);
    }
}
