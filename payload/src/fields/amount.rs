//! Money as exact decimals.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// An amount of money in Kenyan shillings (KES), exact.
///
/// It is parsed from Daraja's text (`1.00`, `"980.50"`, `22000.0`), never through a float. `1`,
/// `1.0` and `1.00` are equal. M-Pesa's own balances can be negative.
///
/// `Debug` hides the amount, so that a payload in a log reveals nothing; `Display` shows it.
///
/// ```
/// use mpesa_callbacks_payload::Amount;
///
/// let paid: Amount = "980.50".parse()?;
/// assert_eq!(paid, Amount::from_cents(98_050));
/// assert_eq!(paid.cents(), Some(98_050));
/// assert_eq!(paid.to_string(), "980.50");
/// assert!(paid > Amount::from_shillings(980));
/// # Ok::<_, mpesa_callbacks_payload::ParseAmountError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Amount(Decimal);

/// The text is not a decimal number, or has more than 15 digits before or 10 after the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an amount")]
#[non_exhaustive]
pub struct ParseAmountError;

/// Far beyond anything M-Pesa moves, and within the precision of `Decimal`.
const DIGITS_BEFORE_POINT: usize = 15;
const DIGITS_AFTER_POINT: u32 = 10;

impl Amount {
    /// No money: KES 0.
    pub const ZERO: Amount = Amount(Decimal::ZERO);

    /// Returns an amount in whole shillings.
    pub fn from_shillings(shillings: i64) -> Amount {
        Amount(Decimal::from(shillings))
    }

    /// Returns an amount in cents (1/100 shilling).
    pub fn from_cents(cents: i64) -> Amount {
        Amount(Decimal::new(cents, 2))
    }

    /// Returns the amount in cents; `None` if it has a fraction of a cent.
    pub fn cents(self) -> Option<i64> {
        let cents = self.0.checked_mul(Decimal::ONE_HUNDRED)?;
        if cents.fract().is_zero() { i64::try_from(cents.mantissa() / 10_i128.pow(cents.scale())).ok() } else { None }
    }

    /// Returns the amount in whole shillings; `None` if it has cents.
    pub fn shillings(self) -> Option<i64> {
        self.cents().filter(|cents| cents % 100 == 0).map(|cents| cents / 100)
    }

    /// Returns whether it is less than zero, as the balance of a charges account.
    pub fn is_negative(self) -> bool {
        self < Amount::ZERO
    }

    /// Returns whether a payment can have this amount: whole cents, more than zero.
    pub(crate) fn is_payable(self) -> bool {
        self > Amount::ZERO && self.cents().is_some()
    }

    /// Returns the canonical notation: no trailing zeros.
    pub(crate) fn canonical(self) -> String {
        self.0.normalize().to_string()
    }
}

/// Feature `rust_decimal`.
///
/// ```
/// use mpesa_callbacks_payload::Amount;
/// use rust_decimal::Decimal;
///
/// assert_eq!(Decimal::from(Amount::from_cents(10050)), Decimal::new(10050, 2));
/// assert_eq!(Amount::try_from(Decimal::new(10050, 2)), Ok(Amount::from_cents(10050)));
/// ```
#[cfg(feature = "rust_decimal")]
impl From<Amount> for Decimal {
    fn from(amount: Amount) -> Decimal {
        amount.0
    }
}

/// Feature `rust_decimal`. Fails for more digits than an amount has.
#[cfg(feature = "rust_decimal")]
impl TryFrom<Decimal> for Amount {
    type Error = ParseAmountError;

    fn try_from(decimal: Decimal) -> Result<Amount, ParseAmountError> {
        decimal.to_string().parse()
    }
}

impl FromStr for Amount {
    type Err = ParseAmountError;

    fn from_str(text: &str) -> Result<Amount, ParseAmountError> {
        let text = &*without_separators(text.trim());
        let unsigned = text.strip_prefix('-').unwrap_or(text);
        let scientific = unsigned.bytes().any(|byte| matches!(byte, b'e' | b'E'));
        let plain = unsigned.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let before_point = unsigned.bytes().take_while(u8::is_ascii_digit).count();
        if before_point == 0 || before_point > DIGITS_BEFORE_POINT || !(plain || scientific) || text.len() > 40 {
            return Err(ParseAmountError);
        }
        // JSON allows exponents; Daraja has not been seen to use them.
        let parsed = if scientific { Decimal::from_scientific(text) } else { Decimal::from_str_exact(text) };
        let amount = parsed.map_err(|_| ParseAmountError)?;
        let is_too_fine = amount.scale() > DIGITS_AFTER_POINT && amount.normalize().scale() > DIGITS_AFTER_POINT;
        if is_too_fine || scientific && amount.abs() >= Decimal::from(10_i64.pow(15)) {
            return Err(ParseAmountError);
        }
        Ok(Amount(if amount.is_zero() { Decimal::new(0, amount.scale()) } else { amount }))
    }
}

