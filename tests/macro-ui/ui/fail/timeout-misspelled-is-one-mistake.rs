use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[b2c_result]
    async fn sent(&self, _: B2cResult) {}

    #[b2c_timeot]
    async fn stuck(&self, _: QueueTimeout) {}
}

fn main() {}
