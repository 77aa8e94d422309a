//! The `Result` envelope, in which everything comes that a merchant's own request caused.

use bytes::Bytes;
use serde::{Serialize, Serializer};

use super::digest::{Digest, Saying};
use super::json::Object;
use super::parameters::Entries;
use super::{
    AccountBalance, Amount, BalanceAmount, Charge, DarajaTime, Meaning, Outcome, Parameters, Party, Private,
    ResultCode, Source, Unreadable,
};
use crate::kind::Kind;

/// What every result has.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultHeader {
    /// `ResultType`: 0 for a result, 1 for a timeout.
    pub result_type: Option<String>,
    /// `ResultCode`: a number in one sample, text in the next, not always digits. 0 is success.
    pub result_code: Option<ResultCode>,
    /// `ResultDesc`, for people.
    pub result_desc: Option<String>,
    /// The request's id, `OriginatorConversationID`: the key where it is there. In B2C version 3 the merchant chose it.
    pub originator_conversation_id: Option<String>,
    /// M-Pesa's id of the conversation, `ConversationID`: the key otherwise.
    pub conversation_id: Option<String>,
    /// `TransactionID`: the receipt of a success; on failures and queries a placeholder, or something that looks real.
    /// Never a key. [`receipt`](ResultHeader::receipt) is the one to use.
    pub transaction_id: Option<String>,
}

impl ResultHeader {
    fn read(envelope: &Object<'_>) -> Result<ResultHeader, Unreadable> {
        let header = ResultHeader {
            result_type: envelope.id("ResultType")?,
            result_code: envelope.code("ResultCode")?,
            result_desc: envelope.string("ResultDesc")?,
            originator_conversation_id: envelope.id("OriginatorConversationID")?,
            conversation_id: envelope.id("ConversationID")?,
            transaction_id: envelope.id("TransactionID")?,
        };
        header.key().map(|_| ()).ok_or(Unreadable::NoKey { field: "OriginatorConversationID" })?;
        Ok(header)
    }

    /// What makes two deliveries the same result: the originator's conversation id, else M-Pesa's.
    pub fn key(&self) -> Option<&str> {
        self.originator_conversation_id.as_deref().or(self.conversation_id.as_deref())
    }

    /// The transaction id, when it is one: placeholders (`OAK0000000`) are not.
    pub fn receipt(&self) -> Option<&str> {
        self.transaction_id.as_deref().filter(|id| !id.ends_with("0000000"))
    }
}

/// The object that holds a result: `Result`, or the body itself where nobody wrapped it.
pub(super) fn envelope<'o, 'a>(root: &'o Object<'a>) -> Result<&'o Object<'a>, Unreadable> {
    Ok(root.object("Result")?.unwrap_or(root))
}

/// The members under which result parameters were seen; one sample swaps the two names.
fn parameters<'a>(envelope: &Object<'a>) -> Result<Entries<'a>, Unreadable> {
    match envelope.member("ResultParameters")? {
        Some(node) => Entries::gather(Some(node)),
        None => Entries::gather(envelope.member("ResultParameter")?),
    }
}

/// What all results have in common beside their members.
macro_rules! result_payload {
    ($name:ident, $kind:expr) => {
        impl $name {
            /// Reads a callback's body.
            pub fn parse(body: &[u8]) -> Result<$name, Unreadable> {
                super::read(&Bytes::copy_from_slice(body), $name::read)
            }

            pub(super) fn read(root: &Object<'_>, source: Source) -> Result<$name, Unreadable> {
                let envelope = envelope(root)?;
                $name::from_parts(ResultHeader::read(envelope)?, &parameters(envelope)?, source)
            }

            /// What the result code means; `None` when the catalogue does not list it.
            pub fn meaning(&self) -> Option<&'static Meaning> {
                self.header.result_code.as_ref()?.meaning(&$kind)
            }

            /// `ResultParameters`, as they were sent.
            pub fn parameters(&self) -> Parameters {
                super::parameters_of(&self.source, |root| parameters(envelope(root)?))
            }

            /// `ReferenceData`, as it was sent. The URL in it is nearly always Safaricom's own, not the merchant's.
            pub fn reference_data(&self) -> Parameters {
                super::parameters_of(&self.source, |root| Entries::gather(envelope(root)?.member("ReferenceData")?))
            }

            fn code_outcome(&self) -> Outcome {
                self.header.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&$kind))
            }

            fn saying(&self) -> Saying {
                Saying::of(&$kind).code(self.header.result_code.as_ref())
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.source.serialize(serializer)
            }
        }
    };
}

