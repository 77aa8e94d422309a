use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(path = "stk")]
    async fn paid(&self, _: StkCallback) {}

    #[lipia(path = "/a b")]
    async fn lipia(&self, _: LipiaCallback) {}
}

fn main() {}
