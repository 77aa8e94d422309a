//! M-Pesa Express: push and query.

use std::time::Duration;

use data_encoding::BASE64;
use mpesa_callbacks_core::Kind;

use super::answer::{Answer, Trouble};
use super::request::{Fields, is_number};
use super::{Taken, c2b, taken, unless_refused, url};
use crate::bank::{Prompt, Transaction, Truth};
use crate::bodies::{Json, PhoneForm, PushResult, Shape, object};
use crate::post::Act;
use crate::script::{AGAIN, Fault, Product, chosen_by, described};
use crate::state::{Planned, State};

/// A customer answers the prompt after this.
const ANSWERED: Duration = Duration::from_secs(2);

/// A prompt disappears after this. Measured: 26 s from push to callback 1037; documented: about a minute.
const EXPIRES: Duration = Duration::from_secs(60);

/// From a wrong report to the true one.
const CORRECTED: Duration = Duration::from_secs(40);

/// Takes a push: rings the phone, and decides how it ends, unless a person does.
pub(super) fn push(state: &mut State, fields: &Fields) -> Taken {
    let short_code = fields.short_code("BusinessShortCode")?;
    password(state, fields, &short_code)?;
    fields.one_of("TransactionType", &["CustomerPayBillOnline", "CustomerBuyGoodsOnline"])?;
    let amount = fields.amount("Amount")?;
    fields.phone("PartyA")?;
    fields.short_code("PartyB")?;
    let phone = fields.phone("PhoneNumber")?;
    let callback_url = url(state, fields, "CallBackURL")?;
    let account = fields.short("AccountReference", 12)?;
    let now = state.now();
    if state.bank.is_ringing(&phone, now) {
        return Err(Trouble::locked());
    }
    let (ends, faults) = unless_refused(state.rules.take(Product::Push, &phone, &account))?;
    let merchant_request_id = state.ids.request();
    let checkout_request_id = state.ids.checkout(state.unix_in(Duration::ZERO), &phone);
    let success = "Success. Request accepted for processing";
    let answer = object([
        ("MerchantRequestID", Json::from(&merchant_request_id)),
        ("CheckoutRequestID", Json::from(&checkout_request_id)),
        ("ResponseCode", "0".into()),
        ("ResponseDescription", success.into()),
        ("CustomerMessage", success.into()),
    ]);
    let prompt = Prompt {
        exchange: state.exchange,
        merchant_request_id,
        checkout_request_id: checkout_request_id.clone(),
        short_code,
        account,
        amount,
        callback_url,
        flaky_queries: if faults.contains(&Fault::FlakyQuery) { 2 } else { 0 },
        faults: faults.clone(),
        truths: Vec::new(),
        phone: phone.clone(),
    };
    state.bank.prompts.insert(checkout_request_id.clone(), prompt);
    let decided = ends.or_else(|| chosen_by(&phone));
    match decided.or_else(|| (!state.behaviour.is_interactive).then(|| "0".to_owned())) {
        Some(code) => decide(state, &checkout_request_id, &code, ANSWERED),
        None => state.later(EXPIRES, Act::Expire(checkout_request_id)),
    }
    Ok(taken(state, &answer, &faults))
}

/// The customer answers a prompt now: `false` if there is none any more.
pub(crate) fn answer(state: &mut State, checkout_request_id: &str, code: &str) -> bool {
    let is_open = state.bank.prompts.get(checkout_request_id).is_some_and(|prompt| prompt.truths.is_empty());
    if is_open {
        decide(state, checkout_request_id, code, Duration::ZERO);
    }
    is_open
}

/// A prompt disappears that the customer has not answered.
pub(crate) fn expire(state: &mut State, checkout_request_id: &str) {
    answer(state, checkout_request_id, "1037");
}

/// One way in which a push ends, and when that is reported.
struct End {
    after: Duration,
    code: String,
    /// It is reported, and did not happen.
    is_forged: bool,
}

/// Freezes how a push ends, and schedules the callbacks.
fn decide(state: &mut State, checkout_request_id: &str, code: &str, after: Duration) {
    let Some(prompt) = state.bank.prompts.get(checkout_request_id).cloned() else { return };
    state.exchange = prompt.exchange;
    let now = state.now();
    let is_early = prompt.faults.contains(&Fault::Early);
    let ends = ends(code, &prompt.faults, if is_early { Duration::ZERO } else { after });
    let truths = ends.iter().filter(|end| !end.is_forged);
    let truths: Vec<Truth> = truths.map(|end| Truth { since: now + end.after, code: end.code.clone() }).collect();
    if let Some(prompt) = state.bank.prompts.get_mut(checkout_request_id) {
        prompt.truths = truths;
    }
    for end in ends {
        report(state, &prompt, &end);
    }
}

