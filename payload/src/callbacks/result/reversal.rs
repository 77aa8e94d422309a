//! Results of reversals.

use std::borrow::Cow;

use super::ResultHeader;
use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{
    AccountBalance, Amount, DarajaTime, Kind, Outcome, Parameters, ParseError, Party, RawJson, ResultCodeInfo,
};

/// The result of a reversal.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReversalResult {
    /// `ResultType`, `ResultCode`, `ResultDesc`, and the ids of the request.
    pub header: ResultHeader,
    /// Returned amount, `Amount`, in KES.
    pub amount: Option<Amount>,
    /// Cost, `Charge`, in KES.
    pub charge: Option<Amount>,
    /// `TransCompletedTime`: the time of the reversal, Africa/Nairobi.
    pub completed: Option<DarajaTime>,
    /// Receipt of the reversed transaction, `OriginalTransactionID`.
    pub original_transaction_id: Option<String>,
    /// `CreditPartyPublicName`: the party that received the money.
    pub credit_party: Option<Party>,
    /// `DebitPartyPublicName`: the party that returned the money.
    pub debit_party: Option<Party>,
    /// Balances of the returning account afterwards, `DebitAccountBalance`.
    pub debit_accounts: Vec<AccountBalance>,
    /// The body as JSON.
    pub raw: RawJson,
}

result_payload!(ReversalResult, Kind::ReversalResult);
transaction_result!(ReversalResult);

impl ReversalResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, raw: RawJson) -> Result<ReversalResult, ParseError> {
        Ok(ReversalResult {
            amount: entries.amount("Amount")?,
            charge: entries.text(&["Charge"]).and_then(|text| text.parse().ok()),
            completed: entries.text(&["TransCompletedTime"]).and_then(DarajaTime::parse),
            original_transaction_id: entries.one("OriginalTransactionID")?.map(str::to_owned),
            credit_party: entries.text(&["CreditPartyPublicName"]).map(Party::from),
            debit_party: entries.text(&["DebitPartyPublicName"]).map(Party::from),
            debit_accounts: entries.text(&["DebitAccountBalance"]).map_or_else(Vec::new, AccountBalance::parse_list),
            header,
            raw,
        })
    }
}

impl Payload for ReversalResult {
    fn key(&self) -> Option<Cow<'_, str>> {
        self.header.key().map(Cow::from)
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        self.content_hasher()
            .amount(self.amount)
            .text(self.original_transaction_id.as_deref())
            .text(self.receipt())
            .digest()
    }

    fn receipt(&self) -> Option<&str> {
        self.receipt()
    }

    fn amount(&self) -> Option<Amount> {
        self.amount
    }
}
