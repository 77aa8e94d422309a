//! Ratiba: standing orders.

use std::time::Duration;

use mpesa_callbacks_core::Kind;

use super::request::Fields;
use super::{Taken, taken, unless_refused, url};
use crate::bodies::{Json, PhoneForm, object};
use crate::script::{Product, chosen_by};
use crate::state::{Planned, State};

/// A customer answers after this.
const ANSWERED: Duration = Duration::from_secs(2);

/// Takes a standing order. A customer has a name for each: the same name again ends with 1050.
pub(super) fn create(state: &mut State, fields: &Fields) -> Taken {
    let name = fields.required("StandingOrderName")?;
    for date in ["StartDate", "EndDate"] {
        fields.date(date)?;
    }
    let short_code = fields.short_code("BusinessShortCode")?;
    let types = ["Standing Order Customer Pay Bill", "Standing Order Customer Pay Marchant"];
    fields.one_of("TransactionType", &types)?;
    fields.one_of("ReceiverPartyIdentifierType", &["4", "2"])?;
    fields.amount("Amount")?;
    let phone = fields.phone("PartyA")?;
    let callback_url = url(state, fields, "CallBackURL")?;
    let account = fields.short("AccountReference", 12)?;
    fields.one_of("Frequency", &["1", "2", "3", "4", "5", "6", "7", "8"])?;
    let (ends, faults) = unless_refused(state.rules.take(Product::StandingOrder, &phone, &account))?;
    let is_known = state.bank.standing_orders.contains(&(phone.clone(), name.clone()));
    let chosen = ends.or_else(|| chosen_by(&phone)).filter(|code| code != "0");
    let code = chosen.unwrap_or_else(|| if is_known { "1050" } else { "0" }.to_owned());
    if code == "0" {
        state.bank.standing_orders.insert((phone.clone(), name));
    }
    let id = state.ids.request();
    let body = match code.as_str() {
        "0" => success(state, &id, &phone),
        code => failure(&id, code, &phone),
    };
    let planned = Planned {
        kind: Kind::Ratiba,
        url: callback_url,
        short_code,
        variant: body.clone().respelled(),
        body,
        after: ANSWERED,
    };
    state.plan(&planned, &faults);
    let accepted = "Request accepted for processing";
    let answer = object([
        (
            "ResponseHeader",
            object([
                ("responseRefID", id.into()),
                ("responseCode", "200".into()),
                ("responseDescription", accepted.into()),
                ("ResultDesc", "The service request is processed successfully.".into()),
            ]),
        ),
        ("ResponseBody", object([("responseDescription", accepted.into()), ("responseCode", "200".into())])),
    ]);
    Ok(taken(state, &answer, &faults))
}

/// Members in lower case, as in the official sample of a success.
fn success(state: &mut State, id: &str, phone: &str) -> Json {
    let receipt = state.ids.receipt(state.unix_in(ANSWERED));
    let item = |name: &str, value: Json| object([("name", name.into()), ("value", value)]);
    let data = vec![
        item("TransactionID", receipt.into()),
        item("responseCode", "0".into()),
        item("Status", "OKAY".into()),
        item("Msisdn", PhoneForm::Masked.write(phone).replace(' ', "").into()),
    ];
    let header = header(id, "0", "The service request is processed successfully");
    object([("responseHeader", header), ("responseBody", object([("responseData", Json::List(data))]))])
}

/// Members in upper case, as in the official sample of a failure.
fn failure(id: &str, code: &str, phone: &str) -> Json {
    let item = |name: &str, value: Json| object([("Name", name.into()), ("Value", value)]);
    let tail = &phone[phone.len().saturating_sub(3)..];
    let data = vec![
        item("TransactionID", "0000000000".into()),
        item("responseCode", code.into()),
        item("Status", "ERROR".into()),
        item("Msisdn", format!("*********{tail}").into()),
    ];
    let header = header(id, code, "Error");
    object([("ResponseHeader", header), ("ResponseBody", object([("ResponseData", Json::List(data))]))])
}

fn header(id: &str, code: &str, description: &str) -> Json {
    object([
        ("responseRefID", id.into()),
        ("requestRefID", id.into()),
        ("responseCode", code.into()),
        ("responseDescription", description.into()),
    ])
}
