//! How many requests may be in flight: in all, from one source, and by URLs of one payment.

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
    by_token: usize,
    by_source: HashMap<IpAddr, usize>,
}

/// A place, until it is dropped.
pub(super) struct Place {
    source: Option<IpAddr>,
    is_by_token: bool,
    places: Places,
}

impl Places {
    pub(crate) fn new(limit: usize, limit_per_source: usize) -> Places {
        Places { limit, limit_per_source, taken: Arc::default() }
    }

    /// One place; none when there are too many in flight, in all or from there. Whose source is unknown counts in all only.
    /// URLs of one payment have three places in four: whoever learns one cannot keep out those who know the secret.
    pub(super) fn take(&self, source: Option<IpAddr>, is_by_token: bool) -> Option<Place> {
        let source = source.map(site);
        let mut taken = self.taken();
        if taken.all >= self.limit || is_by_token && taken.by_token >= (self.limit * 3 / 4).max(1) {
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
        taken.by_token += usize::from(is_by_token);
        Some(Place { source, is_by_token, places: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whoever has one IPv6 address has a network of them.
fn site(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V4(_) => source,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        taken.by_token -= usize::from(self.is_by_token);
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
        let take = |source: &str| places.take(source.parse().ok(), false);
        let first = take("2001:db8::1");
        let second = take("2001:db8::2");
        assert!(first.is_some() && second.is_some() && take("2001:db8::3").is_none());
        let third = take("192.0.2.2");
        assert!(third.is_some() && take("192.0.2.3").is_none() && take("unknown").is_none());
        drop(first);
        assert!(take("2001:db8::1").is_some());
        drop((second, third));
        let taken = places.taken();
        assert!(taken.all == 0 && taken.by_source.is_empty());
    }

    #[test]
    fn urls_of_one_payment_leave_room_for_the_others() {
        let places = Places::new(4, 4);
        let taken: Vec<_> = (0..4).filter_map(|_| places.take(None, true)).collect();
        assert_eq!(taken.len(), 3);
        assert!(places.take(None, false).is_some());
        drop(taken);
        assert_eq!(places.taken().by_token, 0);
    }
}
