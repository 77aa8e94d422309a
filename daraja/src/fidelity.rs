//! What is played, what is assumed, and on whose word.

use std::fmt;

/// How an answer or behaviour of Daraja is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Evidence {
    /// Safaricom's documentation: the Daraja 3.0 portal, December 2025.
    Documented,
    /// Measured against Safaricom's sandbox.
    Measured,
    /// A response or callback that somebody has logged and published.
    Logged,
    /// Clients that run in production rely on it.
    ReliedOn,
    /// Nobody has seen it; this is the simulator's choice.
    Assumed,
}

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Evidence::Documented => "documented",
            Evidence::Measured => "measured",
            Evidence::Logged => "logged",
            Evidence::ReliedOn => "relied on",
            Evidence::Assumed => "assumed",
        })
    }
}

/// One behaviour of the simulator.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Fidelity {
    /// Product, or `all`.
    pub product: &'static str,
    /// What the simulator does.
    pub behaviour: &'static str,
    /// How that is known.
    pub evidence: Evidence,
}

const fn row(product: &'static str, behaviour: &'static str, evidence: Evidence) -> Fidelity {
    Fidelity { product, behaviour, evidence }
}

use Evidence::{Assumed, Documented, Logged, Measured, ReliedOn};

/// The table of fidelity.
#[rustfmt::skip]
pub const FIDELITY: &[Fidelity] = &[
    row("all", "the envelope `requestId`, `errorCode`, `errorMessage`; the status is the first three digits", Documented),
    row("all", "`400.002.02` names the first field that is missing or wrong", Documented),
    row("all", "numbers are taken as numbers or as strings", Documented),
    row("all", "a wrong token has the code of its product: `404.001.03`, `401.002.01`, `400.003.01`, `401.001`", Documented),
    row("all", "amounts are whole; `100.0` is, too, because a client has always sent it so", ReliedOn),
    row("all", "a path that is not played answers `404.001.01`", Documented),
    row("OAuth", "28 characters, `expires_in` as the string `3599`", Measured),
    row("OAuth", "any key and secret get a token; what a wrong one gets is unknown", Assumed),
    row("OAuth", "earlier tokens stay valid; the documentation denies it, and nobody has seen it", Assumed),
    row("M-Pesa Express", "password from short code, passkey and timestamp; `Wrong credentials` otherwise", Documented),
    row("M-Pesa Express", "the age of the timestamp is not judged: UTC and Nairobi are both reported to work", Assumed),
    row("M-Pesa Express", "the callback with `Balance` without a value", Logged),
    row("M-Pesa Express", "a second push to a phone that rings is refused", Documented),
    row("M-Pesa Express", "a query in flight answers 4999, and now and then an empty error", Measured),
    row("M-Pesa Express", "a customer answers after 2 s; in the sandbox it took 10 to 26 s", Assumed),
    row("C2B", "`OriginatorCoversationID` without the n", Documented),
    row("C2B", "version 1 hashes phone numbers, version 2 masks them", Documented),
    row("C2B", "validation before confirmation, 8 s, then `ResponseType` decides", Documented),
    row("C2B", "production registers URLs once: `500.003.1001`", Documented),
    row("C2B", "a URL with a rejected word: `400.003.02`", Logged),
    row("B2C", "the merchant's `OriginatorConversationID` is used once: `500.002.1001`", Documented),
    row("B2C, B2B", "too little money ends with result code 1", ReliedOn),
    row("B2B", "the result in the form of a log of 2024", Logged),
    row("B2B, tax", "the result of a tax payment in the form of the official sample", Documented),
    row("B2B, tax", "`RecieverIdentifierType` is not checked: it is documented, and no refusal was seen", Assumed),
    row("status", "an unknown transaction ends with 2032", Assumed),
    row("reversal", "`R000001` for one that is reversed, `R000002` for one that does not exist", Documented),
    row("reversal", "`RecieverIdentifierType` is required, with this spelling", Logged),
    row("reversal", "which of its values are taken is unknown: 1, 2, 4 and 11 are", Assumed),
    row("results", "`SecurityCredential` is base64 of anything; the simulator cannot decrypt it", Assumed),
    row("results", "the queue timeout echoes the request with its credentials; no real one was ever seen", Assumed),
    row("B2B Express", "the callback, by outcome", Documented),
    row("Ratiba", "lower-case members on success, upper-case on failure; a known name ends with 1050", Documented),
    row("Ratiba", "no confirmation follows on each due date", Assumed),
    row("Bill Manager", "five attempts until `rescode` 200; the pause of 60 s is not documented", Documented),
    row("Bill Manager", "of a changed opt-in only the short code is checked, and of a reconciliation nothing", Assumed),
    row("QR", "response code `00`, and a PNG of one pixel", ReliedOn),
    row("pull", "the status under both spellings, 48 hours", Documented),
    row("callbacks", "`Content-Type: application/json;charset=UTF-8` and `Businessshortcode`", Measured),
    row("callbacks", "nothing is sent again after an error, Bill Manager excepted", Measured),
    row("callbacks", "30 s for the response", Assumed),
    row("ids", "forms of request ids, `ws_CO_`, `AG_` and receipts, with their date in them", Logged),
];
