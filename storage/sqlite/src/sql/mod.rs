//! The statements. They run inside a transaction of the writing thread, or on a reading connection.

mod record;

mod claims;

mod queries;

mod purge;

mod decisions;

use std::time::Duration;

pub(super) use self::claims::{
    Asked, claim, is_ahead, is_due, is_expired, put_off_anew, reclaim_expired, renew, settle_all,
};
pub(super) use self::decisions::{OwnedRequeue, adopt, check_write, dismiss, owner, requeue};
pub(super) use self::purge::{excess_quarantined, purge, purgeable, trim_quarantine};
pub(super) use self::queries::{depth, find, get, list, waiting};
pub(super) use self::record::{find_decision, record_all};
use mpesa_callbacks_core::store::columns::span;

fn later(now: i64, by: Duration) -> i64 {
    now.saturating_add(span(by))
}
