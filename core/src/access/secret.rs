//! The secret path segment.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};

use super::forbidden_words::forbidden_word;

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

/// Digests of the secrets of an inbox, for comparing. A digest hides the length.
pub(super) struct SecretDigests(Vec<[u8; 32]>);

impl fmt::Debug for SecretDigests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SecretDigests({})", self.0.len())
    }
}

impl SecretDigests {
    pub(super) fn of(secrets: &[Secret]) -> SecretDigests {
        SecretDigests(secrets.iter().map(|secret| Sha256::digest(secret.expose()).into()).collect())
    }

    /// Returns the number of the secret, from 1; 0 for a wrong one. Constant time: compares all
    /// secrets, every byte.
    pub(super) fn number_of(&self, candidate: &str) -> usize {
        let candidate: [u8; 32] = Sha256::digest(candidate).into();
        let numbers = self.0.iter().zip(1_u64..);
        let number = numbers
            .fold(0, |known, (secret, number)| u64::conditional_select(&known, &number, secret.ct_eq(&candidate)));
        usize::try_from(number).unwrap_or(usize::MAX)
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
