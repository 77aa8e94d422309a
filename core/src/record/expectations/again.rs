//! Looking again for callbacks and expectations that were recorded at the same moment.
//!
//! Each is compared with the other right after it was recorded. If that comparison fails, or the
//! process ends before it, neither has seen the other. The maintenance then compares again.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use crate::store::CallbackId;

/// Which callbacks must be compared again.
#[derive(Debug)]
pub(crate) struct LookAgain(Mutex<Known>);

#[derive(Debug)]
struct Known {
    pending: Pending,
    /// The newest callback that this process has recorded. Ids grow in the order of recording; times of
    /// receipt do not, if a clock is set back or a spool is replayed.
    newest: Option<CallbackId>,
    started: SystemTime,
}

/// The callbacks to compare; by default none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// It is not known how the previous process ended, which was before this time.
    pub(crate) at_start: Option<SystemTime>,
    /// This callback and all that were recorded after it.
    pub(crate) from: Option<CallbackId>,
}

impl LookAgain {
    pub(crate) fn new(started: SystemTime) -> LookAgain {
        let pending = Pending { at_start: Some(started), from: None };
        LookAgain(Mutex::new(Known { pending, newest: None, started }))
    }

    /// Returns the callbacks to compare if a batch that is recorded now is not compared.
    pub(crate) fn later_callbacks(&self) -> Pending {
        let known = self.lock();
        Pending { at_start: known.newest.is_none().then_some(known.started), from: known.newest }
    }

    /// These were recorded.
    pub(crate) fn recorded(&self, ids: impl IntoIterator<Item = CallbackId>) {
        let mut known = self.lock();
        known.newest = known.newest.into_iter().chain(ids).max();
    }

    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut self.lock().pending)
    }

    /// Adds callbacks to compare.
    pub(crate) fn add(&self, more: Pending) {
        let pending = &mut self.lock().pending;
        pending.at_start = pending.at_start.into_iter().chain(more.at_start).min();
        pending.from = pending.from.into_iter().chain(more.from).min();
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
