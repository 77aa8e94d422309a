//! Which handlers are compiled decides which transaction is taken, and whether one is.

use mpesa_callbacks::prelude::*;

struct One;

#[mpesa_callbacks]
impl One {
    #[stk]
    async fn paid(&self, _: StkCallback) {}

    #[cfg(any())]
    #[lipia]
    async fn with(&self, _: LipiaCallback, _: &mut NoSuchTransaction) {}

    #[cfg(any())]
    #[on_dead]
    async fn dead(&self, _: &CallbackContext) {}

    #[cfg(all())]
    #[on_dead]
    async fn dead_too(&self, _: &CallbackContext) {}
}

struct Two;

#[mpesa_callbacks]
impl Two {
    #[cfg(any())]
    #[stk]
    async fn paid(&self, _: StkCallback, _: &mut NoSuchTransaction) {}

    #[cfg(all())]
    #[stk]
    async fn paid_too(&self, _: StkCallback, _: &mut SqliteTx) {}
}

async fn start(store: SqliteStore, transactor: SqlxTransactor<sqlx::Sqlite>) {
    let _ = Inbox::builder(One).store(store.clone()).start().await;
    let _ = Inbox::builder(Two).store(store).transactor(transactor).start().await;
}

fn main() {
    let _ = start;
}
