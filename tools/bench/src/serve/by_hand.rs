//! The baselines: axum alone, and the handler that a careful developer writes by hand.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use axum::routing::post;
use bench::plain::Stk;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

const SUCCESS: &str = r#"{"ResultCode":0,"ResultDesc":"Success"}"#;

fn success() -> impl IntoResponse {
    ([(CONTENT_TYPE, "application/json")], SUCCESS)
}

/// A handler that does nothing.
pub(super) fn empty() -> Router {
    Router::new().route("/stk", post(async || success()))
}

/// A handler that reads the body, and keeps nothing.
pub(super) fn parse() -> Router {
    let handler = async |body: Bytes| match Stk::parse(&body) {
        Ok(callback) => {
            std::hint::black_box(callback);
            Ok(success())
        }
        Err(_) => Err(StatusCode::BAD_REQUEST),
    };
    Router::new().route("/stk", post(handler))
}

/// The body, and the channel for the answer.
type Job = (Box<Stk>, Bytes, oneshot::Sender<()>);

/// A handler that reads the body and hands it to one task, which keeps it in a map and answers: what it costs to wait for another
/// task, as group commit requires.
pub(super) fn memory() -> Router {
    let (sender, mut receiver) = mpsc::channel::<Job>(1024);
    tokio::spawn(async move {
        let (mut kept, mut jobs) = (HashMap::new(), Vec::new());
        while receiver.recv_many(&mut jobs, 256).await > 0 {
            for (callback, body, reply) in jobs.drain(..) {
                kept.entry(callback.checkout_request_id).or_insert(body);
                let _ = reply.send(());
            }
        }
    });
    let handler = async |State(sender): State<mpsc::Sender<Job>>, body: Bytes| {
        let callback = Stk::parse(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let (reply, answer) = oneshot::channel();
        let job = (Box::new(callback), Bytes::copy_from_slice(&body), reply);
        sender.send(job).await.map_err(|_| StatusCode::SERVICE_UNAVAILABLE)?;
        answer.await.map(|()| success()).map_err(|_| StatusCode::SERVICE_UNAVAILABLE)
    };
    Router::new().route("/stk", post(handler)).with_state(sender)
}

const TABLE: &str = "CREATE TABLE IF NOT EXISTS callback (
    checkout_request_id TEXT PRIMARY KEY,
    merchant_request_id TEXT NOT NULL,
    result_code         BIGINT NOT NULL,
    result_desc         TEXT NOT NULL,
    amount              DOUBLE PRECISION,
    receipt             TEXT,
    phone_number        BIGINT,
    transaction_date    BIGINT,
    received_at         BIGINT NOT NULL,
    body                TEXT NOT NULL
)";

const INSERT: &str =
    "INSERT INTO callback (checkout_request_id, merchant_request_id, result_code, result_desc, amount, receipt,
                                            phone_number, transaction_date, received_at, body)
                      VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT (checkout_request_id) DO NOTHING";

/// Binds a callback to the statement: sqlx's types differ from database to database.
macro_rules! insert {
    ($pool:expr, $body:expr) => {{
        let callback = Stk::parse(&$body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let text = str::from_utf8(&$body).map_err(|_| StatusCode::BAD_REQUEST)?;
        let signed = |number: Option<u64>| number.and_then(|number| i64::try_from(number).ok());
        let inserted = sqlx::query(INSERT)
            .bind(&callback.checkout_request_id)
            .bind(&callback.merchant_request_id)
            .bind(callback.result_code)
            .bind(&callback.result_desc)
            .bind(callback.amount)
            .bind(&callback.receipt)
            .bind(signed(callback.phone_number))
            .bind(signed(callback.transaction_date))
            .bind(now())
            .bind(text)
            .execute($pool)
            .await;
        inserted.map(|_| success()).map_err(|_| StatusCode::INTERNAL_SERVER_ERROR)
    }};
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// One statement and one commit a callback, in SQLite. One connection, because SQLite lets one write at a time.
pub(super) async fn sqlite(directory: &Path) -> anyhow::Result<Router> {
    let options = SqliteConnectOptions::new()
        .filename(directory.join("by-hand.db"))
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full);
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let handler = async |State(pool): State<SqlitePool>, body: Bytes| insert!(&pool, body);
    Ok(Router::new().route("/stk", post(handler)).with_state(pool))
}

/// One statement and one commit a callback, in PostgreSQL.
pub(super) async fn postgres(url: &str) -> anyhow::Result<Router> {
    let pool = PgPoolOptions::new().max_connections(10).connect(url).await?;
    sqlx::query(TABLE).execute(&pool).await?;
    let handler = async |State(pool): State<PgPool>, body: Bytes| insert!(&pool, body);
    Ok(Router::new().route("/stk", post(handler)).with_state(pool))
}

/// As axum's documentation has it.
pub(super) async fn serve(address: SocketAddr, router: Router) -> anyhow::Result<()> {
    let listener = TcpListener::bind(address).await?;
    Ok(axum::serve(listener, Router::new().nest("/pay", router)).await?)
}
