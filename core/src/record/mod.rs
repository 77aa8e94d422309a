//! Step 4: making a delivery durable, and the consequences: wake the poller, call hooks.

mod after_record;
mod breaker;
mod budget;
mod decisions;
mod delivery;
mod error;
mod expectations;
mod group_commit;
mod quarantine;
mod ready;
mod recorder;
mod release;
mod spool;

pub(crate) use self::budget::Budgets;
pub(crate) use self::decisions::PendingDecisions;
pub(crate) use self::delivery::{delivery_of, quarantined};
pub(crate) use self::error::RecordError;
pub(crate) use self::expectations::{
    Answers, Asked, Expecting, LookAgain, Pending, is_withdrawal, names, objection_to_payment, was_taken,
};
pub(crate) use self::group_commit::{CommitQueue, record_expecting};
pub(crate) use self::quarantine::{Quarantine, QuarantineLimits};
pub(crate) use self::ready::Ready;
pub(crate) use self::recorder::{Decided, RecordedDelivery, Recorder};
pub(crate) use self::release::waits_for_expectation;
pub(crate) use self::spool::Spooling;
