//! Words that Safaricom rejects in URLs. A copy of the inbox's: a macro crate depends on nothing of it,
//! and a test compares both.

/// The words that Safaricom rejects anywhere in a URL, in any case (Daraja 3.0, register URL, 2.3).
pub(crate) const FORBIDDEN_WORDS: [&str; 8] = ["m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query"];
