//! Opens the schema: checks durability and migrates.

use std::sync::atomic::{AtomicBool, Ordering};

use mpesa_callbacks_core::store::StoreError;
use sqlx::postgres::{PgConnection, PgPool};
use sqlx::{Executor, Row};

use super::schema::Schema;
use super::session::Session;

/// Migrations in order. `meta` contains the number of those that were run.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001_callbacks.sql")];

/// Key of the advisory lock of processes that start at once: `MPCB`.
const MIGRATION_LOCK: i64 = 0x4d50_4342;

const PLACE: &str = "the PostgreSQL server";

/// Checks and migrates the schema, and returns its HMAC key.
pub(super) async fn open(
    pool: &PgPool,
    schema: &Schema,
    owner: Option<&str>,
    has_purged: &AtomicBool,
) -> Result<Vec<u8>, StoreError> {
    let mut tx = Session::begin_with(pool, "BEGIN").await.map_err(store_error)?;
    check_durable(&mut tx).await?;
    migrate(&mut tx, schema).await?;
    if let Some(owner) = owner {
        adopt(&mut tx, schema, owner).await?;
    }
    let hmac_key = sqlx::query_scalar(schema.sql("SELECT value FROM mpesa_callbacks.meta WHERE name = 'hmac_key'"));
    let hmac_key = hmac_key.fetch_one(&mut *tx).await.map_err(store_error)?;
    let purged =
        sqlx::query_scalar(schema.sql("SELECT EXISTS (SELECT FROM mpesa_callbacks.meta WHERE name = 'purged')"));
    has_purged.store(purged.fetch_one(&mut *tx).await.map_err(store_error)?, Ordering::Relaxed);
    tx.commit().await.map_err(store_error)?;
    Ok(hmac_key)
}

/// Checks the server's durability and encoding.
async fn check_durable(connection: &mut PgConnection) -> Result<(), StoreError> {
    let settings = sqlx::query(
        "SELECT current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
                pg_is_in_recovery()::text AS standby, current_setting('server_encoding') AS encoding",
    );
    let settings = settings.fetch_one(connection).await.map_err(store_error)?;
    let found: String = settings.try_get("encoding").map_err(store_error)?;
    if found != "UTF8" {
        return Err(StoreError::Encoding { place: PLACE.to_owned(), found });
    }
    for (setting, wrong, needed) in
        [("fsync", "off", "on"), ("synchronous_commit", "off", "on"), ("standby", "true", "false")]
    {
        let found: String = settings.try_get(setting).map_err(store_error)?;
        if found == wrong {
            return Err(StoreError::NotDurable { place: PLACE.to_owned(), setting, found, needed });
        }
    }
    Ok(())
}

/// Runs the missing migrations in one transaction, one process after the other.
async fn migrate(connection: &mut PgConnection, schema: &Schema) -> Result<(), StoreError> {
    sqlx::query("SELECT pg_advisory_xact_lock($1)")
        .bind(MIGRATION_LOCK)
        .execute(&mut *connection)
        .await
        .map_err(store_error)?;
    let known = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let is_there: bool = sqlx::query_scalar(schema.sql("SELECT to_regclass('mpesa_callbacks.meta') IS NOT NULL"))
        .fetch_one(&mut *connection)
        .await
        .map_err(store_error)?;
    let found: i64 = match is_there {
        true => sqlx::query_scalar(
            schema.sql("SELECT convert_from(value, 'UTF8')::bigint FROM mpesa_callbacks.meta WHERE name = 'version'"),
        )
        .fetch_one(&mut *connection)
        .await
        .map_err(store_error)?,
        false => 0,
    };
    if found > known {
        return Err(StoreError::NewerSchema { place: PLACE.to_owned(), found, known });
    }
    if found == known {
        return Ok(());
    }
    for migration in &MIGRATIONS[usize::try_from(found).unwrap_or(0)..] {
        connection.execute(sqlx::raw_sql(schema.sql(migration))).await.map_err(store_error)?;
    }
    let mut key = [0; 32];
    getrandom::fill(&mut key).map_err(|error| StoreError::Unavailable(error.into()))?;
    sqlx::query(schema.sql(
        "INSERT INTO mpesa_callbacks.meta (name, value) VALUES ('hmac_key', $1), ('version', convert_to($2, 'UTF8'))
         ON CONFLICT (name) DO UPDATE SET value = excluded.value WHERE excluded.name = 'version'",
    ))
    .bind(&key[..])
    .bind(known.to_string())
    .execute(connection)
    .await
    .map_err(store_error)?;
    Ok(())
}

/// Sets the owner of the schema unless there is one.
pub(super) async fn adopt(connection: &mut PgConnection, schema: &Schema, wanted: &str) -> Result<(), StoreError> {
    let adopt = sqlx::query(schema.sql(
        "INSERT INTO mpesa_callbacks.meta (name, value) VALUES ('owner', convert_to($1, 'UTF8')) ON CONFLICT (name) DO NOTHING",
    ));
    let find = schema.sql("SELECT convert_from(value, 'UTF8') FROM mpesa_callbacks.meta WHERE name = 'owner'");
    let found: Option<String> = sqlx::query_scalar(find).fetch_optional(&mut *connection).await.map_err(store_error)?;
    let found = match found {
        Some(found) => found,
        None => {
            adopt.bind(wanted).execute(&mut *connection).await.map_err(store_error)?;
            let find = schema.sql("SELECT convert_from(value, 'UTF8') FROM mpesa_callbacks.meta WHERE name = 'owner'");
            sqlx::query_scalar(find).fetch_one(&mut *connection).await.map_err(store_error)?
        }
    };
    if found == wanted {
        return Ok(());
    }
    let place = format!("{PLACE}'s schema `{}`", schema.name());
    Err(StoreError::OtherOwner { place, found, wanted: wanted.to_owned() })
}

/// Converts the server's errors. Their messages contain tables and columns; the details contain values,
/// and sqlx does not display those.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match &error {
        sqlx::Error::PoolClosed => StoreError::Closed,
        // Constraint violations, values that a column refuses, and keys that an index refuses.
        sqlx::Error::Database(database)
            if database.code().is_some_and(|code| ["22", "23", "54"].iter().any(|class| code.starts_with(class))) =>
        {
            StoreError::Refused(error.into())
        }
        _ => StoreError::Unavailable(error.into()),
    }
}
