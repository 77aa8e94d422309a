use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(max_retries = 1, max_retries = 2, path = "/a", path = "/b")]
    async fn paid(&self, _: StkCallback) {}
}

fn main() {}
