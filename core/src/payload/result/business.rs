//! Payments to other businesses, and to the tax authority.

use super::ResultHeader;
use crate::kind::Kind;
use crate::payload::digest::{ContentHasher, Digest};
use crate::payload::json::Object;
use crate::payload::parameters::Entries;
use crate::payload::{
    AccountBalance, Amount, BalanceAmount, Charge, DarajaTime, Outcome, Parameters, ParseError, Party, RawJson,
    ResultCodeInfo,
};

/// Results of payments to businesses and to the tax authority have the same members.
macro_rules! business_result {
    ($(#[$documentation:meta])* $name:ident, $kind:expr) => {
        $(#[$documentation])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        #[non_exhaustive]
        pub struct $name {
            /// Codes and ids.
            pub header: ResultHeader,
            /// How much, `Amount`; real disbursements of 2021 do not tell it.
            pub amount: Option<Amount>,
            /// `Currency`: `KES`.
            pub currency: Option<String>,
            /// When, `TransCompletedTime`; of failures, `BOCompletedTime`.
            pub completed: Option<DarajaTime>,
            /// To whom, `ReceiverPartyPublicName` or `CreditPartyPublicName`.
            pub receiver: Option<Party>,
            /// From whom, `DebitPartyPublicName`.
            pub payer: Option<Party>,
            /// What it cost, `DebitPartyCharges`.
            pub charges: Vec<Charge>,
            /// The account that paid, afterwards: `DebitPartyAffectedAccountBalance`.
            pub affected_accounts: Vec<AccountBalance>,
            /// The account that was paid, afterwards: `CreditAccountBalance`.
            pub credit_accounts: Vec<AccountBalance>,
            /// `DebitAccountBalance` or `DebitAccountCurrentBalance`.
            pub debit_account_balance: Option<BalanceAmount>,
            /// `InitiatorAccountCurrentBalance`.
            pub initiator_account_balance: Option<BalanceAmount>,
            /// All that was sent. `BillReferenceNumber` and `Occasion` are in [`reference_data`](Self::reference_data).
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

            pub(in crate::payload) fn content_digest(&self) -> Digest {
                self.content_hasher().amount(self.amount).text(self.receipt()).digest()
            }
        }
    };
}

business_result! {
    /// A payment to another business (pay bill, buy goods, or a top up of one's own B2C account) was carried out, or was not.
    B2bResult, Kind::B2bResult
}

business_result! {
    /// A remittance to the Kenya Revenue Authority was carried out, or was not.
    TaxResult, Kind::TaxResult
}
