use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk(path = "/MPesa/stk")]
    async fn paid(&self, _: StkCallback) {}

    #[lipia(path = "/execute")]
    async fn lipia(&self, _: LipiaCallback) {}
}

fn main() {}
