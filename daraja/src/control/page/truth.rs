//! What is true: balances, receipts, registered URLs, rules.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::escaped;
use crate::bank::Transaction;
use crate::state::State;

/// Number of transactions on the page.
const SHOWN: usize = 10;

/// The small world of the simulator.
pub(super) fn truth(page: &mut String, state: &State) {
    *page += "<section id=\"truth\"><h2>What is true</h2>\n";
    let now = state.now();
    let happened: Vec<&Transaction> = state.bank.transactions(now).collect();
    let known = happened.iter().map(|transaction| transaction.short_code.as_str());
    let known: BTreeSet<&str> = known.chain(state.bank.funds.keys().map(String::as_str)).collect();
    if !known.is_empty() {
        *page += "<h3>Balances</h3>\n<table>\n";
        for short_code in known {
            let funds = state.bank.funds(short_code, now);
            let _ = writeln!(page, "<tr><td>{}<td>KES {funds}</tr>", escaped(short_code));
        }
        *page += "</table>\n";
    }
    transactions(page, &happened);
    registrations(page, state);
    rules(page, state);
    *page += "</section>\n";
}

fn transactions(page: &mut String, happened: &[&Transaction]) {
    if happened.is_empty() {
        return;
    }
    *page += "<h3>Receipts</h3>\n<table>\n";
    for transaction in happened.iter().rev().take(SHOWN) {
        let Transaction { receipt, short_code, party, account, amount, is_in, reversed, .. } = transaction;
        let way = if *is_in { "from" } else { "to" };
        let _ = writeln!(
            page,
            "<tr><td>{}<td>KES {amount}<td>{way} {}, {} {}{}</tr>",
            escaped(receipt),
            escaped(party),
            escaped(short_code),
            escaped(account),
            if reversed.is_some() { ", reversed" } else { "" }
        );
    }
    *page += "</table>\n";
}

fn registrations(page: &mut String, state: &State) {
    let mut registered: Vec<_> = state.bank.registrations.iter().collect();
    registered.sort_by_key(|(short_code, _)| *short_code);
    if registered.is_empty() {
        return;
    }
    *page += "<h3>Registered URLs</h3>\n<table>\n";
    for (short_code, registration) in registered {
        let _ = writeln!(
            page,
            "<tr><td>{}<td>v{}<td>{}<br>{}</tr>",
            escaped(short_code),
            registration.version,
            escaped(&registration.confirmation_url),
            escaped(&registration.validation_url)
        );
    }
    *page += "</table>\n";
}

fn rules(page: &mut String, state: &State) {
    if state.rules.all().is_empty() {
        return;
    }
    *page += "<h3>Rules</h3>\n<p>The first that matches wins.</p>\n";
    for rule in state.rules.all() {
        let text = serde_json::to_string(rule).unwrap_or_default();
        let _ = writeln!(page, "<pre>{}</pre>", escaped(&text));
    }
    *page += "<form method=\"post\" action=\"/_/forms/rules/clear\"><button>Delete all</button></form>\n";
}
