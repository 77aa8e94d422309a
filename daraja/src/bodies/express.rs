//! Bodies of M-Pesa Express.

use super::json::{Json, object};
use super::time::compact;

/// The result of a push.
#[derive(Clone, Debug)]
pub(crate) struct PushResult {
    pub(crate) merchant_request_id: String,
    pub(crate) checkout_request_id: String,
    pub(crate) code: String,
    pub(crate) description: String,
    /// Whole shillings.
    pub(crate) amount: i64,
    /// Of a success.
    pub(crate) receipt: String,
    pub(crate) at: i64,
    /// Phone number in the form of the callback.
    pub(crate) phone: String,
}

/// The two forms of a success that are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Four items, as documented.
    Documented,
    /// With `{"Name":"Balance"}` without a value, as production sends it.
    Production,
}

impl PushResult {
    /// Returns the callback's body.
    pub(crate) fn body(&self, shape: Shape) -> Json {
        let mut callback = vec![
            ("MerchantRequestID".to_owned(), Json::from(&self.merchant_request_id)),
            ("CheckoutRequestID".to_owned(), Json::from(&self.checkout_request_id)),
            ("ResultCode".to_owned(), code(&self.code)),
            ("ResultDesc".to_owned(), Json::from(&self.description)),
        ];
        if self.code == "0" {
            callback.push(("CallbackMetadata".to_owned(), object([("Item", self.items(shape))])));
        }
        object([("Body", object([("stkCallback", Json::Object(callback))]))])
    }

    fn items(&self, shape: Shape) -> Json {
        let item = |name: &str, value: Json| object([("Name", name.into()), ("Value", value)]);
        let phone = match self.phone.bytes().all(|byte| byte.is_ascii_digit()) {
            true => Json::number(&self.phone),
            false => Json::from(&self.phone),
        };
        let mut items = vec![
            item("Amount", Json::number(format!("{}.00", self.amount))),
            item("MpesaReceiptNumber", Json::from(&self.receipt)),
        ];
        if shape == Shape::Production {
            items.push(object([("Name", "Balance".into())]));
        }
        items.push(item("TransactionDate", Json::number(compact(self.at))));
        items.push(item("PhoneNumber", phone));
        Json::List(items)
    }
}

/// A result code: a number where it is one, as Daraja writes it.
pub(super) fn code(code: &str) -> Json {
    if code.parse::<u32>().is_ok() { Json::number(code) } else { code.into() }
}
