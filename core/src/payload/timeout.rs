//! What comes to a `QueueTimeOutURL`.

use super::json::Object;
use super::result::envelope;
use super::{Outcome, ParseError, RawJson, ResultCode};

/// A request got stuck in M-Pesa's queue. Its outcome is unknown, and a result may still come; a later result decides.
///
/// What Daraja sends here is documented nowhere. It may be a `Result` with `ResultType` 1, or the merchant's own request:
/// credentials in it were struck out before anything was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueTimeout {
    /// The request's id, `OriginatorConversationID`: the key where it is there.
    pub originator_conversation_id: Option<String>,
    /// M-Pesa's id of the conversation, `ConversationID`: the key otherwise.
    pub conversation_id: Option<String>,
    /// `ResultCode`, where a `Result` was sent.
    pub result_code: Option<ResultCode>,
    /// `ResultDesc`, where a `Result` was sent.
    pub result_desc: Option<String>,
    /// `CommandID`, where the request was sent back.
    pub command_id: Option<String>,
    /// All that was sent, less the credentials.
    pub raw: RawJson,
}

impl QueueTimeout {
    /// Reads a callback's body.
    pub fn parse(body: &[u8]) -> Result<QueueTimeout, ParseError> {
        super::read(body, QueueTimeout::read)
    }

    pub(super) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<QueueTimeout, ParseError> {
        let envelope = envelope(root)?;
        Ok(QueueTimeout {
            originator_conversation_id: envelope.id("OriginatorConversationID")?,
            conversation_id: envelope.id("ConversationID")?,
            result_code: envelope.code("ResultCode")?,
            result_desc: envelope.string("ResultDesc")?,
            command_id: envelope.id("CommandID")?,
            raw,
        })
    }

    /// What makes two deliveries the same timeout: the originator's conversation id, else M-Pesa's. A request that was sent
    /// back may have neither; it is then known by the reference of the URL that it came to, and unreadable without one.
    pub fn key(&self) -> Option<&str> {
        self.originator_conversation_id.as_deref().or(self.conversation_id.as_deref())
    }

    /// Always [`Outcome::Unknown`].
    pub fn outcome(&self) -> Outcome {
        Outcome::Unknown
    }
}

/// What a body is that came to either URL of a result/timeout pair. The official sample of a pay bill request swaps the
/// two URLs, and people copy it; so the body decides, and the URL only where the body does not say.
pub(super) fn is_timeout(root: Object<'_, '_>, sent_to_timeout_url: bool) -> Result<bool, ParseError> {
    let envelope = envelope(root)?;
    Ok(match envelope.id("ResultType")?.as_deref() {
        Some("0") => false,
        Some("1") => true,
        _ if envelope.has("ResultCode") || envelope.has("ResultParameters") => sent_to_timeout_url,
        // The merchant's own request, sent back.
        _ if envelope.has("CommandID") || envelope.has("SecurityCredential") => true,
        _ => sent_to_timeout_url,
    })
}
