//! Lines with arrows as the application sees them: `-->` it asked, `<--` it was called.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use mpesa_callbacks_core::{Environment, Kind, lint_url};
use mpesa_callbacks_daraja::{Callback, Exchange, Happening};
use serde_json::Value;

use crate::delivery;

/// Writes a line for each happening.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Callbacks for public hosts arrive, too.
    is_forwarding: bool,
    /// Receipts that were reported, by the kind that did it first.
    receipts: HashMap<String, Kind>,
}

impl Lines {
    pub(crate) fn new(is_forwarding: bool) -> Lines {
        Lines { is_forwarding, receipts: HashMap::new() }
    }

    /// Returns the lines of a happening.
    pub(crate) fn of(&mut self, happening: &Happening) -> Vec<String> {
        match happening {
            Happening::Exchange(exchange) => exchange_lines(exchange, self.is_forwarding),
            Happening::Callback { callback, took, .. } => vec![self.callback(callback, *took)],
            _ => Vec::new(),
        }
    }

    fn callback(&mut self, callback: &Callback, took: Duration) -> String {
        let status = callback.status.map_or("none".to_owned(), |status| status.to_string());
        let mut remark = match fault(callback, took) {
            Some(fault) => format!("NOT ACKNOWLEDGED: {fault}"),
            None => "acknowledged".to_owned(),
        };
        if let Some(receipt) = receipt(&callback.body) {
            match self.receipts.get(&receipt) {
                Some(kind) if *kind != callback.kind => remark += &format!(", same receipt as {kind}"),
                Some(_) => remark += ", again",
                None => {
                    self.receipts.insert(receipt.clone(), callback.kind.clone());
                }
            }
            remark += &format!("   {receipt}");
        }
        line("<--", callback.kind.name(), &status, took, &remark)
    }
}

fn exchange_lines(exchange: &Exchange, is_forwarding: bool) -> Vec<String> {
    if exchange.status == 0 {
        return vec![format!("{}      {}", time(), exchange.path)];
    }
    let answer: Value = serde_json::from_str(&exchange.answer).unwrap_or_default();
    let request: Value = serde_json::from_str(&exchange.request).unwrap_or_default();
    let remark = match answer["errorCode"].as_str() {
        Some(code) => format!("{code} {}", answer["errorMessage"].as_str().unwrap_or_default()),
        None => accepted(&request, &answer),
    };
    let path = exchange.path.trim_start_matches('/');
    let mut lines = vec![line("-->", path, &exchange.status.to_string(), Duration::ZERO, &remark)];
    lines.extend(findings(&request, is_forwarding).into_iter().map(|finding| format!("              {finding}")));
    lines
}

/// Ids, amount and account of a request that was taken.
fn accepted(request: &Value, answer: &Value) -> String {
    let text = |value: &Value| match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    let id = ["CheckoutRequestID", "ConversationID"].iter().find_map(|name| text(&answer[*name]));
    let result = text(&answer["ResultCode"]).map(|code| format!("result code {code}"));
    let amount = text(&request["Amount"]).map(|amount| format!("KES {amount}"));
    let account = ["AccountReference", "BillRefNumber"].iter().find_map(|name| text(&request[*name]));
    [id, result, amount, account].into_iter().flatten().collect::<Vec<_>>().join("   ")
}

/// What production would say about the URLs of a request.
fn findings(request: &Value, is_forwarding: bool) -> Vec<String> {
    let Some(members) = request.as_object() else { return Vec::new() };
    let urls = members.iter().filter_map(|(name, value)| {
        let value = value.as_str().filter(|text| text.contains("://"))?;
        Some((name, value))
    });
    let mut findings = Vec::new();
    for (name, url) in urls {
        // Who works with URLs of this machine knows that they are not public.
        let is_local = url.starts_with("http://127.0.0.1") || url.starts_with("http://localhost");
        if is_local && !is_forwarding {
            continue;
        }
        findings.extend(lint_url(url, Environment::Production).iter().map(|finding| format!("{name}: {finding}")));
    }
    findings
}

/// Why a callback is not acknowledged.
fn fault(callback: &Callback, took: Duration) -> Option<String> {
    let Some(status) = callback.status else { return Some(callback.response.clone()) };
    delivery::fault(&callback.kind, status, &callback.response, took)
}

fn receipt(body: &str) -> Option<String> {
    let value: Value = serde_json::from_str(body).ok()?;
    let items = value.pointer("/Body/stkCallback/CallbackMetadata/Item").and_then(Value::as_array);
    let item = items.into_iter().flatten().find(|item| item["Name"] == "MpesaReceiptNumber").map(|item| &item["Value"]);
    let found = item.or_else(|| value.pointer("/Result/TransactionID")).or_else(|| value.get("TransID"));
    found.and_then(Value::as_str).map(str::to_owned)
}

fn line(arrow: &str, what: &str, status: &str, took: Duration, remark: &str) -> String {
    let took = if took.is_zero() { String::new() } else { format!("{} ms", took.as_millis()) };
    format!("{}  {arrow} {what:34} {status:>4} {took:>8}   {remark}", time()).trim_end().to_owned()
}

fn time() -> impl fmt::Display {
    chrono::Local::now().format("%H:%M:%S")
}

/// What happened altogether.
#[derive(Debug, Default)]
pub(crate) struct Summary {
    tokens: usize,
    pushes: usize,
    acknowledged: usize,
    others: usize,
    slowest: Duration,
}

impl Summary {
    pub(crate) fn count(&mut self, happening: &Happening) {
        match happening {
            Happening::Exchange(exchange) => {
                self.tokens += usize::from(exchange.path == "/oauth/v1/generate");
                self.pushes += usize::from(exchange.path == "/mpesa/stkpush/v1/processrequest");
            }
            Happening::Callback { callback, took, .. } => {
                let is_right = fault(callback, *took).is_none();
                self.acknowledged += usize::from(is_right);
                self.others += usize::from(!is_right);
                self.slowest = self.slowest.max(*took);
            }
            _ => {}
        }
    }
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Summary { tokens, pushes, acknowledged, others, slowest } = self;
        let all = acknowledged + others;
        write!(f, "{all} callbacks: {acknowledged} acknowledged")?;
        if *others > 0 {
            write!(f, ", {others} not acknowledged. Daraja does not send those again: what you did not store is lost")?;
        }
        f.write_str(".")?;
        if all > 0 {
            write!(f, " Slowest response: {} ms.", slowest.as_millis())?;
        }
        if *pushes > 1 && tokens >= pushes {
            write!(f, "\n{tokens} tokens for {pushes} pushes: one lives an hour, so one is enough.")?;
        }
        Ok(())
    }
}
