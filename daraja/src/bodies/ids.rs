//! Ids and receipts in the forms that are seen today. Nothing of the machine is in them: the same
//! seed and the same requests make the same ids.

use chrono::Datelike;

use super::time::nairobi;

/// Makes ids.
#[derive(Debug)]
pub(crate) struct Ids {
    random: fastrand::Rng,
    /// The gateway's node: request ids of one node share it.
    node: String,
    counter: u32,
}

const HEX: &[u8] = b"0123456789abcdef";
const RECEIPT: &[u8] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ";

impl Ids {
    pub(crate) fn new(seed: u64) -> Ids {
        let mut ids = Ids { random: fastrand::Rng::with_seed(seed), node: String::new(), counter: 10_000 };
        let [a, b, c, d] = [4, 3, 3, 12].map(|digits| ids.some(HEX, digits));
        ids.node = format!("{a}-4{b}-8{c}-{d}");
        ids
    }

    fn some(&mut self, alphabet: &[u8], count: usize) -> String {
        (0..count).map(|_| char::from(alphabet[self.random.usize(..alphabet.len())])).collect()
    }

    /// A `MerchantRequestID`, `OriginatorConversationID` or `requestId`: the node and a counter, as
    /// in official samples since 2023.
    pub(crate) fn request(&mut self) -> String {
        self.counter += 1 + self.random.u32(..40);
        format!("{}{}", self.node, self.counter)
    }

    /// A `CheckoutRequestID`: `ws_CO_`, the time in Nairobi, a digit of the second, and the last
    /// nine digits of the phone number.
    pub(crate) fn checkout(&mut self, unix_seconds: i64, phone: &str) -> String {
        let digit = self.random.u8(1..10);
        let phone = &phone[phone.len().saturating_sub(9)..];
        format!("ws_CO_{}{digit}{phone}", nairobi(unix_seconds).format("%d%m%Y%H%M%S"))
    }

    /// A `ConversationID`.
    pub(crate) fn conversation(&mut self, unix_seconds: i64) -> String {
        let digits = self.some(HEX, 16);
        format!("AG_{}_2010{digits}", nairobi(unix_seconds).format("%Y%m%d"))
    }

    /// An access token.
    pub(crate) fn token(&mut self) -> String {
        self.some(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 28)
    }

    /// A receipt: letters for year (`N` is 2019) and month, the day, and seven more.
    pub(crate) fn receipt(&mut self, unix_seconds: i64) -> String {
        let date = receipt_date(unix_seconds);
        date + &self.some(RECEIPT, 7)
    }
}

/// The placeholder that queries have for a receipt: `OAK0000000`.
pub(crate) fn placeholder(unix_seconds: i64) -> String {
    receipt_date(unix_seconds) + "0000000"
}

fn receipt_date(unix_seconds: i64) -> String {
    let today = nairobi(unix_seconds);
    let letter = |after_a: i64| char::from(b'A' + u8::try_from(after_a.rem_euclid(26)).unwrap_or_default());
    let year = letter(i64::from(today.year()) - 2006);
    let month = letter(i64::from(today.month0()));
    let day = match today.day() {
        day @ 1..=9 => char::from_digit(day, 10).unwrap_or('1'),
        day => letter(i64::from(day) - 10),
    };
    format!("{year}{month}{day}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const OCTOBER_2: i64 = 1_790_930_000; // 2 October 2026

    #[test]
    fn ids_have_the_forms_of_the_field() {
        let mut ids = Ids::new(0);
        assert_eq!(&ids.receipt(OCTOBER_2)[..3], "UJ2", "as the measured UJ22T8IYOU");
        assert_eq!(placeholder(OCTOBER_2), "UJ20000000");
        let checkout = ids.checkout(OCTOBER_2, "254708374149");
        assert!(checkout.starts_with("ws_CO_02102026") && checkout.ends_with("708374149"), "{checkout}");
        assert_eq!(checkout.len(), 6 + 14 + 1 + 9);
        assert!(ids.conversation(OCTOBER_2).starts_with("AG_20261002_2010"));
        assert!(ids.request().split('-').count() == 4);
        let again: Vec<String> = (0..3).map(|_| Ids::new(7).receipt(OCTOBER_2)).collect();
        assert!(again.windows(2).all(|two| two[0] == two[1]), "the same seed, the same ids");
    }
}
