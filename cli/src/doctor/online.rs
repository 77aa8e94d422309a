//! What can be seen from here. Nothing is posted to a callback URL that would take it, so nothing is stored.

use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use ureq::http::Response;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::{Agent, Body};

use super::tls::{self, Roots};
use super::{Finding, inside};
use crate::delivery::without_secret;

/// A server, and a callback URL on it.
#[derive(Debug)]
pub(crate) struct Host {
    /// Host and port.
    authority: String,
    url: String,
}

impl Host {
    /// Its name, without the port.
    fn name(&self) -> &str {
        self.authority.rsplit_once(':').map_or(&*self.authority, |(name, _)| name)
    }
}

/// How long to wait for a connection or a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Daraja may send its callbacks a little late; a certificate, a token and a log need the right time.
const CLOCK: i64 = 30;

/// A response that takes longer is slow.
const SLOW: Duration = Duration::from_secs(2);

/// Requests whose time is measured.
const TRIES: usize = 10;

/// Returns each server once.
pub(crate) fn hosts(urls: &[String]) -> Vec<Host> {
    let mut hosts = BTreeMap::new();
    for url in urls {
        let Some((scheme, rest)) = url.split_once("://") else { continue };
        let authority = rest.split(['/', '?']).next().unwrap_or_default();
        let has_port = authority.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let port = if scheme.eq_ignore_ascii_case("http") { 80 } else { 443 };
        let authority = if has_port { authority.to_owned() } else { format!("{authority}:{port}") };
        hosts.entry(authority.clone()).or_insert_with(|| Host { authority, url: url.clone() });
    }
    hosts.into_values().collect()
}

/// Looks at a server.
pub(crate) fn look(host: &Host, roots: &Roots) -> Vec<Finding> {
    let addresses = match host.authority.to_socket_addrs() {
        Ok(addresses) => addresses.collect::<Vec<_>>(),
        Err(error) => {
            let seen = format!("{}: {error}", host.authority);
            return vec![Finding::fault("dns", seen, "the name needs an A record")];
        }
    };
    let mut findings = vec![dns(host, &addresses)];
    let connected = connect(&addresses);
    let is_connected = connected.severity != super::Severity::Fault;
    findings.push(connected);
    if is_connected && let Some(address) = addresses.iter().find(|address| address.is_ipv4()) {
        let secured = host.url.starts_with("https").then(|| tls::look(*address, host.name(), roots));
        let is_secured = secured.as_ref().is_none_or(|finding| finding.severity != super::Severity::Fault);
        findings.extend(secured);
        if is_secured {
            findings.extend(requests(host, roots));
        }
    }
    findings
}

fn dns(host: &Host, addresses: &[SocketAddr]) -> Finding {
    let shown: Vec<String> = addresses.iter().map(|address| address.ip().to_string()).collect();
    let seen = format!("{}: {}", host.authority, shown.join(", "));
    match addresses.iter().any(SocketAddr::is_ipv4) {
        true => Finding::fine("dns", seen),
        false => Finding::fault("dns", seen, "no IPv4 address: Safaricom connects by IPv4, so add an A record"),
    }
}

fn connect(addresses: &[SocketAddr]) -> Finding {
    for address in addresses.iter().filter(|address| address.is_ipv4()) {
        let began = Instant::now();
        if let Err(error) = TcpStream::connect_timeout(address, PATIENCE) {
            let seen = format!("{address}: {error}");
            return Finding::fault("connect", seen, "let port 443 through the firewall, on every address of the name");
        }
        if began.elapsed() > PATIENCE / 2 {
            let seen = format!("{address}: {:.1} s", began.elapsed().as_secs_f64());
            return Finding::warning("connect", seen, "connections take long");
        }
    }
    Finding::fine("connect", "every IPv4 address accepts connections")
}

fn requests(host: &Host, roots: &Roots) -> Vec<Finding> {
    let mut agent = Agent::config_builder().http_status_as_error(false).timeout_global(Some(PATIENCE));
    if !roots.own.is_empty() {
        let own: Vec<Certificate<'static>> =
            roots.own.iter().map(|root| Certificate::from_der(root).to_owned()).collect();
        let believed = TlsConfig::builder().root_certs(RootCerts::new_with_certs(&own)).build();
        agent = agent.tls_config(believed);
    }
    let agent: Agent = agent.max_redirects(0).max_redirects_will_error(false).build().into();
    let mut findings = Vec::new();
    // A GET is never a callback: our inbox answers 405, and stores nothing.
    let response = match agent.get(&host.url).call() {
        Ok(response) => response,
        Err(error) => {
            let seen = format!("{}: {error}", without_secret(&host.url));
            return vec![Finding::fault("method", seen, "a GET must be answered: is the application running?")];
        }
    };
    findings.push(method(&response));
    findings.extend(clock(&response));
    findings.extend(secret(&agent, &host.url));
    findings.push(time(&agent, &host.url));
    if let Some(probe) = inside::probe_of(&host.url) {
        findings.extend(inside::look(&agent, &probe));
    }
    findings
}

