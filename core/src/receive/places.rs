//! How many requests may be in flight: in all, and from one source.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places there are, and who has them. Only requests that were let in take one.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    limit: usize,
    limit_per_source: usize,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    source: Option<IpAddr>,
    places: Places,
}

impl Places {
    pub(crate) fn new(limit: usize, limit_per_source: usize) -> Places {
        Places { limit, limit_per_source, taken: Arc::default() }
    }

    /// One place; none when there are too many in flight, in all or from there. Whose source is unknown counts in all only.
    pub(super) fn take(&self, source: Option<IpAddr>) -> Option<Place> {
        let mut taken = self.taken();
        if taken.all >= self.limit {
            return None;
        }
        if let Some(source) = source {
            let count = taken.by_source.entry(source).or_default();
            if *count >= self.limit_per_source {
                return None;
            }
            *count += 1;
        }
        taken.all += 1;
        Some(Place { source, places: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        let Some(source) = self.source else { return };
        if let Some(count) = taken.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                taken.by_source.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_from_one_source_and_given_back() {
        let places = Places::new(3, 2);
        let [here, there] = ["192.0.2.1", "192.0.2.2"].map(|source| source.parse().ok());
        let first = places.take(here);
        let second = places.take(here);
        assert!(first.is_some() && second.is_some() && places.take(here).is_none());
        let third = places.take(there);
        assert!(third.is_some() && places.take(there).is_none() && places.take(None).is_none());
        drop(first);
        assert!(places.take(here).is_some());
        drop((second, third));
        let taken = places.taken();
        assert!(taken.all == 0 && taken.by_source.is_empty());
    }
}
