//! What can be seen in the URLs themselves.

use std::collections::HashMap;

use mpesa_callbacks_core::{Environment, Kind, UrlFinding, lint_url};

use super::Finding;
use crate::delivery::without_secret;

/// Looks at URLs.
pub(crate) fn look(urls: &[String]) -> Vec<Finding> {
    let mut findings: Vec<Finding> = urls.iter().flat_map(|url| of(url)).collect();
    findings.extend(kinds(urls));
    if findings.is_empty() {
        let longest = urls.iter().map(String::len).max().unwrap_or_default();
        findings.push(Finding::fine(
            "url",
            format!("{} URLs: https, public, no word that Safaricom refuses, {longest} characters at most", urls.len()),
        ));
    }
    findings
}

fn of(url: &str) -> Vec<Finding> {
    let shown = without_secret(url);
    let finding = |found: UrlFinding| {
        let (id, help) = match found {
            UrlFinding::NotHttps => ("https", "production takes https only; Let's Encrypt has certificates"),
            UrlFinding::NotPublic { .. } => {
                ("host", "give a host that the internet can reach; develop with `daraja dev`")
            }
            UrlFinding::PublicTester { .. } => ("tester", "use a host of your own; develop with `daraja dev`"),
            UrlFinding::UpperCaseHost { .. } => ("case", "write the host in lower case"),
            UrlFinding::ForbiddenWord { .. } => ("word", "choose another path or host: `/pay`, for example"),
            UrlFinding::TooLong { .. } => ("length", "shorten the path"),
            _ => ("url", "a callback URL is https, a host, and a path"),
        };
        Finding::fault(id, format!("{shown}: {found}"), help)
    };
    lint_url(url, Environment::Production).into_iter().map(finding).collect()
}

/// What is odd about the kinds of the URLs.
fn kinds(urls: &[String]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut seen: HashMap<&str, usize> = HashMap::new();
    for url in urls {
        *seen.entry(url).or_default() += 1;
    }
    for url in seen.into_iter().filter(|(_, times)| *times > 1).map(|(url, _)| url) {
        findings.push(Finding::warning(
            "kind",
            format!("{} is given twice", without_secret(url)),
            "a result and a queue timeout look alike: give each a URL of its own",
        ));
    }
    for url in urls {
        let Some((kind, rest)) = kind(url) else { continue };
        if kind.is_registered_once() && !rest.is_empty() {
            findings.push(Finding::fault(
                "kind",
                format!("{}: the URL of one payment, for a registration that is done once", without_secret(url)),
                "register the URL without anything after `/confirmation` or `/validation`",
            ));
        }
    }
    findings
}

/// The kind whose path the URL has, and what follows it.
fn kind(url: &str) -> Option<(Kind, &str)> {
    let path = url.split_once("://")?.1.split_once('/')?.1;
    let found = |kind: Kind| {
        let own = kind.default_path()?;
        // The secret is before it.
        let at = path.find(own)?;
        let rest = &path[at + own.len()..];
        (rest.is_empty() || rest.starts_with('/')).then_some((kind, rest.trim_start_matches('/')))
    };
    Kind::built_in().find_map(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Severity;

    fn ids(urls: &[&str]) -> Vec<&'static str> {
        let urls: Vec<String> = urls.iter().map(|url| (*url).to_owned()).collect();
        let findings = look(&urls);
        findings.iter().filter(|finding| finding.severity != Severity::Fine).map(|finding| finding.id).collect()
    }

    #[test]
    fn each_defect_has_its_finding() {
        let secret = "00112233445566778899aabbccddeeff";
        let good = format!("https://shop.example.com/pay/{secret}/stk");
        assert_eq!(ids(&[&good]), [""; 0]);
        for (url, id) in [
            (format!("http://shop.example.com/pay/{secret}/stk"), "https"),
            (format!("https://192.168.1.5/pay/{secret}/stk"), "host"),
            (format!("https://abc.ngrok.io/pay/{secret}/stk"), "tester"),
            (format!("https://Shop.example.com/pay/{secret}/stk"), "case"),
            (format!("https://shop.example.com/mpesa/{secret}/stk"), "word"),
            (format!("https://shop.example.com/{}/stk", "a".repeat(250)), "length"),
            (format!("https://shop.example.com/pay/{secret}/stk?a=b"), "url"),
            (format!("https://shop.example.com/pay/{secret}/c2b/confirmation/abc"), "kind"),
        ] {
            assert_eq!(ids(&[&url]), [id], "{url}");
        }
        assert_eq!(ids(&[&good, &good]), ["kind"]);
        assert!(look(&[good]).iter().all(|finding| !finding.seen.contains(secret)));
    }
}
