//! A story, played through the simulator: what Daraja sends, what the shop answers, what becomes of it.

use std::net::Ipv4Addr;
use std::process::ExitCode;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, ensure};
use comfy_table::{ContentArrangement, Table, presets};
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{CallbackId, Entry, Filter, State};
use mpesa_callbacks::{Kind, Urls};
use mpesa_callbacks_daraja::{Daraja as Simulator, Fault, Payout, Push};
use serde_json::json;
use tokio::net::TcpListener;

use crate::{Checkout, Daraja, Merchant, Options};

/// One part of the story, and what must come of it.
struct Scene {
    what: &'static str,
    act: Act,
    /// Statuses of the shop's answers.
    answers: &'static str,
    became: &'static str,
}

/// What happens.
enum Act {
    /// A customer with this number buys for KES 100.
    Buy(&'static str, &'static [Fault]),
    /// A customer pays KES 100 from the phone's menu: for an order, or for no order.
    Pay(bool),
    /// The shop pays wages.
    PayOut(&'static str, &'static [Fault]),
    /// Somebody who does not know the secret posts a payment.
    Forge,
}

const PAYS: &str = "254708374149";
const CANCELS: &str = "254700001032";

#[rustfmt::skip]
const STORY: [Scene; 14] = [
    Scene { what: "a push is paid", act: Act::Buy(PAYS, &[]), answers: "200",
        became: "stk first, done; payment first, done" },
    Scene { what: "the customer cancels", act: Act::Buy(CANCELS, &[]), answers: "200",
        became: "stk first, done" },
    Scene { what: "Daraja reports it before it answers the push", act: Act::Buy(PAYS, &[Fault::Early]), answers: "200",
        became: "stk first, done; payment first, done" },
    Scene { what: "twice", act: Act::Buy(PAYS, &[Fault::Duplicate]), answers: "200 200",
        became: "stk first, done; payment first, done; stk seen 2 times" },
    Scene { what: "twice, in other words", act: Act::Buy(PAYS, &[Fault::Variant]), answers: "200 200",
        became: "stk first, done; payment first, done; stk variant, done" },
    Scene { what: "and its C2B confirmation, too", act: Act::Buy(PAYS, &[Fault::Twin]), answers: "200 200",
        became: "c2b_confirmation first, done; payment first, done; stk first, done; payment variant, done" },
    Scene { what: "paid; then a forged cancellation", act: Act::Buy(PAYS, &[Fault::FailureAfterSuccess]), answers: "200 200",
        became: "stk first, done; payment first, done; stk conflict, held" },
    Scene { what: "no answer from the phone; then paid", act: Act::Buy(PAYS, &[Fault::SuccessAfterFailure]), answers: "200 200",
        became: "stk first, done; stk update, done; payment first, done" },
    Scene { what: "the callback is lost; the shop queries", act: Act::Buy(PAYS, &[Fault::Lost]), answers: "",
        became: "stk first, done; payment first, done" },
    Scene { what: "not JSON", act: Act::Buy(PAYS, &[Fault::Malformed]), answers: "200",
        became: "stk quarantined, quarantined; stk first, done; payment first, done" },
    Scene { what: "a customer pays an order at the pay bill", act: Act::Pay(true), answers: "200 200",
        became: "c2b_validation first, done; c2b_confirmation first, done; payment first, done" },
    Scene { what: "and one that does not exist", act: Act::Pay(false), answers: "200",
        became: "c2b_validation first, done" },
    Scene { what: "wages: a queue timeout, then the result", act: Act::PayOut("wages-1", &[Fault::TimeoutThenSuccess]), answers: "200 200",
        became: "b2c_timeout first, done; b2c_result first, done" },
    Scene { what: "forged, without the secret", act: Act::Forge, answers: "404",
        became: "nothing new" },
];

