//! Checks callback URLs against Daraja's rules.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use fluent_uri::Uri;
use fluent_uri::component::Authority;

use super::Environment;
use crate::access::forbidden_word;

/// A reason why Daraja may reject a URL, or cannot reach it.
///
/// No variant contains the path, because the secret is in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UrlFinding {
    /// It is not an absolute HTTP URL.
    #[error("it is not a URL: `https://`, a host, and a path")]
    NotAUrl,
    /// It is not `https`, which production requires.
    #[error("it is not `https`: Daraja accepts `http` in the sandbox only")]
    NotHttps,
    /// The host is not reachable from the internet.
    #[error("`{host}` is not a public host: Safaricom cannot reach it")]
    NotPublic {
        /// Host of the URL.
        host: String,
    },
    /// The host belongs to a public URL tester or tunnel, which Daraja blocks in production.
    #[error("`{host}` is a public URL tester or tunnel: Daraja blocks them in production")]
    PublicTester {
        /// Host of the URL.
        host: String,
    },
    /// The host contains upper-case letters; Daraja answers `400.002.02 Invalid CallBackURL`.
    #[error("`{host}` has upper-case letters: Daraja calls such a URL invalid")]
    UpperCaseHost {
        /// Host of the URL.
        host: String,
    },
    /// It contains a word that Safaricom rejects in URLs.
    #[error("it spells `{word}`: Safaricom rejects URLs with that word, in any case")]
    ForbiddenWord {
        /// The word, as Safaricom lists it.
        word: &'static str,
    },
    /// It contains a user name, a query or a fragment, which callback URLs cannot have.
    #[error("it has {part}, and a callback URL is a host and a path")]
    Superfluous {
        /// "a user name", "a query" or "a fragment".
        part: &'static str,
    },
    /// The URL is longer than 255 characters.
    #[error("it has {length} characters; use at most {most}")]
    TooLong {
        /// Its length in characters.
        length: usize,
        /// A length that is known to work.
        most: usize,
    },
}

/// Safaricom documents no limit. Shorter URLs fit into the columns and log lines of systems in
/// between.
const MAX_LENGTH: usize = 255;

/// Hosts of public URL testers and tunnels. "Do not use public URL testers, e.g. ngrok, mockbin or
/// requestbin, especially on production, they are also usually blocked by the API" (Daraja 3.0,
/// register URL). The others are of the same sort.
const PUBLIC_TESTERS: [&str; 24] = [
    "ngrok.io",
    "ngrok.app",
    "ngrok.dev",
    "ngrok.com",
    "ngrok-free.app",
    "ngrok-free.dev",
    "mockbin.com",
    "mockbin.io",
    "mockbin.org",
    "requestbin.com",
    "requestbin.net",
    "requestcatcher.com",
    "pipedream.net",
    "webhook.site",
    "hookbin.com",
    "beeceptor.com",
    "trycloudflare.com",
    "loca.lt",
    "localtunnel.me",
    "localhost.run",
    "lhr.life",
    "serveo.net",
    "pagekite.me",
    "httpbin.org",
];

/// Names for private use: RFC 6761, RFC 6762, RFC 8375, and the usual ones in offices.
const PRIVATE_NAMES: [&str; 11] =
    ["localhost", "local", "internal", "intranet", "lan", "home", "corp", "home.arpa", "test", "example", "invalid"];

/// Returns everything that Daraja may reject about a callback URL; empty for a good one.
///
/// ```
/// use mpesa_callbacks_core::{Environment, UrlFinding, lint_url};
///
/// assert!(lint_url("https://shop.example.com/pay", Environment::Production).is_empty());
/// let findings = lint_url("http://localhost:3000/mpesa", Environment::Production);
/// assert_eq!(findings[0], UrlFinding::NotHttps);
/// assert_eq!(findings.len(), 3);
/// ```
///
/// In the sandbox, `http` and testers are allowed.
pub fn lint_url(url: &str, environment: Environment) -> Vec<UrlFinding> {
    let Some((uri, authority)) = parse(url) else { return vec![UrlFinding::NotAUrl] };
    let host = authority.host();
    let in_production = environment == Environment::Production;
    let mut findings = Vec::new();
    if in_production && !uri.scheme().as_str().eq_ignore_ascii_case("https") {
        findings.push(UrlFinding::NotHttps);
    }
    if !is_public(host) {
        findings.push(UrlFinding::NotPublic { host: host.to_owned() });
    }
    let name = host.to_ascii_lowercase();
    if in_production && PUBLIC_TESTERS.iter().any(|domain| is_below(&name, domain)) {
        findings.push(UrlFinding::PublicTester { host: host.to_owned() });
    }
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        findings.push(UrlFinding::UpperCaseHost { host: host.to_owned() });
    }
    // Also in percent-encoded form: the word may be looked for after decoding.
    let meant = uri.path().decode().to_string_lossy();
    if let Some(word) = forbidden_word(url).or_else(|| forbidden_word(&meant)) {
        findings.push(UrlFinding::ForbiddenWord { word });
    }
    let superfluous =
        [(authority.has_userinfo(), "a user name"), (uri.has_query(), "a query"), (uri.has_fragment(), "a fragment")];
    findings
        .extend(superfluous.into_iter().filter(|(there, _)| *there).map(|(_, part)| UrlFinding::Superfluous { part }));
    if url.len() > MAX_LENGTH {
        findings.push(UrlFinding::TooLong { length: url.len(), most: MAX_LENGTH });
    }
    findings
}

