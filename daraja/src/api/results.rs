//! The products that answer with a `Result`: one table.

use std::time::Duration;

use mpesa_callbacks_core::Kind;

use super::answer::Trouble;
use super::request::{Fields, is_number};
use super::{Access, RESULT_DELAY, Taken, taken, unless_refused, url};
use crate::bank::Transaction;
use crate::bodies::{Json, ResultBody, compact, dotted, object, parameter, timeout_body};
use crate::post::{Act, Post};
use crate::script::{Fault, Product, chosen_by, described};
use crate::state::{Planned, State};

/// One product.
pub(super) struct Row {
    path: &'static str,
    pub(super) access: Access,
    /// Kinds of result and queue timeout.
    kinds: (Kind, Kind),
    commands: &'static [&'static str],
    /// Member with the name of the initiator.
    initiator: &'static str,
    /// Whether the merchant chooses the `OriginatorConversationID`.
    has_own_id: bool,
    /// Path of Safaricom's own queue, in `ReferenceData`.
    queue: &'static str,
}

const fn access(token: &'static str) -> Access {
    Access { is_express: true, token }
}

const B2C: (Kind, Kind) = (Kind::B2cResult, Kind::B2cTimeout);
const B2C_COMMANDS: &[&str] = &["SalaryPayment", "BusinessPayment", "PromotionPayment"];

/// Which products there are. The code for a wrong token differs between them.
#[rustfmt::skip]
static PRODUCTS: [Row; 8] = [
    Row { path: "/mpesa/b2c/v1/paymentrequest",      access: access("401.002.01"), kinds: B2C, commands: B2C_COMMANDS, initiator: "InitiatorName", has_own_id: false, queue: "b2cresults" },
    Row { path: "/mpesa/b2c/v3/paymentrequest",      access: access("401.002.01"), kinds: B2C, commands: B2C_COMMANDS, initiator: "InitiatorName", has_own_id: true,  queue: "b2cresults" },
    Row { path: "/mpesa/b2pochi/v1/paymentrequest",  access: access("401.002.01"), kinds: B2C, commands: &["BusinessPayToPochi"], initiator: "InitiatorName", has_own_id: true, queue: "b2cresults" },
    Row { path: "/mpesa/b2b/v1/paymentrequest",      access: access("401.002.01"), kinds: (Kind::B2bResult, Kind::B2bTimeout), commands: &["BusinessPayBill", "BusinessBuyGoods", "BusinessPayToBulk"], initiator: "Initiator", has_own_id: false, queue: "b2bresults" },
    Row { path: "/mpesa/b2b/v1/remittax",            access: access("401.002.01"), kinds: (Kind::TaxResult, Kind::TaxTimeout), commands: &["PayTaxToKRA"], initiator: "Initiator", has_own_id: false, queue: "b2bresults" },
    Row { path: "/mpesa/transactionstatus/v1/query", access: Access { is_express: false, token: "400.003.01" }, kinds: (Kind::StatusResult, Kind::StatusTimeout), commands: &["TransactionStatusQuery"], initiator: "Initiator", has_own_id: false, queue: "transactionstatusresults" },
    Row { path: "/mpesa/accountbalance/v1/query",    access: access("401.002.01"), kinds: (Kind::BalanceResult, Kind::BalanceTimeout), commands: &["AccountBalance"], initiator: "Initiator", has_own_id: false, queue: "abresults" },
    Row { path: "/mpesa/reversal/v1/request",        access: access("404.001.03"), kinds: (Kind::ReversalResult, Kind::ReversalTimeout), commands: &["TransactionReversal"], initiator: "Initiator", has_own_id: false, queue: "reversalresults" },
];

pub(super) fn product(path: &str) -> Option<&'static Row> {
    PRODUCTS.iter().find(|row| row.path == path)
}

/// Money on the working account, which nothing changes.
const WORKING: i64 = 1_000_000;

/// From a queue timeout to the result.
const AFTER_TIMEOUT: Duration = Duration::from_secs(30);

/// A request, as far as its result needs it.
struct Asked<'f> {
    fields: &'f Fields,
    row: &'static Row,
    originator_conversation_id: String,
    conversation_id: String,
    short_code: String,
    result_url: String,
    timeout_url: String,
}

/// What a result says.
struct Said {
    code: String,
    receipt: Option<String>,
    parameters: Vec<Json>,
}

