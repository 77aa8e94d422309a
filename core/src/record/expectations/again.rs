//! Looking again for callbacks and expectations that were recorded at the same moment.
//!
//! Each is compared with the other right after it was recorded. If that comparison fails, or the
//! process ends before it, neither has seen the other. The maintenance then compares the callbacks
//! since.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::store::Delivery;

/// From when on callbacks must be compared again.
#[derive(Debug)]
pub(crate) struct LookAgain(Mutex<Since>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Since {
    /// Nothing is to be done.
    Never,
    /// Since the last callback that the previous process recorded.
    Start,
    /// Since this time of receipt.
    Time(SystemTime),
}

impl LookAgain {
    /// At the start: it is not known how the previous process ended.
    pub(crate) fn new() -> LookAgain {
        LookAgain(Mutex::new(Since::Start))
    }

    /// The comparison of a batch failed, or it is unknown whether it was recorded.
    pub(crate) fn since(&self, oldest: Option<SystemTime>) {
        if let Some(oldest) = oldest {
            self.put_back(Since::Time(oldest));
        }
    }

    pub(crate) fn take(&self) -> Since {
        std::mem::replace(&mut *self.lock(), Since::Never)
    }

    pub(crate) fn put_back(&self, since: Since) {
        let mut known = self.lock();
        *known = match (*known, since) {
            (Since::Start, _) | (_, Since::Start) => Since::Start,
            (Since::Time(known), Since::Time(since)) => Since::Time(known.min(since)),
            (Since::Never, since) | (since, Since::Never) => since,
        };
    }

    fn lock(&self) -> MutexGuard<'_, Since> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// When the oldest delivery arrived that may answer an expectation.
pub(crate) fn oldest_expectable(batch: &[Delivery]) -> Option<SystemTime> {
    let expectable = batch.iter().filter(|delivery| delivery.kind.can_be_expected());
    expectable.map(|delivery| delivery.received_at).min()
}
