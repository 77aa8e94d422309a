//! The replicas, as processes.

use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::Context;
use sqlx::Connection;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};

use crate::place::Place;

/// How replicas are started.
#[derive(Clone, Debug)]
pub struct Manner {
    /// Their store.
    pub place: Place,
    /// For how long they have a callback.
    pub lease: Duration,
    /// Below which directory each has its spool.
    pub spools: Option<PathBuf>,
    /// `--good`, `--hangs`.
    pub flags: Vec<&'static str>,
}

/// The replicas.
#[derive(Debug)]
pub struct Fleet {
    program: PathBuf,
    manner: Manner,
    replicas: Vec<Mutex<Replica>>,
}

#[derive(Debug)]
struct Replica {
    port: u16,
    child: Option<Child>,
    /// Whether clients are sent to it.
    is_ready: bool,
}

impl Fleet {
    /// Starts so many replicas.
    ///
    /// # Errors
    /// When one does not start.
    pub fn start(program: PathBuf, manner: Manner, count: usize) -> anyhow::Result<Fleet> {
        let ports = (0..count).map(|_| Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port()));
        let ports: Vec<u16> = ports.collect::<std::io::Result<_>>()?;
        let replica = |port| Mutex::new(Replica { port, child: None, is_ready: false });
        let fleet = Fleet { program, manner, replicas: ports.into_iter().map(replica).collect() };
        (0..count).try_for_each(|at| fleet.revive(at))?;
        Ok(fleet)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.replicas.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.replicas.is_empty()
    }

    /// The port of the replica at this index.
    pub fn port_of(&self, at: usize) -> u16 {
        lock(&self.replicas[at]).port
    }

    /// The port of one that clients may be sent to, if any.
    pub fn port(&self, random: &mut fastrand::Rng) -> Option<u16> {
        let ready = self.replicas.iter().map(|replica| self::lock(replica));
        let ports: Vec<u16> = ready.filter(|replica| replica.is_ready).map(|replica| replica.port).collect();
        random.choice(ports)
    }

    /// Starts one that is not running, and waits until it listens.
    ///
    /// # Errors
    /// When it does not.
    pub fn revive(&self, at: usize) -> anyhow::Result<()> {
        self.revive_as(at, &[])
    }

    /// Starts one that is not running, with these flags beside the usual ones: another release.
    ///
    /// # Errors
    /// When it does not listen.
    pub fn revive_as(&self, at: usize, flags: &[&str]) -> anyhow::Result<()> {
        let mut replica = lock(&self.replicas[at]);
        let mut command = Command::new(&self.program);
        command.args(["replica", "--place", &self.manner.place.argument(), "--port", &replica.port.to_string()]);
        command.args(["--lease", &self.manner.lease.as_millis().to_string()]).args(&self.manner.flags).args(flags);
        if let Some(spools) = &self.manner.spools {
            command.arg("--spool").arg(spools.join(at.to_string()));
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().context("a replica")?;
        let began = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, replica.port)).is_err() {
            anyhow::ensure!(child.try_wait()?.is_none(), "a replica ended at once");
            anyhow::ensure!(began.elapsed() < Duration::from_mins(1), "a replica does not listen");
            sleep(Duration::from_millis(2));
        }
        replica.child = Some(child);
        replica.is_ready = true;
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn kill(&self, at: usize) -> anyhow::Result<()> {
        let mut replica = lock(&self.replicas[at]);
        // Clients find out for themselves.
        let mut child = replica.child.take().context("a replica")?;
        child.kill()?;
        child.wait()?;
        Ok(())
    }

    /// Sends a signal: `STOP`, `CONT`, `TERM`.
    ///
    /// # Errors
    /// When it is not there.
    pub fn signal(&self, at: usize, name: &str) -> anyhow::Result<()> {
        let replica = lock(&self.replicas[at]);
        let id = replica.child.as_ref().context("a replica")?.id();
        anyhow::ensure!(Command::new("kill").arg(format!("-{name}")).arg(id.to_string()).status()?.success(), "kill");
        Ok(())
    }

    /// How many deliveries wait in its spool.
    ///
    /// # Errors
    /// When it has none.
    pub async fn spooled(&self, at: usize) -> anyhow::Result<i64> {
        let file = self.manner.spools.as_ref().context("a spool")?.join(at.to_string()).join("spool.db");
        let mut spool = SqliteConnection::connect_with(&SqliteConnectOptions::new().filename(file)).await?;
        Ok(sqlx::query_scalar("SELECT count(*) FROM spooled").fetch_one(&mut spool).await?)
    }

    /// No client is sent to it any more.
    pub fn is_not_ready(&self, at: usize) {
        lock(&self.replicas[at]).is_ready = false;
    }

    /// Sends `SIGTERM`, runs `meanwhile`, and waits until the replica has exited.
    ///
    /// # Errors
    /// When it ended otherwise.
    pub fn stop(&self, at: usize, meanwhile: impl FnOnce()) -> anyhow::Result<()> {
        self.is_not_ready(at);
        self.signal(at, "TERM")?;
        meanwhile();
        let mut child = lock(&self.replicas[at]).child.take().context("a replica")?;
        anyhow::ensure!(child.wait()?.success(), "a replica did not stop in good order");
        Ok(())
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for replica in &self.replicas {
            if let Some(mut child) = lock(replica).child.take() {
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn lock(replica: &Mutex<Replica>) -> std::sync::MutexGuard<'_, Replica> {
    replica.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
