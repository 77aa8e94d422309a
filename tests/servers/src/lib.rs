//! Servers that tests own: found on the machine, started in a temporary directory on a free port, never as root, and gone with
//! the test, however that ends. No server that ran before is touched.

mod owned;

mod postgres;

mod mariadb;

mod pgbouncer;

mod proxy;

mod running;

pub use self::mariadb::MariaDb;
pub use self::owned::{libraries, within_reach};
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::Postgres;
pub use self::proxy::Proxy;
pub use self::running::{Running, free_port};

/// Prints that a test is skipped because a server is missing, if that is allowed.
///
/// # Panics
/// With `REQUIRE_SERVERS`, which `.ci/run` sets, it fails: a skipped test proves nothing.
pub fn skip(what: &str) {
    assert!(std::env::var_os("REQUIRE_SERVERS").is_none(), "{what}, and REQUIRE_SERVERS is set");
    println!("SKIPPED: {what}");
}
