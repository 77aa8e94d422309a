//! Balances and charges, in the three notations of results.

use serde::Serialize;

use crate::Amount;

/// The balance of one account: `Working Account|KES|700000.00|700000.00|0.00|0.00`.
///
/// The names of the four numbers are taken from samples and other SDKs; Safaricom does not document
/// them.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct AccountBalance {
    /// `Working Account`, `Utility Account`, `Charges Paid Account`, `Merchant Account`, …
    pub name: String,
    /// Currency of the amount; `KES` in all samples.
    pub currency: String,
    /// Balance in KES; negative on a charges account.
    pub current: Amount,
    /// Part of the balance that can be spent, in KES.
    pub available: Option<Amount>,
    /// Reserved part of the balance, in KES.
    pub reserved: Option<Amount>,
    /// Part of the balance that has not cleared, in KES.
    pub uncleared: Option<Amount>,
}

impl AccountBalance {
    /// Parses balances joined by `&`. Skips entries of another form; the parameter's text contains
    /// them.
    pub fn parse_list(text: &str) -> Vec<AccountBalance> {
        text.split('&').filter_map(AccountBalance::parse).collect()
    }

    fn parse(entry: &str) -> Option<AccountBalance> {
        let mut parts = entry.split('|').map(str::trim);
        // Some samples break the name over two lines.
        let name = parts.next()?.split_whitespace().collect::<Vec<_>>().join(" ");
        let currency = parts.next()?.to_owned();
        let mut amount = || parts.next().and_then(|part| part.parse().ok());
        let current = amount()?;
        Some(AccountBalance { name, currency, current, available: amount(), reserved: amount(), uncleared: amount() })
    }
}

/// The cost of a transaction: `Business Pay Bill Charge|KES|77.00`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct Charge {
    /// The reason of the charge.
    pub name: String,
    /// Currency of the amount; `KES` in all samples.
    pub currency: String,
    /// The charge in KES.
    pub amount: Amount,
}

impl Charge {
    /// Parses charges joined by `&`. Skips entries of another form; the parameter's text contains
    /// them.
    pub fn parse_list(text: &str) -> Vec<Charge> {
        let parse = |entry: &str| {
            let mut parts = entry.split('|').map(str::trim);
            let (name, currency) = (parts.next()?.to_owned(), parts.next()?.to_owned());
            Some(Charge { name, currency, amount: parts.next()?.parse().ok()? })
        };
        text.split('&').filter_map(parse).collect()
    }
}

/// A balance in the other notation of results: `{Amount={CurrencyCode=KES, MinimumAmount=618683,
/// BasicAmount=6186.83}}`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
#[non_exhaustive]
pub struct BalanceAmount {
    /// `KES`, if it is there.
    pub currency: Option<String>,
    /// `BasicAmount`: the balance in KES.
    pub amount: Amount,
    /// `MinimumAmount`: the same in cents.
    pub minimum: Option<Amount>,
}

impl BalanceAmount {
    /// Parses the members in any order, with or without spaces, or a plain number.
    pub fn parse(text: &str) -> Option<BalanceAmount> {
        if let Ok(amount) = text.parse() {
            return Some(BalanceAmount { currency: None, amount, minimum: None });
        }
        let inner = text.trim().trim_start_matches(['{', ' ']).strip_prefix("Amount=")?.trim_matches(['{', '}', ' ']);
        let member = |name: &str| {
            inner.split(',').find_map(|member| member.trim().strip_prefix(name)?.strip_prefix('=')).map(str::trim)
        };
        Some(BalanceAmount {
            currency: member("CurrencyCode").map(str::to_owned),
            amount: member("BasicAmount")?.parse().ok()?,
            minimum: member("MinimumAmount").and_then(|text| text.parse().ok()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_orders_of_a_balance_amount_are_read() {
        for text in [
            "{Amount={CurrencyCode=KES, MinimumAmount=4671300, BasicAmount=46713.00}}",
            "{ Amount={BasicAmount=46713.00, MinimumAmount=4671300, CurrencyCode=KES}}",
        ] {
            let balance = BalanceAmount::parse(text).unwrap();
            assert_eq!(balance.amount, Amount::from_shillings(46_713));
            assert_eq!(balance.minimum, Some(Amount::from_shillings(4_671_300)));
            assert_eq!(balance.currency.as_deref(), Some("KES"));
        }
        assert_eq!(BalanceAmount::parse("{Amount={BasicAmount=50.5}}").unwrap().amount, Amount::from_cents(5_050));
        assert_eq!(BalanceAmount::parse("{Amount=...}"), None);
        assert_eq!(BalanceAmount::parse(""), None);
    }

    #[test]
    fn balances_are_read_with_the_deviations_seen() {
        let text = "Float\nAccount|KES|0.00|0.00|0.00|0.008&Working Account|KES|49000.00&580000.00&Utility Account|KES|0|0|0|0";
        let balances = AccountBalance::parse_list(text);
        let names: Vec<_> = balances.iter().map(|balance| balance.name.as_str()).collect();
        assert_eq!(names, ["Float Account", "Working Account", "Utility Account"]);
        assert_eq!(balances[1].available, None);
    }

    #[test]
    fn charges_are_read_one_by_one() {
        let charges = Charge::parse_list("Fee|KES|0.00&Fee by Receiver|KES|22.40");
        assert_eq!(charges.len(), 2);
        assert_eq!(charges[1].amount, Amount::from_cents(2_240));
        assert_eq!(Charge::parse_list(""), []);
    }
}
