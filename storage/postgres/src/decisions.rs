//! Requeuing and dismissing callbacks.

use mpesa_callbacks_core::store::{CallbackId, Requeue};
use sqlx::postgres::{PgConnection, PgPool};

use super::schema::Schema;
use super::session::Session;
use super::text;
use mpesa_callbacks_core::store::columns::state_number;

pub(super) async fn requeue(
    connection: &mut PgConnection,
    schema: &Schema,
    id: CallbackId,
    reopening: &Requeue<'_>,
) -> sqlx::Result<bool> {
    let state = i16::try_from(state_number(reopening.from)).unwrap_or(i16::MAX);
    let locked = schema
        .sql("SELECT callback_id FROM mpesa_callbacks.work WHERE callback_id = $1 AND state = $2 FOR NO KEY UPDATE");
    let locked = sqlx::query(locked).bind(id.number()).bind(state).fetch_optional(&mut *connection).await?;
    if locked.is_none() {
        return Ok(false);
    }
    // A statement of its own, which sees that a purge took the body while this waited for its lock.
    let has_body = schema.sql("SELECT EXISTS (SELECT FROM mpesa_callbacks.body WHERE callback_id = $1)");
    if !sqlx::query_scalar(has_body).bind(id.number()).fetch_one(&mut *connection).await? {
        return Ok(false);
    }
    sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work
         SET state = 0, run_at = mpesa_callbacks.now_us(), wait = 0, attempts = 0, interruptions = 0, interruptions_alone = 0, lane = 0,
             settled_at = NULL, repetition = repetition + CASE WHEN state = 2 THEN 1 ELSE 0 END, error = coalesce($2, error)
         WHERE callback_id = $1",
    ))
    .bind(id.number())
    .bind(reopening.reason.map(text))
    .execute(&mut *connection)
    .await?;
    if let Some(reference) = reopening.reference {
        let whose =
            schema.sql("UPDATE mpesa_callbacks.callback SET reference = $2 WHERE id = $1 AND reference IS NULL");
        sqlx::query(whose).bind(id.number()).bind(text(reference.as_str())).execute(connection).await?;
    }
    Ok(true)
}

pub(super) async fn dismiss(pool: &PgPool, schema: &Schema, id: CallbackId) -> sqlx::Result<bool> {
    let dismissed = sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work
         SET state = 2, settled_at = mpesa_callbacks.now_us(), run_at = NULL, error = coalesce(error, 'dismissed')
         WHERE callback_id = $1 AND (state >= 3 OR state = 0 AND kind = 'payment')",
    ));
    let mut session = Session::acquire(pool).await?;
    Ok(dismissed.bind(id.number()).execute(&mut *session).await?.rows_affected() == 1)
}

/// Writes a row, and deletes it again. Two processes do not wait for each other.
pub(super) async fn check_write(pool: &PgPool, schema: &Schema) -> sqlx::Result<()> {
    let name = format!("probe {:032x}", fastrand::u128(..));
    let mut tx = Session::begin(pool).await?;
    let insert = schema.sql("INSERT INTO mpesa_callbacks.meta (name, value) VALUES ($1, '\\x01')");
    sqlx::query(insert).bind(&name).execute(&mut *tx).await?;
    sqlx::query(schema.sql("DELETE FROM mpesa_callbacks.meta WHERE name = $1")).bind(&name).execute(&mut *tx).await?;
    tx.commit().await
}
