//! One type of transaction; an alias behind `cfg`s says which.

use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::SqliteStore;
use mpesa_callbacks::transactor::SqlxTransactor;

#[cfg(any())]
type Tx = NoSuchTransaction;
#[cfg(all())]
type Tx = SqliteTx;

struct Shop;

#[mpesa_callbacks]
impl Shop {
    #[stk]
    async fn paid(&self, _: StkCallback, _: &mut Tx) {}

    #[cfg(any())]
    #[lipia]
    async fn lipia(&self, _: LipiaCallback, _: &mut Tx) {}

    #[cfg(any())]
    #[on_dead]
    async fn dead(&self, _: &CallbackContext) {}

    #[cfg(all())]
    #[on_dead]
    async fn dead_too(&self, _: &CallbackContext) {}
}

async fn start(store: SqliteStore, transactor: SqlxTransactor<sqlx::Sqlite>) {
    let _ = Inbox::builder(Shop).store(store).transactor(transactor).start().await;
}

fn main() {
    let _ = start;
}
