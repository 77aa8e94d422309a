//! The names of attributes. A test compares them with the table in core.

use proc_macro2::{Ident, Span};

/// A built-in kind, as the macro needs to know it.
#[derive(Debug)]
pub(crate) struct Row {
    /// Name of the attribute and of the trait's method.
    pub(crate) name: &'static str,
    /// Type of the payload.
    pub(crate) payload: &'static str,
    /// Default path; `None` if it has no URL.
    pub(crate) path: Option<&'static str>,
}

impl Row {
    /// Returns the variant of `Kind`: `stk` is `Stk`, `c2b_validation` is `C2bValidation`.
    pub(crate) fn variant(&self) -> Ident {
        let word = |word: &str| word[..1].to_ascii_uppercase() + &word[1..];
        Ident::new(&self.name.split('_').map(word).collect::<String>(), Span::call_site())
    }
}

const fn row(name: &'static str, payload: &'static str, path: &'static str) -> Row {
    Row { name, payload, path: Some(path) }
}

/// All built-in kinds, in the order of the table in the documentation.
pub(crate) const KINDS: [Row; 22] = [
    row("stk", "StkCallback", "/stk"),
    row("c2b_validation", "C2bValidation", "/c2b/validation"),
    row("c2b_confirmation", "C2bConfirmation", "/c2b/confirmation"),
    row("b2c_result", "B2cResult", "/b2c/result"),
    row("b2c_timeout", "QueueTimeout", "/b2c/timeout"),
    row("b2b_result", "B2bResult", "/b2b/result"),
    row("b2b_timeout", "QueueTimeout", "/b2b/timeout"),
    row("tax_result", "TaxResult", "/tax/result"),
    row("tax_timeout", "QueueTimeout", "/tax/timeout"),
    row("status_result", "StatusResult", "/status/result"),
    row("status_timeout", "QueueTimeout", "/status/timeout"),
    row("balance_result", "BalanceResult", "/balance/result"),
    row("balance_timeout", "QueueTimeout", "/balance/timeout"),
    row("reversal_result", "ReversalResult", "/reversal/result"),
    row("reversal_timeout", "QueueTimeout", "/reversal/timeout"),
    row("b2b_express", "B2bExpressCallback", "/b2b-express"),
    row("ratiba", "RatibaCallback", "/ratiba"),
    row("bill_manager", "BillManagerPayment", "/bill-manager"),
    Row { name: "payment", payload: "Payment", path: None },
    Row { name: "payment_completed", payload: "Payment", path: None },
    row("lipia", "LipiaCallback", "/lipia"),
    Row { name: "overdue", payload: "Expectation", path: None },
];

/// The attribute of the custom kind.
pub(crate) const CALLBACK: &str = "callback";

/// The attributes of all hooks.
pub(crate) const HOOKS: [&str; 4] = ["on_duplicate", "on_conflict", "on_dead", "on_quarantine"];

/// Returns whether this is the name of an attribute of this macro.
pub(crate) fn is_marker(name: &str) -> bool {
    names().any(|known| known == name)
}

/// Returns all names of attributes.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|row| row.name).chain([CALLBACK]).chain(HOOKS)
}

/// Returns whether only handlers take a type of this name.
pub(crate) fn is_payload(name: &str) -> bool {
    name == "CallbackContext" || KINDS.iter().any(|row| row.payload == name)
}
