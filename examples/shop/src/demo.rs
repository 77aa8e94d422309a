//! Real callbacks over HTTP, and what became of each.

use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use comfy_table::{ContentArrangement, Table, presets};
use mpesa_callbacks::Secret;
use mpesa_callbacks::store::{CallbackId, Entry, Filter};
use mpesa_callbacks_conformance::fixtures;
use tokio::net::TcpListener;

use crate::{NewOrder, Options, Running};

/// One request, and what is promised of it.
struct Line {
    what: &'static str,
    path: &'static str,
    fixture: &'static str,
    forged: bool,
    answer: (u16, &'static str),
    became: &'static str,
}

const SUCCESS: &str = r#"{"ResultCode":0,"ResultDesc":"Success"}"#;
const RECEIVED: &str = r#"{"ResponseCode":"00000000","ResponseDesc":"success"}"#;

const fn line(
    what: &'static str,
    path: &'static str,
    fixture: &'static str,
    answer: (u16, &'static str),
    became: &'static str,
) -> Line {
    Line { what, path, fixture, forged: false, answer, became }
}

#[rustfmt::skip]
const LINES: [Line; 11] = [
    line("a push was paid", "/stk", "stk/success-amount-100.00.json", (200, SUCCESS),
        "stk first, done; payment first, done"),
    line("the same again", "/stk", "stk/success-amount-100.00.json", (200, SUCCESS),
        "nothing new; stk seen 2 times"),
    line("another outcome under the same key", "/stk", "stk/cancelled-1032-docs1.json", (200, SUCCESS),
        "stk conflict, held"),
    line("the C2B twin of the push", "/c2b/confirmation", "c2b_confirmation/receipt-equals-stk.json", (200, SUCCESS),
        "c2b_confirmation first, done; payment variant, done"),
    line("a push was cancelled", "/stk", "stk/cancelled-1032-prod-2022-a.json", (200, SUCCESS),
        "stk first, done"),
    line("is this payment welcome? yes", "/c2b/validation", "c2b_validation/sandbox-600610.json",
        (200, r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#),
        "c2b_validation first, done"),
    line("is this payment welcome? no", "/c2b/validation", "c2b_validation/masked-msisdn.json",
        (200, r#"{"ResultCode":"C2B00012","ResultDesc":"Rejected"}"#),
        "c2b_validation first, done"),
    line("a payout was sent", "/b2c/result", "b2c_result/success-docs3.json", (200, RECEIVED),
        "b2c_result first, done"),
    line("a payout got stuck", "/b2c/timeout", "timeouts/result-envelope-int.json", (200, RECEIVED),
        "b2c_timeout first, done"),
    line("not JSON", "/stk", "invalid/stk-success-missing-comma-seed003.json", (200, SUCCESS),
        "stk quarantined, quarantined"),
    Line { what: "forged, without the secret", path: "/stk", fixture: "stk/success-prod-2022-a.json", forged: true,
        answer: (404, ""), became: "nothing new" },
];

/// What the orders and payouts must be at the end.
const ORDERS: [(&str, i64, &str); 3] =
    [("ORDER123", 10_000, "paid"), ("ORDER124", 0, "cancelled"), ("account", 0, "open")];
const PAYOUTS: [(&str, &str); 2] = [("53e3-4aa8-9fe0-8fb5e4092cdd3533373", "sent"), ("16917-22577599-3", "unsure")];

/// Runs the demonstration. Success only if everything is as promised.
///
/// # Errors
/// When the shop cannot be opened or does not answer.
pub async fn run() -> anyhow::Result<ExitCode> {
    let directory = tempfile::tempdir().context("a temporary directory")?;
    let secret = Secret::generate()?;
    let options =
        Options { data_dir: directory.path().to_owned(), secret: secret.clone(), lease: Duration::from_secs(30) };
    let Running { app, inbox, orders } = crate::start(&options).await?;
    for (reference, due_cents, push) in [
        ("ORDER123", 10_000, Some("ws_CO_191220191020363925")),
        ("ORDER124", 5_000, Some("ws_CO_17112022155511840700000001")),
        ("account", 20_000, None),
    ] {
        let checkout_request_id = push.map(str::to_owned);
        orders.place(&NewOrder { reference: reference.into(), due_cents, checkout_request_id }).await?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let base = format!("http://{}/pay", listener.local_addr()?);
    tokio::spawn(async move { axum::serve(listener, app.into_make_service_with_connect_info::<SocketAddr>()).await });
    println!("A shop listens on {base}/<secret>/…; its orders and its inbox are in a temporary directory.\n");

    let mut table = table(["", "sent to", "answer", "what became of it", ""]);
    let mut as_promised = true;
    for line in &LINES {
        let before = inbox.list(&Filter::default()).await?;
        let secret = if line.forged { "0123456789abcdef0123456789abcdef" } else { secret.expose() };
        let url = format!("{base}/{secret}{}", line.path);
        let (status, body) = tokio::task::spawn_blocking(move || post(&url, &fixtures::body(line.fixture))).await??;
        settled(&inbox).await?;
        let became = became(&before, &inbox.list(&Filter::default()).await?);
        let kept = (status, body.as_str()) == line.answer && became == line.became;
        as_promised &= kept;
        table.add_row([line.what, line.path, &format!("{status} {body}"), &became, promised(kept)]);
    }
    println!("{table}\n");

    let orders_now = orders.list().await?;
    let mut table = self::table(["order", "due", "paid", "status", ""]);
    for order in &orders_now {
        let kept = ORDERS.contains(&(&order.reference, order.paid_cents, &order.status));
        as_promised &= kept;
        let (due, paid) = (shillings(order.due_cents), shillings(order.paid_cents));
        table.add_row([&*order.reference, &due, &paid, &order.status, promised(kept)]);
    }
    println!("{table}\n");
    let payouts = orders.payouts().await?;
    let mut table = self::table(["payout", "status", "receipt", ""]);
    for (id, status, receipt) in &payouts {
        let kept = PAYOUTS.contains(&(id, status));
        as_promised &= kept;
        table.add_row([&**id, status, receipt.as_deref().unwrap_or("–"), promised(kept)]);
    }
    println!("{table}\n");
    as_promised &= orders_now.len() == ORDERS.len() && payouts.len() == PAYOUTS.len();

    inbox.shutdown(Duration::from_secs(5)).await?;
    println!("{}", if as_promised { "Everything is as promised." } else { "Something is NOT as promised." });
    Ok(if as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn post(url: &str, body: &[u8]) -> anyhow::Result<(u16, String)> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let mut response = agent
        .post(url)
        .content_type("application/json;charset=UTF-8")
        .send(body)
        .context("the shop does not answer")?;
    Ok((response.status().as_u16(), response.body_mut().read_to_string()?))
}

/// Waits until nothing is left to handle.
async fn settled(inbox: &mpesa_callbacks::Inbox) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let depth = inbox.depth().await?;
        if depth.ready + depth.running == 0 {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "callbacks are not handled: {depth:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// What is in the inbox now that was not before.
fn became(before: &[Entry], after: &[Entry]) -> String {
    let newest = before.iter().map(|entry| entry.id).max().unwrap_or(CallbackId(0));
    let mut news: Vec<String> = after
        .iter()
        .rev()
        .filter(|entry| entry.id > newest)
        .map(|entry| format!("{} {}, {}", entry.kind, entry.verdict.name(), entry.state.name()))
        .collect();
    if news.is_empty() {
        news.push("nothing new".into());
    }
    for entry in after {
        if before.iter().any(|other| other.id == entry.id && other.seen < entry.seen) {
            news.push(format!("{} seen {} times", entry.kind, entry.seen));
        }
    }
    news.join("; ")
}

fn promised(kept: bool) -> &'static str {
    if kept { "as promised" } else { "NOT AS PROMISED" }
}

fn shillings(cents: i64) -> String {
    format!("KES {}.{:02}", cents / 100, cents % 100)
}

fn table<const N: usize>(header: [&str; N]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic).set_width(150);
    table.set_header(header);
    table
}
