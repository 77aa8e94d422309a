//! Decisions of people: reopening and dismissing.

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
    let reopened = sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work
         SET state = 0, run_at = mpesa_callbacks.now_us(), wait = 0, attempts = 0, interruptions = 0, interruptions_alone = 0, lane = 0,
             settled_at = NULL, repetition = repetition + CASE WHEN state = 2 THEN 1 ELSE 0 END, error = coalesce($3, error)
         WHERE callback_id = $1 AND state = $2 AND EXISTS (SELECT 1 FROM mpesa_callbacks.body WHERE callback_id = $1)",
    ));
    let state = i16::try_from(state_number(reopening.from)).unwrap_or(i16::MAX);
    let reopened = reopened.bind(id.number()).bind(state).bind(reopening.reason.map(text)).execute(connection).await?;
    Ok(reopened.rows_affected() == 1)
}

pub(super) async fn dismiss(pool: &PgPool, schema: &Schema, id: CallbackId) -> sqlx::Result<bool> {
    let dismissed = sqlx::query(schema.sql(
        "UPDATE mpesa_callbacks.work SET state = 2, settled_at = mpesa_callbacks.now_us() WHERE callback_id = $1 AND state >= 3",
    ));
    let mut session = Session::acquire(pool).await?;
    Ok(dismissed.bind(id.number()).execute(&mut *session).await?.rows_affected() == 1)
}
