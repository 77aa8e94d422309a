//! Tests of handlers, without a web server and without Safaricom. Feature `test-util`.

mod bodies;
mod context;
mod inbox;
mod sample;

pub use self::inbox::TestInbox;
pub use self::sample::Sample;
