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
        /// File or server.
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
        /// File or server.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The database was written by a newer version of this library.
    #[error(
        "{place} has schema version {found}, and this version of the library knows up to {known}; upgrade the library"
    )]
    NewerSchema {
        /// File or server.
        place: String,
        /// Its schema version.
        found: i64,
        /// The newest schema version that this library knows.
        known: i64,
    },
    /// A setting is not durable.
    #[error("{place} is not durable: {setting} is {found}, and must be {needed}")]
    NotDurable {
        /// File or server.
        place: String,
        /// Name of the setting.
        setting: &'static str,
        /// Its value.
        found: String,
        /// The required value.
        needed: &'static str,
    },
    /// The encoding of the database cannot store all texts.
    #[error("{place} has the encoding {found}; make the database with `ENCODING 'UTF8'`")]
    Encoding {
        /// Address of the server.
        place: String,
        /// Its encoding.
        found: String,
    },
    /// The store belongs to another inbox, or to the other environment.
    #[error(
        "{place} belongs to the inbox {found}, and this one is {wanted}; give each inbox a store of its own (another file or schema), or, \
         if it is the same inbox under another name, call `.name(…)` on the builder"
    )]
    OtherOwner {
        /// File or server.
        place: String,
        /// Its owner.
        found: String,
        /// The inbox that asked for it.
        wanted: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
