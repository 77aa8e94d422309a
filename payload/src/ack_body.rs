//! The bodies of acknowledgements: what M-Pesa expects to read for each kind.

/// The body of the acknowledgement of a kind; its status is always 200.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AckBody {
    /// The value of the header `Content-Type`.
    pub content_type: &'static str,
    /// The body of the response.
    pub body: &'static str,
}

impl AckBody {
    /// Returns a body of your own: JSON if it begins with `{` or `[`, else plain text.
    pub fn new(body: &'static str) -> AckBody {
        AckBody { content_type: if body.starts_with(['{', '[']) { JSON } else { "text/plain" }, body }
    }
}

pub(crate) const RESULT_CODE_0: AckBody =
    AckBody { content_type: JSON, body: r#"{"ResultCode":0,"ResultDesc":"Success"}"# };
pub(crate) const RESPONSE_CODE_0: AckBody =
    AckBody { content_type: JSON, body: r#"{"ResponseCode":"00000000","ResponseDesc":"success"}"# };
pub(crate) const RESMSG: AckBody = AckBody { content_type: JSON, body: r#"{"resmsg":"Success","rescode":"200"}"# };
pub(crate) const OK: AckBody = AckBody { content_type: "text/plain", body: "ok" };

/// Content type of every acknowledgement except Lipia's.
const JSON: &str = "application/json";
