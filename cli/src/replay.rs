//! `daraja replay`: the callbacks of a record, again.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use mpesa_callbacks_core::Kind;
use serde::Deserialize;

use crate::delivery::{Poster, without_secret};

/// The callbacks of a record.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A file of `daraja dev --record`.
    file: PathBuf,
    /// Posts them to this host instead of theirs, with their paths: `http://127.0.0.1:3000`.
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
    fn the_path_stays() {
        assert_eq!(
            moved("https://a.example.com/pay/x/stk", "http://127.0.0.1:3000/"),
            "http://127.0.0.1:3000/pay/x/stk"
        );
        assert_eq!(moved("https://a.example.com", "http://127.0.0.1:3000"), "http://127.0.0.1:3000");
    }
}
