//! How callbacks get to the application: one queue of events in time, delivery, and a journal.

mod clock;
mod deliver;
mod follow;
mod journal;
mod queue;

pub(crate) use self::clock::Clock;
pub(crate) use self::deliver::{Target, post};
pub(crate) use self::follow::Followers;
pub use self::follow::{Follower, Happening};
pub(crate) use self::journal::Journal;
pub use self::journal::{Callback, Exchange};
pub(crate) use self::queue::{Act, Event, Payment, Post, Queue};
