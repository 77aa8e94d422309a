use mpesa_callbacks::prelude::*;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[on_dead]
    async fn dead(&self, _: &CallbackContext) -> Result<(), String> {
        Ok(())
    }
}

fn main() {}
