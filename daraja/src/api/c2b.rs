//! C2B: registration of URLs, and payments of customers.

use std::time::Duration;

use mpesa_callbacks_core::{Kind, forbidden_word};

use super::answer::{Answer, Trouble};
use super::bill_manager;
use super::request::Fields;
use super::{Taken, url};
use crate::bank::{Prompt, Registration, Transaction};
use crate::bodies::{CustomerPayment, Json, PhoneForm, object};
use crate::post::{Act, Payment};
use crate::script::{Fault, Product};
use crate::state::{Planned, State};

/// A payment reaches M-Pesa after this.
const PAID: Duration = Duration::from_millis(300);

/// Registers the URLs of a short code. In the sandbox that overwrites; in production it is done once.
pub(super) fn register(state: &mut State, fields: &Fields, version: u8) -> Taken {
    let short_code = fields.short_code("ShortCode")?;
    let response_type = fields.one_of("ResponseType", &["Completed", "Cancelled", "Canceled"])?;
    let confirmation_url = url(state, fields, "ConfirmationURL")?;
    let validation_url = url(state, fields, "ValidationURL")?;
    for (field, url) in [("ConfirmationURL", &confirmation_url), ("ValidationURL", &validation_url)] {
        if let Some(word) = forbidden_word(url) {
            return Err(Trouble::word(field, word));
        }
    }
    if state.behaviour.is_production && state.bank.registrations.contains_key(&short_code) {
        return Err(Trouble::registered());
    }
    let completes = response_type == "Completed";
    let registration = Registration { confirmation_url, validation_url, completes, version };
    state.bank.registrations.insert(short_code, registration);
    let description = if version == 1 { "success" } else { "Success" };
    Ok(Answer::ok(&object([
        // Without the n, as Safaricom writes it.
        ("OriginatorCoversationID", state.ids.request().into()),
        ("ResponseCode", "0".into()),
        ("ResponseDescription", description.into()),
    ])))
}

/// Plays a payment of a customer; only in the sandbox. Version 1 answers with a conversation (log of 2018).
pub(super) fn simulate(state: &mut State, fields: &Fields, version: u8) -> Taken {
    if state.behaviour.is_production {
        return Err(Trouble::not_found());
    }
    let short_code = fields.short_code("ShortCode")?;
    let command = fields.one_of("CommandID", &["CustomerPayBillOnline", "CustomerBuyGoodsOnline"])?;
    let amount = fields.amount("Amount")?;
    let phone = fields.phone("Msisdn")?;
    let account = fields.text("BillRefNumber").unwrap_or_default();
    pay(state, &phone, &short_code, amount, &account, command == "CustomerBuyGoodsOnline");
    // Without the n, as Safaricom writes it.
    let originator = ("OriginatorCoversationID", state.ids.request().into());
    let description = ("ResponseDescription", "Accept the service request successfully.".into());
    let conversation = Json::from(&state.ids.conversation(state.unix_in(Duration::ZERO)));
    Ok(Answer::ok(&match version {
        1 => object([("ConversationID", conversation), originator, description]),
        _ => object([originator, ("ResponseCode", "0".into()), description]),
    }))
}

/// A customer pays: validation first, then confirmation. Without registered URLs it is completed
/// silently.
pub(crate) fn pay(state: &mut State, phone: &str, short_code: &str, amount: i64, account: &str, is_till: bool) {
    let rule = state.rules.take(Product::CustomerPayment, phone, account);
    let faults = rule.map(|rule| rule.faults).unwrap_or_default();
    let at = state.unix_in(PAID);
    let registration = state.bank.registrations.get(short_code).cloned();
    let payment = CustomerPayment {
        receipt: state.ids.receipt(at),
        at,
        amount,
        short_code: short_code.to_owned(),
        account: account.to_owned(),
        balance: None,
        third_party_trans_id: String::new(),
        payer: phone.to_owned(),
        phone: form(registration.as_ref(), &faults).write(phone),
        is_till,
    };
    match registration {
        Some(registration) => state.later(PAID, Act::Validate(Box::new(Payment { payment, registration, faults }))),
        None => carry_out(state, &payment, PAID),
    }
}

/// Carries out a payment, and schedules its confirmation.
pub(crate) fn confirm(
    state: &mut State,
    payment: &CustomerPayment,
    registration: &Registration,
    faults: &[Fault],
    after: Duration,
) {
    carry_out(state, payment, Duration::ZERO);
    plan(state, payment, registration, faults, after);
}

/// The confirmation of a push: the same receipt, a second earlier, as it was logged in 2021.
pub(super) fn twin(state: &mut State, push: &Prompt, receipt: &str, after: Duration) {
    let Some(registration) = state.bank.registrations.get(&push.short_code).cloned() else { return };
    let payment = CustomerPayment {
        receipt: receipt.to_owned(),
        at: state.unix_in(after) - 1,
        amount: push.amount,
        short_code: push.short_code.clone(),
        account: push.account.clone(),
        balance: None,
        third_party_trans_id: String::new(),
        payer: push.phone.clone(),
        phone: form(Some(&registration), &push.faults).write(&push.phone),
        is_till: false,
    };
    plan(state, &payment, &registration, &[], after);
}

fn carry_out(state: &mut State, payment: &CustomerPayment, after: Duration) {
    let since = state.now() + after;
    state.bank.carry_out(Transaction {
        receipt: payment.receipt.clone(),
        conversation_id: String::new(),
        originator_conversation_id: String::new(),
        short_code: payment.short_code.clone(),
        party: payment.payer.clone(),
        account: payment.account.clone(),
        amount: payment.amount,
        is_in: true,
        at: payment.at,
        since,
        reversed: None,
    });
    bill_manager::post(state, payment, after);
}

fn plan(state: &mut State, payment: &CustomerPayment, registration: &Registration, faults: &[Fault], after: Duration) {
    let balance = Some(state.bank.funds(&payment.short_code, state.now() + after));
    let body = CustomerPayment { balance, ..payment.clone() }.body();
    let planned = Planned {
        kind: Kind::C2bConfirmation,
        url: registration.confirmation_url.clone(),
        short_code: payment.short_code.clone(),
        variant: body.clone().respelled(),
        body,
        after,
    };
    state.plan(&planned, faults);
}

/// Version 1 hashes phone numbers, version 2 masks them.
fn form(registration: Option<&Registration>, faults: &[Fault]) -> PhoneForm {
    PhoneForm::of(faults).unwrap_or(match registration.map(|registration| registration.version) {
        Some(1) => PhoneForm::Hashed,
        Some(_) => PhoneForm::Masked,
        None => PhoneForm::Plain,
    })
}
