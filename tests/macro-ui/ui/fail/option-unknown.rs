use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(pth = "/stk", max_retries = 3)]
    async fn paid(&self, _: StkCallback) {}

    #[payment(path = "/paid")]
    async fn money(&self, _: Payment) {}
}

fn main() {}
