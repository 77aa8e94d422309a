//! Payments to other businesses and to the tax authority.

use std::borrow::Cow;

use super::ResultHeader;
use crate::digest::{ContentHasher, Digest};
use crate::fields::Entries;
use crate::json::Object;
use crate::payload::Payload;
use crate::{
    AccountBalance, Amount, BalanceAmount, Charge, DarajaTime, Kind, Outcome, Parameters, ParseError, Party, RawJson,
    ResultCodeInfo,
};

/// Both have the same fields.
macro_rules! business_result {
    ($(#[$documentation:meta])* $name:ident, $kind:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// `ResultType`, `ResultCode`, `ResultDesc`, and the ids of the
            /// request.
            pub header: ResultHeader,
            /// `Amount`, in KES; real disbursements of 2021 do not contain it.
            pub amount: Option<Amount>,
            /// `Currency`: always `KES` in the samples.
            pub currency: Option<String>,
            /// Time, `TransCompletedTime`; for failures `BOCompletedTime`.
            pub completed: Option<DarajaTime>,
            /// Recipient, `ReceiverPartyPublicName` or `CreditPartyPublicName`.
            pub receiver: Option<Party>,
            /// `DebitPartyPublicName`: the number and name of the paying
            /// business.
            pub payer: Option<Party>,
            /// `DebitPartyCharges`: the charges that the payer paid, by kind of
            /// charge.
            pub charges: Vec<Charge>,
            /// Balances of the paying account afterwards, `DebitPartyAffectedAccountBalance`.
            pub affected_accounts: Vec<AccountBalance>,
            /// Balances of the paid account afterwards, `CreditAccountBalance`.
            pub credit_accounts: Vec<AccountBalance>,
            /// `DebitAccountBalance` or `DebitAccountCurrentBalance`: balance
            /// of the paying account afterwards.
            pub debit_account_balance: Option<BalanceAmount>,
            /// `InitiatorAccountCurrentBalance`: balance of the account of the
            /// initiator afterwards.
            pub initiator_account_balance: Option<BalanceAmount>,
            /// The body as JSON. `BillReferenceNumber` and `Occasion` are in
            /// [`reference_data`](Self::reference_data).
            pub raw: RawJson,
        }

        result_payload!($name, $kind);
        transaction_result!($name);

        impl $name {
            fn from_parts(header: ResultHeader, entries: &Entries<'_>, raw: RawJson) -> Result<$name, ParseError> {
                let accounts = |name| entries.text(&[name]).map_or_else(Vec::new, AccountBalance::parse_list);
                Ok($name {
                    amount: match entries.amount("Amount")? {
                        Some(amount) => Some(amount),
                        None => entries.amount("TransactionAmount")?,
                    },
                    currency: entries.string(&["Currency"]),
                    completed: entries.text(&["TransCompletedTime", "BOCompletedTime"]).and_then(DarajaTime::parse),
                    receiver: entries.text(&["ReceiverPartyPublicName", "CreditPartyPublicName"]).map(Party::from),
                    payer: entries.text(&["DebitPartyPublicName"]).map(Party::from),
                    charges: entries.text(&["DebitPartyCharges"]).map_or_else(Vec::new, Charge::parse_list),
                    affected_accounts: accounts("DebitPartyAffectedAccountBalance"),
                    credit_accounts: accounts("CreditAccountBalance"),
                    debit_account_balance: entries
                        .text(&["DebitAccountBalance", "DebitAccountCurrentBalance"])
                        .and_then(BalanceAmount::parse),
                    initiator_account_balance: entries
                        .text(&["InitiatorAccountCurrentBalance"])
                        .and_then(BalanceAmount::parse),
                    header,
                    raw,
                })
            }
        }

        impl Payload for $name {
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
    };
}

business_result! {
    /// The result of a payment to another business: pay bill, buy goods, or a top up of your own
    /// B2C account.
    B2bResult, Kind::B2bResult
}

business_result! {
    /// The result of a remittance to the Kenya Revenue Authority.
    TaxResult, Kind::TaxResult
}
