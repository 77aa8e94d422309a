//! Queue timeouts: requests that M-Pesa did not process in time.

use std::borrow::Cow;

use super::result::envelope;
use crate::digest::{ContentHasher, Digest};
use crate::json::Object;
use crate::payload::Payload;
use crate::{Kind, Outcome, ParseError, RawJson, ResultCode};

/// A request timed out in M-Pesa's queue. Its outcome is unknown, and a result that arrives later
/// decides.
///
/// The format is not documented. It may be a `Result` with `ResultType` 1, or the merchant's own
/// request; credentials in it are removed before it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueTimeout {
    /// `OriginatorConversationID`: the key, if it is there.
    pub originator_conversation_id: Option<String>,
    /// `ConversationID`: else the key.
    pub conversation_id: Option<String>,
    /// `ResultCode`, if it is a `Result`.
    pub result_code: Option<ResultCode>,
    /// `ResultDesc`, if it is a `Result`.
    pub result_desc: Option<String>,
    /// `CommandID`, if it is the request.
    pub command_id: Option<String>,
    /// The body as JSON, without credentials.
    pub raw: RawJson,
}

impl QueueTimeout {
    /// Parses a callback's body.
    pub fn parse(body: &[u8]) -> Result<QueueTimeout, ParseError> {
        crate::parse::read(body, QueueTimeout::read)
    }

    pub(crate) fn read(root: Object<'_, '_>, raw: RawJson) -> Result<QueueTimeout, ParseError> {
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

    /// Returns the idempotency key: the originator's conversation id, else M-Pesa's. An echoed request
    /// may have neither; its key is then the reference in the URL, and without one it cannot be
    /// parsed.
    pub fn key(&self) -> Option<&str> {
        self.originator_conversation_id.as_deref().or(self.conversation_id.as_deref())
    }

    /// Returns the outcome, which is always [`Outcome::Unknown`]: the request may still be carried
    /// out.
    pub fn outcome(&self) -> Outcome {
        Outcome::Unknown
    }
}

impl Payload for QueueTimeout {
    fn key(&self) -> Option<Cow<'_, str>> {
        self.key().map(Cow::from)
    }

    fn outcome(&self) -> Option<Outcome> {
        Some(Outcome::Unknown)
    }

    /// Returns the same for all timeouts of a request: the outcome is unknown.
    fn content_digest(&self, kind: &Kind) -> Digest {
        ContentHasher::of(kind).digest()
    }
}

/// Returns whether a body is a timeout. The official sample of a pay bill request swaps the result
/// and timeout URLs, and people copy it; so the body decides, and the URL only if the body does
/// not.
pub(crate) fn is_timeout(root: Object<'_, '_>, sent_to_timeout_url: bool) -> Result<bool, ParseError> {
    let envelope = envelope(root)?;
    Ok(match envelope.id("ResultType")?.as_deref() {
        Some("0") => false,
        Some("1") => true,
        _ if envelope.has("ResultCode") || envelope.has("ResultParameters") => sent_to_timeout_url,
        // The merchant's own request, echoed.
        _ if envelope.has("CommandID") || envelope.has("SecurityCredential") => true,
        _ => sent_to_timeout_url,
    })
}
