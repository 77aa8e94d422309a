//! The answers to requests: every status and every error code of the simulator is written here.
//!
//! Sources: the Daraja 3.0 portal (December 2025), and answers that were logged or measured in the
//! sandbox.

use crate::bodies::{Ids, Json, object};

/// An HTTP response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// An error as Daraja reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    code: &'static str,
    message: String,
}

impl Answer {
    pub(crate) fn ok(body: &Json) -> Answer {
        Answer { status: 200, body: body.to_string() }
    }
}

impl Trouble {
    fn new(code: &'static str, message: impl Into<String>) -> Trouble {
        Trouble { code, message: message.into() }
    }

    /// The first field that is missing or wrong.
    pub(crate) fn field(name: &str) -> Trouble {
        Trouble::new("400.002.02", format!("Bad Request - Invalid {name}"))
    }

    /// A URL with a word that Safaricom refuses, at C2B registration.
    pub(crate) fn word(field: &str, word: &str) -> Trouble {
        let word = word.to_uppercase();
        Trouble::new("400.003.02", format!("Bad Request - Invalid {field} - URL has the word {word}"))
    }

    /// The body is not a JSON object.
    pub(crate) fn not_json(is_express: bool) -> Trouble {
        match is_express {
            true => Trouble::new("400.002.02", "Bad Request - Invalid Request Payload"),
            false => Trouble::new("400.002.05", "Invalid Request Payload"),
        }
    }

    /// The `Authorization` header is missing or of another scheme.
    pub(crate) fn no_authorization() -> Trouble {
        Trouble::new("404.001.04", "Invalid Authentication Header")
    }

    /// The token is unknown or has expired. The code depends on the product.
    pub(crate) fn token(code: &'static str, token: &str) -> Trouble {
        match code {
            "401.002.01" => Trouble::new(code, format!("Error Occurred - Invalid Access Token - {token}")),
            code => Trouble::new(code, "Invalid Access Token"),
        }
    }

    /// OAuth without Basic authentication.
    pub(crate) fn not_basic() -> Trouble {
        Trouble::new("400.008.01", "Invalid authentication type passed")
    }

    /// A wrong consumer key or secret. Assumed: three SDKs expect this text.
    pub(crate) fn wrong_key() -> Trouble {
        Trouble::new("400.008.01", "Invalid Authentication passed")
    }

    /// OAuth with another grant type.
    pub(crate) fn grant_type() -> Trouble {
        Trouble::new("400.008.02", "Invalid grant type passed")
    }

    /// The `Password` of a push or query does not fit its short code and timestamp.
    pub(crate) fn credentials() -> Trouble {
        Trouble::new("500.001.1001", "Wrong credentials")
    }

    /// A push to a phone that is ringing.
    pub(crate) fn locked() -> Trouble {
        let message = "Unable to lock subscriber, a transaction is already in process for the current subscriber";
        Trouble::new("500.001.1001", message)
    }

    /// A query of an id that was never given.
    pub(crate) fn no_transaction() -> Trouble {
        Trouble::new("500.001.1001", "The transaction does not Exist")
    }

    /// A query that Daraja fails to answer, now and then, also for an id that exists.
    pub(crate) fn empty() -> Trouble {
        Trouble::new("500.001.1001", "")
    }

    /// A request id of the merchant's that was used before.
    pub(crate) fn duplicate_originator() -> Trouble {
        Trouble::new("500.002.1001", "Duplicate OriginatorConversationID.")
    }

    /// A second registration of C2B URLs in production.
    pub(crate) fn registered() -> Trouble {
        Trouble::new("500.003.1001", "Urls are already registered.")
    }

    /// Too many requests.
    pub(crate) fn spike_arrest() -> Trouble {
        Trouble::new("500.003.02", "Error Occurred: Spike Arrest Violation")
    }

    /// A query of pull for a short code that is not registered.
    pub(crate) fn pull_short_code() -> Trouble {
        Trouble::new("400.001", "Invalid ShortCode")
    }

    /// No such path.
    pub(crate) fn not_found() -> Trouble {
        Trouble::new("404.001.01", "Resource not found")
    }

    /// Another method than POST.
    pub(crate) fn method(method: &str) -> Trouble {
        Trouble::new("405.001", format!("{method} Method Not Allowed"))
    }

    /// An error of a rule, by its code.
    pub(crate) fn of_code(code: &str) -> Trouble {
        let known = [
            Trouble::spike_arrest(),
            Trouble::credentials(),
            Trouble::registered(),
            Trouble::duplicate_originator(),
            Trouble::token("404.001.03", ""),
            Trouble::new("500.003.03", "Quota Violation"),
            Trouble::new("403.002.1001", "You are not authorized to initiate this transaction"),
        ];
        known.into_iter().find(|trouble| trouble.code == code).unwrap_or_else(Trouble::spike_arrest)
    }

    /// The error envelope. The status is the first three digits of the code.
    pub(crate) fn answer(&self, ids: &mut Ids) -> Answer {
        let status = self.code[..3].parse().unwrap_or(500);
        let body = object([
            ("requestId", ids.request().into()),
            ("errorCode", self.code.into()),
            ("errorMessage", Json::from(&self.message)),
        ]);
        Answer { status, body: body.to_string() }
    }
}
