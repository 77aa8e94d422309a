#![doc = "temporary"]
mod kind;
pub mod payload;
pub use kind::{CustomKind, Kind};
