//! What the inbox sees, by its probe. It stores nothing.

use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::Value;
use ureq::Agent;

use super::Finding;

/// A probe answers once a second.
const PAUSE: Duration = Duration::from_millis(1100);

/// Sizes of bodies, in bytes: more than any callback of Daraja's has. (A proxy that cuts off does so at some kilobytes.)
const SIZES: [usize; 2] = [1024, 60 * 1024];

/// A store that takes longer to write is busy or far away.
const SLOW: Duration = Duration::from_secs(1);

/// How often a probe that is busy with others is asked.
const TRIES: usize = 5;

/// Returns the URL of the probe: beside that of a kind, below the secret.
pub(super) fn probe_of(url: &str) -> Option<String> {
    let parts: Vec<&str> = url.split('/').collect();
    let secret = parts.iter().skip(3).position(|part| part.len() >= 16)? + 3;
    Some(format!("{}/probe", parts[..=secret].join("/")))
}

/// Asks the probe; no findings if there is none.
pub(super) fn look(agent: &Agent, probe: &str) -> Vec<Finding> {
    let Some((_, seen)) = ask(agent, probe, None) else { return Vec::new() };
    if seen["mpesa_callbacks"].is_null() {
        return Vec::new();
    }
    let mut findings = vec![inside(&seen)];
    findings.extend(waiting(&seen));
    findings.push(source(&seen));
    findings.push(post(agent, probe));
    findings
}

/// Returns the status and the answer; `None` for anything but JSON.
fn ask(agent: &Agent, probe: &str, body: Option<&[u8]>) -> Option<(u16, Value)> {
    for _ in 0..TRIES {
        let answer = match body {
            None => agent.get(probe).call(),
            Some(body) => agent.post(probe).content_type("application/json").send(body),
        };
        let mut answer = answer.ok()?;
        if answer.status() != 503 {
            let status = answer.status().as_u16();
            return Some((status, serde_json::from_str(&answer.body_mut().read_to_string().ok()?).ok()?));
        }
        sleep(PAUSE);
    }
    None
}

fn inside(seen: &Value) -> Finding {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let kinds = seen["kinds"].as_object().map_or(0, serde_json::Map::len);
    let (version, environment) = (text(&seen["mpesa_callbacks"]), text(&seen["environment"]));
    let took = Duration::from_millis(seen["store"]["milliseconds"].as_u64().unwrap_or_default());
    let shown = format!("mpesa-callbacks {version}, {environment}, {kinds} kinds");
    if seen["store"]["takes_writes"] != true {
        let help = "callbacks are answered 503, or go to the spool: repair the store's database or disk";
        return Finding::fault("inside", format!("{shown}: the store takes no write"), help);
    }
    let shown = format!("{shown}: the store takes a write in {} ms", took.as_millis());
    if took > SLOW {
        return Finding::warning("inside", shown, "the store's database or disk is busy or far away");
    }
    if seen["spool"]["configured"] == false {
        return Finding::fine("inside", format!("{shown}; no spool"));
    }
    Finding::fine("inside", shown)
}

/// What waits for a person.
fn waiting(seen: &Value) -> Option<Finding> {
    let count = |state: &str| seen["store"]["callbacks"][state].as_u64().unwrap_or_default();
    let waiting: Vec<String> = ["held", "dead", "quarantined"]
        .into_iter()
        .filter(|state| count(state) > 0)
        .map(|state| format!("{} {state}", count(state)))
        .collect();
    let help = "they arrived, and wait for a person: `inbox.list` shows them";
    (!waiting.is_empty()).then(|| Finding::warning("waiting", waiting.join(", "), help))
}

