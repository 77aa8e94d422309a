use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(retries = 1, retries = 2, path = "/a", path = "/b")]
    async fn paid(&self, _: StkCallback) {}
}

fn main() {}
