//! Results of transaction status queries.

use std::borrow::Cow;

use super::ResultHeader;
use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{
    Amount, Charge, DarajaTime, Kind, Outcome, Parameters, ParseError, Party, RawJson, ResultCodeInfo, Sensitive,
};

/// The result of a transaction status query.
///
/// `ResultCode` describes the query, `TransactionStatus` the queried transaction.
/// [`outcome`](StatusResult::outcome) is that of the transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusResult {
    /// Codes and ids of the query.
    pub header: ResultHeader,
    /// `TransactionStatus`: `Completed` in every log. Other integrators know `Failed`, `Cancelled`
    /// and `Authorized` (waiting for the merchant's validation: unknown); they are not documented.
    pub transaction_status: Option<String>,
    /// Receipt of the transaction, `ReceiptNo`.
    pub receipt: Option<String>,
    /// Amount of the transaction, `Amount`, in KES.
    pub amount: Option<Amount>,
    /// Time of its start, `InitiatedTime`.
    pub initiated: Option<DarajaTime>,
    /// Time of its end, `FinalisedTime` or `FinalizedTime`.
    pub finalised: Option<DarajaTime>,
    /// Payer, the first `DebitPartyName`.
    pub debit_party: Option<Party>,
    /// Recipient: `CreditPartyName`, or the second `DebitPartyName`, as in the official sample.
    pub credit_party: Option<Party>,
    /// `DebitAccountType`: the kind of account that paid, `Utility Account` or
    /// `MMF Account For Customer` for example.
    pub debit_account_type: Option<String>,
    /// `ReasonType`: the kind of transaction, `Pay Bill Online` or `Business
    /// Payment to Customer via API` for example.
    pub reason_type: Option<String>,
    /// `TransactionReason`; nearly always without a value.
    pub transaction_reason: Option<Sensitive>,
    /// `DebitPartyCharges`: the charges that the payer paid, by kind of charge.
    pub debit_charges: Vec<Charge>,
    /// `CreditPartyCharges`: the charges that the recipient paid, by kind of
    /// charge.
    pub credit_charges: Vec<Charge>,
    /// Conversation id of the transaction, not of the query.
    pub transaction_conversation_id: Option<String>,
    /// Originator's conversation id of the transaction, not of the query.
    pub transaction_originator_conversation_id: Option<String>,
    /// The body as JSON.
    pub raw: RawJson,
}

result_payload!(StatusResult, Kind::StatusResult);

impl StatusResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, raw: RawJson) -> Result<StatusResult, ParseError> {
        let mut debit_parties = entries.all("DebitPartyName").filter(|name| !name.trim().is_empty());
        let charges = |name| entries.text(&[name]).map_or_else(Vec::new, Charge::parse_list);
        let first = |one: &'static str, other: &'static str| match entries.one(one) {
            Ok(None) => entries.one(other),
            found => found,
        };
        Ok(StatusResult {
            transaction_status: first("TransactionStatus", "Status")?.map(str::to_owned),
            receipt: first("ReceiptNo", "TransactionReceipt")?.map(str::to_owned),
            amount: match entries.amount("Amount")? {
                Some(amount) => Some(amount),
                None => entries.amount("TransactionAmount")?,
            },
            initiated: entries.text(&["InitiatedTime"]).and_then(DarajaTime::parse),
            finalised: entries.text(&["FinalisedTime", "FinalizedTime", "TransactionDate"]).and_then(DarajaTime::parse),
            debit_party: debit_parties.next().map(Party::from),
            credit_party: entries.text(&["CreditPartyName"]).or_else(|| debit_parties.next()).map(Party::from),
            debit_account_type: entries.string(&["DebitAccountType"]),
            reason_type: entries.string(&["ReasonType"]),
            transaction_reason: entries.string(&["TransactionReason"]).map(Sensitive::from),
            debit_charges: charges("DebitPartyCharges"),
            credit_charges: charges("CreditPartyCharges"),
            transaction_conversation_id: entries.string(&["ConversationID", "Conversation ID"]),
            transaction_originator_conversation_id: entries
                .string(&["OriginatorConversationID", "Originator Conversation ID"]),
            header,
            raw,
        })
    }

    /// Returns the outcome of the queried transaction. A failed query leaves it unknown.
    pub fn outcome(&self) -> Outcome {
        if !self.code_outcome().is_success() {
            return Outcome::Unknown;
        }
        let status = self.transaction_status.as_deref().unwrap_or("").trim().to_ascii_lowercase();
        match status.as_str() {
            "completed" => Outcome::Success,
            // Not documented; another integrator's code knows them.
            "failed" | "cancelled" | "canceled" => Outcome::Failed,
            _ => Outcome::Unknown,
        }
    }
}

impl Payload for StatusResult {
    fn key(&self) -> Option<Cow<'_, str>> {
        self.header.key().map(Cow::from)
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        let status = self.transaction_status.as_deref().map(|status| status.trim().to_ascii_lowercase());
        self.content_hasher().text(status.as_deref()).amount(self.amount).text(self.receipt.as_deref()).digest()
    }
}