/// Removes thousands separators, if that is the only reading of the commas: each before three
/// digits, the first after one to three digits.
fn without_separators(text: &str) -> Cow<'_, str> {
    if !text.contains(',') {
        return Cow::Borrowed(text);
    }
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, _) = unsigned.split_once('.').unwrap_or((unsigned, ""));
    let mut groups = whole.split(',');
    let is_digits = |group: &str| !group.is_empty() && group.bytes().all(|byte| byte.is_ascii_digit());
    let is_first = groups.next().is_some_and(|first| first.len() <= 3 && is_digits(first));
    let is_separated = is_first && groups.all(|group| group.len() == 3 && is_digits(group));
    if is_separated { Cow::Owned(text.replace(',', "")) } else { Cow::Borrowed(text) }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Amount(…)")
    }
}

/// As text, like Daraja's C2B amounts, so that no reader makes a float of it.
impl Serialize for Amount {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// From text or a number. serde has turned a number with a fraction into a float already; the
/// shortest decimal of that float is used, which is exact for up to 15 digits. Daraja's own bodies
/// are parsed without floats.
impl<'de> Deserialize<'de> for Amount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        struct AmountVisitor;
        impl de::Visitor<'_> for AmountVisitor {
            type Value = Amount;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an amount")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Amount, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_u64<E: de::Error>(self, shillings: u64) -> Result<Amount, E> {
                self.visit_str(&shillings.to_string())
            }
            fn visit_i64<E: de::Error>(self, shillings: i64) -> Result<Amount, E> {
                self.visit_str(&shillings.to_string())
            }
            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Amount, E> {
                self.visit_str(&number.to_string())
            }
        }
        deserializer.deserialize_any(AmountVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spelling_does_not_change_the_money() {
        let one: Amount = "1".parse().unwrap();
        for spelling in ["1.0", "1.00", " 1 ", "1e0", "10E-1", "100e-2"] {
            assert_eq!(spelling.parse::<Amount>().unwrap(), one, "{spelling}");
            assert_eq!(spelling.parse::<Amount>().unwrap().canonical(), "1");
        }
        assert_eq!("-0.00".parse::<Amount>().unwrap().canonical(), "0");
    }

    #[test]
    fn thousands_may_be_separated() {
        for (text, cents) in [("1,500.00", 150_000), ("10,000", 1_000_000), ("1,234,567.5", 123_456_750)] {
            assert_eq!(text.parse::<Amount>().unwrap(), Amount::from_cents(cents), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_decimal_number_is_refused() {
        for text in [
            "", " ", "KES 10", "10,00.00", "1,5", ",100", "1,000,00", "1234,567", "0x10", "1_000", "1..0", "NaN",
            "--1", "+1", "9e99", ".", "e5", "1e",
        ] {
            assert_eq!(text.parse::<Amount>(), Err(ParseAmountError), "{text:?}");
        }
        assert_eq!("1234567890123456".parse::<Amount>(), Err(ParseAmountError));
        assert_eq!("0.00000000001".parse::<Amount>(), Err(ParseAmountError));
    }

    #[test]
    fn an_applications_own_type_reads_numbers_and_text() {
        for json in ["100.5", "\"100.50\""] {
            assert_eq!(serde_json::from_str::<Amount>(json).unwrap(), Amount::from_cents(10_050));
        }
        assert_eq!(serde_json::from_str::<Amount>("-3").unwrap(), Amount::from_shillings(-3));
        assert!(serde_json::from_str::<Amount>("\"3 KES\"").is_err());
    }

    #[test]
    fn cents_are_exact() {
        assert_eq!("8959269.60".parse::<Amount>().unwrap().cents(), Some(895_926_960));
        assert_eq!("0.008".parse::<Amount>().unwrap().cents(), None);
        assert_eq!("-4510.00".parse::<Amount>().unwrap().shillings(), Some(-4510));
        assert_eq!("0.50".parse::<Amount>().unwrap().shillings(), None);
    }
}