/// The outcome that the result code tells, and the receipt of a success.
macro_rules! transaction_result {
    ($name:ident) => {
        impl $name {
            /// How the transaction ended. See [`ResultCode::outcome`].
            pub fn outcome(&self) -> Outcome {
                self.code_outcome()
            }

            /// M-Pesa's receipt of a transaction that was carried out.
            pub fn receipt(&self) -> Option<&str> {
                self.header.receipt().filter(|_| self.outcome().is_success())
            }
        }
    };
}

/// A payment to a customer (B2C, or B2Pochi, whose results are the same) was carried out, or was not.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct B2cResult {
    /// Codes and ids.
    pub header: ResultHeader,
    /// How much, `TransactionAmount`.
    pub amount: Option<Amount>,
    /// `TransactionReceipt`.
    pub transaction_receipt: Option<String>,
    /// To whom, `ReceiverPartyPublicName`.
    pub receiver: Option<Party>,
    /// When, `TransactionCompletedDateTime`.
    pub completed: Option<DarajaTime>,
    /// `B2CUtilityAccountAvailableFunds`.
    pub utility_account_funds: Option<Amount>,
    /// `B2CWorkingAccountAvailableFunds`.
    pub working_account_funds: Option<Amount>,
    /// `B2CChargesPaidAccountAvailableFunds`; negative.
    pub charges_paid_account_funds: Option<Amount>,
    /// Whether the recipient is registered with M-Pesa, `B2CRecipientIsRegisteredCustomer`.
    pub recipient_is_registered: Option<bool>,
    /// All that was sent.
    pub source: Source,
}

result_payload!(B2cResult, Kind::B2cResult);

impl B2cResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, source: Source) -> Result<B2cResult, Unreadable> {
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
            source,
        })
    }

    /// How the payment ended. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.code_outcome()
    }

    /// M-Pesa's receipt of a payment that was carried out.
    pub fn receipt(&self) -> Option<&str> {
        self.transaction_receipt.as_deref().or(self.header.receipt()).filter(|_| self.outcome().is_success())
    }

    pub(super) fn says(&self) -> Digest {
        self.saying().amount(self.amount).text(self.receipt()).digest()
    }
}

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
            pub source: Source,
        }

        result_payload!($name, $kind);
        transaction_result!($name);

        impl $name {
            fn from_parts(header: ResultHeader, entries: &Entries<'_>, source: Source) -> Result<$name, Unreadable> {
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
                    source,
                })
            }

            pub(super) fn says(&self) -> Digest {
                self.saying().amount(self.amount).text(self.receipt()).digest()
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

/// The answer to a transaction status query.
///
/// Two things can fail here: the query, of which `ResultCode` tells, and the transaction asked about, of which
/// `TransactionStatus` tells. [`outcome`](StatusResult::outcome) is the transaction's.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StatusResult {
    /// Codes and ids, of the query.
    pub header: ResultHeader,
    /// `TransactionStatus`: `Completed` in every log; other values are not documented.
    pub transaction_status: Option<String>,
    /// The transaction's receipt, `ReceiptNo`.
    pub receipt: Option<String>,
    /// Its amount, `Amount`.
    pub amount: Option<Amount>,
    /// When it was started, `InitiatedTime`.
    pub initiated: Option<DarajaTime>,
    /// When it was done, `FinalisedTime` or `FinalizedTime`.
    pub finalised: Option<DarajaTime>,
    /// Who paid, the first `DebitPartyName`.
    pub debit_party: Option<Party>,
    /// Who was paid: `CreditPartyName`, or the second `DebitPartyName`, as in the official sample.
    pub credit_party: Option<Party>,
    /// `DebitAccountType`: `Utility Account`, `MMF Account For Customer`, …
    pub debit_account_type: Option<String>,
    /// `ReasonType`: `Pay Bill Online`, `Business Payment to Customer via API`, …
    pub reason_type: Option<String>,
    /// `TransactionReason`; nearly always without a value.
    pub transaction_reason: Option<Private>,
    /// `DebitPartyCharges`.
    pub debit_charges: Vec<Charge>,
    /// `CreditPartyCharges`.
    pub credit_charges: Vec<Charge>,
    /// The conversation id of the transaction asked about, not of the query.
    pub transaction_conversation_id: Option<String>,
    /// The originator's conversation id of the transaction asked about, not of the query.
    pub transaction_originator_conversation_id: Option<String>,
    /// All that was sent.
    pub source: Source,
}

result_payload!(StatusResult, Kind::StatusResult);

