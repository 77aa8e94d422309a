//! Errors of a store.

use std::error::Error;

/// An error of a database driver.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Errors of a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database is unavailable or full. Nothing was written, or the outcome is unknown. Try
    /// again.
    #[error("store unavailable")]
    Unavailable(#[source] Cause),
    /// The database refuses these rows and always will.
    #[error("store refuses the callback")]
    Refused(#[source] Cause),
    /// The database cannot be opened.
    #[error("cannot open the store at {place}")]
    Open {
        /// The file or the server of the store.
        place: String,
        /// Error of the driver.
        #[source]
        source: Cause,
    },
    /// The file is not a store, or is damaged.
    #[error(
        "{place} is not a store of callbacks, or is damaged: {reason}; restore it from a backup, or name another file"
    )]
    Damaged {
        /// The file or the server of the store.
        place: String,
        /// The mistake.
        reason: String,
    },
    /// The database was written by a newer version of this library.
    #[error(
        "{place} has schema version {found}, and this version of the library knows up to {known}; upgrade the library"
    )]
    NewerSchema {
        /// The file or the server of the store.
        place: String,
        /// The schema version that was found.
        found: i64,
        /// The newest schema version that this library knows.
        known: i64,
    },
    /// A setting is not durable.
    #[error("{place} is not durable: {setting} is {found}, and must be {needed}")]
    NotDurable {
        /// The file or the server of the store.
        place: String,
        /// Name of the setting.
        setting: &'static str,
        /// The value that was found.
        found: String,
        /// The value that durability needs.
        needed: &'static str,
    },
    /// The encoding of the database cannot store all texts.
    #[error("{place} has the encoding {found}; make the database with `ENCODING 'UTF8'`")]
    Encoding {
        /// Address of the server.
        place: String,
        /// The encoding that was found.
        found: String,
    },
    /// The store belongs to another inbox, or to the other environment.
    #[error(
        "{place} belongs to the inbox {found}, and this one is {wanted}; give each inbox a store of its own (another file or schema), or, \
         if it is the same inbox under another name, call `.name(…)` on the builder"
    )]
    OtherOwner {
        /// The file or the server of the store.
        place: String,
        /// The name and environment of the inbox that owns it.
        found: String,
        /// The inbox that tried to use it.
        wanted: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
