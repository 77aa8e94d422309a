//! The probe: `<mount>/<secret>/probe` reports what the inbox sees and whether its store takes a write. It stores nothing.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_core::Stream;
use serde_json::{Value, json};

use super::acknowledge::Acknowledgement;
use super::receiver::Receiver;
use crate::access::{Refusal, Request, SeenSender};
use crate::environment::Environment;

/// One more within this time is answered with 503.
const INTERVAL: Duration = Duration::from_secs(1);

/// Whether there is a probe, and when it was used last.
#[derive(Debug)]
pub(crate) struct Probe {
    is_on: bool,
    last: Mutex<Option<Instant>>,
}

/// A request to the probe.
pub(crate) struct Probing {
    sender: SeenSender,
    is_compressed: bool,
    content_length: Option<u64>,
}

impl Probe {
    pub(crate) fn new(is_on: bool) -> Probe {
        Probe { is_on, last: Mutex::default() }
    }

    fn is_too_soon(&self) -> bool {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let is_too_soon = last.is_some_and(|last| last.elapsed() < INTERVAL);
        if !is_too_soon {
            *last = Some(Instant::now());
        }
        is_too_soon
    }
}

impl Receiver {
    /// Returns the request if it is one to the probe. A route of your own at that path comes first.
    pub(crate) fn probing(&self, request: &Request<'_>) -> Option<Probing> {
        if !self.probe.is_on
            || !matches!(request.method, "GET" | "POST")
            || self.routes.at(crate::access::PROBE).is_some()
        {
            return None;
        }
        let sender = self.guard.probing(request)?;
        let (is_compressed, content_length) = (request.is_compressed(), request.content_length());
        Some(Probing { sender, is_compressed, content_length })
    }

    /// Answers it.
    pub(crate) async fn answer<B, C, E>(self: Arc<Self>, probing: Probing, body: B) -> Acknowledgement
    where
        B: Stream<Item = Result<C, E>>,
        C: Into<Bytes>,
    {
        if self.probe.is_too_soon() {
            return Acknowledgement::refusing(Refusal::Busy);
        }
        let body = match self.reader.read_probe(body, probing.content_length).await {
            Ok(body) => body,
            Err(refusal) => return Acknowledgement::refusing(refusal),
        };
        let routes = self.routes.iter();
        let kinds = routes.filter_map(|route| Some((route.kind.name().to_owned(), json!(route.path.as_deref()?))));
        let kinds: serde_json::Map<String, Value> = kinds.collect();
        let environment = match self.environment {
            Environment::Production => "production",
            Environment::Sandbox => "sandbox",
        };
        let spool = match &self.recorder.spooling {
            Some(spooling) => spooling.spool.depth().await.ok().map(|depth| depth.deliveries),
            None => None,
        };
        let seen = json!({
            "mpesa_callbacks": env!("CARGO_PKG_VERSION"),
            "environment": environment,
            "kinds": kinds,
            "body": { "bytes": body.len(), "compressed": probing.is_compressed },
            "sender": sender(&probing.sender),
            "store": self.store().await,
            "spool": { "configured": self.recorder.spooling.is_some(), "callbacks": spool },
        });
        Acknowledgement::json(seen.to_string())
    }

    async fn store(&self) -> Value {
        let began = Instant::now();
        let takes_writes = self.recorder.store.check_write().await.is_ok();
        let took = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let counts = self.recorder.store.counts().await.ok();
        json!({ "takes_writes": takes_writes, "milliseconds": took, "callbacks": counts })
    }
}

fn sender(sender: &SeenSender) -> Value {
    let allowlist = sender.allowlist.as_ref();
    json!({
        "client_ip": sender.client_ip.as_ref().ok(),
        "problem": sender.client_ip.as_ref().err().map(ToString::to_string),
        "trusted_proxies": sender.has_proxies,
        "listed": allowlist.map(|allowlist| allowlist.is_listed),
        "report_only": allowlist.map(|allowlist| allowlist.report_only),
    })
}
