use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(pth = "/stk", retries = 3)]
    async fn paid(&self, _: StkCallback) {}

    #[payment(path = "/paid")]
    async fn money(&self, _: Payment) {}
}

fn main() {}
