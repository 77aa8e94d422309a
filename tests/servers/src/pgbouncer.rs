//! A PgBouncer of the test's own.

use std::env;
use std::path::PathBuf;
use std::process::Command;

use crate::owned::{Owned, libraries, place, within_reach};
use crate::postgres::Postgres;

/// A PgBouncer that pools transactions, in front of a cluster of the test's own.
#[derive(Debug)]
pub struct PgBouncer(Owned);

/// Older ones do not keep prepared statements apart.
const SINCE: (u32, u32) = (1, 21);

impl PgBouncer {
    /// Starts one; `None`, with a word on why, where there is none that will do.
    ///
    /// # Panics
    /// When there is one, and it does not start.
    pub fn before(server: &Postgres) -> Option<PgBouncer> {
        let Some(program) = program() else {
            // Older systems have no newer package, so that is no reason to fail.
            match candidates().next() {
                Some(_) => println!("SKIPPED: PgBouncer is older than 1.21"),
                None => crate::skip("there is no PgBouncer"),
            }
            return None;
        };
        let (directory, port) = place("pgbouncer");
        let program = within_reach(&program, &directory);
        let configuration = directory.join("pgbouncer.ini");
        let text = format!(
            "[databases]
* = host=127.0.0.1 port={} user=test
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = 3
max_client_conn = 200
max_prepared_statements = 100
ignore_startup_parameters = extra_float_digits
server_tls_sslmode = disable
",
            server.port()
        );
        std::fs::write(&configuration, text).expect("its configuration");
        let arguments = [configuration.display().to_string()];
        Some(PgBouncer(Owned::start(directory, port, &program, &arguments, "process up")))
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.port
    }
}

/// The program of `PGBOUNCER`, in `PATH`, or where packages install it.
fn program() -> Option<PathBuf> {
    candidates().find(|program| version(program) >= Some(SINCE))
}

fn candidates() -> impl Iterator<Item = PathBuf> {
    let told = env::var_os("PGBOUNCER").map(PathBuf::from);
    let directories = env::var_os("PATH").unwrap_or_default();
    let usual: Vec<PathBuf> = env::split_paths(&directories).chain(["/usr/sbin".into()]).collect();
    let usual = usual.into_iter().map(|directory| directory.join("pgbouncer"));
    told.into_iter().chain(usual).filter(|program| program.is_file())
}

fn version(program: &std::path::Path) -> Option<(u32, u32)> {
    let mut asking = Command::new(program);
    if let Some(libraries) = libraries(program) {
        asking.env("LD_LIBRARY_PATH", libraries);
    }
    let output = asking.arg("--version").output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let mut numbers = text.split_whitespace().nth(1)?.split('.').map(str::parse);
    Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
}
