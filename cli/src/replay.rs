//! `daraja replay`: the callbacks of a record, again.

use std::net::IpAddr;
use std::path::PathBuf;

use anyhow::{Context, bail, ensure};
use mpesa_callbacks_core::Kind;
use serde::Deserialize;

use crate::delivery::{Poster, without_secret};

/// The callbacks of a record.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A file of `daraja dev --record`.
    file: PathBuf,
    /// Posts them to this host, with their paths: `http://127.0.0.1:3000`. Needed for callbacks that went to another
    /// machine.
    #[arg(long, value_name = "URL")]
    to: Option<String>,
    /// Only those of this exchange. Every line of the record has its number.
    #[arg(long)]
    number: Option<usize>,
    /// Only those of this kind.
    #[arg(long)]
    kind: Option<Kind>,
    /// The last one first.
    #[arg(long)]
    reverse: bool,
}

/// A line of a record. Those of exchanges have other members.
#[derive(Deserialize)]
struct Line {
    number: Option<usize>,
    callback: Option<Recorded>,
}

#[derive(Deserialize)]
struct Recorded {
    kind: String,
    url: String,
    body: String,
}

/// Posts them. Returns whether every response is what Daraja waits for.
pub(crate) fn run(options: &Options) -> anyhow::Result<bool> {
    let name = options.file.display();
    let text = std::fs::read_to_string(&options.file).with_context(|| format!("cannot read {name}"))?;
    let mut callbacks = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let Line { number: exchange, callback } =
            serde_json::from_str(line).with_context(|| format!("{name}, line {}: no record", number + 1))?;
        let Some(callback) = callback else { continue };
        let is_asked_for = options.number.is_none_or(|wanted| exchange == Some(wanted))
            && options.kind.as_ref().is_none_or(|wanted| wanted.name() == callback.kind);
        if is_asked_for {
            callbacks.push(callback);
        }
    }
    ensure!(!callbacks.is_empty(), "{name} has no such callback");
    if options.reverse {
        callbacks.reverse();
    }
    if options.to.is_none()
        && let Some(Recorded { url, .. }) = callbacks.iter().find(|callback| !is_local(&callback.url))
    {
        // A host of that name may be in production by now.
        bail!("these callbacks are for {}: say where to post them, with `--to http://127.0.0.1:3000`", host(url));
    }
    let (poster, mut are_right) = (Poster::new(), true);
    for Recorded { kind, url, body } in callbacks {
        let url = options.to.as_ref().map_or(url.clone(), |to| moved(&url, to));
        println!("POST {}   {kind}", without_secret(&url));
        let response = poster.post(&Kind::from_stored_name(&kind), &url, body.as_bytes())?;
        println!("{response}");
        are_right &= response.is_right();
    }
    Ok(are_right)
}

fn host(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', '?']).next().unwrap_or_default()
}

/// Whether a URL leads to this machine.
fn is_local(url: &str) -> bool {
    let host = host(url);
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    name == "localhost" || name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// The path of a URL at another host.
fn moved(url: &str, to: &str) -> String {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    format!("{}{path}", to.trim_end_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_known() {
        for url in ["http://127.0.0.1:3000/x", "http://localhost/x", "https://[::1]:3000/x", "http://127.1.2.3"] {
            assert!(is_local(url), "{url}");
        }
        for url in ["https://shop.example.com/x", "http://127.0.0.1.example.com/", "http://127.0.0.1@evil.com/x"] {
            assert!(!is_local(url), "{url}");
        }
    }

    #[test]
    fn the_path_stays() {
        assert_eq!(
            moved("https://a.example.com/pay/x/stk", "http://127.0.0.1:3000/"),
            "http://127.0.0.1:3000/pay/x/stk"
        );
        assert_eq!(moved("https://a.example.com", "http://127.0.0.1:3000"), "http://127.0.0.1:3000");
    }
}
