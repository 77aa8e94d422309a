//! What moves the simulator: requests, and time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use mpesa_callbacks_core::Kind;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::api::{self, Request};
use crate::bodies::CustomerPayment;
use crate::post::{Act, Callback, Clock, Event, Followers, Happening, Payment, Post, Target, post};
use crate::state::{Behaviour, State};

/// How long Daraja waits for the response to a callback. Reported by the community; the documentation
/// gives no figure.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(30);

/// M-Pesa waits "less than 8 seconds" for the answer to a validation (Daraja 3.0, register URL).
pub(crate) const VALIDATION_DEADLINE: Duration = Duration::from_secs(8);

/// From a validation to its confirmation.
const CONFIRMATION_DELAY: Duration = Duration::from_millis(300);

/// Bill Manager tries five times (Daraja 3.0, Bill Manager). The pause is not documented.
const BILL_ATTEMPTS: u32 = 5;
const BILL_PAUSE: Duration = Duration::from_secs(60);

/// The simulator.
#[derive(Debug)]
pub(crate) struct World {
    state: Mutex<State>,
    /// Something was added to the queue.
    pub(crate) added: Notify,
    pub(crate) followers: Followers,
    /// One event happens at a time, so that the order is that of the queue.
    turn: tokio::sync::Mutex<()>,
}

impl World {
    pub(crate) fn new(clock: Clock, behaviour: Behaviour) -> World {
        let state = Mutex::new(State::new(clock, behaviour));
        World { state, added: Notify::new(), followers: Followers::new(), turn: tokio::sync::Mutex::default() }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request: answers it, after the callbacks that come before the answer.
    pub(crate) async fn take(&self, request: Request) -> (u16, String) {
        let (number, answer, early) = {
            let mut state = self.state();
            let now = state.now();
            state.exchange = state.journal.request(now, &request.path, &request.body);
            let answer = api::take(&mut state, &request);
            let number = state.exchange;
            state.journal.answer(number, answer.status, &answer.body);
            (number, answer, std::mem::take(&mut state.early))
        };
        self.added.notify_one();
        for event in early {
            self.happen(event).await;
        }
        self.tell(number);
        (answer.status, answer.body)
    }

    /// Lets something happen without a request of the application.
    pub(crate) fn act<T>(&self, name: &str, act: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let now = state.now();
        state.exchange = state.journal.request(now, name, b"");
        let number = state.exchange;
        let done = act(&mut state);
        drop(state);
        self.tell(number);
        self.added.notify_one();
        done
    }

    fn tell(&self, number: usize) {
        let exchange = self.state().journal.get(number).cloned();
        if let Some(exchange) = exchange {
            self.followers.tell(Happening::Exchange(exchange));
        }
    }

    /// Lets the next event happen that is due by then; returns the callback, if it posted one.
    /// Virtual time moves to the event.
    pub(crate) async fn step(&self, by: Duration) -> Option<Option<Callback>> {
        let _turn = self.turn.lock().await;
        let event = {
            let mut state = self.state();
            let (due, event) = state.queue.next_by(by)?;
            state.clock.move_to(due);
            event
        };
        Some(self.happen(event).await)
    }

    async fn happen(&self, event: Event) -> Option<Callback> {
        let Event { exchange, act } = event;
        match act {
            Act::Post(post) => Some(self.post(exchange, post, RESPONSE_DEADLINE).await),
            Act::Validate(payment) => Some(self.validate(exchange, *payment).await),
            Act::Bill(post, attempt) => Some(self.bill(exchange, post, attempt).await),
            Act::Silence => None,
            Act::Expire(id) => {
                let mut state = self.state();
                state.exchange = exchange;
                api::expire(&mut state, &id);
                None
            }
        }
    }

    /// Posts a callback, perhaps over several connections, and returns the first response.
    async fn post(&self, exchange: usize, sent: Post, deadline: Duration) -> Callback {
        let (to, at) = {
            let state = self.state();
            let to = Target::of(&sent.url, state.forward_to, &state.hosts);
            let forwarded_for = state.behaviour.forwarded_for;
            (to.map(|to| Target { forwarded_for, ..to }), state.now())
        };
        let mut posting = JoinSet::new();
        for _ in 0..sent.times {
            let (sent, to) = (sent.clone(), to.clone());
            posting.spawn(async move {
                let began = Instant::now();
                let (status, response) = match to {
                    Ok(to) => post(&to, &sent, deadline).await,
                    Err(reason) => (None, reason),
                };
                (Callback { kind: sent.kind, at, url: sent.url, body: sent.body, status, response }, began.elapsed())
            });
        }
        let mut first = None;
        while let Some(posted) = posting.join_next().await {
            if let Ok((callback, took)) = posted {
                self.state().journal.callback(exchange, callback.clone());
                self.followers.tell(Happening::Callback { exchange, callback: callback.clone(), took });
                first.get_or_insert(callback);
            }
        }
        first.unwrap_or_else(|| Callback {
            kind: sent.kind,
            at,
            url: sent.url,
            body: sent.body,
            status: None,
            response: "the simulator failed".to_owned(),
        })
    }

    /// Requests the decision on a payment, and confirms it unless it was rejected. Without an answer in
    /// time, the `ResponseType` of the registration decides.
    async fn validate(&self, exchange: usize, payment: Payment) -> Callback {
        let Payment { mut payment, registration, faults } = payment;
        let sent = Post {
            kind: Kind::C2bValidation,
            url: registration.validation_url.clone(),
            body: CustomerPayment { balance: None, ..payment.clone() }.body().to_string(),
            short_code: payment.short_code.clone(),
            times: 1,
            is_slow: false,
        };
        let deadline = self.state().behaviour.validation_deadline;
        let callback = self.post(exchange, sent, deadline).await;
        let decision = decision(&callback);
        let is_accepted = decision.as_ref().map_or(registration.completes, |(is_accepted, _)| *is_accepted);
        if is_accepted {
            payment.third_party_trans_id = decision.and_then(|(_, id)| id).unwrap_or_default();
            let mut state = self.state();
            state.exchange = exchange;
            api::confirm(&mut state, &payment, &registration, &faults, CONFIRMATION_DELAY);
            drop(state);
            self.added.notify_one();
        }
        callback
    }

    /// Posts a payment of Bill Manager, and again later unless it was acknowledged.
    async fn bill(&self, exchange: usize, sent: Post, attempt: u32) -> Callback {
        let callback = self.post(exchange, sent.clone(), RESPONSE_DEADLINE).await;
        if !callback.is_acknowledged() && attempt < BILL_ATTEMPTS {
            let mut state = self.state();
            state.exchange = exchange;
            state.later(BILL_PAUSE, Act::Bill(sent, attempt + 1));
            drop(state);
            self.added.notify_one();
        }
        callback
    }
}

/// Returns whether a validation was accepted, and its `ThirdPartyTransID`; `None` without an answer.
fn decision(callback: &Callback) -> Option<(bool, Option<String>)> {
    callback.status.filter(|status| *status == 200)?;
    let answer: serde_json::Value = serde_json::from_str(&callback.response).ok()?;
    let code = answer.get("ResultCode")?;
    let is_accepted = code.as_str() == Some("0") || code.as_i64() == Some(0);
    let id = answer.get("ThirdPartyTransID").and_then(serde_json::Value::as_str);
    Some((is_accepted, id.map(str::to_owned)))
}
