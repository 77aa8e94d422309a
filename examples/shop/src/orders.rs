//! The shop's own database. Amounts are in cents.

use std::path::Path;
use std::time::Duration;

use mpesa_callbacks::payload::Sensitive;
use mpesa_callbacks::prelude::*;
use serde::{Deserialize, Serialize};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{SqliteConnection, SqlitePool};

/// Orders, payments and payouts, in a SQLite database of the shop's own.
#[derive(Clone, Debug)]
pub struct Orders {
    pool: SqlitePool,
}

/// An order and the state of its payment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// Account number that the customer types.
    pub reference: String,
    /// Amount due.
    pub due_cents: i64,
    /// Amount paid.
    pub paid_cents: i64,
    /// `open`, `paid`, `cancelled` or `unsure`.
    pub status: String,
}

/// A new order.
#[derive(Clone, Debug, Deserialize)]
pub struct NewOrder {
    /// Account number that the customer types.
    pub reference: String,
    /// Amount due.
    pub due_cents: i64,
    /// `CheckoutRequestID` of its push, if one was sent.
    pub checkout_request_id: Option<String>,
}

const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS orders (
        reference           TEXT PRIMARY KEY,
        due_cents           INTEGER NOT NULL,
        paid_cents          INTEGER NOT NULL DEFAULT 0,
        status              TEXT NOT NULL DEFAULT 'open',
        checkout_request_id TEXT UNIQUE
    );
    CREATE TABLE IF NOT EXISTS payments (
        receipt    TEXT NOT NULL,
        cents      INTEGER NOT NULL,
        reference  TEXT
    );
    CREATE TABLE IF NOT EXISTS payouts (
        conversation_id TEXT PRIMARY KEY,
        status          TEXT NOT NULL,
        receipt         TEXT
    );";

impl Orders {
    /// Opens or creates the database.
    ///
    /// # Errors
    /// When it cannot be opened.
    pub async fn open(path: &Path) -> sqlx::Result<Orders> {
        let options = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(Duration::from_secs(10));
        let pool = SqlitePoolOptions::new().max_connections(8).connect_with(options).await?;
        sqlx::raw_sql(SCHEMA).execute(&pool).await?;
        Ok(Orders { pool })
    }

    /// The pool, for the transactor.
    pub fn pool(&self) -> SqlitePool {
        self.pool.clone()
    }

    /// Places an order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn place(&self, order: &NewOrder) -> sqlx::Result<()> {
        sqlx::query(
            "INSERT INTO orders (reference, due_cents, checkout_request_id) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        )
        .bind(&order.reference)
        .bind(order.due_cents)
        .bind(&order.checkout_request_id)
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Cancels an order whose push was refused.
    ///
    /// # Errors
    /// When the database fails.
    pub(crate) async fn cancel(&self, reference: &str) -> sqlx::Result<()> {
        let cancel = sqlx::query("UPDATE orders SET status = 'cancelled' WHERE reference = ? AND status = 'open'");
        cancel.bind(reference).execute(&self.pool).await.map(drop)
    }

    /// All orders.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn list(&self) -> sqlx::Result<Vec<Order>> {
        let rows: Vec<(String, i64, i64, String)> =
            sqlx::query_as("SELECT reference, due_cents, paid_cents, status FROM orders ORDER BY rowid")
                .fetch_all(&self.pool)
                .await?;
        let order = |(reference, due_cents, paid_cents, status)| Order { reference, due_cents, paid_cents, status };
        Ok(rows.into_iter().map(order).collect())
    }

