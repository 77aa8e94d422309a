//! Bodies of results and queue timeouts.

use serde_json::{Map, Value};

use super::express::code;
use super::ids::placeholder;
use super::json::{Json, object};

/// A `Result`.
#[derive(Clone, Debug)]
pub(crate) struct ResultBody {
    pub(crate) code: String,
    pub(crate) description: String,
    pub(crate) originator_conversation_id: String,
    pub(crate) conversation_id: String,
    /// The receipt; `None` writes the placeholder of queries.
    pub(crate) receipt: Option<String>,
    pub(crate) at: i64,
    /// `ResultParameters` of a success.
    pub(crate) parameters: Vec<Json>,
    /// `ReferenceItem` of `ReferenceData`: one, or a list of them.
    pub(crate) reference: Json,
    /// `ResultType`, which is a string in some official samples.
    pub(crate) result_type: Json,
}

/// One entry of `ResultParameters`.
pub(crate) fn parameter(name: &str, value: impl Into<Json>) -> Json {
    object([("Key", name.into()), ("Value", value.into())])
}

impl ResultBody {
    /// Returns the body.
    pub(crate) fn body(&self) -> Json {
        let receipt = self.receipt.clone().unwrap_or_else(|| placeholder(self.at));
        let mut members = vec![
            ("ResultType".to_owned(), self.result_type.clone()),
            ("ResultCode".to_owned(), code(&self.code)),
            ("ResultDesc".to_owned(), Json::from(&self.description)),
            ("OriginatorConversationID".to_owned(), Json::from(&self.originator_conversation_id)),
            ("ConversationID".to_owned(), Json::from(&self.conversation_id)),
            ("TransactionID".to_owned(), receipt.into()),
        ];
        if !self.parameters.is_empty() {
            let parameters = object([("ResultParameter", Json::List(self.parameters.clone()))]);
            members.push(("ResultParameters".to_owned(), parameters));
        }
        members.push(("ReferenceData".to_owned(), object([("ReferenceItem", self.reference.clone())])));
        object([("Result", Json::Object(members))])
    }
}

/// The body of a queue timeout, as an employee of Safaricom described it: the ids, and the merchant's own
/// request with the credentials in it. No real one was ever seen.
pub(crate) fn timeout_body(
    request: &Map<String, Value>,
    originator_conversation_id: &str,
    conversation_id: &str,
) -> String {
    let mut echo = request.clone();
    echo.insert("OriginatorConversationID".to_owned(), originator_conversation_id.into());
    echo.insert("ConversationID".to_owned(), conversation_id.into());
    Value::Object(echo).to_string()
}
