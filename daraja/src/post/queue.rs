//! Events in the order of their time.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use mpesa_callbacks_core::Kind;

use crate::bank::Registration;
use crate::bodies::CustomerPayment;
use crate::script::Fault;

/// Something that happens later.
#[derive(Clone, Debug)]
pub(crate) struct Event {
    /// The exchange that it belongs to.
    pub(crate) exchange: usize,
    pub(crate) act: Act,
}

/// What happens.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A callback is posted.
    Post(Post),
    /// A customer's payment is validated, and confirmed unless it was rejected.
    Validate(Box<Payment>),
    /// Bill Manager posts a payment until it is acknowledged: the attempt, from 1.
    Bill(Post, u32),
    /// A prompt without an answer disappears.
    Expire(String),
    /// Something happens, and no callback reports it.
    Silence,
}

/// A customer's payment on its way.
#[derive(Clone, Debug)]
pub(crate) struct Payment {
    pub(crate) payment: CustomerPayment,
    pub(crate) registration: Registration,
    pub(crate) faults: Vec<Fault>,
}

/// A callback on its way.
#[derive(Clone, Debug)]
pub(crate) struct Post {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) body: String,
    pub(crate) short_code: String,
    /// Number of connections that bring it at once.
    pub(crate) times: usize,
    /// The body takes four seconds.
    pub(crate) is_slow: bool,
}

/// Events by time; those of one moment in the order in which they were added.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    order: BinaryHeap<Reverse<(Duration, u64)>>,
    events: HashMap<u64, Event>,
    added: u64,
}

impl Queue {
    pub(crate) fn add(&mut self, due: Duration, event: Event) {
        self.order.push(Reverse((due, self.added)));
        self.events.insert(self.added, event);
        self.added += 1;
    }

    /// Returns when the next event is due.
    pub(crate) fn due(&self) -> Option<Duration> {
        self.order.peek().map(|Reverse((due, _))| *due)
    }

    /// Takes the next event that is due by then.
    pub(crate) fn next_by(&mut self, by: Duration) -> Option<(Duration, Event)> {
        if self.due()? > by {
            return None;
        }
        let Reverse((due, number)) = self.order.pop()?;
        Some((due, self.events.remove(&number)?))
    }
}
