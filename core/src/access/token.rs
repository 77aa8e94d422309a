//! Tokens: the path segment of a per-payment URL, in place of the secret.
//!
//! A token contains the reference, its expiry and a MAC over both and the kind. Its holder can send
//! a callback of that kind with that reference until the expiry, and nothing else.

use std::sync::LazyLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use data_encoding::{Encoding, Specification};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::secret::Secret;
use crate::Kind;

/// Digits and letters that cannot form a word which Safaricom rejects: each of those contains an
/// `m`, a `q` or an `x`. 32 of them, so that a character is five bits.
const ALPHABET: &str = "0123456789abcdefghijklnprstuvwyz";

static ENCODING: LazyLock<Encoding> = LazyLock::new(|| {
    let mut specification = Specification::new();
    specification.symbols.push_str(ALPHABET);
    // The alphabet is a constant, and a test builds it.
    specification.encoding().unwrap_or(data_encoding::BASE32_DNSCURVE)
});

/// First byte of a token, for future formats.
const VERSION: u8 = 1;

const EXPIRY: usize = 5;
const MAC: usize = 16;
const HEAD: usize = 1 + EXPIRY + MAC;

/// Latest expiry: in 34,000 years.
const LATEST_SECOND: u64 = (1 << (8 * EXPIRY)) - 1;

/// Maximum length of a reference, in bytes.
pub(crate) const LONGEST_REFERENCE: usize = 64;

/// Returns whether a text fits into a URL as a reference.
pub(crate) fn is_reference(text: &str) -> bool {
    (1..=LONGEST_REFERENCE).contains(&text.len())
}

/// The signing key of tokens, derived from a secret.
pub(crate) struct TokenKey(Hmac<Sha256>);

impl TokenKey {
    pub(crate) fn of(secret: &Secret) -> TokenKey {
        // Derived, so that a token does not help to guess the secret.
        let mut derived = keyed(Sha256::digest(secret.expose()).into());
        derived.update(b"mpesa-callbacks token 1");
        TokenKey(keyed(derived.finalize().into_bytes().into()))
    }

    /// Makes a token for this kind and reference; `None` as expiry means the latest.
    pub(crate) fn mint(&self, kind: &Kind, reference: &str, expires: Option<SystemTime>) -> String {
        // Whole seconds.
        let seconds = |expires: SystemTime| expires.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
        let seconds = expires.map_or(LATEST_SECOND, seconds).min(LATEST_SECOND);
        let expiry = &seconds.to_be_bytes()[8 - EXPIRY..];
        let mac = self.mac(kind, expiry, reference.as_bytes()).finalize().into_bytes();
        ENCODING.encode(&[&[VERSION], expiry, &mac[..MAC], reference.as_bytes()].concat())
    }

    /// Returns the reference in a token that this key signed for this kind and that has not
    /// expired.
    pub(crate) fn read(&self, token: &str, kind: &Kind, now: SystemTime) -> Option<String> {
        if token.len() > ENCODING.encode_len(HEAD + LONGEST_REFERENCE) {
            return None;
        }
        let bytes = ENCODING.decode(token.as_bytes()).ok()?;
        let (head, reference) = bytes.split_at_checked(HEAD)?;
        let (expiry, mac) = head[1..].split_at(EXPIRY);
        // In constant time. Nothing else is read without a valid MAC.
        self.mac(kind, expiry, reference).verify_truncated_left(mac).ok()?;
        let seconds = expiry.iter().fold(0, |seconds, byte| seconds << 8 | u64::from(*byte));
        let is_valid = head[0] == VERSION && now < UNIX_EPOCH + Duration::from_secs(seconds);
        is_valid.then(|| String::from_utf8(reference.to_vec()).ok()).flatten()
    }

    fn mac(&self, kind: &Kind, expiry: &[u8], reference: &[u8]) -> Hmac<Sha256> {
        let mut mac = self.0.clone();
        // Every part except the last has a known length, so that no two tokens have the same MAC
        // input.
        mac.update(&[VERSION]);
        mac.update(&(kind.name().len() as u64).to_be_bytes());
        mac.update(kind.name().as_bytes());
        mac.update(expiry);
        mac.update(reference);
        mac
    }
}

/// HMAC accepts keys of any length up to a block.
fn keyed(key: [u8; 32]) -> Hmac<Sha256> {
    let mut block = [0; 64];
    block[..32].copy_from_slice(&key);
    Hmac::<Sha256>::new(&block.into())
}

impl std::fmt::Debug for TokenKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::super::forbidden_words::FORBIDDEN_WORDS;
    use super::*;

    fn key() -> TokenKey {
        TokenKey::of(&Secret::new("00112233445566778899aabbccddeeff").unwrap())
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    #[test]
    fn the_alphabet_cannot_spell_a_word_that_safaricom_rejects() {
        assert_eq!(ENCODING.specification().symbols, ALPHABET);
        for word in FORBIDDEN_WORDS {
            assert!(word.chars().any(|letter| letter != '-' && !ALPHABET.contains(letter)), "{word}");
        }
    }

    #[test]
    fn a_token_brings_its_reference_back_until_it_expires() {
        for reference in ["order-123", "1", "Ünïcödé", &"x".repeat(LONGEST_REFERENCE)] {
            let token = key().mint(&Kind::Stk, reference, Some(at(100)));
            assert_eq!(key().read(&token, &Kind::Stk, at(99)).as_deref(), Some(reference));
            assert_eq!(key().read(&token, &Kind::Stk, at(100)), None);
        }
        assert_eq!(key().mint(&Kind::Stk, "order-123", Some(at(100))).len(), 50);
    }

    #[test]
    fn a_token_is_good_for_its_kind_alone_and_under_its_secret_alone() {
        let token = key().mint(&Kind::B2cResult, "order-123", Some(at(100)));
        for kind in Kind::built_in() {
            assert_eq!(key().read(&token, &kind, at(1)).is_some(), kind == Kind::B2cResult);
        }
        let other = TokenKey::of(&Secret::new("00112233445566778899aabbccddeefe").unwrap());
        assert_eq!(other.read(&token, &Kind::B2cResult, at(1)), None);
    }

    #[test]
    fn a_token_with_any_character_changed_is_none() {
        let token = key().mint(&Kind::Stk, "order-123", Some(at(100)));
        for at_byte in 0..token.len() {
            for symbol in ALPHABET.bytes().chain(*b"AM-") {
                let mut changed = token.clone().into_bytes();
                changed[at_byte] = symbol;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(key().read(&changed, &Kind::Stk, at(1)).is_some(), changed == token, "{changed}");
            }
        }
        for cut in 0..token.len() {
            assert_eq!(key().read(&token[..cut], &Kind::Stk, at(1)), None);
        }
        assert_eq!(key().read(&format!("{token}0"), &Kind::Stk, at(1)), None);
    }
}
