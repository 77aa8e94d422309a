//! What can go wrong in a store.

use std::error::Error;

/// Whatever a database reports.
pub type Cause = Box<dyn Error + Send + Sync>;

/// What can go wrong in a store.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The database cannot be reached, or is out of room; nothing was written, or the outcome is unknown. Try again.
    #[error("store unavailable")]
    Unavailable(#[source] Cause),
    /// The database refuses these rows and always will.
    #[error("store refuses the callback")]
    Refused(#[source] Cause),
    /// The database cannot be opened.
    #[error("cannot open the store at {place}")]
    Open {
        /// Which file or server.
        place: String,
        /// Why.
        #[source]
        source: Cause,
    },
    /// The file is not a store, or is damaged.
    #[error(
        "{place} is not a store of callbacks, or is damaged: {reason}; restore it from a backup, or name another file"
    )]
    Damaged {
        /// Which file or server.
        place: String,
        /// What was found.
        reason: String,
    },
    /// The database was written by a newer version of this library.
    #[error(
        "{place} has schema version {found}, and this version of the library knows up to {known}; upgrade the library"
    )]
    NewerSchema {
        /// Which file or server.
        place: String,
        /// Its version.
        found: i64,
        /// The newest that this library knows.
        known: i64,
    },
    /// A setting that durability hangs on is not what it must be.
    #[error("{place} is not durable: {setting} is {found}, and must be {needed}")]
    NotDurable {
        /// Which file or server.
        place: String,
        /// The setting.
        setting: &'static str,
        /// What it is.
        found: String,
        /// What it must be.
        needed: &'static str,
    },
    /// The database's encoding has no room for all that a callback may say.
    #[error("{place} has the encoding {found}; make the database with `ENCODING 'UTF8'`")]
    Encoding {
        /// Which server.
        place: String,
        /// Its encoding.
        found: String,
    },
    /// The store belongs to another inbox, or to one of the other environment.
    #[error(
        "{place} belongs to the inbox {found}, and this one is {wanted}; give each inbox a store of its own (another file or schema), or, \
         where it is the same inbox under another name, say `.name(…)`"
    )]
    OtherOwner {
        /// Which file or server.
        place: String,
        /// Whose it is.
        found: String,
        /// Who asked for it.
        wanted: String,
    },
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}
