use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[c2b_validation]
    async fn check(&self, _: C2bValidation) {}
}

fn main() {}