impl StatusResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, source: Source) -> Result<StatusResult, Unreadable> {
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
            transaction_reason: entries.string(&["TransactionReason"]).map(Private::from),
            debit_charges: charges("DebitPartyCharges"),
            credit_charges: charges("CreditPartyCharges"),
            transaction_conversation_id: entries.string(&["ConversationID", "Conversation ID"]),
            transaction_originator_conversation_id: entries
                .string(&["OriginatorConversationID", "Originator Conversation ID"]),
            header,
            source,
        })
    }

    /// How the transaction asked about ended. A query that failed says nothing about it.
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

    pub(super) fn says(&self) -> Digest {
        let status = self.transaction_status.as_deref().map(|status| status.trim().to_ascii_lowercase());
        self.saying().text(status.as_deref()).amount(self.amount).text(self.receipt.as_deref()).digest()
    }
}

/// The answer to an account balance query.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BalanceResult {
    /// Codes and ids.
    pub header: ResultHeader,
    /// The balances, `AccountBalance`, account by account.
    pub accounts: Vec<AccountBalance>,
    /// When they were read, `BOCompletedTime`.
    pub completed: Option<DarajaTime>,
    /// All that was sent.
    pub source: Source,
}

result_payload!(BalanceResult, Kind::BalanceResult);

impl BalanceResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, source: Source) -> Result<BalanceResult, Unreadable> {
        Ok(BalanceResult {
            accounts: entries.one("AccountBalance")?.map_or_else(Vec::new, AccountBalance::parse_list),
            completed: entries.text(&["BOCompletedTime"]).and_then(DarajaTime::parse),
            header,
            source,
        })
    }

    /// How the query ended. See [`ResultCode::outcome`].
    pub fn outcome(&self) -> Outcome {
        self.code_outcome()
    }

    /// The account of this name, such as `Working Account`.
    pub fn account(&self, name: &str) -> Option<&AccountBalance> {
        self.accounts.iter().find(|account| account.name == name)
    }

    pub(super) fn says(&self) -> Digest {
        let says = |saying: Saying, account: &AccountBalance| {
            let amounts = [Some(account.current), account.available, account.reserved, account.uncleared];
            amounts.into_iter().fold(saying.text(Some(&account.name)).text(Some(&account.currency)), Saying::amount)
        };
        // What was not read as an account says something too.
        let text = self.parameters();
        let unread = text.get("AccountBalance").filter(|text| text.split('&').count() != self.accounts.len());
        self.accounts.iter().fold(self.saying(), says).text(unread).digest()
    }
}

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
    pub source: Source,
}

result_payload!(ReversalResult, Kind::ReversalResult);
transaction_result!(ReversalResult);

impl ReversalResult {
    fn from_parts(header: ResultHeader, entries: &Entries<'_>, source: Source) -> Result<ReversalResult, Unreadable> {
        Ok(ReversalResult {
            amount: entries.amount("Amount")?,
            charge: entries.text(&["Charge"]).and_then(|text| text.parse().ok()),
            completed: entries.text(&["TransCompletedTime"]).and_then(DarajaTime::parse),
            original_transaction_id: entries.one("OriginalTransactionID")?.map(str::to_owned),
            credit_party: entries.text(&["CreditPartyPublicName"]).map(Party::from),
            debit_party: entries.text(&["DebitPartyPublicName"]).map(Party::from),
            debit_accounts: entries.text(&["DebitAccountBalance"]).map_or_else(Vec::new, AccountBalance::parse_list),
            header,
            source,
        })
    }

    pub(super) fn says(&self) -> Digest {
        self.saying().amount(self.amount).text(self.original_transaction_id.as_deref()).text(self.receipt()).digest()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_that_worked_is_not_a_payment_that_did() {
        let body = br#"{"Result":{"ResultCode":0,"ConversationID":"C","ResultParameters":{"ResultParameter":[
            {"Key":"TransactionStatus","Value":"failed"}]}}}"#;
        assert_eq!(StatusResult::parse(body).unwrap().outcome(), Outcome::Failed);
    }

    #[test]
    fn the_second_debit_party_is_the_credit_party() {
        let body = br#"{"Result":{"ResultCode":0,"ConversationID":"C","ResultParameters":{"ResultParameter":[
            {"Key":"DebitPartyName","Value":"600310 - Shop"},{"Key":"DebitPartyName","Value":"254708374149 - John Doe"}]}}}"#;
        let result = StatusResult::parse(body).unwrap();
        assert_eq!(result.debit_party.unwrap().number(), Some("600310"));
        assert_eq!(result.credit_party.unwrap().name(), Some("John Doe"));
    }

    #[test]
    fn two_amounts_are_no_amount() {
        let body = br#"{"Result":{"ResultCode":0,"ConversationID":"C","ResultParameters":{"ResultParameter":[
            {"Key":"TransactionAmount","Value":10},{"Key":"TransactionAmount","Value":10000}]}}}"#;
        assert_eq!(B2cResult::parse(body), Err(Unreadable::Repeated { field: "TransactionAmount" }));
    }
}
