//! The journal of the client: deliveries and responses.

use std::sync::Mutex;
use std::time::Duration;

use crate::deliveries::Delivery;

/// How often one content of one callback was sent, by response.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sent {
    /// Answered with 200.
    pub acknowledged: u32,
    /// Answered with 503: not acknowledged, and perhaps recorded all the same.
    pub refused: u32,
    /// No response: the result is unknown.
    pub unknown: u32,
}

impl Sent {
    /// How often it was sent.
    pub fn all(self) -> u32 {
        self.acknowledged + self.refused + self.unknown
    }
}

/// The response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A status.
    Status(u16),
    /// Nothing: the connection broke.
    Nothing,
}

/// The journal of the client.
#[derive(Debug)]
pub struct Journal {
    sent: Mutex<Vec<[Sent; 3]>>,
    latencies: Mutex<Vec<Duration>>,
}

impl Journal {
    /// Nothing was sent yet of so many callbacks.
    pub fn new(callbacks: usize) -> Journal {
        Journal { sent: Mutex::new(vec![[Sent::default(); 3]; callbacks]), latencies: Mutex::default() }
    }

    /// Writes the response to a delivery into the journal.
    ///
    /// # Panics
    /// When it is a status that no replica may answer.
    pub fn note(&self, delivery: Delivery, heard: Heard, took: Duration) {
        let mut all = self.sent.lock().expect("nobody panicked");
        let sent = &mut all[delivery.number][delivery.meaning as usize];
        match heard {
            Heard::Status(200) => {
                sent.acknowledged += 1;
                self.latencies.lock().expect("nobody panicked").push(took);
            }
            Heard::Status(503) => sent.refused += 1,
            Heard::Status(status) => panic!("a replica answered {status}"),
            Heard::Nothing => sent.unknown += 1,
        }
    }

    /// The deliveries of each callback, by [content](crate::deliveries::Meaning).
    pub fn sent(&self) -> Vec<[Sent; 3]> {
        self.sent.lock().expect("nobody panicked").clone()
    }

    /// How many deliveries were acknowledged, refused, and not answered.
    pub fn totals(&self) -> Sent {
        self.sent().iter().flatten().fold(Sent::default(), |sum, sent| Sent {
            acknowledged: sum.acknowledged + sent.acknowledged,
            refused: sum.refused + sent.refused,
            unknown: sum.unknown + sent.unknown,
        })
    }

    /// How long so many hundredths of the acknowledgements took at most: 50 for the median, 99.
    pub fn percentile(&self, hundredths: usize) -> Duration {
        let mut all = self.latencies.lock().expect("nobody panicked").clone();
        all.sort_unstable();
        let at = (all.len() * hundredths / 100).min(all.len().saturating_sub(1));
        all.get(at).copied().unwrap_or_default()
    }
}
