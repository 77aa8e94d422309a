use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[lipia(path = "/stk/")]
    async fn paid_too(&self, _: LipiaCallback) {}
}

fn main() {}
