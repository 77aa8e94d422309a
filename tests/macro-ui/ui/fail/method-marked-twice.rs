use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    #[lipia]
    async fn paid(&self, _: StkCallback) {}
}

fn main() {}
