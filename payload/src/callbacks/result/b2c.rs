//! Results of payments to customers.

use std::borrow::Cow;

use super::ResultHeader;
use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{Amount, DarajaTime, Kind, Outcome, Parameters, ParseError, Party, RawJson, ResultCodeInfo};

/// The result of a payment to a customer (B2C, or B2Pochi, whose results are the same).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct B2cResult {
    /// `ResultType`, `ResultCode`, `ResultDesc`, and the ids of the request.
    pub header: ResultHeader,
    /// `TransactionAmount`: the amount that was sent, in KES; missing in
    /// failures.
    pub amount: Option<Amount>,
    /// `TransactionReceipt`: the receipt of the payment. Use
    /// [`receipt`](Self::receipt), which also knows the other places of it.
    pub transaction_receipt: Option<String>,
    /// `ReceiverPartyPublicName`: the phone number and name of the recipient.
    pub receiver: Option<Party>,
    /// Time of the payment, `TransactionCompletedDateTime`.
    pub completed: Option<DarajaTime>,
    /// `B2CUtilityAccountAvailableFunds`: balance of the utility account after
    /// the payment, in KES. B2C payments are taken from it.
    pub utility_account_funds: Option<Amount>,
    /// `B2CWorkingAccountAvailableFunds`: balance of the working account after
    /// the payment, in KES.
    pub working_account_funds: Option<Amount>,
    /// `B2CChargesPaidAccountAvailableFunds`: balance of the account for
    /// charges after the payment, in KES. It is zero or negative.
    pub charges_paid_account_funds: Option<Amount>,
    /// Whether the recipient is registered with M-Pesa, `B2CRecipientIsRegisteredCustomer`.
    pub recipient_is_registered: Option<bool>,
    /// The body as JSON.
    pub raw: RawJson,
}

result_payload!(B2cResult, Kind::B2cResult);

impl B2cResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, raw: RawJson) -> Result<B2cResult, ParseError> {
        let funds = |name| entries.text(&[name]).and_then(|text| text.parse().ok());
        Ok(B2cResult {
            amount: match entries.amount("TransactionAmount")? {
                Some(amount) => Some(amount),
                None => entries.amount("Amount")?,
            },
            transaction_receipt: entries.one("TransactionReceipt")?.map(str::to_owned),
            receiver: entries.text(&["ReceiverPartyPublicName"]).map(Party::from),
            completed: entries.text(&["TransactionCompletedDateTime"]).and_then(DarajaTime::parse),
            utility_account_funds: funds("B2CUtilityAccountAvailableFunds"),
            working_account_funds: funds("B2CWorkingAccountAvailableFunds"),
            charges_paid_account_funds: funds("B2CChargesPaidAccountAvailableFunds"),
            recipient_is_registered: entries.text(&["B2CRecipientIsRegisteredCustomer"]).map(|text| text.trim() == "Y"),
            header,
            raw,
        })
    }

    /// Returns the outcome of the payment. See [`ResultCode::outcome`](crate::ResultCode::outcome).
    pub fn outcome(&self) -> Outcome {
        self.code_outcome()
    }

    /// Returns M-Pesa's receipt, if the payment was carried out.
    pub fn receipt(&self) -> Option<&str> {
        self.transaction_receipt.as_deref().or(self.header.receipt()).filter(|_| self.outcome().is_success())
    }
}

impl Payload for B2cResult {
    fn key(&self) -> Option<Cow<'_, str>> {
        self.header.key().map(Cow::from)
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        self.content_hasher().amount(self.amount).text(self.receipt()).digest()
    }

    fn receipt(&self) -> Option<&str> {
        self.receipt()
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }
}
