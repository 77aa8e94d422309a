//! Rules: what happens to the requests that they match. The first match wins.

use serde::{Deserialize, Serialize};

use super::fault::Fault;
use super::product::Product;

/// Matches pushes of M-Pesa Express.
#[derive(Clone, Copy, Debug)]
pub struct Push;

/// Matches payments to customers and businesses: B2C, B2Pochi, B2B, tax.
#[derive(Clone, Copy, Debug)]
pub struct Payout;

/// Matches other requests with a result: status, balance, reversal.
#[derive(Clone, Copy, Debug)]
pub struct Query;

/// Matches payments of customers from their phones: C2B.
#[derive(Clone, Copy, Debug)]
pub struct CustomerPayment;

/// Matches pushes to businesses: B2B Express.
#[derive(Clone, Copy, Debug)]
pub struct BusinessPush;

/// Matches standing orders: Ratiba.
#[derive(Clone, Copy, Debug)]
pub struct StandingOrder;

/// Which requests a rule is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Matcher {
    #[serde(rename = "product")]
    pub(crate) product: Product,
    /// Phone number or short code of the other party.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    party: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    account: Option<String>,
}

macro_rules! any {
    ($($matcher:ident: $of:ident, $party:literal;)*) => {
        $(
            impl $matcher {
                /// Every one of them.
                pub fn any() -> Matcher {
                    Matcher { product: Product::$matcher, party: None, account: None }
                }

                #[doc = $party]
                pub fn $of(party: &str) -> Matcher {
                    Matcher { party: Some(party.to_owned()), ..$matcher::any() }
                }
            }
        )*
    };
}

any! {
    Push: from, "Pushes to this phone, `254…`.";
    Payout: to, "Payouts to this phone or short code.";
    Query: of, "Requests of this short code.";
    CustomerPayment: from, "Payments of this phone, `254…`.";
    BusinessPush: to, "Pushes to this short code.";
    StandingOrder: of, "Standing orders of this phone, `254…`.";
}

impl Push {
    /// Pushes with this `AccountReference`.
    pub fn account(account: &str) -> Matcher {
        Matcher { account: Some(account.to_owned()), ..Push::any() }
    }
}

impl CustomerPayment {
    /// Payments with this account number.
    pub fn account(account: &str) -> Matcher {
        Matcher { account: Some(account.to_owned()), ..CustomerPayment::any() }
    }
}

impl Matcher {
    fn matches(&self, product: Product, party: &str, account: &str) -> bool {
        self.product == product
            && self.party.as_deref().is_none_or(|wanted| wanted == party)
            && self.account.as_deref().is_none_or(|wanted| wanted == account)
    }
}

/// What happens to a request.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    #[serde(rename = "match")]
    pub(crate) matcher: Matcher,
    /// Result code of the callback; `0` pays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ends: Option<String>,
    /// Error code of the answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) refused: Option<String>,
    #[serde(default)]
    pub(crate) faults: Vec<Fault>,
    #[serde(default)]
    pub(crate) once: bool,
    #[serde(skip)]
    is_used: bool,
}

impl Rule {
    pub(crate) fn new(matcher: Matcher) -> Rule {
        Rule { matcher, ends: None, refused: None, faults: Vec::new(), once: false, is_used: false }
    }

    /// Adds a fault, unless the requests of the rule cannot have it.
    pub(crate) fn add(&mut self, fault: Fault) -> Result<(), RuleError> {
        let product = self.matcher.product;
        if !fault.fits(product) {
            return Err(RuleError::Product { fault, product: product.name() });
        }
        if let Some(other) = self.faults.iter().find(|other| !fault.goes_with(**other)) {
            return Err(RuleError::Pair { fault, other: *other });
        }
        self.faults.push(fault);
        Ok(())
    }

    /// Checks a rule from a file or over HTTP.
    pub(crate) fn checked(mut self) -> Result<Rule, RuleError> {
        for fault in std::mem::take(&mut self.faults) {
            self.add(fault)?;
        }
        Ok(self)
    }
}

/// A rule makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RuleError {
    /// Requests of this product cannot have the fault.
    #[error("a {product} cannot have the fault `{fault}`; it is for: {all}", all = fault.products().collect::<Vec<_>>().join(", "))]
    Product {
        /// The fault.
        fault: Fault,
        /// Name of the product.
        product: &'static str,
    },
    /// The faults exclude each other.
    #[error("`{fault}` and `{other}` exclude each other")]
    Pair {
        /// The fault.
        fault: Fault,
        /// The fault that the rule has already.
        other: Fault,
    },
    /// The text is not a rule.
    #[error("not a rule: {0}")]
    Syntax(String),
}

/// The rules of a simulator, in the order in which they were given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rules(Vec<Rule>);

impl Rules {
    /// Adds a rule, and returns its number.
    pub(crate) fn add(&mut self, rule: Rule) -> usize {
        self.0.push(rule);
        self.0.len() - 1
    }

    pub(crate) fn get_mut(&mut self, number: usize) -> Option<&mut Rule> {
        self.0.get_mut(number)
    }

    pub(crate) fn all(&self) -> &[Rule] {
        &self.0
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    /// Takes the rule for a request; a rule for one request is used up.
    pub(crate) fn take(&mut self, product: Product, party: &str, account: &str) -> Option<Rule> {
        let rule = self
            .0
            .iter_mut()
            .find(|rule| !(rule.once && rule.is_used) && rule.matcher.matches(product, party, account))?;
        rule.is_used = true;
        Some(rule.clone())
    }
}
