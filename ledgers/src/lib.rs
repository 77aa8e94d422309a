//! Effects exactly once in the application's own database, for `mpesa-callbacks`. One module per database library, a
//! feature for each database.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(any(feature = "sqlx-mysql-tx", feature = "sqlx-postgres-tx", feature = "sqlx-sqlite-tx"))]
pub mod sqlx;
