//! Servers that tests own: found on the machine, started in a temporary directory on a free port, never as root, and gone with
//! the test, however that ends. No server that ran before is touched.

mod owned;

mod postgres;

mod mariadb;

mod pgbouncer;

mod proxy;

pub use self::mariadb::MariaDb;
pub use self::owned::{libraries, within_reach};
pub use self::pgbouncer::PgBouncer;
pub use self::postgres::Postgres;
pub use self::proxy::Proxy;

/// Says that a test is skipped for want of a server, where that may be.
///
/// # Panics
/// Where `REQUIRE_SERVERS` is set, as `.ci/run` does: what nobody runs proves nothing.
pub fn skip(what: &str) {
    assert!(std::env::var_os("REQUIRE_SERVERS").is_none(), "{what}, and REQUIRE_SERVERS is set");
    println!("SKIPPED: {what}");
}
