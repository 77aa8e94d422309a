//! The shapes of the bodies, one per product.

use serde_json::{Value, json};

use super::Sample;
use crate::Kind;

const CONVERSATION: &str = "AG_20191219_00005797af5d7d75f652";
const CARRIED_OUT: &str = "The service request is processed successfully.";

pub(super) fn body<P>(sample: &Sample<P>) -> Vec<u8> {
    let body = match &sample.kind {
        Kind::Stk => stk(sample),
        Kind::C2bConfirmation | Kind::C2bValidation => c2b(sample),
        Kind::B2bExpress => b2b_express(sample),
        Kind::Ratiba => ratiba(sample),
        Kind::BillManager => bill_manager(sample),
        Kind::Lipia => lipia(sample),
        Kind::Payment => payment(sample),
        _ => result(sample),
    };
    body.to_string().into_bytes()
}

impl<P> Sample<P> {
    fn is_success(&self) -> bool {
        self.code == "0"
    }

    fn description(&self) -> &'static str {
        if self.is_success() { CARRIED_OUT } else { "The request was not carried out." }
    }

    /// As Daraja writes result codes: a number, where it is one.
    fn code_number(&self) -> Value {
        self.code.parse::<i64>().map_or_else(|_| json!(self.code), Value::from)
    }
}

fn stk<P>(sample: &Sample<P>) -> Value {
    let mut callback = json!({
        "MerchantRequestID": "29115-34620561-1",
        "CheckoutRequestID": sample.key,
        "ResultCode": sample.code_number(),
        "ResultDesc": sample.description(),
    });
    if sample.is_success() {
        callback["CallbackMetadata"] = json!({"Item": [
            {"Name": "Amount", "Value": number(sample)},
            {"Name": "MpesaReceiptNumber", "Value": sample.receipt},
            {"Name": "Balance"},
            {"Name": "TransactionDate", "Value": 20_191_219_102_115_u64},
            {"Name": "PhoneNumber", "Value": sample.phone},
        ]});
    }
    json!({"Body": {"stkCallback": callback}})
}

fn c2b<P>(sample: &Sample<P>) -> Value {
    let is_confirmation = sample.kind == Kind::C2bConfirmation;
    json!({
        "TransactionType": "Pay Bill",
        "TransID": sample.receipt,
        "TransTime": "20191219102115",
        "TransAmount": two_decimals(sample),
        "BusinessShortCode": sample.short_code,
        "BillRefNumber": sample.account,
        "InvoiceNumber": "",
        // A validation comes before the money.
        "OrgAccountBalance": if is_confirmation { "49197.00" } else { "" },
        "ThirdPartyTransID": "",
        "MSISDN": sample.phone,
        "FirstName": "John",
        "MiddleName": "",
        "LastName": "Doe",
    })
}

/// Returns the `Result` of all requests that a short code makes, and of their queue timeouts.
fn result<P>(sample: &Sample<P>) -> Value {
    let mut result = json!({
        "ResultType": 0,
        "ResultCode": sample.code_number(),
        "ResultDesc": sample.description(),
        "OriginatorConversationID": sample.key,
        "ConversationID": CONVERSATION,
        "TransactionID": sample.receipt,
        "ReferenceData": {"ReferenceItem": {"Key": "QueueTimeoutURL", "Value": "https://shop.example.com/timeout"}},
    });
    if sample.is_success() && !sample.kind.is_timeout() {
        let parameters: Vec<Value> =
            parameters(sample).into_iter().map(|(key, value)| json!({"Key": key, "Value": value})).collect();
        result["ResultParameters"] = json!({"ResultParameter": parameters});
    }
    json!({"Result": result})
}