pub(super) fn take(state: &mut State, fields: &Fields, row: &'static Row) -> Taken {
    fields.required(row.initiator)?;
    fields.base64("SecurityCredential")?;
    // The official sample of the status query writes it with a space.
    let command = fields.either(&["CommandID", "Command ID"]).ok_or_else(|| Trouble::field("CommandID"))?;
    if !row.commands.contains(&command.as_str()) {
        return Err(Trouble::field("CommandID"));
    }
    let is_payout = matches!(row.kinds.0, Kind::B2cResult | Kind::B2bResult | Kind::TaxResult);
    if is_payout {
        fields.amount("Amount")?;
        fields.required("PartyB")?;
    }
    let short_code = match row.kinds.0 {
        Kind::ReversalResult => fields.required("ReceiverParty")?,
        _ => fields.short_code("PartyA")?,
    };
    if row.kinds.0 == Kind::ReversalResult {
        // With this spelling. Production refused a request without it (LOG 2023); which values it takes is not known.
        fields.one_of("RecieverIdentifierType", &["1", "2", "4", "11"])?;
    }
    let result_url = url(state, fields, "ResultURL")?;
    // The table of the documentation writes it with a small o.
    let timeout_name = if fields.text("QueueTimeoutURL").is_some() { "QueueTimeoutURL" } else { "QueueTimeOutURL" };
    let timeout_url = url(state, fields, timeout_name)?;
    let own_id = if row.has_own_id { Some(fields.required("OriginatorConversationID")?) } else { None };
    let (product, party) = match is_payout {
        true => (Product::Payout, fields.text("PartyB").unwrap_or_default()),
        false => (Product::Query, short_code.clone()),
    };
    let (ends, faults) = unless_refused(state.rules.take(product, &party, ""))?;
    if let Some(id) = &own_id
        && !state.bank.originators.insert(id.clone())
    {
        return Err(Trouble::duplicate_originator());
    }
    let originator_conversation_id = own_id.unwrap_or_else(|| state.ids.request());
    let conversation_id = state.ids.conversation(state.unix_in(Duration::ZERO));
    let asked = Asked { fields, row, originator_conversation_id, conversation_id, short_code, result_url, timeout_url };
    let said = carry_out(state, &asked, ends, &party);
    report(state, &asked, &said, &faults);
    let answer = object([
        ("OriginatorConversationID", Json::from(&asked.originator_conversation_id)),
        ("ConversationID", Json::from(&asked.conversation_id)),
        ("ResponseCode", "0".into()),
        ("ResponseDescription", "Accept the service request successfully.".into()),
    ]);
    Ok(taken(state, &answer, &faults))
}

/// Decides what a request comes to, and does it.
fn carry_out(state: &mut State, asked: &Asked<'_>, ends: Option<String>, party: &str) -> Said {
    let chosen = ends.or_else(|| chosen_by(party)).filter(|code| code != "0");
    let at = state.unix_in(RESULT_DELAY);
    if let Some(code) = chosen {
        let parameters = match asked.row.kinds.0 {
            Kind::TaxResult => vec![parameter("BOCompletedTime", compact(at))],
            _ => Vec::new(),
        };
        return Said { code, receipt: None, parameters };
    }
    match asked.row.kinds.0 {
        Kind::StatusResult => status(state, asked),
        Kind::BalanceResult => balance(state, asked, at),
        Kind::ReversalResult => reverse(state, asked, at),
        _ => pay_out(state, asked, party, at),
    }
}

/// B2C, B2Pochi, B2B, tax: money goes out, if there is enough.
fn pay_out(state: &mut State, asked: &Asked<'_>, party: &str, at: i64) -> Said {
    let amount = asked.fields.amount("Amount").unwrap_or_default();
    if state.bank.funds(&asked.short_code, Duration::MAX) < amount {
        return Said { code: "1".to_owned(), receipt: None, parameters: Vec::new() };
    }
    let receipt = state.ids.receipt(at);
    state.bank.carry_out(Transaction {
        receipt: receipt.clone(),
        conversation_id: asked.conversation_id.clone(),
        originator_conversation_id: asked.originator_conversation_id.clone(),
        short_code: asked.short_code.clone(),
        party: party.to_owned(),
        account: String::new(),
        amount,
        is_in: false,
        at,
        since: state.now() + RESULT_DELAY,
        reversed: None,
    });
    let funds = state.bank.funds(&asked.short_code, state.now() + RESULT_DELAY);
    let parameters = match asked.row.kinds.0 {
        Kind::B2cResult => vec![
            parameter("TransactionAmount", Json::number(amount)),
            parameter("TransactionReceipt", &receipt),
            parameter("ReceiverPartyPublicName", format!("{party} - NICHOLAS JOHN SONGOK")),
            parameter("TransactionCompletedDateTime", dotted(at)),
            parameter("B2CUtilityAccountAvailableFunds", Json::number(format!("{funds}.00"))),
            parameter("B2CWorkingAccountAvailableFunds", Json::number(format!("{WORKING}.00"))),
            parameter("B2CRecipientIsRegisteredCustomer", "Y"),
            parameter("B2CChargesPaidAccountAvailableFunds", Json::number("0.00")),
        ],
        // As in an official sample.
        Kind::TaxResult => vec![
            parameter("Amount", format!("{amount}.00")),
            parameter("Currency", "KES"),
            parameter("TransCompletedTime", compact(at)),
        ],
        // As in a log of production of 2024.
        _ => vec![
            parameter("Currency", "KES"),
            parameter("ReceiverPartyPublicName", format!("{party} - Shop")),
            object([("Key", "DebitPartyCharges".into())]),
            parameter("TransCompletedTime", Json::number(compact(at))),
            parameter(
                "DebitPartyAffectedAccountBalance",
                format!("Working Account|KES|{WORKING}.00|{WORKING}.00|0.00|0.00"),
            ),
            parameter("Amount", Json::number(amount)),
            parameter("DebitAccountCurrentBalance", in_braces(funds)),
            parameter("InitiatorAccountCurrentBalance", in_braces(funds)),
        ],
    };
    Said { code: "0".to_owned(), receipt: Some(receipt), parameters }
}

