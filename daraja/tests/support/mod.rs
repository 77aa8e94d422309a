//! A client of Daraja's API, and a shop that receives its callbacks.
#![allow(unreachable_pub, reason = "a test binary exports nothing")]

mod client;
mod shop;

pub use self::client::{Client, requests};
pub use self::shop::{Framework, Shop};
