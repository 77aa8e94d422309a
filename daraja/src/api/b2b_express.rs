//! B2B Express: a push to the till of another business.

use std::time::Duration;

use mpesa_callbacks_core::Kind;

use super::request::Fields;
use super::{RESULT_DELAY, Taken, taken, unless_refused, url};
use crate::bodies::{Json, object};
use crate::script::{Product, described};
use crate::state::{Planned, State};

/// Takes a push to a business. Without a rule it pays.
pub(super) fn push(state: &mut State, fields: &Fields) -> Taken {
    let primary = fields.short_code("primaryShortCode")?;
    let receiver = fields.short_code("receiverShortCode")?;
    let amount = fields.amount("amount")?;
    let reference = fields.required("paymentRef")?;
    let callback_url = url(state, fields, "callbackUrl")?;
    fields.required("partnerName")?;
    // The table of the documentation writes it with a small d.
    let request_id = match fields.text("RequestRefId") {
        Some(id) => id,
        None => fields.required("RequestRefID")?,
    };
    let (ends, faults) = unless_refused(state.rules.take(Product::BusinessPush, &primary, &reference))?;
    let code = ends.unwrap_or_else(|| "0".to_owned());
    let at = state.unix_in(RESULT_DELAY);
    let amount = format!("{amount}.0");
    let body = match code.as_str() {
        "0" => object([
            ("resultCode", "0".into()),
            ("resultDesc", described("0").into()),
            ("amount", amount.into()),
            ("requestId", request_id.into()),
            ("resultType", "0".into()),
            ("conversationID", state.ids.conversation(at).into()),
            ("transactionId", state.ids.receipt(at).into()),
            ("status", "SUCCESS".into()),
        ]),
        code => object([
            ("resultCode", code.into()),
            ("resultDesc", described(code).into()),
            ("requestId", request_id.into()),
            ("amount", amount.into()),
            ("paymentReference", reference.into()),
        ]),
    };
    let planned = Planned {
        kind: Kind::B2bExpress,
        url: callback_url,
        short_code: receiver,
        variant: body.clone().respelled(),
        body,
        after: RESULT_DELAY + Duration::from_secs(1),
    };
    state.plan(&planned, &faults);
    let answer = object([("code", Json::from("0")), ("status", "USSD Initiated Successfully".into())]);
    Ok(taken(state, &answer, &faults))
}
