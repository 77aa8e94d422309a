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
