//! Sends real callbacks over HTTP and shows the result of each.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use comfy_table::{ContentArrangement, Table, presets};
use mpesa_callbacks::store::{CallbackId, Entry, Filter};
use mpesa_callbacks::{Kind, UrlError, Urls};
use mpesa_callbacks_conformance::fixtures;
use tokio::net::TcpListener;

use crate::{NewOrder, Options};

/// One request, and the expected response and result.
struct Line {
    what: &'static str,
    kind: Kind,
    sender: Sender,
    fixture: &'static str,
    answer: (u16, &'static str),
    became: &'static str,
}

/// The URL that it is sent to.
enum Sender {
    /// The URL with the secret.
    Safaricom,
    /// The per-payment URL of this order.
    For(&'static str),
    /// The per-payment URL of this order's push, used for another kind.
    Misusing(&'static str),
    /// A URL without the secret.
    Forger,
}

impl Line {
    fn url(&self, urls: &Urls) -> Result<String, UrlError> {
        let url = match self.sender {
            Sender::Safaricom => urls.url(&self.kind)?.into_string(),
            Sender::For(order) => urls.url_for(&self.kind, order)?.into_string(),
            Sender::Misusing(order) => urls.stk_for(order)?.as_str().replace("/stk", "/b2c/result"),
            Sender::Forger => {
                let url = urls.url(&self.kind)?.into_string();
                let secret = url.split('/').nth(4).unwrap_or_default();
                url.replace(secret, "0123456789abcdef0123456789abcdef")
            }
        };
        Ok(url)
    }
}

const SUCCESS: &str = r#"{"ResultCode":0,"ResultDesc":"Success"}"#;
const RECEIVED: &str = r#"{"ResponseCode":"00000000","ResponseDesc":"success"}"#;

const fn line(
    what: &'static str,
    kind: Kind,
    sender: Sender,
    fixture: &'static str,
    answer: (u16, &'static str),
    became: &'static str,
) -> Line {
    Line { what, kind, sender, fixture, answer, became }
}

#[rustfmt::skip]
static LINES: [Line; 13] = {
    use Kind::{B2cResult, B2cTimeout, C2bConfirmation, C2bValidation, Stk};
    use Sender::{For, Forger, Misusing, Safaricom};
    [
        line("a push was paid", Stk, Safaricom, "stk/success-amount-100.00.json", (200, SUCCESS),
            "stk first, done; payment first, done"),
        line("the same again", Stk, Safaricom, "stk/success-amount-100.00.json", (200, SUCCESS),
            "nothing new; stk seen 2 times"),
        line("another outcome under the same key", Stk, Safaricom, "stk/cancelled-1032-docs1.json", (200, SUCCESS),
            "stk conflict, held"),
        line("the C2B confirmation of the push", C2bConfirmation, Safaricom, "c2b_confirmation/receipt-equals-stk.json", (200, SUCCESS),
            "c2b_confirmation first, done; payment variant, done; payment_completed first, done"),
        line("a push was cancelled", Stk, Safaricom, "stk/cancelled-1032-prod-2022-a.json", (200, SUCCESS),
            "stk first, done"),
        line("a push was paid, at its order's own URL", Stk, For("ORDER125"), "stk/success-prod-2022-a.json", (200, SUCCESS),
            "stk first, done; payment first, done"),
        line("that URL, for something else", B2cResult, Misusing("ORDER125"), "b2c_result/success-docs3.json", (404, ""),
            "nothing new"),
        line("is this payment welcome? yes", C2bValidation, Safaricom, "c2b_validation/sandbox-600610.json",
            (200, r#"{"ResultCode":"0","ResultDesc":"Accepted"}"#),
            "c2b_validation first, done"),
        line("is this payment welcome? no", C2bValidation, Safaricom, "c2b_validation/masked-msisdn.json",
            (200, r#"{"ResultCode":"C2B00012","ResultDesc":"Rejected"}"#),
            "c2b_validation first, done"),
        line("a payout was sent", B2cResult, Safaricom, "b2c_result/success-docs3.json", (200, RECEIVED),
            "b2c_result first, done"),
        line("a payout got stuck", B2cTimeout, Safaricom, "timeouts/result-envelope-int.json", (200, RECEIVED),
            "b2c_timeout first, done"),
        line("not JSON", Stk, Safaricom, "invalid/stk-success-missing-comma-seed003.json", (200, SUCCESS),
            "stk quarantined, quarantined"),
        line("forged, without the secret", Stk, Forger, "stk/success-prod-2022-a.json", (404, ""),
            "nothing new"),
    ]
};

/// Expected orders and payouts at the end.
const ORDERS: [(&str, i64, &str); 4] =
    [("ORDER123", 10_000, "paid"), ("ORDER124", 0, "cancelled"), ("ORDER125", 100, "paid"), ("account", 0, "open")];
const PAYOUTS: [(&str, &str); 2] = [("53e3-4aa8-9fe0-8fb5e4092cdd3533373", "sent"), ("16917-22577599-3", "unsure")];

/// Runs the demonstration. Succeeds only if every result is the expected one.
///
/// # Errors
/// When the shop cannot be opened or does not respond.
pub async fn run() -> anyhow::Result<ExitCode> {
    let directory = tempfile::tempdir().context("a temporary directory")?;
    let (inbox, orders) = crate::open(&Options::in_directory(directory.path().to_owned())).await?;
    for (reference, due_cents, push) in [
        ("ORDER123", 10_000, Some("ws_CO_191220191020363925")),
        ("ORDER124", 5_000, Some("ws_CO_17112022155511840700000001")),
        ("ORDER125", 100, None),
        ("account", 20_000, None),
    ] {
        let checkout_request_id = push.map(str::to_owned);
        orders.place(&NewOrder { reference: reference.into(), due_cents, checkout_request_id }).await?;
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let urls = crate::urls(&inbox, address)?;
    let app = crate::app(&inbox, urls.clone(), orders.clone());
    tokio::spawn(mpesa_callbacks::serve(listener, app).into_future());
    println!(
        "A shop listens on http://{address}/pay/<secret>/…; its orders and its inbox are in a temporary directory.\n"
    );

    let mut table = table(["", "sent as", "answer", "what became of it", ""]);
    let mut as_promised = true;
    for line in &LINES {
        let before = inbox.list(&Filter::default()).await?;
        let url = line.url(&urls)?;
        let (status, body) = tokio::task::spawn_blocking(move || post(&url, &fixtures::body(line.fixture))).await??;
        settled(&inbox).await?;
        let became = became(&before, &inbox.list(&Filter::default()).await?);
        let kept = (status, body.as_str()) == line.answer && became == line.became;
        as_promised &= kept;
        table.add_row([line.what, line.kind.name(), &format!("{status} {body}"), &became, promised(kept)]);
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
        let depth = inbox.counts().await?;
        if depth.ready + depth.running == 0 {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(20), "callbacks are not handled: {depth:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns the changes in the inbox.
fn became(before: &[Entry], after: &[Entry]) -> String {
    let newest = before.iter().map(|entry| entry.id).max().unwrap_or(CallbackId::from_stored(0));
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
