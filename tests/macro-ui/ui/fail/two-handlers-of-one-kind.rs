use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[stk(path = "/other")]
    async fn paid_too(&self, _: StkCallback) {}
}

fn main() {}