/// An account balance as B2B results have it.
fn in_braces(shillings: i64) -> String {
    format!("{{Amount={{CurrencyCode=KES, MinimumAmount={shillings}00, BasicAmount={shillings}.00}}}}")
}

fn account(shillings: i64) -> String {
    format!("Utility Account|KES|{shillings}.00|{shillings}.00|0.00|0.00")
}

/// The status of a transaction, by receipt or by the originator's id.
fn status(state: &mut State, asked: &Asked<'_>) -> Said {
    let by_receipt = asked.fields.either(&["TransactionID", "Transaction ID"]);
    let by_id = asked.fields.either(&["OriginalConversationID", "OriginatorConversationID"]);
    // When the result is sent.
    let then = state.now() + RESULT_DELAY;
    let found = state.bank.transactions(then).find(|known| {
        by_receipt.as_ref() == Some(&known.receipt)
            || by_id
                .as_ref()
                .is_some_and(|id| [&known.originator_conversation_id, &known.conversation_id].contains(&id))
    });
    let Some(known) = found.cloned() else {
        // "The format of parameter null is invalid" when neither is given; 2032 was seen for unknown ones.
        let code = if by_receipt.is_none() && by_id.is_none() { "25" } else { "2032" };
        return Said { code: code.to_owned(), receipt: None, parameters: Vec::new() };
    };
    let reason = if known.is_in { "Pay Bill Online" } else { "Business Payment to Customer via API" };
    let (debit, credit) = match known.is_in {
        true => (format!("{} - John Doe", known.party), format!("{} - Shop", known.short_code)),
        false => (format!("{} - Shop", known.short_code), format!("{} - John Doe", known.party)),
    };
    let name = |name: &str| object([("Key", name.into())]);
    // The charges of a party come before or after its account: as in two logs of 2024, of C2B and of B2B.
    let account =
        parameter("DebitAccountType", if known.is_in { "MMF Account For Customer" } else { "Utility Account" });
    let (first, second) = match known.is_in {
        true => (name("CreditPartyCharges"), account),
        false => (account, name("DebitPartyCharges")),
    };
    let parameters = vec![
        parameter("DebitPartyName", debit),
        parameter("CreditPartyName", credit),
        parameter("OriginatorConversationID", &known.originator_conversation_id),
        parameter("InitiatedTime", Json::number(compact(known.at))),
        first,
        second,
        name("TransactionReason"),
        parameter("ReasonType", reason),
        parameter("TransactionStatus", if known.reversed.is_some() { "Cancelled" } else { "Completed" }),
        parameter("FinalisedTime", Json::number(compact(known.at))),
        parameter("Amount", Json::number(format!("{}.00", known.amount))),
        parameter("ConversationID", &known.conversation_id),
        parameter("ReceiptNo", &known.receipt),
    ];
    Said { code: "0".to_owned(), receipt: None, parameters }
}

fn balance(state: &mut State, asked: &Asked<'_>, at: i64) -> Said {
    let funds = state.bank.funds(&asked.short_code, state.now() + RESULT_DELAY);
    let accounts = [
        format!("Working Account|KES|{WORKING}.00|{WORKING}.00|0.00|0.00"),
        format!("Utility Account|KES|{funds}.00|{funds}.00|0.00|0.00"),
        "Charges Paid Account|KES|0.00|0.00|0.00|0.00".to_owned(),
    ];
    let parameters =
        vec![parameter("AccountBalance", accounts.join("&")), parameter("BOCompletedTime", Json::number(compact(at)))];
    Said { code: "0".to_owned(), receipt: None, parameters }
}

