//! It asks, and asks again; a transaction would run once.

use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[overdue(path = "/overdue")]
    async fn ask(&self, _: Expectation, _: &mut SqliteTx) {}
}

fn main() {}
