//! From a stored callback to its end: the third page of a callback's life, one file a step.
//! Beside it the background tasks: leases, maintenance, replay of the spool, retention.

mod adopt;
mod backoff;
mod call;
mod compare_again;
mod elsewhere;
mod exit;
mod handle;
mod keys;
mod leases;
mod maintain;
mod measure;
mod overdue;
mod payment;
mod poller;
mod prepare;
mod processor;
mod replay_spool;
mod retain;
mod settle;
mod settler;
mod ticks;

pub use self::backoff::Backoff;
pub(crate) use self::leases::HeldLeases;
pub(crate) use self::maintain::maintain;
pub(crate) use self::poller::{poll, poll_suspects};
pub(crate) use self::prepare::prepare;
pub(crate) use self::processor::Processor;
pub(crate) use self::replay_spool::replay_spool;
pub(crate) use self::retain::retain;
pub(crate) use self::settler::Settler;
