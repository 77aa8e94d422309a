//! A callback of M-Pesa Express as a developer reads it by hand: `serde_json`, derived.

use serde::Deserialize;
use serde_json::Value;

/// The parts of the body.
#[derive(Deserialize)]
struct Envelope {
    #[serde(rename = "Body")]
    body: Body,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "stkCallback")]
    stk_callback: Callback,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Callback {
    #[serde(rename = "MerchantRequestID")]
    merchant_request_id: String,
    #[serde(rename = "CheckoutRequestID")]
    checkout_request_id: String,
    result_code: i64,
    result_desc: String,
    callback_metadata: Option<Metadata>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata {
    item: Vec<Item>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Item {
    name: String,
    value: Option<Value>,
}

/// The result of a push, in the fields of `StkCallback`.
#[derive(Debug, PartialEq)]
#[allow(missing_docs, reason = "named as in M-Pesa's documentation")]
pub struct Stk {
    pub merchant_request_id: String,
    pub checkout_request_id: String,
    pub result_code: i64,
    pub result_desc: String,
    pub amount: Option<f64>,
    pub receipt: Option<String>,
    pub balance: Option<f64>,
    pub transaction_date: Option<u64>,
    pub phone_number: Option<u64>,
}

impl Stk {
    /// Reads a body.
    ///
    /// # Errors
    /// When it is not the JSON that was expected.
    pub fn parse(body: &[u8]) -> serde_json::Result<Stk> {
        let Envelope { body: Body { stk_callback: callback } } = serde_json::from_slice(body)?;
        let mut stk = Stk {
            merchant_request_id: callback.merchant_request_id,
            checkout_request_id: callback.checkout_request_id,
            result_code: callback.result_code,
            result_desc: callback.result_desc,
            amount: None,
            receipt: None,
            balance: None,
            transaction_date: None,
            phone_number: None,
        };
        for Item { name, value } in callback.callback_metadata.map(|metadata| metadata.item).unwrap_or_default() {
            match (name.as_str(), value) {
                ("Amount", Some(value)) => stk.amount = value.as_f64(),
                ("MpesaReceiptNumber", Some(Value::String(receipt))) => stk.receipt = Some(receipt),
                ("Balance", Some(value)) => stk.balance = value.as_f64(),
                ("TransactionDate", Some(value)) => stk.transaction_date = value.as_u64(),
                ("PhoneNumber", Some(value)) => stk.phone_number = value.as_u64(),
                _ => {}
            }
        }
        Ok(stk)
    }
}
