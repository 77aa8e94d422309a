//! What a query told of a request whose callback never came, as the callback that would have told it.

use bytes::Bytes;
use serde_json::{Value, json};

use super::{Amount, Expectation, ResultCode, Sensitive};
use crate::kind::Kind;

/// What the application found out about a request whose callback did not come: from a query API, a statement, or the
/// M-Pesa portal. [`Inbox::reconcile`](crate::Inbox::reconcile) takes it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciliation {
    /// The result code: `0` for success.
    pub code: String,
    /// What M-Pesa says of it, for people.
    pub description: Option<String>,
    /// M-Pesa's receipt, of a success.
    pub receipt: Option<String>,
    /// How much was moved; what was expected, unless said otherwise.
    pub amount: Option<Amount>,
    /// Who paid, in any form that M-Pesa writes.
    pub phone_number: Option<Sensitive>,
}

impl Reconciliation {
    /// It was carried out, under this receipt.
    pub fn success(receipt: impl Into<String>) -> Reconciliation {
        // M-Pesa writes them in capitals; people do not always.
        let receipt = receipt.into().trim().to_uppercase();
        Reconciliation { receipt: Some(receipt), ..Reconciliation::result_code("0") }
    }

    /// It ended with this result code, as the query told it. For a success say [`success`](Reconciliation::success): money that came in
    /// is not taken without its receipt, because the callback, should it come after all, has one. (The query of M-Pesa Express does not
    /// tell it; the C2B confirmation, the statement and the M-Pesa portal do.)
    pub fn result_code(code: impl Into<String>) -> Reconciliation {
        Reconciliation { code: code.into(), description: None, receipt: None, amount: None, phone_number: None }
    }

    /// How much was moved, when that is known to be something else than was expected.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Reconciliation {
        self.amount = Some(amount);
        self
    }

    /// What M-Pesa says of it.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Reconciliation {
        self.description = Some(description.into());
        self
    }

    /// Who paid.
    #[must_use]
    pub fn phone_number(mut self, phone_number: impl Into<Sensitive>) -> Reconciliation {
        self.phone_number = Some(phone_number.into());
        self
    }

    /// Whether it is no outcome at all: the request is still being processed, as the STK query API says while the customer has not
    /// answered, with `4999` or with the error `500.001.1001`.
    pub(crate) fn is_under_way(&self) -> bool {
        matches!(self.code.trim(), "" | "4999" | "500.001.1001")
    }

    /// The callback's body, marked as made here; `None` for a kind that it cannot be made of, or without what is its key.
    pub(crate) fn to_body(&self, expected: &Expectation) -> Option<Bytes> {
        let code = ResultCode::from(self.code.as_str());
        let amount = self.amount.or(expected.amount).filter(|_| code.is_success()).map(Amount::canonical);
        let phone = self.phone_number.as_ref().map(Sensitive::as_str);
        let id = expected.id.as_ref().map(Sensitive::as_str);
        let named =
            |name: &str, key: &str, value: Option<&str>| value.map(|value| json!({ name: key, "Value": value }));
        let is_money_in = matches!(expected.kind, Kind::Stk | Kind::C2bConfirmation) && code.is_success();
        if is_money_in && (amount.is_none() || self.receipt.is_none()) {
            return None;
        }
        let body: Value = match expected.kind {
            Kind::Stk => {
                let items = [
                    named("Name", "Amount", amount.as_deref()),
                    named("Name", "MpesaReceiptNumber", self.receipt.as_deref()),
                    named("Name", "PhoneNumber", phone),
                ];
                let items: Vec<Value> = items.into_iter().flatten().collect();
                json!({ "Reconciled": true, "Body": { "stkCallback": {
                    "CheckoutRequestID": id?,
                    "ResultCode": code,
                    "ResultDesc": self.description,
                    "CallbackMetadata": { "Item": items },
                } } })
            }
            // M-Pesa never tells of a payment that was not made.
            Kind::C2bConfirmation if code.is_success() => json!({
                "Reconciled": true,
                "TransID": self.receipt.as_deref()?,
                "TransAmount": amount,
                "BusinessShortCode": expected.business_short_code,
                "BillRefNumber": expected.reference.as_str(),
                "MSISDN": phone,
            }),
            Kind::B2cResult | Kind::B2bResult | Kind::TaxResult | Kind::ReversalResult => {
                let name = if expected.kind == Kind::B2cResult { "TransactionAmount" } else { "Amount" };
                let parameters: Vec<Value> = named("Key", name, amount.as_deref()).into_iter().collect();
                json!({ "Reconciled": true, "Result": {
                    "ResultType": 0,
                    "ResultCode": code,
                    "ResultDesc": self.description,
                    "OriginatorConversationID": id?,
                    "TransactionID": self.receipt,
                    "ResultParameters": { "ResultParameter": parameters },
                } })
            }
            _ => return None,
        };
        serde_json::to_vec(&body).ok().map(Bytes::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::{Callback, Outcome, parse_bytes};

    /// Whatever is made here reads back as what was said.
    #[test]
    fn a_body_that_is_made_says_what_was_found() {
        for kind in
            [Kind::Stk, Kind::C2bConfirmation, Kind::B2cResult, Kind::B2bResult, Kind::TaxResult, Kind::ReversalResult]
        {
            let mut expected = Expectation::new(kind.clone(), "order-1").amount(Amount::from_cents(150_050));
            expected.id = Some("an id".into());
            let found = Reconciliation::success("RCPT").phone_number("254712345678");
            let parsed = parse_bytes(&kind, &found.to_body(&expected).unwrap(), None, None).unwrap();
            assert_eq!(parsed.callback.outcome(), Some(Outcome::Success), "{kind}");
            assert_eq!(parsed.facts().amount, expected.amount, "{kind}");
            let receipt = match &parsed.callback {
                Callback::B2cResult(result) => result.receipt(),
                Callback::B2bResult(result) => result.receipt(),
                Callback::TaxResult(result) => result.receipt(),
                Callback::ReversalResult(result) => result.receipt(),
                Callback::Stk(callback) => callback.receipt.as_deref(),
                _ => Some(parsed.key.as_str()),
            };
            assert_eq!(receipt, Some("RCPT"), "{kind}");
            let failed = Reconciliation::result_code("1032").description("cancelled").to_body(&expected);
            let Some(failed) = failed else { continue };
            assert_eq!(parse_bytes(&kind, &failed, None, None).unwrap().facts().amount, None, "{kind}");
        }
    }

    #[test]
    fn there_is_no_body_without_its_key() {
        let push = Expectation::new(Kind::Stk, "order-1");
        assert!(Reconciliation::success("R").to_body(&push).is_none());
        let invoice = Expectation::new(Kind::C2bConfirmation, "INV-1");
        assert!(Reconciliation::result_code("0").to_body(&invoice).is_none());
        assert!(Reconciliation::success("R").to_body(&Expectation::new(Kind::Lipia, "x")).is_none());
    }
}
