//! Reversals.

use super::ResultHeader;
use crate::kind::Kind;
use crate::payload::digest::{ContentHasher, Digest};
use crate::payload::json::Object;
use crate::payload::parameters::Entries;
use crate::payload::{
    AccountBalance, Amount, DarajaTime, Outcome, Parameters, ParseError, Party, RawJson, ResultCodeInfo,
};

/// A transaction was reversed, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReversalResult {
    /// Codes and ids.
    pub header: ResultHeader,
    /// How much came back, `Amount`.
    pub amount: Option<Amount>,
    /// What it cost, `Charge`.
    pub charge: Option<Amount>,
    /// When, `TransCompletedTime`.
    pub completed: Option<DarajaTime>,
    /// The receipt of what was reversed, `OriginalTransactionID`.
    pub original_transaction_id: Option<String>,
    /// Who got the money back, `CreditPartyPublicName`.
    pub credit_party: Option<Party>,
    /// Who gave it back, `DebitPartyPublicName`.
    pub debit_party: Option<Party>,
    /// The account that gave it back, afterwards: `DebitAccountBalance`.
    pub debit_accounts: Vec<AccountBalance>,
    /// All that was sent.
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

    pub(in crate::payload) fn content_digest(&self) -> Digest {
        self.content_hasher()
            .amount(self.amount)
            .text(self.original_transaction_id.as_deref())
            .text(self.receipt())
            .digest()
    }
}
