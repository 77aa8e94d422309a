//! Pull: the transactions of a short code, for those whose callbacks are missing.

use std::time::Duration;

use super::answer::{Answer, Trouble};
use super::request::Fields;
use super::{Taken, url};
use crate::bodies::{Json, object, parse_local, zulu};
use crate::state::State;

/// How far back a query may go.
const WINDOW: Duration = Duration::from_secs(48 * 60 * 60);

/// Registers a short code. The documentation writes the status without a space in its sample, and with one
/// in its table, which production does, too. Both are answered.
pub(super) fn register(state: &mut State, fields: &Fields) -> Taken {
    let short_code = fields.short_code("ShortCode")?;
    fields.one_of("RequestType", &["Pull"])?;
    fields.required("NominatedNumber")?;
    url(state, fields, "CallBackURL")?;
    let is_new = state.bank.pulls.insert(short_code.clone());
    let (status, description) = match is_new {
        true => ("1000", "ShortCode Registered Successfully"),
        false => ("1001", "ShortCode already Registered"),
    };
    Ok(Answer::ok(&object([
        ("ResponseRefID", state.ids.request().into()),
        ("Response Status", status.into()),
        ("ResponseStatus", status.into()),
        ("ShortCode", short_code.into()),
        ("ResponseDescription", description.into()),
    ])))
}

/// Answers a query with the money that came in.
pub(super) fn query(state: &mut State, fields: &Fields) -> Taken {
    let short_code = fields.short_code("ShortCode")?;
    if !state.bank.pulls.contains(&short_code) {
        return Err(Trouble::pull_short_code());
    }
    let time = |name: &str| parse_local(&fields.required(name)?).ok_or_else(|| Trouble::field(name));
    let (start, end) = (time("StartDate")?, time("EndDate")?);
    let offset: usize = fields.text("OffSetValue").and_then(|text| text.parse().ok()).unwrap_or_default();
    let now = state.now();
    let oldest = state.clock.unix(now) - i64::try_from(WINDOW.as_secs()).unwrap_or_default();
    let found = state.bank.transactions(now).filter(|transaction| {
        transaction.is_in && transaction.short_code == short_code && (start.max(oldest)..=end).contains(&transaction.at)
    });
    let rows: Vec<Json> = found
        .skip(offset)
        .map(|transaction| {
            object([
                ("transactionId", Json::from(&transaction.receipt)),
                ("trxDate", zulu(transaction.at).into()),
                ("msisdn", Json::number(&transaction.party)),
                ("sender", "MPESA".into()),
                ("transactiontype", "c2b-pay-bill-debit".into()),
                ("billreference", Json::from(&transaction.account)),
                ("amount", format!("{}.00", transaction.amount).into()),
                ("organizationname", "Daraja Pull API Test".into()),
            ])
        })
        .collect();
    let (code, message) = if rows.is_empty() { ("1001", "No transactions found") } else { ("1000", "Success") };
    Ok(Answer::ok(&object([
        ("ResponseRefID", state.ids.request().into()),
        ("ResponseCode", code.into()),
        ("ResponseMessage", message.into()),
        ("Response", Json::List(vec![Json::List(rows)])),
    ])))
}
