//! The `Result` envelope of all results of a merchant's own requests.

use crate::fields::Entries;
use crate::json::Object;
use crate::{ParseError, ResultCode};

/// The common methods of all results.
macro_rules! result_payload {
    ($name:ident, $kind:expr) => {
        impl $name {
            /// Parses a callback's body.
            pub fn parse(body: &[u8]) -> Result<$name, ParseError> {
                $crate::parse::read(body, $name::read)
            }

            pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<$name, ParseError> {
                let envelope = super::envelope(root)?;
                $name::from_parts(ResultHeader::read(envelope)?, &super::parameters(envelope)?, raw)
            }

            /// Returns the explanation of the result code; `None` for an unlisted code.
            pub fn code_info(&self) -> Option<&'static ResultCodeInfo> {
                self.header.result_code.as_ref()?.code_info(&$kind)
            }

            /// `ResultParameters`, as they were sent.
            pub fn parameters(&self) -> Parameters {
                $crate::json::parameters_of(&self.raw, |root| super::parameters(super::envelope(root)?))
            }

            /// `ReferenceData`, as it was sent. Its URL is nearly always Safaricom's own, not the
            /// merchant's.
            pub fn reference_data(&self) -> Parameters {
                $crate::json::parameters_of(&self.raw, |root| {
                    Entries::gather(super::envelope(root)?.member("ReferenceData")?)
                })
            }

            fn code_outcome(&self) -> Outcome {
                self.header.result_code.as_ref().map_or(Outcome::Unknown, |code| code.outcome(&$kind))
            }

            fn content_hasher(&self) -> ContentHasher {
                ContentHasher::of(&$kind).code(self.header.result_code.as_ref())
            }
        }
    };
}

/// Outcome and receipt of a transaction.
macro_rules! transaction_result {
    ($name:ident) => {
        impl $name {
            /// Returns the outcome of the transaction. See
            /// [`ResultCode::outcome`](crate::ResultCode::outcome).
            pub fn outcome(&self) -> Outcome {
                self.code_outcome()
            }

            /// Returns M-Pesa's receipt, if the transaction was carried out.
            pub fn receipt(&self) -> Option<&str> {
                self.header.receipt().filter(|_| self.outcome().is_success())
            }
        }
    };
}

mod b2c;
mod balance;
mod business;
mod reversal;
mod status;

pub use self::b2c::B2cResult;
pub use self::balance::BalanceResult;
pub use self::business::{B2bResult, TaxResult};
pub use self::reversal::ReversalResult;
pub use self::status::StatusResult;

/// The common fields of all results.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ResultHeader {
    /// `ResultType`: 0 for a result, 1 for a timeout.
    pub result_type: Option<String>,
    /// `ResultCode`: a number or text, not always digits. 0 is success.
    pub result_code: Option<ResultCode>,
    /// `ResultDesc`: a description for people. Its wording is not stable.
    pub result_desc: Option<String>,
    /// `OriginatorConversationID`: the key, if it is there. In B2C version 3 the merchant chooses
    /// it.
    pub originator_conversation_id: Option<String>,
    /// `ConversationID`: else the key.
    pub conversation_id: Option<String>,
    /// `TransactionID`: the receipt of a success; a placeholder, or something that looks real, for
    /// failures and queries. Never a key. Use [`receipt`](ResultHeader::receipt).
    pub transaction_id: Option<String>,
}

impl ResultHeader {
    fn read(envelope: Object<'_, '_>) -> Result<ResultHeader, ParseError> {
        let header = ResultHeader {
            result_type: envelope.id("ResultType")?,
            result_code: envelope.code("ResultCode")?,
            result_desc: envelope.string("ResultDesc")?,
            originator_conversation_id: envelope.id("OriginatorConversationID")?,
            conversation_id: envelope.id("ConversationID")?,
            transaction_id: envelope.id("TransactionID")?,
        };
        header.key().map(|_| ()).ok_or(ParseError::NoKey { field: "OriginatorConversationID" })?;
        Ok(header)
    }

    /// Returns the idempotency key: the originator's conversation id, else M-Pesa's.
    pub fn key(&self) -> Option<&str> {
        self.originator_conversation_id.as_deref().or(self.conversation_id.as_deref())
    }

    /// Returns the transaction id, unless it is a placeholder (`OAK0000000`).
    pub fn receipt(&self) -> Option<&str> {
        self.transaction_id.as_deref().filter(|id| !id.ends_with("0000000"))
    }
}

/// Returns the object with the result: `Result`, or the body itself.
pub(super) fn envelope<'d, 'a>(root: Object<'d, 'a>) -> Result<Object<'d, 'a>, ParseError> {
    Ok(root.object("Result")?.unwrap_or(root))
}

/// Returns the members with result parameters; one sample swaps the two names.
fn parameters<'a>(envelope: Object<'_, 'a>) -> Result<Entries<'a>, ParseError> {
    match envelope.member("ResultParameters")? {
        Some(node) => Entries::gather(Some(node)),
        None => Entries::gather(envelope.member("ResultParameter")?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Outcome;

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
        assert_eq!(B2cResult::parse(body), Err(ParseError::Repeated { field: "TransactionAmount" }));
    }
}
