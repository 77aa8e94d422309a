//! What happens in a simulator, as it happens.

use std::time::Duration;

use tokio::sync::broadcast::{self, error::RecvError};

use super::journal::{Callback, Exchange};

/// Something that happened in a simulator.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Happening {
    /// The application sent a request, and got its answer; or a customer did something. Callbacks follow,
    /// if they have not come before.
    Exchange(Exchange),
    /// A callback was posted, or could not be.
    Callback {
        /// Number of its exchange.
        exchange: usize,
        /// The callback, with the response.
        callback: Callback,
        /// How long the application took to respond, by the machine's clock.
        took: Duration,
    },
}

/// Follows a simulator, from [`Daraja::follow`](crate::Daraja::follow).
#[derive(Debug)]
pub struct Follower(broadcast::Receiver<Happening>);

/// Someone who does not look loses the oldest.
const KEPT: usize = 1024;

impl Follower {
    /// Returns what happens next; `None` once the simulator has stopped. If this is called too rarely, the
    /// oldest happenings are left out: the journal has them. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Happening> {
        loop {
            match self.0.recv().await {
                Ok(happening) => return Some(happening),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return None,
            }
        }
    }
}

/// Tells all followers.
#[derive(Clone, Debug)]
pub(crate) struct Followers(broadcast::Sender<Happening>);

impl Followers {
    pub(crate) fn new() -> Followers {
        Followers(broadcast::Sender::new(KEPT))
    }

    pub(crate) fn tell(&self, happening: Happening) {
        // Nobody may be there.
        let _ = self.0.send(happening);
    }

    pub(crate) fn follow(&self) -> Follower {
        Follower(self.0.subscribe())
    }
}