fn method(response: &Response<Body>) -> Finding {
    let status = response.status().as_u16();
    let is_html = response.headers().get("content-type").is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"));
    let whose = ["server", "via", "x-powered-by", "cf-ray"].iter().find_map(|name| {
        let value = response.headers().get(*name)?.to_str().ok()?;
        Some(format!(" ({name}: {value})"))
    });
    let seen = format!("a GET is answered {status}{}", whose.unwrap_or_default());
    match status {
        405 => Finding::fine("method", seen),
        300..=399 => {
            let location = response.headers().get("location").and_then(|value| value.to_str().ok()).unwrap_or_default();
            let help =
                "Daraja does not follow redirects: give it the final URL, or exempt the path (www, https, a slash)";
            Finding::fault("redirect", format!("{seen}, to {}", without_secret(location)), help)
        }
        404 => Finding::fault("method", seen, "nothing is mounted at this path, or the secret is wrong"),
        401 | 403 | 419 => Finding::fault("method", seen, "a login, a firewall or a CSRF check stands before the path"),
        500..=599 => Finding::fault("method", seen, "the application fails, or the proxy does not reach it"),
        _ if is_html => Finding::fault("method", seen, "a page of another program: is the path mounted?"),
        _ => Finding::warning("method", seen, "our inbox would answer 405: another program takes this path"),
    }
}

fn clock(response: &Response<Body>) -> Option<Finding> {
    let date = DateTime::parse_from_rfc2822(response.headers().get("date")?.to_str().ok()?).ok()?;
    let ahead = (date.with_timezone(&Utc) - Utc::now()).num_seconds();
    Some(match ahead.abs() <= CLOCK {
        true => Finding::fine("clock", "the server's clock is right"),
        false => Finding::warning(
            "clock",
            format!("the server is {ahead} s ahead of this machine"),
            "synchronise the clocks",
        ),
    })
}

/// A wrong secret must not be taken. Only where there is one: a long segment.
fn secret(agent: &Agent, url: &str) -> Option<Finding> {
    let mut parts: Vec<&str> = url.split('/').collect();
    let at = parts.iter().skip(3).position(|part| part.len() >= 16)? + 3;
    let wrong = "0".repeat(parts[at].len());
    parts[at] = &wrong;
    let status = agent.post(parts.join("/")).content_type("application/json").send("{}").ok()?.status().as_u16();
    let seen = format!("a wrong secret is answered {status}");
    Some(match status {
        404 => Finding::fine("secret", seen),
        200 => Finding::fault("secret", seen, "anybody can post payments: compare the secret"),
        _ => Finding::warning("secret", seen, "our inbox would answer 404: another program takes this path"),
    })
}

/// M-Pesa waits less than 8 s for the answer to a validation.
fn time(agent: &Agent, url: &str) -> Finding {
    let mut times: Vec<Duration> = Vec::new();
    // One that is slow is enough to know.
    while times.len() < TRIES && times.last().is_none_or(|last| *last < SLOW) {
        let began = Instant::now();
        if let Err(error) = agent.get(url).call() {
            return Finding::fault(
                "time",
                format!("one of {TRIES} requests failed: {error}"),
                "it must answer every time",
            );
        }
        times.push(began.elapsed());
    }
    times.sort();
    let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
    let seen = format!("{} ms, {} ms at worst", median.as_millis(), worst.as_millis());
    match worst < SLOW {
        true => Finding::fine("time", seen),
        false => {
            Finding::warning("time", seen, "M-Pesa waits 8 s for a validation, and the way from Safaricom comes on top")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn a_name_without_an_ipv4_address_is_a_fault() {
        let host = Host { authority: "a.example.com:443".to_owned(), url: String::new() };
        let seen = |address: &str| dns(&host, &[address.parse().expect("an address")]).severity;
        assert_eq!(seen("[2001:db8::1]:443"), Severity::Fault);
        assert_eq!(seen("192.0.2.1:443"), Severity::Fine);
    }
}