fn parameters<P>(sample: &Sample<P>) -> Vec<(&'static str, Value)> {
    let amount = two_decimals(sample);
    let customer = format!("{} - John Doe", sample.phone);
    match sample.kind {
        Kind::B2cResult => vec![
            ("TransactionAmount", number(sample)),
            ("TransactionReceipt", json!(sample.receipt)),
            ("ReceiverPartyPublicName", json!(customer)),
            ("TransactionCompletedDateTime", json!("19.12.2019 10:21:15")),
            ("B2CUtilityAccountAvailableFunds", json!(10116.00)),
            ("B2CWorkingAccountAvailableFunds", json!(900_000.00)),
            ("B2CRecipientIsRegisteredCustomer", json!("Y")),
            ("B2CChargesPaidAccountAvailableFunds", json!(0.00)),
        ],
        Kind::B2bResult | Kind::TaxResult => vec![
            ("Amount", json!(amount)),
            ("Currency", json!("KES")),
            ("ReceiverPartyPublicName", json!("000000 - Biller Company")),
            ("TransCompletedTime", json!("20191219102115")),
        ],
        Kind::StatusResult => vec![
            ("ReceiptNo", json!(sample.receipt)),
            ("TransactionStatus", json!("Completed")),
            ("Amount", number(sample)),
            ("DebitPartyName", json!(customer)),
            ("CreditPartyName", json!(format!("{} - Shop", sample.short_code))),
            ("InitiatedTime", json!(20_191_219_102_115_u64)),
            ("FinalisedTime", json!(20_191_219_102_115_u64)),
            ("ReasonType", json!("Pay Bill Online")),
        ],
        Kind::BalanceResult => vec![
            ("AccountBalance", json!(format!("Working Account|KES|{amount}|{amount}|0.00|0.00"))),
            ("BOCompletedTime", json!("20191219102115")),
        ],
        Kind::ReversalResult => vec![
            ("Amount", json!(amount)),
            ("OriginalTransactionID", json!(sample.receipt)),
            ("TransCompletedTime", json!("20191219102115")),
            ("CreditPartyPublicName", json!(customer)),
            ("DebitPartyPublicName", json!(format!("{} - Shop", sample.short_code))),
        ],
        _ => Vec::new(),
    }
}

fn b2b_express<P>(sample: &Sample<P>) -> Value {
    let mut body = json!({
        "resultCode": sample.code,
        "resultDesc": sample.description(),
        "amount": two_decimals(sample),
        "requestId": sample.key,
    });
    if sample.is_success() {
        body["resultType"] = json!("0");
        body["conversationID"] = json!(CONVERSATION);
        body["transactionId"] = json!(sample.receipt);
        body["status"] = json!("SUCCESS");
    }
    body
}

fn ratiba<P>(sample: &Sample<P>) -> Value {
    let receipt = if sample.is_success() { &sample.receipt } else { "0000000000" };
    json!({
        "responseHeader": {
            "responseRefID": "0acc0239-20fa-4a52-8b9d-9bd64c0465c3",
            "requestRefID": sample.key,
            "responseCode": sample.code,
            "responseDescription": sample.description(),
        },
        "responseBody": {"responseData": [
            {"name": "TransactionID", "value": receipt},
            {"name": "responseCode", "value": sample.code},
            {"name": "Status", "value": if sample.is_success() { "OKAY" } else { "ERROR" }},
            {"name": "Msisdn", "value": "254******149"},
        ]},
    })
}

fn bill_manager<P>(sample: &Sample<P>) -> Value {
    json!({
        "transactionId": sample.receipt,
        "paidAmount": two_decimals(sample),
        "msisdn": sample.phone,
        "dateCreated": "2019-12-19",
        "accountReference": sample.account,
        "shortCode": sample.short_code,
    })
}

fn lipia<P>(sample: &Sample<P>) -> Value {
    json!({
        "response": {
            "Amount": number(sample),
            "ExternalReference": sample.account,
            "MerchantRequestID": "29115-34620561-1",
            "CheckoutRequestID": sample.key,
            "MpesaReceiptNumber": if sample.is_success() { &sample.receipt } else { "" },
            "Phone": sample.phone,
            "ResultCode": sample.code_number(),
            "ResultDesc": sample.description(),
            "Status": if sample.is_success() { "Success" } else { "Failed" },
        },
        "status": sample.is_success(),
    })
}

/// Not Daraja's: the inbox's own.
fn payment<P>(sample: &Sample<P>) -> Value {
    let body = bytes::Bytes::from(c2b(sample).to_string());
    let parsed = crate::parse_bytes(&Kind::C2bConfirmation, &body, None, None).ok();
    let payment = parsed.and_then(|parsed| parsed.payment()).map(|payment| payment.to_body());
    payment.and_then(|body| serde_json::from_slice(&body).ok()).unwrap_or_default()
}

/// As Daraja writes amounts among parameters: a number.
fn number<P>(sample: &Sample<P>) -> Value {
    serde_json::from_str(&sample.amount.to_string()).unwrap_or_default()
}

/// As Daraja writes amounts as text: `100.00`.
fn two_decimals<P>(sample: &Sample<P>) -> String {
    match sample.amount.cents() {
        Some(cents) => {
            let sign = if cents < 0 { "-" } else { "" };
            format!("{sign}{}.{:02}", cents.unsigned_abs() / 100, cents.unsigned_abs() % 100)
        }
        None => sample.amount.to_string(),
    }
}
