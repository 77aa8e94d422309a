//! The calls of mpesa. Its environment is a trait.
#![forbid(unsafe_code)]

use std::fmt::Display;

use mpesa::{ApiEnvironment, CommandId, Invoice, Mpesa, Sandbox, SendRemindersTypes};
use rust_clients::{INITIATOR, OTHER_SHORT_CODE, PASSKEY, PHONE, RECEIPT, SHORT_CODE, begins, daraja_url, report, url};
use serde_json::{Value, json};

#[derive(Clone)]
struct Simulator(String);

impl ApiEnvironment for Simulator {
    fn base_url(&self) -> &str {
        &self.0
    }

    fn get_certificate(&self) -> &str {
        Sandbox.get_certificate()
    }
}

/// The conversation of an accepted request.
fn conversation<E: Display>(answer: Result<String, E>) -> Result<Value, E> {
    answer.map(|id| json!({ "id": id }))
}

fn invoice(reference: &str) -> Invoice<'_> {
    Invoice {
        amount: 100.0,
        account_reference: "flat-7",
        billed_full_name: "John Doe",
        billed_period: "January 2026",
        billed_phone_number: "0708374149",
        due_date: chrono::DateTime::default(),
        external_reference: reference,
        invoice_items: None,
        invoice_name: "Rent",
    }
}

#[tokio::main]
async fn main() {
    let mpesa = Mpesa::new("key", "secret", Simulator(daraja_url()));
    let accepted = begins("id", "AG_");
    let done = |code: &'static str| move |answer: &Value| answer["id"] == code;

    let is_connected = mpesa.is_connected().await;
    report("token", Ok::<_, String>(json!(is_connected)), |answer| *answer == true);

    let push = mpesa.express_request(SHORT_CODE).pass_key(PASSKEY).phone_number(PHONE).party_a(PHONE);
    let callback_url = url("STK");
    let push = push.party_b(SHORT_CODE).amount(100).callback_url(&callback_url).account_ref("order-1");
    let pushed = push.send().await.map(|answer| answer.checkout_request_id);
    report("push", conversation(pushed), begins("id", "ws_CO_"));

    let (confirmation, validation) = (url("C2B_CONFIRMATION"), url("C2B_VALIDATION"));
    let register = mpesa.c2b_register().short_code(SHORT_CODE).confirmation_url(&confirmation);
    let registered = register.validation_url(&validation).send().await.map(|answer| answer.response_code);
    report("register_v1", conversation(registered), done("0"));

    let simulate = mpesa.c2b_simulate().short_code(SHORT_CODE).msisdn(PHONE).amount(100).bill_ref_number("order-2");
    let simulated = simulate.send().await.map(|answer| answer.response_code);
    report("simulate_v1", conversation(simulated), done("0"));

    let (result, timeout) = (url("B2C_RESULT"), url("B2C_TIMEOUT"));
    let payout = mpesa.b2c(INITIATOR).party_a(SHORT_CODE).party_b(PHONE).amount(100);
    let payout = payout.timeout_url(&timeout).result_url(&result);
    report("b2c", conversation(payout.send().await.map(|answer| answer.conversation_id)), &accepted);

    let (result, timeout) = (url("B2B_RESULT"), url("B2B_TIMEOUT"));
    for (call, command) in [("b2b_paybill", CommandId::BusinessPayBill), ("b2b_buygoods", CommandId::BusinessBuyGoods)]
    {
        let payment =
            mpesa.b2b(INITIATOR).party_a(SHORT_CODE).party_b(OTHER_SHORT_CODE).amount(100).account_ref("353353");
        let sent = payment.command_id(command).timeout_url(&timeout).result_url(&result).send().await;
        report(call, conversation(sent.map(|answer| answer.conversation_id)), &accepted);
    }

    let (result, timeout) = (url("STATUS_RESULT"), url("STATUS_TIMEOUT"));
    let status = mpesa.transaction_status(INITIATOR).transaction_id(RECEIPT).party_a(SHORT_CODE);
    let asked = status.result_url(&result).timeout_url(&timeout).send().await;
    report("status", conversation(asked.map(|answer| answer.conversation_id)), &accepted);

    let (result, timeout) = (url("BALANCE_RESULT"), url("BALANCE_TIMEOUT"));
    let balance = mpesa.account_balance(INITIATOR).party_a(SHORT_CODE).timeout_url(&timeout).result_url(&result);
    report("balance", conversation(balance.send().await.map(|answer| answer.conversation_id)), &accepted);

    let (result, timeout) = (url("REVERSAL_RESULT"), url("REVERSAL_TIMEOUT"));
    let reversal = mpesa.transaction_reversal(INITIATOR).transaction_id(RECEIPT).receiver_party(SHORT_CODE);
    let asked = reversal.amount(100).result_url(&result).timeout_url(&timeout).send().await;
    report("reversal", conversation(asked.map(|answer| answer.conversation_id)), &accepted);

    let mut qr = mpesa.dynamic_qr();
    let qr = qr.merchant_name("Shop").ref_no("order-4").amount(100.0).size("300");
    let qr = qr.credit_party_identifier(SHORT_CODE).try_transaction_type("bg").expect("a type").build();
    report("qr", conversation(qr.expect("all is set").send().await.map(|answer| answer.response_code)), done("00"));

    let bills = url("BILL_MANAGER");
    let biller = mpesa.onboard().callback_url(&bills).email("bills@example.com").logo("logo").short_code(SHORT_CODE);
    let biller = biller.official_contact("0708374149").send_reminders(SendRemindersTypes::Enable);
    report("bill_optin", conversation(biller.send().await.map(|answer| answer.response_code)), done("200"));

    let change = mpesa.onboard_modify().email("new@example.com").short_code(SHORT_CODE);
    report("bill_update_optin", conversation(change.send().await.map(|answer| answer.response_code)), done("200"));

    let first = invoice("invoice-1");
    let single = mpesa.single_invoice().amount(first.amount).account_reference(first.account_reference);
    let single = single.billed_full_name(first.billed_full_name).billed_period(first.billed_period);
    let single = single.billed_phone_number(first.billed_phone_number).due_date(first.due_date);
    let single = single.external_reference(first.external_reference).invoice_name(first.invoice_name);
    report("bill_invoice", conversation(single.send().await.map(|answer| answer.response_code)), done("200"));

    let bulk = mpesa.bulk_invoice().invoices(vec![invoice("invoice-2"), invoice("invoice-3")]);
    report("bill_invoices", conversation(bulk.send().await.map(|answer| answer.response_code)), done("200"));

    let paid = mpesa.reconciliation().account_reference("flat-7").external_reference("invoice-1");
    let paid = paid.full_name("John Doe").invoice_name("Rent").paid_amount(100).phone_number("0708374149");
    let paid = paid.payment_date(chrono::DateTime::default()).transaction_id(RECEIPT);
    report("bill_reconcile", conversation(paid.send().await.map(|answer| answer.response_code)), done("200"));

    let cancel = mpesa.cancel_invoice().external_references(vec!["invoice-2", "invoice-3"]);
    report("bill_cancel_bulk", conversation(cancel.send().await.map(|answer| answer.response_code)), done("200"));
}
