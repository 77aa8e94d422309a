//! Results of account balance queries.

use std::borrow::Cow;

use super::ResultHeader;
use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{AccountBalance, DarajaTime, Kind, Outcome, Parameters, ParseError, RawJson, ResultCodeInfo};

/// The result of an account balance query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalanceResult {
    /// `ResultType`, `ResultCode`, `ResultDesc`, and the ids of the request.
    pub header: ResultHeader,
    /// Balances per account, `AccountBalance`.
    pub accounts: Vec<AccountBalance>,
    /// Time of the balances, `BOCompletedTime`.
    pub completed: Option<DarajaTime>,
    /// The body as JSON.
    pub raw: RawJson,
}

result_payload!(BalanceResult, Kind::BalanceResult);

impl BalanceResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, raw: RawJson) -> Result<BalanceResult, ParseError> {
        Ok(BalanceResult {
            accounts: entries.one("AccountBalance")?.map_or_else(Vec::new, AccountBalance::parse_list),
            completed: entries.text(&["BOCompletedTime"]).and_then(DarajaTime::parse),
            header,
            raw,
        })
    }

    /// Returns the outcome of the query. See [`ResultCode::outcome`](crate::ResultCode::outcome).
    pub fn outcome(&self) -> Outcome {
        self.code_outcome()
    }

    /// Returns the account of this name, `Working Account` for example.
    pub fn account(&self, name: &str) -> Option<&AccountBalance> {
        self.accounts.iter().find(|account| account.name == name)
    }
}

impl Payload for BalanceResult {
    fn key(&self) -> Option<Cow<'_, str>> {
        self.header.key().map(Cow::from)
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(self.outcome())
    }

    fn content_digest(&self, _: &Kind) -> Digest {
        let says = |content_hasher: ContentHasher, account: &AccountBalance| {
            let amounts = [Some(account.current), account.available, account.reserved, account.uncleared];
            amounts
                .into_iter()
                .fold(content_hasher.text(Some(&account.name)).text(Some(&account.currency)), ContentHasher::amount)
        };
        // Text that was not parsed as an account is content, too.
        let text = self.parameters();
        let unread = text.get("AccountBalance").filter(|text| text.split('&').count() != self.accounts.len());
        self.accounts.iter().fold(self.content_hasher(), says).text(unread).digest()
    }
}
