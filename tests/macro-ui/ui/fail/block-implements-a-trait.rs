use mpesa_callbacks::prelude::*;

struct Shop;

trait Paid {}

#[mpesa_callbacks]
impl Paid for Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}
}

fn main() {}
