//! This library, in each framework, on each store, with each sort of handler.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use mpesa_callbacks::prelude::*;
use mpesa_callbacks::store::{MemoryStore, PostgresStore, SqliteStore, Store};
use mpesa_callbacks::transactor::{SqlxTransactor, Transactor};
use mpesa_callbacks::{InboxBuilder, MpesaCallbacks, actix_adapter, axum_adapter, rocket_adapter};
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use tokio::net::TcpListener;

use super::{Options, SECRET};
use crate::side::{Framework, Kept, Work};

/// Its handler never ends, and no second one is begun: callbacks are acknowledged, and wait.
struct Waiting;

#[mpesa_callbacks]
impl Waiting {
    #[stk]
    async fn stk(&self, _: StkCallback) {
        std::future::pending::<()>().await;
    }
}

/// Its handler is done at once.
struct Done;

#[mpesa_callbacks]
impl Done {
    #[stk]
    async fn stk(&self, callback: StkCallback) {
        std::hint::black_box(callback);
    }
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS paid (receipt TEXT, amount TEXT)";
const INSERT: &str = "INSERT INTO paid (receipt, amount) VALUES ($1, $2)";

/// Its handler writes a row in a transaction of the application's own database.
struct OnSqlite;

#[mpesa_callbacks]
impl OnSqlite {
    #[stk]
    async fn stk(&self, callback: StkCallback, tx: &mut SqliteTx) -> Result<(), sqlx::Error> {
        let amount = callback.amount.map(|amount| amount.to_string());
        sqlx::query(INSERT).bind(callback.receipt).bind(amount).execute(&mut **tx).await.map(drop)
    }
}

/// The same in PostgreSQL.
struct OnPostgres;

#[mpesa_callbacks]
impl OnPostgres {
    #[stk]
    async fn stk(&self, callback: StkCallback, tx: &mut PgTx) -> Result<(), sqlx::Error> {
        let amount = callback.amount.map(|amount| amount.to_string());
        sqlx::query(INSERT).bind(callback.receipt).bind(amount).execute(&mut **tx).await.map(drop)
    }
}

/// An inbox that keeps callbacks there, and does this with them.
pub(super) async fn inbox(kept: Kept, work: Work, options: &Options) -> anyhow::Result<Inbox> {
    let store: Arc<dyn Store> = match kept {
        Kept::Memory => Arc::new(MemoryStore::new()),
        Kept::Sqlite => Arc::new(SqliteStore::open(options.directory.join("inbox.db"))?),
        Kept::Postgres => Arc::new(PostgresStore::connect(&options.database).await?),
    };
    match (work, kept) {
        (Work::Acknowledge, _) => start(Inbox::builder(Waiting).name("bench").max_concurrent_handlers(1), store).await,
        (Work::Handle, _) => start(Inbox::builder(Done).name("bench"), store).await,
        (Work::Transactor, Kept::Postgres) => {
            let pool = PgPoolOptions::new().max_connections(10).connect(&options.database).await?;
            sqlx::query(TABLE).execute(&pool).await?;
            start(Inbox::builder(OnPostgres).name("bench").transactor(SqlxTransactor::new(pool)), store).await
        }
        (Work::Transactor, _) => {
            let pool = sqlite_pool(&options.directory).await?;
            sqlx::query(TABLE).execute(&pool).await?;
            start(Inbox::builder(OnSqlite).name("bench").transactor(SqlxTransactor::new(pool)), store).await
        }
    }
}

/// The application's own database, beside the inbox's.
async fn sqlite_pool(directory: &Path) -> anyhow::Result<sqlx::SqlitePool> {
    let options = SqliteConnectOptions::new()
        .filename(directory.join("shop.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal);
    Ok(SqlitePoolOptions::new().max_connections(1).connect_with(options).await?)
}

async fn start<H, L>(builder: InboxBuilder<H, L>, store: Arc<dyn Store>) -> anyhow::Result<Inbox>
where
    L: Transactor,
    H: MpesaCallbacks<L::Tx> + 'static,
{
    Ok(builder.store(store).secret(SECRET).sandbox().start().await?)
}

/// Serves until it is killed.
pub(super) async fn serve(framework: Framework, address: SocketAddr, inbox: Inbox) -> anyhow::Result<()> {
    match framework {
        Framework::Axum => {
            let app = Router::new().nest("/pay", axum_adapter::router(&inbox));
            mpesa_callbacks::serve(TcpListener::bind(address).await?, app).await?;
        }
        Framework::Actix => {
            let app = move || {
                let scope = actix_web::web::scope("/pay").configure(actix_adapter::configure(&inbox));
                actix_web::App::new().service(scope)
            };
            actix_web::HttpServer::new(app).bind(address)?.run().await?;
        }
        Framework::Rocket => {
            let config = rocket::Config {
                address: address.ip(),
                port: address.port(),
                log_level: rocket::config::LogLevel::Off,
                ..rocket::Config::release_default()
            };
            rocket::custom(config).mount("/pay", rocket_adapter::routes(&inbox)).launch().await?;
        }
    }
    Ok(())
}