/// Orders at the end: paid shillings, and status.
const ORDERS: [(i64, &str); 11] = [
    (100, "paid"),
    (0, "cancelled"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
    (100, "paid"),
];

struct Stage {
    simulator: Simulator,
    daraja: Daraja,
    checkout: Checkout,
}

/// Plays the story. Succeeds only if every part of it becomes what it must.
///
/// # Errors
/// When the shop cannot be opened or does not respond.
pub async fn run() -> anyhow::Result<ExitCode> {
    let directory = tempfile::tempdir().context("a temporary directory")?;
    let options = Options::in_directory(directory.path().to_owned());
    // The shop asks for the transactions of the last two days by its own clock.
    let simulator = Simulator::builder().starts_at(SystemTime::now()).start().await?;
    let merchant = Merchant::of_sandbox(simulator.base_url(), "any key".to_owned(), "any secret".to_owned());
    let daraja = Daraja::new(merchant);
    let (inbox, orders) = crate::open(&options, Some(daraja.clone())).await?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = listener.local_addr()?;
    let urls = crate::urls(&inbox, &options, address)?;
    // Short, so that the story need not wait.
    let timeout = Duration::from_secs(2);
    let checkout =
        Checkout { timeout, ..Checkout::new(orders.clone(), inbox.clone(), urls.clone(), Some(daraja.clone())) };
    tokio::spawn(mpesa_callbacks::serve(listener, crate::app(checkout.clone())).into_future());
    crate::register(&daraja, &urls).await?;
    println!("A shop on http://{address}, and a Daraja on {}; nothing leaves this machine.\n", simulator.base_url());

    let stage = Stage { simulator, daraja, checkout };
    let mut table = table(["", "answers", "what became of it", ""]);
    let mut as_promised = true;
    for scene in &STORY {
        let before = inbox.list(&Filter::default()).await?;
        let answers = stage.play(&scene.act, &urls).await?;
        let became = became(&before, &inbox.list(&Filter::default()).await?);
        let kept = answers == scene.answers && became == scene.became;
        as_promised &= kept;
        table.add_row([scene.what, &answers, &became, promised(kept)]);
    }
    println!("{table}\n");

    let mut table = self::table(["order", "due", "paid", "status", ""]);
    let orders_now = orders.list().await?;
    for (at, order) in orders_now.iter().enumerate() {
        let kept =
            ORDERS.get(at).is_some_and(|(paid, status)| order.paid_cents == paid * 100 && order.status == *status);
        as_promised &= kept;
        let (due, paid) = (shillings(order.due_cents), shillings(order.paid_cents));
        table.add_row([&*order.reference, &due, &paid, &order.status, promised(kept)]);
    }
    println!("{table}\n");
    let payouts = orders.payouts().await?;
    let is_sent = matches!(&payouts[..], [(id, status, Some(_))] if id == "wages-1" && status == "sent");
    println!("Wages: {payouts:?}, {}\n", promised(is_sent));
    as_promised &= orders_now.len() == ORDERS.len() && is_sent;

    inbox.shutdown(Duration::from_secs(5)).await?;
    println!("{}", if as_promised { "Everything is as promised." } else { "Something is NOT as promised." });
    Ok(if as_promised { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

impl Stage {
    /// Plays a scene until everything is handled, and returns the statuses of the shop's answers.
    async fn play(&self, act: &Act, urls: &Urls) -> anyhow::Result<String> {
        let known = self.simulator.callbacks().len();
        match act {
            Act::Buy(phone, faults) => {
                let mut rule = self.simulator.on(Push::from(phone)).once();
                for fault in *faults {
                    rule = rule.fault(*fault);
                }
                self.checkout.buy(phone, 100).await?;
            }
            Act::Pay(has_order) => {
                let account = if *has_order { "PAYBILL-1" } else { "PAYBILL-2" };
                if *has_order {
                    let order =
                        crate::NewOrder { reference: account.into(), due_cents: 10_000, checkout_request_id: None };
                    self.checkout.orders.place(&order).await?;
                }
                self.simulator.customer_pays(PAYS, self.daraja.short_code(), 100, account);
            }
            Act::PayOut(id, faults) => {
                let mut rule = self.simulator.on(Payout::any()).once();
                for fault in *faults {
                    rule = rule.fault(*fault);
                }
                let (result, timeout) = (urls.url(&Kind::B2cResult)?, urls.url(&Kind::B2cTimeout)?);
                let wages = json!({
                    "OriginatorConversationID": id, "InitiatorName": "shop", "SecurityCredential": "c2VjcmV0",
                    "CommandID": "SalaryPayment", "Amount": 500, "PartyA": self.daraja.short_code(), "PartyB": PAYS,
                    "Remarks": "wages", "QueueTimeOutURL": timeout.as_str(), "ResultURL": result.as_str(),
                });
                self.daraja.post("/mpesa/b2c/v3/paymentrequest", wages).await?;
            }
            Act::Forge => {
                let url = urls.url(&Kind::Stk)?.into_string();
                let secret = url.split('/').nth(4).unwrap_or_default();
                let url = url.replace(secret, "0123456789abcdef0123456789abcdef");
                let body = StkCallback::sample().to_body();
                return tokio::task::spawn_blocking(move || forge(&url, &body)).await?;
            }
        }
        self.simulator.settled().await;
        settled(&self.checkout.inbox).await?;
        let callbacks = self.simulator.callbacks().split_off(known);
        let statuses: Vec<String> = callbacks
            .iter()
            .map(|callback| callback.status.map_or("none".to_owned(), |status| status.to_string()))
            .collect();
        Ok(statuses.join(" "))
    }
}

fn forge(url: &str, body: &[u8]) -> anyhow::Result<String> {
    let agent = ureq::Agent::config_builder().http_status_as_error(false).build().new_agent();
    let response = agent.post(url).content_type("application/json").send(body).context("the shop does not answer")?;
    Ok(response.status().as_u16().to_string())
}

/// Waits until nothing is left to handle: no callback, and no push whose end is unknown.
async fn settled(inbox: &Inbox) -> anyhow::Result<()> {
    let began = Instant::now();
    loop {
        let entries = inbox.list(&Filter::default()).await?;
        let is_open = |entry: &&Entry| matches!(entry.state, State::Ready | State::Running);
        let open: Vec<&Entry> = entries.iter().filter(is_open).collect();
        if open.is_empty() {
            return Ok(());
        }
        ensure!(began.elapsed() < Duration::from_secs(30), "callbacks are not handled: {open:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the changes in the inbox, without the shop's own expectations.
fn became(before: &[Entry], after: &[Entry]) -> String {
    let newest = before.iter().map(|entry| entry.id).max().unwrap_or(CallbackId::from_stored(0));
    let mut news: Vec<String> = after
        .iter()
        .rev()
        .filter(|entry| entry.id > newest && entry.kind != Kind::Overdue)
        .map(|entry| format!("{} {}, {}", entry.kind, entry.verdict.name(), entry.state.name()))
        .collect();
    for entry in after.iter().filter(|entry| entry.seen > 1 && entry.id > newest && entry.kind != Kind::Overdue) {
        news.push(format!("{} seen {} times", entry.kind, entry.seen));
    }
    if news.is_empty() { "nothing new".to_owned() } else { news.join("; ") }
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
