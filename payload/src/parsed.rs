//! A parsed body, and its facts for the engine.

use crate::{Amount, Callback, Digest, Kind, Outcome, ParseError, Payment, Sensitive};

/// A parsed body: kind, key and payload.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Parsed {
    /// Kind of the callback. For a result/timeout pair, the body decides.
    pub kind: Kind,
    /// Idempotency key within the kind.
    pub key: Sensitive,
    /// The payload, as the type of its kind.
    pub callback: Callback,
}

/// Maximum length of a key, in bytes. Daraja's are shorter than 60.
const LONGEST_KEY: usize = 256;

impl Parsed {
    pub(crate) fn new(kind: Kind, key: String, callback: Callback) -> Result<Parsed, ParseError> {
        let parsed = Parsed { kind, key: key.into(), callback };
        let receipt = parsed.paid().map_or(0, |(receipt, _)| receipt.len());
        if parsed.key.as_str().len() > LONGEST_KEY || receipt > LONGEST_KEY {
            return Err(ParseError::Malformed { field: "key or receipt", expected: "at most 256 bytes long" });
        }
        Ok(parsed)
    }

    /// Returns the digest of the content. Two bodies of one key with the same digest are one callback
    /// in two spellings.
    pub fn content_digest(&self) -> Digest {
        self.callback.payload().content_digest(&self.kind)
    }

    /// Returns the digest of fields that not every sender fills; compared only if both callbacks have
    /// it.
    pub fn detail(&self) -> Option<Digest> {
        self.callback.payload().detail()
    }

    /// Returns M-Pesa's receipt, if there is one.
    pub fn receipt(&self) -> Option<&str> {
        self.callback.payload().receipt()
    }

    /// Returns the receipt and amount, if this reports money that came in: a success with an amount of
    /// whole cents above zero.
    pub fn paid(&self) -> Option<(&str, Amount)> {
        let (receipt, amount) = self.money_in();
        let is_success = self.callback.outcome().is_some_and(Outcome::is_success);
        receipt.zip(amount).filter(|(_, amount)| is_success && amount.is_payable())
    }

    /// Returns the receipt and amount of kinds that report money in, for any outcome.
    fn money_in(&self) -> (Option<&str>, Option<Amount>) {
        if !self.kind.is_money_in() {
            return (None, None);
        }
        let payload = self.callback.payload();
        (payload.receipt(), payload.amount())
    }

    /// Returns the reason to hold it for a person: it may report money, and contains no payable
    /// amount or receipt. `None` if it need not be looked at.
    pub fn unaccounted_reason(&self) -> Option<&'static str> {
        if !self.kind.is_money_in() || self.paid().is_some() {
            return None;
        }
        match (self.callback.outcome()?, self.money_in()) {
            (Outcome::Success, (Some(_), Some(_))) => {
                Some("it reports a payment whose amount is zero, negative, or has a fraction of a cent")
            }
            (Outcome::Success, _) => Some("it reports money without an amount or a receipt"),
            (Outcome::Unknown, (Some(_), Some(_))) => {
                Some("it has an amount and a receipt, but its result code does not say that it was paid")
            }
            _ => None,
        }
    }

    /// Returns the payment that this reports, if any.
    pub fn payment(&self) -> Option<Payment> {
        let (receipt, amount) = self.paid()?;
        let payment = Payment::new(receipt.to_owned(), amount, self.kind.clone());
        Some(self.callback.payload().complete(payment))
    }

    /// Returns the facts that are compared with an expectation.
    pub fn facts(&self) -> RequestFacts {
        let payload = self.callback.payload();
        let is_success = payload.outcome().is_some_and(Outcome::is_success);
        let amount = payload.amount().filter(|_| is_success);
        payload.tell(RequestFacts { amount, is_success, ..RequestFacts::default() })
    }
}

/// Facts to compare with an expectation.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct RequestFacts {
    /// Amount that was moved, in KES.
    pub amount: Option<Amount>,
    /// Pay bill or till number.
    pub business_short_code: Option<String>,
    /// Account number that the customer typed.
    pub account: Option<Sensitive>,
    /// Whether money was moved.
    pub is_success: bool,
    /// Whether callbacks of this kind always contain the amount.
    pub tells_amounts: bool,
}
