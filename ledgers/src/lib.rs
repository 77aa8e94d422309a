//! Effects exactly once in the application's own database, for `mpesa-callbacks`. One module per database library, a
//! feature for each database.

#[cfg(feature = "sqlx-sqlite")]
pub mod sqlx;
