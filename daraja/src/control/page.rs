//! The page: phones that ring, and the journal. It works without JavaScript.

use std::fmt::Write;

use crate::post::{Callback, Exchange};
use crate::state::State;

/// Number of exchanges on the page.
const SHOWN: usize = 50;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="refresh" content="3">
<title>Daraja simulator</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #1b1b1b; background: #fff }
h1 { font-size: 1.4rem } h2 { font-size: 1.1rem; margin-top: 2rem }
form { display: inline } button { font: inherit; padding: .2rem .8rem }
.phone { border: 1px solid #999; border-radius: .5rem; padding: .8rem 1rem; margin: .5rem 0 }
pre { background: #f4f4f4; padding: .5rem; overflow-x: auto; white-space: pre-wrap; word-break: break-all }
.bad { color: #a00 } .time { color: #666 }
</style>
<h1>Daraja simulator</h1>
<p>Not Safaricom's: it plays M-Pesa on this machine.
"#;

/// Buttons of a phone: result code and label.
const BUTTONS: [(&str, &str); 4] = [("0", "Pay"), ("1032", "Cancel"), ("1", "Too little money"), ("2001", "Wrong PIN")];

/// Renders the page.
pub(super) fn render(state: &State) -> String {
    let mut page = HEAD.to_owned();
    phones(&mut page, state);
    page += "<h2>Journal</h2>\n";
    let all = state.journal.all();
    if all.is_empty() {
        page += "<p>No requests yet.\n";
    }
    for exchange in all.iter().rev().take(SHOWN) {
        entry(&mut page, exchange);
    }
    page
}

fn phones(page: &mut String, state: &State) {
    let now = state.now();
    let ringing = state.bank.prompts.values().filter(|prompt| prompt.is_open(now) && prompt.truths.is_empty());
    for prompt in ringing {
        let id = escaped(&prompt.checkout_request_id);
        let _ = writeln!(
            page,
            "<div class=\"phone\"><b>{}</b>: pay KES {} to {} for {}?",
            escaped(&prompt.phone),
            prompt.amount,
            escaped(&prompt.short_code),
            escaped(&prompt.account)
        );
        for (code, label) in BUTTONS {
            let _ = writeln!(
                page,
                "<form method=\"post\" action=\"/_/phones/{id}\"><button name=\"code\" value=\"{code}\">{label}</button></form>"
            );
        }
        *page += "</div>\n";
    }
}

fn entry(page: &mut String, exchange: &Exchange) {
    let _ = writeln!(
        page,
        "<details><summary><span class=\"time\">{}</span> {} → {}</summary>\n<pre>{}</pre>\n<pre>{}</pre></details>",
        seconds(exchange.at),
        escaped(&exchange.path),
        exchange.status,
        escaped(&exchange.request),
        escaped(&exchange.answer)
    );
    for Callback { kind, at, url, body, status, response } in exchange.callbacks() {
        let (class, answer) = match status {
            Some(200) => ("", "200".to_owned()),
            Some(status) => ("bad", status.to_string()),
            None => ("bad", "no response".to_owned()),
        };
        let _ = writeln!(
            page,
            "<details><summary class=\"{class}\">&emsp;<span class=\"time\">{}</span> ← {kind}: {answer}</summary>\n<p>{}<pre>{}</pre>\n<pre>{}</pre></details>",
            seconds(*at),
            escaped(url),
            escaped(body),
            escaped(response)
        );
    }
}

fn seconds(at: std::time::Duration) -> String {
    format!("{:.1} s", at.as_secs_f64())
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        assert_eq!(escaped("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }
}
