//! SQLite's errors as errors of the store.

use std::path::Path;

use mpesa_callbacks_core::store::StoreError;
use rusqlite::{Error, ErrorCode, ffi};

pub(super) fn place(path: &Path) -> String {
    path.display().to_string()
}

/// SQLite's messages name tables and columns, never values.
pub(super) fn store_error(path: &Path, error: Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            StoreError::Damaged { place: place(path), reason: error.to_string() }
        }
        Some(
            ErrorCode::ConstraintViolation
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange,
        ) => StoreError::Refused(error.into()),
        _ => StoreError::Unavailable(error.into()),
    }
}

/// After a failed fsync the kernel may have dropped pages, and may report success for the next fsync.
/// Later commits to the file cannot be relied on.
pub(super) fn is_failed_fsync(error: &Error) -> bool {
    let Error::SqliteFailure(failure, _) = error else { return false };
    matches!(failure.extended_code, ffi::SQLITE_IOERR_FSYNC | ffi::SQLITE_IOERR_DIR_FSYNC)
}
