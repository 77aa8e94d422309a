//! A PostgreSQL cluster of the test's own.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use crate::owned::{Owned, command, place, run, within_reach};

/// A PostgreSQL cluster of the test's own. It is stopped and deleted when this is dropped, or when the process that has it
/// ends: a shell that holds the other end of a pipe sees to that.
#[derive(Debug)]
pub struct Postgres(Owned);

const READY: &str = "ready to accept connections";

impl Postgres {
    /// The one that the tests of a process share; `None`, with a word on why, where there is no PostgreSQL.
    pub fn shared() -> Option<&'static Postgres> {
        static SHARED: LazyLock<Option<Postgres>> = LazyLock::new(|| Postgres::start(&[]));
        SHARED.as_ref()
    }

    /// Makes a cluster and starts it, with these settings beside the usual ones; `None`, with a word on why, where there is
    /// no PostgreSQL.
    ///
    /// # Panics
    /// When there is one, and it does not start.
    pub fn start(settings: &[&str]) -> Option<Postgres> {
        let Some(programs) = programs() else {
            crate::skip("there is no PostgreSQL (initdb) in PATH or under the usual directories");
            return None;
        };
        let (directory, port) = place("postgres");
        let server = within_reach(&programs.join("postgres"), &directory);
        let data = directory.join("data");
        let mut initdb = command(&server.with_file_name("initdb"));
        run(initdb.args(["-U", "test", "-A", "trust", "-E", "UTF8", "--locale", "C", "-D"]).arg(&data), b"");
        let text = |path: &Path| path.display().to_string();
        let mut arguments = vec!["-D".to_owned(), text(&data), "-k".to_owned(), text(&directory)];
        arguments.extend(["-p".to_owned(), port.to_string()]);
        for setting in settings.iter().chain(&["listen_addresses=127.0.0.1"]) {
            arguments.extend(["-c".to_owned(), (*setting).to_owned()]);
        }
        Some(Postgres(Owned::start(directory, port, &server, &arguments, READY)))
    }

    /// The directory of PostgreSQL's programs: `POSTGRES_BIN`, in `PATH`, or where packages install them; the newest.
    pub fn programs() -> Option<PathBuf> {
        programs()
    }

    /// `kill -9` of the server, and a new one in its place, which recovers from its log.
    ///
    /// # Panics
    /// When it does not start again.
    pub fn kill_and_restart(&mut self) {
        self.0.kill_and_restart();
        let log = self.0.log();
        assert!(log.contains("not properly shut down"), "it was not killed: {log}");
    }

    /// Where the cluster's own database is.
    pub fn url(&self) -> String {
        format!("postgres://test@127.0.0.1:{}/postgres", self.0.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.0.port
    }

    /// A unique name for a database, and its URL once it is created.
    pub fn next_database(&self) -> (String, String) {
        let name = self.0.next_database();
        let url = format!("postgres://test@127.0.0.1:{}/{name}", self.0.port);
        (name, url)
    }
}

fn programs() -> Option<PathBuf> {
    let has = |directory: &Path| directory.join("initdb").exists() && directory.join("postgres").exists();
    let told = env::var_os("POSTGRES_BIN").map(PathBuf::from);
    let in_path = env::var_os("PATH").map(|path| env::split_paths(&path).collect::<Vec<_>>()).unwrap_or_default();
    let mut versions: Vec<_> = ["/usr/lib/postgresql", "/opt/homebrew/opt", "/usr/local/opt", "/usr"]
        .iter()
        .filter_map(|root| std::fs::read_dir(root).ok())
        .flatten()
        .flatten()
        .map(|entry| entry.path().join("bin"))
        .collect();
    versions.sort();
    told.into_iter().chain(in_path).chain(versions.into_iter().rev()).find(|directory| has(directory))
}
