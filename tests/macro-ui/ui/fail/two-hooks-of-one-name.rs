use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[on_dead]
    async fn dead(&self, _: &CallbackContext) {}

    #[on_dead]
    async fn dead_too(&self, _: &CallbackContext) {}
}

fn main() {}