fn source(seen: &Value) -> Finding {
    let sender = &seen["sender"];
    let way = if sender["trusted_proxies"] == true { "with trusted proxies" } else { "without trusted proxies" };
    let Some(client_ip) = sender["client_ip"].as_str() else {
        let problem = sender["problem"].as_str().unwrap_or_default();
        let (seen, help) = (format!("it does not know who calls, {way}: {problem}"), "configure `.trusted_proxies(…)`");
        // Without an allowlist, the address matters to limits and records only.
        return match sender["listed"].is_null() {
            true => Finding::warning("source", seen, help),
            false => Finding::fault("source", seen, help),
        };
    };
    let shown = format!("it sees {client_ip}, {way}");
    let is_private = client_ip.parse().is_ok_and(|ip: std::net::IpAddr| match ip {
        std::net::IpAddr::V4(ip) => ip.is_private() || ip.is_link_local() || ip.is_loopback(),
        std::net::IpAddr::V6(ip) => ip.is_loopback() || ip.is_unique_local(),
    });
    match (sender["listed"].as_bool(), sender["report_only"].as_bool()) {
        (None, _) => Finding::fine("source", format!("{shown}; no list of addresses")),
        // That is a proxy, so every callback would seem to come from it.
        (Some(false), Some(false)) if is_private => Finding::fault(
            "source",
            format!("{shown}, which is a proxy's address: its list refuses everybody"),
            "configure `.trusted_proxies(…)`, so that it sees Safaricom's addresses",
        ),
        (Some(_), Some(true)) => Finding::fine("source", format!("{shown}; its list reports only")),
        (Some(true), _) => Finding::fine("source", format!("{shown}, which is listed")),
        (Some(false), _) => Finding::fine("source", format!("{shown}, which is not listed: Safaricom's are")),
    }
}

/// Whether whole bodies arrive, as they were sent, in time.
fn post(agent: &Agent, probe: &str) -> Finding {
    let mut slowest = Duration::ZERO;
    for size in SIZES {
        sleep(PAUSE);
        let (began, body) = (Instant::now(), json_of(size));
        let answer = ask(agent, probe, Some(body.as_bytes()));
        slowest = slowest.max(began.elapsed());
        let help = "let the proxy pass bodies of 64 KiB, unchanged (nginx: client_max_body_size)";
        match answer {
            Some((200, seen)) if seen["body"]["compressed"] == true => {
                return Finding::fault("post", "the body arrives compressed", "do not compress requests");
            }
            Some((200, seen)) if seen["body"]["bytes"] == body.len() => {}
            Some((200, seen)) => {
                let seen = format!("of {} bytes, {} arrive", body.len(), seen["body"]["bytes"]);
                return Finding::fault("post", seen, help);
            }
            Some((status, _)) => {
                return Finding::fault("post", format!("a body of {size} bytes is answered {status}"), help);
            }
            None => return Finding::fault("post", format!("a body of {size} bytes gets no answer of the inbox"), help),
        }
    }
    Finding::fine("post", format!("bodies of 1 KiB and 60 KiB arrive whole, in {} ms at most", slowest.as_millis()))
}

fn json_of(size: usize) -> String {
    format!(r#"{{"probe":"{}"}}"#, "x".repeat(size.saturating_sub(12)))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Severity;

    #[test]
    fn the_probe_is_below_the_secret() {
        let secret = "00112233445566778899aabbccddeeff";
        let url = format!("https://a.example.com/pay/{secret}/c2b/confirmation");
        assert_eq!(probe_of(&url), Some(format!("https://a.example.com/pay/{secret}/probe")));
        assert_eq!(probe_of("https://a.example.com/stk"), None);
    }

    #[test]
    fn each_defect_has_its_finding() {
        let sender = |sender: Value| source(&json!({ "sender": sender })).severity;
        let proxied =
            json!({ "client_ip": "10.0.0.3", "trusted_proxies": false, "listed": false, "report_only": false });
        assert_eq!(sender(proxied), Severity::Fault);
        let outside =
            json!({ "client_ip": "102.1.2.3", "trusted_proxies": true, "listed": false, "report_only": false });
        assert_eq!(sender(outside), Severity::Fine);
        assert_eq!(sender(json!({ "problem": "no peer", "listed": false })), Severity::Fault);
        assert_eq!(sender(json!({ "problem": "no peer", "listed": null })), Severity::Warning);
        let store = |takes: bool, ms: u64| inside(&json!({ "store": { "takes_writes": takes, "milliseconds": ms } }));
        assert_eq!(store(true, 3).severity, Severity::Fine);
        assert_eq!(store(true, 3000).severity, Severity::Warning);
        assert_eq!(store(false, 3).severity, Severity::Fault);
        assert!(waiting(&json!({ "store": { "callbacks": { "held": 0, "dead": 2 } } })).is_some());
    }
}
