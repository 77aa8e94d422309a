//! Digests of bodies and of contents.

use std::fmt;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};

use crate::{Amount, Kind, ResultCode, Sensitive};

/// A SHA-256 digest, of the bytes of a body or of its content.
///
/// `Debug` shows the first bytes only, `Display` all of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Digest([u8; 32]);

impl Digest {
    /// Returns the digest of these bytes.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }

    /// For the engine: the digest for the URL of this reference. The same bytes at another URL are another
    /// callback: a sender with the URL of one payment must not be able to answer for another.
    #[doc(hidden)]
    #[must_use]
    pub fn under(self, reference: Option<&Sensitive>) -> Digest {
        match reference {
            None => self,
            Some(reference) => Digest::of(&[&self.0[..], reference.as_str().as_bytes()].concat()),
        }
    }

    /// Returns the 32 bytes of the digest.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Returns the digest as 64 hexadecimal digits in lower case.
    pub fn to_hex(&self) -> String {
        HEXLOWER.encode(&self.0)
    }
}

impl From<[u8; 32]> for Digest {
    fn from(bytes: [u8; 32]) -> Digest {
        Digest(bytes)
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({:02x}{:02x}…)", self.0[0], self.0[1])
    }
}

/// Computes a content digest: code, amount, receipt, account. Two bodies with the same content are
/// one callback in two spellings. Texts for people, times, names and phone numbers are left out,
/// because senders reword and mask them.
pub(crate) struct ContentHasher(Sha256);

impl ContentHasher {
    pub(crate) fn of(kind: &Kind) -> ContentHasher {
        ContentHasher(Sha256::new()).text(Some(kind.name()))
    }

    /// Each part is preceded by its length, so that different sequences of parts have different
    /// inputs.
    pub(crate) fn text(mut self, text: Option<&str>) -> ContentHasher {
        match text {
            Some(text) => {
                self.0.update([1]);
                self.0.update((text.len() as u64).to_le_bytes());
                self.0.update(text.as_bytes());
            }
            None => self.0.update([0]),
        }
        self
    }

    pub(crate) fn amount(self, amount: Option<Amount>) -> ContentHasher {
        self.text(amount.map(Amount::canonical).as_deref())
    }

    pub(crate) fn code(self, code: Option<&ResultCode>) -> ContentHasher {
        self.text(code.map(ResultCode::as_str))
    }

    pub(crate) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one = ContentHasher::of(&Kind::Stk).text(Some("ab")).text(Some("c")).digest();
        let two = ContentHasher::of(&Kind::Stk).text(Some("a")).text(Some("bc")).digest();
        let three = ContentHasher::of(&Kind::Stk).text(Some("abc")).text(None).digest();
        assert!(one != two && two != three && one != three);
    }
}
