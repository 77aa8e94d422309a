//! Tests of handlers, without a web server and without Safaricom. Feature `test-util`.

mod context;
mod idle;
mod inbox;

pub use self::inbox::TestInbox;
