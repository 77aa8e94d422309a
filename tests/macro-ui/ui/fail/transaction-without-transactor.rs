use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::SqliteStore;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback, _: &mut SqliteTx) {}
}

async fn start(store: SqliteStore) {
    let _ = Inbox::builder(Shop).store(store).start().await;
}

fn main() {}
