//! What was asked, what was answered, and what was posted because of it. Credentials are struck out
//! before anything is kept.

use std::collections::VecDeque;
use std::time::Duration;

use mpesa_callbacks_core::Kind;
use mpesa_callbacks_core::payload::strike_credentials;
use serde::{Serialize, Serializer};

/// A request of the application, its answer, and its callbacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Exchange {
    /// Number, from 0.
    pub number: usize,
    /// Time since the start; in JSON, milliseconds.
    #[serde(rename = "at_ms", serialize_with = "milliseconds")]
    pub at: Duration,
    /// Path of the request; `customer pays` for a payment that no request caused.
    pub path: String,
    /// Body of the request, with its credentials struck out.
    pub request: String,
    /// Status of the answer.
    pub status: u16,
    /// Body of the answer.
    pub answer: String,
    callbacks: Vec<Callback>,
}

/// A callback that was posted, or could not be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Callback {
    /// Kind of the callback.
    pub kind: Kind,
    /// Time since the start; in JSON, milliseconds.
    #[serde(rename = "at_ms", serialize_with = "milliseconds")]
    pub at: Duration,
    /// The URL of the request.
    pub url: String,
    /// The body as it was sent.
    pub body: String,
    /// Status of the response; `None` if there was none.
    pub status: Option<u16>,
    /// Body of the response, or why there was none.
    pub response: String,
}

impl Exchange {
    /// Returns the callbacks that were posted because of this request so far.
    pub fn callbacks(&self) -> &[Callback] {
        &self.callbacks
    }
}

impl Callback {
    /// Returns whether the application acknowledged the callback: status 200 with the body that
    /// Daraja expects for its kind. Any body acknowledges a validation.
    pub fn is_acknowledged(&self) -> bool {
        let is_validation = self.kind == Kind::C2bValidation;
        self.status == Some(200) && (is_validation || self.response == self.kind.ack_body().body)
    }
}

fn milliseconds<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u128(time.as_millis())
}

/// The newest exchanges.
#[derive(Debug, Default)]
pub(crate) struct Journal {
    exchanges: VecDeque<Exchange>,
    forgotten: usize,
}

/// So many are kept.
const KEPT: usize = 5_000;

impl Journal {
    /// Writes down a request, and returns its number.
    pub(crate) fn request(&mut self, at: Duration, path: &str, body: &[u8]) -> usize {
        if self.exchanges.len() == KEPT {
            self.exchanges.pop_front();
            self.forgotten += 1;
        }
        let number = self.forgotten + self.exchanges.len();
        let request = String::from_utf8_lossy(&strike_credentials(body)).into_owned();
        let (path, answer) = (path.to_owned(), String::new());
        self.exchanges.push_back(Exchange { number, at, path, request, status: 0, answer, callbacks: Vec::new() });
        number
    }

    pub(crate) fn answer(&mut self, number: usize, status: u16, body: &str) {
        if let Some(exchange) = self.get_mut(number) {
            exchange.status = status;
            body.clone_into(&mut exchange.answer);
        }
    }

    pub(crate) fn callback(&mut self, number: usize, callback: Callback) {
        if let Some(exchange) = self.get_mut(number) {
            exchange.callbacks.push(callback);
        }
    }

    pub(crate) fn get(&self, number: usize) -> Option<&Exchange> {
        self.exchanges.get(number.checked_sub(self.forgotten)?)
    }

    pub(crate) fn all(&self) -> Vec<Exchange> {
        self.exchanges.iter().cloned().collect()
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Exchange> {
        self.exchanges.get_mut(number.checked_sub(self.forgotten)?)
    }
}
