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

/// An order and how its payment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Order {
    /// What the customer types as account number.
    pub reference: String,
    /// What is due.
    pub due_cents: i64,
    /// What came in.
    pub paid_cents: i64,
    /// `open`, `paid`, `cancelled` or `unsure`.
    pub status: String,
}

/// An order to be placed.
#[derive(Clone, Debug, Deserialize)]
pub struct NewOrder {
    /// What the customer types as account number.
    pub reference: String,
    /// What is due.
    pub due_cents: i64,
    /// The `CheckoutRequestID` of the push that was sent for it, if one was.
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
    /// Opens the database, and creates what is not there.
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

    /// Payouts: conversation id, status, receipt.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn payouts(&self) -> sqlx::Result<Vec<(String, String, Option<String>)>> {
        sqlx::query_as("SELECT conversation_id, status, receipt FROM payouts ORDER BY rowid")
            .fetch_all(&self.pool)
            .await
    }

    /// What is due on an open order.
    pub(crate) async fn due(&self, reference: &str) -> sqlx::Result<Option<Amount>> {
        let due: Option<i64> =
            sqlx::query_scalar("SELECT due_cents FROM orders WHERE reference = ? AND status <> 'paid'")
                .bind(reference)
                .fetch_optional(&self.pool)
                .await?;
        Ok(due.map(Amount::from_cents))
    }
}

/// Why a payment was not booked. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum BookingError {
    /// The database failed.
    #[error(transparent)]
    Database(#[from] sqlx::Error),
    /// It is more than a shop's books can hold.
    #[error("the amount is not in whole cents, or too large")]
    Amount,
}

/// Books money that came in, and settles the order that it is for. Money without an order is kept as such, for somebody to look at.
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

/// Settles the order of a payment that was booked without one.
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

/// The order that a payment is for, as far as there is one: its own reference, or the push that was sent for it.
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

/// A push ended without money. Whoever paid in the meantime has paid.
pub(crate) async fn not_paid(tx: &mut SqliteConnection, ctx: &CallbackContext, status: &str) -> sqlx::Result<()> {
    sqlx::query("UPDATE orders SET status = ? WHERE (reference = ? OR checkout_request_id = ?) AND status <> 'paid'")
        .bind(status)
        .bind(ctx.reference())
        .bind(ctx.key())
        .execute(tx)
        .await?;
    Ok(())
}

/// What is known of a payout. A result is final; a timeout says only that nobody knows.
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
