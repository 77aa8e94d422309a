use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback, _: &mut SqliteTx) {}
}

#[mpesa_callbacks]
impl Shop {
    #[lipia]
    async fn lipia(&self, _: LipiaCallback, _: &mut u8) {}
}

fn main() {}
