//! The page: do, see what happened, see what is true. It works without JavaScript.

mod act;
mod happened;
mod truth;

use crate::state::State;

const HEAD: &str = r#"<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Daraja simulator</title>
<link rel="stylesheet" href="/_/page.css">
<script src="/_/page.js" defer></script>
<header><h1>Daraja simulator</h1>
<p>Not Safaricom's: it plays M-Pesa on this machine. <noscript><a href="/_/">Refresh</a></noscript></header>
<main>
"#;

/// Renders the page. `base_url` is where clients reach the simulator.
pub(super) fn render(state: &State, base_url: &str) -> String {
    let mut page = HEAD.to_owned();
    page += "<section>\n";
    act::phones(&mut page, state);
    act::forms(&mut page);
    page += "</section>\n";
    happened::journal(&mut page, state, base_url);
    truth::truth(&mut page, state);
    page + "</main>\n"
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

fn seconds(at: std::time::Duration) -> String {
    format!("{:.1} s", at.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_others_stays_text() {
        assert_eq!(escaped("<script>\"&"), "&lt;script&gt;&quot;&amp;");
    }
}
