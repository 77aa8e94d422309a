//! Clients that send deliveries and keep the journal.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use crate::deliveries::Delivery;
use crate::fleet::Fleet;
use crate::journal::{Heard, Journal};
use crate::replica::SECRET;

/// How many clients send at once.
const CLIENTS: usize = 16;

/// How far the sending has come.
#[derive(Debug)]
pub struct Progress<'a> {
    next: &'a AtomicUsize,
    is_over: &'a AtomicBool,
    of: usize,
}

impl Progress<'_> {
    /// Whether all is sent and answered.
    pub fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// Waits until this part of so many has been sent, or all is over.
    pub fn wait(&self, part: usize, parts: usize) {
        let at = self.of * part / parts.max(1);
        while self.next.load(Ordering::Relaxed) < at && !self.is_over() {
            sleep(Duration::from_millis(2));
        }
    }
}

/// Sends all deliveries, at this rate if there is one, while `meanwhile` happens. What breaks is not sent again: Daraja does not
/// do so either.
///
/// # Errors
/// The disturbance meanwhile.
///
/// # Panics
/// When a client does.
pub fn send(
    fleet: &Fleet,
    journal: &Journal,
    deliveries: &[Delivery],
    per_second: Option<u32>,
    random: &mut fastrand::Rng,
    meanwhile: impl FnOnce(&Progress<'_>) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let (next, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let began = Instant::now();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| {
                let (next, mut random) = (&next, random.fork());
                scope.spawn(move || {
                    let agent = agent();
                    loop {
                        let at = next.fetch_add(1, Ordering::Relaxed);
                        let Some(delivery) = deliveries.get(at) else { return };
                        // Counted from when it was due, so that waiting for the request before counts, too.
                        let due = match per_second {
                            Some(rate) => began + Duration::from_secs(1) * u32::try_from(at).unwrap_or(u32::MAX) / rate,
                            None => Instant::now(),
                        };
                        sleep(due.saturating_duration_since(Instant::now()));
                        let heard = post(fleet, &agent, "/stk", delivery.body(), &mut random).0;
                        journal.note(*delivery, heard, due.elapsed());
                        if heard == Heard::Nothing {
                            sleep(Duration::from_millis(5));
                        }
                    }
                })
            })
            .collect();
        let watching = scope.spawn(|| {
            for client in clients {
                client.join().expect("a client");
            }
            is_over.store(true, Ordering::Relaxed);
        });
        let done = meanwhile(&Progress { next: &next, is_over: &is_over, of: deliveries.len() });
        watching.join().expect("the clients");
        done
    })
}

/// A client that keeps its connections.
pub fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(20)));
    config.http_status_as_error(false).build().new_agent()
}

/// Posts to one of the replicas; returns the result and the body of the response.
pub fn post(
    fleet: &Fleet,
    agent: &ureq::Agent,
    path: &str,
    body: String,
    random: &mut fastrand::Rng,
) -> (Heard, String) {
    let Some(port) = fleet.port(random) else { return (Heard::Nothing, String::new()) };
    let url = format!("http://127.0.0.1:{port}/pay/{SECRET}{path}");
    match agent.post(&url).content_type("application/json").send(body) {
        Ok(mut response) => {
            let status = response.status().as_u16();
            (Heard::Status(status), response.body_mut().read_to_string().unwrap_or_default())
        }
        Err(_) => (Heard::Nothing, String::new()),
    }
}
