//! Error codes of Daraja's answers. One code can have several meanings; the error message says which.
//!
//! Sources: **D3** Daraja 3.0 portal pages of December 2025, **LOG** a published real answer, **MEAS**
//! measured in the sandbox, **SRC** the source of a client that knows it.

/// A meaning of an error code.
#[derive(Debug)]
pub(crate) struct Meaning {
    pub(crate) code: &'static str,
    /// What the message contains; empty if any message has this meaning.
    pub(crate) says: &'static str,
    pub(crate) meaning: &'static str,
    /// What to do.
    pub(crate) help: &'static str,
    pub(crate) source: &'static str,
}

const fn row(
    code: &'static str,
    says: &'static str,
    meaning: &'static str,
    help: &'static str,
    source: &'static str,
) -> Meaning {
    Meaning { code, says, meaning, help, source }
}

#[rustfmt::skip]
static MEANINGS: &[Meaning] = &[
    row("400.002.02", "Invalid CallBackURL", "Daraja does not accept the callback URL", "production takes https and public hosts only; run `daraja doctor --offline` on it", "D3, LOG"),
    row("400.002.02", "Invalid", "a field is missing or wrong: the first one is named", "compare the field's name and form with the documentation, letter by letter", "D3, LOG"),
    row("400.003.02", "URL has the word", "the URL contains a word that Safaricom refuses at registration", "choose a path without that word, in any case: `/pay` instead of `/mpesa`", "LOG 2019"),
    row("400.003.02", "", "a field is missing or wrong", "compare the fields with the documentation", "D3"),
    row("400.002.05", "", "the body is not JSON", "send `Content-Type: application/json` and a JSON object", "D3"),
    row("400.003.01", "", "the access token is unknown or has expired (from C2B and status)", "get a new token; one lives an hour", "D3"),
    row("400.008.01", "", "the request for a token has no Basic authentication, or key and secret are wrong", "send `Authorization: Basic base64(key:secret)` of the right app, sandbox or production", "D3, SRC"),
    row("400.008.02", "", "the grant type is wrong", "ask for `?grant_type=client_credentials`", "D3"),
    row("400.001", "", "pull is not registered for the short code", "register it at `/pulltransactions/v1/register` first", "D3"),
    row("401.001", "", "the access token is unknown or has expired (from pull)", "get a new token; one lives an hour", "D3"),
    row("401.002.01", "", "the access token is unknown or has expired (from payouts and balance)", "get a new token; one lives an hour", "D3"),
    row("401.003.01", "", "your app has no product at this path: another version of the API, or none", "add the product to the app in the portal, or use the other version (v1, v2, v3)", "LOG 2024"),
    row("403.002.1001", "", "your app may not do this: B2C v3 with an app that has v1", "use `/mpesa/b2c/v1/paymentrequest`, or ask Safaricom for v3", "SRC"),
    row("404.001.03", "", "the access token is unknown or has expired (from push, query and reversal, with status 404)", "get a new token; one lives an hour", "D3, LOG"),
    row("404.001.04", "", "the `Authorization` header is missing, or not `Bearer`", "send `Authorization: Bearer <token>`", "D3"),
    row("404.001.01", "", "there is nothing at this path", "compare the path with the documentation", "D3"),
    row("404.002.01", "", "there is nothing at this path", "compare the path with the documentation", "D3"),
    row("404.003.01", "", "there is nothing at this path", "compare the path with the documentation", "D3"),
    row("405.001", "", "the method is wrong", "send a POST", "D3"),
    row("500.001.1001", "Wrong credentials", "`Password` is not base64(BusinessShortCode + passkey + Timestamp)", "use the passkey of this short code, and the same `Timestamp` in both places", "D3, LOG 2021"),
    row("500.001.1001", "Merchant does not exist", "the short code is unknown here", "sandbox and production have short codes of their own", "D3"),
    row("500.001.1001", "Unable to lock subscriber", "the phone is ringing already", "wait a minute; the open prompt decides first", "D3"),
    row("500.001.1001", "being processed", "the customer has not answered yet", "query again later", "LOG 2018"),
    row("500.001.1001", "does not Exist", "the id is unknown; also answered for ids that exist, 4 times in 19", "query again before you believe it", "MEAS"),
    row("500.001.1001", "", "Daraja cannot tell now: an empty message is answered now and then, also for ids that exist", "query again later", "MEAS"),
    row("500.002.1001", "Duplicate OriginatorConversationID", "this id was used before: the first request may have been carried out", "query the transaction status; never pay again with a new id before that", "D3"),
    row("500.002.1001", "", "an error inside M-Pesa", "query the transaction status before you try again", "LOG 2021"),
    row("500.003.1001", "already registered", "production registers the URLs of a short code once", "ask Safaricom (apisupport@safaricom.co.ke) to remove the old ones", "D3"),
    row("500.003.1001", "Duplicate notification", "production registers the URLs of a short code once", "ask Safaricom (apisupport@safaricom.co.ke) to remove the old ones", "D3"),
    row("500.003.1001", "", "an error inside M-Pesa", "try again later", "D3"),
    row("500.003.02", "", "too many requests, or the system is busy", "wait and try again, more slowly", "D3"),
    row("500.003.03", "", "the quota of your app is used up", "wait, or ask Safaricom for more", "D3"),
];

/// Returns the meanings of a code; with a message, only the one that fits.
pub(crate) fn find(code: &str, message: Option<&str>) -> Vec<&'static Meaning> {
    let all: Vec<&Meaning> = MEANINGS.iter().filter(|row| row.code == code).collect();
    match message {
        None => all,
        Some(message) => all.into_iter().find(|row| says(message, row.says)).into_iter().collect(),
    }
}

fn says(message: &str, words: &str) -> bool {
    message.to_lowercase().contains(&words.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_selects_one_of_the_meanings_of_a_code() {
        assert_eq!(find("500.001.1001", None).len(), 6);
        let found = find("500.001.1001", Some("[MerchantValidate] - Wrong credentials"));
        assert!(found[0].meaning.contains("base64"));
        assert!(find("500.001.1001", Some("")).first().is_some_and(|row| row.help.contains("later")));
        assert!(find("418.001", None).is_empty());
    }
}
