use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[callback]
    async fn open(&self, _: String) {}
}

fn main() {}