/// A reversal gives back what came in, once.
fn reverse(state: &mut State, asked: &Asked<'_>, at: i64) -> Said {
    let receipt = asked.fields.text("TransactionID").unwrap_or_default();
    let then = state.now() + RESULT_DELAY;
    let failed = |code: &str| Said { code: code.to_owned(), receipt: None, parameters: Vec::new() };
    let Some(known) = state.bank.received_mut(&receipt, then) else { return failed("R000002") };
    if known.reversed.is_some() {
        return failed("R000001");
    }
    known.reversed = Some(then);
    let known = known.clone();
    let balance = state.bank.funds(&known.short_code, then);
    let parameters = vec![
        parameter("DebitAccountBalance", account(balance)),
        parameter("Amount", Json::number(format!("{}.00", known.amount))),
        parameter("TransCompletedTime", Json::number(compact(at))),
        parameter("OriginalTransactionID", receipt),
        parameter("Charge", Json::number("0.00")),
        parameter("CreditPartyPublicName", format!("{} - NICHOLAS JOHN SONGOK", known.party)),
        parameter("DebitPartyPublicName", format!("{} - Shop", known.short_code)),
    ];
    Said { code: "0".to_owned(), receipt: Some(state.ids.receipt(at)), parameters }
}

/// `ReferenceItem`, in the form that logs and official samples of the kind have.
fn reference(asked: &Asked<'_>, said: &Said) -> Json {
    let url = format!("https://internalsandbox.safaricom.co.ke/mpesa/{}/v1/submit", asked.row.queue);
    let queue = parameter("QueueTimeoutURL", url);
    let account = asked.fields.text("AccountReference").unwrap_or_default();
    let bill = |account: Json| parameter("BillReferenceNumber", account);
    match (&asked.row.kinds.0, said.code.as_str()) {
        // A number with a leading zero is no JSON.
        (Kind::B2bResult, "0") if is_number(&account) && !account.starts_with('0') => {
            Json::List(vec![bill(Json::number(account)), queue])
        }
        (Kind::B2bResult | Kind::TaxResult, "0") => Json::List(vec![bill(account.into()), queue]),
        (Kind::B2bResult, _) => Json::List(vec![queue]),
        (Kind::StatusResult, _) => match asked.fields.text("Occasion").filter(|occasion| !occasion.is_empty()) {
            Some(occasion) => parameter("Occasion", occasion),
            None => object([("Key", "Occasion".into())]),
        },
        _ => queue,
    }
}

/// Schedules the callbacks of a request.
fn report(state: &mut State, asked: &Asked<'_>, said: &Said, faults: &[Fault]) {
    let has = |fault| faults.contains(&fault);
    let (result_kind, timeout_kind) = &asked.row.kinds;
    let body = ResultBody {
        code: said.code.clone(),
        description: described(&said.code).to_owned(),
        originator_conversation_id: asked.originator_conversation_id.clone(),
        conversation_id: asked.conversation_id.clone(),
        receipt: said.receipt.clone(),
        at: state.unix_in(RESULT_DELAY),
        parameters: said.parameters.clone(),
        reference: reference(asked, said),
        result_type: match (result_kind, said.code.as_str()) {
            (Kind::TaxResult, code) if code != "0" => "0".into(),
            _ => Json::number(0),
        },
    }
    .body();
    if has(Fault::Timeout) || has(Fault::TimeoutThenSuccess) {
        let echo = timeout_body(&asked.fields.0, &asked.originator_conversation_id, &asked.conversation_id);
        let (url, short_code) = (asked.timeout_url.clone(), asked.short_code.clone());
        let post = Post { kind: timeout_kind.clone(), url, body: echo, short_code, times: 1, is_slow: false };
        state.later(RESULT_DELAY, Act::Post(post));
    }
    if has(Fault::Timeout) {
        return;
    }
    let planned = Planned {
        kind: result_kind.clone(),
        url: if has(Fault::Swapped) { &asked.timeout_url } else { &asked.result_url }.clone(),
        short_code: asked.short_code.clone(),
        variant: body.clone().respelled(),
        body,
        after: if has(Fault::TimeoutThenSuccess) { RESULT_DELAY + AFTER_TIMEOUT } else { RESULT_DELAY },
    };
    state.plan(&planned, faults);
}
