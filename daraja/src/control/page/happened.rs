//! What happened: requests, answers and callbacks, newest first.

use std::fmt::Write;

use super::{escaped, seconds};
use crate::post::{Callback, Exchange};
use crate::state::State;

/// Number of exchanges on the page.
const SHOWN: usize = 50;

/// Requests and their callbacks.
pub(super) fn journal(page: &mut String, state: &State, base_url: &str) {
    *page += "<section id=\"happened\"><h2>Journal</h2>\n";
    let all = state.journal.all();
    if all.is_empty() {
        *page += "<p>No requests yet.</p>\n";
    }
    for exchange in all.iter().rev().take(SHOWN) {
        entry(page, exchange, base_url);
    }
    *page += "</section>\n";
}

fn entry(page: &mut String, exchange: &Exchange, base_url: &str) {
    let (number, class) = (exchange.number, if exchange.status >= 400 { "bad" } else { "" });
    let _ = writeln!(
        page,
        "<details id=\"e{number}\"><summary class=\"{class}\"><span class=\"time\">{}</span> {} → {}</summary>\n<pre>{}</pre>\n<pre>{}</pre>",
        seconds(exchange.at),
        escaped(&exchange.path),
        exchange.status,
        escaped(&exchange.request),
        escaped(&exchange.answer)
    );
    if exchange.path.starts_with('/') {
        let _ = writeln!(page, "<h3>As curl</h3>\n<pre>{}</pre>", escaped(&curl(exchange, base_url)));
    }
    if let Some(test) = test(exchange) {
        let _ = writeln!(page, "<h3>As a test</h3>\n<pre>{}</pre>", escaped(&test));
    }
    *page += "</details>\n";
    for (at, callback) in exchange.callbacks().iter().enumerate() {
        callback_entry(page, number, at, callback);
    }
}

fn callback_entry(page: &mut String, number: usize, position: usize, callback: &Callback) {
    let Callback { kind, at, url, body, status, response } = callback;
    let class = if callback.is_acknowledged() { "" } else { "bad" };
    let answer = status.map_or_else(|| "no response".to_owned(), |status| status.to_string());
    let _ = writeln!(
        page,
        "<details class=\"callback\" id=\"e{number}c{position}\"><summary class=\"{class}\"><span class=\"time\">{}</span> ← {kind}: {answer}</summary>\n<p>{}</p>\n<pre>{}</pre>\n\
         <form method=\"post\" action=\"/_/forms/exchanges/{number}/{position}\">\n<textarea name=\"body\" rows=\"8\" aria-label=\"Body\">{}</textarea>\n\
         <button>Send again</button> as it is, or changed</form></details>",
        seconds(*at),
        escaped(url),
        escaped(response),
        escaped(body)
    );
}

/// The request as a command. Its credentials were struck out.
fn curl(exchange: &Exchange, base_url: &str) -> String {
    let url = format!("{base_url}{}", exchange.path);
    match exchange.request.as_str() {
        "" => format!("curl -u \"$KEY:$SECRET\" \"{url}?grant_type=client_credentials\""),
        body => format!(
            "curl {url} \\\n    -H \"Authorization: Bearer $TOKEN\" -H \"Content-Type: application/json\" \\\n    -d '{}'",
            body.replace('\'', "'\\''")
        ),
    }
}

/// A test that plays the same push.
fn test(exchange: &Exchange) -> Option<String> {
    if exchange.path != "/mpesa/stkpush/v1/processrequest" || exchange.status != 200 {
        return None;
    }
    let request: serde_json::Value = serde_json::from_str(&exchange.request).ok()?;
    let phone = match &request["PhoneNumber"] {
        serde_json::Value::String(phone) => phone.clone(),
        phone => phone.to_string(),
    };
    let code = exchange.callbacks().iter().find_map(|callback| {
        let body: serde_json::Value = serde_json::from_str(&callback.body).ok()?;
        Some(body.pointer("/Body/stkCallback/ResultCode")?.to_string())
    });
    let ends = match code.as_deref() {
        None | Some("0") => "pays()".to_owned(),
        Some(code) => format!("fails(\"{code}\")"),
    };
    Some(format!(
        "let daraja = Daraja::start().await?;\n\
         daraja.on(Push::from(\"{phone}\")).{ends};\n\
         // … your application sends its push to `daraja.base_url()` …\n\
         daraja.settled().await;\n\
         assert!(daraja.callbacks().iter().all(Callback::is_acknowledged));"
    ))
}
