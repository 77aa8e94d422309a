//! The secret path segment.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// The secret path segment, known only to you and Safaricom. Callbacks are not signed, so this
/// authenticates the sender.
///
/// ```
/// use mpesa_callbacks_core::Secret;
///
/// let secret = Secret::generate()?;
/// assert_eq!(secret.expose().len(), 32);
/// assert!(Secret::new("letmein").is_err());
/// # Ok::<_, mpesa_callbacks_core::SecretError>(())
/// ```
#[derive(Clone)]
pub struct Secret(SecretString);

/// Why a text cannot be the secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SecretError {
    /// It is too short for 128 bits.
    #[error(
        "the secret is too short to hold 128 random bits: {length} characters, where at least {least} are needed; \
         `openssl rand -hex 16` makes one"
    )]
    TooShort {
        /// Its number of characters.
        length: usize,
        /// The minimum: 32 hexadecimal digits, or 22 characters of a larger alphabet.
        least: usize,
    },
    /// It repeats so few characters that it cannot be random.
    #[error("the secret was not drawn at random: it has only {distinct} different characters")]
    NotRandom {
        /// Number of different characters.
        distinct: usize,
    },
    /// It contains a character that a URL would escape.
    #[error("the secret has characters other than letters, digits, `-` and `_`, which do not survive in a URL")]
    NotUrlSafe,
    /// It contains a word that Safaricom rejects in URLs.
    #[error("the secret spells `{word}`, and Safaricom rejects URLs with that word in any case")]
    Forbidden {
        /// The word, as Safaricom lists it.
        word: &'static str,
    },
    /// The operating system returned no random bytes.
    #[error("the operating system gave no random bytes")]
    NoRandomness,
}

/// Words that Safaricom rejects anywhere in a URL, in any case (Daraja 3.0, register URL, 2.3).
pub const FORBIDDEN_WORDS: [&str; 8] = ["m-pesa", "mpesa", "safaricom", "exec", "exe", "cmd", "sql", "query"];

/// Returns the rejected word that a text contains.
pub fn forbidden_word(text: &str) -> Option<&'static str> {
    let text = text.to_ascii_lowercase();
    FORBIDDEN_WORDS.into_iter().find(|word| text.contains(word))
}

impl Secret {
    /// Takes a random text: at least 128 bits, in characters that a URL does not escape.
    ///
    /// # Errors
    /// [`SecretError`], with the remedy in its text.
    pub fn new(text: impl Into<String>) -> Result<Secret, SecretError> {
        let text = text.into();
        let length = text.len();
        if !text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_')) {
            return Err(SecretError::NotUrlSafe);
        }
        let least = if text.bytes().all(|byte| byte.is_ascii_hexdigit()) { 32 } else { 22 };
        if length < least {
            return Err(SecretError::TooShort { length, least });
        }
        let mut bytes = text.clone().into_bytes();
        bytes.sort_unstable();
        bytes.dedup();
        // 32 random hexadecimal digits have fewer than 8 different ones once in 10¹² times.
        if bytes.len() < 8 {
            return Err(SecretError::NotRandom { distinct: bytes.len() });
        }
        if let Some(word) = forbidden_word(&text) {
            return Err(SecretError::Forbidden { word });
        }
        Ok(Secret(text.into()))
    }

    /// Generates a secret: 128 bits from the operating system, in hexadecimal, without the rejected
    /// words.
    ///
    /// # Errors
    /// [`SecretError::NoRandomness`].
    pub fn generate() -> Result<Secret, SecretError> {
        let mut bytes = [0; 16];
        getrandom::fill(&mut bytes).map_err(|_| SecretError::NoRandomness)?;
        let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('0');
        Secret::new(bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect::<String>())
    }

    /// Returns the text, for a URL.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_needs_128_bits_in_characters_that_a_url_leaves_alone() {
        assert!(Secret::new("0123456789abcdef0123456789abcdef").is_ok());
        assert!(Secret::new("Zp3vRk9LwTx2NbVfJhGd-_").is_ok());
        assert_eq!(Secret::new("0123456789abcdef").unwrap_err(), SecretError::TooShort { length: 16, least: 32 });
        assert_eq!(Secret::new("a".repeat(64)).unwrap_err(), SecretError::NotRandom { distinct: 1 });
        assert_eq!(Secret::new("a/b?c".repeat(10)).unwrap_err(), SecretError::NotUrlSafe);
        assert_eq!(Secret::new("Zp3vRk9LwTMPesaVfJhGd-_").unwrap_err(), SecretError::Forbidden { word: "mpesa" });
    }
}