    /// Returns the number of payments that were booked for an order.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payments(&self, reference: &str) -> sqlx::Result<usize> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM payments WHERE reference = ?")
            .bind(reference)
            .fetch_one(&self.pool)
            .await?;
        Ok(usize::try_from(count).unwrap_or_default())
    }

    /// Payouts: conversation id, status, receipt.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payouts(&self) -> sqlx::Result<Vec<(String, String, Option<String>)>> {
        sqlx::query_as("SELECT conversation_id, status, receipt FROM payouts ORDER BY rowid")
            .fetch_all(&self.pool)
            .await
    }

    /// Returns the amount due on an open order.
    pub(crate) async fn due(&self, reference: &str) -> sqlx::Result<Option<Amount>> {
        let due: Option<i64> =
            sqlx::query_scalar("SELECT due_cents FROM orders WHERE reference = ? COLLATE NOCASE AND status <> 'paid'")
                .bind(reference)
                .fetch_optional(&self.pool)
                .await?;
        Ok(due.map(Amount::from_cents))
    }
}

/// Why a payment was not booked. It is retried.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// The amount is too large for the database.
    #[error("the amount is not in whole cents, or too large")]
    Amount,
}

/// Books a payment and pays its order. A payment without an order is stored for a person to look at.
pub(crate) async fn book(tx: &mut SqliteConnection, payment: &Payment) -> Result<(), BookingError> {
    let cents = payment.amount.cents().ok_or(BookingError::Amount)?;
    let reference = order_of(tx, payment).await?;
    sqlx::query("INSERT INTO payments (receipt, cents, reference) VALUES (?, ?, ?)")
        .bind(&payment.receipt)
        .bind(cents)
        .bind(&reference)
        .execute(&mut *tx)
        .await?;
    settle(tx, cents, reference.as_deref()).await
}

/// Pays the order of a payment that was booked without one.
pub(crate) async fn assign(tx: &mut SqliteConnection, payment: &Payment) -> Result<(), BookingError> {
    let cents = payment.amount.cents().ok_or(BookingError::Amount)?;
    let reference = order_of(tx, payment).await?;
    let assigned = sqlx::query("UPDATE payments SET reference = ? WHERE receipt = ? AND reference IS NULL")
        .bind(&reference)
        .bind(&payment.receipt)
        .execute(&mut *tx)
        .await?;
    match assigned.rows_affected() {
        0 => Ok(()),
        _ => settle(tx, cents, reference.as_deref()).await,
    }
}

/// Returns the order of a payment: by its reference, or by the push that was sent for the order.
async fn order_of(tx: &mut SqliteConnection, payment: &Payment) -> sqlx::Result<Option<String>> {
    sqlx::query_scalar("SELECT reference FROM orders WHERE reference = ? COLLATE NOCASE OR checkout_request_id = ?")
        .bind(payment.order())
        .bind(payment.checkout_request_id.as_ref().map(Sensitive::as_str))
        .fetch_optional(tx)
        .await
}

async fn settle(tx: &mut SqliteConnection, cents: i64, reference: Option<&str>) -> Result<(), BookingError> {
    sqlx::query(
        "UPDATE orders SET paid_cents = paid_cents + ?1, status = CASE WHEN paid_cents + ?1 >= due_cents THEN 'paid' ELSE status END
         WHERE reference = ?2",
    )
    .bind(cents)
    .bind(reference)
    .execute(tx)
    .await?;
    Ok(())
}

/// A push failed. An order that was paid in the meantime stays paid.
pub(crate) async fn not_paid(tx: &mut SqliteConnection, ctx: &CallbackContext, status: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE orders SET status = ? WHERE (reference = ? OR checkout_request_id = ?) AND status <> 'paid'")
        .bind(status)
        .bind(ctx.reference())
        .bind(ctx.key())
        .execute(tx)
        .await?;
    Ok(())
}

/// Stores the status of a payout. A result is final; a timeout means that the outcome is unknown.
pub(crate) async fn payout(
    tx: &mut SqliteConnection,
    id: &str,
    status: &str,
    receipt: Option<&str>,
) -> sqlx::Result<()> {
    sqlx::query(
        "INSERT INTO payouts (conversation_id, status, receipt) VALUES (?1, ?2, ?3)
         ON CONFLICT (conversation_id) DO UPDATE SET status = ?2, receipt = ?3 WHERE status = 'unsure'",
    )
    .bind(id)
    .bind(status)
    .bind(receipt)
    .execute(tx)
    .await?;
    Ok(())
}
