//! Callbacks as a developer reads them by hand: `serde_json`, derived.

mod others;

mod stk;

pub use self::others::{B2bExpress, BillManager, C2b, Lipia, Ratiba, Transaction};
pub use self::stk::Stk;
