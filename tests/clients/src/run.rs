//! Runs a program against a simulator, call by call.
//!
//! The program gets `DARAJA_URL` and the callback URLs in its environment. After each call it writes one line of JSON,
//! `{"call":"push","ok":true}` or `{"call":"push","ok":false,"error":"…"}`, and waits for a line. Meanwhile the
//! simulator delivers what the call caused, so that the next call finds it done.

use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use mpesa_callbacks_daraja::{Daraja, Exchange};
use serde::Deserialize;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::time::timeout;

use crate::programs::Program;
use crate::receiver;

/// Longer than any client takes, also with its own retries.
const LONG: Duration = Duration::from_secs(120);

/// One call of a client, and what came of it.
#[derive(Debug)]
pub(crate) struct Tried {
    pub(crate) client: &'static str,
    pub(crate) call: String,
    /// Path of the request at the simulator; empty if none came.
    pub(crate) path: String,
    /// Callbacks that the call caused; the merchant acknowledged each.
    pub(crate) callbacks: usize,
    /// `None` if the client returned what Daraja had answered.
    pub(crate) error: Option<String>,
}

#[derive(Deserialize)]
struct Line {
    call: String,
    ok: bool,
    #[serde(default)]
    error: String,
}

/// Runs a program, and returns its calls.
pub(crate) async fn run(program: &Program, command: &mut Command) -> anyhow::Result<Vec<Tried>> {
    let daraja = Daraja::start().await?;
    let (inbox, urls) = receiver::start(&daraja).await?;
    command.env("DARAJA_URL", daraja.base_url()).envs(&urls);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = tokio::process::Command::from(std::mem::replace(command, Command::new("true")))
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} does not start", program.name))?;
    let mut to = child.stdin.take().context("a pipe")?;
    let mut lines = BufReader::new(child.stdout.take().context("a pipe")?).lines();

    let mut tried = Vec::new();
    let mut known = 0;
    while let Some(text) = timeout(LONG, lines.next_line()).await.context("the program is stuck")?? {
        // Some clients print, too.
        let Ok(Line { call, ok, error }) = serde_json::from_str::<Line>(&text) else { continue };
        daraja.settled().await;
        inbox.idle(LONG).await;
        let news = daraja.journal().split_off(known);
        known += news.len();
        tried.push(result(program, call, (!ok).then_some(error), &news)?);
        to.write_all(b"\n").await?;
    }
    let status = child.wait().await?;
    ensure!(status.success(), "{} ended with {status}", program.name);
    ensure!(!tried.is_empty(), "{} made no call", program.name);
    inbox.shutdown(LONG).await?;
    Ok(tried)
}

fn result(program: &Program, call: String, error: Option<String>, news: &[Exchange]) -> anyhow::Result<Tried> {
    // A token is fetched when the client wants one.
    let is_it = |exchange: &&Exchange| exchange.path != "/oauth/v1/generate" || call == "token";
    let exchange = news.iter().rfind(is_it);
    let callbacks: Vec<_> = news.iter().flat_map(Exchange::callbacks).collect();
    if let Some(callback) = callbacks.iter().find(|callback| !callback.is_acknowledged()) {
        bail!("{} {call}: not acknowledged: {callback:?}", program.name);
    }
    let error = match (error, exchange) {
        (None, None) => Some("reports success, and sent nothing".to_owned()),
        (None, Some(exchange)) if exchange.status != 200 => {
            Some(format!("reports success after {}: {}", exchange.status, exchange.answer))
        }
        (Some(error), Some(exchange)) if exchange.status != 200 => {
            Some(format!("{error} (answer: {})", exchange.answer))
        }
        (error, _) => error,
    };
    let path = exchange.map(|exchange| exchange.path.clone()).unwrap_or_default();
    Ok(Tried { client: program.name, call, path, callbacks: callbacks.len(), error })
}
