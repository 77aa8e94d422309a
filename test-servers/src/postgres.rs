//! A PostgreSQL cluster of the test's own.

use std::env;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A PostgreSQL cluster of the test's own. It is stopped and deleted when this is dropped, or when the process that has it
/// ends: a shell that holds the other end of a pipe sees to that.
#[derive(Debug)]
pub struct Postgres {
    keeper: Child,
    directory: PathBuf,
    port: u16,
    next: AtomicU32,
}

/// Whoever runs the cluster when the tests are root's: PostgreSQL refuses to be.
const NOBODY: u32 = 65_534;

/// Starts the server in the directory `$2`. For each line that comes, kills it as `kill -9` does and starts it again; it may
/// have to wait until the processes of the one that died have noticed. Ends it when standard input does: when whoever started
/// this is gone.
const KEEPER: &str = r#"
start() {
    "$1/postgres" -D "$2/data" -k "$2" -p "$3" -c listen_addresses=127.0.0.1 $4 >"$2/log" 2>&1 &
    server=$!
}
start "$@"
while read -r line; do
    kill -KILL $server
    wait $server
    start "$@"
    sleep 0.1
    while ! kill -0 $server 2>/dev/null; do
        start "$@"
        sleep 0.1
    done
done
kill -QUIT $server
wait $server
rm -rf "$2"
"#;

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
            println!("SKIPPED: there is no PostgreSQL (initdb) in PATH or under the usual directories");
            return None;
        };
        let directory = tempfile::Builder::new().prefix("postgres").tempdir().expect("a directory").keep();
        let is_root = std::fs::metadata("/proc/self").is_ok_and(|process| is_roots(&process));
        if is_root {
            std::os::unix::fs::chown(&directory, Some(NOBODY), Some(NOBODY)).expect("to give it away");
        }
        let as_nobody = |command: &mut Command| {
            use std::os::unix::process::CommandExt;
            if is_root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command.current_dir("/");
        };
        let mut initdb = Command::new(programs.join("initdb"));
        initdb.args(["-U", "test", "-A", "trust", "-E", "UTF8", "--locale", "C", "-D"]).arg(directory.join("data"));
        as_nobody(&mut initdb);
        let made = initdb.output().expect("initdb runs");
        assert!(made.status.success(), "initdb: {}", String::from_utf8_lossy(&made.stderr));

        let port =
            TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).expect("a port").port();
        let settings: Vec<String> = settings.iter().map(|setting| format!("-c {setting}")).collect();
        let mut keeper = Command::new("sh");
        keeper
            .args(["-c", KEEPER, "keeper"])
            .arg(programs)
            .arg(&directory)
            .arg(port.to_string())
            .arg(settings.join(" "));
        keeper.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        as_nobody(&mut keeper);
        let keeper = keeper.spawn().expect("a shell");
        let server = Postgres { keeper, directory, port, next: AtomicU32::new(0) };
        server.wait_until_ready();
        Some(server)
    }

    fn wait_until_ready(&self) {
        let began = Instant::now();
        let log = || std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        while !log().contains("ready to accept connections") {
            assert!(began.elapsed() < Duration::from_secs(60), "PostgreSQL does not start: {}", log());
            sleep(Duration::from_millis(10));
        }
    }

    /// `kill -9` of the server, and a new one in its place, which recovers from its log.
    ///
    /// # Panics
    /// When it does not start again.
    pub fn kill_and_restart(&mut self) {
        let _ = std::fs::remove_file(self.directory.join("log"));
        let keeper = self.keeper.stdin.as_mut().expect("its standard input");
        std::io::Write::write_all(keeper, b"kill\n").expect("to tell it");
        self.wait_until_ready();
        let log = std::fs::read_to_string(self.directory.join("log")).unwrap_or_default();
        assert!(log.contains("not properly shut down"), "it was not killed: {log}");
    }

    /// Where the cluster's own database is.
    pub fn url(&self) -> String {
        format!("postgres://test@127.0.0.1:{}/postgres", self.port)
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The name of a database that nobody else uses, and where it will be once it was created.
    pub fn next_database(&self) -> (String, String) {
        let name = format!("test_{}", self.next.fetch_add(1, Ordering::Relaxed));
        let url = format!("postgres://test@127.0.0.1:{}/{name}", self.port);
        (name, url)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

fn is_roots(process: &std::fs::Metadata) -> bool {
    std::os::unix::fs::MetadataExt::uid(process) == 0
}

/// Where PostgreSQL's programs are: what `POSTGRES_BIN` says, in `PATH`, or where packages put them; the newest.
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
