//! Bill Manager: opting in, invoices, and payments that are posted until they are acknowledged.

use std::time::Duration;

use mpesa_callbacks_core::Kind;
use serde_json::Value;

use super::answer::{Answer, Trouble};
use super::request::Fields;
use super::{Taken, url};
use crate::bank::Invoice;
use crate::bodies::{CustomerPayment, Json, dashed, object};
use crate::post::{Act, Post};
use crate::state::State;

/// Invoices per request (Daraja 3.0, Bill Manager).
const LARGEST_BULK: usize = 1000;

/// Takes a request below `/v1/billmanager-invoice/`.
pub(super) fn take(state: &mut State, path: &str, body: &Value) -> Taken {
    let fields = || body.as_object().cloned().map(Fields).ok_or_else(|| Trouble::not_json(false));
    match path {
        "optin" => opt_in(state, &fields()?),
        "change-optin-details" => change(state, &fields()?),
        "single-invoicing" => invoice(state, &[fields()?]),
        "bulk-invoicing" => invoice(state, &list(body)?),
        "cancel-single-invoice" => cancel(state, &[fields()?]),
        "cancel-bulk-invoices" => cancel(state, &list(body)?),
        "reconciliation" => Ok(Answer::ok(&done([]))),
        _ => Err(Trouble::not_found()),
    }
}

fn list(body: &Value) -> Result<Vec<Fields>, Trouble> {
    let all = body.as_array().filter(|all| all.len() <= LARGEST_BULK).ok_or_else(|| Trouble::not_json(false))?;
    let fields = all.iter().map(|one| one.as_object().cloned().map(Fields));
    fields.collect::<Option<_>>().ok_or_else(|| Trouble::not_json(false))
}

fn done<const N: usize>(before: [(&str, Json); N]) -> Json {
    let mut members: Vec<(String, Json)> = before.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
    members.extend([("resmsg".to_owned(), "Success".into()), ("rescode".to_owned(), "200".into())]);
    Json::Object(members)
}

fn opt_in(state: &mut State, fields: &Fields) -> Taken {
    let short_code = fields.required("shortcode")?;
    let callback_url = url(state, fields, "callbackurl")?;
    state.bank.billers.insert(short_code, callback_url);
    let app_key = state.ids.token();
    Ok(Answer::ok(&done([("app_key", app_key.into())])))
}

/// Changes what was opted in with. Everything but the short code is optional.
fn change(state: &mut State, fields: &Fields) -> Taken {
    if fields.text("callbackurl").is_some() {
        return opt_in(state, fields);
    }
    fields.required("shortcode")?;
    Ok(Answer::ok(&done([])))
}

fn invoice(state: &mut State, invoices: &[Fields]) -> Taken {
    for fields in invoices {
        let reference = fields.required("externalReference")?;
        let account = fields.required("accountReference")?;
        let amount = fields.amount("amount")?;
        fields.required("billedPhoneNumber")?;
        state.bank.invoices.insert(reference, Invoice { account, amount, is_paid: false });
    }
    Ok(Answer::ok(&done([("Status_Message", "Invoice sent successfully".into())])))
}

fn cancel(state: &mut State, invoices: &[Fields]) -> Taken {
    let references = invoices.iter().map(|fields| fields.required("externalReference"));
    let references: Vec<String> = references.collect::<Result<_, _>>()?;
    if references.iter().any(|reference| state.bank.invoices.get(reference).is_some_and(|invoice| invoice.is_paid)) {
        return Ok(Answer::ok(&object([
            ("Status_Message", "partially or fully paid invoices cannot be cancelled.".into()),
            ("resmsg", "Conflict".into()),
            ("rescode", "409".into()),
        ])));
    }
    for reference in references {
        state.bank.invoices.remove(&reference);
    }
    Ok(Answer::ok(&done([
        ("Status_Message", "Invoice cancelled successfully.".into()),
        ("errors", Json::List(Vec::new())),
    ])))
}

/// Posts a payment of a customer to a short code that uses Bill Manager.
pub(super) fn post(state: &mut State, payment: &CustomerPayment, after: Duration) {
    let Some(url) = state.bank.billers.get(&payment.short_code).cloned() else { return };
    let body = object([
        ("transactionId", Json::from(&payment.receipt)),
        ("paidAmount", payment.amount.to_string().into()),
        ("msisdn", Json::from(&payment.payer)),
        ("dateCreated", dashed(payment.at).into()),
        ("accountReference", Json::from(&payment.account)),
        ("shortCode", Json::from(&payment.short_code)),
    ]);
    let (body, short_code) = (body.to_string(), payment.short_code.clone());
    let post = Post { kind: Kind::BillManager, url, body, short_code, times: 1, is_slow: false };
    state.later(after + Duration::from_millis(300), Act::Bill(post, 1));
}
