use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[skt]
    async fn paid(&self, _: StkCallback) {}

    #[c2b_confirm]
    async fn delivery(&self, _: C2bConfirmation) {}
}

fn main() {}
