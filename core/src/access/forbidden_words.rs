//! Words that Safaricom rejects in URLs.

/// Words that Safaricom rejects anywhere in a URL, in any case (Daraja 3.0, register URL, 2.3).
pub const FORBIDDEN_WORDS: [&str; 8] = ["m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query"];

/// Returns the rejected word that a text contains.
pub fn forbidden_word(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    FORBIDDEN_WORDS.into_iter().find(|word| text.contains(word))
}
