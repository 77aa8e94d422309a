//! PostgreSQL, as the library's store uses it, on a drive with power cuts. `CUTS` and `SEED` set their number and the seed.
#![cfg(target_os = "linux")]

use std::collections::HashSet;
use std::env;
use std::fs::File;
use std::io::Read;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use mpesa_callbacks::Kind;
use mpesa_callbacks::store::{Claim, Completion, Delivery, PostgresStore, Settlement, Store};
use mpesa_callbacks_power_cut::{Drive, Losses, Machine};
use mpesa_callbacks_test_servers::{Postgres, libraries, within_reach};
use sqlx::{Connection, PgConnection};
use tokio::time::sleep;

fn number(name: &str, usual: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Small, so that it starts and recovers quickly; nothing of this makes it less durable.
const SETTINGS: &str = "-c shared_buffers=4MB -c max_connections=40 -c max_wal_senders=0 -c wal_level=minimal -c max_wal_size=4MB \
    -c min_wal_size=2MB -c dynamic_shared_memory_type=sysv -c restart_after_crash=off -c autovacuum=off";

const NOBODY: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups";

/// A cluster on a drive.
struct Cluster {
    machine: Machine,
    mount: PathBuf,
    programs: PathBuf,
    log: PathBuf,
    port: u16,
}

impl Cluster {
    fn shell(&self, script: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", script]).stdin(Stdio::null());
        if let Some(libraries) = libraries(&self.programs.join("postgres")) {
            shell.env("LD_LIBRARY_PATH", libraries);
        }
        shell
    }

    /// In a namespace of processes: with its first one the kernel kills all of the server at one moment. And in one of shared
    /// memory, which goes with it.
    fn start(&self) -> Child {
        let (programs, mount, port) = (self.programs.display(), self.mount.display(), self.port);
        // The shell stays: `setpriv` clears the signal that would kill it with its parent.
        let serve =
            format!("{NOBODY} {programs}/postgres -D {mount}/data -k '' -h 127.0.0.1 -p {port} {SETTINGS}; exit");
        let mut unshare = self.shell("exec unshare --pid --ipc --fork --kill-child=SIGKILL sh -c \"$SERVE\"");
        let log = File::options().create(true).append(true).open(&self.log).unwrap();
        unshare.env("SERVE", serve).stdout(Stdio::piped()).stderr(log).spawn().unwrap()
    }

    fn url(&self) -> String {
        format!("postgres://test@127.0.0.1:{}/postgres", self.port)
    }

    /// Waits until it takes connections; `None` when it has ended, or has no power.
    async fn connect(&self, server: &mut Child) -> Option<PgConnection> {
        loop {
            if let Ok(connection) = PgConnection::connect(&self.url()).await {
                return Some(connection);
            }
            if !self.machine.has_power() || server.try_wait().unwrap().is_some() {
                return None;
            }
            sleep(Duration::from_millis(3)).await;
        }
    }

    /// Changes a setting of the server, and waits until all its processes have it.
    async fn set(&self, setting: &str, is_wanted: bool) {
        if !is_wanted {
            return;
        }
        // Without power nothing can be set, and nothing will be written.
        if let Ok(mut connection) = PgConnection::connect(&self.url()).await {
            let _ = sqlx::raw_sql(sqlx::AssertSqlSafe(setting.to_owned())).execute(&mut connection).await;
            let _ = sqlx::query("SELECT pg_reload_conf()").execute(&mut connection).await;
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// Kills it, and waits until all its processes have ended.
    fn kill(&self, mut server: Child) {
        self.machine.cut_after(0);
        server.kill().unwrap();
        server.stdout.take().unwrap().read_to_end(&mut Vec::new()).unwrap();
        server.wait().unwrap();
    }

    /// Makes a cluster, with the library's schema in it. `None`, with a word on why, where that cannot be.
    async fn prepared(directory: &Path) -> Option<(Cluster, Drive)> {
        let Some(programs) = Postgres::programs() else {
            println!("SKIPPED: there is no PostgreSQL");
            return None;
        };
        if !Command::new("unshare")
            .args(["--pid", "--fork", "setpriv", "--version"])
            .output()
            .is_ok_and(|it| it.status.success())
        {
            println!("SKIPPED: a server is killed whole with unshare and setpriv (util-linux, as root)");
            return None;
        }
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|free| free.local_addr()).unwrap().port();
        let (mount, log) = (directory.join("drive"), directory.join("log"));
        std::fs::create_dir(&mount).unwrap();
        std::os::unix::fs::chown(directory, Some(65_534), Some(65_534)).unwrap();
        let server = within_reach(&programs.join("postgres"), directory);
        let programs = server.parent().expect("a program is in a directory").to_owned();
        let machine = Machine::new(Drive::new(1));
        let cluster = Cluster { machine, mount, programs, log, port };
        let mounted = match cluster.machine.mount(&cluster.mount) {
            Ok(mounted) => mounted,
            Err(error) => {
                println!("SKIPPED: cannot mount a drive with FUSE here (Linux, as root): {error}");
                return None;
            }
        };
        let (programs, mount) = (cluster.programs.display(), cluster.mount.display());
        let initdb = format!(
            "{NOBODY} {programs}/initdb -D {mount}/data -U test -A trust --no-locale -E UTF8 --data-checksums --wal-segsize=1"
        );
        let made = cluster.shell(&initdb).output().unwrap();
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let mut server = cluster.start();
        let mut connection = cluster.connect(&mut server).await.expect("it starts");
        PostgresStore::connect(&cluster.url()).await.unwrap().close().await.unwrap();
        sqlx::query("CHECKPOINT").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        cluster.kill(server);
        mounted.unmount();
        cluster.machine.restore(1);
        let drive = cluster.machine.copy();
        Some((cluster, drive))
    }
}

fn push(number: u64, padding: usize) -> Delivery {
    let padding = "x".repeat(padding);
    let body = format!(
        r#"{{"Body":{{"stkCallback":{{"CheckoutRequestID":"{number}","ResultCode":1032,"ResultDesc":"{padding}"}}}}}}"#
    );
    Delivery::parse(&Kind::Stk, body.as_bytes(), SystemTime::now()).unwrap()
}

type Acknowledged = Arc<Mutex<HashSet<u64>>>;

/// Records, claims and settles until the server is gone.
async fn work(store: PostgresStore, next: Arc<AtomicU64>, acknowledged: Acknowledged, mut random: fastrand::Rng) {
    loop {
        let numbers: Vec<u64> = (0..random.usize(1..20)).map(|_| next.fetch_add(1, Ordering::SeqCst)).collect();
        let batch: Vec<_> = numbers.iter().map(|number| push(*number, random.usize(0..1500))).collect();
        let Ok(_) = store.record(&batch).await else { return };
        acknowledged.lock().unwrap().extend(numbers);
        if random.u8(0..3) == 0 {
            let Ok(claimed) = store.claim(&Claim::new(&[Kind::Stk, Kind::Payment], 20, Duration::from_mins(1))).await
            else {
                return;
            };
            let done: Vec<_> = claimed.iter().map(|one| Settlement::new(one.lease, Completion::Done)).collect();
            let _ = store.settle(&done).await;
        }
    }
}

/// The stored numbers, if all rows can be read, with their bodies, from the table and by its indexes.
async fn look(connection: &mut PgConnection) -> sqlx::Result<HashSet<u64>> {
    let read = async |connection: &mut PgConnection| -> sqlx::Result<Vec<String>> {
        let keys = "SELECT key FROM mpesa_callbacks.callback JOIN mpesa_callbacks.body ON callback_id = id AND length(body) > 0";
        sqlx::query_scalar(keys).fetch_all(connection).await
    };
    let by_indexes = read(connection).await?;
    sqlx::raw_sql("SET enable_indexscan = off; SET enable_indexonlyscan = off; SET enable_bitmapscan = off")
        .execute(&mut *connection)
        .await?;
    let keys = read(connection).await?;
    assert_eq!(keys.len(), by_indexes.len());
    Ok(keys.iter().filter_map(|key| key.parse().ok()).collect())
}

struct Findings {
    acknowledged: usize,
    lost: usize,
    damaged: Vec<String>,
}

/// Lets the library write, and cuts the power; so many times.
async fn cut(settings: Option<&str>, cuts: u64) -> Option<Findings> {
    let seed = number("SEED", fastrand::u64(..));
    println!("PostgreSQL, {}: SEED={seed} CUTS={cuts}", settings.unwrap_or("as it is"));
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let (cluster, prepared) = Cluster::prepared(directory.path()).await?;
    let (next, mut losses) = (Arc::new(AtomicU64::new(1)), Losses::default());
    let mut findings = Findings { acknowledged: 0, lost: 0, damaged: Vec::new() };
    let mut owed: HashSet<u64> = HashSet::new();
    let mut is_new = true;
    for _ in 0..cuts {
        if is_new || owed.len() > 20_000 {
            cluster.machine.replace(prepared.clone());
            owed.clear();
            is_new = false;
        }
        let mounted = cluster.machine.mount(&cluster.mount).unwrap();
        // In the middle of a recovery, now and then.
        if random.u8(0..4) == 0 {
            cluster.machine.cut_after(random.u64(1..6000));
        }
        let mut server = cluster.start();
        let found = match cluster.connect(&mut server).await {
            Some(mut connection) => Some(look(&mut connection).await),
            None => None,
        };
        match found {
            Some(Ok(there)) => {
                findings.lost += owed.difference(&there).count();
                owed = there;
                let acknowledged: Acknowledged = Arc::default();
                // The store checks the setting when it opens, so it is changed afterwards.
                cluster.set("ALTER SYSTEM RESET ALL", settings.is_some()).await;
                if let Ok(store) = PostgresStore::connect(&cluster.url()).await {
                    if let Some(settings) = settings {
                        cluster.set(&format!("ALTER SYSTEM SET {settings}"), true).await;
                    }
                    if random.bool() && cluster.machine.has_power() {
                        cluster.machine.cut_after(random.u64(100..6000));
                    }
                    let workers: Vec<_> = (0..4)
                        .map(|_| tokio::spawn(work(store.clone(), next.clone(), acknowledged.clone(), random.fork())))
                        .collect();
                    let until = Instant::now() + Duration::from_millis(random.u64(20..500));
                    while Instant::now() < until && cluster.machine.has_power() {
                        sleep(Duration::from_millis(1)).await;
                    }
                    cluster.kill(server);
                    for worker in workers {
                        worker.abort();
                        let _ = worker.await;
                    }
                    let _ = tokio::time::timeout(Duration::from_secs(1), store.close()).await;
                } else {
                    cluster.kill(server);
                }
                let acknowledged = std::mem::take(&mut *acknowledged.lock().unwrap());
                findings.acknowledged += acknowledged.len();
                owed.extend(acknowledged);
            }
            // Cut before it was up, or while it was looked at.
            _ if !cluster.machine.has_power() => cluster.kill(server),
            broken => {
                let log = std::fs::read_to_string(&cluster.log).unwrap();
                let end = log.lines().rev().take(10).collect::<Vec<_>>().join("\n");
                findings.damaged.push(format!("{:?}\n{end}", broken.map(Result::err)));
                cluster.kill(server);
                is_new = true;
            }
        }
        mounted.unmount();
        losses += cluster.machine.restore(random.u64(..));
    }
    println!(
        "PostgreSQL, {}: {cuts} cuts, {} acknowledged, {} lost, {} times damaged; {losses:?}",
        settings.unwrap_or("as it is"),
        findings.acknowledged,
        findings.lost,
        findings.damaged.len()
    );
    assert!(losses.lost > 0, "nothing was ever lost, so nothing is shown");
    Some(findings)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_postgres_acknowledged_survives_power_cuts() {
    let Some(findings) = cut(None, number("CUTS", 40)).await else { return };
    assert!(findings.damaged.is_empty(), "{:#?}", findings.damaged);
    assert_eq!(findings.lost, 0, "of {}", findings.acknowledged);
    assert!(findings.acknowledged > 500, "{} are too few to show anything", findings.acknowledged);
}

/// The control: a setting that is known to lose does lose here.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn with_synchronous_commit_off_what_was_committed_is_lost() {
    let Some(findings) = cut(Some("synchronous_commit = off"), number("CUTS", 10)).await else { return };
    assert!(findings.lost > 0, "of {}", findings.acknowledged);
}
