//! Where `mpesa-callbacks` keeps callbacks. One module per database, each behind the feature of its name; all of them
//! keep the contract of [`mpesa_callbacks_core::store::Store`] as `mpesa-callbacks-conformance` checks it.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(feature = "postgres")]
pub mod postgres;

#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod words;
