//! Everything that a request may read and change.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use mpesa_callbacks_core::Kind;

use crate::bank::Bank;
use crate::bodies::{Ids, Json};
use crate::post::{Act, Clock, Event, Journal, Post, Queue};
use crate::script::{Fault, Rules, transmissions};

/// How a simulator behaves, from its builder.
#[derive(Clone, Debug)]
pub(crate) struct Behaviour {
    pub(crate) seed: u64,
    /// As production: strict about URLs, no simulation of payments.
    pub(crate) is_production: bool,
    /// Phones ring until a person answers.
    pub(crate) is_interactive: bool,
    /// Every push is reported by C2B, too.
    pub(crate) confirms_pushes: bool,
    /// `key:secret`; `None` takes any.
    pub(crate) credentials: Option<String>,
    /// The client in `X-Forwarded-For` of callbacks.
    pub(crate) forwarded_for: Option<IpAddr>,
    /// How long an application may take to answer a validation.
    pub(crate) validation_deadline: Duration,
}

/// The state of a simulator.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) behaviour: Behaviour,
    pub(crate) clock: Clock,
    pub(crate) ids: Ids,
    pub(crate) bank: Bank,
    pub(crate) rules: Rules,
    pub(crate) queue: Queue,
    pub(crate) journal: Journal,
    /// Access tokens, and when they expire.
    pub(crate) tokens: HashMap<String, Duration>,
    pub(crate) forward_to: Option<SocketAddr>,
    pub(crate) hosts: HashMap<String, SocketAddr>,
    /// Number of the exchange that is being taken.
    pub(crate) exchange: usize,
    /// Callbacks that are posted before the answer.
    pub(crate) early: Vec<Event>,
}

/// A callback as it would be posted without faults.
#[derive(Clone, Debug)]
pub(crate) struct Planned {
    pub(crate) kind: Kind,
    pub(crate) url: String,
    pub(crate) short_code: String,
    pub(crate) body: Json,
    /// The same in other words.
    pub(crate) variant: Json,
    /// Delay after the request.
    pub(crate) after: Duration,
}

impl State {
    pub(crate) fn new(clock: Clock, behaviour: Behaviour) -> State {
        State {
            ids: Ids::new(behaviour.seed),
            behaviour,
            clock,
            bank: Bank::new(),
            rules: Rules::default(),
            queue: Queue::default(),
            journal: Journal::default(),
            tokens: HashMap::new(),
            forward_to: None,
            hosts: HashMap::new(),
            exchange: 0,
            early: Vec::new(),
        }
    }

    /// Forgets everything that has happened, and the rules.
    pub(crate) fn reset(&mut self) {
        let fresh = State::new(self.clock, self.behaviour.clone());
        let (forward_to, hosts) = (self.forward_to, std::mem::take(&mut self.hosts));
        *self = State { forward_to, hosts, ..fresh };
    }

    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Returns the time of day after a delay, in seconds since 1970.
    pub(crate) fn unix_in(&self, delay: Duration) -> i64 {
        self.clock.unix(self.now() + delay)
    }

    /// Adds an event to the exchange that is being taken.
    pub(crate) fn later(&mut self, delay: Duration, act: Act) {
        let event = Event { exchange: self.exchange, act };
        self.queue.add(self.now() + delay, event);
    }

    /// Schedules a callback, with what its faults make of it.
    pub(crate) fn plan(&mut self, planned: &Planned, faults: &[Fault]) {
        let transmissions = transmissions(faults);
        if transmissions.is_empty() {
            // Time moves to it all the same, so that queries tell it.
            self.later(planned.after, Act::Silence);
        }
        for one in transmissions {
            let body = if one.is_variant { planned.variant.to_string() } else { planned.body.to_string() };
            let post = Post {
                kind: planned.kind.clone(),
                url: planned.url.clone(),
                body: if faults.contains(&Fault::Malformed) { first_half(body) } else { body },
                short_code: planned.short_code.clone(),
                times: one.times,
                is_slow: faults.contains(&Fault::Slow),
            };
            match one.delay {
                Some(delay) => self.later(planned.after + delay, Act::Post(post)),
                None => self.early.push(Event { exchange: self.exchange, act: Act::Post(post) }),
            }
        }
    }
}

fn first_half(mut body: String) -> String {
    let half = (0..=body.len() / 2).rev().find(|at| body.is_char_boundary(*at)).unwrap_or_default();
    body.truncate(half);
    body
}
