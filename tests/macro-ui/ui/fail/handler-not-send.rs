use mpesa_callbacks::prelude::*;

struct Shop;

async fn nothing() {}

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback) {
        let local = std::rc::Rc::new(1);
        nothing().await;
        drop(local);
    }
}

fn main() {}
