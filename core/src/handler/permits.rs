//! Limits the number of concurrent handlers, in total and per kind.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Kind;

/// Permits for handlers. Each kind has a share that others cannot use, payments the largest; the
/// rest is shared. A kind with hanging handlers does not block the others.
#[derive(Debug)]
pub(crate) struct Permits {
    kinds: Vec<Kind>,
    /// Reserved permits per kind, in the order of `kinds`.
    shares: Vec<usize>,
    shared: usize,
    taken: Mutex<Vec<usize>>,
    /// Notified when a permit is returned.
    freed: Notify,
}

/// Kinds and number of callbacks that may be claimed now.
pub(crate) struct Free {
    pub(crate) kinds: Vec<Kind>,
    pub(crate) limit: usize,
    /// Whether some kinds have no permits at the moment.
    pub(crate) is_restricted: bool,
}

/// A permit; returned when dropped.
#[derive(Debug)]
pub(crate) struct HandlerPermit {
    permits: Arc<Permits>,
    at: usize,
}

impl Permits {
    /// `size` permits: a quarter for payments, a quarter for the other kinds, the rest shared. If
    /// that leaves nothing to share, all permits are shared. Kinds without a handler
    /// (implied routes) take no time and have no share.
    pub(crate) fn new(size: usize, routes: &[(Kind, bool)]) -> Permits {
        let kinds: Vec<Kind> = routes.iter().map(|(kind, _)| kind.clone()).collect();
        let handled: Vec<&Kind> = routes.iter().filter(|(_, is_handled)| *is_handled).map(|(kind, _)| kind).collect();
        let others = handled.iter().filter(|kind| ***kind != Kind::Payment).count();
        let share = |(kind, is_handled): &(Kind, bool)| match kind {
            _ if !is_handled => 0,
            Kind::Payment => size / 4,
            _ => (size / 4).checked_div(others).unwrap_or(0),
        };
        let mut shares: Vec<usize> = routes.iter().map(share).collect();
        if handled.len() < 2 || shares.iter().sum::<usize>() >= size {
            shares.fill(0);
        }
        let shared = size - shares.iter().sum::<usize>();
        Permits { taken: Mutex::new(vec![0; kinds.len()]), kinds, shares, shared, freed: Notify::new() }
    }

    /// Returns the kinds that may be claimed now, at most `most` callbacks; `None` when no permit is left.
    pub(crate) fn free(&self, most: usize) -> Option<Free> {
        let taken = self.taken();
        let shared = self.shared - self.beyond_shares(&taken);
        if shared > 0 {
            return Some(Free { kinds: self.kinds.clone(), limit: shared.min(most), is_restricted: false });
        }
        let own = |at: usize| self.shares[at].saturating_sub(taken[at]);
        let with_own: Vec<usize> = (0..self.kinds.len()).filter(|at| own(*at) > 0).collect();
        let limit = with_own.iter().map(|at| own(*at)).min()?;
        let kinds = with_own.iter().map(|at| self.kinds[*at].clone()).collect();
        Some(Free { kinds, limit: limit.min(most), is_restricted: true })
    }

    /// Takes a permit for a callback that was claimed as [`free`](Permits::free) allowed.
    pub(crate) fn take(self: &Arc<Self>, kind: &Kind) -> HandlerPermit {
        let at = self.kinds.iter().position(|other| other == kind).unwrap_or(0);
        if let Some(taken) = self.taken().get_mut(at) {
            *taken += 1;
        }
        HandlerPermit { permits: self.clone(), at }
    }

    /// Returns whether a callback of this kind could run now.
    pub(crate) fn admits(&self, kind: &Kind) -> bool {
        let taken = self.taken();
        let has_own =
            || self.kinds.iter().position(|other| other == kind).is_some_and(|at| taken[at] < self.shares[at]);
        self.beyond_shares(&taken) < self.shared || has_own()
    }

    /// Waits until a permit is returned.
    pub(crate) async fn freed(&self) {
        self.freed.notified().await;
    }

    fn beyond_shares(&self, taken: &[usize]) -> usize {
        taken.iter().zip(&self.shares).map(|(taken, share)| taken.saturating_sub(*share)).sum()
    }

    fn taken(&self) -> MutexGuard<'_, Vec<usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for HandlerPermit {
    fn drop(&mut self) {
        if let Some(taken) = self.permits.taken().get_mut(self.at) {
            *taken -= 1;
        }
        self.permits.freed.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(free: &Free) -> Vec<&str> {
        free.kinds.iter().map(Kind::name).collect()
    }

    #[test]
    fn a_kind_that_hangs_leaves_room_to_the_others_and_most_of_it_to_payments() {
        let room = Arc::new(Permits::new(16, &[Kind::Stk, Kind::Payment, Kind::B2cResult].map(|kind| (kind, true))));
        let mut hanging = Vec::new();
        while let Some(free) = room.free(64).filter(|free| free.kinds.contains(&Kind::B2cResult)) {
            hanging.extend((0..free.limit).map(|_| room.take(&Kind::B2cResult)));
        }
        assert_eq!(hanging.len(), 10);
        let free = room.free(64).unwrap();
        assert_eq!((names(&free), free.limit), (vec!["stk", "payment"], 2));
        let pushes = [room.take(&Kind::Stk), room.take(&Kind::Stk)];
        let free = room.free(64).unwrap();
        assert_eq!((names(&free), free.limit), (vec!["payment"], 4));
        let payments: Vec<_> = (0..4).map(|_| room.take(&Kind::Payment)).collect();
        assert!(room.free(64).is_none());
        drop(hanging.pop());
        let free = room.free(64).unwrap();
        assert_eq!((free.kinds.len(), free.limit, free.is_restricted), (3, 1, false));
        drop((pushes, payments, hanging));
        assert_eq!(room.free(64).unwrap().limit, 8, "what is not shared is kept for its kinds");
    }

    #[test]
    fn kinds_without_a_handler_take_nothing_from_those_with_one() {
        let room = Permits::new(16, &[(Kind::Stk, false), (Kind::Payment, true), (Kind::C2bConfirmation, false)]);
        let free = room.free(64).unwrap();
        assert_eq!((free.kinds.len(), free.limit), (3, 16));
    }

    #[test]
    fn a_single_place_is_everybodys() {
        let room = Arc::new(Permits::new(1, &[Kind::Stk, Kind::Payment].map(|kind| (kind, true))));
        let free = room.free(64).unwrap();
        assert_eq!((free.kinds.len(), free.limit), (2, 1));
        let _place = room.take(&Kind::Payment);
        assert!(room.free(64).is_none());
    }
}
