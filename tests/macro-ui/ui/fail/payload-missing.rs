use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self) {}

    #[callback(path = "/a", key = "/id")]
    async fn open(&self) {}
}

fn main() {}
