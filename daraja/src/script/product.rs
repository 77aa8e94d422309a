//! The groups of products that rules tell apart.

use serde::{Deserialize, Serialize};

/// A group of products.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Product {
    /// M-Pesa Express.
    Push,
    /// B2C, B2Pochi, B2B, tax.
    Payout,
    /// Status, balance, reversal.
    Query,
    /// C2B.
    CustomerPayment,
    /// B2B Express.
    BusinessPush,
    /// Ratiba.
    StandingOrder,
}

impl Product {
    pub(crate) const ALL: [Product; 6] = [
        Product::Push,
        Product::Payout,
        Product::Query,
        Product::CustomerPayment,
        Product::BusinessPush,
        Product::StandingOrder,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Product::Push => "push",
            Product::Payout => "payout",
            Product::Query => "query",
            Product::CustomerPayment => "customer-payment",
            Product::BusinessPush => "business-push",
            Product::StandingOrder => "standing-order",
        }
    }
}
