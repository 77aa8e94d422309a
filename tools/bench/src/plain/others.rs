//! The other callbacks, in the members that ours have.

#![allow(missing_docs, reason = "named as in M-Pesa's documentation")]

use std::collections::HashMap;

use serde::Deserialize;
use serde_json::Value;

/// A C2B validation or confirmation.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct C2b {
    pub transaction_type: Option<String>,
    #[serde(rename = "TransID")]
    pub trans_id: String,
    pub trans_time: Option<String>,
    pub trans_amount: String,
    pub business_short_code: Option<String>,
    pub bill_ref_number: Option<String>,
    pub invoice_number: Option<String>,
    pub org_account_balance: Option<String>,
    #[serde(rename = "ThirdPartyTransID")]
    pub third_party_trans_id: Option<String>,
    #[serde(rename = "MSISDN")]
    pub msisdn: Option<String>,
    pub first_name: Option<String>,
    pub middle_name: Option<String>,
    pub last_name: Option<String>,
}

/// A result, or a queue timeout, of B2C, B2B, tax, status, balance and reversal.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Transaction {
    pub result_type: Value,
    pub result_code: Value,
    pub result_desc: String,
    #[serde(rename = "OriginatorConversationID")]
    pub originator_conversation_id: String,
    #[serde(rename = "ConversationID")]
    pub conversation_id: String,
    #[serde(rename = "TransactionID")]
    pub transaction_id: Option<String>,
    #[serde(skip)]
    pub parameters: HashMap<String, Value>,
    result_parameters: Option<ResultParameters>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ResultParameters {
    result_parameter: Vec<Parameter>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Parameter {
    key: String,
    value: Option<Value>,
}

#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Result")]
    result: Transaction,
}

impl Transaction {
    /// Reads a body, and its parameters into a map.
    ///
    /// # Errors
    /// When it is not the JSON that was expected.
    pub fn parse(body: &[u8]) -> serde_json::Result<Transaction> {
        let Envelope { mut result } = serde_json::from_slice(body)?;
        let parameters = result.result_parameters.take().map(|parameters| parameters.result_parameter);
        let parameters = parameters.unwrap_or_default().into_iter();
        result.parameters = parameters.filter_map(|one| Some((one.key, one.value?))).collect();
        Ok(result)
    }
}

/// A USSD push to another merchant's till.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct B2bExpress {
    pub result_code: String,
    pub result_desc: Option<String>,
    pub amount: Option<String>,
    pub request_id: String,
    pub transaction_id: Option<String>,
    #[serde(rename = "conversationID")]
    pub conversation_id: Option<String>,
    pub status: Option<String>,
    pub payment_reference: Option<String>,
}

/// A standing order.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct Ratiba {
    pub response_header: RatibaHeader,
    pub response_body: RatibaBody,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RatibaHeader {
    #[serde(rename = "responseRefID")]
    pub response_ref_id: String,
    #[serde(rename = "requestRefID")]
    pub request_ref_id: String,
    pub response_code: String,
    pub response_description: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RatibaBody {
    pub response_data: Vec<RatibaItem>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct RatibaItem {
    pub name: String,
    pub value: String,
}

/// A payment of an invoice.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BillManager {
    pub transaction_id: String,
    pub paid_amount: String,
    pub msisdn: String,
    pub date_created: String,
    pub account_reference: String,
    pub short_code: String,
}

/// An STK outcome of the aggregator Lipia.
#[derive(Debug, Deserialize)]
pub struct Lipia {
    pub response: LipiaResponse,
    pub status: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct LipiaResponse {
    pub amount: f64,
    pub external_reference: Option<String>,
    #[serde(rename = "MerchantRequestID")]
    pub merchant_request_id: String,
    #[serde(rename = "CheckoutRequestID")]
    pub checkout_request_id: String,
    pub mpesa_receipt_number: Option<String>,
    pub phone: Option<String>,
    pub result_code: i64,
    pub result_desc: String,
    pub status: String,
}
