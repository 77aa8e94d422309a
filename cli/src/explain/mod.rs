//! `daraja explain`: what a result code, an error code, an answer or a callback means.

mod errors;

use std::fmt::Write;

use anyhow::bail;
use bytes::Bytes;
use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::{Outcome, ResultCode, ResultCodeInfo, RetryAdvice, looks_like};
use serde_json::Value;

/// A code, or a text of JSON.
#[derive(Debug, clap::Args)]
pub(crate) struct Options {
    /// A result code (`1037`), an error code (`500.001.1001`), or the JSON of an answer or a callback; `-` reads it
    /// from standard input.
    what: String,
    /// Kind of the callback with the result code: `stk`, `b2c_result`. Default: every kind that knows it.
    #[arg(long)]
    kind: Option<Kind>,
}

/// Prints the explanation.
pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let what = match options.what.as_str() {
        "-" => std::io::read_to_string(std::io::stdin())?,
        what => what.to_owned(),
    };
    print!("{}", explain(what.trim(), options.kind.as_ref())?);
    Ok(())
}

/// Explains a code or a text of JSON.
pub(crate) fn explain(what: &str, kind: Option<&Kind>) -> anyhow::Result<String> {
    if what.starts_with(['{', '[']) {
        return json(what);
    }
    if !what.bytes().any(|byte| byte.is_ascii_digit()) {
        bail!("`{what}` is neither a code (`1037`, `500.001.1001`) nor JSON");
    }
    if what.contains('.') {
        return error(what, None);
    }
    result_code(what, kind)
}

/// A result code, in each kind that knows it.
fn result_code(code: &str, kind: Option<&Kind>) -> anyhow::Result<String> {
    let code = ResultCode::from(code);
    let kinds: Vec<Kind> = match kind {
        Some(kind) => vec![kind.clone()],
        None => Kind::built_in().filter(|kind| *kind != Kind::Lipia).collect(),
    };
    // Kinds in which it means the same are listed together.
    let mut meanings: Vec<(Vec<&Kind>, &ResultCodeInfo)> = Vec::new();
    for kind in &kinds {
        let Some(info) = code.code_info(kind) else { continue };
        let is_same =
            |known: &ResultCodeInfo| (known.text, known.outcome, known.retry) == (info.text, info.outcome, info.retry);
        match meanings.iter_mut().find(|(_, known)| is_same(known)) {
            Some((kinds, _)) => kinds.push(kind),
            None => meanings.push((vec![kind], info)),
        }
    }
    if meanings.is_empty() {
        bail!(
            "no list has the result code `{code}`. Take the outcome as unknown: query before you give the payment up or pay again"
        );
    }
    let mut text = String::new();
    for (kinds, info) in meanings {
        // Code 0 means the same everywhere.
        let names = match info.code {
            "0" => "all kinds".to_owned(),
            _ => kinds.iter().map(|kind| kind.name()).collect::<Vec<_>>().join(", "),
        };
        let _ = writeln!(text, "{code}, for {names}: {}.", info.text);
        let _ = writeln!(text, "  outcome   {}", outcome(info.outcome));
        let _ = writeln!(text, "  again?    {}", again(info.retry));
        if kinds.contains(&&Kind::Stk) && code.as_str().len() <= 5 && code.as_str().bytes().all(|b| b.is_ascii_digit())
        {
            let _ = writeln!(text, "  try it    a push to 2547000{:0>5}, with `daraja dev`", code.as_str());
        }
        let _ = writeln!(text, "  source    {}", info.source);
    }
    Ok(text)
}

fn outcome(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "success",
        Outcome::Failed => "failed: no money has moved",
        Outcome::Unknown => "unknown: a late success is possible; query before you give the order up",
    }
}

fn again(advice: RetryAdvice) -> String {
    match advice {
        RetryAdvice::Done => "no: it was carried out".to_owned(),
        RetryAdvice::Yes => "yes, if the customer wants to".to_owned(),
        RetryAdvice::After(pause) => format!("yes, after {} min", pause.as_secs() / 60),
        RetryAdvice::AfterFix => "after the cause is mended".to_owned(),
        RetryAdvice::AfterStatusQuery => "only if a query shows that it was not carried out".to_owned(),
        _ => "no: it would fail again".to_owned(),
    }
}

