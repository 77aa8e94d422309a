//! Results of queries, as the callbacks that did not arrive.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{Amount, Expectation, Kind, ResultCode, Sensitive};

/// Your result of a query about a request whose callback did not arrive: from a query API, a statement,
/// or the M-Pesa portal. Pass it to `Inbox::reconcile`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reconciliation {
    /// Result code; `0` is success.
    pub code: String,
    /// Description of the result, for people.
    pub description: Option<String>,
    /// M-Pesa's receipt of a success.
    pub receipt: Option<String>,
    /// Amount in KES. Default: the expected amount.
    pub amount: Option<Amount>,
    /// Phone number of the payer, in any of M-Pesa's notations.
    pub phone_number: Option<Sensitive>,
}

impl Reconciliation {
    /// It was carried out, with this receipt.
    pub fn success(receipt: impl Into<String>) -> Reconciliation {
        // M-Pesa writes receipts in capitals; people do not always.
        let receipt = receipt.into().trim().to_uppercase();
        Reconciliation { receipt: Some(receipt), ..Reconciliation::result_code("0") }
    }

    /// It ended with this result code. For a success use [`success`](Reconciliation::success):
    /// money that came in needs its receipt, because the callback would have one. The query of
    /// M-Pesa Express does not return it; the C2B confirmation, the statement and the M-Pesa portal
    /// do.
    pub fn result_code(code: impl Into<String>) -> Reconciliation {
        Reconciliation { code: code.into(), description: None, receipt: None, amount: None, phone_number: None }
    }

    /// Sets an amount that differs from the expected one.
    #[must_use]
    pub fn amount(mut self, amount: Amount) -> Reconciliation {
        self.amount = Some(amount);
        self
    }

    /// Sets a description for people. It is stored with the callback and
    /// changes nothing.
    #[must_use]
    pub fn description(mut self, description: impl Into<String>) -> Reconciliation {
        self.description = Some(description.into());
        self
    }

    /// Sets the phone number of the payer.
    #[must_use]
    pub fn phone_number(mut self, phone_number: impl Into<Sensitive>) -> Reconciliation {
        self.phone_number = Some(phone_number.into());
        self
    }

    /// Returns whether the request is still being processed: `4999`, or the error `500.001.1001`,
    /// which the STK query returns until the customer has answered.
    pub fn is_under_way(&self) -> bool {
        matches!(self.code.trim(), "" | "4999" | "500.001.1001")
    }

    /// Returns whether the request was carried out.
    pub fn is_success(&self) -> bool {
        ResultCode::from(self.code.as_str()).is_success()
    }

    /// For the engine: whether money that came in has its receipt and amount.
    #[doc(hidden)]
    pub fn is_complete(&self, expected: &Expectation) -> bool {
        let needs_money = match expected.kind {
            Kind::Stk => self.is_success(),
            // M-Pesa reports no payments that were not made.
            Kind::C2bConfirmation => true,
            _ => false,
        };
        let has_money = self.is_success() && self.receipt.is_some() && self.amount.or(expected.amount).is_some();
        !needs_money || has_money
    }

    /// For the engine: the callback's body, marked as made here; `None` if the kind cannot be reconciled, or its
    /// key is missing.
    #[doc(hidden)]
    pub fn to_body(&self, expected: &Expectation) -> Option<Bytes> {
        let code = ResultCode::from(self.code.as_str());
        let amount = self.amount.or(expected.amount).filter(|_| code.is_success()).map(Amount::canonical);
        let phone = self.phone_number.as_ref().map(Sensitive::as_str);
        let id = expected.id.as_ref().map(Sensitive::as_str);
        let named =
            |name: &str, key: &str, value: Option<&str>| value.map(|value| json!({ name: key, "Value": value }));
        if !self.is_complete(expected) {
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
            Kind::C2bConfirmation => json!({
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
    use crate::{Callback, Outcome, parse_bytes};

    /// Every body parses back to the given values.
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