fn ends(code: &str, faults: &[Fault], after: Duration) -> Vec<End> {
    let end = |after, code: &str| End { after, code: code.to_owned(), is_forged: false };
    if faults.contains(&Fault::SuccessAfterFailure) {
        let failure = if code == "0" { "1037" } else { code };
        return vec![end(after, failure), end(after + CORRECTED, "0")];
    }
    if faults.contains(&Fault::FailureAfterSuccess) {
        return vec![end(after, "0"), End { is_forged: true, ..end(after + AGAIN, "1032") }];
    }
    vec![end(after, code)]
}

/// Carries out a payment, and schedules its callbacks.
fn report(state: &mut State, prompt: &Prompt, end: &End) {
    let at = state.unix_in(end.after);
    let result = PushResult {
        merchant_request_id: prompt.merchant_request_id.clone(),
        checkout_request_id: prompt.checkout_request_id.clone(),
        description: described(&end.code).to_owned(),
        code: end.code.clone(),
        amount: prompt.amount,
        receipt: state.ids.receipt(at),
        at,
        phone: PhoneForm::of(&prompt.faults).unwrap_or(PhoneForm::Plain).write(&prompt.phone),
    };
    if end.code == "0" {
        let since = state.now() + end.after;
        state.bank.carry_out(Transaction {
            receipt: result.receipt.clone(),
            conversation_id: String::new(),
            originator_conversation_id: result.merchant_request_id.clone(),
            short_code: prompt.short_code.clone(),
            party: prompt.phone.clone(),
            account: prompt.account.clone(),
            amount: prompt.amount,
            is_in: true,
            at,
            since,
            reversed: None,
        });
        if state.behaviour.confirms_pushes || prompt.faults.contains(&Fault::Twin) {
            c2b::twin(state, prompt, &result.receipt, end.after);
        }
    }
    let planned = Planned {
        kind: Kind::Stk,
        url: prompt.callback_url.clone(),
        short_code: prompt.short_code.clone(),
        body: result.body(Shape::Production),
        variant: result.body(Shape::Documented).respelled(),
        after: end.after,
    };
    state.plan(&planned, &prompt.faults);
}

/// `Password` is base64 of short code, passkey and timestamp. An unknown passkey is taken as it is. The
/// age of the timestamp is not judged: clients send UTC and Nairobi, and both were seen to work.
fn password(state: &State, fields: &Fields, short_code: &str) -> Result<(), Trouble> {
    let timestamp = fields.required("Timestamp")?;
    if timestamp.len() != 14 || !is_number(&timestamp) {
        return Err(Trouble::field("Timestamp"));
    }
    let password = fields.required("Password")?;
    let decoded = BASE64.decode(password.as_bytes()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    let passkey = decoded.as_deref().and_then(|text| text.strip_prefix(short_code)?.strip_suffix(&timestamp));
    let is_right = match state.bank.passkeys.get(short_code) {
        Some(known) => passkey == Some(known),
        None => passkey.is_some_and(|passkey| !passkey.is_empty()),
    };
    if is_right { Ok(()) } else { Err(Trouble::credentials()) }
}

/// Takes a query: what is true now.
pub(super) fn query(state: &mut State, fields: &Fields) -> Taken {
    let short_code = fields.short_code("BusinessShortCode")?;
    password(state, fields, &short_code)?;
    let id = fields.required("CheckoutRequestID")?;
    let now = state.now();
    let prompt = state.bank.prompts.get_mut(&id).ok_or_else(Trouble::no_transaction)?;
    let is_flaky = prompt.flaky_queries > 0;
    prompt.flaky_queries = prompt.flaky_queries.saturating_sub(1);
    if is_flaky && prompt.flaky_queries == 0 {
        return Err(Trouble::empty());
    }
    let (code, description) = match prompt.truth(now).filter(|_| !is_flaky) {
        // The query has descriptions of its own for some codes.
        Some(truth) if truth.code == "1032" => ("1032", "Request Cancelled by user."),
        Some(truth) if truth.code == "1037" => ("1037", "DS timeout user cannot be reached."),
        Some(truth) => (truth.code.as_str(), described(&truth.code)),
        None => ("4999", "The transaction is still under processing"),
    };
    let answer = object([
        ("ResponseCode", "0".into()),
        // Three s, as Safaricom writes it.
        ("ResponseDescription", "The service request has been accepted successsfully".into()),
        ("MerchantRequestID", Json::from(&prompt.merchant_request_id)),
        ("CheckoutRequestID", id.into()),
        ("ResultCode", code.into()),
        ("ResultDesc", description.into()),
    ]);
    Ok(Answer::ok(&answer))
}
