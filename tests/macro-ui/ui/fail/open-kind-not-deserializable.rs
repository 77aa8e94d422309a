use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[callback(path = "/a", key = "/id")]
    async fn open(&self, _: std::time::Instant) {}
}

fn main() {}
