use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::SqliteStore;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    fn paid(&self, _: StkCallback) {}
}

async fn start(store: SqliteStore) {
    let _ = Inbox::builder(Shop).store(store).start().await;
}

fn main() {}
