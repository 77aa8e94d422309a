//! Helpers for asynchronous tasks.

mod detach_on_drop;
mod drain_ready;

pub(crate) use self::detach_on_drop::DetachOnDrop;
pub(crate) use self::drain_ready::drain_ready;