/// Parses an HTTP URL.
fn parse(url: &str) -> Option<(Uri<&str>, Authority<'_>)> {
    let uri = Uri::parse(url).ok()?;
    let is_web = ["http", "https"].iter().any(|web| uri.scheme().as_str().eq_ignore_ascii_case(web));
    let authority = uri.authority()?;
    let has_port = authority.port().is_none_or(|port| port.as_str().parse::<u16>().is_ok());
    (is_web && has_port && !authority.host().is_empty()).then_some((uri, authority))
}

fn is_public(host: &str) -> bool {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    match bare.parse::<IpAddr>().map(|address| address.to_canonical()) {
        Ok(IpAddr::V4(address)) => is_public_v4(address),
        Ok(IpAddr::V6(address)) => is_public_v6(address),
        Err(_) => is_public_name(bare),
    }
}

/// Whether this is a name with a dot that is not for private use. A name that ends in a number is an
/// address.
fn is_public_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let Some((_, last)) = name.rsplit_once('.') else { return false };
    let is_number = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    !is_number && !PRIVATE_NAMES.iter().any(|domain| is_below(&name, domain))
}

fn is_below(name: &str, domain: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// Returns everything that the IANA registry of special addresses does not call globally reachable.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || a >= 240
        || (a == 100 && b & 0b1100_0000 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 198 && b & 0b1111_1110 == 18))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // Global unicast, except documentation addresses.
    let segments = address.segments();
    segments[0] & 0xe000 == 0x2000 && !(segments[0] == 0x2001 && segments[1] == 0xdb8) && segments[0] != 0x3fff
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lint(url: &str) -> Vec<UrlFinding> {
        lint_url(url, Environment::Production)
    }

    fn not_public(host: &str) -> UrlFinding {
        UrlFinding::NotPublic { host: host.to_owned() }
    }

    #[test]
    fn what_daraja_takes_has_no_findings() {
        for url in [
            "https://shop.example.com/pay",
            "https://shop.example.com:8443/pay/0123/stk",
            "https://41.90.64.1/pay",
            "https://[2c0f:fe38::1]/pay",
            "https://shop.example.com",
            "https://unlocal.co.ke/",
        ] {
            assert_eq!(lint(url), [], "{url}");
        }
    }

    #[test]
    fn what_is_not_a_url_of_the_web_is_no_url() {
        for url in [
            "",
            "shop.example.com/pay",
            "/pay",
            "ftp://shop.example.com",
            "https://",
            "https:///pay",
            "https://a b.com",
            "https://shop.example.com:99999",
            "mailto:a@b.com",
            "https://shop.example.com/ä",
        ] {
            assert_eq!(lint(url), [UrlFinding::NotAUrl], "{url}");
        }
    }

    #[test]
    fn hosts_that_safaricom_cannot_reach_are_found() {
        for host in [
            "localhost",
            "a.localhost",
            "printer.local",
            "shop.internal",
            "shop",
            "shop.test",
            "127.0.0.1",
            "10.1.2.3",
            "172.16.0.1",
            "192.168.1.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "192.0.2.1",
            "198.18.0.1",
            "255.255.255.255",
            "[::1]",
            "[fd00::1]",
            "[fe80::1]",
            "[2001:db8::1]",
            "[::ffff:10.0.0.1]",
            "127.1",
            "0x7f.0.0.1",
            "2130706433",
            "localhost.",
            "shop.local.",
        ] {
            assert_eq!(lint(&format!("https://{host}/pay")), [not_public(host)], "{host}");
        }
    }

    #[test]
    fn public_testers_are_found_in_production_alone() {
        for host in ["abc.ngrok.io", "abc.ngrok-free.app", "mockbin.org", "webhook.site", "x.trycloudflare.com"] {
            let url = format!("https://{host}/pay");
            assert_eq!(lint(&url), [UrlFinding::PublicTester { host: host.to_owned() }], "{host}");
            assert_eq!(lint_url(&url, Environment::Sandbox), []);
        }
        assert_eq!(lint("https://notngrok.io/pay"), []);
        assert_eq!(lint_url("http://shop.example.com/pay", Environment::Sandbox), []);
    }

    #[test]
    fn words_that_safaricom_rejects_are_found_anywhere_and_in_any_case() {
        for (url, word) in [
            ("https://mpesa.example.com/pay", "mpesa"),
            ("https://shop.example.com/M-PESA", "m-pesa"),
            ("https://shop.example.com/payments/SafariCom", "safaricom"),
            ("https://shop.example.com/execute", "exec"),
            ("https://shop.example.com/%6Dpesa", "mpesa"),
            ("https://shop.example.com/mysql", "sql"),
        ] {
            assert_eq!(lint(url), [UrlFinding::ForbiddenWord { word }], "{url}");
        }
    }

    #[test]
    fn the_rest_is_found_too() {
        assert_eq!(
            lint("https://Shop.example.com/pay"),
            [UrlFinding::UpperCaseHost { host: "Shop.example.com".into() }]
        );
        assert_eq!(lint("https://a:b@shop.example.com/?x#y").len(), 3);
        let long = format!("https://shop.example.com/{}", "a".repeat(300));
        assert_eq!(lint(&long), [UrlFinding::TooLong { length: 325, most: 255 }]);
    }
}
