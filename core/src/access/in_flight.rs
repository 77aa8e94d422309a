//! Limits requests in flight. Each class of senders has permits of its own, so that none can block
//! another.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::payload::Digest;

/// Maximum number of requests in flight, per class of senders.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InFlightLimits {
    /// Requests with the secret.
    pub(crate) by_secret: usize,
    /// Of these, per client IP. Default: no limit, because Safaricom calls from few addresses, and
    /// through a proxy from one.
    pub(crate) per_source: Option<usize>,
    /// C2B validations, which wait for a handler.
    pub(crate) validations: usize,
    /// Requests with a per-payment URL, in total.
    pub(crate) by_token: usize,
}

/// Requests per reference. Daraja sends one, sometimes two.
const MAX_PER_REFERENCE: usize = 4;

impl InFlightLimits {
    /// `by_secret` requests with the secret, half as many with per-payment URLs, a quarter as many
    /// validations.
    pub(crate) fn new(by_secret: usize) -> InFlightLimits {
        InFlightLimits {
            by_secret,
            per_source: None,
            validations: (by_secret / 4).max(1),
            by_token: (by_secret / 2).max(1),
        }
    }
}

/// A class of senders.
#[derive(Clone, Copy, Debug)]
pub(super) enum Sender<'a> {
    /// A sender with the secret.
    Secret(Option<IpAddr>),
    /// A sender with the secret and a C2B validation.
    Validation,
    /// A sender with the per-payment URL of this reference.
    Token(&'a str),
}

/// The limiter. Only authenticated requests take a permit.
#[derive(Clone, Debug)]
pub(crate) struct InFlightLimiter {
    limits: InFlightLimits,
    taken: Arc<Mutex<Taken>>,
}

#[derive(Debug, Default)]
struct Taken {
    by_secret: usize,
    validations: usize,
    by_token: usize,
    by_name: HashMap<Name, usize>,
}

/// Senders that are counted individually.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Name {
    Source(IpAddr),
    Reference(Digest),
}

/// A permit; returned when dropped.
#[derive(Debug)]
pub(crate) struct InFlightPermit {
    sort: Sort,
    name: Option<Name>,
    limiter: InFlightLimiter,
}

#[derive(Clone, Copy, Debug)]
enum Sort {
    Secret,
    Validation,
    Token,
}

impl InFlightLimiter {
    pub(crate) fn new(limits: InFlightLimits) -> InFlightLimiter {
        InFlightLimiter { limits, taken: Arc::default() }
    }

    /// Takes a permit, or returns `None` if the limit of the sender's class, its client IP or its
    /// reference is reached.
    pub(super) fn take(&self, sender: Sender<'_>) -> Option<InFlightPermit> {
        let InFlightLimits { by_secret, per_source, validations, by_token } = self.limits;
        let (sort, limit, name) = match sender {
            Sender::Secret(client_ip) => {
                let name =
                    per_source.zip(client_ip.map(site)).map(|(limit, client_ip)| (Name::Source(client_ip), limit));
                (Sort::Secret, by_secret, name)
            }
            Sender::Validation => (Sort::Validation, validations, None),
            Sender::Token(reference) => {
                let name = Name::Reference(Digest::of(reference.as_bytes()));
                (Sort::Token, by_token, Some((name, MAX_PER_REFERENCE)))
            }
        };
        let mut taken = self.taken();
        if *taken.of(sort) >= limit {
            return None;
        }
        if let Some((name, limit)) = name {
            let count = taken.by_name.entry(name).or_default();
            if *count >= limit {
                return None;
            }
            *count += 1;
        }
        *taken.of(sort) += 1;
        Some(InFlightPermit { sort, name: name.map(|(name, _)| name), limiter: self.clone() })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    fn of(&mut self, sort: Sort) -> &mut usize {
        match sort {
            Sort::Secret => &mut self.by_secret,
            Sort::Validation => &mut self.validations,
            Sort::Token => &mut self.by_token,
        }
    }
}

/// An IPv6 client usually controls its whole /64 network.
fn site(client_ip: IpAddr) -> IpAddr {
    match client_ip {
        IpAddr::V4(_) => client_ip,
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6([a, b, c, d, 0, 0, 0, 0].into())
        }
    }
}

impl Drop for InFlightPermit {
    fn drop(&mut self) {
        let mut taken = self.limiter.taken();
        *taken.of(self.sort) -= 1;
        let Some(name) = self.name else { return };
        if let Some(count) = taken.by_name.get_mut(&name) {
            *count -= 1;
            if *count == 0 {
                taken.by_name.remove(&name);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_limited_in_all_and_from_one_source_and_given_back() {
        let places = InFlightLimiter::new(InFlightLimits { per_source: Some(2), ..InFlightLimits::new(3) });
        let take = |client_ip: &str| places.take(Sender::Secret(client_ip.parse().ok()));
        let first = take("2001:db8::1");
        let second = take("2001:db8::2");
        assert!(first.is_some() && second.is_some() && take("2001:db8::3").is_none());
        let third = take("192.0.2.2");
        assert!(third.is_some() && take("192.0.2.3").is_none() && take("unknown").is_none());
        drop(first);
        assert!(take("2001:db8::1").is_some());
        drop((second, third));
        let taken = places.taken();
        assert!(taken.by_secret == 0 && taken.by_name.is_empty());
    }

    #[test]
    fn one_source_may_have_all_places_unless_a_limit_is_configured() {
        let places = InFlightLimiter::new(InFlightLimits::new(300));
        let client_ip = "192.0.2.1".parse().ok();
        let taken: Vec<_> = (0..300).filter_map(|_| places.take(Sender::Secret(client_ip))).collect();
        assert_eq!(taken.len(), 300);
    }

    #[test]
    fn neither_validations_nor_urls_of_payments_keep_out_anybody_else() {
        let places = InFlightLimiter::new(InFlightLimits::new(8));
        let validations: Vec<_> = (0..20).filter_map(|_| places.take(Sender::Validation)).collect();
        let leaked: Vec<_> = (0..20).filter_map(|_| places.take(Sender::Token("leaked"))).collect();
        assert_eq!((validations.len(), leaked.len()), (2, MAX_PER_REFERENCE));
        let confirmations: Vec<_> = (0..20).filter_map(|_| places.take(Sender::Secret(None))).collect();
        assert_eq!(confirmations.len(), 8);
        drop(leaked);
        assert!(places.take(Sender::Token("another")).is_some());
        assert!(places.taken().by_name.is_empty());
    }
}