/// An error code, with the message if there is one.
fn error(code: &str, message: Option<&str>) -> anyhow::Result<String> {
    let found = errors::find(code, message);
    let Some(first) = found.first() else {
        bail!(
            "no list has the error code `{code}`. The request was refused, or it was not: query before you repeat a payment"
        );
    };
    let mut text = String::new();
    match (message, &found[..]) {
        (_, [_]) => {
            let _ = writeln!(text, "{code}: {}.", first.meaning);
        }
        (_, all) => {
            let _ = writeln!(text, "{code} has {} meanings; the error message says which.", all.len());
        }
    }
    for row in &found {
        if found.len() > 1 {
            let says = if row.says.is_empty() { "any other message".to_owned() } else { format!("\"{}\"", row.says) };
            let _ = writeln!(text, "\n  {says}: {}.", row.meaning);
        }
        let _ = writeln!(text, "  do        {}", row.help);
        let _ = writeln!(text, "  source    {}", row.source);
    }
    Ok(text)
}

/// An answer of Daraja's, or a callback.
fn json(text: &str) -> anyhow::Result<String> {
    let Ok(value) = serde_json::from_str::<Value>(text) else {
        bail!(
            "this is not JSON. A callback that is not JSON is stored in quarantine; an answer that is not is a gateway's page"
        );
    };
    if let Some(code) = value["errorCode"].as_str() {
        return error(code, value["errorMessage"].as_str());
    }
    if let Some(fault) = value["Envelope"]["Body"]["Fault"]["faultstring"].as_str() {
        let shared = if fault.contains("409") {
            ": the short code is registered by somebody else (a shared one of the sandbox)"
        } else {
            ""
        };
        return Ok(format!(
            "A fault of Safaricom's gateway{shared}.\n  says      {fault}\n  do        use a short code of your own\n"
        ));
    }
    if value.get("access_token").is_some() {
        return Ok("A token: it lives an hour. Ask once an hour, not once a push.\n".to_owned());
    }
    // A query's answer has a result code; a callback's, too, but deeper.
    if let Some(code) = scalar(&value["ResultCode"]).filter(|_| value.get("ResponseCode").is_some()) {
        let mut text = "An answer to a query of a push.\n".to_owned();
        text += &result_code(&code, Some(&Kind::Stk))?;
        if code == "0" {
            text += "  receipt   a query does not have it: it is in the callback, and in the transactions of pull\n";
        }
        return Ok(text);
    }
    if let Some(code) = scalar(&value["ResponseCode"]) {
        let id = ["CheckoutRequestID", "ConversationID"].iter().find_map(|name| value[*name].as_str());
        return Ok(match code.as_str() {
            "0" | "00" => format!(
                "Accepted: what becomes of it is reported by a callback{}.\n  do        store the id before the callback arrives; it can come before this answer\n",
                id.map_or(String::new(), |id| format!(" with the id {id}"))
            ),
            code => format!("Not accepted, code {code}: no callback follows.\n"),
        });
    }
    callback(text, &value)
}

fn callback(text: &str, value: &Value) -> anyhow::Result<String> {
    let body = Bytes::copy_from_slice(text.as_bytes());
    let Some(kind) = looks_like(&Kind::custom("unknown"), &body) else {
        return match scalar(&value["ResultCode"]) {
            Some(code) => result_code(&code, None),
            None => bail!("neither an answer of Daraja's nor a callback that is known"),
        };
    };
    let mut text = format!("A callback: {kind}.\n");
    let places = ["/Body/stkCallback/ResultCode", "/Result/ResultCode", "/resultCode", "/ResultCode"];
    if let Some(code) = places.iter().find_map(|place| value.pointer(place)).and_then(scalar) {
        text += &result_code(&code, Some(&kind))?;
    }
    Ok(text)
}

/// Numbers come as numbers or as strings.
fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}
