//! Repeating what the server aborted, or what a cut connection left open.

use std::time::Duration;

use sqlx::error::DatabaseError;

/// Repeats a transaction that the server aborted to break a deadlock. (A function with an async closure
/// would return futures that are not `Send`.)
macro_rules! retry_on_deadlock {
    ($work:expr) => {{
        let mut tries = 1;
        loop {
            match $work.await {
                Err(error) if $crate::retry::is_deadlock(&error) && tries < $crate::retry::MAX_TRIES => {
                    tries += 1;
                    tokio::time::sleep($crate::retry::RETRY_MAX_DELAY.mul_f64(fastrand::f64())).await;
                }
                done => break done,
            }
        }
    }};
}

/// Maximum number of tries of a transaction after a deadlock or a cut connection. Repeating is safe: a
/// commit whose answer was lost is found by its digest.
pub(crate) const MAX_TRIES: u32 = 20;

/// Maximum delay before the next try, with full jitter.
pub(crate) const RETRY_MAX_DELAY: Duration = Duration::from_millis(25);

/// Key of the advisory lock that recorders take after a deadlock: `MPCR`.
pub(crate) const RETRY_LOCK: i64 = 0x4d50_4352;

/// No retry after this long.
pub(crate) const RETRY_PERIOD: Duration = Duration::from_secs(5);

/// Returns whether the error is transient, so that a retry on another connection may succeed.
pub(crate) fn is_transient(error: &sqlx::Error) -> bool {
    match error {
        sqlx::Error::Io(_) => true,
        // Serialization failure, deadlock, lock timeout; the server is shutting down.
        sqlx::Error::Database(error) => {
            error.code().is_some_and(|code| ["40001", "40P01", "55P03", "57P01", "57P02"].contains(&&*code))
        }
        _ => false,
    }
}

pub(crate) fn is_deadlock(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(DatabaseError::code).is_some_and(|code| code == "40P01")
}
